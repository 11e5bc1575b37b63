//! The stages of a machine, each with what it does and how it is undone.
//!
//! [`STEPS`] is the one list: a create, an update and the healing of a machine go through `ensure` from the top,
//! each step looking for itself what is left to do; a destroy goes through `undo` from the bottom. Every step can
//! be repeated. Nothing is done before it is recorded in the machine's mark.

mod addresses;
mod define;
mod disks;
mod image;
mod power;
mod record;
mod seed;
mod work;

use std::time::Duration;

use futures::future::BoxFuture;
use labyard_driver::mark::Stage;

use crate::error::EngineError;

pub use addresses::undo as release_addresses;
pub use work::{Progress, Started, Work};

/// The result of a step.
pub type Outcome = Result<(), EngineError>;

/// What a step does to the machine under work.
pub type Act = for<'a> fn(&'a mut Work<'_>) -> BoxFuture<'a, Outcome>;

/// A stage of a machine.
pub struct Step {
    /// Its name in the mark.
    pub stage: Stage,
    /// How long `ensure` may take at most; the operation's own deadline lies around it.
    pub deadline: Duration,
    /// Brings it about, if it is not so already.
    pub ensure: Act,
    /// Takes it back; nothing there is success.
    pub undo: Act,
}

const fn minutes(minutes: u64) -> Duration {
    Duration::from_secs(minutes * 60)
}

/// The stages in their order.
pub const STEPS: &[Step] = &[
    Step {
        stage: Stage::Record,
        deadline: minutes(3),
        ensure: record::ensure,
        undo: record::undo,
    },
    Step {
        stage: Stage::Addresses,
        deadline: minutes(3),
        ensure: addresses::ensure,
        undo: addresses::undo,
    },
    Step {
        stage: Stage::Image,
        deadline: minutes(24 * 60),
        ensure: image::ensure,
        undo: image::undo,
    },
    Step {
        stage: Stage::Disks,
        deadline: minutes(60),
        ensure: disks::ensure,
        undo: disks::undo,
    },
    Step {
        stage: Stage::Seed,
        deadline: minutes(3),
        ensure: seed::ensure,
        undo: seed::undo,
    },
    Step {
        stage: Stage::Define,
        deadline: minutes(30),
        ensure: define::ensure,
        undo: define::retire,
    },
    Step {
        stage: Stage::Start,
        deadline: minutes(3),
        ensure: power::ensure,
        undo: power::undo,
    },
    Step {
        stage: Stage::Ready,
        deadline: minutes(24 * 60),
        ensure: power::ready,
        undo: power::nothing,
    },
    Step {
        stage: Stage::Finished,
        deadline: minutes(3),
        ensure: define::finish,
        undo: power::nothing,
    },
];
