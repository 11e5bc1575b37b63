//! The driver: the trait's calls, each in the file of its noun.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
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

use crate::config::LibvirtConfig;
use crate::events::Events;
use crate::host::Host;
use crate::reservations::Reach;
use crate::{
    agent, attach, console, copies, files, guest, live, machines, media, moments, networks, observe, probe,
    reservations, screens, snapshot, upload, variables, volumes, wires,
};

/// A libvirt host. It connects when it is first needed, and anew after a connection was lost; another driver of the
/// same configuration has connections of its own.
pub struct LibvirtDriver {
    config: LibvirtConfig,
    host: Arc<Host>,
    events: Events,
}

impl LibvirtDriver {
    /// A driver for a host. Does not connect.
    ///
    /// # Errors
    /// [`DriverError::Refused`] where the URI is none that can be used.
    pub fn new(config: LibvirtConfig) -> Result<Self, DriverError> {
        let host = Arc::new(Host::new(&config.uri, config.pool())?);
        Ok(Self {
            config,
            host,
            events: Events::default(),
        })
    }

    /// How many calls were made to libvirt so far.
    pub async fn calls(&self) -> u64 {
        self.host.calls().await
    }

    /// Whether a payload runs under an accelerator, tried now.
    ///
    /// # Errors
    /// Where it could not be tried.
    pub async fn runs(&self, accelerator: Accelerator, payload: &ProbePayload) -> Result<bool, DriverError> {
        probe::runs(&self.host, accelerator, payload).await
    }
}

#[async_trait]
impl Driver for LibvirtDriver {
    async fn snapshot(&self) -> Result<Snapshot, DriverError> {
        let mut snapshot = snapshot::snapshot(&self.host).await?;
        let choice = self.config.accelerator;
        snapshot
            .host
            .accelerators
            .retain(|accelerator| choice.allows(*accelerator));
        Ok(snapshot)
    }

    async fn offers(&self) -> Result<Offers, DriverError> {
        let session = self.host.session().await?;
        self.host.offers(&session).await
    }

    async fn machine(&self, id: &ObjectId) -> Result<ObservedMachine, DriverError> {
        observe::machine(&self.host, &self.host.session().await?, id).await
    }

    async fn record_machine(&self, spec: &MachineSpec) -> Result<ObservedMachine, DriverError> {
        machines::record(&self.host, spec).await
    }

    async fn define_machine(&self, spec: &MachineSpec) -> Result<ObservedMachine, DriverError> {
        machines::redefine(&self.host, spec).await
    }

    async fn write_mark(&self, id: &ObjectId, mark: &Mark) -> Result<(), DriverError> {
        machines::write_mark(&self.host, id, mark).await
    }

    async fn start_machine(&self, id: &ObjectId) -> Result<(), DriverError> {
        machines::start(&self.host, id).await
    }

    async fn suspend_machine(&self, id: &ObjectId) -> Result<(), DriverError> {
        moments::suspend(&self.host, id).await
    }

    async fn set_footing(&self, moment: &MomentSpec, footing: Footing) -> Result<(), DriverError> {
        moments::set_footing(&self.host, moment, footing).await
    }

    async fn save_memory(&self, moment: &MomentSpec) -> Result<(), DriverError> {
        moments::save(&self.host, moment).await
    }

    async fn saved_memory(&self, moment: &MomentSpec) -> Result<SavedMemory, DriverError> {
        moments::saved(&self.host, moment).await
    }

    async fn return_to(&self, moment: &MomentSpec, resume: Resume) -> Result<(), DriverError> {
        moments::return_to(&self.host, moment, resume).await
    }

    async fn screen_machine(&self, screen: &Screen, callers: &Callers) -> Result<(), DriverError> {
        screens::screen(&self.host, screen, callers).await
    }

    async fn screened(&self, screen: &Screen) -> Result<Option<Callers>, DriverError> {
        screens::screened(&self.host, screen).await
    }

    async fn attach_nic(&self, id: &ObjectId, nic: &NicSpec) -> Result<(), DriverError> {
        attach::nic(&self.host, id, nic).await
    }

    async fn remove_screen(&self, screen: &Screen) -> Result<(), DriverError> {
        screens::remove(&self.host, screen).await
    }

    async fn begin_copy(&self, id: &ObjectId, copy: &DiskCopy) -> Result<(), DriverError> {
        copies::begin(&self.host, id, copy).await
    }

    async fn copying(&self, id: &ObjectId, copy: &DiskCopy) -> Result<Copying, DriverError> {
        copies::how_far(&self.host, id, copy).await
    }

    async fn end_copy(&self, id: &ObjectId, copy: &DiskCopy) -> Result<(), DriverError> {
        copies::end(&self.host, id, copy).await
    }

    async fn ask_guest(&self, id: &ObjectId, task: &GuestTask) -> Result<GuestAnswer, DriverError> {
        agent::ask(&self.host, id, task).await
    }

    async fn request_shutdown(&self, id: &ObjectId) -> Result<(), DriverError> {
        machines::request_shutdown(&self.host, id).await
    }

    async fn power_off(&self, id: &ObjectId) -> Result<(), DriverError> {
        machines::power_off(&self.host, id).await
    }

    async fn remove_machine(&self, id: &ObjectId) -> Result<(), DriverError> {
        machines::remove(&self.host, id).await
    }

    async fn change_medium(&self, spec: &MachineSpec) -> Result<(), DriverError> {
        media::change_medium(&self.host, spec).await
    }

