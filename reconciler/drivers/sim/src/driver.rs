//! The driver: every call of the trait as a request over a link.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures::StreamExt;
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
use labyard_driver::spec::{
    Accelerator, LiveChange, MachineSpec, NetworkSpec, NicSpec, ProbePayload, VolumeSpec,
};
use labyard_driver::{Console, Driver, DriverError, Entry, HostEvent, UploadStream, VolumeBytes};
use tokio::sync::broadcast;

use crate::console::SimConsole;
use crate::host::SimHost;
use crate::link::Link;
use crate::request::{Reply, Request};

/// A driver of a simulated host. Each one is a caller of its own: a crash point that it meets silences it alone.
#[derive(Clone, Debug)]
pub struct SimDriver {
    link: Arc<Link>,
}

impl SimDriver {
    /// On a host in this process.
    pub fn in_memory(host: &SimHost) -> Self {
        let link = Link::Memory(host.clone(), host.new_caller());
        Self { link: Arc::new(link) }
    }

    /// On the host of a process of its own, behind its socket. Nothing is connected before the first call.
    #[cfg(unix)]
    pub fn connect(socket: &std::path::Path) -> Self {
        let link = Link::Socket(crate::client::Client::new(socket));
        Self { link: Arc::new(link) }
    }

    async fn done(&self, request: Request) -> Result<(), DriverError> {
        match self.link.call(request).await? {
            Reply::Done => Ok(()),
            other => Err(unexpected(&other)),
        }
    }
}

/// Sends a request and takes the answer of the kind that belongs to it.
macro_rules! ask {
    ($driver:expr, $request:expr, $kind:path) => {
        match $driver.link.call($request).await? {
            $kind(answer) => Ok(answer),
            other => Err(unexpected(&other)),
        }
    };
}

fn unexpected(reply: &Reply) -> DriverError {
    let mut text = format!("{reply:?}");
    text.truncate(text.find(['(', ' ']).unwrap_or(text.len()));
    DriverError::Unsupported {
        what: "the simulator's answer".to_owned(),
        message: format!("{text} is not what was asked for; are both ends of one release?"),
    }
}

#[async_trait]
impl Driver for SimDriver {
    async fn snapshot(&self) -> Result<Snapshot, DriverError> {
        ask!(self, Request::Snapshot, Reply::Snapshot).map(|snapshot| *snapshot)
    }

    async fn offers(&self) -> Result<Offers, DriverError> {
        ask!(self, Request::Offers, Reply::Offers).map(|offers| *offers)
    }

    async fn machine(&self, id: &ObjectId) -> Result<ObservedMachine, DriverError> {
        ask!(self, Request::Machine(id.clone()), Reply::Machine).map(|machine| *machine)
    }

    async fn record_machine(&self, spec: &MachineSpec) -> Result<ObservedMachine, DriverError> {
        let request = Request::RecordMachine(Box::new(spec.clone()));
        ask!(self, request, Reply::Machine).map(|machine| *machine)
    }

    async fn define_machine(&self, spec: &MachineSpec) -> Result<ObservedMachine, DriverError> {
        let request = Request::DefineMachine(Box::new(spec.clone()));
        ask!(self, request, Reply::Machine).map(|machine| *machine)
    }

    async fn write_mark(&self, id: &ObjectId, mark: &Mark) -> Result<(), DriverError> {
        self.done(Request::WriteMark(id.clone(), Box::new(mark.clone())))
            .await
    }

    async fn start_machine(&self, id: &ObjectId) -> Result<(), DriverError> {
        self.done(Request::StartMachine(id.clone())).await
    }

    async fn suspend_machine(&self, id: &ObjectId) -> Result<(), DriverError> {
        self.done(Request::SuspendMachine(id.clone())).await
    }

    async fn set_footing(&self, moment: &MomentSpec, footing: Footing) -> Result<(), DriverError> {
        self.done(Request::SetFooting(Box::new(moment.clone()), footing))
            .await
    }

    async fn save_memory(&self, moment: &MomentSpec) -> Result<(), DriverError> {
        self.done(Request::SaveMemory(Box::new(moment.clone()))).await
    }

    async fn saved_memory(&self, moment: &MomentSpec) -> Result<SavedMemory, DriverError> {
        let request = Request::SavedMemory(Box::new(moment.clone()));
        ask!(self, request, Reply::Memory)
    }

    async fn return_to(&self, moment: &MomentSpec, resume: Resume) -> Result<(), DriverError> {
        self.done(Request::ReturnTo(Box::new(moment.clone()), resume))
            .await
    }

