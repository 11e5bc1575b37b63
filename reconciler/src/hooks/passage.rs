//! A machine's hooks through one change: which are due, what the mark says before and after each is asked, and what
//! becomes of the machine by the answer.
//!
//! The mark names a hook before it is called. So a change that was killed asks it again, under the same key, and
//! what one had acquired is given back by the hooks of the removal, whether its answer was ever heard or not.

use std::sync::Arc;
use std::time::Duration;

use labyard_driver::mark::{Heard, HooksMark, Mark, Stage};
use tokio::time::{Instant, sleep, sleep_until};

use super::answer::{self, Answer, Set};
use super::request::{Of, Request, request};
use super::supplied::{self, Case};
use super::{Event, Failure, Hook, Moment, OnError, call};
use crate::error::{EngineError, HookTrouble};
use crate::identity;
use crate::journal::What;
use crate::journal::subject::Subject;
use crate::steps::Work;

/// How often the mark is written again while the host is busy.
const ATTEMPTS: u32 = 5;

/// What a hook has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Taken {
    /// Nothing.
    Nothing,
    /// It supplied values: what was prepared without them is looked at again.
    Values,
}

/// The hooks of one change.
#[derive(Debug)]
pub struct Passage {
    /// What changes the machine.
    pub event: Event,
    /// The change's id in the mark; none where no hook is called.
    operation: Option<String>,
}

impl Passage {
    /// Of a machine that is brought to what is desired.
    pub async fn forward(work: &mut Work<'_>) -> Result<Self, EngineError> {
        let mark = work.mark().await;
        let event = event_of(&mark, work.record.is_some());
        take_up(work).await;
        if !work.deps.hooks.any(event) {
            return Ok(Self {
                event,
                operation: None,
            });
        }
        let operation = match (event, &mark.hooks.operation) {
            (Event::Update, Some(under_way)) => under_way.clone(),
            (Event::Update, None) => identity::new_token(work.deps.random.as_ref()).0,
            _ => creation(&mark),
        };
        Self::open(work, event, operation).await
    }

    /// Of a machine that is removed.
    pub async fn backward(work: &mut Work<'_>) -> Result<Self, EngineError> {
        let event = Event::Destroy;
        if !work.deps.hooks.any(event) {
            return Ok(Self {
                event,
                operation: None,
            });
        }
        let operation = removal(&work.mark().await);
        Self::open(work, event, operation).await
    }

    async fn open(work: &mut Work<'_>, event: Event, operation: String) -> Result<Self, EngineError> {
        let before = work.mark().await.hooks;
        if before.operation.as_ref() != Some(&operation) {
            let was_leaving = before.operation == Some(removal(&work.first_mark));
            let opened = operation.clone();
            note(work, move |hooks| {
                if was_leaving {
                    // What hooks had supplied may have been given back.
                    *hooks = HooksMark::default();
                }
                hooks.operation = Some(opened);
                hooks.called.clear();
            })
            .await?;
        }
        Ok(Self {
            event,
            operation: Some(operation),
        })
    }

    /// The change is through: the next one is another.
    pub async fn close(&self, work: &mut Work<'_>) -> Result<(), EngineError> {
        if self.operation.is_none() {
            return Ok(());
        }
        note(work, |hooks| hooks.operation = None).await
    }

