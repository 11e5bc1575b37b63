//! A worker's hold on what it works on: renewed while it works, and asked for right before each change of a host.
//!
//! A hold is lost when the lease could not be renewed in time, or somebody else has the work by now. A process that was
//! stopped and goes on finds its hold past its time, and changes nothing more.

use crate::Inner;
use async_trait::async_trait;
use labyard_labs::{
    Refusal,
    claim::admit::{self, Job},
    pool::work::{self, Piece},
};
use labyard_reconciler::engine::Fence;
use labyard_store::{StoreError, event::Moment};
use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};
use tokio_util::sync::{CancellationToken, DropGuard};

/// What is held.
#[derive(Clone, Debug)]
pub(crate) enum Held {
    /// A piece of work on a machine.
    Piece(Box<Piece>),
    /// A claim that is made usable.
    Claim(Box<Job>),
}

/// A hold; when it is dropped nobody renews it any more.
pub(crate) struct Hold {
    inner: Arc<Inner>,
    held: Held,
    until: AtomicI64,
    /// Cancelled when it is lost, or the foreman ends.
    pub(crate) lost: CancellationToken,
}

impl fmt::Debug for Hold {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hold")
            .field("held", &self.held)
            .finish_non_exhaustive()
    }
}

impl Hold {
    /// Begins to renew it; as long as the guard lives.
    pub(crate) fn begin(inner: &Arc<Inner>, held: Held, taken: Moment) -> (Arc<Self>, DropGuard) {
        let hold = Arc::new(Self {
            until: AtomicI64::new(taken.0.saturating_add(inner.worker.lease_ms)),
            lost: inner.ended.child_token(),
            inner: inner.clone(),
            held,
        });
        let over = CancellationToken::new();
        let (keeping, ended) = (hold.clone(), over.clone());
        tokio::spawn(async move {
            let _ = ended.run_until_cancelled(keeping.keep()).await;
        });
        (hold, over.drop_guard())
    }

    async fn keep(&self) {
        let lease = u64::try_from(self.inner.worker.lease_ms).unwrap_or_default();
        loop {
            tokio::time::sleep(Duration::from_millis(lease / 4)).await;
            let now = self.inner.now();
            match self.renewed(now).await {
                Ok(true) => {
                    let until = now.0.saturating_add(self.inner.worker.lease_ms);
                    self.until.store(until, Ordering::SeqCst);
                }
                Ok(false) => return self.lost.cancel(),
                Err(error) => {
                    tracing::warn!(%error, held = ?self.held, "not renewed");
                    if !self.is_in_time() {
                        return self.lost.cancel();
                    }
                }
            }
        }
    }

    async fn renewed(&self, now: Moment) -> Result<bool, Refusal> {
        let (held, worker) = (self.held.clone(), self.inner.worker.clone());
        self.inner
            .store
            .write(move |write| match &held {
                Held::Piece(piece) => work::renew(write, piece, &worker, now),
                Held::Claim(job) => admit::renew(write, job, &worker, now),
            })
            .await
    }

    /// Whether its time is not over: a part of it is left to whatever is on its way to a host.
    fn is_in_time(&self) -> bool {
        let margin = self.inner.worker.lease_ms / 6;
        self.inner.now().0 < self.until.load(Ordering::SeqCst).saturating_sub(margin)
    }
}

#[async_trait]
impl Fence for Hold {
    async fn holds(&self) -> bool {
        if self.lost.is_cancelled() || !self.is_in_time() {
            return false;
        }
        let (held, worker, now) = (self.held.clone(), self.inner.worker.clone(), self.inner.now());
        let found: Result<bool, StoreError> = self
            .inner
            .store
            .read(move |read| match &held {
                Held::Piece(piece) => work::is_held(read, piece, &worker, now),
                Held::Claim(job) => admit::is_held(read, job, &worker, now),
            })
            .await;
        found.unwrap_or(false) && self.is_in_time()
    }
}