    async fn screen_machine(&self, screen: &Screen, callers: &Callers) -> Result<(), DriverError> {
        self.done(Request::ScreenMachine(screen.clone(), callers.clone()))
            .await
    }

    async fn screened(&self, screen: &Screen) -> Result<Option<Callers>, DriverError> {
        ask!(self, Request::Screened(screen.clone()), Reply::Screened)
    }

    async fn attach_nic(&self, id: &ObjectId, nic: &NicSpec) -> Result<(), DriverError> {
        self.done(Request::AttachNic(id.clone(), Box::new(nic.clone())))
            .await
    }

    async fn remove_screen(&self, screen: &Screen) -> Result<(), DriverError> {
        self.done(Request::RemoveScreen(screen.clone())).await
    }

    async fn begin_copy(&self, id: &ObjectId, copy: &DiskCopy) -> Result<(), DriverError> {
        self.done(Request::BeginCopy(id.clone(), copy.clone())).await
    }

    async fn copying(&self, id: &ObjectId, copy: &DiskCopy) -> Result<Copying, DriverError> {
        let request = Request::Copying(id.clone(), copy.clone());
        ask!(self, request, Reply::Copying)
    }

    async fn end_copy(&self, id: &ObjectId, copy: &DiskCopy) -> Result<(), DriverError> {
        self.done(Request::EndCopy(id.clone(), copy.clone())).await
    }

    async fn ask_guest(&self, id: &ObjectId, task: &GuestTask) -> Result<GuestAnswer, DriverError> {
        let request = Request::AskGuest(id.clone(), task.clone());
        ask!(self, request, Reply::Guest)
    }

    async fn request_shutdown(&self, id: &ObjectId) -> Result<(), DriverError> {
        self.done(Request::Shutdown(id.clone())).await
    }

    async fn power_off(&self, id: &ObjectId) -> Result<(), DriverError> {
        self.done(Request::PowerOff(id.clone())).await
    }

    async fn remove_machine(&self, id: &ObjectId) -> Result<(), DriverError> {
        self.done(Request::RemoveMachine(id.clone())).await
    }

    async fn change_medium(&self, spec: &MachineSpec) -> Result<(), DriverError> {
        self.done(Request::ChangeMedium(Box::new(spec.clone()))).await
    }

    async fn rename_machine(&self, id: &ObjectId, host_name: &str) -> Result<(), DriverError> {
        self.done(Request::RenameMachine(id.clone(), host_name.to_owned()))
            .await
    }

    async fn set_autostart(&self, id: &ObjectId, autostart: Autostart) -> Result<(), DriverError> {
        self.done(Request::SetAutostart(id.clone(), autostart)).await
    }

    async fn grow_disk(&self, id: &ObjectId, target: &str, capacity: Bytes) -> Result<(), DriverError> {
        self.done(Request::GrowDisk(id.clone(), target.to_owned(), capacity))
            .await
    }

    async fn change_live(&self, spec: &MachineSpec, change: &LiveChange) -> Result<(), DriverError> {
        self.done(Request::ChangeLive(Box::new(spec.clone()), change.clone()))
            .await
    }

    async fn pool_room(&self, pool: &PoolName) -> Result<PoolRoom, DriverError> {
        ask!(self, Request::PoolRoom(pool.clone()), Reply::Room)
    }

    async fn volume(&self, pool: &PoolName, name: &VolumeName) -> Result<VolumeDetail, DriverError> {
        ask!(self, Request::Volume(pool.clone(), name.clone()), Reply::Volume)
    }

    async fn volumes(&self, pool: &PoolName) -> Result<Vec<VolumeName>, DriverError> {
        ask!(self, Request::Volumes(pool.clone()), Reply::Volumes)
    }

    async fn create_volume(&self, spec: &VolumeSpec) -> Result<VolumeDetail, DriverError> {
        ask!(self, Request::CreateVolume(spec.clone()), Reply::Volume)
    }

    async fn upload(
        &self,
        pool: &PoolName,
        name: &VolumeName,
        length: Bytes,
        stream: UploadStream,
        deadline: Duration,
    ) -> Result<(), DriverError> {
        let target = (pool.clone(), name.clone());
        self.link.upload(target, length, stream, deadline).await
    }

    async fn download(
        &self,
        pool: &PoolName,
        name: &VolumeName,
        limit: Bytes,
    ) -> Result<Vec<u8>, DriverError> {
        let request = Request::Download(pool.clone(), name.clone(), limit);
        ask!(self, request, Reply::Content)
    }

