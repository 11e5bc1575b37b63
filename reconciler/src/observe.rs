//! One snapshot of a host, shared by all who read at that time.
//!
//! Readers at the same time wait for one bulk read. A mutation makes what was read before it stale: a read begun
//! after the mutation never sees an older snapshot. An unreadable host is asked again only after a while, so that
//! two hundred readers do not wait for two hundred time-outs.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
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
    result: Result<Arc<Snapshot>, SharedError>,
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
        self.read(|read| read.mutations >= mutations).await
    }

    /// The host as it was at some time in this run, with the networks as they are: enough to look for what others
    /// made before it.
    pub async fn recent(&self) -> Result<Arc<Snapshot>, SharedError> {
        let networks = self.network_mutations.load(Ordering::SeqCst);
        self.read(|read| read.network_mutations >= networks).await
    }

    async fn read(&self, serves: impl Fn(&Read) -> bool) -> Result<Arc<Snapshot>, SharedError> {
        let mut last = self.last.lock().await;
        if let Some(read) = last.as_ref() {
            let served = match &read.result {
                Ok(_) => read.ended.elapsed() < SERVES && serves(read),
                Err(_) => read.ended.elapsed() < FAILED_SERVES,
            };
            if served {
                return read.result.clone();
            }
        }
        let mutations = self.mutations.load(Ordering::SeqCst);
        let network_mutations = self.network_mutations.load(Ordering::SeqCst);
        let began = Instant::now();
        let result = self.driver.snapshot().await.map(Arc::new).map_err(Arc::new);
        *last = Some(Read {
            mutations,
            network_mutations,
            began,
            ended: Instant::now(),
            result: result.clone(),
        });
        result
    }
}
