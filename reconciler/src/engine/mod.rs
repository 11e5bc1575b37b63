//! What the provider calls: plans, creates, changes, destroys and reads of machines and networks on all hosts.
//!
//! [`Engine`] is the seam: embedded ([`Embedded`]) it drives the hosts from this very process.

mod begin;
mod claim;
mod collect;
mod embedded;
mod machines;
mod networks;
mod patience;
mod placement;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use async_trait::async_trait;
use labyard_driver::ids::{HostName, MacAddr, Namespace, ObjectId, ObjectName, PoolName, UnixMillis};
use labyard_driver::mark::Mark;
use labyard_driver::observed::{DhcpLease, HostFacts, HostFile, Offers, Room, Snapshot};
use tokio_util::sync::CancellationToken;

use crate::capacity::HostCapacity;
use crate::derived::Taken;
use crate::desired::{DesiredMachine, DesiredNetwork};
use crate::error::EngineError;
use crate::hooks::Hooks;
use crate::host::Cordon;
use crate::identity::{Identity, OsRandom, Random};
use crate::image::Fetcher;
use crate::journal::Journal;
use crate::lease::{ProcTable, Processes};
use crate::run::Report;
use crate::view::{MachineView, NetworkView};

pub(crate) use collect::collect_let_go;
pub(crate) use embedded::describe;
pub use embedded::{Access, Embedded};
pub use placement::{DesiredOn, ReportOn, Want};

/// Where the time comes from.
pub trait Clock: Send + Sync {
    /// Now.
    fn now(&self) -> UnixMillis;
}

/// The computer's clock.
#[derive(Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> UnixMillis {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        UnixMillis(since.as_millis() as u64)
    }
}

/// Clock, chance, processes, images, hooks and journal: what an engine takes from outside.
pub struct Deps {
    /// Random id of this engine.
    pub engine: String,
    /// Time.
    pub clock: Box<dyn Clock>,
    /// Chance.
    pub random: Box<dyn Random>,
    /// Processes of this computer.
    pub processes: Box<dyn Processes>,
    /// Opens images.
    pub fetcher: Fetcher,
    /// The operator's hooks.
    pub hooks: Hooks,
    /// Where it is written what every stage does.
    pub journal: Journal,
}

impl Default for Deps {
    fn default() -> Self {
        Self {
            engine: crate::identity::new_token(&OsRandom).0,
            clock: Box::new(SystemClock),
            random: Box::new(OsRandom),
            processes: Box::new(ProcTable),
            fetcher: Fetcher::new(crate::image::Options::default()),
            hooks: Hooks::default(),
            journal: Journal::off(),
        }
    }
}

/// Which object of which state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObjectRef {
    /// The host.
    pub host: HostName,
    /// The state's namespace.
    pub namespace: Namespace,
    /// The user's name.
    pub name: ObjectName,
    /// What the state holds to know it again; `None` for a foreign object that was imported.
    pub identity: Option<Identity>,
    /// The host's id that the state holds.
    pub id: Option<labyard_driver::ids::ObjectId>,
    /// Storage pools that the state names beside the host's own.
    pub pools: std::collections::BTreeSet<labyard_driver::ids::PoolName>,
}

/// How old a look at a host may be.
#[derive(Clone, Copy, Debug)]
pub enum Look<'a> {
    /// As old as one of the same run: before others of this run changed something, say.
    Recent,
    /// Of now, and the room of these pools measured anew, as far as the host allows.
    Now(&'a BTreeSet<PoolName>),
}

/// What a read found.
#[derive(Clone, Debug)]
pub enum Reading<T> {
    /// It stands.
    Present(Box<T>),
    /// Its definition is gone, its disks are there.
    DisksOnly,
    /// It is certain that nothing of it is there.
    Gone,
}

/// The bounds of an operation.
#[derive(Clone, Debug)]
pub struct Bounds {
    /// Ended by the user.
    pub cancel: CancellationToken,
    /// How long it may take.
    pub limit: Duration,
    /// Whether it may take more of the host than there is.
    pub reserve: Reserve,
}

/// Whether a new machine may take more of its host than there is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Reserve {
    /// It was put there by name: it may.
    #[default]
    Named,
    /// It was placed: it may not, whoever else places machines at the same time.
    Checked,
}

