//! Secrets in the store are sealed: XChaCha20-Poly1305 with a random nonce each (RFC 8439 and
//! draft-irtf-cfrg-xchacha-03), bound to the record they belong to, so that a value moved to another record does not
//! open. Codes are found by a keyed hash (HMAC-SHA-256), never by themselves.
//!
//! One key of 32 bytes is given; the keys for sealing and for finding are derived from it, each for its purpose.
//!
//! ```
//! use labyard_store::SealingKey;
//! let key = SealingKey::from_bytes([7; 32]);
//! let sealed = key.seal("codes/default/class", b"KJ4M-...").unwrap();
//! assert_eq!(key.open("codes/default/class", &sealed).unwrap(), b"KJ4M-...");
//! assert!(key.open("codes/default/other", &sealed).is_err());
//! ```

use crate::StoreError;
use base64ct::{Base64, Encoding};
use chacha20poly1305::{
    KeyInit as _, XChaCha20Poly1305, XNonce,
    aead::{Aead, Payload},
};
use hmac::{Hmac, Mac};
use sha2::Sha256;
use std::{fmt, io::Write as _, path::Path};

const NONCE: usize = 24;

/// What opens the secrets of a store.
#[derive(Clone)]
pub struct SealingKey {
    sealing: [u8; 32],
    finding: [u8; 32],
    id: [u8; 16],
}

/// A sealed secret: nonce and ciphertext.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sealed(pub Vec<u8>);

impl fmt::Debug for SealingKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SealingKey({})", self.id())
    }
}

impl SealingKey {
    /// A key of its 32 bytes.
    #[must_use]
    pub fn from_bytes(master: [u8; 32]) -> Self {
        let derived = |purpose: &str| keyed_hash(&master, purpose.as_bytes());
        let mut id = [0; 16];
        id.copy_from_slice(&derived("labyard key id 1")[..16]);
        Self {
            sealing: derived("labyard sealing 1"),
            finding: derived("labyard finding 1"),
            id,
        }
    }

    /// A key as text: 32 bytes in Base64, as `openssl rand -base64 32` prints them.
    ///
    /// # Errors
    /// If it is anything else; the text is not in the message.
    pub fn from_text(text: &str) -> Result<Self, StoreError> {
        let mut bytes = [0; 32];
        match Base64::decode(text.trim(), &mut bytes) {
            Ok(decoded) if decoded.len() == 32 => Ok(Self::from_bytes(bytes)),
            _ => Err(StoreError::Key {
                why: "it is not 32 bytes in Base64; make one with: openssl rand -base64 32".to_owned(),
            }),
        }
    }

