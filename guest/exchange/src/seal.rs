//! HPKE (RFC 9180), base mode: X25519, HKDF-SHA256, ChaCha20-Poly1305. One text is sealed to one key, once.

use hpke::aead::ChaCha20Poly1305;
use hpke::kdf::HkdfSha256;
use hpke::kem::X25519HkdfSha256;
use hpke::rand_core::CryptoRng;
use hpke::{Deserializable, HpkeError, Kem, OpModeR, OpModeS, Serializable};
use zeroize::Zeroizing;

/// What these keys are for: part of every sealing, so that a text sealed for another purpose does not open here.
pub const PURPOSE: &[u8] = b"labyard guest configuration 1";
/// How long a public key is, and with it the head of a sealed text.
pub const PUBLIC: usize = 32;
/// How much longer than its content a sealed text is: the head, and the seal at the end.
pub const OVERHEAD: usize = PUBLIC + 16;

/// What a text can be sealed to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublicKey([u8; PUBLIC]);

/// A fresh key pair. Its private half never leaves memory.
pub struct KeyPair {
    private: <X25519HkdfSha256 as Kem>::PrivateKey,
    public: PublicKey,
}

/// Why something cannot be sealed or opened. It says no more: the reasons of cryptography help nobody but attackers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SealError {
    /// The public key is none.
    #[error("that is no X25519 key that a text can be sealed to")]
    PublicKey,
    /// It does not open: another key, other data that it is bound to, or altered on its way.
    #[error("it does not open with this key and this exchange")]
    Open,
}

impl PublicKey {
    /// Of 32 bytes. Whether they are a usable key is seen when something is sealed to it.
    pub fn from_bytes(bytes: [u8; PUBLIC]) -> Self {
        Self(bytes)
    }

    /// Its bytes.
    pub fn as_bytes(&self) -> &[u8; PUBLIC] {
        &self.0
    }
}

impl KeyPair {
    /// A new one.
    pub fn draw(rng: &mut impl CryptoRng) -> Self {
        let mut seed = Zeroizing::new([0; 32]);
        rng.fill_bytes(seed.as_mut_slice());
        let (private, public) = X25519HkdfSha256::derive_keypair(seed.as_slice());
        Self {
            private,
            public: PublicKey(public.to_bytes().into()),
        }
    }

    /// Its public half.
    pub fn public(&self) -> &PublicKey {
        &self.public
    }

    /// Opens what was sealed to it.
    ///
    /// # Errors
    /// If it was not, or is bound to other data.
    pub fn open(&self, sealed: &[u8], bound_to: &[u8]) -> Result<Zeroizing<Vec<u8>>, SealError> {
        self.open_for(PURPOSE, sealed, bound_to)
    }

    fn open_for(
        &self,
        purpose: &[u8],
        sealed: &[u8],
        bound_to: &[u8],
    ) -> Result<Zeroizing<Vec<u8>>, SealError> {
        let (head, ciphertext) = sealed.split_at_checked(PUBLIC).ok_or(SealError::Open)?;
        let opened = <X25519HkdfSha256 as Kem>::EncappedKey::from_bytes(head).and_then(|head| {
            hpke::single_shot_open::<ChaCha20Poly1305, HkdfSha256, X25519HkdfSha256>(
                &OpModeR::Base,
                &self.private,
                &head,
                purpose,
                ciphertext,
                bound_to,
            )
        });
        opened.map(Zeroizing::new).map_err(|_| SealError::Open)
    }
}

/// Seals a text to a key: the head that the key's owner needs, then the ciphertext.
///
/// # Errors
/// If the key is none.
pub fn seal(
    to: &PublicKey,
    text: &[u8],
    bound_to: &[u8],
    rng: &mut impl CryptoRng,
) -> Result<Vec<u8>, SealError> {
    seal_for(PURPOSE, to, text, bound_to, rng)
}

fn seal_for(
    purpose: &[u8],
    to: &PublicKey,
    text: &[u8],
    bound_to: &[u8],
    rng: &mut impl CryptoRng,
) -> Result<Vec<u8>, SealError> {
    let mut sealed = || -> Result<Vec<u8>, HpkeError> {
        let key = <X25519HkdfSha256 as Kem>::PublicKey::from_bytes(&to.0)?;
        let (head, ciphertext) = hpke::single_shot_seal_with_rng::<
            ChaCha20Poly1305,
            HkdfSha256,
            X25519HkdfSha256,
        >(&OpModeS::Base, &key, purpose, text, bound_to, rng)?;
        Ok([head.to_bytes().as_slice(), &ciphertext].concat())
    };
    sealed().map_err(|_| SealError::PublicKey)
}

#[cfg(test)]
mod tests;