/// Drives hosts.
#[async_trait]
pub trait Engine: Send + Sync + 'static {
    /// The configured hosts.
    fn hosts(&self) -> Vec<HostName>;

    /// What a host has.
    async fn facts(&self, host: &HostName) -> Result<HostFacts, EngineError>;

    /// What a host can give a machine.
    async fn offers(&self, host: &HostName) -> Result<Offers, EngineError>;

    /// The leases of a network, read now.
    async fn leases(&self, host: &HostName, network: &ObjectId) -> Result<Vec<DhcpLease>, EngineError>;

    /// A host as it is after every change of this process, foreign machines too.
    async fn snapshot(&self, host: &HostName) -> Result<Arc<Snapshot>, EngineError>;

    /// A machine of a state.
    async fn read_machine(&self, object: &ObjectRef) -> Result<Reading<MachineView>, EngineError>;
    /// What a machine of a state can take without a restart, as the last look at its host showed it; `None` where it
    /// does not run or could not be looked at.
    async fn room(&self, object: &ObjectRef) -> Result<Option<Room>, EngineError>;
    /// A machine by its name (of this namespace first, then the host's) or the host's id, for import.
    async fn find_machine(
        &self,
        host: &HostName,
        namespace: &Namespace,
        id: &str,
    ) -> Result<(MachineView, Option<Mark>), EngineError>;
    /// What the seed of a machine was made of, read back for import.
    async fn read_seed(
        &self,
        host: &HostName,
        mark: &Mark,
    ) -> Result<Option<crate::seed::Contents>, EngineError>;
    /// Makes a machine, or adopts one whose builder died.
    async fn create_machine(
        &self,
        host: &HostName,
        desired: &DesiredMachine,
        bounds: Bounds,
        report: Report<'_>,
    ) -> Result<MachineView, EngineError>;
    /// Brings a machine of a state to what is desired; `known` is what the state has of it.
    async fn update_machine(
        &self,
        object: &ObjectRef,
        known: &DesiredMachine,
        desired: &DesiredMachine,
        bounds: Bounds,
        report: Report<'_>,
    ) -> Result<MachineView, EngineError>;
    /// Removes a machine of a state.
    async fn destroy_machine(
        &self,
        object: &ObjectRef,
        known: &DesiredMachine,
        bounds: Bounds,
    ) -> Result<(), EngineError>;

    /// A network of a state.
    async fn read_network(&self, object: &ObjectRef) -> Result<Reading<NetworkView>, EngineError>;
    /// A network by its name or the host's id, for import.
    async fn find_network(
        &self,
        host: &HostName,
        namespace: &Namespace,
        id: &str,
    ) -> Result<NetworkView, EngineError>;
    /// Makes a network, or adopts one whose builder died.
    async fn create_network(
        &self,
        host: &HostName,
        desired: &DesiredNetwork,
        bounds: Bounds,
    ) -> Result<NetworkView, EngineError>;
    /// Brings a network of a state to what is desired.
    async fn update_network(
        &self,
        object: &ObjectRef,
        desired: &DesiredNetwork,
        bounds: Bounds,
    ) -> Result<NetworkView, EngineError>;
    /// Removes a network of a state.
    async fn destroy_network(&self, object: &ObjectRef, bounds: Bounds) -> Result<(), EngineError>;

    /// Whether a host takes new machines, as its operator has said.
    fn cordon(&self, host: &HostName) -> Cordon;
    /// What a host has and what is taken of it.
    async fn capacity(&self, host: &HostName, look: Look<'_>) -> Result<HostCapacity, EngineError>;
    /// What machines of other names have on a host that would be derived of this one's.
    async fn taken(
        &self,
        host: &HostName,
        namespace: &Namespace,
        name: &ObjectName,
    ) -> Result<Taken, EngineError>;
    /// A file of a host as it is now; `None` where this engine, or its connection, only reads what the host shows of
    /// itself.
    async fn host_file(&self, host: &HostName, path: &str) -> Result<Option<HostFile>, EngineError>;
    /// Makes a machine on a host that has room for it, the least loaded first. `desired` is asked for it host by host.
    async fn place_machine(
        &self,
        want: &Want,
        desired: DesiredOn<'_>,
        bounds: Bounds,
        report: ReportOn<'_>,
    ) -> Result<HostName, EngineError>;
    /// Addresses of a running machine that no lease shows, as far as they can be had now.
    async fn addresses(
        &self,
        host: &HostName,
        id: &ObjectId,
    ) -> Result<Vec<(MacAddr, std::net::IpAddr)>, EngineError>;

    /// The run is over: confirms what Terraform was told, unless the run was stopped.
    async fn finish(&self, run: Run);
}

/// How a run went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Run {
    /// To its end.
    Through,
    /// It was stopped by the user: whether its state was kept is not known.
    Stopped,
}
