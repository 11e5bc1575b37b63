//! A running machine brought to its specification: change by change while it runs, each waited for until it is seen,
//! or by a stop, after which the new definition is taken at the start.

use std::time::Duration;

use labyard_driver::DriverError;
use labyard_driver::observed::Power;
use labyard_driver::spec::{LiveChange, MachineSpec};
use tokio::time::{Instant, sleep, timeout};

use super::{Outcome, Work, power};
use crate::desired::DesiredPower;
use crate::diff::machine::runs;
use crate::error::EngineError;
use crate::live::{Way, attribute_of, is_done, way};

/// How long a guest may take to let a device go, or to take one.
const GUEST: Duration = Duration::from_secs(20);
/// Memory is given back page by page, beside what the guest does.
const BALLOON: Duration = Duration::from_secs(60);
/// How often is looked, besides when an event says so.
const LOOK: Duration = Duration::from_millis(250);

/// Leaves a running machine as the specification says, or off.
pub(super) async fn approach(work: &mut Work<'_>, spec: &MachineSpec) -> Outcome {
    if !runs(work.power()) {
        return Ok(());
    }
    let Some(detail) = work.detail() else {
        return Ok(());
    };
    match way(spec, detail) {
        Way::Live(changes) if changes.is_empty() => Ok(()),
        // It is to be stopped anyway.
        _ if work.desired.power == DesiredPower::Stopped => power::stop(work).await,
        Way::Live(changes) if work.power() == Power::Running => {
            for change in changes {
                make(work, spec, &change).await?;
            }
            Ok(())
        }
        Way::Live(_) => restart(work, "only a machine that runs is changed without a restart").await,
        Way::Restart(why) => restart(work, why).await,
    }
}

/// The plan has said so, unless the machine has changed since: then the word of the user holds.
pub(super) async fn restart(work: &mut Work<'_>, why: &str) -> Outcome {
    if work.desired.wishes.allow_restart {
        return power::stop(work).await;
    }
    let message =
        format!("it is false, and the machine needs a restart now: {why}. Plan again to see what needs it");
    Err(work.at("allow_restart", message))
}

async fn make(work: &mut Work<'_>, spec: &MachineSpec, change: &LiveChange) -> Outcome {
    work.may_mutate().await?;
    let limit = match change {
        LiveChange::Memory => BALLOON,
        _ => GUEST,
    };
    let mut events = work.host.driver.events().await.ok();
    let mut lost = match work.host.driver.change_live(spec, change).await {
        Ok(()) => None,
        // It may have happened: the look below tells.
        Err(error @ DriverError::ReplyLost { .. }) => Some(error),
        Err(error) => return Err(refused(work, spec, change, error)),
    };
    let deadline = (Instant::now() + limit).min(work.deadline);
    loop {
        work.look().await?;
        if work.detail().is_some_and(|detail| is_done(change, spec, detail)) {
            return Ok(());
        }
        if !runs(work.power()) {
            // It went off meanwhile: the definition is all there is to change.
            return Ok(());
        }
        if work.cancel.is_cancelled() {
            return work.may_mutate().await;
        }
        if Instant::now() >= deadline {
            // Of what may never have been asked for the guest is not to blame.
            let lost = lost.take().map(work.failed());
            return Err(lost.unwrap_or_else(|| late(work, spec, change, limit)));
        }
        match &mut events {
            Some(receiver) => drop(timeout(LOOK, receiver.recv()).await),
            None => sleep(LOOK).await,
        }
    }
}

fn refused(work: &Work<'_>, spec: &MachineSpec, change: &LiveChange, error: DriverError) -> EngineError {
    match error {
        DriverError::Refused { message, .. } | DriverError::Unsupported { message, .. } => {
            let message = format!(
                "host {} refused it while the machine runs: {message}. Stop the machine (power = \"stopped\") and \
                 apply, then start it again",
                work.host.name
            );
            work.at(attribute_of(change, spec), message)
        }
        error => work.failed()(error),
    }
}

fn late(work: &Work<'_>, spec: &MachineSpec, change: &LiveChange, limit: Duration) -> EngineError {
    let seconds = limit.as_secs();
    let message = match change {
        LiveChange::UnplugDisk(_) | LiveChange::UnplugNic(_) => format!(
            "the guest was asked to let the device go and did not within {seconds}s, so it is still attached. A guest \
             that is up and has a driver for hot-plugging does: apply again when it is, or stop the machine \
             (power = \"stopped\"), which needs no consent"
        ),
        LiveChange::Memory => {
            let has = work
                .detail()
                .and_then(|d| d.live_memory)
                .map_or(0, |memory| memory.0);
            format!(
                "the guest was asked for memory and still has {has} MiB after {seconds}s. Giving memory back needs \
                 the driver virtio_balloon in the guest, and memory that it does not use: apply again when it has \
                 both, or set memory_max_mib to what it shall have, which restarts it"
            )
        }
        _ => format!("the host does not show it within {seconds}s. Apply again"),
    };
    work.at(attribute_of(change, spec), message)
}
