//! Whether an ID token is the provider's own, for us, of this sign-in and of now (OpenID Connect Core 1.0, section 3.1.3.7).

use super::signatures;
use jsonwebtoken::{
    DecodingKey, Header, Validation, decode, decode_header,
    errors::ErrorKind,
    jwk::{Jwk, PublicKeyUse},
};
use serde_json::{Map, Value};
use std::time::Duration;

/// What a token has to say.
#[derive(Clone, Copy, Debug)]
pub(super) struct Expected<'a> {
    pub(super) issuer: &'a str,
    pub(super) client_id: &'a str,
    pub(super) nonce: &'a str,
    /// By how much clocks may differ.
    pub(super) skew: Duration,
}

/// Why a token is not believed.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Disbelief {
    /// The provider may have another key by now.
    #[error("it is signed with a key that the provider does not show")]
    UnknownKey,
    #[error("{0}")]
    Because(String),
}

fn because(why: impl Into<String>) -> Disbelief {
    Disbelief::Because(why.into())
}

/// The claims of a token that is believed.
pub(super) fn believed(
    token: &str,
    keys: &[Jwk],
    expected: &Expected<'_>,
) -> Result<Map<String, Value>, Disbelief> {
    signatures::by_ring();
    let header = decode_header(token).map_err(|error| because(format!("it is no signed token ({error})")))?;
    if !signatures::is_known(header.alg) {
        return Err(because(format!(
            "it is signed by {:?}, which is no signature of a provider",
            header.alg
        )));
    }
    let key = DecodingKey::from_jwk(&signatures::whole(chosen(keys, &header)?))
        .map_err(|error| because(format!("the provider's key cannot be used ({error})")))?;
    let mut validation = Validation::new(header.alg);
    validation.set_required_spec_claims(&["exp", "iss", "aud", "sub"]);
    validation.set_issuer(&[expected.issuer]);
    validation.set_audience(&[expected.client_id]);
    validation.validate_nbf = true;
    validation.leeway = expected.skew.as_secs();
    let claims = decode::<Map<String, Value>>(token, &key, &validation)
        .map_err(|error| because(said(error.kind())))?
        .claims;
    // With several audiences it has to be said who asked for it.
    let is_ours = match claims.get("azp") {
        Some(party) => party == expected.client_id,
        None => claims["aud"].as_array().is_none_or(|all| all.len() <= 1),
    };
    if !is_ours {
        return Err(because("another client asked for it"));
    }
    if claims.get("nonce").and_then(Value::as_str) != Some(expected.nonce) {
        return Err(because("it belongs to another sign-in (nonce)"));
    }
    Ok(claims)
}

/// The key that a token names, or the only one there is.
fn chosen<'a>(keys: &'a [Jwk], header: &Header) -> Result<&'a Jwk, Disbelief> {
    let algorithm = format!("{:?}", header.alg);
    let mut fitting = keys.iter().filter(|key| {
        let common = &key.common;
        let signs = !matches!(
            common.public_key_use,
            Some(PublicKeyUse::Encryption | PublicKeyUse::Other(_))
        );
        let named = header.kid.is_none() || common.key_id == header.kid;
        signs
            && named
            && common
                .key_algorithm
                .is_none_or(|own| own.to_string() == algorithm)
    });
    match (fitting.next(), fitting.next()) {
        (Some(key), None) => Ok(key),
        (Some(key), Some(_)) if header.kid.is_some() => Ok(key),
        (Some(_), Some(_)) => Err(because("it names no key, and the provider has several")),
        (None, _) => Err(Disbelief::UnknownKey),
    }
}

