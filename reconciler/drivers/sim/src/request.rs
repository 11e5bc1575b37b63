//! A call to the simulated host as a value: what is counted, delayed, lost and sent over the socket.

use std::net::IpAddr;

use labyard_driver::copy::{Copying, DiskCopy};
use labyard_driver::driver::{AgentState, VariablesOf};
use labyard_driver::guest::{GuestAnswer, GuestTask};
use labyard_driver::ids::{Bytes, MacAddr, ObjectId, PoolName, VolumeName};
use labyard_driver::mark::Mark;
use labyard_driver::moment::{Footing, MomentSpec, Resume, SavedMemory};
use labyard_driver::observed::{
    Autostart, DhcpLease, HostFile, ObservedMachine, ObservedNetwork, Offers, PoolRoom, Reservation,
    Snapshot, VolumeDetail,
};
use labyard_driver::screen::{Callers, Screen};
use labyard_driver::spec::{Accelerator, LiveChange, MachineSpec, NetworkSpec, NicSpec, VolumeSpec};
use labyard_driver::{DriverError, Entry};
use serde::{Deserialize, Serialize};

use crate::clock::Millis;
use crate::state::{ConsoleStep, Seat, State};

/// The calls of the driver trait by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[expect(
    missing_docs,
    reason = "each is the call of the driver trait of the same name"
)]
pub enum Verb {
    Snapshot,
    Offers,
    Machine,
    RecordMachine,
    DefineMachine,
    WriteMark,
    StartMachine,
    SuspendMachine,
    SetFooting,
    SaveMemory,
    SavedMemory,
    ReturnTo,
    ScreenMachine,
    Screened,
    RemoveScreen,
    AttachNic,
    BeginCopy,
    Copying,
    EndCopy,
    AskGuest,
    RequestShutdown,
    PowerOff,
    RemoveMachine,
    ChangeMedium,
    RenameMachine,
    SetAutostart,
    GrowDisk,
    ChangeLive,
    PoolRoom,
    Volume,
    Volumes,
    CreateVolume,
    Upload,
    Download,
    ReadVolume,
    FirmwareVariables,
    HostFile,
    ReadHostFile,
    DeleteVolume,
    CreateNetwork,
    Network,
    ChangeNetwork,
    ReattachGuests,
    WriteNetworkMark,
    RemoveNetwork,
    ReserveAddress,
    ReleaseAddress,
    Leases,
    Addresses,
    AgentAnswers,
    Console,
    Events,
    ProbeAccelerator,
    Marks,
}

impl Verb {
    /// Whether the call changes the host.
    pub fn is_mutation(self) -> bool {
        !matches!(
            self,
            Self::Snapshot
                | Self::Offers
                | Self::Machine
                | Self::PoolRoom
                | Self::Volume
                | Self::Volumes
                | Self::Download
                | Self::ReadVolume
                | Self::FirmwareVariables
                | Self::HostFile
                | Self::ReadHostFile
                | Self::Network
                | Self::Leases
                | Self::Addresses
                | Self::AgentAnswers
                | Self::SavedMemory
                | Self::Copying
                | Self::Screened
                | Self::Console
                | Self::Events
                | Self::ProbeAccelerator
                | Self::Marks
        )
    }
}

/// A call. Uploads and event subscriptions, which are more than one answer, stand apart.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) enum Request {
    Snapshot,
    Offers,
    Machine(ObjectId),
    RecordMachine(Box<MachineSpec>),
    DefineMachine(Box<MachineSpec>),
    WriteMark(ObjectId, Box<Mark>),
    StartMachine(ObjectId),
    SuspendMachine(ObjectId),
    SetFooting(Box<MomentSpec>, Footing),
    SaveMemory(Box<MomentSpec>),
    SavedMemory(Box<MomentSpec>),
    ReturnTo(Box<MomentSpec>, Resume),
    ScreenMachine(Screen, Callers),
    Screened(Screen),
    RemoveScreen(Screen),
    AttachNic(ObjectId, Box<NicSpec>),
    BeginCopy(ObjectId, DiskCopy),
    Copying(ObjectId, DiskCopy),
    EndCopy(ObjectId, DiskCopy),
    AskGuest(ObjectId, GuestTask),
    Shutdown(ObjectId),
    PowerOff(ObjectId),
    RemoveMachine(ObjectId),
    ChangeMedium(Box<MachineSpec>),
    RenameMachine(ObjectId, String),
    SetAutostart(ObjectId, Autostart),
    GrowDisk(ObjectId, String, Bytes),
    ChangeLive(Box<MachineSpec>, LiveChange),
    PoolRoom(PoolName),
    Volume(PoolName, VolumeName),
    Volumes(PoolName),
    CreateVolume(VolumeSpec),
    Download(PoolName, VolumeName, Bytes),
    ReadVolume(PoolName, VolumeName),
    FirmwareVariables(VariablesOf),
    HostFile(String),
    ReadHostFile(String),
    DeleteVolume(PoolName, VolumeName),
    CreateNetwork(Box<NetworkSpec>),
    Network(ObjectId),
    ChangeNetwork(Box<NetworkSpec>),
    ReattachGuests(ObjectId),
    WriteNetworkMark(ObjectId, Box<Mark>),
    RemoveNetwork(ObjectId),
    ReserveAddress(ObjectId, Reservation),
    ReleaseAddress(ObjectId, MacAddr, IpAddr),
    Leases(ObjectId),
    Addresses(ObjectId),
    AgentAnswers(ObjectId),
    OpenConsole(ObjectId, Entry),
    ProbeAccelerator,
    Marks,
}