    /// Asks the hook of a moment, if there is one and it was not heard before.
    pub async fn call(&self, work: &mut Work<'_>, moment: Moment) -> Result<Taken, EngineError> {
        let Some(hook) = work.deps.hooks.at(moment, self.event).cloned() else {
            return Ok(Taken::Nothing);
        };
        let (Some(operation), key) = (&self.operation, moment.to_string()) else {
            return Ok(Taken::Nothing);
        };
        if work.mark().await.hooks.called.get(&key) == Some(&Heard::Answered) {
            return Ok(Taken::Nothing);
        }
        let begun = key.clone();
        note(work, move |hooks| {
            hooks.called.insert(begun, Heard::Begun);
        })
        .await?;
        let asking = Asking {
            subject: Subject::of(work, self.event, moment.stage).at_hook(key.clone()),
            moment,
            event: self.event,
            hook: &hook,
        };
        let mark = work.mark().await;
        let of = Of::Recorded(&mark, &work.host.name);
        let mut request = request(&work.desired, of, self.event, operation, moment);
        let supplied = asking.until_it_goes_on(work, &mut request).await?;
        let values = supplied.is_some();
        note(work, move |hooks| {
            if let Some(supplied) = supplied {
                let (operation, called) = (hooks.operation.take(), std::mem::take(&mut hooks.called));
                *hooks = HooksMark {
                    operation,
                    called,
                    ..supplied
                };
            }
            hooks.called.insert(key, Heard::Answered);
        })
        .await?;
        if !values {
            return Ok(Taken::Nothing);
        }
        take_up(work).await;
        Ok(Taken::Values)
    }
}

/// What changes a machine, by its mark: one whose making or removal was begun is still being made.
fn event_of(mark: &Mark, recorded: bool) -> Event {
    let under_way = mark.hooks.operation.as_ref();
    let making = under_way.is_some_and(|id| *id == creation(mark) || *id == removal(mark));
    if !recorded || making || mark.stage < Stage::Finished {
        Event::Create
    } else {
        Event::Update
    }
}

fn creation(mark: &Mark) -> String {
    mark.origin.as_str().to_owned()
}

fn removal(mark: &Mark) -> String {
    format!("{}-removal", mark.origin.as_str())
}

/// Completes what is desired by what hooks have supplied, in this run or one before.
pub async fn take_up(work: &mut Work<'_>) {
    let hooks = work.mark().await.hooks;
    if !hooks.macs.is_empty() {
        work.desired = Arc::new(supplied::complete(&work.desired, &hooks));
    }
}

/// Changes what the mark says of hooks; before there is a record, the mark that it will begin with.
async fn note(work: &mut Work<'_>, change: impl FnOnce(&mut HooksMark)) -> Result<(), EngineError> {
    if work.record.is_none() {
        change(&mut work.first_mark.hooks);
        return Ok(());
    }
    let mut hooks = work.mark().await.hooks;
    change(&mut hooks);
    let mut pause = Duration::from_millis(500);
    for _ in 1..ATTEMPTS {
        match work.write(|mark| mark.hooks = hooks.clone()).await {
            Err(EngineError::Host { source, .. }) if source.is_transient() => {}
            other => return other.map(drop),
        }
        sleep(pause).await;
        pause *= 2;
    }
    work.write(|mark| mark.hooks = hooks).await.map(drop)
}

/// One hook being asked.
struct Asking<'h> {
    subject: Subject,
    moment: Moment,
    event: Event,
    hook: &'h Hook,
}

