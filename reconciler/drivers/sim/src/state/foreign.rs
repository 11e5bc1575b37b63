//! What other hands do on the host behind our back.

use std::net::Ipv4Addr;

use labyard_driver::ids::{Bytes, MacAddr, Mib, ObjectId, PoolName, VolumeName};
use labyard_driver::observed::{Activity, Attachment, Cable, Ended, MarkState};
use labyard_driver::spec::{
    DiskBus, DiskFormat, Isolation, MachineSpec, NetworkSpec, NicModel, VolumeContent, VolumeSpec,
};
use labyard_driver::{DriverError, HostEvent};
use serde::{Deserialize, Serialize};

use super::guest::Process;
use super::{Disk, MachineActivity, Nic, Origin, State, refused};
use crate::clock::Millis;

/// Something that an administrator, another program or bad luck does to the host.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum ForeignHand {
    /// Defines a machine without a mark; what the specification says of marks is left out.
    AddMachine(Box<MachineSpec>),
    /// Makes and starts a network without a mark.
    AddNetwork(Box<NetworkSpec>),
    /// Makes a volume.
    AddVolume(VolumeSpec),
    /// The machine's guest crashes.
    Crash(ObjectId),
    /// The machine is suspended.
    Pause(ObjectId),
    /// Somebody connects to the machine's guest from these addresses; what was connected before no longer is.
    Connect {
        /// The machine.
        id: ObjectId,
        /// From where; from nowhere ends all.
        from: Vec<Ipv4Addr>,
    },
    /// The machine's memory is saved and it stops.
    Save(ObjectId),
    /// The machine's process hangs.
    Hang(ObjectId),
    /// The machine's process answers again.
    Unhang(ObjectId),
    /// The machine's process is killed.
    Kill(ObjectId),
    /// The machine is stopped and undefined, its volumes stay.
    Undefine(ObjectId),
    /// The machine's next start is given other hardware.
    SetHardware {
        /// The machine.
        id: ObjectId,
        /// Processors.
        cpus: u32,
        /// Memory.
        memory: Mib,
    },
    /// A disk is put into the machine's definition.
    AttachDisk {
        /// The machine.
        id: ObjectId,
        /// `vdx`.
        target: String,
        /// A file on the host.
        path: String,
    },
    /// A disk is pulled out of the running machine; its definition keeps it.
    PullDisk {
        /// The machine.
        id: ObjectId,
        /// `vda`.
        target: String,
    },
    /// A NIC is pulled out of the running machine; its definition keeps it.
    PullNic {
        /// The machine.
        id: ObjectId,
        /// Which.
        mac: MacAddr,
    },
    /// The cable of a running machine's NIC is pulled out; its definition has it in.
    PullCable {
        /// The machine.
        id: ObjectId,
        /// Which NIC.
        mac: MacAddr,
    },
    /// A disk is taken out of the machine, live and in the definition.
    DetachDisk {
        /// The machine.
        id: ObjectId,
        /// `vda`.
        target: String,
    },
    /// A NIC is put into the machine's definition.
    AttachNic {
        /// The machine.
        id: ObjectId,
        /// Its address.
        mac: MacAddr,
        /// Where.
        attachment: Attachment,
    },
    /// A NIC is taken out of the machine, live and in the definition.
    DetachNic {
        /// The machine.
        id: ObjectId,
        /// Which.
        mac: MacAddr,
    },
    /// No card of the machine stands behind a screen any more, live and in the definition.
    TakeFromBehindScreen(ObjectId),
    /// All media are taken out of the machine's drives.
    Eject(ObjectId),
    /// The mark of a machine or network is erased.
    EraseMark(ObjectId),
    /// The mark of a machine or network is damaged.
    DamageMark(ObjectId),
    /// A volume's file vanishes, whoever uses it.
    LoseVolume(VolumeName),
    /// A file is written beside the pools.
    PutFile {
        /// Where.
        path: String,
        /// What stands in it.
        content: Vec<u8>,
    },
    /// Such a file is removed.
    RemoveFile(String),
    /// A network is stopped.
    StopNetwork(ObjectId),
    /// A network is stopped and undefined.
    RemoveNetwork(ObjectId),
    /// A pool is stopped: its volumes are there and nobody can look.
    StopPool(PoolName),
    /// A pool is started again.
    StartPool(PoolName),
    /// The pool gets another size.
    SetPoolCapacity(Bytes),
}