    async fn read_volume(&self, pool: &PoolName, name: &VolumeName) -> Result<VolumeBytes, DriverError> {
        let request = Request::ReadVolume(pool.clone(), name.clone());
        let content = ask!(self, request, Reply::Content)?;
        Ok(VolumeBytes {
            length: Some(Bytes(content.len() as u64)),
            stream: futures::stream::iter([Ok(content.into())]).boxed(),
        })
    }

    async fn firmware_variables(&self, of: &VariablesOf) -> Result<Vec<u8>, DriverError> {
        ask!(self, Request::FirmwareVariables(of.clone()), Reply::Content)
    }

    async fn host_file(&self, path: &str) -> Result<HostFile, DriverError> {
        ask!(self, Request::HostFile(path.to_owned()), Reply::File)
    }

    async fn read_host_file(&self, path: &str) -> Result<UploadStream, DriverError> {
        let content = ask!(self, Request::ReadHostFile(path.to_owned()), Reply::Content)?;
        Ok(futures::stream::iter([Ok(content.into())]).boxed())
    }

    async fn delete_volume(&self, pool: &PoolName, name: &VolumeName) -> Result<(), DriverError> {
        self.done(Request::DeleteVolume(pool.clone(), name.clone())).await
    }

    async fn create_network(&self, spec: &NetworkSpec) -> Result<ObservedNetwork, DriverError> {
        let request = Request::CreateNetwork(Box::new(spec.clone()));
        ask!(self, request, Reply::Network).map(|network| *network)
    }

    async fn network(&self, id: &ObjectId) -> Result<ObservedNetwork, DriverError> {
        ask!(self, Request::Network(id.clone()), Reply::Network).map(|network| *network)
    }

    async fn change_network(&self, spec: &NetworkSpec) -> Result<ObservedNetwork, DriverError> {
        let request = Request::ChangeNetwork(Box::new(spec.clone()));
        ask!(self, request, Reply::Network).map(|network| *network)
    }

    async fn reattach_guests(&self, network: &ObjectId) -> Result<(), DriverError> {
        self.done(Request::ReattachGuests(network.clone())).await
    }

    async fn write_network_mark(&self, id: &ObjectId, mark: &Mark) -> Result<(), DriverError> {
        self.done(Request::WriteNetworkMark(id.clone(), Box::new(mark.clone())))
            .await
    }

    async fn remove_network(&self, id: &ObjectId) -> Result<(), DriverError> {
        self.done(Request::RemoveNetwork(id.clone())).await
    }

    async fn reserve_address(
        &self,
        network: &ObjectId,
        reservation: &Reservation,
    ) -> Result<(), DriverError> {
        self.done(Request::ReserveAddress(network.clone(), reservation.clone()))
            .await
    }

    async fn release_address(
        &self,
        network: &ObjectId,
        mac: MacAddr,
        address: IpAddr,
    ) -> Result<(), DriverError> {
        self.done(Request::ReleaseAddress(network.clone(), mac, address))
            .await
    }

    async fn leases(&self, network: &ObjectId) -> Result<Vec<DhcpLease>, DriverError> {
        ask!(self, Request::Leases(network.clone()), Reply::Leases)
    }

    async fn addresses(&self, id: &ObjectId) -> Result<Vec<(MacAddr, IpAddr)>, DriverError> {
        ask!(self, Request::Addresses(id.clone()), Reply::Addresses)
    }

    async fn agent_answers(&self, id: &ObjectId) -> Result<AgentState, DriverError> {
        ask!(self, Request::AgentAnswers(id.clone()), Reply::Agent)
    }

    async fn console(&self, id: &ObjectId, entry: Entry) -> Result<Box<dyn Console>, DriverError> {
        match self.link.call(Request::OpenConsole(id.clone(), entry)).await? {
            Reply::Console { seat, position } => {
                Ok(Box::new(SimConsole::new(Arc::clone(&self.link), seat, position)))
            }
            other => Err(unexpected(&other)),
        }
    }

    async fn events(&self) -> Result<broadcast::Receiver<HostEvent>, DriverError> {
        self.link.subscribe().await
    }

    async fn probe_accelerator(&self, _payload: &ProbePayload) -> Result<Accelerator, DriverError> {
        ask!(self, Request::ProbeAccelerator, Reply::Accelerator)
    }

    async fn marks(&self) -> Result<Vec<(ObjectId, Mark)>, DriverError> {
        ask!(self, Request::Marks, Reply::Marks)
    }
}
