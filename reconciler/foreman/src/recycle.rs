//! A machine that was used, or was going to be, is made what it was.

use crate::{Inner, Outcome, build::object, hold::Hold};
use labyard_driver::{ids::HostName, observed::Power};
use labyard_labs::{
    Refusal,
    pool::work::{Blame, Left, Piece},
};
use labyard_reconciler::{
    EngineError,
    engine::{Bounds, Departure, ObjectRef, Reserve},
};
use std::{sync::Arc, time::Duration};

/// How long it may take.
const LIMIT: Duration = Duration::from_secs(10 * 60);
/// A host that does not answer is waited for no longer than this.
const PATIENCE_MS: i64 = 10 * 60_000;

impl Inner {
    /// Back to what it was when it was first ready.
    pub(crate) async fn reset(&self, piece: &Piece, hold: &Arc<Hold>) -> Result<Outcome, Refusal> {
        self.bring_back(piece, hold, Way::Reset).await
    }

    /// Nobody has been in it: what was put in for a claim is taken out. Where that cannot be done it is reset.
    pub(crate) async fn tidy(&self, piece: &Piece, hold: &Arc<Hold>) -> Result<Outcome, Refusal> {
        match self.bring_back(piece, hold, Way::Tidy).await? {
            Outcome::Failed { .. } => self.bring_back(piece, hold, Way::Reset).await,
            other => Ok(other),
        }
    }

    async fn bring_back(&self, piece: &Piece, hold: &Arc<Hold>, way: Way) -> Result<Outcome, Refusal> {
        let Some(host) = piece.machine.host.clone().map(HostName) else {
            return Ok(failed("nothing is known of where it is"));
        };
        let Some(_slot) = self.slots.try_on(host.as_str()) else {
            return Ok(Outcome::Waits { on: host.to_string() });
        };
        let marked = match self.find(&host, &piece.machine).await {
            Err(error) => return Ok(self.not_back(piece, &error)),
            Ok(None) => return Ok(failed("it is gone from its host")),
            Ok(Some(marked)) => marked,
        };
        let object = object(&piece.machine, &host, Some(marked.identity));
        let done = match way {
            Way::Reset => self.engine.reset_machine(&object, self.for_reset(hold)).await,
            Way::Tidy => self.take_out(&object, marked.power, hold).await,
        };
        Ok(match done {
            Ok(()) => Outcome::Recycled,
            Err(error) => self.not_back(piece, &error),
        })
    }

    async fn take_out(&self, object: &ObjectRef, power: Power, hold: &Arc<Hold>) -> Result<(), EngineError> {
        if power == Power::Paused {
            // Its claim ended while it was paused.
            self.engine.wake_machine(object, self.for_reset(hold)).await?;
        }
        let untouched = Departure::Untouched;
        self.engine.dismiss(object, untouched, self.for_reset(hold)).await
    }

    /// A machine that cannot be brought back may be kept for a look, but nobody goes on using it.
    pub(crate) async fn stop_for_good(&self, piece: &Piece, hold: &Arc<Hold>) -> Left {
        let Some(host) = piece.machine.host.clone().map(HostName) else {
            return Left::InUse;
        };
        match self.find(&host, &piece.machine).await {
            Ok(Some(marked)) if marked.power == Power::Running => {
                let object = object(&piece.machine, &host, Some(marked.identity));
                match self.engine.hold_machine(&object, self.for_reset(hold)).await {
                    Ok(()) => Left::Unused,
                    Err(_) => Left::InUse,
                }
            }
            Ok(Some(_)) => Left::Unused,
            Ok(None) | Err(_) => Left::InUse,
        }
    }

    /// Bounds of what is done with a machine that stands.
    pub(crate) fn for_reset(&self, hold: &Arc<Hold>) -> Bounds {
        Bounds {
            cancel: hold.lost.clone(),
            limit: LIMIT,
            reserve: Reserve::Named,
            fence: Some(hold.clone()),
        }
    }

    /// A host that does not answer may answer soon; anything else says that this machine will not do again.
    fn not_back(&self, piece: &Piece, error: &EngineError) -> Outcome {
        let tried = self.now().0.saturating_sub(piece.machine.since.0);
        match Outcome::of(error) {
            Outcome::Failed {
                cause,
                blame: Blame::Circumstances,
            } if tried < PATIENCE_MS => Outcome::PutOff { why: cause },
            other => other,
        }
    }
}

/// How a machine is brought back.
#[derive(Clone, Copy)]
enum Way {
    Reset,
    Tidy,
}

fn failed(why: &str) -> Outcome {
    Outcome::Failed {
        cause: why.to_owned(),
        blame: Blame::Circumstances,
    }
}