fn said(kind: &ErrorKind) -> String {
    match kind {
        ErrorKind::InvalidSignature => "its signature is wrong".to_owned(),
        ErrorKind::ExpiredSignature => "its time is over".to_owned(),
        ErrorKind::ImmatureSignature => "its time has not begun".to_owned(),
        ErrorKind::InvalidIssuer => "it is of another issuer".to_owned(),
        ErrorKind::InvalidAudience => "it is for another audience".to_owned(),
        ErrorKind::MissingRequiredClaim(claim) => format!("it has no {claim}"),
        other => format!("{other:?}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use base64ct::{Base64UrlUnpadded, Encoding as _};
    use ring::{
        rand::SystemRandom,
        signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _},
    };
    use serde_json::json;

    struct Signer {
        pair: EcdsaKeyPair,
        name: &'static str,
    }

    impl Signer {
        fn new(name: &'static str) -> Self {
            let random = SystemRandom::new();
            let pkcs8 = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random).unwrap();
            let pair =
                EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, pkcs8.as_ref(), &random).unwrap();
            Self { pair, name }
        }

        fn key(&self) -> Jwk {
            let point = self.pair.public_key().as_ref();
            let coordinate = |bytes: &[u8]| Base64UrlUnpadded::encode_string(bytes);
            serde_json::from_value(json!({
                "kty": "EC", "crv": "P-256", "use": "sig", "alg": "ES256", "kid": self.name,
                "x": coordinate(&point[1..33]), "y": coordinate(&point[33..]),
            }))
            .unwrap()
        }

        fn signed(&self, header: &Value, claims: &Value) -> String {
            let part = |value: &Value| Base64UrlUnpadded::encode_string(value.to_string().as_bytes());
            let message = format!("{}.{}", part(header), part(claims));
            let signature = self.pair.sign(&SystemRandom::new(), message.as_bytes()).unwrap();
            format!(
                "{message}.{}",
                Base64UrlUnpadded::encode_string(signature.as_ref())
            )
        }

        fn token(&self, claims: &Value) -> String {
            self.signed(&json!({"alg": "ES256", "kid": self.name}), claims)
        }
    }

    const EXPECTED: Expected<'static> = Expected {
        issuer: "https://id.example",
        client_id: "labyard",
        nonce: "n1",
        skew: Duration::from_secs(60),
    };

    /// What is right, with something else in its place.
    fn claims(other: &Value) -> Value {
        let now = jsonwebtoken::get_current_timestamp();
        let mut claims = json!({
            "iss": "https://id.example", "aud": "labyard", "sub": "7", "nonce": "n1", "iat": now, "exp": now + 300,
        });
        for (name, value) in other.as_object().unwrap() {
            claims[name] = value.clone();
        }
        claims
    }

    #[test]
    fn what_is_right_is_believed_also_where_clocks_differ_a_little() {
        let signer = Signer::new("k1");
        let now = jsonwebtoken::get_current_timestamp();
        for other in [
            json!({}),
            json!({"aud": ["labyard"]}),
            json!({"aud": ["labyard", "other"], "azp": "labyard"}),
            json!({"exp": now - 30}),
            json!({"nbf": now + 30}),
        ] {
            let token = signer.token(&claims(&other));
            let found = believed(&token, &[signer.key()], &EXPECTED);
            assert_eq!(found.unwrap()["sub"], "7", "{other}");
        }
    }

    #[test]
    fn a_key_that_is_shown_without_leading_zeros_is_the_same_key() {
        for (from, name) in [(1, "x"), (33, "y")] {
            let signer = (0..20_000)
                .map(|_| Signer::new("k1"))
                .find(|signer| signer.pair.public_key().as_ref()[from] == 0)
                .unwrap();
            let point = signer.pair.public_key().as_ref();
            let mut shown = serde_json::to_value(signer.key()).unwrap();
            shown[name] = json!(Base64UrlUnpadded::encode_string(&point[from + 1..from + 32]));
            let key = serde_json::from_value(shown).unwrap();
            let found = believed(&signer.token(&claims(&json!({}))), &[key], &EXPECTED);
            assert!(found.is_ok(), "{name}: {found:?}");
        }
    }

    #[test]
    fn what_is_of_another_issuer_audience_sign_in_or_time_is_not_believed() {
        let signer = Signer::new("k1");
        let now = jsonwebtoken::get_current_timestamp();
        for (other, why) in [
            (json!({"iss": "https://evil.example"}), "another issuer"),
            (json!({"aud": "other"}), "another audience"),
            (json!({"aud": ["labyard", "other"]}), "another client"),
            (json!({"azp": "other"}), "another client"),
            (json!({"nonce": "n2"}), "another sign-in"),
            (json!({"nonce": null}), "another sign-in"),
            (json!({"exp": now - 61}), "time is over"),
            (json!({"exp": "soon"}), "no exp"),
            (json!({"exp": null}), "no exp"),
            (json!({"nbf": now + 120}), "not begun"),
        ] {
            let token = signer.token(&claims(&other));
            let refused = believed(&token, &[signer.key()], &EXPECTED).unwrap_err();
            assert!(refused.to_string().contains(why), "{other}: {refused}");
        }
    }

    #[test]
    fn what_the_providers_own_key_did_not_sign_is_not_believed() {
        let (own, other) = (Signer::new("k1"), Signer::new("k1"));
        let right = claims(&json!({}));
        let forged = believed(&other.token(&right), &[own.key()], &EXPECTED).unwrap_err();
        assert!(forged.to_string().contains("signature is wrong"), "{forged}");
        let newer = Signer::new("k2").token(&right);
        assert_eq!(
            believed(&newer, &[own.key()], &EXPECTED),
            Err(Disbelief::UnknownKey)
        );
        for header in [
            json!({"alg": "none"}),
            json!({"alg": "HS256", "kid": "k1"}),
            json!({"alg": "RS256", "kid": "k1"}),
        ] {
            let token = own.signed(&header, &right);
            assert!(believed(&token, &[own.key()], &EXPECTED).is_err(), "{header}");
        }
        let unnamed = own.signed(&json!({"alg": "ES256"}), &right);
        assert!(believed(&unnamed, &[own.key()], &EXPECTED).is_ok());
        let several = [own.key(), Signer::new("k3").key()];
        assert!(believed(&unnamed, &several, &EXPECTED).is_err());
    }
}
