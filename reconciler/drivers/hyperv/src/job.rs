//! Work that the host goes on with after it has answered: waited for, within a bound, and judged by its numbers.

use std::time::Duration;

use labyard_driver::DriverError;
use tokio::time::Instant;
use wsman::{CimClass, Client, FaultKind, Object, Reference};

use crate::classes::{ConcreteJob, StorageJob};
use crate::errors::{Code, failed};

/// How often a job is looked at, at first and at most.
const FIRST: Duration = Duration::from_millis(50);
const MOST: Duration = Duration::from_secs(1);
/// How many looks in a row may fail on their way before the job counts as lost.
const MISSES: u32 = 5;

/// How far a job is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JobState {
    /// New, starting, running, suspended or shutting down.
    GoingOn,
    /// Completed, perhaps with warnings. Whether it worked, its error code tells.
    Completed,
    /// Terminated, killed, or ended by an exception.
    Ended,
}

impl JobState {
    /// By `JobState` (CIM_ConcreteJob, and 32768 of Hyper-V: completed with warnings).
    pub fn of(number: u16) -> Self {
        match number {
            7 | 32768 => Self::Completed,
            8..=10 => Self::Ended,
            _ => Self::GoingOn,
        }
    }
}

/// What a look at a job shows.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Seen {
    state: JobState,
    error: u16,
    text: String,
}

impl Seen {
    fn of(object: &Object) -> Result<Self, wsman::Misread> {
        let job = ConcreteJob::read(object)?;
        Ok(Self {
            state: JobState::of(job.state.unwrap_or_default()),
            error: job.error.unwrap_or_default(),
            text: job.error_text.unwrap_or_default(),
        })
    }

    /// How it ended; `None` while it goes on.
    fn end(&self, doing: &str) -> Option<Result<(), DriverError>> {
        let number = u32::from(self.error);
        let code = Code::of(number);
        match self.state {
            JobState::GoingOn => None,
            JobState::Completed => Some(code.error(number, doing, &self.text).map_or(Ok(()), Err)),
            // An exception without a number is none that worked.
            JobState::Ended => Some(Err(code.error(number, doing, &self.text).unwrap_or(
                DriverError::Refused {
                    doing: doing.to_owned(),
                    message: format!("the host ended the job without saying why: {}", self.text),
                },
            ))),
        }
    }
}

/// Waits until a job is over. One that has vanished, and one that goes on past the limit, may have done what it was for: the
/// caller reads.
///
/// # Errors
/// What the job ended with; [`DriverError::ReplyLost`] where that is not known.
pub async fn finished(
    client: &Client,
    job: &Reference,
    doing: &str,
    limit: Duration,
) -> Result<(), DriverError> {
    let until = Instant::now() + limit;
    let lost = |message: String| DriverError::ReplyLost {
        doing: doing.to_owned(),
        message,
    };
    let (mut pause, mut missed) = (FIRST, 0);
    loop {
        match client.get(job).await {
            Ok(object) => {
                missed = 0;
                let seen = Seen::of(&object).map_err(|error| lost(error.to_string()))?;
                if let Some(end) = seen.end(doing) {
                    return end;
                }
            }
            Err(error) if error.fault() == Some(FaultKind::NotFound) => {
                return Err(lost("the host has forgotten the job".to_owned()));
            }
            Err(error) if error.fault().is_some() => return Err(failed(doing.to_owned(), error)),
            Err(error) => {
                missed += 1;
                if missed >= MISSES {
                    return Err(lost(error.to_string()));
                }
            }
        }
        if Instant::now() + pause > until {
            return Err(lost(format!("the job still goes on after {} s", limit.as_secs())));
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(MOST);
    }
}

/// Both kinds of jobs have what [`Seen`] reads under the same names.
const _: () = assert!(ConcreteJob::TABLE.properties.len() < StorageJob::TABLE.properties.len());

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(state: u16, error: u16) -> Option<Result<(), bool>> {
        let seen = Seen {
            state: JobState::of(state),
            error,
            text: String::new(),
        };
        seen.end("x").map(|end| end.map_err(|error| error.is_transient()))
    }

    #[test]
    fn a_job_has_worked_if_it_is_completed_and_has_no_error() {
        assert_eq!(seen(7, 0), Some(Ok(())));
        assert_eq!(seen(32768, 0), Some(Ok(())));
        assert_eq!(seen(7, 32773), Some(Err(false)));
        assert_eq!(seen(7, 32775), Some(Err(true)));
        for ended in [8, 9, 10] {
            assert_eq!(seen(ended, 0), Some(Err(false)), "{ended}");
        }
        for on in [2, 3, 4, 5, 6, 11, 12] {
            assert_eq!(seen(on, 0), None, "{on}");
        }
    }
}
