//! What the reconciler says when it cannot go on: what failed, on which host and object, what was found, and the
//! way out.

use labyard_driver::DriverError;
use labyard_driver::ids::HostName;
use labyard_driver::mark::Stage;

use crate::desired::Unusable;
use crate::image::ImageError;
use serde::{Deserialize, Serialize};

/// Why a host is full.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Crowd {
    /// Of machines that stand.
    Settled,
    /// Of machines that others are placing at this moment, and may yet take elsewhere.
    Passing,
}

/// An error of an operation.
#[derive(Debug, thiserror::Error, Serialize, Deserialize)]
pub enum EngineError {
    /// The host answered with an error, or did not answer.
    #[error("host {host}, {what}: {source}")]
    Host {
        /// The host.
        host: HostName,
        /// The object.
        what: String,
        /// What the driver met.
        #[source]
        source: DriverError,
    },
    /// The same, met by another reader at the same time.
    #[error("host {host}: {message}")]
    HostUnreadable {
        /// The host.
        host: HostName,
        /// What the driver met.
        message: String,
    },
    /// No image was made of a machine's disk.
    #[error("{what} on host {host} was not captured: {why}")]
    NotCaptured {
        /// The host.
        host: HostName,
        /// The machine.
        what: String,
        /// Why.
        why: String,
    },
    /// A daemon was asked in the hosts' place, and did not do it.
    #[error("{what}: {why}")]
    Daemon {
        /// What was asked for.
        what: String,
        /// What it said, or why it was not reached.
        why: String,
    },
    /// The provider knows no such host.
    #[error("host {host:?} is not configured: the provider knows {known}")]
    UnknownHost {
        /// As asked.
        host: String,
        /// As configured.
        known: String,
    },
    /// An object of ours with that name stands already.
    #[error("{what} exists already on host {host}, {found}. {way_out}")]
    AlreadyExists {
        /// The host.
        host: HostName,
        /// The object.
        what: String,
        /// Whose it is.
        found: String,
        /// What to do.
        way_out: String,
    },
    /// The object is built by somebody else at this moment.
    #[error(
        "{what} is being built on host {host} by another run ({builder}): wait for it, or end it, and apply again"
    )]
    BeingBuilt {
        /// The host.
        host: HostName,
        /// The object.
        what: String,
        /// Who.
        builder: String,
    },
    /// The state's token is no longer in the mark.
    #[error(
        "{what} on host {host} was taken over ({by}): it is no longer this state's. Remove it from this state with terraform state rm, or give one of the two another name or namespace"
    )]
    TakenOver {
        /// The host.
        host: HostName,
        /// The object.
        what: String,
        /// By whom.
        by: String,
    },
    /// Another host answers than the one where the object was made.
    #[error(
        "{what} is not found on host {host}, but another host answers there (UUID {found}) than the one where it was made (UUID {made_on}): mend the host's uri; or, if that host is gone for good, let go of the object with terraform state rm"
    )]
    OtherHost {
        /// The host.
        host: HostName,
        /// The object.
        what: String,
        /// The UUID of the host where it was made.
        made_on: String,
        /// The UUID of the host that answers.
        found: String,
    },
    /// The object is not ours to change or remove.
    #[error("{what} on host {host} carries no mark of labyard: apply once to take it into ownership first")]
    NotOurs {
        /// The host.
        host: HostName,
        /// The object.
        what: String,
    },
    /// Its definition cannot be told at present.
    #[error("{what} on host {host} does not answer at present ({why}): try again")]
    Unknown {
        /// The host.
        host: HostName,
        /// The object.
        what: String,
        /// Why.
        why: String,
    },
    /// The host has no room for one more machine.
    #[error("host {host} has no room for {what}: {why}")]
    Full {
        /// The host.
        host: HostName,
        /// The object.
        what: String,
        /// With numbers.
        why: String,
        /// Whether it may have some in a moment.
        crowd: Crowd,
    },
    /// No host takes the machine.
    #[error("no host takes {what}: {reasons}")]
    NoHost {
        /// The object.
        what: String,
        /// Why not, by host.
        reasons: String,
    },
    /// A host that cannot be read may hold the beginnings of the machine.
    #[error(
        "{what} is not placed: host {host} cannot be read, and a run that did not come to its end may have begun it there ({why}). Mend the host, or set cordoned = true in its block to place machines without it, or name the machine's host"
    )]
    HostSilent {
        /// The host.
        host: HostName,
        /// The object.
        what: String,
        /// What the driver met.
        why: String,
    },
    /// An attribute cannot be had.
    #[error("{attribute}: {message}")]
    Attribute {
        /// The attribute, as in HCL.
        attribute: String,
        /// What is wrong and the way out.
        message: String,
    },
    /// An image could not be had.
    #[error("{attribute}: {source}")]
    Image {
        /// The attribute, as in HCL.
        attribute: String,
        /// Why.
        #[source]
        source: ImageError,
    },
    /// The machine did not become ready.
    #[error("{what} on host {host} did not become ready: {why}")]
    NotReady {
        /// The host.
        host: HostName,
        /// The object.
        what: String,
        /// What was waited for and what was seen.
        why: String,
        /// The end of its serial console.
        console: String,
    },
    /// The time for the whole operation is over.
    #[error(
        "{what} on host {host}: the time given ({limit}) was over at stage {stage:?}. Raise timeouts, or look at what hangs"
    )]
    Deadline {
        /// The host.
        host: HostName,
        /// The object.
        what: String,
        /// How long.
        limit: String,
        /// Where.
        stage: Stage,
    },
    /// A stage took longer than any such stage should.
    #[error(
        "{what} on host {host}: stage {stage:?} did not end within {limit}, the most that it may take whatever timeouts say. Look at what hangs on the host, and apply again"
    )]
    StageTooLong {
        /// The host.
        host: HostName,
        /// The object.
        what: String,
        /// How long.
        limit: String,
        /// Which.
        stage: Stage,
    },
    /// The user ended the run.
    #[error("{what} on host {host}: stopped at stage {stage:?} as asked; what was reached is kept")]
    Cancelled {
        /// The host.
        host: HostName,
        /// The object.
        what: String,
        /// Where.
        stage: Stage,
    },
    /// This engine's lease ran out: another may have taken the object over.
    #[error(
        "{what} on host {host}: the builder's lease could not be renewed in time, so nothing more was changed. Apply again"
    )]
    LeaseLost {
        /// The host.
        host: HostName,
        /// The object.
        what: String,
    },
    /// The engine only reads.
    #[error(
        "{what} on host {host} is not changed: the provider is read_only. Take read_only (or LABYARD_READ_ONLY) away to apply"
    )]
    ReadOnly {
        /// The host.
        host: HostName,
        /// The object.
        what: String,
    },
    /// Others need what was to be removed.
    #[error("{what} on host {host} is in use by {users}: {way_out}")]
    InUse {
        /// The host.
        host: HostName,
        /// The object.
        what: String,
        /// By whom.
        users: String,
        /// What to do.
        way_out: String,
    },
    /// It was said that the object must not be destroyed.
    #[error(
        "{what} on host {host} is protected: deletion_protection is true. Set it to false, apply that, then destroy or replace it"
    )]
    Protected {
        /// The host.
        host: HostName,
        /// The object.
        what: String,
    },
    /// An operator's hook stopped it.
    #[error("{what} on host {host}: hook {hook:?} {trouble}")]
    Hook {
        /// The host.
        host: HostName,
        /// The object.
        what: String,
        /// The hook, by its moment.
        hook: String,
        /// What it did.
        trouble: HookTrouble,
    },
    /// An operator's hook stopped it before it had a host.
    #[error("{what}: hook {hook:?} {trouble}")]
    Placement {
        /// The object.
        what: String,
        /// The hook, by its moment.
        hook: String,
        /// What it did.
        trouble: HookTrouble,
    },
    /// A machine has no moment to be put back to, or can have none.
    #[error("{what} on host {host} cannot be put back to a kept moment: {why}")]
    NoMoment {
        /// The host.
        host: HostName,
        /// The object.
        what: String,
        /// Why, and the way out.
        why: String,
    },
    /// A machine that was put back still shows what was done since.
    #[error(
        "{what} on host {host} was put back to its kept moment, and its guest still has {found} of its last use: do not hand it out, make it anew"
    )]
    StillUsed {
        /// The host.
        host: HostName,
        /// The object.
        what: String,
        /// What was found.
        found: String,
    },
    /// A machine that was to be handed out was handed out before, and not put back since.
    #[error(
        "{what} on host {host}: its mark says that somebody else was let in and that it was not put back since, so nobody is let in now. Put it back, or make it anew"
    )]
    InOtherHands {
        /// The host.
        host: HostName,
        /// The object.
        what: String,
    },
    /// The guest of a machine could not be brought to something.
    #[error("{what} on host {host}: {why}")]
    Guest {
        /// The host.
        host: HostName,
        /// The object.
        what: String,
        /// What was tried, what was found, and the way out.
        why: String,
    },
    /// Another error, with where the machine stood when it came.
    #[error("{source}")]
    Staged {
        /// `stage ready, attempt 1, 12s of usually 8s`.
        standing: String,
        /// The error.
        source: Box<EngineError>,
    },
    /// Nothing to import.
    #[error("{what} does not exist on host {host}: {found}")]
    NotFound {
        /// The host.
        host: HostName,
        /// The object.
        what: String,
        /// What is there.
        found: String,
    },
}

