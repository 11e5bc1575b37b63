//! Goes through the stages of a machine: forward to what is desired, backward to nothing.
//!
//! The stage stands in the mark before its step begins. What was reached is handed out after every step, so that
//! whatever ends the operation, its caller knows.

use std::time::Duration;

use labyard_driver::mark::Stage;
use tokio::time::{Instant, sleep};

use crate::error::EngineError;
use crate::faults;
use crate::steps::{Outcome, Progress, STEPS, Step, Work};

/// Attempts at a step whose host was busy or did not answer.
const ATTEMPTS: u32 = 5;
/// The first pause between them; it doubles.
const BACK_OFF: Duration = Duration::from_millis(500);

/// Takes what an operation has reached.
pub type Report<'a> = &'a (dyn Fn(&Progress) + Send + Sync);

/// Brings the machine to what is desired.
pub async fn forward(work: &mut Work<'_>, report: Report<'_>) -> Outcome {
    for step in STEPS {
        begin(work, step.stage).await?;
        let result = attempt(work, step).await;
        work.host.observer.invalidate();
        if work.record.is_some() {
            report(&work.progress().await);
        }
        result?;
        faults::reached(step.stage, work.desired.name.as_str(), &work.cancel).await;
    }
    Ok(())
}

/// Takes the machine away, its record last.
pub async fn backward(work: &mut Work<'_>) -> Outcome {
    for step in STEPS.iter().rev() {
        work.stage = step.stage;
        let result = retried(work, step, Way::Undo).await;
        work.host.observer.invalidate();
        result?;
    }
    Ok(())
}

/// Writes the stage that begins now into the mark, so that others see where the machine is.
async fn begin(work: &mut Work<'_>, stage: Stage) -> Outcome {
    work.stage = stage;
    work.may_mutate().await?;
    // While a machine is changed that was whole it stays so: only a first build has a stage.
    if work.record.is_some() && work.mark().await.stage < stage && stage < Stage::Finished {
        work.write(|mark| mark.stage = stage).await?;
    }
    Ok(())
}

async fn attempt(work: &mut Work<'_>, step: &Step) -> Outcome {
    let deadline = work.deadline;
    let step_deadline = Instant::now() + step.deadline;
    let bounded =
        tokio::time::timeout_at(deadline.min(step_deadline), retried(work, step, Way::Ensure)).await;
    match bounded {
        Ok(outcome) => outcome,
        Err(_) => Err(work.out_of_time()),
    }
}

#[derive(Clone, Copy)]
enum Way {
    Ensure,
    Undo,
}

/// A step again while the host is busy or out of reach, a bounded number of times; every step looks for itself
/// what was done already.
async fn retried(work: &mut Work<'_>, step: &Step, way: Way) -> Outcome {
    let mut pause = BACK_OFF;
    for _ in 1..ATTEMPTS {
        let outcome = once(work, step, way).await;
        match &outcome {
            Err(EngineError::Host { source, .. }) if source.is_transient() => {
                tracing::warn!(stage = ?step.stage, machine = %work.desired.name, error = %source, "trying again");
            }
            _ => return outcome,
        }
        sleep(pause).await;
        pause *= 2;
        work.may_mutate().await?;
        if work.record.is_some() {
            // What was read before the connection broke is no ground to go on; if it still is, the step tells.
            let _ = work.look().await;
        }
    }
    once(work, step, way).await
}

async fn once(work: &mut Work<'_>, step: &Step, way: Way) -> Outcome {
    match way {
        Way::Ensure => (step.ensure)(work).await,
        Way::Undo => (step.undo)(work).await,
    }
}