/// An answer.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) enum Reply {
    Done,
    Snapshot(Box<Snapshot>),
    Offers(Box<Offers>),
    Machine(Box<ObservedMachine>),
    Network(Box<ObservedNetwork>),
    Room(PoolRoom),
    Volume(VolumeDetail),
    Volumes(Vec<VolumeName>),
    File(HostFile),
    Content(#[serde(with = "crate::hex")] Vec<u8>),
    Leases(Vec<DhcpLease>),
    Addresses(Vec<(MacAddr, IpAddr)>),
    Agent(AgentState),
    Memory(SavedMemory),
    Guest(GuestAnswer),
    Copying(Copying),
    Screened(Option<Callers>),
    Console { seat: Seat, position: usize },
    ConsoleStep(ConsoleStep),
    Accelerator(Accelerator),
    Marks(Vec<(ObjectId, Mark)>),
}

impl Request {
    pub(crate) fn verb(&self) -> Verb {
        match self {
            Self::Snapshot => Verb::Snapshot,
            Self::Offers => Verb::Offers,
            Self::Machine(_) => Verb::Machine,
            Self::RecordMachine(_) => Verb::RecordMachine,
            Self::DefineMachine(_) => Verb::DefineMachine,
            Self::WriteMark(..) => Verb::WriteMark,
            Self::StartMachine(_) => Verb::StartMachine,
            Self::SuspendMachine(_) => Verb::SuspendMachine,
            Self::SetFooting(..) => Verb::SetFooting,
            Self::SaveMemory(_) => Verb::SaveMemory,
            Self::SavedMemory(_) => Verb::SavedMemory,
            Self::ReturnTo(..) => Verb::ReturnTo,
            Self::ScreenMachine(..) => Verb::ScreenMachine,
            Self::Screened(_) => Verb::Screened,
            Self::RemoveScreen(_) => Verb::RemoveScreen,
            Self::AttachNic(..) => Verb::AttachNic,
            Self::BeginCopy(..) => Verb::BeginCopy,
            Self::Copying(..) => Verb::Copying,
            Self::EndCopy(..) => Verb::EndCopy,
            Self::AskGuest(..) => Verb::AskGuest,
            Self::Shutdown(_) => Verb::RequestShutdown,
            Self::PowerOff(_) => Verb::PowerOff,
            Self::RemoveMachine(_) => Verb::RemoveMachine,
            Self::ChangeMedium(_) => Verb::ChangeMedium,
            Self::RenameMachine(..) => Verb::RenameMachine,
            Self::SetAutostart(..) => Verb::SetAutostart,
            Self::GrowDisk(..) => Verb::GrowDisk,
            Self::ChangeLive(..) => Verb::ChangeLive,
            Self::PoolRoom(_) => Verb::PoolRoom,
            Self::Volume(..) => Verb::Volume,
            Self::Volumes(_) => Verb::Volumes,
            Self::CreateVolume(_) => Verb::CreateVolume,
            Self::Download(..) => Verb::Download,
            Self::ReadVolume(..) => Verb::ReadVolume,
            Self::FirmwareVariables(_) => Verb::FirmwareVariables,
            Self::HostFile(_) => Verb::HostFile,
            Self::ReadHostFile(_) => Verb::ReadHostFile,
            Self::DeleteVolume(..) => Verb::DeleteVolume,
            Self::CreateNetwork(_) => Verb::CreateNetwork,
            Self::Network(_) => Verb::Network,
            Self::ChangeNetwork(_) => Verb::ChangeNetwork,
            Self::ReattachGuests(_) => Verb::ReattachGuests,
            Self::WriteNetworkMark(..) => Verb::WriteNetworkMark,
            Self::RemoveNetwork(_) => Verb::RemoveNetwork,
            Self::ReserveAddress(..) => Verb::ReserveAddress,
            Self::ReleaseAddress(..) => Verb::ReleaseAddress,
            Self::Leases(_) => Verb::Leases,
            Self::Addresses(_) => Verb::Addresses,
            Self::AgentAnswers(_) => Verb::AgentAnswers,
            Self::OpenConsole(..) => Verb::Console,
            Self::ProbeAccelerator => Verb::ProbeAccelerator,
            Self::Marks => Verb::Marks,
        }
    }

