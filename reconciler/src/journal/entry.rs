//! A line of the journal. It holds no secret: names, times, and reasons as errors tell them.

use labyard_driver::mark::Kind;
use serde::{Deserialize, Serialize};

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum What {
    /// A stage began.
    Begun,
    /// It is done.
    Done,
    /// It failed.
    Failed,
    /// The host was busy or away: it is tried again.
    Again,
    /// A hook was asked.
    HookAsked,
    /// A hook answered, and it goes on.
    HookAnswered,
    /// A hook holds: it is asked again later.
    HookHolds,
    /// A hook could not be had, and it goes on without.
    HookMissed,
    /// A hook denied, or could not be had.
    HookFailed,
}

/// What a stage's time depends on.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Class {
    /// How the disk is made of its image: `linked` or `full`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clone: Option<String>,
    /// The image it boots from, without what grants access.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<String>,
}

/// A line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// When, in milliseconds since 1970.
    pub at: u64,
    /// The process that wrote it, by a random id.
    pub run: String,
    /// `create`, `update` or `destroy`.
    pub event: String,
    /// The host, by its key in the provider.
    pub host: String,
    /// The state's namespace.
    pub namespace: String,
    /// What it is.
    #[serde(default = "machine", skip_serializing_if = "is_machine")]
    pub kind: Kind,
    /// The machine or network.
    pub name: String,
    /// Its identity.
    pub id: String,
    /// The stage.
    pub stage: String,
    /// What happened.
    pub what: What,
    /// Which attempt.
    pub attempt: u32,
    /// How long it took, in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub took_ms: Option<u64>,
    /// The hook, `before:define`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hook: Option<String>,
    /// What was waited for, or why it failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
    /// What its time depends on.
    #[serde(flatten)]
    pub class: Class,
}

fn machine() -> Kind {
    Kind::Machine
}

fn is_machine(kind: &Kind) -> bool {
    *kind == Kind::Machine
}

#[cfg(test)]
impl Entry {
    /// A line of a machine `web`.
    pub(super) fn sample(stage: &str, what: What, took_ms: Option<u64>) -> Self {
        Self {
            at: 1_700_000_000_000,
            run: "run".into(),
            event: "create".into(),
            host: "lab1".into(),
            namespace: "default".into(),
            kind: Kind::Machine,
            name: "web".into(),
            id: "id".into(),
            stage: stage.into(),
            what,
            attempt: 1,
            took_ms,
            hook: None,
            detail: None,
            class: Class::default(),
        }
    }
}
