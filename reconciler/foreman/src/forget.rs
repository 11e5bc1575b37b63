//! What has been over for long enough is forgotten: every hour, and soon again where that was more than is forgotten at
//! once.

use crate::Inner;
use labyard_labs::{Refusal, retention};
use std::{
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

const EVERY: Duration = Duration::from_secs(3600);

/// When it was done last to its end.
#[derive(Default)]
pub(crate) struct LastForgot(Mutex<Option<Instant>>);

impl Inner {
    /// Forgets a part of what is to be forgotten, if it is time.
    pub(crate) async fn forget(&self) -> Result<(), Refusal> {
        let last = *self.forgot.0.lock().unwrap_or_else(PoisonError::into_inner);
        if last.is_some_and(|last| last.elapsed() < EVERY) {
            return Ok(());
        }
        let (retention, now) = (self.retention, self.now());
        let forgotten = self
            .store
            .write(move |write| retention::forget(write, retention, now))
            .await?;
        if !forgotten.is_part() {
            *self.forgot.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
        }
        Ok(())
    }
}