    /// What the call is about, for the log.
    pub(crate) fn subject(&self) -> String {
        match self {
            Self::Snapshot | Self::Offers | Self::ProbeAccelerator | Self::Marks => String::new(),
            Self::RecordMachine(spec)
            | Self::DefineMachine(spec)
            | Self::ChangeMedium(spec)
            | Self::ChangeLive(spec, _) => spec.id.to_string(),
            Self::CreateNetwork(spec) | Self::ChangeNetwork(spec) => spec.id.to_string(),
            Self::SetFooting(moment, _)
            | Self::SaveMemory(moment)
            | Self::SavedMemory(moment)
            | Self::ReturnTo(moment, _) => moment.id.to_string(),
            Self::ScreenMachine(screen, _) | Self::Screened(screen) | Self::RemoveScreen(screen) => {
                screen.of.to_string()
            }
            Self::Machine(id)
            | Self::WriteMark(id, _)
            | Self::ReattachGuests(id)
            | Self::StartMachine(id)
            | Self::SuspendMachine(id)
            | Self::AttachNic(id, _)
            | Self::BeginCopy(id, _)
            | Self::Copying(id, _)
            | Self::EndCopy(id, _)
            | Self::AskGuest(id, _)
            | Self::Shutdown(id)
            | Self::PowerOff(id)
            | Self::RemoveMachine(id)
            | Self::RenameMachine(id, _)
            | Self::SetAutostart(id, _)
            | Self::GrowDisk(id, ..)
            | Self::Network(id)
            | Self::WriteNetworkMark(id, _)
            | Self::RemoveNetwork(id)
            | Self::ReserveAddress(id, _)
            | Self::ReleaseAddress(id, ..)
            | Self::Leases(id)
            | Self::Addresses(id)
            | Self::AgentAnswers(id)
            | Self::OpenConsole(id, _) => id.to_string(),
            Self::PoolRoom(pool) | Self::Volumes(pool) => pool.to_string(),
            Self::CreateVolume(spec) => spec.name.to_string(),
            Self::FirmwareVariables(of) => format!("{of:?}"),
            Self::HostFile(path) | Self::ReadHostFile(path) => path.clone(),
            Self::Volume(_, name)
            | Self::Download(_, name, _)
            | Self::ReadVolume(_, name)
            | Self::DeleteVolume(_, name) => name.to_string(),
        }
    }
}

