//! Changes of machines that run: what is plugged in, unplugged, moved and given.

use labyard_driver::ids::{DiskKey, Mib, NicKey, ObjectId};
use labyard_driver::observed::{Cable, Room, ScsiController};
use labyard_driver::spec::{DiskBus, LiveChange, MachineSpec, NicSpec};
use labyard_driver::{DriverError, HostEvent};

use super::guest::Run;
use super::{Definition, Disk, Machine, Nic, State, refused};
use crate::clock::Millis;

impl Definition {
    /// How many ports its devices take.
    pub(super) fn plugged(&self) -> usize {
        let disks = self.disks.iter().filter(|disk| disk.bus == DiskBus::Virtio);
        let nics = self.nics.iter().filter(|nic| nic.model.plugs_in());
        disks.count() + nics.count()
    }

    /// Whether something in it needs a controller for scsi.
    pub(super) fn needs_scsi(&self) -> bool {
        !self.cdroms.is_empty() || self.disks.iter().any(|disk| disk.bus == DiskBus::Scsi)
    }
}

impl Run {
    /// What it can take.
    pub(super) fn room(&self) -> Room {
        let free = self.ports.saturating_sub(self.definition.plugged());
        Room {
            cpus: self.definition.cpus_max,
            memory: self.definition.memory_max,
            ports: u32::try_from(free).unwrap_or(u32::MAX),
            scsi: self.scsi,
        }
    }

    /// Its memory: all of it until the guest's driver has set the balloon.
    pub(super) fn memory(&self, now: Millis) -> Mib {
        let until = self.paused_at.unwrap_or(now);
        match self.course.has_balloon() && until >= self.started + self.course.up_after() {
            true => self.definition.memory,
            false => self.definition.memory_max,
        }
    }

    fn takes_port(&self, doing: &str) -> Result<(), DriverError> {
        match self.room().ports {
            0 => Err(refused(doing, "No more available PCI slots")),
            _ => Ok(()),
        }
    }
}

impl State {
    pub(crate) fn change_live(
        &mut self,
        spec: &MachineSpec,
        change: &LiveChange,
        now: Millis,
    ) -> Result<(), DriverError> {
        self.answering(&spec.id, "changing")?;
        let id = &spec.id;
        match change {
            LiveChange::UnplugDisk(target) => self.unplug(id, target, now)?,
            LiveChange::UnplugNic(mac) => self.unplug(id, &mac.to_string(), now)?,
            _ if self.machine_ref(id)?.run().is_none() => return Ok(()),
            LiveChange::PlugDisk(key) => self.plug_disk(spec, key)?,
            LiveChange::PlugNic(key) => self.plug_nic(spec, key)?,
            LiveChange::MoveNic(key) => self.move_nic(spec, key, now)?,
            LiveChange::Cpus | LiveChange::Memory => self.give(spec, change)?,
        }
        self.event(HostEvent::Machine(id.clone()));
        Ok(())
    }

    /// The run of a machine that was seen running.
    fn running(&mut self, id: &ObjectId) -> Result<&mut Run, DriverError> {
        let machine = self.machine_mut(id)?;
        let doing = format!("changing machine {}", machine.host_name);
        machine
            .run_mut()
            .ok_or_else(|| refused(doing, "the machine is not running"))
    }

    /// Asks the guest; a device that is gone from what runs goes from the definition too.
    fn unplug(&mut self, id: &ObjectId, device: &str, now: Millis) -> Result<(), DriverError> {
        let machine = self.machine_mut(id)?;
        let Some(run) = machine.run_mut() else {
            machine.definition.remove(device);
            return Ok(());
        };
        let stays_on_bus = run
            .definition
            .disks
            .iter()
            .any(|d| d.target == device && d.bus == DiskBus::Sata)
            || run
                .definition
                .nics
                .iter()
                .any(|n| n.mac.to_string() == device && !n.model.plugs_in());
        if stays_on_bus {
            let doing = format!("unplugging {device} of machine {}", machine.host_name);
            return Err(refused(doing, "this type of device cannot be hot unplugged"));
        }
        if !run.definition.has(device) {
            machine.definition.remove(device);
            return Ok(());
        }
        run.unplugging.insert(device.to_owned());
        if run.is_up(now) {
            self.let_go(id);
            let machine = self.machine_mut(id)?;
            if machine.run().is_some_and(|run| !run.definition.has(device)) {
                machine.definition.remove(device);
            }
        }
        Ok(())
    }

    /// The guest lets go what it was asked for.
    pub(super) fn let_go(&mut self, id: &ObjectId) {
        let Some(run) = self.machines.get_mut(id).and_then(Machine::run_mut) else {
            return;
        };
        if !run.course.lets_go() {
            return;
        }
        let devices = std::mem::take(&mut run.unplugging);
        if devices.is_empty() {
            return;
        }
        let paths: Vec<_> = run
            .definition
            .disks
            .iter()
            .filter(|d| devices.contains(&d.target))
            .map(|d| d.path.clone())
            .collect();
        devices.iter().for_each(|device| run.definition.remove(device));
        self.locks
            .retain(|path, holder| holder != id || !paths.contains(path));
        self.event(HostEvent::Machine(id.clone()));
    }