    async fn rename_machine(&self, id: &ObjectId, host_name: &str) -> Result<(), DriverError> {
        machines::rename(&self.host, id, host_name).await
    }

    async fn set_autostart(&self, id: &ObjectId, autostart: Autostart) -> Result<(), DriverError> {
        machines::set_autostart(&self.host, id, autostart).await
    }

    async fn grow_disk(&self, id: &ObjectId, target: &str, capacity: Bytes) -> Result<(), DriverError> {
        media::grow_disk(&self.host, id, target, capacity).await
    }

    async fn change_live(&self, spec: &MachineSpec, change: &LiveChange) -> Result<(), DriverError> {
        live::change(&self.host, spec, change).await
    }

    async fn pool_room(&self, pool: &PoolName) -> Result<PoolRoom, DriverError> {
        volumes::room(&self.host, pool).await
    }

    async fn volume(&self, pool: &PoolName, name: &VolumeName) -> Result<VolumeDetail, DriverError> {
        volumes::volume(&self.host, pool, name).await
    }

    async fn volumes(&self, pool: &PoolName) -> Result<Vec<VolumeName>, DriverError> {
        volumes::list(&self.host, pool).await
    }

    async fn create_volume(&self, spec: &VolumeSpec) -> Result<VolumeDetail, DriverError> {
        volumes::create(&self.host, spec).await
    }

    async fn upload(
        &self,
        pool: &PoolName,
        name: &VolumeName,
        length: Bytes,
        stream: UploadStream,
        deadline: Duration,
    ) -> Result<(), DriverError> {
        upload::upload(&self.host, pool, name, length, stream, deadline).await
    }

    async fn download(
        &self,
        pool: &PoolName,
        name: &VolumeName,
        limit: Bytes,
    ) -> Result<Vec<u8>, DriverError> {
        upload::download(&self.host, pool, name, limit).await
    }

    async fn read_volume(&self, pool: &PoolName, name: &VolumeName) -> Result<VolumeBytes, DriverError> {
        upload::read(&self.host, pool, name).await
    }

    async fn firmware_variables(&self, of: &VariablesOf) -> Result<Vec<u8>, DriverError> {
        variables::read(&self.host, of).await
    }

    async fn host_file(&self, path: &str) -> Result<HostFile, DriverError> {
        files::look(&self.host, path).await
    }

    async fn read_host_file(&self, path: &str) -> Result<UploadStream, DriverError> {
        files::read(&self.host, path).await
    }

    async fn discard_variables(&self, path: &str) -> Result<(), DriverError> {
        variables::discard(&self.host, path).await
    }

    async fn tidy(&self) -> Result<(), DriverError> {
        files::tidy(&self.host).await
    }

    async fn delete_volume(&self, pool: &PoolName, name: &VolumeName) -> Result<(), DriverError> {
        volumes::delete(&self.host, pool, name).await
    }

    async fn create_network(&self, spec: &NetworkSpec) -> Result<ObservedNetwork, DriverError> {
        networks::create(&self.host, spec).await
    }

    async fn network(&self, id: &ObjectId) -> Result<ObservedNetwork, DriverError> {
        networks::network(&self.host, id).await
    }

    async fn change_network(&self, spec: &NetworkSpec) -> Result<ObservedNetwork, DriverError> {
        networks::change(&self.host, spec).await
    }

    async fn reattach_guests(&self, network: &ObjectId) -> Result<(), DriverError> {
        wires::reattach(&self.host, network).await
    }

    async fn write_network_mark(&self, id: &ObjectId, mark: &Mark) -> Result<(), DriverError> {
        networks::write_mark(&self.host, id, mark).await
    }

    async fn remove_network(&self, id: &ObjectId) -> Result<(), DriverError> {
        networks::remove(&self.host, id).await
    }

    async fn reserve_address(
        &self,
        network: &ObjectId,
        reservation: &Reservation,
    ) -> Result<(), DriverError> {
        reservations::reserve(&self.host, network, reservation, Reach::Everywhere).await
    }

    async fn set_address_aside(
        &self,
        network: &ObjectId,
        reservation: &Reservation,
    ) -> Result<(), DriverError> {
        reservations::reserve(&self.host, network, reservation, Reach::Definition).await
    }

    async fn release_address(
        &self,
        network: &ObjectId,
        mac: MacAddr,
        address: IpAddr,
    ) -> Result<(), DriverError> {
        reservations::release(&self.host, network, mac, address).await
    }

    async fn leases(&self, network: &ObjectId) -> Result<Vec<DhcpLease>, DriverError> {
        networks::leases(&self.host, network).await
    }

    async fn addresses(&self, id: &ObjectId) -> Result<Vec<(MacAddr, IpAddr)>, DriverError> {
        guest::addresses(&self.host, id).await
    }

    async fn agent_answers(&self, id: &ObjectId) -> Result<AgentState, DriverError> {
        guest::agent_answers(&self.host, id).await
    }

    async fn console(&self, id: &ObjectId, entry: Entry) -> Result<Box<dyn Console>, DriverError> {
        console::console(&self.host, id, entry).await
    }

    async fn events(&self) -> Result<broadcast::Receiver<HostEvent>, DriverError> {
        self.events.subscribe(&self.host).await
    }

    async fn probe_accelerator(&self, payload: &ProbePayload) -> Result<Accelerator, DriverError> {
        probe::accelerator(&self.host, self.config.accelerator, payload).await
    }

    async fn marks(&self) -> Result<Vec<(ObjectId, Mark)>, DriverError> {
        snapshot::marks(&self.host).await
    }
}
