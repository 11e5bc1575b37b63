//! One snapshot of a host, shared by all who read at that time.
//!
//! Readers at the same time wait for one bulk read. A mutation makes what was read before it stale: a read begun
//! after the mutation never sees an older snapshot. An unreadable host is asked again only after a while, so that
//! two hundred readers do not wait for two hundred time-outs.
//!
//! Who looks at host after host reads in passing: what is read serves who waits for it, and is not kept.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use labyard_driver::observed::Snapshot;
use labyard_driver::{Driver, DriverError};
use tokio::sync::Mutex;
use tokio::time::Instant;

/// How long a snapshot serves readers of the same pass.
const SERVES: Duration = Duration::from_secs(15);
/// How long a failed read answers for the next ones.
const FAILED_SERVES: Duration = Duration::from_secs(5);

/// Why a host could not be read, shared by all who asked.
pub type SharedError = Arc<DriverError>;

/// Reads a host in bulk, once for all who ask.
pub struct Observer {
    driver: Arc<dyn Driver>,
    mutations: AtomicU64,
    network_mutations: AtomicU64,
    last: Mutex<Option<Read>>,
}

#[derive(Clone)]
struct Read {
    mutations: u64,
    network_mutations: u64,
    began: Instant,
    ended: Instant,
    result: Result<Kept, SharedError>,
}

#[derive(Clone)]
enum Kept {
    Whole(Arc<Snapshot>),
    /// For as long as somebody reads it.
    InPassing(Weak<Snapshot>),
}

impl Kept {
    fn snapshot(&self) -> Option<Arc<Snapshot>> {
        match self {
            Self::Whole(snapshot) => Some(snapshot.clone()),
            Self::InPassing(snapshot) => snapshot.upgrade(),
        }
    }
}

impl Observer {
    /// Nothing is read yet.
    pub fn new(driver: Arc<dyn Driver>) -> Self {
        Self {
            driver,
            mutations: AtomicU64::new(0),
            network_mutations: AtomicU64::new(0),
            last: Mutex::new(None),
        }
    }

    /// Something on the host was changed: what was read before is stale.
    pub fn invalidate(&self) {
        self.mutations.fetch_add(1, Ordering::SeqCst);
    }

    /// A network was changed: also [`Observer::recent`] looks anew.
    pub fn invalidate_networks(&self) {
        self.network_mutations.fetch_add(1, Ordering::SeqCst);
        self.invalidate();
    }

    /// What began to be read before that moment serves nobody any more: a process that lives on sees what others did
    /// before it was asked.
    pub async fn forget_begun_before(&self, since: Instant) {
        let mut last = self.last.lock().await;
        last.take_if(|read| read.result.is_ok() && read.began < since);
    }

    /// The host as it is after every mutation so far.
    pub async fn fresh(&self) -> Result<Arc<Snapshot>, SharedError> {
        let mutations = self.mutations.load(Ordering::SeqCst);
        self.read(|read| read.mutations >= mutations, Kept::Whole).await
    }

    /// The same for one look: a snapshot of ten thousand machines on fifty hosts is a hundred megabytes, and nobody but
    /// the one who looks needs it.
    pub async fn fresh_in_passing(&self) -> Result<Arc<Snapshot>, SharedError> {
        let mutations = self.mutations.load(Ordering::SeqCst);
        let in_passing = |snapshot: Arc<Snapshot>| Kept::InPassing(Arc::downgrade(&snapshot));
        self.read(|read| read.mutations >= mutations, in_passing).await
    }

    /// The host as it was at some time in this run, with the networks as they are: enough to look for what others
    /// made before it.
    pub async fn recent(&self) -> Result<Arc<Snapshot>, SharedError> {
        let networks = self.network_mutations.load(Ordering::SeqCst);
        self.read(|read| read.network_mutations >= networks, Kept::Whole)
            .await
    }

    async fn read(
        &self,
        serves: impl Fn(&Read) -> bool,
        keep: impl FnOnce(Arc<Snapshot>) -> Kept,
    ) -> Result<Arc<Snapshot>, SharedError> {
        let mut last = self.last.lock().await;
        if let Some(read) = last.as_ref() {
            match &read.result {
                Ok(kept) if read.ended.elapsed() < SERVES && serves(read) => {
                    if let Some(snapshot) = kept.snapshot() {
                        return Ok(snapshot);
                    }
                }
                Err(error) if read.ended.elapsed() < FAILED_SERVES => return Err(error.clone()),
                Ok(_) | Err(_) => {}
            }
        }
        // What serves nobody any more makes room for what comes.
        *last = None;
        let mutations = self.mutations.load(Ordering::SeqCst);
        let network_mutations = self.network_mutations.load(Ordering::SeqCst);
        let began = Instant::now();
        let result = self.driver.snapshot().await.map(Arc::new).map_err(Arc::new);
        *last = Some(Read {
            mutations,
            network_mutations,
            began,
            ended: Instant::now(),
            result: result.as_ref().map(|read| keep(read.clone())).map_err(Arc::clone),
        });
        result
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use labyard_driver_sim::{Settings, SimDriver, SimHost, Verb};

    #[tokio::test(start_paused = true)]
    async fn what_is_read_in_passing_serves_while_somebody_has_it_and_is_not_kept() {
        let sim = SimHost::new(Settings::default());
        let observer = Observer::new(Arc::new(SimDriver::in_memory(&sim)));
        let read = observer.fresh_in_passing().await.unwrap();
        assert!(Arc::ptr_eq(&read, &observer.fresh().await.unwrap()));
        let before = Arc::downgrade(&read);
        drop(read);
        assert!(before.upgrade().is_none(), "it is kept");
        let kept = Arc::downgrade(&observer.fresh().await.unwrap());
        assert!(kept.upgrade().is_some());
        let served = observer.fresh_in_passing().await.unwrap();
        assert!(Arc::ptr_eq(&served, &kept.upgrade().unwrap()));
        assert_eq!(sim.count(Verb::Snapshot), 2);
        observer.invalidate();
        let anew = observer.fresh_in_passing().await.unwrap();
        assert!(!Arc::ptr_eq(&anew, &served), "older than a change");
    }
}