impl State {
    pub(crate) fn by_other_hand(&mut self, hand: &ForeignHand, now: Millis) -> Result<(), DriverError> {
        match hand {
            ForeignHand::AddMachine(spec) => self.add_foreign_machine(spec, now),
            ForeignHand::AddNetwork(spec) => {
                self.create_network_as(&spec.id, spec, now)?;
                self.erase_mark(&spec.id, MarkState::None)
            }
            ForeignHand::AddVolume(spec) => self.add_foreign_volume(spec),
            ForeignHand::Crash(id) => self.stop_by_other_hand(id, now, MachineActivity::Crashed),
            ForeignHand::Save(id) => self.stop_by_other_hand(id, now, MachineActivity::Saved),
            ForeignHand::Kill(id) => {
                self.stop_by_other_hand(id, now, MachineActivity::Off(Some(Ended::Crashed)))
            }
            ForeignHand::Pause(id) => self.pause(id, now),
            ForeignHand::Connect { id, from } => self.connect(id, from),
            ForeignHand::Hang(id) => self.set_process(id, Process::Hangs),
            ForeignHand::Unhang(id) => self.set_process(id, Process::Answers),
            ForeignHand::Undefine(id) => {
                self.power_off(id, now)?;
                self.remove_machine(id)
            }
            ForeignHand::EraseMark(id) => self.erase_mark(id, MarkState::None),
            ForeignHand::DamageMark(id) => {
                self.erase_mark(id, MarkState::Unreadable("the mark is damaged".to_owned()))
            }
            ForeignHand::LoseVolume(name) => {
                self.volumes
                    .retain(|path, _| path.rsplit('/').next() != Some(name.as_str()));
                Ok(())
            }
            ForeignHand::PutFile { path, content } => {
                self.put_file(path, content);
                Ok(())
            }
            ForeignHand::RemoveFile(path) => {
                self.files.remove(path);
                Ok(())
            }
            ForeignHand::StopPool(pool) => {
                self.stopped_pools.insert(pool.clone());
                Ok(())
            }
            ForeignHand::StartPool(pool) => {
                self.stopped_pools.remove(pool);
                Ok(())
            }
            ForeignHand::StopNetwork(id) => {
                self.network_mut(id)?.active = Activity::Inactive;
                Ok(())
            }
            ForeignHand::RemoveNetwork(id) => {
                self.remove_network(id);
                Ok(())
            }
            ForeignHand::SetPoolCapacity(capacity) => {
                self.settings.pool_capacity = *capacity;
                Ok(())
            }
            device => self.change_devices(device),
        }
    }

