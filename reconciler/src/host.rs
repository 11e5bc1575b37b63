//! A configured host: its driver, what was read of it, and what runs of this process share on it.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use labyard_driver::ids::{HostName, HostUuid, Mib, Namespace, ObjectId, ObjectName, PoolName};
use labyard_driver::observed::{Activity, MachineSize, Offers, PoolKind, Snapshot};
use labyard_driver::spec::{Accelerator, ProbePayload};
use labyard_driver::{Driver, DriverError};
use tokio::sync::OnceCell;

use crate::error::EngineError;
use crate::foreign::LastWhole;
use crate::image_store::ImageStore;
use crate::lease_board::LeaseBoard;
use crate::observe::{Observer, SharedError};
use crate::view::Networks;
use serde::{Deserialize, Serialize};

/// Whether a host takes new machines.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Cordon {
    /// It does.
    #[default]
    Open,
    /// It keeps those that it has.
    Closed,
}

/// What the configuration says of a host beside how to reach it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HostPolicy {
    /// Whether it takes new machines.
    pub cordon: Cordon,
    /// Memory that machines may have together; `None`: what the host has.
    pub memory: Option<Mib>,
    /// Processors that machines may have together; `None`: a multiple of the host's.
    pub cpus: Option<u32>,
    /// How long images stay that no machine needs.
    pub image_retention: Option<Duration>,
}

/// A host.
pub struct Host {
    /// As the provider's `hosts` calls it.
    pub name: HostName,
    /// Its driver.
    pub driver: Arc<dyn Driver>,
    /// A second connection, on which leases are renewed whatever the first one waits for.
    pub renewals: Arc<dyn Driver>,
    /// What was read of it.
    pub observer: Observer,
    /// What the configuration says of it.
    pub policy: HostPolicy,
    /// Machines that runs of this process have placed here; the host may not show them yet.
    pub placed: Mutex<BTreeMap<(Namespace, ObjectName), MachineSize>>,
    /// Its images.
    pub images: ImageStore,
    /// Leases, read once for all who wait for an address.
    pub lease_board: LeaseBoard,
    /// The last look at it with foreign machines.
    pub last_whole: LastWhole,
    /// Whether this process has looked for images that nobody needs.
    pub looked_after: AtomicBool,
    /// Machines that are gone, or let go of their images, since they were read.
    known_gone: Mutex<BTreeSet<ObjectId>>,
    /// Addresses that runs of this process have chosen, by network; the host may not show them yet.
    chosen: Mutex<BTreeMap<ObjectId, BTreeSet<Ipv4Addr>>>,
    accelerator: OnceCell<Accelerator>,
    uuid: OnceLock<HostUuid>,
}

impl Host {
    /// A host with its two connections.
    pub fn new(name: HostName, driver: Arc<dyn Driver>, renewals: Arc<dyn Driver>) -> Self {
        Self {
            name,
            policy: HostPolicy::default(),
            placed: Mutex::default(),
            observer: Observer::new(driver.clone()),
            images: ImageStore::new(driver.clone()),
            driver,
            renewals,
            lease_board: LeaseBoard::default(),
            last_whole: LastWhole::default(),
            known_gone: Mutex::default(),
            chosen: Mutex::new(BTreeMap::new()),
            looked_after: AtomicBool::new(false),
            accelerator: OnceCell::new(),
            uuid: OnceLock::new(),
        }
    }

    /// The same host under another policy.
    #[must_use]
    pub fn with_policy(self, policy: HostPolicy) -> Self {
        Self { policy, ..self }
    }

    /// What really runs guests here; found out once, when a machine is to be made.
    pub async fn accelerator(&self) -> Result<Accelerator, DriverError> {
        let probe = || async {
            let payload = ProbePayload {
                image: crate::guest_probe::boot_image(),
                magic: crate::guest_probe::MAGIC.to_vec(),
            };
            self.driver.probe_accelerator(&payload).await
        };
        self.accelerator.get_or_try_init(probe).await.copied()
    }

    /// What the host can give a machine.
    pub async fn offers(&self) -> Result<Offers, EngineError> {
        self.driver
            .offers()
            .await
            .map_err(self.failed("its offers".to_owned()))
    }

