//! Events: what happened, in its order, without holes.

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The header by which a listener goes on where it was.
pub const LAST_EVENT_ID: &str = "Last-Event-ID";

/// Something that happened. As a server-sent event its number is `id`, its action `event`, and this is `data`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Event {
    /// Its number: later ones have greater numbers.
    pub id: i64,
    /// When.
    pub at: Timestamp,
    /// In which namespace.
    pub namespace: String,
    /// Who: a token's name, a user, a worker.
    pub actor: String,
    /// What: `claim.bound`.
    pub action: String,
    /// Which object: `claim/7f3a`.
    pub subject: String,
    /// More, by name.
    pub detail: serde_json::Map<String, serde_json::Value>,
}