    fn plug_disk(&mut self, spec: &MachineSpec, key: &DiskKey) -> Result<(), DriverError> {
        let doing = format!("plugging disk {key} into machine {}", spec.host_name);
        let at = spec.disks.iter().position(|disk| &disk.key == key);
        let wanted = self.definition_of(spec)?.disks;
        let Some(disk) = at.and_then(|at| wanted.get(at)).cloned() else {
            return Err(refused(doing, "there is no such disk"));
        };
        let run = self.running(&spec.id)?;
        let same = |d: &Disk| d.target == disk.target;
        match run.definition.disks.iter().find(|d| same(d)) {
            Some(there) if there.path == disk.path => return Ok(()),
            Some(_) => return Err(refused(doing, format!("target {} already exists", disk.target))),
            None => {}
        }
        match disk.bus {
            DiskBus::Virtio => run.takes_port(&doing)?,
            DiskBus::Scsi if run.scsi == ScsiController::Missing => {
                return Err(refused(doing, "there is no scsi controller"));
            }
            DiskBus::Scsi | DiskBus::Usb => {}
            DiskBus::Sata => return Err(refused(doing, "disk bus 'sata' cannot be hotplugged")),
        }
        let check = match self.locks.contains_key(&disk.path) {
            true => Err("Failed to get \"write\" lock".to_owned()),
            false => self.check_file(&disk.path),
        };
        check.map_err(|message| refused(doing, message))?;
        self.locks.insert(disk.path.clone(), spec.id.clone());
        self.running(&spec.id)?.definition.disks.push(disk);
        Ok(())
    }

    fn plug_nic(&mut self, spec: &MachineSpec, key: &NicKey) -> Result<(), DriverError> {
        let doing = format!("plugging NIC {key} into machine {}", spec.host_name);
        let nic = self.wanted_nic(spec, key, &doing)?;
        let run = self.running(&spec.id)?;
        if run.definition.nics.iter().any(|there| there.mac == nic.mac) {
            return Ok(());
        }
        if !nic.model.plugs_in() {
            return Err(refused(doing, "this model cannot be hotplugged"));
        }
        run.takes_port(&doing)?;
        self.check_attachment(&nic.attachment)
            .map_err(|message| refused(doing, message))?;
        self.running(&spec.id)?.definition.nics.push(nic);
        self.hand_out_leases(&spec.id);
        Ok(())
    }

    fn move_nic(&mut self, spec: &MachineSpec, key: &NicKey, now: Millis) -> Result<(), DriverError> {
        let doing = format!("moving NIC {key} of machine {}", spec.host_name);
        let nic = self.wanted_nic(spec, key, &doing)?;
        self.check_attachment(&nic.attachment)
            .map_err(|message| refused(doing.as_str(), message))?;
        let run = self.running(&spec.id)?;
        let there = run.definition.nics.iter_mut().find(|there| there.mac == nic.mac);
        let there = there.ok_or_else(|| refused(doing, "there is no such NIC"))?;
        there.cable = Cable::AsDefined;
        if there.attachment != nic.attachment {
            let before = std::mem::replace(&mut there.attachment, nic.attachment);
            self.end_lease(nic.mac, &before, now);
            self.hand_out_leases(&spec.id);
        }
        Ok(())
    }

    pub(crate) fn attach_nic(
        &mut self,
        id: &ObjectId,
        nic: &NicSpec,
        now: Millis,
    ) -> Result<(), DriverError> {
        self.answering(id, "moving a card of")?;
        let doing = format!("moving NIC {} of machine {id}", nic.key);
        self.check_attachment(&nic.attachment)
            .map_err(|message| refused(doing.as_str(), message))?;
        let machine = self.machine_mut(id)?;
        let defined = machine
            .definition
            .nics
            .iter_mut()
            .find(|there| there.mac == nic.mac);
        let defined = defined.ok_or_else(|| refused(doing, "there is no such NIC"))?;
        if defined.attachment != nic.attachment {
            (defined.attachment, defined.screen) = (nic.attachment.clone(), None);
        }
        defined.isolation = nic.isolation;
        let live = machine
            .run_mut()
            .into_iter()
            .flat_map(|run| &mut run.definition.nics);
        if let Some(there) = live.into_iter().find(|there| there.mac == nic.mac) {
            (there.cable, there.isolation) = (Cable::AsDefined, nic.isolation);
            if there.attachment != nic.attachment {
                there.screen = None;
                let before = std::mem::replace(&mut there.attachment, nic.attachment.clone());
                self.end_lease(nic.mac, &before, now);
                self.hand_out_leases(id);
            }
        }
        self.event(HostEvent::Machine(id.clone()));
        Ok(())
    }

    fn wanted_nic(&self, spec: &MachineSpec, key: &NicKey, doing: &str) -> Result<Nic, DriverError> {
        let at = spec.nics.iter().position(|nic| &nic.key == key);
        let wanted = self.definition_of(spec)?.nics;
        let nic = at.and_then(|at| wanted.get(at)).cloned();
        nic.ok_or_else(|| refused(doing, "there is no such NIC"))
    }

    fn give(&mut self, spec: &MachineSpec, change: &LiveChange) -> Result<(), DriverError> {
        let doing = format!("giving more to machine {}", spec.host_name);
        let definition = &mut self.running(&spec.id)?.definition;
        if *change == LiveChange::Cpus {
            if spec.cpus > definition.cpus_max {
                return Err(refused(
                    doing,
                    "requested vcpus is greater than max allowable vcpus",
                ));
            }
            definition.cpus = definition.cpus.max(spec.cpus);
        } else {
            if spec.memory > definition.memory_max {
                return Err(refused(doing, "cannot set memory higher than max memory"));
            }
            definition.memory = spec.memory;
        }
        Ok(())
    }
}

impl Definition {
    /// Whether it has a device, by target or MAC.
    fn has(&self, device: &str) -> bool {
        self.disks.iter().any(|disk| disk.target == device)
            || self.nics.iter().any(|nic| nic.mac.to_string() == device)
    }

    fn remove(&mut self, device: &str) {
        self.disks.retain(|disk| disk.target != device);
        self.nics.retain(|nic| nic.mac.to_string() != device);
    }
}
