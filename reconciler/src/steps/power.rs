//! Power: the machine runs or does not, as asked; a start is followed on its console until it is ready.

use std::time::Duration;

use futures::future::BoxFuture;
use labyard_driver::DriverError;
use labyard_driver::observed::Power;
use tokio::time::{Instant, sleep, timeout};

use super::work::Started;
use super::{Outcome, Work};
use crate::desired::{DesiredPower, DesiredShutdown, Wait};
use crate::diff::machine::runs;
use crate::error::EngineError;
use crate::wait;

/// How often a machine that is shutting down is looked at, besides when an event says so.
const LOOK: Duration = Duration::from_millis(500);

pub(super) fn ensure<'a>(work: &'a mut Work<'_>) -> BoxFuture<'a, Outcome> {
    Box::pin(async move {
        match (work.desired.power, work.power()) {
            (DesiredPower::Running, Power::Running) | (DesiredPower::Stopped, Power::Stopped) => Ok(()),
            (DesiredPower::Stopped, _) => stop(work).await,
            (DesiredPower::Running, Power::Crashed) => {
                work.may_mutate().await?;
                work.host
                    .driver
                    .power_off(&work.id)
                    .await
                    .map_err(work.failed())?;
                start(work).await
            }
            (DesiredPower::Running, _) => start(work).await,
        }
    })
}

async fn start(work: &mut Work<'_>) -> Outcome {
    work.may_mutate().await?;
    let board = &work.host.lease_board;
    for (mac, network) in wait::leasing_networks(work).await {
        if let Some(network) = network {
            board.before_start(work.host.driver.as_ref(), &network, mac).await;
        }
    }
    let lost = match work.host.driver.start_machine(&work.id).await {
        Ok(()) => None,
        // It may have happened: the look below tells.
        Err(error @ DriverError::ReplyLost { .. }) => Some(error),
        Err(error) => return Err(work.failed()(error)),
    };
    work.tail.follow(work.host.driver.clone(), work.id.clone());
    work.look().await?;
    match (work.power(), lost) {
        // Nothing tells a guest that is through from one that was never started: it is started again.
        (Power::Stopped | Power::Saved, Some(error)) => Err(work.failed()(error)),
        (power, _) => seen(work, power),
    }
}

/// What a start that the host has answered came to.
fn seen(work: &mut Work<'_>, power: Power) -> Outcome {
    match power {
        // Some guests are through in no time; the wait for readiness tells more than this look.
        Power::Running | Power::Stopped | Power::Crashed => {
            work.started = Started::Now;
            Ok(())
        }
        Power::Paused | Power::Saved => Err(EngineError::Unknown {
            host: work.host.name.clone(),
            what: work.what(),
            why: "it was started and is not seen running".to_owned(),
        }),
    }
}

/// Stops the machine as the user wants it stopped: asked first, with a deadline of its own, then by force.
pub(super) async fn stop(work: &mut Work<'_>) -> Outcome {
    work.may_mutate().await?;
    if let (DesiredShutdown::Graceful(limit), Power::Running) = (work.desired.shutdown, work.power()) {
        ask_to_stop(work, limit).await?;
    }
    if runs(work.power()) || work.power() == Power::Crashed {
        // The guest had its time, and much may have come to an end in it.
        work.may_mutate().await?;
        work.host
            .driver
            .power_off(&work.id)
            .await
            .map_err(work.failed())?;
        work.look().await?;
    }
    if runs(work.power()) {
        return Err(EngineError::Unknown {
            host: work.host.name.clone(),
            what: work.what(),
            why: "its power was taken away and it is still seen running".to_owned(),
        });
    }
    Ok(())
}

async fn ask_to_stop(work: &mut Work<'_>, limit: Duration) -> Outcome {
    let deadline = (Instant::now() + limit).min(work.deadline);
    let mut events = work.host.driver.events().await.ok();
    let mut asked = Asked::NotYet;
    loop {
        if asked == Asked::NotYet {
            asked = ask(work).await?;
        }
        work.look().await?;
        if asked == Asked::InVain || !runs(work.power()) || Instant::now() >= deadline {
            return Ok(());
        }
        if work.cancel.is_cancelled() {
            return work.may_mutate().await;
        }
        match (&mut events, asked) {
            (Some(receiver), Asked::Done) => drop(timeout(LOOK, receiver.recv()).await),
            _ => sleep(LOOK).await,
        }
    }
}

/// Whether a guest was asked to shut down.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Asked {
    /// The host was busy with the machine.
    NotYet,
    /// It was.
    Done,
    /// It cannot be: it is stopped by force.
    InVain,
}

/// Something else that is done to the machine at this moment is no reason to take its power away: it may end within
/// the time that the guest has.
async fn ask(work: &Work<'_>) -> Result<Asked, EngineError> {
    match work.host.driver.request_shutdown(&work.id).await {
        Ok(()) => Ok(Asked::Done),
        Err(DriverError::Busy { message, .. }) => {
            tracing::debug!(machine = %work.desired.name, %message, "cannot be asked to shut down yet");
            Ok(Asked::NotYet)
        }
        Err(DriverError::Refused { .. } | DriverError::Unsupported { .. }) => Ok(Asked::InVain),
        Err(error) => Err(work.failed()(error)),
    }
}

pub(super) fn undo<'a>(work: &'a mut Work<'_>) -> BoxFuture<'a, Outcome> {
    Box::pin(async move {
        if work.found.is_some() {
            stop(work).await
        } else {
            Ok(())
        }
    })
}

/// Waits for what `ready` asks for, after a start by this operation.
pub(super) fn ready<'a>(work: &'a mut Work<'_>) -> BoxFuture<'a, Outcome> {
    Box::pin(async move {
        let adopted = work.started == Started::Adopted && work.power() == Power::Running;
        if work.desired.power == DesiredPower::Stopped || (work.started != Started::Now && !adopted) {
            return Ok(());
        }
        if work.desired.ready.wait == Wait::None {
            return Ok(());
        }
        wait::until_ready(work).await
    })
}

pub(super) fn nothing<'a>(_work: &'a mut Work<'_>) -> BoxFuture<'a, Outcome> {
    Box::pin(async { Ok(()) })
}
