//! Goes through the stages of a machine: forward to what is desired, backward to nothing.
//!
//! The stage stands in the mark before its step begins; the operator's hooks are asked before and after it. What was reached is handed out after every step, so that
//! whatever ends the operation, its caller knows.

use std::time::Duration;

use labyard_driver::mark::Stage;
use tokio::time::{Instant, sleep};

use crate::error::EngineError;
use crate::faults;
use crate::hooks::passage::{Passage, Taken};
use crate::hooks::{Moment, When};
use crate::journal::subject::{Subject, Watch};
use crate::steps::{Outcome, Progress, STEPS, Step, Work, renew_seed};

/// Attempts at a step whose host was busy or did not answer.
const ATTEMPTS: u32 = 5;
/// The first pause between them; it doubles.
const BACK_OFF: Duration = Duration::from_millis(500);

/// Takes what an operation has reached.
pub type Report<'a> = &'a (dyn Fn(&Progress) + Send + Sync);

/// Brings the machine to what is desired.
pub async fn forward(work: &mut Work<'_>, report: Report<'_>) -> Outcome {
    let passage = Passage::forward(work).await?;
    for step in STEPS {
        begin(work, step.stage).await?;
        let result = passed(work, step, &passage).await;
        work.host.observer.invalidate();
        if work.record.is_some() {
            report(&work.progress().await);
        }
        result?;
        faults::reached(step.stage, work.desired.name.as_str(), &work.cancel).await;
    }
    passage.close(work).await
}

/// Takes the machine away, its record last.
pub async fn backward(work: &mut Work<'_>) -> Outcome {
    let passage = Passage::backward(work).await?;
    for step in STEPS.iter().rev() {
        work.stage = step.stage;
        let result = undone(work, step, &passage).await;
        work.host.observer.invalidate();
        result?;
        faults::undone(step.stage, work.desired.name.as_str(), &work.cancel).await;
    }
    Ok(())
}

/// The hooks of a removal for a machine whose definition is gone: it has no mark that could tell which were called.
pub async fn tell_of_removal(work: &mut Work<'_>) -> Outcome {
    let passage = Passage::backward(work).await?;
    for stage in STEPS.iter().rev().filter_map(|step| step.retirement) {
        for when in [When::Before, When::After] {
            passage.call(work, Moment { when, stage }).await?;
        }
    }
    Ok(())
}

/// A step with the hooks before and after it.
async fn passed(work: &mut Work<'_>, step: &Step, passage: &Passage) -> Outcome {
    let stage = step.name();
    let before = Moment {
        when: When::Before,
        stage,
    };
    if passage.call(work, before).await? == Taken::Values {
        prepare_again(work, step).await?;
    }
    faults::reached_moment(before, work.desired.name.as_str(), &work.cancel).await;
    let watch = Watch::begin(Subject::of(work, passage.event, stage));
    let outcome = watch.over(attempt(work, step, &watch)).await;
    watch.end(outcome)?;
    let when = When::After;
    passage.call(work, Moment { when, stage }).await.map(drop)
}

/// What stages before this one had made of addresses and names is brought to what a hook has supplied since.
async fn prepare_again(work: &mut Work<'_>, before: &Step) -> Outcome {
    if before.stage > Stage::Seed && work.mark().await.hooks.hostname.is_some() {
        renew_seed(work).await?;
    }
    let concerned = [Stage::Record, Stage::Addresses, Stage::Seed];
    let earlier = STEPS.iter().take_while(|step| step.stage < before.stage);
    for step in earlier.filter(|step| concerned.contains(&step.stage)) {
        attempt(work, step, &Watch::quiet()).await?;
    }
    Ok(())
}

async fn undone(work: &mut Work<'_>, step: &Step, passage: &Passage) -> Outcome {
    let Some(stage) = step.retirement else {
        return retried(work, step, Way::Undo, &Watch::quiet()).await;
    };
    let when = When::Before;
    passage.call(work, Moment { when, stage }).await?;
    let watch = Watch::begin(Subject::of(work, passage.event, stage));
    let outcome = watch.over(retried(work, step, Way::Undo, &watch)).await;
    watch.end(outcome)?;
    let when = When::After;
    passage.call(work, Moment { when, stage }).await.map(drop)
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

async fn attempt(work: &mut Work<'_>, step: &Step, watch: &Watch) -> Outcome {
    let deadline = work.deadline;
    let limit = step.limit(work.desired.shutdown);
    let step_deadline = Instant::now() + limit;
    let bounded = tokio::time::timeout_at(
        deadline.min(step_deadline),
        retried(work, step, Way::Ensure, watch),
    )
    .await;
    match bounded {
        Ok(outcome) => outcome,
        Err(_) if deadline <= step_deadline => Err(work.out_of_time()),
        Err(_) => Err(EngineError::StageTooLong {
            host: work.host.name.clone(),
            what: work.what(),
            limit: format!("{}s", limit.as_secs()),
            stage: step.stage,
        }),
    }
}

#[derive(Clone, Copy)]
enum Way {
    Ensure,
    Undo,
}

/// A step again while the host is busy or out of reach, a bounded number of times; every step looks for itself
/// what was done already.
async fn retried(work: &mut Work<'_>, step: &Step, way: Way, watch: &Watch) -> Outcome {
    let mut pause = BACK_OFF;
    for _ in 1..ATTEMPTS {
        let outcome = once(work, step, way).await;
        match &outcome {
            Err(EngineError::Host { source, .. }) if source.is_transient() => {
                tracing::warn!(stage = ?step.stage, machine = %work.desired.name, error = %source, "trying again");
                watch.again(&source.to_string());
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
