//! The stages of a machine, each with what it does and how it is undone.
//!
//! [`STEPS`] is the one list: a create, an update and the healing of a machine go through `ensure` from the top,
//! each step looking for itself what is left to do; a destroy goes through `undo` from the bottom. Every step can
//! be repeated. Nothing is done before it is recorded in the machine's mark.

mod addresses;
mod define;
mod disks;
mod firmware;
mod image;
mod live;
mod power;
mod record;
mod reserve;
mod seed;
mod work;

use std::time::Duration;

use futures::future::BoxFuture;
use labyard_driver::mark::Stage;

use crate::desired::DesiredShutdown;
use crate::error::EngineError;

pub use addresses::undo as release_addresses;
pub use seed::forget_version as renew_seed;
pub use work::{Progress, Started, Work};

/// The result of a step.
pub type Outcome = Result<(), EngineError>;

/// What a step does to the machine under work.
pub type Act = for<'a> fn(&'a mut Work<'_>) -> BoxFuture<'a, Outcome>;

/// A stage of a machine.
pub struct Step {
    /// Its name in the mark.
    pub stage: Stage,
    /// How long `ensure` may take at most, without the time that a guest has to shut down; the operation's own
    /// deadline lies around it.
    pub deadline: Duration,
    /// Brings it about, if it is not so already.
    pub ensure: Act,
    /// Takes it back; nothing there is success.
    pub undo: Act,
    /// What the way back is called by hooks and journal; none where nothing is done.
    pub retirement: Option<&'static str>,
}

impl Step {
    /// How long `ensure` may take at most.
    pub fn limit(&self, shutdown: DesiredShutdown) -> Duration {
        match (self.stage, shutdown) {
            (Stage::Define | Stage::Start, DesiredShutdown::Graceful(time)) => self.deadline + time,
            _ => self.deadline,
        }
    }

    /// Its name for hooks and journal on the way forward.
    pub fn name(&self) -> &'static str {
        self.stage.word()
    }
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
        retirement: Some("undefine"),
    },
    Step {
        stage: Stage::Addresses,
        deadline: minutes(3),
        ensure: addresses::ensure,
        undo: addresses::undo,
        retirement: Some("release_addresses"),
    },
    Step {
        stage: Stage::Image,
        deadline: minutes(24 * 60),
        ensure: image::ensure,
        undo: image::undo,
        retirement: None,
    },
    Step {
        stage: Stage::Disks,
        deadline: minutes(60),
        ensure: disks::ensure,
        undo: disks::undo,
        retirement: Some("remove_disks"),
    },
    Step {
        stage: Stage::Seed,
        deadline: minutes(3),
        ensure: seed::ensure,
        undo: seed::undo,
        retirement: None,
    },
    Step {
        stage: Stage::Define,
        deadline: minutes(30),
        ensure: define::ensure,
        undo: define::retire,
        retirement: Some("retire"),
    },
    Step {
        stage: Stage::Start,
        deadline: minutes(3),
        ensure: power::ensure,
        undo: power::undo,
        retirement: Some("stop"),
    },
    Step {
        stage: Stage::Ready,
        deadline: minutes(24 * 60),
        ensure: power::ready,
        undo: power::nothing,
        retirement: Some("drain"),
    },
    Step {
        stage: Stage::Finished,
        deadline: minutes(3),
        ensure: define::finish,
        undo: power::nothing,
        retirement: None,
    },
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_stages_are_those_that_hooks_can_name() {
        let provision: Vec<_> = STEPS.iter().map(Step::name).collect();
        assert_eq!(provision, labyard_schema::hooks::PROVISION);
        let retirement: Vec<_> = STEPS.iter().rev().filter_map(|step| step.retirement).collect();
        assert_eq!(retirement, labyard_schema::hooks::RETIREMENT);
    }
}
