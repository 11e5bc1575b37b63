//! The trait behind which the hypervisors stand.

use std::net::IpAddr;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes as Chunk;
use futures::stream::BoxStream;
use serde::{Deserialize, Serialize};

use crate::console::{Console, Entry};
use crate::copy::{Copying, DiskCopy};
use crate::error::DriverError;
use crate::guest::{GuestAnswer, GuestTask};
use crate::ids::{Bytes, MacAddr, ObjectId, PoolName, VolumeName};
use crate::mark::Mark;
use crate::moment::{Footing, MomentSpec, Resume, SavedMemory};
use crate::observed::{
    Autostart, DhcpLease, HostFile, ObservedMachine, ObservedNetwork, Offers, PoolRoom, Reservation,
    Snapshot, VolumeDetail,
};
use crate::screen::{Callers, Screen};
use crate::spec::{
    Accelerator, LiveChange, MachineSpec, NetworkSpec, NicSpec, ProbePayload, SecureBoot, VolumeSpec,
};

/// Chunks in order, on their way to a host or from one. An error in it aborts an upload.
pub type UploadStream = BoxStream<'static, Result<Chunk, Box<dyn std::error::Error + Send + Sync>>>;

/// What is read of a volume.
pub struct VolumeBytes {
    /// How much it is, where the host says so beforehand.
    pub length: Option<Bytes>,
    /// The bytes.
    pub stream: UploadStream,
}

/// Something happened on the host: a reason to look again, never a fact to rely on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum HostEvent {
    /// A machine changed its life cycle (defined, started, stopped, crashed, gone).
    Machine(ObjectId),
    /// A guest's agent came or went.
    Agent(ObjectId),
    /// Events may have been lost: look at everything.
    Lost,
}

