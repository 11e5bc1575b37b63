use std::convert::Infallible;

use hpke::rand_core::{TryCryptoRng, TryRng};

use super::*;

/// Gives the bytes it was made of, once.
struct Drawn(Vec<u8>);

impl TryRng for Drawn {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        unreachable!("only bytes are drawn")
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        unreachable!("only bytes are drawn")
    }

    fn try_fill_bytes(&mut self, to: &mut [u8]) -> Result<(), Infallible> {
        to.copy_from_slice(&self.0[..to.len()]);
        self.0.drain(..to.len());
        Ok(())
    }
}

impl TryCryptoRng for Drawn {}

fn bytes(hex: &str) -> Vec<u8> {
    (0..hex.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap())
        .collect()
}

/// RFC 9180, appendix A.2.1: DHKEM(X25519, HKDF-SHA256), HKDF-SHA256, ChaCha20Poly1305, base mode, encryption 0.
mod rfc {
    pub(super) const INFO: &str = "4f6465206f6e2061204772656369616e2055726e";
    pub(super) const SEED_OF_SENDER: &str =
        "909a9b35d3dc4713a5e72a4da274b55d3d3821a37e5d099e74a647db583a904b";
    pub(super) const HEAD: &str = "1afa08d3dec047a643885163f1180476fa7ddb54c6a8029ea33f95796bf2ac4a";
    pub(super) const SEED_OF_RECEIVER: &str =
        "1ac01f181fdf9f352797655161c58b75c656a6cc2716dcb66372da835542e1df";
    pub(super) const PUBLIC: &str = "4310ee97d88cc1f088a5576c77ab0cf5c3ac797f3d95139c6c84b5429c59662a";
    pub(super) const TEXT: &str = "4265617574792069732074727574682c20747275746820626561757479";
    pub(super) const BOUND_TO: &str = "436f756e742d30";
    pub(super) const CIPHERTEXT: &str =
        "1c5250d8034ec2b784ba2cfd69dbdb8af406cfe3ff938e131f0def8c8b60b4db21993c62ce81883d2dd1b51a28";
}

#[test]
fn keys_seals_and_openings_are_those_of_the_rfcs_vector() {
    let receiver = KeyPair::draw(&mut Drawn(bytes(rfc::SEED_OF_RECEIVER)));
    assert_eq!(receiver.public().as_bytes().as_slice(), bytes(rfc::PUBLIC));

    let mut rng = Drawn(bytes(rfc::SEED_OF_SENDER));
    let sealed = seal_for(
        &bytes(rfc::INFO),
        receiver.public(),
        &bytes(rfc::TEXT),
        &bytes(rfc::BOUND_TO),
        &mut rng,
    )
    .unwrap();
    assert_eq!(sealed, bytes(&[rfc::HEAD, rfc::CIPHERTEXT].concat()));

    let opened = receiver.open_for(&bytes(rfc::INFO), &sealed, &bytes(rfc::BOUND_TO));
    assert_eq!(opened.unwrap().as_slice(), bytes(rfc::TEXT));
}

#[test]
fn only_the_key_and_the_data_it_was_bound_to_open_a_text() {
    let key = KeyPair::draw(&mut Drawn(vec![1; 32]));
    let other = KeyPair::draw(&mut Drawn(vec![2; 32]));
    let sealed = seal(key.public(), b"a text", b"this", &mut Drawn(vec![3; 32])).unwrap();
    assert_eq!(sealed.len(), b"a text".len() + OVERHEAD);
    assert_eq!(key.open(&sealed, b"this").unwrap().as_slice(), b"a text");
    assert_eq!(other.open(&sealed, b"this").err(), Some(SealError::Open));
    assert_eq!(key.open(&sealed, b"that").err(), Some(SealError::Open));
    assert_eq!(
        key.open_for(b"another purpose", &sealed, b"this").err(),
        Some(SealError::Open)
    );
    for at in 0..sealed.len() {
        let mut altered = sealed.clone();
        altered[at] ^= 1;
        assert_eq!(
            key.open(&altered, b"this").err(),
            Some(SealError::Open),
            "byte {at}"
        );
        assert_eq!(
            key.open(&sealed[..at], b"this").err(),
            Some(SealError::Open),
            "{at} bytes"
        );
    }
}

#[test]
fn nothing_is_sealed_to_a_key_that_gives_everybody_the_same_secret() {
    // The point of order one: what it agrees on with any key is zero.
    let zero = PublicKey::from_bytes([0; PUBLIC]);
    let sealed = seal(&zero, b"a text", b"", &mut Drawn(vec![3; 32]));
    assert_eq!(sealed.err(), Some(SealError::PublicKey));
}