impl Asking<'_> {
    /// Asks until the answer is no hold; the values to be taken, if it supplies any.
    async fn until_it_goes_on(
        &self,
        work: &Work<'_>,
        request: &mut Request,
    ) -> Result<Option<HooksMark>, EngineError> {
        let began = Instant::now();
        loop {
            work.may_mutate().await?;
            self.subject.write(What::HookAsked, request.attempt, None, None);
            let answer = match self.answer(work, request).await? {
                Ok(answer) => answer,
                Err(why) => return self.without(work, request.attempt, why),
            };
            match answer {
                Answer::Go => {
                    self.heard(request.attempt, began);
                    return Ok(None);
                }
                Answer::Set(set) => match self.take(work, &set).await? {
                    Ok(supplied) => {
                        self.heard(request.attempt, began);
                        return Ok(Some(supplied));
                    }
                    Err(why) => return self.without(work, request.attempt, why),
                },
                Answer::Deny { reason } => {
                    return Err(self.trouble(work, request.attempt, HookTrouble::Denied { reason }));
                }
                Answer::Hold { retry_after, reason } => {
                    self.hold(work, request, began, retry_after, reason).await?;
                }
            }
        }
    }

    /// The answer, or why there is none; an error where the run or its time ends.
    async fn answer(
        &self,
        work: &Work<'_>,
        request: &mut Request,
    ) -> Result<Result<Answer, String>, EngineError> {
        let caller = work.deps.hooks.caller.clone();
        let asked = call::answered(caller.as_ref(), self.hook, request);
        let answer = tokio::select! {
            answer = asked => answer,
            () = work.cancel.cancelled() => return Err(cancelled(work)),
            () = sleep_until(work.deadline) => return Err(work.out_of_time()),
        };
        Ok(answer
            .map_err(|failure: Failure| failure.why().to_owned())
            .and_then(|bytes| answer::read(&bytes)))
    }

    async fn take(&self, work: &Work<'_>, set: &Set) -> Result<Result<HooksMark, String>, EngineError> {
        let mark = work.mark().await;
        let case = Case {
            moment: self.moment,
            event: self.event,
            desired: &work.desired,
            mark: &mark,
            host: &work.host.name,
        };
        let supplied = match supplied::take(set, &case) {
            Ok(supplied) => supplied,
            Err(why) => return Ok(Err(why)),
        };
        if set.macs.is_empty() {
            return Ok(Ok(supplied));
        }
        let snapshot = work.host.fresh().await?;
        for machine in snapshot.machines.iter().filter(|m| m.id != work.id) {
            let nics = machine
                .detail
                .known()
                .map(|d| d.nics.as_slice())
                .unwrap_or_default();
            let taken = nics
                .iter()
                .find(|nic| supplied.macs.values().any(|mac| *mac == nic.mac));
            if let Some(nic) = taken {
                return Ok(Err(format!(
                    "it supplies MAC {}, which machine {} has",
                    nic.mac, machine.host_name
                )));
            }
        }
        Ok(Ok(supplied))
    }

    async fn hold(
        &self,
        work: &Work<'_>,
        request: &mut Request,
        began: Instant,
        retry_after: Duration,
        reason: String,
    ) -> Result<(), EngineError> {
        self.subject
            .write(What::HookHolds, request.attempt, None, Some(reason.clone()));
        tracing::info!(
            machine = %work.desired.name, hook = %self.moment, reason,
            "held for {}s, asking again in {}s", began.elapsed().as_secs(), retry_after.as_secs()
        );
        if Instant::now() + retry_after >= work.deadline {
            // Nobody would be there to hear the next answer.
            let waited = began.elapsed();
            return Err(self.trouble(work, request.attempt, HookTrouble::Held { reason, waited }));
        }
        tokio::select! {
            () = sleep(retry_after) => {}
            () = work.cancel.cancelled() => return Err(cancelled(work)),
        }
        request.attempt += 1;
        Ok(())
    }

    fn heard(&self, attempt: u32, began: Instant) {
        self.subject
            .write(What::HookAnswered, attempt, Some(began.elapsed()), None);
    }

    /// A hook that could not be had, or whose answer cannot be taken.
    fn without(&self, work: &Work<'_>, attempt: u32, why: String) -> Result<Option<HooksMark>, EngineError> {
        match self.hook.on_error {
            OnError::Continue => {
                self.subject
                    .write(What::HookMissed, attempt, None, Some(why.clone()));
                tracing::warn!(machine = %work.desired.name, hook = %self.moment, why, "going on without the hook");
                Ok(None)
            }
            OnError::Fail => Err(self.trouble(work, attempt, HookTrouble::Failed { why })),
        }
    }

    fn trouble(&self, work: &Work<'_>, attempt: u32, trouble: HookTrouble) -> EngineError {
        self.subject
            .write(What::HookFailed, attempt, None, Some(trouble.to_string()));
        EngineError::Hook {
            host: work.host.name.clone(),
            what: work.what(),
            hook: self.moment.to_string(),
            trouble,
        }
    }
}

fn cancelled(work: &Work<'_>) -> EngineError {
    EngineError::Cancelled {
        host: work.host.name.clone(),
        what: work.what(),
        stage: work.stage,
    }
}