/// How a hook stopped a stage.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
pub enum HookTrouble {
    /// It said no.
    #[error("denied it: {reason}. What was reached is kept; apply again when it agrees")]
    Denied {
        /// Why.
        reason: String,
    },
    /// It still held when the time was over.
    #[error(
        "still held it after {}s: {reason}. What was reached is kept; apply again when it lets go, or raise timeouts", .waited.as_secs()
    )]
    Held {
        /// Why.
        reason: String,
        /// How long it was waited for.
        waited: std::time::Duration,
    },
    /// It could not be had, or answered nonsense.
    #[error("failed: {why}. Mend it and apply again; on_error = \"continue\" lets machines do without it")]
    Failed {
        /// Why.
        why: String,
    },
}

impl From<Unusable> for EngineError {
    fn from(unusable: Unusable) -> Self {
        Self::Attribute {
            attribute: unusable.attribute.to_owned(),
            message: unusable.message,
        }
    }
}

impl EngineError {
    /// The error itself, without where it came.
    pub fn root(&self) -> &Self {
        match self {
            Self::Staged { source, .. } => source.root(),
            other => other,
        }
    }

    /// Where the machine stood: `stage ready, attempt 1, 12s of usually 8s`.
    pub fn standing(&self) -> Option<&str> {
        match self {
            Self::Staged { standing, .. } => Some(standing),
            _ => None,
        }
    }

    /// The attribute at fault, as in HCL.
    pub fn attribute(&self) -> Option<&str> {
        match self.root() {
            Self::Attribute { attribute, .. } | Self::Image { attribute, .. } => Some(attribute),
            Self::Protected { .. } => Some("deletion_protection"),
            _ => None,
        }
    }

    /// The end of the machine's serial console, where it was followed.
    pub fn console(&self) -> Option<&str> {
        match self.root() {
            Self::NotReady { console, .. } if !console.is_empty() => Some(console),
            _ => None,
        }
    }

    /// What the driver met, if that is the cause.
    pub fn driver(&self) -> Option<&DriverError> {
        match self.root() {
            Self::Host { source, .. } => Some(source),
            _ => None,
        }
    }
}
