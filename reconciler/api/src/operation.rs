//! Operations: what was asked for, how far it is, what became of it. They are kept.

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How far an operation is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// It goes on.
    Running,
    /// What was asked for stands.
    Succeeded,
    /// It could not be done.
    Failed,
    /// Somebody ended it, or a later one took its place.
    Cancelled,
}

impl State {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Running, Self::Succeeded, Self::Failed, Self::Cancelled];

    /// Its word.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }

    /// Whether nothing follows.
    #[must_use]
    pub fn is_over(self) -> bool {
        self != Self::Running
    }
}

/// An operation.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Operation {
    /// Its identity.
    pub id: String,
    /// The namespace of its object.
    pub namespace: String,
    /// What is done: `pool.put`.
    pub kind: String,
    /// With what: `pool/k8s`.
    pub subject: String,
    /// Who asked.
    pub actor: String,
    /// How far it is.
    pub state: State,
    /// What it is at, or was at last.
    pub stage: String,
    /// Which attempt this is, from 1.
    pub attempt: u32,
    /// When it was asked for.
    pub created_at: Timestamp,
    /// When it was over.
    pub ended_at: Option<Timestamp>,
    /// Why it was not done.
    pub error: Option<String>,
    /// How far an engine came, where one operation on a machine is shown: `host` and `progress`, or `capture`, as engines
    /// write it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reached: Option<serde_json::Value>,
    /// What an engine made, where one operation that is over is shown: `host` and `view`, as engines write it; of a capture
    /// the image, and whether it is sealed ([`crate::image::Captured`]).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub result: Option<serde_json::Value>,
    /// What an engine met, where one operation that failed is shown, as engines write it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<serde_json::Value>,
    /// What happened, oldest first; empty in lists.
    pub log: Vec<Line>,
}

/// A line of an operation's log.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Line {
    /// When.
    pub at: Timestamp,
    /// What.
    pub text: String,
}
