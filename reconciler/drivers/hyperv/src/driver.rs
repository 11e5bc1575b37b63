//! The driver: the trait's calls, each in the file of its noun. What is not there yet says so.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Duration;

use async_trait::async_trait;
use labyard_driver::copy::{Copying, DiskCopy};
use labyard_driver::driver::{AgentState, VariablesOf};
use labyard_driver::guest::{GuestAnswer, GuestTask};
use labyard_driver::ids::{Bytes, HostUuid, MacAddr, Mib, ObjectId, PoolName, VolumeName};
use labyard_driver::mark::Mark;
use labyard_driver::moment::{Footing, MomentSpec, Resume, SavedMemory};
use labyard_driver::observed::{
    Ability, Activity, Autostart, DhcpLease, HostFacts, HostFile, ObservedMachine, ObservedNetwork,
    ObservedVolume, Offer, Offers, PoolFacts, PoolKind, PoolRoom, Reservation, Snapshot, VolumeDetail,
};
use labyard_driver::screen::{Callers, Screen};
use labyard_driver::spec::{
    Accelerator, Firmware, LiveChange, MachineSpec, NetworkSpec, NicSpec, ProbePayload, SecureBoot,
    VolumeSpec,
};
use labyard_driver::{Console, Driver, DriverError, Entry, HostEvent, UploadStream, VolumeBytes};
use tokio::sync::broadcast;

use crate::classes::Heartbeat;
use crate::host::{Host, Seen};
use crate::ids::Guid;
use crate::places::Directory;
use crate::rows::those;

/// `OperationalStatus` of a heartbeat: the guest's services live.
const LIVES: u16 = 2;

/// What this driver does not do.
fn not_yet<T>(what: &str) -> Result<T, DriverError> {
    Err(DriverError::Unsupported {
        what: what.to_owned(),
        message: "this driver does not do that on Hyper-V yet".to_owned(),
    })
}

#[async_trait]
impl Driver for Host {
    async fn snapshot(&self) -> Result<Snapshot, DriverError> {
        let (facts, seen, entries) = tokio::try_join!(self.facts(), self.look(), self.entries(self.pool()))?;
        let Seen { machines, networks } = seen;
        let volumes = entries.iter().filter_map(|entry| {
            let (name, _) = Directory::named(&entry.name)?;
            Some(ObservedVolume {
                pool: self.pool().clone(),
                path: format!("{}\\{}", self.directory.path(), entry.name),
                name,
            })
        });
        Ok(Snapshot {
            host: HostFacts {
                uuid: HostUuid(facts.uuid.clone()),
                accelerators: vec![Accelerator::Kvm],
                pool: Some(self.pool().clone()),
                pool_fault: None,
                pools: vec![PoolFacts {
                    name: self.pool().clone(),
                    kind: PoolKind::Directory,
                    active: Activity::Active,
                    room: None,
                }],
                cpus: facts.processors,
                memory: Mib(facts.memory_mib),
            },
            machines,
            networks,
            volumes: volumes.collect(),
        })
    }

    async fn offers(&self) -> Result<Offers, DriverError> {
        let facts = self.facts().await?;
        let own = "kept by Hyper-V".to_owned();
        Ok(Offers {
            hypervisor: format!("Hyper-V of {} (build {})", facts.system, facts.build),
            firmwares: vec![Firmware::Bios, Firmware::Uefi],
            variables: BTreeMap::from([
                (SecureBoot::Off, Ok(own.clone())),
                (SecureBoot::Microsoft, Ok(own)),
            ]),
            tpm: Offer::Lacking,
            cpu_models: None,
            abilities: BTreeSet::from([Ability::EmptyDrive]),
        })
    }

    async fn machine(&self, id: &ObjectId) -> Result<ObservedMachine, DriverError> {
        self.machine(id).await
    }

    async fn record_machine(&self, spec: &MachineSpec) -> Result<ObservedMachine, DriverError> {
        self.record_machine(spec).await
    }

    async fn define_machine(&self, spec: &MachineSpec) -> Result<ObservedMachine, DriverError> {
        self.define_machine(spec).await
    }

    async fn write_mark(&self, id: &ObjectId, mark: &Mark) -> Result<(), DriverError> {
        self.write_mark(id, mark).await
    }