    /// The key in a file.
    ///
    /// # Errors
    /// If the file cannot be read, others may read it, or it holds no key.
    pub fn from_file(path: &Path) -> Result<Self, StoreError> {
        let unreadable = |error: std::io::Error| StoreError::Key {
            why: format!("{}: {error}", path.display()),
        };
        let text = std::fs::read_to_string(path).map_err(unreadable)?;
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt as _;
            let mode = std::fs::metadata(path).map_err(unreadable)?.permissions().mode();
            if mode & 0o077 != 0 {
                return Err(StoreError::Key {
                    why: format!(
                        "{0} may be read by others (mode {1:o}): chmod 600 {0}",
                        path.display(),
                        mode & 0o777
                    ),
                });
            }
        }
        Self::from_text(&text).map_err(|error| StoreError::Key {
            why: format!("{}: {error}", path.display()),
        })
    }

    /// The key in a file, which is made with a new key where it is missing. Two programs that do so at once get the
    /// same key.
    ///
    /// # Errors
    /// As [`Self::from_file`], and if the file cannot be written.
    pub fn from_file_or_new(path: &Path) -> Result<Self, StoreError> {
        if path.exists() {
            return Self::from_file(path);
        }
        let unwritable = |error: std::io::Error| StoreError::Key {
            why: format!("{}: {error}", path.display()),
        };
        let mut bytes = [0; 32];
        random(&mut bytes)?;
        // Under a name of its own first: a reader never sees half a key.
        let own = path.with_extension(format!("key-{}-{}", std::process::id(), bytes[0]));
        let mut options = std::fs::OpenOptions::new();
        options.write(true).create_new(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let written = options.open(&own).and_then(|mut file| {
            file.write_all(Base64::encode_string(&bytes).as_bytes())?;
            file.write_all(b"\n")?;
            file.sync_all()
        });
        let linked = written.and_then(|()| std::fs::hard_link(&own, path));
        let _ = std::fs::remove_file(&own);
        match linked {
            Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => Err(unwritable(error)),
            _ => Self::from_file(path),
        }
    }

    /// Which key this is, without telling anything of it: the store notes it.
    #[must_use]
    pub fn id(&self) -> String {
        self.id.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// Seals a secret for the record `what`.
    ///
    /// # Errors
    /// If the system has no random bytes.
    pub fn seal(&self, what: &str, secret: &[u8]) -> Result<Sealed, StoreError> {
        let mut nonce = [0; NONCE];
        random(&mut nonce)?;
        let ciphertext = self
            .cipher()
            .encrypt(
                &XNonce::from(nonce),
                Payload {
                    msg: secret,
                    aad: what.as_bytes(),
                },
            )
            .map_err(|_| StoreError::Key {
                why: format!("the secret of {what} is too long to be sealed"),
            })?;
        Ok(Sealed([&nonce[..], &ciphertext].concat()))
    }

    /// Opens the secret of the record `what`.
    ///
    /// # Errors
    /// If it was sealed with another key, for another record, or changed.
    pub fn open(&self, what: &str, sealed: &Sealed) -> Result<Vec<u8>, StoreError> {
        let tampered = || StoreError::Tampered {
            what: what.to_owned(),
        };
        let (nonce, ciphertext) = sealed.0.split_first_chunk::<NONCE>().ok_or_else(tampered)?;
        self.cipher()
            .decrypt(
                &XNonce::from(*nonce),
                Payload {
                    msg: ciphertext,
                    aad: what.as_bytes(),
                },
            )
            .map_err(|_| tampered())
    }

    /// The hash by which `secret` is found again among those of `purpose`.
    #[must_use]
    pub fn finding_hash(&self, purpose: &str, secret: &str) -> Vec<u8> {
        let mut message = Vec::with_capacity(purpose.len() + 1 + secret.len());
        message.extend_from_slice(purpose.as_bytes());
        message.push(0);
        message.extend_from_slice(secret.as_bytes());
        keyed_hash(&self.finding, &message).to_vec()
    }

    fn cipher(&self) -> XChaCha20Poly1305 {
        XChaCha20Poly1305::new(&self.sealing.into())
    }
}

fn keyed_hash(key: &[u8; 32], message: &[u8]) -> [u8; 32] {
    let mut mac = <Hmac<Sha256> as hmac::KeyInit>::new_from_slice(key).expect("a key of any length will do");
    mac.update(message);
    mac.finalize().into_bytes().into()
}

/// Fills `bytes` from the system's source of randomness.
///
/// # Errors
/// If the system has none.
pub fn random(bytes: &mut [u8]) -> Result<(), StoreError> {
    getrandom::fill(bytes).map_err(|error| StoreError::Key {
        why: format!("no random bytes: {error}"),
    })
}

/// A hash for what is compared and never shown, and is random enough by itself that no key has to protect it: it stays
/// the same when the store's key changes.
#[must_use]
pub fn digest(purpose: &str, text: &str) -> Vec<u8> {
    use sha2::Digest as _;
    Sha256::new()
        .chain_update(purpose)
        .chain_update([0])
        .chain_update(text)
        .finalize()
        .to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_changed_byte_does_not_open() {
        let key = SealingKey::from_bytes([1; 32]);
        let sealed = key.seal("a", b"secret").unwrap();
        for at in 0..sealed.0.len() {
            let mut other = sealed.clone();
            other.0[at] ^= 1;
            assert!(key.open("a", &other).is_err(), "byte {at}");
        }
        assert!(key.open("a", &Sealed(sealed.0[..10].to_vec())).is_err());
        assert!(SealingKey::from_bytes([2; 32]).open("a", &sealed).is_err());
    }

    #[test]
    fn a_file_is_made_once_for_its_owner_alone() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("labyard.key");
        let key = SealingKey::from_file_or_new(&path).unwrap();
        assert_eq!(SealingKey::from_file_or_new(&path).unwrap().id(), key.id());
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 1);
        std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o644)).unwrap();
        let refused = SealingKey::from_file(&path).unwrap_err().to_string();
        assert!(refused.contains("chmod 600"), "{refused}");
        assert!(SealingKey::from_text("c2hvcnQ=").is_err());
    }
}
