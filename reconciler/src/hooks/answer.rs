//! What a hook answers: go on, deny, hold, or values. Pure; anything that is not understood is an error, so that no
//! answer is taken for another.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Deserialize;
use serde_json::Value;

/// How long a hold waits before it asks again where nothing else is said, and at most.
const ASK_AGAIN: Duration = Duration::from_secs(10);
const LONGEST: Duration = Duration::from_secs(3600);
/// How much of a reason is shown.
const REASON: usize = 500;

/// An answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// Go on.
    Go,
    /// The stage fails.
    Deny {
        /// Why.
        reason: String,
    },
    /// Wait and ask again.
    Hold {
        /// When.
        retry_after: Duration,
        /// Why.
        reason: String,
    },
    /// Go on with these.
    Set(Set),
}

/// Values that a hook supplies.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Set {
    /// The guest's host name.
    pub hostname: Option<String>,
    /// The host, by its key in the provider.
    pub host: Option<String>,
    /// Addresses by NIC.
    pub addresses: BTreeMap<String, String>,
    /// MACs by NIC.
    pub macs: BTreeMap<String, String>,
    /// What the hooks asked after it are told; null takes one away.
    pub variables: BTreeMap<String, Option<String>>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Wire {
    deny: Option<WireDeny>,
    hold: Option<WireHold>,
    set: Option<Set>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WireDeny {
    reason: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WireHold {
    retry_after: Option<u64>,
    #[serde(default)]
    reason: String,
}

/// Reads an answer; an empty one is "go on".
///
/// # Errors
/// What is wrong with it.
pub fn read(bytes: &[u8]) -> Result<Answer, String> {
    if bytes.trim_ascii().is_empty() {
        return Ok(Answer::Go);
    }
    let bad = |error: &dyn std::fmt::Display| format!("its answer is not understood: {error}");
    let value: Value = serde_json::from_slice(bytes).map_err(|error| bad(&error))?;
    // A list would do for a struct, and an empty one for an empty answer.
    let parts = value.as_object().ok_or_else(|| bad(&"it is no JSON object"))?;
    if let Some((name, _)) = parts
        .iter()
        .find(|(_, part)| !part.is_object() && !part.is_null())
    {
        return Err(bad(&format!("{name:?} is no object")));
    }
    let wire: Wire = serde_json::from_value(value).map_err(|error| bad(&error))?;
    match (wire.deny, wire.hold, wire.set) {
        (None, None, None) => Ok(Answer::Go),
        (Some(deny), None, None) => Ok(Answer::Deny {
            reason: clean(&deny.reason),
        }),
        (None, Some(hold), None) => Ok(Answer::Hold {
            retry_after: hold
                .retry_after
                .map_or(ASK_AGAIN, Duration::from_secs)
                .clamp(Duration::from_secs(1), LONGEST),
            reason: clean(&hold.reason),
        }),
        (None, None, Some(set)) => Ok(Answer::Set(set)),
        _ => Err("its answer has more than one of deny, hold and set".to_owned()),
    }
}

/// Text from outside as it can be shown in one line.
pub fn clean(text: &str) -> String {
    let words: Vec<_> = text.split_whitespace().collect();
    let shown: String = words
        .join(" ")
        .chars()
        .filter(|c| !c.is_control())
        .take(REASON)
        .collect();
    if shown.is_empty() {
        "no reason given".to_owned()
    } else {
        shown
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_and_an_empty_object_go_on() {
        for text in ["", " \n", "{}"] {
            assert_eq!(read(text.as_bytes()), Ok(Answer::Go), "{text:?}");
        }
    }

    #[test]
    fn each_kind_of_answer_is_read() {
        assert_eq!(
            read(br#"{"deny": {"reason": "no\nroom"}}"#),
            Ok(Answer::Deny {
                reason: "no room".into()
            })
        );
        assert_eq!(
            read(br#"{"hold": {"retry_after": 2, "reason": "approval"}}"#),
            Ok(Answer::Hold {
                retry_after: Duration::from_secs(2),
                reason: "approval".into()
            })
        );
        let set = Set {
            addresses: [("lan".to_owned(), "10.0.0.5".to_owned())].into(),
            ..Set::default()
        };
        assert_eq!(
            read(br#"{"set": {"addresses": {"lan": "10.0.0.5"}}}"#),
            Ok(Answer::Set(set))
        );
    }

    #[test]
    fn what_is_not_understood_is_an_error_and_never_a_go() {
        for text in [
            "null",
            "[]",
            "ok",
            "<html>",
            r#"{"denied": true}"#,
            r#"{"deny": {}}"#,
            r#"{"deny": "no"}"#,
            r#"{"set": []}"#,
            r#"{"set": {"adresses": {}}}"#,
            r#"{"set": {}, "deny": {"reason": "x"}}"#,
            r#"{"hold": {"retry_after": -1}}"#,
        ] {
            assert!(
                read(text.as_bytes()).is_err(),
                "{text}: {:?}",
                read(text.as_bytes())
            );
        }
    }

    #[test]
    fn a_hold_neither_hammers_nor_sleeps_for_ever() {
        for (asked, waited) in [(0, 1), (5, 5), (u64::MAX, 3600)] {
            let text = format!(r#"{{"hold": {{"retry_after": {asked}}}}}"#);
            let Ok(Answer::Hold { retry_after, reason }) = read(text.as_bytes()) else {
                panic!("{text}")
            };
            assert_eq!(
                (retry_after.as_secs(), reason.as_str()),
                (waited, "no reason given")
            );
        }
    }
}