impl State {
    /// Does what is asked.
    pub(crate) fn apply(&mut self, request: &Request, now: Millis) -> Result<Reply, DriverError> {
        let done = |()| Reply::Done;
        match request {
            Request::Snapshot => Ok(Reply::Snapshot(Box::new(self.snapshot(now)))),
            Request::Offers => Ok(Reply::Offers(Box::new(Self::offers()))),
            Request::Machine(id) => self.machine(id, now).map(machine),
            Request::RecordMachine(spec) => self.record_machine(spec, now).map(machine),
            Request::DefineMachine(spec) => self.define_machine(spec, now).map(machine),
            Request::WriteMark(id, mark) => self.write_mark(id, mark).map(done),
            Request::StartMachine(id) => self.start_machine(id, now).map(done),
            Request::SuspendMachine(id) => self.suspend_machine(id, now).map(done),
            Request::SetFooting(moment, footing) => self.set_footing(moment, *footing).map(done),
            Request::SaveMemory(moment) => self.save_memory(moment, now).map(done),
            Request::SavedMemory(moment) => self.saved_memory(moment).map(Reply::Memory),
            Request::ReturnTo(moment, resume) => self.return_to(moment, *resume, now).map(done),
            Request::ScreenMachine(screen, callers) => self.screen_machine(screen, callers).map(done),
            Request::Screened(screen) => self.screened(screen).map(Reply::Screened),
            Request::RemoveScreen(screen) => self.remove_screen(screen).map(done),
            Request::AttachNic(id, nic) => self.attach_nic(id, nic, now).map(done),
            Request::BeginCopy(id, copy) => self.begin_copy(id, copy, now).map(done),
            Request::Copying(id, copy) => self.copying(id, copy).map(Reply::Copying),
            Request::EndCopy(id, copy) => self.end_copy(id, copy).map(done),
            Request::AskGuest(id, task) => self.ask_guest(id, task, now).map(Reply::Guest),
            Request::Shutdown(id) => self.request_shutdown(id, now).map(done),
            Request::PowerOff(id) => self.power_off(id, now).map(done),
            Request::RemoveMachine(id) => self.remove_machine(id).map(done),
            Request::ChangeMedium(spec) => self.change_medium(spec).map(done),
            Request::RenameMachine(id, name) => self.rename_machine(id, name).map(done),
            Request::SetAutostart(id, autostart) => self.set_autostart(id, *autostart).map(done),
            Request::GrowDisk(id, target, capacity) => self.grow_disk(id, target, *capacity).map(done),
            Request::ChangeLive(spec, change) => self.change_live(spec, change, now).map(done),
            Request::Addresses(id) => self.addresses(id).map(Reply::Addresses),
            Request::AgentAnswers(id) => self.agent(id).map(Reply::Agent),
            Request::OpenConsole(id, entry) => {
                let (seat, position) = self.open_console(id, *entry, now)?;
                Ok(Reply::Console { seat, position })
            }
            Request::ProbeAccelerator => Ok(Reply::Accelerator(self.settings.accelerator)),
            Request::Marks => Ok(Reply::Marks(self.marks())),
            Request::PoolRoom(_)
            | Request::Volume(..)
            | Request::Volumes(_)
            | Request::CreateVolume(_)
            | Request::Download(..)
            | Request::ReadVolume(..)
            | Request::FirmwareVariables(_)
            | Request::HostFile(_)
            | Request::ReadHostFile(_)
            | Request::DeleteVolume(..) => self.apply_to_pool(request),
            _ => self.apply_to_network(request, now),
        }
    }

    fn apply_to_pool(&mut self, request: &Request) -> Result<Reply, DriverError> {
        match request {
            Request::PoolRoom(pool) => self.pool_room(pool).map(Reply::Room),
            Request::Volume(pool, name) => self.volume(pool, name).map(Reply::Volume),
            Request::Volumes(pool) => self.volume_names(pool).map(Reply::Volumes),
            Request::CreateVolume(spec) => self.create_volume(spec).map(Reply::Volume),
            Request::Download(pool, name, limit) => self.download(pool, name, *limit).map(Reply::Content),
            Request::ReadVolume(pool, name) => self.read_volume(pool, name).map(Reply::Content),
            Request::FirmwareVariables(of) => self.firmware_variables(of).map(Reply::Content),
            Request::HostFile(path) => self.host_file(path).map(Reply::File),
            Request::ReadHostFile(path) => self.read_host_file(path).map(Reply::Content),
            Request::DeleteVolume(pool, name) => self.delete_volume(pool, name).map(|()| Reply::Done),
            other => Err(misdirected(other)),
        }
    }

    fn apply_to_network(&mut self, request: &Request, now: Millis) -> Result<Reply, DriverError> {
        match request {
            Request::CreateNetwork(spec) => self.create_network(spec, now).map(network),
            Request::Network(id) => self.network(id, now).map(network),
            Request::ChangeNetwork(spec) => self.change_network(spec, now).map(network),
            Request::ReattachGuests(id) => self.reattach_guests(id).map(|()| Reply::Done),
            Request::WriteNetworkMark(id, mark) => self.write_network_mark(id, mark).map(|()| Reply::Done),
            Request::RemoveNetwork(id) => {
                self.remove_network(id);
                Ok(Reply::Done)
            }
            Request::ReserveAddress(id, wanted) => self.reserve_address(id, wanted).map(|()| Reply::Done),
            Request::ReleaseAddress(id, mac, address) => {
                self.release_address(id, *mac, *address).map(|()| Reply::Done)
            }
            Request::Leases(id) => self.leases(id, now).map(Reply::Leases),
            other => Err(misdirected(other)),
        }
    }
}

fn machine(machine: ObservedMachine) -> Reply {
    Reply::Machine(Box::new(machine))
}

fn network(network: ObservedNetwork) -> Reply {
    Reply::Network(Box::new(network))
}

fn misdirected(request: &Request) -> DriverError {
    DriverError::Unsupported {
        what: format!("{:?}", request.verb()),
        message: "the simulator does not know the call".to_owned(),
    }
}
