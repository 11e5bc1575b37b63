//! What stands beside a state, opaque to Terraform: who the object is.

use labyard_reconciler::identity::Identity;
use serde::{Deserialize, Serialize};

/// The private data of an object.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Private {
    /// Who it is; none while it is planned, or foreign.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub identity: Option<Identity>,
    /// The serial number that a machine was given: what it is set back to, also after a rename.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub serial: Option<String>,
    /// The store that an object is kept in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub store: Option<String>,
    /// Whether the last apply left it short of what was asked for, so that the next plan has it seen to again.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub unsettled: bool,
}

impl Private {
    /// Of an object that is ours.
    pub fn of(identity: Option<&Identity>) -> Self {
        Self {
            identity: identity.cloned(),
            ..Self::default()
        }
    }

    /// Of an object that is kept in a store.
    pub fn in_store(id: &str) -> Self {
        Self {
            store: Some(id.to_owned()),
            ..Self::default()
        }
    }

    /// The same of an object that is short of what was asked for.
    pub fn left_short(self) -> Self {
        Self {
            unsettled: true,
            ..self
        }
    }

    /// Of a machine that is ours, with the serial number that it was given.
    pub fn of_machine(identity: Option<&Identity>, serial: Option<String>) -> Self {
        Self {
            serial,
            ..Self::of(identity)
        }
    }

    /// Reads what was stored; nothing, or what cannot be read, is as if the object were foreign: it is found by
    /// its id and never changed without a mark.
    pub fn parse(bytes: &[u8]) -> Self {
        serde_json::from_slice(bytes).unwrap_or_default()
    }

    /// What is stored.
    pub fn to_bytes(&self) -> Vec<u8> {
        serde_json::to_vec(self).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_left_short_is_remembered_and_what_was_reached_reads_as_before() {
        let reached = Private::in_store("s");
        assert_eq!(reached.to_bytes(), br#"{"store":"s"}"#);
        assert!(!Private::parse(&reached.to_bytes()).unsettled);
        let short = reached.left_short();
        assert_eq!(Private::parse(&short.to_bytes()), short);
    }
}
