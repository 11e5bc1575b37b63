//! What the provider calls: plans, creates, changes, destroys and reads of machines and networks on all hosts.
//!
//! [`Engine`] is the seam: embedded ([`Embedded`]) it drives the hosts from this very process.

mod begin;
mod capture;
mod capture_live;
mod claim;
mod claim_networks;
mod collect;
mod embedded;
mod grip;
mod guests;
mod machines;
mod members;
mod moments;
mod networks;
mod patience;
mod placement;
pub(crate) mod screens;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use async_trait::async_trait;
use labyard_driver::ids::{HostName, MacAddr, Namespace, NicKey, ObjectId, ObjectName, PoolName, UnixMillis};
use labyard_driver::mark::Mark;
use labyard_driver::observed::{DhcpLease, HostFacts, HostFile, Offers, Room, Snapshot};
use labyard_driver::screen::Callers;
use tokio_util::sync::CancellationToken;

use crate::capacity::HostCapacity;
use crate::derived::Taken;
use crate::desired::{DesiredMachine, DesiredNetwork};
use crate::error::EngineError;
use crate::hooks::Hooks;
use crate::host::Cordon;
use crate::identity::{Identity, OsRandom, Random};
use crate::image::{Fetcher, ImageName};
use crate::image_store::KeptImage;
use crate::journal::Journal;
use crate::lease::{ProcTable, Processes};
use crate::run::Report;
use crate::view::{MachineView, NetworkView};
use serde::{Deserialize, Serialize};

pub use claim_networks::{ClaimNetwork, Removal, StandingNetwork};
pub(crate) use collect::collect_let_go;
pub(crate) use embedded::describe;
pub use embedded::{Access, Embedded};
pub use guests::{Admission, Departure, Earlier, Traffic};
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
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
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

/// What is to be captured.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Capture {
    /// The disk; `None`: the only one.
    pub disk: Option<labyard_driver::ids::DiskKey>,
    /// The name of the image, in the machine's namespace.
    pub name: ImageName,
    /// What becomes of a machine that runs.
    pub running: WhileRunning,
}

/// What becomes of a machine that runs while its disk is captured.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum WhileRunning {
    /// It runs on: its agent holds its file systems still for a moment, and the disk is copied as it is then.
    #[default]
    Quiesced,
    /// It is shut down, and started again afterwards.
    Stopped,
}

/// What a capture is at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CaptureStage {
    /// The filling of the image stands in the machine's mark.
    Recorded,
    /// The guest sets aside what is its own, and holds its file systems still.
    Quiescing,
    /// The machine shuts down.
    Stopping,
    /// The disk is copied, and read for its digest.
    Copying,
    /// The image is given its name and its number.
    Naming,
    /// The machine is started again.
    Starting,
}

impl CaptureStage {
    /// Its word.
    pub fn word(self) -> &'static str {
        match self {
            Self::Recorded => "recorded",
            Self::Quiescing => "quiescing",
            Self::Stopping => "stopping",
            Self::Copying => "copying",
            Self::Naming => "naming",
            Self::Starting => "starting",
        }
    }
}

/// Takes what a capture is at.
pub type AtStage<'a> = &'a (dyn Fn(CaptureStage) + Send + Sync);

/// Whether an image has what makes a system one machine: its SSH host keys, its machine id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Seal {
    /// It has not: whoever is made of it makes its own.
    Sealed,
    /// It may: why.
    Open(String),
}

/// What came of a capture.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Captured {
    /// The image.
    pub image: HostImage,
    /// Whether it is sealed.
    pub seal: Seal,
}

/// A captured image on a host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostImage {
    /// Its pool.
    pub pool: PoolName,
    /// Which it is.
    pub image: KeptImage,
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
#[derive(Clone, Debug, Serialize, Deserialize)]
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
    /// Asked right before each change of the host, where somebody else may take the work over.
    pub fence: Option<Arc<dyn Fence>>,
}

/// Whether a piece of work is still this worker's.
#[async_trait]
pub trait Fence: std::fmt::Debug + Send + Sync {
    /// Whether it is, at this moment; where that cannot be told, it is not.
    async fn holds(&self) -> bool;
}

/// Whether a new machine may take more of its host than there is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Reserve {
    /// It was put there by name: it may.
    #[default]
    Named,
    /// It was placed: it may not, whoever else places machines at the same time.
    Checked,
}

