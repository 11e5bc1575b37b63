//! The items of the exchange: their names, and their values as JSON with one spelling each.
//!
//! A text is read only if it is, letter for letter, what would be written for what it says: so no two texts mean the
//! same, and no alteration goes unseen. Everything is ASCII, since the limits of KVP count differently on both sides.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::action::Item;
use crate::identity::{Exchange, Nonce, Session, VmId};
use crate::illegal::Illegal;
use crate::seal::{PUBLIC, PublicKey};
use crate::{VALUE_MAX, VERSION};

/// Host to guest: what begins an exchange.
pub const REQUEST: &str = "labyard.request";
/// Guest to host: the public half of its key pair.
pub const KEY: &str = "labyard.key";
/// Guest to host: what came was opened.
pub const ACK: &str = "labyard.ack";
/// Guest to host: how far it is.
pub const PROGRESS: &str = "labyard.progress";
/// Guest to host: how it ended.
pub const RESULT: &str = "labyard.result";
/// All names that a guest writes.
pub const OF_GUEST: [&str; 4] = [KEY, ACK, PROGRESS, RESULT];
/// What the names of pieces begin with.
pub const DATA: &str = "labyard.data.";

/// The value of [`REQUEST`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Request {
    version: u32,
    session: Session,
    nonce: Nonce,
    vm: VmId,
}

/// The value of [`KEY`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Key {
    version: u32,
    session: Session,
    nonce: Nonce,
    /// Counts from 1; a guest program that starts anew goes on counting.
    pub attempt: u32,
    /// What to seal to.
    pub public: PublicKey,
}

/// The value of [`ACK`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ack {
    version: u32,
    session: Session,
    nonce: Nonce,
    /// To which key it was sealed.
    pub attempt: u32,
    /// SHA-256 of the sealed text.
    pub sha256: Nonce,
}

/// A part of the guest's work.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Stage {
    /// What the guest is and has.
    Look,
    /// Its name.
    Hostname,
    /// Users, their passwords, keys and rights.
    Users,
    /// Addresses and name servers.
    Network,
    /// The domain.
    Domain,
}

/// How far the guest is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// At what it is.
    pub stage: Stage,
    /// How much of all is done: 0 to 100.
    pub percent: u8,
}

/// How it ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// The guest is as it was told.
    Ok,
    /// It is not.
    Error,
}

/// What a guest says at the end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// How it ended.
    pub outcome: Outcome,
    /// At what it failed.
    pub stage: Option<Stage>,
    /// What to say to people. Cut where it is too long; it must not hold a secret.
    pub message: String,
}

#[derive(Serialize, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
struct ProgressText {
    version: u32,
    session: Session,
    nonce: Nonce,
    stage: Stage,
    percent: u8,
}

#[derive(Serialize, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
struct ReportText {
    version: u32,
    session: Session,
    nonce: Nonce,
    outcome: Outcome,
    stage: Option<Stage>,
    message: String,
}

/// What every version has.
#[derive(Deserialize)]
struct Versioned {
    version: u32,
}

/// To whom an answer about another version can go.
#[derive(Deserialize)]
struct Addressed {
    session: Session,
    nonce: Nonce,
}

/// Says of which exchange a value is.
pub(crate) trait Belongs {
    fn belongs(&self) -> (Session, Nonce);
}

macro_rules! belongs {
    ($($name:ty),*) => {$(
        impl Belongs for $name {
            fn belongs(&self) -> (Session, Nonce) {
                (self.session, self.nonce)
            }
        }
    )*};
}

belongs!(Key, Ack, ProgressText, ReportText);

/// Writes JSON without a character beyond ASCII.
pub fn to_ascii_json<T: Serialize>(value: &T) -> String {
    let text = serde_json::to_string(value).unwrap_or_default();
    let mut ascii = String::with_capacity(text.len());
    for c in text.chars() {
        if c.is_ascii() {
            ascii.push(c);
        } else {
            // Beyond ASCII there is nothing in JSON but the inside of strings, where escapes may stand.
            let mut units = [0; 2];
            for unit in c.encode_utf16(&mut units) {
                ascii.push_str(&format!("\\u{unit:04x}"));
            }
        }
    }
    ascii
}