    async fn rename_machine(&self, id: &ObjectId, host_name: &str) -> Result<(), DriverError> {
        self.rename_machine(id, host_name).await
    }

    async fn set_autostart(&self, id: &ObjectId, autostart: Autostart) -> Result<(), DriverError> {
        self.set_autostart(id, autostart).await
    }

    async fn start_machine(&self, id: &ObjectId) -> Result<(), DriverError> {
        self.start_machine(id).await
    }

    async fn suspend_machine(&self, id: &ObjectId) -> Result<(), DriverError> {
        self.suspend_machine(id).await
    }

    async fn set_footing(&self, _: &MomentSpec, _: Footing) -> Result<(), DriverError> {
        not_yet("a moment of a machine")
    }

    async fn save_memory(&self, _: &MomentSpec) -> Result<(), DriverError> {
        not_yet("a moment of a machine")
    }

    async fn saved_memory(&self, _: &MomentSpec) -> Result<SavedMemory, DriverError> {
        not_yet("a moment of a machine")
    }

    async fn return_to(&self, _: &MomentSpec, _: Resume) -> Result<(), DriverError> {
        not_yet("a moment of a machine")
    }

    async fn screen_machine(&self, _: &Screen, _: &Callers) -> Result<(), DriverError> {
        not_yet("a screen before a machine")
    }

    async fn screened(&self, _: &Screen) -> Result<Option<Callers>, DriverError> {
        not_yet("a screen before a machine")
    }

    async fn remove_screen(&self, _: &Screen) -> Result<(), DriverError> {
        // There is none.
        Ok(())
    }

    async fn attach_nic(&self, id: &ObjectId, nic: &NicSpec) -> Result<(), DriverError> {
        self.attach_nic(id, nic).await
    }

    async fn begin_copy(&self, _: &ObjectId, _: &DiskCopy) -> Result<(), DriverError> {
        not_yet("a copy of a disk of a running machine")
    }

    async fn copying(&self, _: &ObjectId, _: &DiskCopy) -> Result<Copying, DriverError> {
        not_yet("a copy of a disk of a running machine")
    }

    async fn end_copy(&self, _: &ObjectId, _: &DiskCopy) -> Result<(), DriverError> {
        // None goes on.
        Ok(())
    }

    async fn ask_guest(&self, _: &ObjectId, _: &GuestTask) -> Result<GuestAnswer, DriverError> {
        not_yet("asking a guest")
    }

    async fn request_shutdown(&self, id: &ObjectId) -> Result<(), DriverError> {
        self.request_shutdown(id).await
    }

    async fn power_off(&self, id: &ObjectId) -> Result<(), DriverError> {
        self.power_off(id).await
    }

    async fn remove_machine(&self, id: &ObjectId) -> Result<(), DriverError> {
        self.remove_machine(id).await
    }

    async fn change_medium(&self, spec: &MachineSpec) -> Result<(), DriverError> {
        self.change_medium(spec).await
    }

    async fn grow_disk(&self, id: &ObjectId, target: &str, capacity: Bytes) -> Result<(), DriverError> {
        self.grow_disk(id, target, capacity).await
    }

    async fn change_live(&self, spec: &MachineSpec, change: &LiveChange) -> Result<(), DriverError> {
        self.change_live(spec, change).await
    }

    async fn pool_room(&self, pool: &PoolName) -> Result<PoolRoom, DriverError> {
        self.pool_room(pool).await
    }

    async fn volume(&self, pool: &PoolName, name: &VolumeName) -> Result<VolumeDetail, DriverError> {
        self.volume(pool, name).await
    }

    async fn volumes(&self, pool: &PoolName) -> Result<Vec<VolumeName>, DriverError> {
        self.volumes(pool).await
    }

    async fn create_volume(&self, spec: &VolumeSpec) -> Result<VolumeDetail, DriverError> {
        self.create_volume(spec).await
    }

    async fn upload(
        &self,
        pool: &PoolName,
        name: &VolumeName,
        length: Bytes,
        stream: UploadStream,
        deadline: Duration,
    ) -> Result<(), DriverError> {
        self.upload(pool, name, length, stream, deadline).await
    }

    async fn download(
        &self,
        pool: &PoolName,
        name: &VolumeName,
        limit: Bytes,
    ) -> Result<Vec<u8>, DriverError> {
        self.download(pool, name, limit).await
    }

