//! Hosts, as the server is configured.

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The header in which a request says how many milliseconds ago what it is told of a host may have been seen; without it,
/// nothing is told that was seen before the request came. The requests of one run of Terraform say when the run began: so
/// they share what is read of a host, and miss nothing that was done before them.
pub const SEEN_WITHIN_MS: &str = "Labyard-Seen-Within-Ms";

/// A host.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Host {
    /// Its name in the configuration.
    pub name: String,
    /// What it is: `libvirt` or `sim`; null where the configuration is not known.
    pub kind: Option<String>,
    /// Whether it takes new machines.
    pub wish: Wish,
    /// Since when it has not answered.
    pub silent_since: Option<Timestamp>,
    /// Since when it is lost: its machines are nobody's until it answers again.
    pub lost_since: Option<Timestamp>,
    /// What was met when it did not answer.
    pub why: Option<String>,
    /// How many machines of pools it has.
    pub machines: u64,
}

/// What is wanted of a host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Wish {
    /// It takes new machines.
    Open,
    /// It takes none, and keeps those that it has.
    Cordoned,
    /// It is emptied: free machines go, claimed ones when they are given back.
    Draining,
}

impl Wish {
    /// Its word.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Cordoned => "cordoned",
            Self::Draining => "draining",
        }
    }
}

/// What is wanted of a host from now on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Wished {
    /// Whether it takes new machines.
    pub wish: Wish,
}
