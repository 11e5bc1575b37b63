//! Seals by keys of Kerberos: the Wrap tokens of RFC 4121, 4.2.
//!
//! What is sealed here has the form of Windows (\[MS-KILE\] 3.4.5.4.1): turned by 28, so that all but the message itself
//! stands in front of it. What is opened may be turned in any way.

use picky_krb::constants::key_usages::{ACCEPTOR_SEAL, ACCEPTOR_SIGN, INITIATOR_SEAL};
use picky_krb::crypto::aes::{AesSize, checksum_sha_aes};
use picky_krb::crypto::{CipherSuite, KerberosCryptoError};
use zeroize::Zeroizing;

use super::super::sealed::Sealed;
use super::super::session::Failed;

const WRAP: [u8; 2] = [5, 4];
const MIC: [u8; 2] = [4, 4];
const BY_ACCEPTOR: u8 = 1;
const SEALED: u8 = 2;
const BY_ACCEPTORS_KEY: u8 = 4;
/// The length of a token's header, which is also its end, encrypted.
const HEADER: usize = 16;
/// What an encrypted message has in front of it.
const CONFOUNDER: usize = 16;
/// What it has behind it.
const CHECKSUM: usize = 12;
/// By how much Windows turns: header and checksum.
const TURN: usize = HEADER + CHECKSUM;

/// A key with what it is used by.
#[derive(Clone)]
pub(super) struct Key {
    pub(super) suite: CipherSuite,
    pub(super) bytes: Zeroizing<Vec<u8>>,
}

impl Key {
    pub(super) fn decrypt(&self, usage: i32, sealed: &[u8]) -> Result<Vec<u8>, KerberosCryptoError> {
        if sealed.len() < CONFOUNDER + CHECKSUM {
            return Err(KerberosCryptoError::CipherLength(
                sealed.len(),
                CONFOUNDER + CHECKSUM,
            ));
        }
        self.suite.cipher().decrypt(&self.bytes, usage, sealed)
    }
}

/// The keys of a login, and how far each side has counted.
pub(super) struct Seals {
    key: Key,
    /// Whether the key is the service's.
    theirs: bool,
    /// The number of the next that is sent.
    next: u64,
    /// The lowest number that may come next: what comes again is an old answer.
    expected: u64,
}

impl Seals {
    /// The key that the service proposed counts before our own.
    pub(super) fn new(own: Key, theirs: Option<Key>, next: u32, expected: u32) -> Self {
        Self {
            theirs: theirs.is_some(),
            key: theirs.unwrap_or(own),
            next: u64::from(next),
            expected: u64::from(expected),
        }
    }

    pub(super) fn seal(&mut self, plain: &[u8]) -> Result<Sealed, Failed> {
        let own = match self.theirs {
            true => BY_ACCEPTORS_KEY,
            false => 0,
        };
        let header = header(WRAP, SEALED | own, 0, self.next);
        self.next += 1;
        let whole = [plain, &header].concat();
        let mut sealed = self
            .key
            .suite
            .cipher()
            .encrypt(&self.key.bytes, INITIATOR_SEAL, &whole)?;
        sealed.rotate_right(TURN);
        let turned = u16::try_from(TURN).unwrap_or_default().to_be_bytes();
        let mut token = header.to_vec();
        token[6..8].copy_from_slice(&turned);
        token.extend(sealed);
        // The confounder, too, is no part of the message.
        let bytes = token.split_off(HEADER + TURN + CONFOUNDER);
        Ok(Sealed {
            header: token,
            bytes,
            plain: plain.len(),
        })
    }

    pub(super) fn open(&mut self, token: &[u8]) -> Result<Vec<u8>, Failed> {
        let broken = Failed::new("it is no seal of Kerberos");
        let Some((front, body)) = token.split_first_chunk::<HEADER>() else {
            return Err(broken);
        };
        let number = self.number(front, WRAP, SEALED)?;
        let two = |at: usize| usize::from(u16::from_be_bytes([front[at], front[at + 1]]));
        let (extra, turned) = (two(4), two(6));
        if body.len() < CONFOUNDER + HEADER + extra + CHECKSUM {
            return Err(broken);
        }
        // By the number that it says (RFC 4121, 4.2.5); some of Windows' turn by what is filled in, too.
        let opened = self.decrypt(body, turned).or_else(|error| match extra {
            0 => Err(error),
            extra => self.decrypt(body, turned + extra),
        });
        let mut plain = opened?;
        let end = plain.split_off(plain.len() - HEADER);
        let unturned = header(WRAP, front[2], two(4), number);
        if end != unturned || plain.len() < extra {
            return Err(Failed::new("it has another header than was sealed with it"));
        }
        plain.truncate(plain.len() - extra);
        self.expected = number + 1;
        Ok(plain)
    }

    /// Checks what the service has signed.
    pub(super) fn check_mic(&mut self, token: &[u8], over: &[u8]) -> Result<(), Failed> {
        let Some((front, checksum)) = token.split_first_chunk::<HEADER>() else {
            return Err(Failed::new("it is no signature of Kerberos"));
        };
        let number = self.number(front, MIC, 0)?;
        let size = match self.key.suite {
            CipherSuite::Aes256CtsHmacSha196 => AesSize::Aes256,
            CipherSuite::Aes128CtsHmacSha196 => AesSize::Aes128,
            CipherSuite::Des3CbcSha1Kd => return Err(Failed::new("it signs by DES")),
        };
        let right = checksum_sha_aes(&self.key.bytes, ACCEPTOR_SIGN, &[over, front].concat(), &size)?;
        // It is sent in the clear: comparing it tells nobody anything.
        if right != checksum {
            return Err(Failed::new("its signature of the mechanisms is wrong"));
        }
        self.expected = number + 1;
        Ok(())
    }

