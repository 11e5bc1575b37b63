//! The log of all that changed: appended in the transaction of the change, never changed afterwards. Numbers are in
//! the order of the commits, without holes, so that a listener who knows the last number it saw misses nothing.
//!
//! ```
//! use labyard_store::event::{Event, Moment};
//! let event = Event::new(Moment(1_700_000_000_000), "default", "ada", "claim.released", "claim/7f3a")
//!     .with("pool", "k8s");
//! assert_eq!(event.detail["pool"], "k8s");
//! ```

use serde_json::{Map, Value as Json};

/// A time: milliseconds since 1970 in UTC. Always given by the caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
#[serde(transparent)]
pub struct Moment(pub i64);

/// The number of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
#[serde(transparent)]
pub struct EventId(pub i64);

/// What happened: who did what to which object. Never holds a secret.
#[derive(Debug, Clone, PartialEq)]
pub struct Event {
    /// When.
    pub at: Moment,
    /// In which namespace.
    pub namespace: String,
    /// Who: a token's name, a user, `reconciler`.
    pub actor: String,
    /// What, as `noun.verb` in the past: `claim.bound`.
    pub action: String,
    /// Which object: `claim/7f3a`.
    pub subject: String,
    /// More, by name.
    pub detail: Map<String, Json>,
}

impl Event {
    /// An event without detail.
    #[must_use]
    pub fn new(at: Moment, namespace: &str, actor: &str, action: &str, subject: &str) -> Self {
        Self {
            at,
            namespace: namespace.to_owned(),
            actor: actor.to_owned(),
            action: action.to_owned(),
            subject: subject.to_owned(),
            detail: Map::new(),
        }
    }

    /// With one more detail.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl Into<Json>) -> Self {
        self.detail.insert(name.to_owned(), value.into());
        self
    }
}

/// An event of the log, with its number.
#[derive(Debug, Clone, PartialEq)]
pub struct Logged {
    /// Its number.
    pub id: EventId,
    /// The event.
    pub event: Event,
}