/// Reads a value.
pub(crate) fn read<T: Serialize + DeserializeOwned>(key: &str, text: &str) -> Result<T, Illegal> {
    let malformed = || Illegal::Malformed(key.to_owned());
    let Versioned { version } = serde_json::from_str(text).map_err(|_| malformed())?;
    if version != VERSION {
        return Err(Illegal::Version {
            key: key.to_owned(),
            found: version,
        });
    }
    let value: T = serde_json::from_str(text).map_err(|_| malformed())?;
    if to_ascii_json(&value) != text {
        return Err(malformed());
    }
    Ok(value)
}

pub(crate) fn item<T: Serialize>(key: impl Into<String>, value: &T) -> Item {
    Item {
        key: key.into(),
        text: to_ascii_json(value),
    }
}

/// The item that begins an exchange.
pub(crate) fn request(exchange: &Exchange) -> Item {
    let Exchange { vm, session, nonce } = *exchange;
    item(
        REQUEST,
        &Request {
            version: VERSION,
            session,
            nonce,
            vm,
        },
    )
}

/// The exchange that a text begins.
pub(crate) fn read_request(text: &str) -> Result<Exchange, Illegal> {
    let Request {
        session, nonce, vm, ..
    } = read(REQUEST, text)?;
    Ok(Exchange { vm, session, nonce })
}

/// Whom to tell that a request is of another version.
pub(crate) fn sender_of_any_version(text: &str) -> Option<(Session, Nonce)> {
    let Addressed { session, nonce } = serde_json::from_str(text).ok()?;
    Some((session, nonce))
}

pub(crate) fn key(exchange: &Exchange, attempt: u32, public: &PublicKey) -> Item {
    let value = Key {
        version: VERSION,
        session: exchange.session,
        nonce: exchange.nonce,
        attempt,
        public: public.clone(),
    };
    item(KEY, &value)
}

pub(crate) fn ack(exchange: &Exchange, attempt: u32, sha256: [u8; 32]) -> Item {
    let value = Ack {
        version: VERSION,
        session: exchange.session,
        nonce: exchange.nonce,
        attempt,
        sha256: Nonce::from_bytes(sha256),
    };
    item(ACK, &value)
}

pub(crate) fn progress(exchange: &Exchange, progress: Progress) -> Item {
    let value = ProgressText {
        version: VERSION,
        session: exchange.session,
        nonce: exchange.nonce,
        stage: progress.stage,
        percent: progress.percent.min(100),
    };
    item(PROGRESS, &value)
}

pub(crate) fn report((session, nonce): (Session, Nonce), report: &Report) -> Item {
    let mut value = ReportText {
        version: VERSION,
        session,
        nonce,
        outcome: report.outcome,
        stage: report.stage,
        message: report.message.clone(),
    };
    loop {
        let item = item(RESULT, &value);
        if item.text.len() <= VALUE_MAX {
            return item;
        }
        let keep = value.message.chars().count().saturating_sub(20);
        value.message = value.message.chars().take(keep).chain(['…']).collect();
    }
}

/// What a guest says of an exchange, as far as it is there, readable and of this exchange.
pub(crate) struct Answers {
    pub(crate) key: Option<Key>,
    pub(crate) ack: Option<Ack>,
    pub(crate) progress: Option<Progress>,
    pub(crate) report: Option<Report>,
    /// What is not, and why: left over from earlier, mostly.
    pub(crate) refused: Vec<Illegal>,
}

impl Answers {
    /// # Errors
    /// If one names the session and not its nonce.
    pub(crate) fn read(exchange: &Exchange, seen: &crate::Items) -> Result<Self, Illegal> {
        let mut refused = Vec::new();
        let key = one(KEY, exchange, seen, &mut refused)?;
        let ack = one(ACK, exchange, seen, &mut refused)?;
        let progress: Option<ProgressText> = one(PROGRESS, exchange, seen, &mut refused)?;
        let report: Option<ReportText> = one(RESULT, exchange, seen, &mut refused)?;
        Ok(Self {
            key,
            ack,
            progress: progress.filter(|said| said.percent <= 100).map(|said| Progress {
                stage: said.stage,
                percent: said.percent,
            }),
            report: report.map(|said| Report {
                outcome: said.outcome,
                stage: said.stage,
                message: said.message,
            }),
            refused,
        })
    }
}

