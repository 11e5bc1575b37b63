//! The two ends that can come: of the operations under way (StopProvider), and of the process (Shutdown).

use std::sync::{Mutex, OnceLock, PoisonError};

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// Why the process ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// The parent said so, having received every answer.
    Asked,
    /// The parent is gone without a word, or somebody else told the process to go: nobody knows which answers
    /// were kept.
    Abandoned,
}

/// What all parts of a running server share about its end.
#[derive(Debug, Default)]
pub(crate) struct Life {
    operations: Mutex<CancellationToken>,
    shutdown: CancellationToken,
    end: OnceLock<End>,
    /// Operations under way, also those whose caller has gone.
    pub(crate) running: TaskTracker,
}

impl Life {
    /// What an operation that begins now is cancelled by.
    pub(crate) fn operation(&self) -> CancellationToken {
        self.operations
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Cancels the operations under way. One that begins afterwards is not concerned.
    pub(crate) fn cancel_operations(&self) {
        let fresh = CancellationToken::new();
        let old = std::mem::replace(
            &mut *self.operations.lock().unwrap_or_else(PoisonError::into_inner),
            fresh,
        );
        old.cancel();
    }

    /// Ends the process in good order. The first reason stands.
    pub(crate) fn shut_down(&self, why: End) {
        let _ = self.end.set(why);
        self.shutdown.cancel();
    }

    /// Waits until the process is to end.
    pub(crate) async fn ended(&self) -> End {
        self.shutdown.cancelled().await;
        self.end.get().copied().unwrap_or(End::Asked)
    }

    /// Cancelled once the process is to end.
    pub(crate) fn shutdown(&self) -> &CancellationToken {
        &self.shutdown
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stop_reaches_what_runs_and_nothing_that_begins_later() {
        let life = Life::default();
        let under_way = life.operation();
        life.cancel_operations();
        assert!(under_way.is_cancelled());
        assert!(!life.operation().is_cancelled());
        assert!(!life.shutdown().is_cancelled());
    }

    #[tokio::test]
    async fn the_first_reason_to_end_stands() {
        let life = Life::default();
        life.shut_down(End::Abandoned);
        life.shut_down(End::Asked);
        assert_eq!(life.ended().await, End::Abandoned);
    }
}