    fn change_devices(&mut self, hand: &ForeignHand) -> Result<(), DriverError> {
        let (ForeignHand::SetHardware { id, .. }
        | ForeignHand::AttachDisk { id, .. }
        | ForeignHand::PullDisk { id, .. }
        | ForeignHand::PullNic { id, .. }
        | ForeignHand::PullCable { id, .. }
        | ForeignHand::DetachDisk { id, .. }
        | ForeignHand::AttachNic { id, .. }
        | ForeignHand::DetachNic { id, .. }
        | ForeignHand::TakeFromBehindScreen(id)
        | ForeignHand::Eject(id)) = hand
        else {
            return Ok(());
        };
        let format = match hand {
            ForeignHand::AttachDisk { path, .. } => self.volumes.get(path).map(|volume| volume.format),
            _ => None,
        };
        let machine = self.machine_mut(id)?;
        let definition = &mut machine.definition;
        match hand.clone() {
            ForeignHand::SetHardware { cpus, memory, .. } => {
                (definition.cpus, definition.memory) = (cpus, memory);
                (definition.cpus_max, definition.memory_max) =
                    (definition.cpus_max.max(cpus), definition.memory_max.max(memory));
            }
            ForeignHand::AttachDisk { target, path, .. } => definition.disks.push(Disk {
                target,
                path,
                boot: None,
                bus: DiskBus::Virtio,
                format: format.unwrap_or(DiskFormat::Qcow2),
                origin: Origin::Foreign,
            }),
            ForeignHand::AttachNic { mac, attachment, .. } => definition.nics.push(Nic {
                mac,
                attachment,
                vlan: None,
                isolation: Isolation::Open,
                screen: None,
                cable: Cable::AsDefined,
                boot: None,
                model: NicModel::Virtio,
                origin: Origin::Foreign,
            }),
            _ => {}
        }
        let live = match &mut machine.activity {
            MachineActivity::On(run) => Some(&mut run.definition),
            _ => None,
        };
        let held: Vec<_> = live
            .iter()
            .flat_map(|live| &live.disks)
            .map(|disk| disk.path.clone())
            .collect();
        let kept = match hand {
            ForeignHand::PullDisk { .. } | ForeignHand::PullNic { .. } | ForeignHand::PullCable { .. } => {
                None
            }
            _ => Some(&mut machine.definition),
        };
        for definition in live.into_iter().chain(kept) {
            match hand {
                ForeignHand::PullDisk { target, .. } => {
                    definition.disks.retain(|disk| disk.target != *target);
                }
                ForeignHand::PullNic { mac, .. } => definition.nics.retain(|nic| nic.mac != *mac),
                ForeignHand::PullCable { mac, .. } => {
                    let pulled = definition.nics.iter_mut().filter(|nic| nic.mac == *mac);
                    pulled.for_each(|nic| nic.cable = Cable::Out);
                }
                ForeignHand::DetachDisk { target, .. } => {
                    definition.disks.retain(|disk| disk.target != *target);
                }
                ForeignHand::DetachNic { mac, .. } => definition.nics.retain(|nic| nic.mac != *mac),
                ForeignHand::TakeFromBehindScreen(_) => {
                    definition.nics.iter_mut().for_each(|nic| nic.screen = None);
                }
                ForeignHand::Eject(_) => definition.cdroms.values_mut().for_each(|medium| *medium = None),
                _ => {}
            }
        }
        // Whose disk was taken out of a running machine, the machine lets go of its file.
        let live = machine.run().map(|run| &run.definition);
        let gone: Vec<_> = held
            .into_iter()
            .filter(|path| !live.is_some_and(|live| live.disks.iter().any(|disk| disk.path == *path)))
            .collect();
        self.locks
            .retain(|path, holder| holder != id || !gone.contains(path));
        self.event(HostEvent::Machine(id.clone()));
        Ok(())
    }

    fn add_foreign_machine(&mut self, spec: &MachineSpec, now: Millis) -> Result<(), DriverError> {
        self.record_machine_as(&spec.id, spec, now)?;
        self.define_machine(spec, now)?;
        let machine = self.machine_mut(&spec.id)?;
        machine
            .definition
            .disks
            .iter_mut()
            .for_each(|disk| disk.origin = Origin::Foreign);
        machine
            .definition
            .nics
            .iter_mut()
            .for_each(|nic| nic.origin = Origin::Foreign);
        self.erase_mark(&spec.id, MarkState::None)
    }

    fn add_foreign_volume(&mut self, spec: &VolumeSpec) -> Result<(), DriverError> {
        self.create_volume(spec)?;
        let path = self.path_of(&spec.pool, &spec.name);
        if let (VolumeContent::Upload { .. }, Some(volume)) = (&spec.content, self.volumes.get_mut(&path)) {
            volume.content.append(b"somebody's");
        }
        Ok(())
    }

    fn stop_by_other_hand(
        &mut self,
        id: &ObjectId,
        now: Millis,
        into: MachineActivity,
    ) -> Result<(), DriverError> {
        let machine = self.machine_ref(id)?;
        if machine.run().is_none() {
            return Err(refused(
                format!("stopping machine {}", machine.host_name),
                "it does not run",
            ));
        }
        self.end_run(id, now, into);
        Ok(())
    }

    pub(super) fn pause(&mut self, id: &ObjectId, now: Millis) -> Result<(), DriverError> {
        if let Some(run) = self.machine_mut(id)?.run_mut() {
            run.paused_at.get_or_insert(now);
            self.event(HostEvent::Machine(id.clone()));
        }
        Ok(())
    }

    fn set_process(&mut self, id: &ObjectId, process: Process) -> Result<(), DriverError> {
        if let Some(run) = self.machine_mut(id)?.run_mut() {
            run.process = process;
        }
        Ok(())
    }

    fn erase_mark(&mut self, id: &ObjectId, mark: MarkState) -> Result<(), DriverError> {
        match self.machines.get_mut(id) {
            Some(machine) => machine.mark = mark,
            None => self.network_mut(id)?.mark = mark,
        }
        Ok(())
    }
}