    async fn read_volume(&self, pool: &PoolName, name: &VolumeName) -> Result<VolumeBytes, DriverError> {
        self.read_volume(pool, name).await
    }

    async fn firmware_variables(&self, _: &VariablesOf) -> Result<Vec<u8>, DriverError> {
        Err(DriverError::Refused {
            doing: "reading firmware variables".to_owned(),
            message: "Hyper-V keeps them to itself".to_owned(),
        })
    }

    async fn host_file(&self, _: &str) -> Result<HostFile, DriverError> {
        not_yet("looking at a file anywhere on the host")
    }

    async fn read_host_file(&self, _: &str) -> Result<UploadStream, DriverError> {
        not_yet("reading a file anywhere on the host")
    }

    async fn delete_volume(&self, pool: &PoolName, name: &VolumeName) -> Result<(), DriverError> {
        self.delete_volume(pool, name).await
    }

    async fn create_network(&self, _: &NetworkSpec) -> Result<ObservedNetwork, DriverError> {
        not_yet("a network with addresses of its own")
    }

    async fn network(&self, id: &ObjectId) -> Result<ObservedNetwork, DriverError> {
        self.network(id).await
    }

    async fn change_network(&self, _: &NetworkSpec) -> Result<ObservedNetwork, DriverError> {
        not_yet("a network with addresses of its own")
    }

    async fn reattach_guests(&self, _: &ObjectId) -> Result<(), DriverError> {
        // A switch is never restarted.
        Ok(())
    }

    async fn write_network_mark(&self, id: &ObjectId, mark: &Mark) -> Result<(), DriverError> {
        self.write_network_mark(id, mark).await
    }

    async fn remove_network(&self, id: &ObjectId) -> Result<(), DriverError> {
        self.remove_network(id).await
    }

    async fn reserve_address(&self, _: &ObjectId, _: &Reservation) -> Result<(), DriverError> {
        not_yet("keeping an address for a card")
    }

    async fn release_address(&self, _: &ObjectId, _: MacAddr, _: IpAddr) -> Result<(), DriverError> {
        // None was kept.
        Ok(())
    }

    async fn leases(&self, network: &ObjectId) -> Result<Vec<DhcpLease>, DriverError> {
        // WinNAT gives no addresses, and what else gives some does not say so to Hyper-V.
        self.network(network).await.map(|_| Vec::new())
    }

    async fn addresses(&self, id: &ObjectId) -> Result<Vec<(MacAddr, IpAddr)>, DriverError> {
        let machine = self.machine(id).await?;
        let nics = machine
            .detail
            .known()
            .map(|detail| detail.nics.clone())
            .unwrap_or_default();
        let pairs = nics
            .into_iter()
            .flat_map(|nic| nic.addresses.into_iter().map(move |address| (nic.mac, address)));
        Ok(pairs.collect())
    }

    async fn agent_answers(&self, id: &ObjectId) -> Result<AgentState, DriverError> {
        let missing = || DriverError::Missing {
            what: format!("machine {id}"),
        };
        let guid: Guid = id.as_str().parse().map_err(|_| missing())?;
        let name = guid.to_string();
        let (_, rows) = tokio::try_join!(
            self.runs(id),
            those::<Heartbeat>(&self.client, |select| select.equal("SystemName", &name)),
        )?;
        let lives =
            |row: &Heartbeat| row.operational_status.as_deref().and_then(<[u16]>::first) == Some(&LIVES);
        Ok(match rows.iter().any(lives) {
            true => AgentState::Answers,
            false => AgentState::Silent,
        })
    }

    async fn console(&self, _: &ObjectId, _: Entry) -> Result<Box<dyn Console>, DriverError> {
        Err(DriverError::Unsupported {
            what: "a serial console".to_owned(),
            message: "that of a machine on Hyper-V is a named pipe, which is on the host alone".to_owned(),
        })
    }

    async fn events(&self) -> Result<broadcast::Receiver<HostEvent>, DriverError> {
        Ok(self.events().subscribe())
    }

    async fn probe_accelerator(&self, _: &ProbePayload) -> Result<Accelerator, DriverError> {
        Ok(Accelerator::Kvm)
    }

    async fn marks(&self) -> Result<Vec<(ObjectId, Mark)>, DriverError> {
        self.marks().await
    }
}