/// A hypervisor. Every call is safe to repeat; none retries on its own account; each has a deadline inside.
///
/// Where a call's reply is lost the answer is [`DriverError::ReplyLost`], and the caller reads.
#[async_trait]
pub trait Driver: Send + Sync + 'static {
    /// One bulk read of the host, bounded in time whatever a guest does. A failed or partial read is an error,
    /// never an empty snapshot; a single machine that stalls is [`crate::observed::Detail::Unknown`].
    async fn snapshot(&self) -> Result<Snapshot, DriverError>;

    /// What the host can give a machine; read once, or seldom.
    async fn offers(&self) -> Result<Offers, DriverError>;

    /// One machine, read now.
    ///
    /// # Errors
    /// [`DriverError::Missing`] where it is certain that no such machine exists.
    async fn machine(&self, id: &ObjectId) -> Result<ObservedMachine, DriverError>;

    /// Records a machine before it is made: an inactive definition with name, id and mark and no devices. Where the host
    /// chooses ids, the one that comes back is its id.
    ///
    /// # Errors
    /// [`DriverError::Exists`] where the name or the id is taken, also by a racing caller.
    async fn record_machine(&self, spec: &MachineSpec) -> Result<ObservedMachine, DriverError>;

    /// Brings an existing machine's definition to the specification, its mark included, and leaves what labyard
    /// does not own in it as found. A running machine takes it at its next start.
    async fn define_machine(&self, spec: &MachineSpec) -> Result<ObservedMachine, DriverError>;

    /// Writes the mark alone.
    async fn write_mark(&self, id: &ObjectId, mark: &Mark) -> Result<(), DriverError>;

    /// Gives a stopped machine another name on the host; id and mark stay. It has the name already: success.
    ///
    /// # Errors
    /// [`DriverError::Exists`] where the name is taken; [`DriverError::Refused`] where it runs.
    async fn rename_machine(&self, id: &ObjectId, host_name: &str) -> Result<(), DriverError>;

    /// Lets a machine start with the host, or not.
    async fn set_autostart(&self, id: &ObjectId, autostart: Autostart) -> Result<(), DriverError>;

    /// Starts a machine; one that runs already is left alone, a paused one is resumed.
    async fn start_machine(&self, id: &ObjectId) -> Result<(), DriverError>;

    /// Stops a running machine's processors where they are; a machine that is paused or off is left alone.
    /// [`Driver::start_machine`] lets it run on.
    async fn suspend_machine(&self, id: &ObjectId) -> Result<(), DriverError>;

    /// Lets the disks of a moment stand, in a machine's definition, on the volumes of that moment or on overlays over
    /// them, and writes its mark. What runs is left alone; volumes that are not there yet are accepted.
    async fn set_footing(&self, moment: &MomentSpec, footing: Footing) -> Result<(), DriverError>;

    /// Keeps the memory of a running machine in the moment's file, which stops the machine. One that is off is left
    /// alone. What stood in the file is lost.
    ///
    /// # Errors
    /// [`DriverError::NoSpace`] where the pool has no room: the machine runs on then.
    async fn save_memory(&self, moment: &MomentSpec) -> Result<(), DriverError>;

    /// Whether the moment's memory was kept to the end.
    async fn saved_memory(&self, moment: &MomentSpec) -> Result<SavedMemory, DriverError>;

    /// Puts a machine that is off back to a moment: its definition as it was then, with this mark and its disks on
    /// the overlays, which have to be there and fresh; its memory as it was. The kept memory serves any number of
    /// times.
    ///
    /// # Errors
    /// [`DriverError::Refused`] where the machine is not off, or where the kept memory, or a file that the machine
    /// had in a drive, is gone.
    async fn return_to(&self, moment: &MomentSpec, resume: Resume) -> Result<(), DriverError>;

    /// Lets a machine be reached over these cards by these callers alone, in what runs and in the definition, from now on
    /// and after each start, whoever was let in before. Connections of others that stand are cut. The same again changes
    /// nothing.
    ///
    /// # Errors
    /// [`DriverError::Exists`] where the screen's name is another machine's; [`DriverError::Refused`] where something of
    /// somebody else's stands before a card; [`DriverError::Unsupported`] where the host has no screens, or none for such a
    /// card.
    async fn screen_machine(&self, screen: &Screen, callers: &Callers) -> Result<(), DriverError>;

    /// Whom a screen lets in, read now; `None` where it does not stand before each of these cards that the machine has, in
    /// what runs and in the definition.
    async fn screened(&self, screen: &Screen) -> Result<Option<Callers>, DriverError>;

    /// Removes the screen of a machine that is off or gone; gone already is success, and another's of its name is left
    /// alone.
    ///
    /// # Errors
    /// [`DriverError::Refused`] where a machine runs behind it.
    async fn remove_screen(&self, screen: &Screen) -> Result<(), DriverError>;

    /// Attaches a card of a machine where this says, kept apart there or not as it says, in the definition and in what
    /// runs, where its cable goes out and in again. One that is moved stands behind no screen any more; all else of it
    /// stays. Done already is success, and changes nothing.
    ///
    /// # Errors
    /// [`DriverError::Refused`] where the machine has no such card, or there is nothing to attach it to.
    async fn attach_nic(&self, id: &ObjectId, nic: &NicSpec) -> Result<(), DriverError>;

    /// Begins to copy a disk of a running machine as it is at this moment; the machine runs on, and its disk stays what it
    /// is. One copy of a machine goes on at a time.
    ///
    /// # Errors
    /// [`DriverError::Refused`] where the machine does not run, or has no such disk; [`DriverError::Unsupported`] where
    /// the host cannot.
    async fn begin_copy(&self, id: &ObjectId, copy: &DiskCopy) -> Result<(), DriverError>;

    /// How far a copy is that was begun.
    async fn copying(&self, id: &ObjectId, copy: &DiskCopy) -> Result<Copying, DriverError>;

    /// Ends a copy that goes on; one that does not is left alone, and so is any other.
    async fn end_copy(&self, id: &ObjectId, copy: &DiskCopy) -> Result<(), DriverError>;

    /// Asks the guest's agent for something.
    ///
    /// # Errors
    /// [`DriverError::Busy`] where no agent answers (now); [`DriverError::Refused`] where it answers that it cannot,
    /// [`DriverError::Unsupported`] where it does not know the task.
    async fn ask_guest(&self, id: &ObjectId, task: &GuestTask) -> Result<GuestAnswer, DriverError>;

    /// Asks the guest to shut down and returns at once; done when the machine is seen stopped.
    async fn request_shutdown(&self, id: &ObjectId) -> Result<(), DriverError>;

    /// Takes the power away; a stopped machine is left alone. A saved memory image is dropped.
    async fn power_off(&self, id: &ObjectId) -> Result<(), DriverError>;

    /// Removes a stopped machine's definition with what the host keeps beside it (NVRAM, TPM state, saved memory,
    /// snapshot metadata), not its volumes. Gone already is success.
    async fn remove_machine(&self, id: &ObjectId) -> Result<(), DriverError>;

    /// Brings a machine's CD drives, the seed's and the others, and what is in them to the specification, live where
    /// it runs, and in the definition. Drives of others are left alone.
    async fn change_medium(&self, spec: &MachineSpec) -> Result<(), DriverError>;

    /// Grows a disk to `capacity`: online where the machine runs, else its volume. Never shrinks; as large
    /// already is success.
    async fn grow_disk(&self, id: &ObjectId, target: &str, capacity: Bytes) -> Result<(), DriverError>;

    /// Changes a running machine without stopping it. Done already is success; a stopped machine loses what is
    /// unplugged and is otherwise left alone. Success says that the machine was asked: a guest may take its time to
    /// let a device or memory go, or never do it, so the caller looks until it is seen.
    ///
    /// # Errors
    /// [`DriverError::Refused`] or [`DriverError::Unsupported`] where it cannot be done without a restart: no free
    /// port, more than the machine has room for, a bus that takes no device while the machine runs.
    async fn change_live(&self, spec: &MachineSpec, change: &LiveChange) -> Result<(), DriverError>;

    /// The room in a pool.
    async fn pool_room(&self, pool: &PoolName) -> Result<PoolRoom, DriverError>;

    /// One volume, read now.
    async fn volume(&self, pool: &PoolName, name: &VolumeName) -> Result<VolumeDetail, DriverError>;

    /// The names of all volumes of a pool, read now.
    async fn volumes(&self, pool: &PoolName) -> Result<Vec<VolumeName>, DriverError>;

    /// Makes a volume.
    ///
    /// # Errors
    /// [`DriverError::Exists`] where the name is taken; [`DriverError::NoSpace`] leaves nothing behind.
    async fn create_volume(&self, spec: &VolumeSpec) -> Result<VolumeDetail, DriverError>;

    /// Fills a volume made for an upload with exactly `length` bytes; the driver never sends one more, whatever
    /// the stream yields, and a stream that ends early or runs over is [`DriverError::Source`].
    async fn upload(
        &self,
        pool: &PoolName,
        name: &VolumeName,
        length: Bytes,
        stream: UploadStream,
        deadline: Duration,
    ) -> Result<(), DriverError>;

    /// Reads a small volume whole.
    ///
    /// # Errors
    /// [`DriverError::Refused`] where it is longer than `limit`.
    async fn download(
        &self,
        pool: &PoolName,
        name: &VolumeName,
        limit: Bytes,
    ) -> Result<Vec<u8>, DriverError>;

    /// The bytes of a volume, in order, as they lie in it; what it stands on is not among them. The stream ends where the
    /// volume ends.
    async fn read_volume(&self, pool: &PoolName, name: &VolumeName) -> Result<VolumeBytes, DriverError>;

    /// Reads a file of firmware variables whole.
    ///
    /// # Errors
    /// [`DriverError::Missing`] where there is no such file; [`DriverError::Refused`] where the host offers none.
    async fn firmware_variables(&self, of: &VariablesOf) -> Result<Vec<u8>, DriverError>;

    /// Looks at a file of the host that may lie anywhere on it; reads nothing of what stands in it.
    ///
    /// # Errors
    /// [`DriverError::Missing`] where there is no such file; [`DriverError::Refused`] where it is none that can be
    /// read, or the account may not; [`DriverError::Unsupported`] where the connection only reads.
    async fn host_file(&self, path: &str) -> Result<HostFile, DriverError>;

    /// Its bytes, in order, and never changes it. The stream ends where the file ended when it was looked at.
    ///
    /// # Errors
    /// As of [`Driver::host_file`].
    async fn read_host_file(&self, path: &str) -> Result<UploadStream, DriverError>;

    /// Deletes a file of variables in which the host kept those of a machine that has others now; gone already is
    /// success, and so is a host that keeps none.
    async fn discard_variables(&self, path: &str) -> Result<(), DriverError> {
        let _ = path;
        Ok(())
    }

    /// Removes what killed runs left of the tools by which files of the host are read.
    async fn tidy(&self) -> Result<(), DriverError> {
        Ok(())
    }

    /// Deletes a volume; gone already is success.
    async fn delete_volume(&self, pool: &PoolName, name: &VolumeName) -> Result<(), DriverError>;

    /// Makes a network and starts it, with its mark. Where the host chooses ids, the one that comes back is its id.
    ///
    /// # Errors
    /// [`DriverError::Exists`] where the name or the id is taken.
    async fn create_network(&self, spec: &NetworkSpec) -> Result<ObservedNetwork, DriverError>;

    /// One network, read now.
    async fn network(&self, id: &ObjectId) -> Result<ObservedNetwork, DriverError>;

    /// Brings an existing network to the specification (restarting it only if its definition differs from what
    /// runs, which cuts its guests off: [`Driver::reattach_guests`]) and starts it; leaves reservations and what labyard does not own in it as found.
    async fn change_network(&self, spec: &NetworkSpec) -> Result<ObservedNetwork, DriverError>;

    /// Puts the NICs of labyard's running machines that are defined on a network and were cut off from it (by a
    /// restart of the network, whoever did it) back on it; none is success. Guests keep running.
    ///
    /// # Errors
    /// [`DriverError::Busy`] where a machine does not answer: all others are back on it then.
    async fn reattach_guests(&self, network: &ObjectId) -> Result<(), DriverError>;

    /// Writes a network's mark alone, without touching what runs.
    async fn write_network_mark(&self, id: &ObjectId, mark: &Mark) -> Result<(), DriverError>;

    /// Stops and removes a network; gone already is success. Whether machines use it is the caller's to ask.
    async fn remove_network(&self, id: &ObjectId) -> Result<(), DriverError>;

    /// Keeps an address for a MAC, in what runs and in the definition. The same again is success.
    ///
    /// # Errors
    /// [`DriverError::Exists`] where the address is kept for another MAC, or the MAC has another address.
    async fn reserve_address(&self, network: &ObjectId, reservation: &Reservation)
    -> Result<(), DriverError>;

    /// Keeps an address for the MAC of a machine that stays off, for less where a host can: it need not be in what
    /// runs. Before the machine starts it is reserved.
    ///
    /// # Errors
    /// As of [`Driver::reserve_address`].
    async fn set_address_aside(
        &self,
        network: &ObjectId,
        reservation: &Reservation,
    ) -> Result<(), DriverError> {
        self.reserve_address(network, reservation).await
    }

    /// Gives the address that is kept for a MAC back; kept for it no more is success. Another one that is kept for it
    /// stays.
    async fn release_address(
        &self,
        network: &ObjectId,
        mac: MacAddr,
        address: IpAddr,
    ) -> Result<(), DriverError>;

    /// The leases of a network, read now.
    async fn leases(&self, network: &ObjectId) -> Result<Vec<DhcpLease>, DriverError>;

    /// Addresses of a machine that no lease shows (neighbour table, agent), with the NIC they are on. An agent
    /// that hangs delays the answer by at most two seconds.
    async fn addresses(&self, id: &ObjectId) -> Result<Vec<(MacAddr, IpAddr)>, DriverError>;

    /// Whether the guest's agent answers, asked now; at most two seconds.
    async fn agent_answers(&self, id: &ObjectId) -> Result<AgentState, DriverError>;

    /// Opens the serial console from now on. One has it at a time; the entry says what becomes of who has it already.
    ///
    /// # Errors
    /// [`DriverError::Busy`] where somebody has it and keeps it, [`DriverError::Refused`] where the machine does not run.
    async fn console(&self, id: &ObjectId, entry: Entry) -> Result<Box<dyn Console>, DriverError>;

    /// Events from now on. A lagging receiver gets [`HostEvent::Lost`] semantics from the channel itself.
    async fn events(&self) -> Result<tokio::sync::broadcast::Receiver<HostEvent>, DriverError>;

    /// What really runs guests on this host: boots a payload of ours under the best accelerator that the host
    /// claims, at most ten seconds, once a process; falls back to emulation.
    async fn probe_accelerator(&self, payload: &ProbePayload) -> Result<Accelerator, DriverError>;

    /// Reads the marks of all machines and networks, of every namespace, now: the cheap part of a snapshot.
    async fn marks(&self) -> Result<Vec<(ObjectId, Mark)>, DriverError>;
}

/// Whose firmware variables.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum VariablesOf {
    /// The host's template of that kind, of which a machine's own are made.
    Template(SecureBoot),
    /// Those in a file of the host, which the definition of a machine names.
    File(String),
}

/// Whether a guest's agent answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum AgentState {
    /// It does.
    Answers,
    /// It does not (yet).
    Silent,
}