fn one<T: Serialize + DeserializeOwned + Belongs>(
    key: &str,
    exchange: &Exchange,
    seen: &crate::Items,
    refused: &mut Vec<Illegal>,
) -> Result<Option<T>, Illegal> {
    let value: Result<Option<T>, Illegal> = seen
        .text(key)
        .and_then(|text| text.map(|text| read(key, text)).transpose());
    let value = match value {
        Ok(Some(value)) => value,
        Ok(None) => return Ok(None),
        Err(illegal) => {
            refused.push(illegal);
            return Ok(None);
        }
    };
    let (session, nonce) = value.belongs();
    if session != exchange.session {
        refused.push(Illegal::ForeignSession {
            key: key.to_owned(),
            session,
        });
        return Ok(None);
    }
    if nonce != exchange.nonce {
        return Err(Illegal::ForeignNonce(key.to_owned()));
    }
    Ok(Some(value))
}

impl Serialize for PublicKey {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&STANDARD.encode(self.as_bytes()))
    }
}

impl<'de> Deserialize<'de> for PublicKey {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let bytes = STANDARD
            .decode(text)
            .map_err(|_| de::Error::custom("no base64"))?;
        let bytes: [u8; PUBLIC] = bytes
            .try_into()
            .map_err(|_| de::Error::custom("not as long as a public key"))?;
        Ok(Self::from_bytes(bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn exchange() -> Exchange {
        Exchange {
            vm: "7D0D9A2C-6F3B-4E6B-8C52-0F1E2D3C4B5A".parse().unwrap(),
            session: Session::from_bytes([1; 16]),
            nonce: Nonce::from_bytes([2; 32]),
        }
    }

    #[test]
    fn a_request_has_one_spelling() {
        let text = request(&exchange()).text;
        assert_eq!(
            text,
            "{\"version\":1,\"session\":\"01010101010101010101010101010101\",\
             \"nonce\":\"0202020202020202020202020202020202020202020202020202020202020202\",\
             \"vm\":\"7D0D9A2C-6F3B-4E6B-8C52-0F1E2D3C4B5A\"}"
        );
        assert_eq!(read_request(&text), Ok(exchange()));
        for other in [
            text.replace("7D0D", "7d0d"),
            text.replace(':', ": "),
            text.replace("\"vm\"", "\"more\":1,\"vm\""),
            text.replace("\"vm\"", "\"vm\":\"\",\"vm\""),
            format!("{text} "),
        ] {
            let malformed = Err(Illegal::Malformed(REQUEST.into()));
            assert_eq!(read_request(&other), malformed, "{other}");
        }
    }

    #[test]
    fn another_version_is_named_and_can_be_answered() {
        let text = request(&exchange())
            .text
            .replace("\"version\":1", "\"version\":7,\"new\":[]");
        let error = read_request(&text).unwrap_err();
        assert!(error.to_string().contains("version 7"), "{error}");
        let exchange = exchange();
        assert_eq!(
            sender_of_any_version(&text),
            Some((exchange.session, exchange.nonce))
        );
    }

    #[test]
    fn a_long_message_is_cut_to_what_a_pair_can_hold() {
        let said = Report {
            outcome: Outcome::Error,
            stage: Some(Stage::Network),
            message: "ä\"\n".repeat(2000),
        };
        let exchange = exchange();
        let item = report((exchange.session, exchange.nonce), &said);
        assert!(item.text.len() <= VALUE_MAX && item.text.is_ascii());
        let seen = crate::Items::of_texts([(item.key, item.text)]);
        let answers = Answers::read(&exchange, &seen).unwrap();
        let read = answers.report.unwrap();
        assert!(read.message.starts_with("ä\"\nä\"\n") && read.message.ends_with('…'));
        assert_eq!((read.outcome, read.stage), (Outcome::Error, Some(Stage::Network)));
    }
}
