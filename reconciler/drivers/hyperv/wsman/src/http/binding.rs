//! What binds a login to the TLS channel that it is made over: `tls-server-end-point` of RFC 5929, section 4. A service
//! that demands it (CbtHardeningLevel Strict) so refuses whoever sits between.

use sha2::{Digest, Sha256, Sha384, Sha512};

/// What is bound to: the name of the kind, and the hash of the service's certificate.
pub(super) fn end_point(certificate: &[u8]) -> Vec<u8> {
    let hash = match signature_hash(certificate) {
        Hash::Sha256 => Sha256::digest(certificate).to_vec(),
        Hash::Sha384 => Sha384::digest(certificate).to_vec(),
        Hash::Sha512 => Sha512::digest(certificate).to_vec(),
    };
    [b"tls-server-end-point:".as_slice(), &hash].concat()
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Hash {
    /// Also for those signed with MD5 and SHA-1, as the RFC has it.
    Sha256,
    Sha384,
    Sha512,
}

/// Algorithms of signatures by their object identifiers' bytes: RFC 8017 appendix A.2, RFC 5758 section 3.2.
const LONGER: [(&[u8], Hash); 4] = [
    (
        &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x0c],
        Hash::Sha384,
    ),
    (
        &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x0d],
        Hash::Sha512,
    ),
    (&[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x03], Hash::Sha384),
    (&[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x04], Hash::Sha512),
];
/// RSASSA-PSS says its hash in its parameters.
const PSS: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x0a];
/// The hashes that it says: RFC 8017 appendix B.1.
const PSS_LONGER: [(&[u8], Hash); 2] = [
    (
        &[0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x02],
        Hash::Sha384,
    ),
    (
        &[0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x03],
        Hash::Sha512,
    ),
];

/// The hash of a certificate's signature: the second part of the certificate, RFC 5280 section 4.1.
fn signature_hash(certificate: &[u8]) -> Hash {
    let algorithm = || {
        let (0x30, whole, _) = element(certificate)? else {
            return None;
        };
        let (_, _, rest) = element(whole)?;
        let (0x30, algorithm, _) = element(rest)? else {
            return None;
        };
        let (0x06, id, parameters) = element(algorithm)? else {
            return None;
        };
        Some((id, parameters))
    };
    let Some((id, parameters)) = algorithm() else {
        return Hash::Sha256;
    };
    let told = match id == PSS {
        true => PSS_LONGER
            .iter()
            .find(|(hash, _)| parameters.windows(hash.len()).any(|part| part == *hash))
            .map(|(_, hash)| *hash),
        false => LONGER
            .iter()
            .find(|(known, _)| *known == id)
            .map(|(_, hash)| *hash),
    };
    told.unwrap_or(Hash::Sha256)
}

/// The tag and content of a DER element, and what follows it.
pub(super) fn element(der: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (tag, rest) = der.split_first()?;
    let (first, rest) = rest.split_first()?;
    let (length, rest) = match first {
        0..=0x7f => (usize::from(*first), rest),
        0x81..=0x84 => {
            let (bytes, rest) = rest.split_at_checked(usize::from(first & 0x7f))?;
            let length = bytes.iter().try_fold(0_usize, |length, byte| {
                length.checked_mul(256)?.checked_add(usize::from(*byte))
            })?;
            (length, rest)
        }
        _ => return None,
    };
    let (content, rest) = rest.split_at_checked(length)?;
    Some((*tag, content, rest))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A certificate as far as this module looks into one.
    fn certificate(algorithm: &[u8], parameters: &[u8]) -> Vec<u8> {
        let wrap = |tag: u8, inside: &[u8]| {
            let mut der = vec![tag, 0x82];
            der.extend(u16::try_from(inside.len()).unwrap().to_be_bytes());
            der.extend(inside);
            der
        };
        let algorithm = [wrap(0x06, algorithm), parameters.to_vec()].concat();
        wrap(
            0x30,
            &[wrap(0x30, &[1; 300]), wrap(0x30, &algorithm), wrap(0x03, &[0])].concat(),
        )
    }

    #[test]
    fn the_hash_is_that_of_the_signature_and_at_least_sha_256() {
        for (algorithm, hash) in LONGER {
            assert_eq!(signature_hash(&certificate(algorithm, &[5, 0])), hash);
        }
        for (parameters, hash) in PSS_LONGER {
            assert_eq!(signature_hash(&certificate(PSS, parameters)), hash);
        }
        let sha1 = [0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x05];
        assert_eq!(signature_hash(&certificate(&sha1, &[5, 0])), Hash::Sha256);
        let bound = end_point(&certificate(LONGER[0].0, &[]));
        assert_eq!(bound.len(), "tls-server-end-point:".len() + 48);
    }

    proptest! {
        #[test]
        fn no_certificate_ends_the_program(bytes: Vec<u8>) {
            let _ = end_point(&bytes);
        }
    }
}