    /// The storage pool for disks and images.
    pub fn pool(&self, snapshot: &Snapshot) -> Result<PoolName, EngineError> {
        snapshot.host.pool.clone().ok_or_else(|| {
            let fault = snapshot.host.pool_fault.clone();
            EngineError::HostUnreadable {
                host: self.name.clone(),
                message: fault.unwrap_or_else(|| "the storage pool cannot be used".to_owned()),
            }
        })
    }

    /// The storage pools in which images may lie.
    pub async fn image_pools(&self) -> Result<Vec<PoolName>, EngineError> {
        let snapshot = self.recent().await?;
        let pools = snapshot.host.pools.iter();
        let of_files =
            pools.filter(|pool| pool.kind == PoolKind::Directory && pool.active == Activity::Active);
        Ok(of_files.map(|pool| pool.name.clone()).collect())
    }

    /// Remembers that a machine which a reading showed is gone, or has let go of its images.
    pub fn know_gone(&self, machine: &ObjectId) {
        let mut gone = self.known_gone.lock().unwrap_or_else(PoisonError::into_inner);
        gone.insert(machine.clone());
    }

    /// Whether that is remembered.
    pub fn is_known_gone(&self, machine: &ObjectId) -> bool {
        let gone = self.known_gone.lock().unwrap_or_else(PoisonError::into_inner);
        gone.contains(machine)
    }

    /// Runs `choose` on the addresses of a network that runs of this process have chosen; what it returns is one
    /// of them from now on.
    pub fn choose_address(
        &self,
        network: &ObjectId,
        choose: impl FnOnce(&BTreeSet<Ipv4Addr>) -> Option<Ipv4Addr>,
    ) -> Option<Ipv4Addr> {
        let mut chosen = self.chosen.lock().unwrap_or_else(PoisonError::into_inner);
        let of_network = chosen.entry(network.clone()).or_default();
        let address = choose(of_network)?;
        of_network.insert(address);
        Some(address)
    }

    /// An address that a run of this process gave back.
    pub fn forget_address(&self, network: &ObjectId, address: Ipv4Addr) {
        let mut chosen = self.chosen.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(of_network) = chosen.get_mut(network) {
            of_network.remove(&address);
        }
    }

    /// The host as it is after every mutation of this process.
    pub async fn fresh(&self) -> Result<Arc<Snapshot>, EngineError> {
        self.read(self.observer.fresh().await)
    }

    /// The same, for one who looks at host after host: it is not kept.
    pub async fn fresh_in_passing(&self) -> Result<Arc<Snapshot>, EngineError> {
        self.read(self.observer.fresh_in_passing().await)
    }

    /// The host as it was at some time of this run.
    pub async fn recent(&self) -> Result<Arc<Snapshot>, EngineError> {
        self.read(self.observer.recent().await)
    }

    /// The host's own id, once it was read.
    pub fn uuid(&self) -> Option<&HostUuid> {
        self.uuid.get()
    }

    fn read(&self, result: Result<Arc<Snapshot>, SharedError>) -> Result<Arc<Snapshot>, EngineError> {
        let snapshot = result.map_err(|error| self.unreadable(&error))?;
        self.uuid.get_or_init(|| snapshot.host.uuid.clone());
        Ok(snapshot)
    }

    /// The host with these networks in it, as far as there are such: read anew where the last reading lacks one.
    pub async fn knowing<'a>(
        &self,
        namespace: &Namespace,
        networks: impl Iterator<Item = &'a str> + Clone + Send,
    ) -> Result<Arc<Snapshot>, EngineError> {
        let recent = self.recent().await?;
        let known = Networks {
            snapshot: &recent,
            namespace: Some(namespace),
        };
        if networks.clone().all(|name| known.resolve(name).is_some()) {
            return Ok(recent);
        }
        self.observer.invalidate();
        self.fresh().await
    }

    /// An error of the driver, told of an object.
    pub fn failed(&self, what: String) -> impl FnOnce(DriverError) -> EngineError + use<> {
        let host = self.name.clone();
        move |source| EngineError::Host { host, what, source }
    }

    fn unreadable(&self, error: &SharedError) -> EngineError {
        EngineError::HostUnreadable {
            host: self.name.clone(),
            message: error.to_string(),
        }
    }
}
