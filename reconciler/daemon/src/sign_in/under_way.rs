//! A sign-in that is under way. What has to be known when the person comes back (state, nonce, the secret of PKCE) is sealed into
//! a cookie of their browser: no replica keeps anything, and nobody can be made to finish a sign-in that another began.
//!
//! Who signs in from a terminal listens on a port of the own computer. What comes there, when the person has agreed to that
//! port, is a ticket: of use for two minutes, once, and only with the secret whose digest was said at the beginning.

use super::{SignInError, granted::Granted};
use base64ct::{Base64UrlUnpadded, Encoding as _};
use labyard_api::token::Role;
use labyard_labs::ids::random_id;
use labyard_store::{Sealed, SealingKey, StoreError, event::Moment};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use sha2::{Digest as _, Sha256};

/// How long a person may take.
pub(crate) const PATIENCE_S: i64 = 600;
const TICKET_S: i64 = 120;
const COOKIE: &str = "sign-in/under-way";
const TICKET: &str = "sign-in/ticket";

/// The terminal that waits.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Terminal {
    /// The port on its own computer.
    pub(crate) port: u16,
    /// The digest of its secret.
    pub(crate) challenge: String,
}

/// A sign-in that is under way.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct UnderWay {
    pub(crate) state: String,
    pub(crate) nonce: String,
    pub(crate) verifier: String,
    pub(crate) terminal: Option<Terminal>,
    until: i64,
}

/// What a terminal is given.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Ticket {
    /// The token that is made for it is called so: a second one cannot be made.
    id: String,
    person: String,
    role: Role,
    namespaces: Option<Vec<String>>,
    challenge: String,
    until: i64,
}

impl UnderWay {
    /// A new one.
    pub(crate) fn begin(terminal: Option<Terminal>, now: Moment) -> Result<Self, StoreError> {
        let secret = || Ok::<_, StoreError>(random_id()? + &random_id()?);
        Ok(Self {
            state: secret()?,
            nonce: secret()?,
            verifier: secret()?,
            terminal,
            until: now.0.saturating_add(PATIENCE_S * 1000),
        })
    }

    /// As a cookie's value.
    pub(crate) fn sealed(&self, key: &SealingKey) -> Result<String, StoreError> {
        seal(key, COOKIE, self)
    }

    /// The one of a cookie, where the provider sent its person back with its state, in time.
    pub(crate) fn opened(
        key: &SealingKey,
        cookie: &str,
        state: &str,
        now: Moment,
    ) -> Result<Self, SignInError> {
        match open::<Self>(key, COOKIE, cookie) {
            Some(found) if found.state == state && now.0 < found.until => Ok(found),
            _ => Err(SignInError::OtherState),
        }
    }
}

/// The digest of a secret, as PKCE's method S256 has it (RFC 7636, section 4.2).
pub(crate) fn challenge(verifier: &str) -> String {
    Base64UrlUnpadded::encode_string(&Sha256::digest(verifier.as_bytes()))
}

/// The ticket of a terminal.
pub(crate) fn ticket(
    key: &SealingKey,
    granted: &Granted,
    terminal: &Terminal,
    now: Moment,
) -> Result<String, StoreError> {
    let ticket = Ticket {
        id: random_id()?,
        person: granted.person.clone(),
        role: granted.role,
        namespaces: granted.namespaces.clone(),
        challenge: terminal.challenge.clone(),
        until: now.0.saturating_add(TICKET_S * 1000),
    };
    seal(key, TICKET, &ticket)
}

/// Who a ticket is for, and which one it is, where its terminal brings it in time.
pub(crate) fn redeemed(
    key: &SealingKey,
    ticket: &str,
    verifier: &str,
    now: Moment,
) -> Result<(Granted, String), SignInError> {
    match open::<Ticket>(key, TICKET, ticket) {
        Some(found) if found.challenge == challenge(verifier) && now.0 < found.until => {
            let granted = Granted {
                person: found.person,
                role: found.role,
                namespaces: found.namespaces,
            };
            Ok((granted, found.id))
        }
        _ => Err(SignInError::OtherState),
    }
}

fn seal(key: &SealingKey, what: &str, value: &impl Serialize) -> Result<String, StoreError> {
    let text = serde_json::to_vec(value).unwrap_or_default();
    Ok(Base64UrlUnpadded::encode_string(&key.seal(what, &text)?.0))
}

fn open<T: DeserializeOwned>(key: &SealingKey, what: &str, text: &str) -> Option<T> {
    let sealed = Base64UrlUnpadded::decode_vec(text).ok()?;
    let opened = key.open(what, &Sealed(sealed)).ok()?;
    serde_json::from_slice(&opened).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_way_back_is_of_the_same_browser_the_same_state_and_in_time() {
        let key = SealingKey::from_bytes([7; 32]);
        let begun = UnderWay::begin(None, Moment(0)).unwrap();
        let cookie = begun.sealed(&key).unwrap();
        let opened =
            |cookie: &str, state: &str, now| UnderWay::opened(&key, cookie, state, Moment(now)).is_ok();
        assert!(opened(&cookie, &begun.state, 599_999));
        assert!(!opened(&cookie, &begun.state, 600_000));
        assert!(!opened(&cookie, &begun.nonce, 0));
        assert!(!opened("", &begun.state, 0));
        let other = UnderWay::begin(None, Moment(0)).unwrap().sealed(&key).unwrap();
        assert!(!opened(&other, &begun.state, 0));
        assert!(!cookie.contains(&begun.verifier));
    }

    #[test]
    fn a_ticket_is_of_use_to_its_terminal_for_two_minutes_and_is_no_cookie() {
        let key = SealingKey::from_bytes([7; 32]);
        let granted = Granted {
            person: "ada".to_owned(),
            role: Role::Viewer,
            namespaces: None,
        };
        let terminal = Terminal {
            port: 5_000,
            challenge: challenge("secret"),
        };
        let text = ticket(&key, &granted, &terminal, Moment(0)).unwrap();
        let (found, id) = redeemed(&key, &text, "secret", Moment(119_999)).unwrap();
        assert_eq!(found, granted);
        let other = ticket(&key, &granted, &terminal, Moment(0)).unwrap();
        assert_ne!(redeemed(&key, &other, "secret", Moment(0)).unwrap().1, id);
        assert!(redeemed(&key, &text, "secret", Moment(120_000)).is_err());
        assert!(redeemed(&key, &text, "other", Moment(0)).is_err());
        let cookie = UnderWay::begin(Some(terminal), Moment(0))
            .unwrap()
            .sealed(&key)
            .unwrap();
        assert!(redeemed(&key, &cookie, "secret", Moment(0)).is_err());
    }

    /// The example of RFC 7636, appendix B.
    #[test]
    fn a_challenge_is_that_of_the_standard() {
        assert_eq!(
            challenge("dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"),
            "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"
        );
    }
}
