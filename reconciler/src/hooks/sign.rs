//! The signature of a request: HMAC-SHA256 over its time and its body, so that nobody else can send one and nobody
//! can send an old one again.

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

/// The header that carries it.
pub const HEADER: &str = "labyard-signature";

/// The header's value: `t=SECONDS,v1=HEX`, the HMAC taken over `SECONDS.BODY`.
pub fn signature(key: &[u8], seconds: u64, body: &[u8]) -> String {
    // An HMAC takes keys of any length.
    let Ok(mut hmac) = Hmac::<Sha256>::new_from_slice(key) else {
        return String::new();
    };
    hmac.update(format!("{seconds}.").as_bytes());
    hmac.update(body);
    let digest = hmac.finalize().into_bytes();
    let hex: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("t={seconds},v1={hex}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_signature_is_the_hmac_that_other_tools_compute() {
        // printf '1700000000.{}' | openssl dgst -sha256 -hmac key
        assert_eq!(
            signature(b"key", 1_700_000_000, b"{}"),
            "t=1700000000,v1=9d713ed406bb7076d4123f0dc2c39d2df5c654ed4b0cd56b52c8b4c940bd63ae"
        );
    }

    #[test]
    fn time_key_and_body_each_change_it() {
        let base = signature(b"key", 1, b"{}");
        assert_ne!(base, signature(b"other", 1, b"{}"));
        assert_ne!(base, signature(b"key", 2, b"{}"));
        assert_ne!(base, signature(b"key", 1, b"{ }"));
    }
}