/// An engine that is a daemon has no guests at hand.
fn without_guests(what: &str) -> EngineError {
    EngineError::Daemon {
        what: what.to_owned(),
        why: "this is not done over a daemon".to_owned(),
    }
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

    /// Keeps a machine of a state as it is at this moment, running and ready, memory and disks, so that it can be put back
    /// to it. The machine stands still for some seconds. It has such a moment already: success.
    ///
    /// What a kill leaves of it, the next call finishes; a destroy removes all of it.
    async fn keep_moment(&self, object: &ObjectRef, bounds: Bounds) -> Result<(), EngineError>;
    /// Puts a machine of a state back to its moment, whatever it does now: its disks, its memory, its definition; its
    /// clock is right and its agent answers at the end. What was put into the guest since is gone, which is looked at; its
    /// screen, if it has one, is closed before it runs.
    async fn reset_machine(&self, object: &ObjectRef, bounds: Bounds) -> Result<(), EngineError>;
    /// Waits until the agent in the guest of a running machine of a state answers.
    ///
    /// # Errors
    /// [`EngineError::Guest`] where it does not come within the bounds' limit.
    async fn await_agent(&self, _object: &ObjectRef, _bounds: Bounds) -> Result<(), EngineError> {
        Err(without_guests("waiting for a guest's agent"))
    }
    /// Gives a user of the guest of a machine of a state a password that nobody knows.
    async fn lock_password(
        &self,
        _object: &ObjectRef,
        _user: &str,
        _bounds: Bounds,
    ) -> Result<(), EngineError> {
        Err(without_guests("locking a password"))
    }
    /// Lets a running machine of a state stand still.
    async fn hold_machine(&self, object: &ObjectRef, bounds: Bounds) -> Result<(), EngineError>;
    /// Lets a machine that stands still run on, with its clock right.
    async fn wake_machine(&self, object: &ObjectRef, bounds: Bounds) -> Result<(), EngineError>;
    /// Lets these callers alone reach a machine of a state over its network cards, from now on and through restarts and
    /// resets: until it is told otherwise, a user's departure closes it again. A machine that never had a screen gets none to
    /// be open to anybody.
    async fn screen_machine(
        &self,
        _object: &ObjectRef,
        _callers: &Callers,
        _bounds: Bounds,
    ) -> Result<(), EngineError> {
        Err(without_guests("screening a machine"))
    }
    /// Puts the screen of a machine right, if it is not as the mark says; says whether it was not.
    async fn renew_screen(&self, _object: &ObjectRef) -> Result<bool, EngineError> {
        Err(without_guests("screening a machine"))
    }
    /// Makes the network that a claim has to itself, or brings the one that is there to what is wanted.
    async fn make_claim_network(
        &self,
        _host: &HostName,
        _network: &ClaimNetwork,
        _bounds: Bounds,
    ) -> Result<StandingNetwork, EngineError> {
        Err(without_guests("making a claim's network"))
    }
    /// Takes the network of a claim away, once no machine is on it; gone already is gone.
    async fn remove_claim_network(
        &self,
        _host: &HostName,
        _claim: &str,
        _bounds: Bounds,
    ) -> Result<Removal, EngineError> {
        Err(without_guests("removing a claim's network"))
    }
    /// Puts a card of a machine of a state on the network of a claim, where nothing keeps it apart, and waits until its
    /// guest has addresses there. A user's departure puts it back, and so does a reset.
    async fn lend_nic(
        &self,
        _object: &ObjectRef,
        _nic: &NicKey,
        _network: &StandingNetwork,
        _bounds: Bounds,
    ) -> Result<Vec<std::net::IpAddr>, EngineError> {
        Err(without_guests("moving a card to a claim's network"))
    }
    /// Lets a user into the guest of a machine of a state, which counts as used from then on, and his callers through its
    /// screen, last of all. Another user's, or other, credentials of an earlier call are taken out first, or are why nobody
    /// is let in; the same again is success.
    async fn admit(
        &self,
        object: &ObjectRef,
        admission: &Admission,
        bounds: Bounds,
    ) -> Result<(), EngineError>;
    /// Closes the screen, puts a card that was lent back, and takes the credentials that were put in out again; none there
    /// is success.
    async fn dismiss(
        &self,
        object: &ObjectRef,
        departure: Departure,
        bounds: Bounds,
    ) -> Result<(), EngineError>;
    /// Who is connected to the guest of a machine of a state at this moment.
    async fn traffic(&self, object: &ObjectRef) -> Result<Traffic, EngineError>;

    /// What pools and claims of all namespaces have on a host, as it is after every change of this process.
    async fn members(&self, host: &HostName) -> Result<Members, EngineError>;
    /// Who keeps the machine has recorded who it is: nobody may adopt it from now on. True already is success.
    async fn confirm_machine(&self, object: &ObjectRef) -> Result<(), EngineError>;

    /// The captured images of a host, of all namespaces.
    async fn images(&self, host: &HostName) -> Result<Vec<HostImage>, EngineError>;
    /// Makes the next revision of an image of a machine's disk. What a kill leaves of it, the next call finishes; a destroy
    /// removes all of it but the image.
    async fn capture_machine(
        &self,
        object: &ObjectRef,
        capture: &Capture,
        bounds: Bounds,
        at: AtStage<'_>,
    ) -> Result<Captured, EngineError>;
    /// Takes a revision's name away; the data go when no machine needs them.
    async fn forget_image(&self, host: &HostName, image: &HostImage) -> Result<(), EngineError>;

    /// The run is over: confirms what Terraform was told, unless the run was stopped.
    async fn finish(&self, run: Run);
}

/// What pools and claims have on a host.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Members {
    /// The machines of pools.
    pub machines: Vec<Marked>,
    /// The networks of claims.
    pub networks: Vec<StandingNetwork>,
}

/// A machine of ours with its mark.
#[derive(Clone, Debug, PartialEq)]
pub struct Marked {
    /// Who it is.
    pub identity: Identity,
    /// Its mark.
    pub mark: Mark,
    /// What it does.
    pub power: labyard_driver::observed::Power,
}

/// How a run went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Run {
    /// To its end.
    Through,
    /// It was stopped by the user: whether its state was kept is not known.
    Stopped,
}
