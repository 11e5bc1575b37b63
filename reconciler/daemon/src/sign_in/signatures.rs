//! The signatures of identity providers, verified by ring, which the TLS of this program has already. The library that reads
//! tokens brings none of its own here; it takes this for its cryptography. Nothing is signed by it.

use base64ct::{Base64UrlUnpadded, Encoding as _};
use jsonwebtoken::{
    Algorithm, AlgorithmFamily, DecodingKey, DecodingKeyKind, EncodingKey,
    crypto::{CryptoProvider, JwkUtils, JwtSigner, JwtVerifier},
    errors::{Error, ErrorKind},
    jwk::{AlgorithmParameters, EllipticCurve, Jwk},
};
use ring::signature::{
    self as by_ring, RsaParameters, RsaPublicKeyComponents, UnparsedPublicKey, VerificationAlgorithm,
};

static BY_RING: CryptoProvider = CryptoProvider {
    signer_factory: no_signer,
    verifier_factory: verifier,
    jwk_utils: JwkUtils::new_unimplemented(),
};

/// Makes ring the library's cryptography; later calls change nothing.
pub(super) fn by_ring() {
    // Who comes second finds the same there.
    let _ = BY_RING.install_default();
}

fn no_signer(_: &Algorithm, _: &EncodingKey) -> Result<Box<dyn JwtSigner>, Error> {
    Err(ErrorKind::InvalidAlgorithm.into())
}

/// How an algorithm is verified; none where a provider's public keys do not belong to it.
enum Way {
    Rsa(&'static RsaParameters),
    Raw(&'static dyn VerificationAlgorithm),
}

fn way(algorithm: Algorithm) -> Option<(AlgorithmFamily, Way)> {
    let rsa = |parameters| Some((AlgorithmFamily::Rsa, Way::Rsa(parameters)));
    match algorithm {
        Algorithm::RS256 => rsa(&by_ring::RSA_PKCS1_2048_8192_SHA256),
        Algorithm::RS384 => rsa(&by_ring::RSA_PKCS1_2048_8192_SHA384),
        Algorithm::RS512 => rsa(&by_ring::RSA_PKCS1_2048_8192_SHA512),
        Algorithm::PS256 => rsa(&by_ring::RSA_PSS_2048_8192_SHA256),
        Algorithm::PS384 => rsa(&by_ring::RSA_PSS_2048_8192_SHA384),
        Algorithm::PS512 => rsa(&by_ring::RSA_PSS_2048_8192_SHA512),
        Algorithm::ES256 => Some((AlgorithmFamily::Ec, Way::Raw(&by_ring::ECDSA_P256_SHA256_FIXED))),
        Algorithm::ES384 => Some((AlgorithmFamily::Ec, Way::Raw(&by_ring::ECDSA_P384_SHA384_FIXED))),
        Algorithm::EdDSA => Some((AlgorithmFamily::Ed, Way::Raw(&by_ring::ED25519))),
        // A secret that both know is no signature of one of them.
        Algorithm::HS256 | Algorithm::HS384 | Algorithm::HS512 => None,
    }
}

/// Whether tokens that are signed this way are looked at.
pub(super) fn is_known(algorithm: Algorithm) -> bool {
    way(algorithm).is_some()
}

/// The same key with coordinates as long as its curve has them (RFC 7518, section 6.2.1.2). Some providers (librhonabwy 1.1) leave out the
/// zeros that a number begins with: one key in 128 would be of no use to who signs in there.
pub(super) fn whole(key: &Jwk) -> Jwk {
    let mut whole = key.clone();
    if let AlgorithmParameters::EllipticCurve(point) = &mut whole.algorithm {
        let length = match point.curve {
            EllipticCurve::P256 => 32,
            EllipticCurve::P384 => 48,
            // The curves that nothing is verified with here are left as they are.
            _ => return whole,
        };
        for coordinate in [&mut point.x, &mut point.y] {
            let Ok(bytes) = Base64UrlUnpadded::decode_vec(coordinate) else {
                continue;
            };
            if bytes.len() < length {
                let mut padded = vec![0; length - bytes.len()];
                padded.extend(bytes);
                *coordinate = Base64UrlUnpadded::encode_string(&padded);
            }
        }
    }
    whole
}

fn verifier(algorithm: &Algorithm, key: &DecodingKey) -> Result<Box<dyn JwtVerifier>, Error> {
    match way(*algorithm) {
        Some((family, way)) if family == key.family() => Ok(Box::new(Verifying {
            algorithm: *algorithm,
            way,
            key: key.clone(),
        })),
        _ => Err(ErrorKind::InvalidAlgorithm.into()),
    }
}

struct Verifying {
    algorithm: Algorithm,
    way: Way,
    key: DecodingKey,
}

impl signature::Verifier<Vec<u8>> for Verifying {
    fn verify(&self, message: &[u8], signed: &Vec<u8>) -> Result<(), signature::Error> {
        let verified = match (&self.way, self.key.kind()) {
            (Way::Rsa(parameters), DecodingKeyKind::RsaModulusExponent { n, e }) => {
                RsaPublicKeyComponents { n, e }.verify(parameters, message, signed)
            }
            (Way::Raw(algorithm), DecodingKeyKind::SecretOrDer(key)) => {
                UnparsedPublicKey::new(*algorithm, key).verify(message, signed)
            }
            _ => return Err(signature::Error::new()),
        };
        verified.map_err(|_| signature::Error::new())
    }
}

impl JwtVerifier for Verifying {
    fn algorithm(&self) -> Algorithm {
        self.algorithm
    }
}
