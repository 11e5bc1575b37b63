//! Goes on for ever: whatever changes in the store or comes to its end is a reason for another turn, and so is time.

use crate::{Foreman, Inner, Scope, turn::Tasks};
use labyard_store::StoreError;
use std::time::Duration;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

/// Between two turns at least, so that a burst of events is one reason.
const LEAST: Duration = Duration::from_millis(100);
/// How often other processes' events are looked for.
const LOOK: Duration = Duration::from_millis(1_000);
/// Between two turns at most.
const RESYNC: Duration = Duration::from_secs(5);
/// How long what is under way may take to stop when the foreman ends.
const ENDS_WITHIN: Duration = Duration::from_secs(30);

impl Foreman {
    /// Works on all pools until it is cancelled; what is under way then stops before its next change of a host, and is
    /// waited for. A store that fails is tried again.
    pub async fn run(&self, cancel: CancellationToken) {
        let inner = &self.inner;
        let mut events = inner.store.newest();
        let mut tasks = Tasks::default();
        let mut seen = None;
        while !cancel.is_cancelled() {
            let began = Instant::now();
            events.mark_unchanged();
            tasks.tell_of_ended();
            match inner.turn(&Scope::All, &mut tasks).await {
                Ok(_) => seen = inner.newest().await.ok(),
                Err(error) => tracing::error!(%error, "a turn failed; the next one tries again"),
            }
            tokio::select! {
                () = cancel.cancelled() => break,
                () = sleep_until(began + LEAST) => {}
            }
            loop {
                tokio::select! {
                    () = cancel.cancelled() => break,
                    Ok(()) = events.changed() => break,
                    Some(done) = tasks.next() => {
                        if let Err(error) = done {
                            tracing::error!(%error, "a piece of work could not be ended; its lease runs out");
                        }
                        break;
                    }
                    () = sleep_until(Instant::now() + LOOK) => {
                        let newest = inner.newest().await.ok();
                        if began.elapsed() >= RESYNC || newest != seen {
                            break;
                        }
                    }
                }
            }
        }
        self.end();
        let stopping = async { while tasks.next().await.is_some() {} };
        if tokio::time::timeout(ENDS_WITHIN, stopping).await.is_err() {
            tracing::warn!("hosts have not answered; what is under way there is taken up by others");
        }
    }
}

impl Inner {
    /// The number of the newest event of all processes.
    async fn newest(&self) -> Result<i64, StoreError> {
        self.store
            .read(|read| {
                let rows = read.query("SELECT value FROM counters WHERE name = 'events'", &[])?;
                rows.first().map_or(Ok(0), |row| row.get("value"))
            })
            .await
    }
}