    fn decrypt(&self, body: &[u8], turned: usize) -> Result<Vec<u8>, KerberosCryptoError> {
        let mut sealed = body.to_vec();
        sealed.rotate_left(turned % body.len());
        self.key.decrypt(ACCEPTOR_SEAL, &sealed)
    }

    /// The number of a token of that kind that the service has sent.
    fn number(&self, front: &[u8; HEADER], kind: [u8; 2], flags: u8) -> Result<u64, Failed> {
        let own = match self.theirs {
            true => BY_ACCEPTORS_KEY,
            false => 0,
        };
        if front[..2] != kind || front[2] != BY_ACCEPTOR | flags | own || front[3] != 0xff {
            return Err(Failed::new("it is no seal of this service for this login"));
        }
        let mut number = [0; 8];
        number.copy_from_slice(&front[8..]);
        let number = u64::from_be_bytes(number);
        if number < self.expected {
            return Err(Failed::new("it came before: somebody repeats old answers"));
        }
        Ok(number)
    }
}

fn header(kind: [u8; 2], flags: u8, extra: usize, number: u64) -> [u8; HEADER] {
    let mut header = [0xff; HEADER];
    header[..2].copy_from_slice(&kind);
    header[2] = flags;
    if kind == WRAP {
        let extra = u16::try_from(extra).unwrap_or_default();
        header[4..6].copy_from_slice(&extra.to_be_bytes());
        header[6..8].copy_from_slice(&[0, 0]);
    }
    header[8..].copy_from_slice(&number.to_be_bytes());
    header
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn key() -> Key {
        Key {
            suite: CipherSuite::Aes256CtsHmacSha196,
            bytes: vec![7; 32].into(),
        }
    }

    fn seals() -> Seals {
        Seals::new(key(), Some(key()), 3, 9)
    }

    /// What a service sends: filled in with so many bytes, and turned by so many.
    fn sent(plain: &[u8], number: u64, extra: usize, turned: usize) -> Vec<u8> {
        let mut front = header(WRAP, BY_ACCEPTOR | SEALED | BY_ACCEPTORS_KEY, extra, number);
        let whole = [plain, &vec![0; extra], &front].concat();
        let mut sealed = key()
            .suite
            .cipher()
            .encrypt(&key().bytes, ACCEPTOR_SEAL, &whole)
            .unwrap();
        let length = sealed.len();
        sealed.rotate_right(turned % length);
        front[6..8].copy_from_slice(&u16::try_from(turned).unwrap().to_be_bytes());
        [&front[..], &sealed].concat()
    }

    #[test]
    fn what_is_turned_and_filled_in_any_way_is_opened() {
        for (extra, turned) in [(0, 0), (0, 28), (16, 28), (16, 0), (3, 300)] {
            let token = sent(b"<x/>", 9, extra, turned);
            assert_eq!(seals().open(&token).unwrap(), b"<x/>", "{extra} {turned}");
        }
        let mut windows = sent(b"<x/>", 9, 16, 28 + 16);
        windows[7] = 28;
        assert_eq!(seals().open(&windows).unwrap(), b"<x/>");
        assert_eq!(seals().open(&sent(b"", 9, 0, 28)).unwrap(), b"");
    }

    #[test]
    fn what_came_before_or_was_changed_or_is_our_own_is_not_opened() {
        let mut seals = seals();
        let (first, second) = (sent(b"one", 9, 0, 0), sent(b"two", 10, 0, 0));
        assert_eq!(seals.open(&first).unwrap(), b"one");
        let again = seals.open(&first).unwrap_err().to_string();
        assert!(again.contains("repeats old answers"), "{again}");
        let mut renumbered = first;
        renumbered[15] = 10;
        assert!(seals.open(&renumbered).is_err(), "the number is sealed, too");
        for at in 0..second.len() {
            let mut changed = second.clone();
            changed[at] ^= 1;
            assert!(seals.open(&changed).is_err(), "{at}");
        }
        assert_eq!(seals.open(&second).unwrap(), b"two");
        let own = seals.seal(b"three").unwrap();
        assert!(seals.open(&[own.header, own.bytes].concat()).is_err());
    }

    #[test]
    fn what_is_sealed_has_the_form_of_windows() {
        let sealed = seals().seal(b"<x/>").unwrap();
        assert_eq!(
            (sealed.header.len(), sealed.bytes.len(), sealed.plain),
            (60, 4, 4)
        );
        assert_eq!(sealed.header[..8], [5, 4, 6, 0xff, 0, 0, 0, 28]);
        assert_eq!(sealed.header[8..16], [0, 0, 0, 0, 0, 0, 0, 3]);
        let mut body = [&sealed.header[16..], &sealed.bytes].concat();
        body.rotate_left(28);
        let plain = key().decrypt(INITIATOR_SEAL, &body).unwrap();
        assert_eq!(plain[..4], *b"<x/>");
    }

    proptest! {
        #[test]
        fn no_token_ends_the_program(bytes: Vec<u8>, like: bool) {
            let mut token = bytes;
            if like {
                token.splice(..0, [5, 4, 7, 0xff]);
            }
            let _ = seals().open(&token);
            let _ = seals().check_mic(&token, b"");
        }
    }
}
