//! A change as an operation of the daemon: asked for once, however often the connection breaks, since every request of it
//! has the same key; followed until it is over; ended when the user ends the run.

use labyard_api::claim::IDEMPOTENCY_KEY;
use labyard_api::client::{Call, Client, ClientError};
use labyard_api::operation::{Operation, State};
use labyard_api::routes::Op;
use labyard_reconciler::EngineError;
use labyard_reconciler::engine::Bounds;
use labyard_reconciler::identity::{OsRandom, new_token};
use serde_json::Value;
use std::time::Duration;
use tokio::time::{Instant, sleep};

use crate::engine::met;

/// How often a request is sent whose answer did not come.
const ATTEMPTS: u32 = 6;
/// How long another operation with the same object is waited for.
const OTHERS: Duration = Duration::from_secs(120);
/// Between looks at an operation: the first, and the most.
const LOOKS: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(1));
/// How long a daemon that has gone away, or does not end an operation that is over its time, is waited for.
const GRACE: Duration = Duration::from_secs(90);

/// A change that is followed.
pub(crate) struct Follow<'a> {
    pub(crate) client: &'a Client,
    pub(crate) what: String,
    pub(crate) bounds: &'a Bounds,
    /// Takes how far it is, as the daemon writes it.
    pub(crate) reached: &'a (dyn Fn(&Value) + Send + Sync),
}

impl Follow<'_> {
    /// Asks for the change and follows it to its end.
    pub(crate) async fn change(&self, op: Op, call: Call) -> Result<Value, EngineError> {
        let operation = self.begun(op, call).await?;
        self.over(operation).await
    }

    async fn begun(&self, op: Op, call: Call) -> Result<Operation, EngineError> {
        let call = call.header(IDEMPOTENCY_KEY, Some(new_token(&OsRandom).0));
        let mut pause = Duration::from_millis(250);
        let (mut broken, began) = (0, Instant::now());
        loop {
            match self.client.ask::<Operation>(op, call.clone()).await {
                Ok(answered) => return Ok(answered.value),
                // Another run's, which may be gone: the object is free when it is over.
                Err(ClientError::Refused(problem))
                    if problem.kind() == "operation-running" && began.elapsed() < OTHERS =>
                {
                    tracing::info!(%problem, what = %self.what, "waits for another operation");
                    tokio::select! {
                        () = sleep(LOOKS.1) => continue,
                        () = self.bounds.cancel.cancelled() => {
                            return Err(met(&ClientError::Refused(problem), &self.what));
                        }
                    }
                }
                Err(error @ (ClientError::Broken { .. } | ClientError::Unreachable { .. }))
                    if broken < ATTEMPTS =>
                {
                    tracing::warn!(%error, what = %self.what, "asked again");
                    broken += 1;
                }
                Err(error) => return Err(met(&error, &self.what)),
            }
            sleep(pause).await;
            pause *= 2;
        }
    }

    async fn over(&self, begun: Operation) -> Result<Value, EngineError> {
        let id = begun.id.clone();
        let (mut operation, mut told) = (begun, Value::Null);
        let (mut pause, latest) = (LOOKS.0, Instant::now() + self.bounds.limit + GRACE);
        let mut seen = Instant::now();
        let mut is_ended = false;
        loop {
            self.tell(&operation, &mut told);
            match operation.state {
                State::Running if Instant::now() > latest => return Err(self.late(&operation)),
                State::Running => {}
                State::Succeeded => return Ok(operation.result.unwrap_or_default()),
                State::Failed | State::Cancelled => return Err(self.failed(operation)),
            }
            tokio::select! {
                () = sleep(pause) => {}
                () = self.bounds.cancel.cancelled(), if !is_ended => {
                    is_ended = true;
                    if let Err(error) = self.client.cancel(&id).await {
                        tracing::warn!(%error, operation = %id, "the daemon was not told to end it");
                    }
                    continue;
                }
            }
            pause = (pause * 2).min(LOOKS.1);
            match self.client.operation(&id).await {
                Ok(now) => {
                    operation = now;
                    seen = Instant::now();
                }
                // It comes back: its work is in the store, or in the marks of the hosts.
                Err(error) if error.is_retryable() && seen.elapsed() < GRACE => {
                    tracing::warn!(%error, operation = %id, "the daemon was not asked how far it is");
                }
                Err(error) => return Err(met(&error, &self.what)),
            }
        }
    }

    /// Tells what was reached, once.
    fn tell(&self, operation: &Operation, told: &mut Value) {
        let Some(reached) = operation.reached.as_ref().filter(|reached| *reached != told) else {
            return;
        };
        told.clone_from(reached);
        tracing::info!(operation = %operation.id, stage = %operation.stage, what = %self.what, "how far it is");
        (self.reached)(reached);
    }

    fn failed(&self, operation: Operation) -> EngineError {
        if let Some(failure) = operation.failure
            && let Ok(error) = serde_json::from_value(failure)
        {
            return error;
        }
        let why = operation.error.unwrap_or_else(|| "it did not say why".to_owned());
        EngineError::Daemon {
            what: self.what.clone(),
            why: format!("operation {} {}: {why}", operation.id, operation.state.word()),
        }
    }

    fn late(&self, operation: &Operation) -> EngineError {
        EngineError::Daemon {
            what: self.what.clone(),
            why: format!(
                "operation {} is still at {} long after its time. The daemon goes on with it: look at it (labyard \
                 operation show {}), and apply again",
                operation.id, operation.stage, operation.id
            ),
        }
    }
}

/// An answer that is not what an engine writes.
pub(crate) fn strange(why: String) -> EngineError {
    EngineError::Daemon {
        what: "the daemon's answer is not what an engine of this release writes".to_owned(),
        why,
    }
}
