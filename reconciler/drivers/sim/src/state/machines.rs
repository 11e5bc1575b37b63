//! The verbs of machines.

use std::collections::{BTreeMap, BTreeSet};

use labyard_driver::ids::{Bytes, ObjectId};
use labyard_driver::mark::Mark;
use labyard_driver::observed::{Activity, Attachment, Autostart, Cable, Ended, Hardware, ObservedMachine};
use labyard_driver::spec::{
    Accelerator, BootDevice, Choice, CpuModel, DiskFormat, Firmware, Graphics, Guards, Isolation, MachineSpec,
};
use labyard_driver::{DriverError, HostEvent};

use super::guest::{Boots, Course, Process, Run};
use super::view::CPU_MODELS;
use super::{
    Definition, Disk, Machine, MachineActivity, Nic, Origin, State, Volume, busy, exists, refused, stored,
};
use crate::clock::Millis;
use crate::settings::BootMedium;

/// Where the ports of VNC begin.
const FIRST_DISPLAY: u16 = 5900;

impl State {
    pub(crate) fn record_machine(
        &mut self,
        spec: &MachineSpec,
        now: Millis,
    ) -> Result<ObservedMachine, DriverError> {
        let id = self.id(&spec.id);
        self.record_machine_as(&id, spec, now)
    }

    /// Records a machine whose id is decided: by this host, or by whoever works past the driver.
    pub(super) fn record_machine_as(
        &mut self,
        id: &ObjectId,
        spec: &MachineSpec,
        now: Millis,
    ) -> Result<ObservedMachine, DriverError> {
        if self.names.contains_key(&spec.host_name) {
            return Err(exists("machine", &spec.host_name));
        }
        if self.machines.contains_key(id) {
            return Err(exists("machine with the id", id));
        }
        check_hardware(spec)?;
        let bare = MachineSpec {
            id: id.clone(),
            direct_boot: None,
            disks: Vec::new(),
            seed: None,
            media: Vec::new(),
            nics: Vec::new(),
            nvram: None,
            boot_order: Vec::new(),
            ..spec.clone()
        };
        self.insert_machine(Machine {
            id: id.clone(),
            host_name: spec.host_name.clone(),
            mark: stored(&spec.mark),
            autostart: Autostart::Off,
            definition: self.definition_of(&bare)?,
            activity: MachineActivity::Off(None),
        });
        self.machine(id, now)
    }

    pub(super) fn insert_machine(&mut self, machine: Machine) {
        self.event(HostEvent::Machine(machine.id.clone()));
        self.names.insert(machine.host_name.clone(), machine.id.clone());
        self.machines.insert(machine.id.clone(), machine);
    }

    pub(crate) fn define_machine(
        &mut self,
        spec: &MachineSpec,
        now: Millis,
    ) -> Result<ObservedMachine, DriverError> {
        self.answering(&spec.id, "defining")?;
        check_hardware(spec)?;
        let mut definition = self.definition_of(spec)?;
        let machine = self.machine_mut(&spec.id)?;
        definition.keep_foreign(&machine.definition);
        definition.hardware = hardware(spec, &machine.definition.hardware);
        definition.keep_room(&machine.definition, spec);
        definition.keep_apart(&machine.definition);
        definition.keep_screens(&machine.definition);
        machine.definition = definition;
        machine.mark = stored(&spec.mark);
        self.event(HostEvent::Machine(spec.id.clone()));
        self.machine(&spec.id, now)
    }

    pub(crate) fn rename_machine(&mut self, id: &ObjectId, name: &str) -> Result<(), DriverError> {
        let machine = self.machine_ref(id)?;
        if machine.host_name == name {
            return Ok(());
        }
        if self.names.contains_key(name) {
            return Err(exists("machine", name));
        }
        let doing = format!("renaming machine {} to {name}", machine.host_name);
        if name.is_empty() || name.contains(['/', '\n']) {
            return Err(refused(
                doing,
                "the name is empty or has a slash or a new line in it",
            ));
        }
        if !matches!(machine.activity, MachineActivity::Off(_)) {
            return Err(refused(doing, "the machine is not shut off; stop it first"));
        }
        self.event(HostEvent::Machine(id.clone()));
        let old = std::mem::replace(&mut self.machine_mut(id)?.host_name, name.to_owned());
        self.names.remove(&old);
        self.names.insert(name.to_owned(), id.clone());
        Ok(())
    }

    pub(crate) fn set_autostart(&mut self, id: &ObjectId, autostart: Autostart) -> Result<(), DriverError> {
        self.answering(id, "changing the autostart of")?;
        self.machine_mut(id)?.autostart = autostart;
        Ok(())
    }

    pub(super) fn definition_of(&self, spec: &MachineSpec) -> Result<Definition, DriverError> {
        let disks = spec.disks.iter().map(|disk| {
            Ok(Disk {
                target: disk.target.clone(),
                path: self.path_in(&disk.pool, &disk.volume)?,
                boot: place(spec, &BootDevice::Disk(disk.key.clone())),
                bus: disk.bus,
                format: disk.format,
                origin: Origin::Ours,
            })
        });
        let seed = spec
            .seed
            .iter()
            .map(|seed| Ok((seed.target.clone(), Some(self.path_in(&seed.pool, &seed.volume)?))));
        let drives = spec.media.iter().map(|drive| {
            let medium = drive
                .medium
                .as_ref()
                .map(|(pool, volume)| self.path_in(pool, volume));
            Ok((drive.target.clone(), medium.transpose()?))
        });
        let in_pool =
            |error: DriverError| refused(format!("defining machine {}", spec.host_name), error.to_string());
        Ok(Definition {
            cpus: spec.cpus,
            cpus_max: spec.cpus_max.unwrap_or(spec.cpus),
            memory: spec.memory,
            memory_max: spec.memory_max.unwrap_or(spec.memory),
            firmware: spec.firmware,
            guards: spec.guards,
            nvram: spec
                .nvram
                .as_ref()
                .map(|nvram| self.path_in(&nvram.pool, &nvram.volume))
                .transpose()
                .map_err(in_pool)?,
            accelerator: spec.accelerator,
            direct_boot: spec.direct_boot.clone(),
            disks: disks.collect::<Result<_, DriverError>>().map_err(in_pool)?,
            hardware: hardware(spec, &Hardware::default()),
            cdroms: seed
                .chain(drives)
                .collect::<Result<BTreeMap<_, _>, DriverError>>()
                .map_err(in_pool)?,
            drive_boot: spec
                .media
                .iter()
                .filter_map(|drive| {
                    let place = place(spec, &BootDevice::Drive(drive.key.clone()))?;
                    Some((drive.target.clone(), place))
                })
                .collect(),
            nics: spec
                .nics
                .iter()
                .map(|nic| Nic {
                    mac: nic.mac,
                    attachment: nic.attachment.clone(),
                    vlan: nic.vlan,
                    isolation: nic.isolation,
                    screen: None,
                    cable: Cable::AsDefined,
                    boot: place(spec, &BootDevice::Nic(nic.key.clone())),
                    model: nic.model,
                    origin: Origin::Ours,
                })
                .collect(),
        })
    }

    pub(crate) fn write_mark(&mut self, id: &ObjectId, mark: &Mark) -> Result<(), DriverError> {
        self.answering(id, "marking")?;
        self.machine_mut(id)?.mark = stored(mark);
        Ok(())
    }

    pub(crate) fn start_machine(&mut self, id: &ObjectId, now: Millis) -> Result<(), DriverError> {
        let machine = self.machine_mut(id)?;
        if let Some(run) = machine.run_mut() {
            if let Some(paused) = run.paused_at.take() {
                run.started += now.saturating_sub(paused);
                run.inside.stood_still(paused, now);
                self.event(HostEvent::Machine(id.clone()));
                self.schedule(id);
            }
            return Ok(());
        }
        let (name, definition) = (machine.host_name.clone(), machine.definition.clone());
        let doing = format!("starting machine {name}");
        self.check_startable(&definition)
            .map_err(|message| refused(doing, message))?;
        self.locks.extend(
            definition
                .disks
                .iter()
                .map(|disk| (disk.path.clone(), id.clone())),
        );
        let settings = &self.settings.guest;
        let boots = match settings.boot_medium == BootMedium::NotNeeded || self.can_boot(&definition) {
            true => Boots::Yes,
            false => Boots::NothingToBoot,
        };
        let cmdline = definition
            .direct_boot
            .as_ref()
            .and_then(|boot| boot.cmdline.as_deref());
        let course = Course::new(settings, cmdline, boots);
        self.runs += 1;
        let mut run = Run::new(self.runs, now, definition, course);
        run.vnc_port = self.display_port(&run.definition.hardware);
        self.machine_mut(id)?.activity = MachineActivity::On(Box::new(run));
        self.event(HostEvent::Machine(id.clone()));
        self.schedule(id);
        Ok(())
    }

    /// The lowest port that no other display has, for a machine that starts with one.
    pub(super) fn display_port(&self, hardware: &Hardware) -> Option<u16> {
        if hardware.graphics == Graphics::None {
            return None;
        }
        let runs = self.machines.values().filter_map(Machine::run);
        let taken: BTreeSet<_> = runs.filter_map(|run| run.vnc_port).collect();
        (FIRST_DISPLAY..=u16::MAX).find(|port| !taken.contains(port))
    }

    /// What libvirt looks at when a machine starts, not before.
    pub(super) fn check_startable(&self, definition: &Definition) -> Result<(), String> {
        let mut locked = BTreeSet::new();
        for disk in &definition.disks {
            self.check_file(&disk.path)?;
            let is_raw = |volume: &Volume| volume.format == DiskFormat::Raw;
            if disk.format == DiskFormat::Qcow2 && self.volumes.get(&disk.path).is_some_and(is_raw) {
                return Err(format!("'{}': Image is not in qcow2 format", disk.path));
            }
            if self.locks.contains_key(&disk.path) || !locked.insert(&disk.path) {
                return Err(format!(
                    "Failed to get \"write\" lock: is another process using {}?",
                    disk.path
                ));
            }
        }
        definition
            .cdroms
            .values()
            .flatten()
            .chain(&definition.nvram)
            .try_for_each(|path| self.check_file(path))?;
        if let Some(boot) = &definition.direct_boot {
            let files = [Some(&boot.kernel), boot.initrd.as_ref()];
            files
                .into_iter()
                .flatten()
                .try_for_each(|path| self.check_file(path))?;
        }
        definition.nics.iter().try_for_each(|nic| {
            self.check_attachment(&nic.attachment)
                .and_then(|()| self.check_screen(nic))
        })
    }

    pub(super) fn check_attachment(&self, attachment: &Attachment) -> Result<(), String> {
        match attachment {
            Attachment::Network(name) => match self.network_named(name).map(|network| network.active) {
                Some(Activity::Active) => Ok(()),
                Some(Activity::Inactive) => Err(format!("network '{name}' is not active")),
                None => Err(format!("no network with the name '{name}'")),
            },
            Attachment::Bridge(name) if !self.has_bridge(name) => {
                Err(format!("Cannot get interface MTU on '{name}': No such device"))
            }
            Attachment::Bridge(_) | Attachment::Other(_) => Ok(()),
        }
    }

    pub(crate) fn request_shutdown(&mut self, id: &ObjectId, now: Millis) -> Result<(), DriverError> {
        self.answering(id, "shutting down")?;
        let Some(run) = self.machine_mut(id)?.run_mut() else {
            return Ok(());
        };
        if run.shutdown_due.is_none() {
            run.shutdown_due = run.heeds_shutdown(now);
            self.schedule(id);
        }
        Ok(())
    }

    pub(crate) fn power_off(&mut self, id: &ObjectId, now: Millis) -> Result<(), DriverError> {
        let machine = self.machine_mut(id)?;
        match &machine.activity {
            MachineActivity::Off(_) => {}
            MachineActivity::Saved | MachineActivity::Crashed => {
                machine.activity = MachineActivity::Off(None);
                self.event(HostEvent::Machine(id.clone()));
            }
            MachineActivity::On(_) => self.end_run(id, now, MachineActivity::Off(Some(Ended::ByForce))),
        }
        Ok(())
    }

    pub(crate) fn remove_machine(&mut self, id: &ObjectId) -> Result<(), DriverError> {
        let Some(machine) = self.machines.get(id) else {
            return Ok(());
        };
        if machine.run().is_some() {
            let doing = format!("removing machine {}", machine.host_name);
            return Err(refused(doing, "the machine is running; stop it first"));
        }
        self.forget_machine(id);
        Ok(())
    }

    pub(super) fn forget_machine(&mut self, id: &ObjectId) {
        if let Some(machine) = self.machines.remove(id) {
            self.names.remove(&machine.host_name);
            self.event(HostEvent::Machine(id.clone()));
        }
    }

    pub(crate) fn change_medium(&mut self, spec: &MachineSpec) -> Result<(), DriverError> {
        self.answering(&spec.id, "changing the medium of")?;
        let doing = format!("changing the medium of machine {}", spec.host_name);
        let wanted = self.definition_of(spec)?.cdroms;
        let machine = self.machine_ref(&spec.id)?;
        if machine.run().is_some() {
            let mut paths = wanted.values().flatten();
            paths
                .try_for_each(|path| self.check_file(path))
                .map_err(|message| refused(doing, message))?;
        }
        let machine = self.machine_mut(&spec.id)?;
        machine.definition.cdroms.clone_from(&wanted);
        if let Some(run) = machine.run_mut() {
            run.definition.cdroms = wanted;
        }
        Ok(())
    }

    pub(crate) fn grow_disk(
        &mut self,
        id: &ObjectId,
        target: &str,
        capacity: Bytes,
    ) -> Result<(), DriverError> {
        self.answering(id, "growing a disk of")?;
        let machine = self.machine_ref(id)?;
        let doing = format!("growing disk {target} of machine {}", machine.host_name);
        let definition = machine.run().map_or(&machine.definition, |run| &run.definition);
        let disk = definition.disks.iter().find(|disk| disk.target == target);
        let path = disk.map(|disk| disk.path.clone());
        let path = path.ok_or_else(|| refused(doing.as_str(), "there is no such disk"))?;
        self.grow_file(&path, capacity, &doing)
    }

    /// Refuses to wait for a machine whose process hangs.
    pub(super) fn answering(&self, id: &ObjectId, verb: &str) -> Result<(), DriverError> {
        let machine = self.machine_ref(id)?;
        match machine.run().map(|run| run.process) {
            Some(Process::Hangs) => Err(busy(
                format!("{verb} machine {}", machine.host_name),
                "cannot acquire state change lock",
            )),
            Some(Process::Answers) | None => Ok(()),
        }
    }
}

impl Run {
    fn heeds_shutdown(&self, now: Millis) -> Option<Millis> {
        let ignores = self.course.ignores_shutdown() || !self.is_up(now);
        (!ignores).then(|| now + self.course.shutdown_time())
    }
}

impl Definition {
    /// A NIC that was kept apart stays so: to be open is not asked for.
    fn keep_apart(&mut self, before: &Self) {
        for nic in &mut self.nics {
            let there = before.nics.iter().find(|there| there.mac == nic.mac);
            if there.is_some_and(|there| there.isolation == Isolation::Apart) {
                nic.isolation = Isolation::Apart;
            }
        }
    }

    /// Keeps room that was there where none is asked for and what is in it fits.
    fn keep_room(&mut self, before: &Self, spec: &MachineSpec) {
        if spec.cpus_max.is_none() && before.cpus_max > before.cpus {
            self.cpus_max = before.cpus_max.max(self.cpus);
        }
        if spec.memory_max.is_none() && before.memory_max > before.memory && before.memory_max >= self.memory
        {
            self.memory_max = before.memory_max;
        }
    }

    /// Takes over the devices that labyard did not make, unless one of its own has their place.
    fn keep_foreign(&mut self, before: &Self) {
        let foreign = |disk: &&Disk| disk.origin == Origin::Foreign;
        for disk in before.disks.iter().filter(foreign) {
            if !self.disks.iter().any(|own| own.target == disk.target) {
                self.disks.push(disk.clone());
            }
        }
        for nic in before.nics.iter().filter(|nic| nic.origin == Origin::Foreign) {
            if !self.nics.iter().any(|own| own.mac == nic.mac) {
                self.nics.push(nic.clone());
            }
        }
    }
}

/// The place of a device in the boot order; without one it is the disks' own.
fn place(spec: &MachineSpec, device: &BootDevice) -> Option<u32> {
    let index = if spec.boot_order.is_empty() {
        spec.disks
            .iter()
            .position(|disk| *device == BootDevice::Disk(disk.key.clone()))
    } else {
        spec.boot_order.iter().position(|listed| listed == device)
    };
    index.and_then(|index| u32::try_from(index + 1).ok())
}

/// The hardware that a specification makes of what stands; a record has the hypervisor's own.
fn hardware(spec: &MachineSpec, before: &Hardware) -> Hardware {
    let usual = spec.accelerator.usual_cpu();
    Hardware {
        machine_type: Some(before.machine_type.unwrap_or(spec.machine_type)),
        cpu_model: match &spec.cpu.model {
            Choice::AsFound => before.cpu_model.clone().or(Some(usual)),
            Choice::Default => Some(usual),
            Choice::Is(model) => Some(model.clone()),
        },
        nested: match spec.cpu.nested {
            Choice::AsFound => before.nested,
            Choice::Default => None,
            Choice::Is(nested) => Some(nested),
        },
        graphics: spec.graphics,
        serial: spec.serial.clone().or_else(|| before.serial.clone()),
    }
}

fn check_hardware(spec: &MachineSpec) -> Result<(), DriverError> {
    let refuse = |message: &str| Err(refused(format!("defining machine {}", spec.host_name), message));
    if spec.host_name.is_empty() || spec.host_name.contains(['/', '\n']) {
        return refuse("the name is empty or has a slash or a new line in it");
    }
    if spec.cpus_max.is_some_and(|most| most < spec.cpus)
        || spec.memory_max.is_some_and(|most| most < spec.memory)
    {
        return refuse("a machine has more than it may have");
    }
    if spec.cpus == 0 || spec.memory.0 == 0 {
        return refuse("a machine needs at least one processor and some memory");
    }
    if spec.firmware == Firmware::Bios && spec.guards != Guards::default() {
        return refuse("secure boot and an emulated TPM need UEFI");
    }
    match &spec.cpu.model {
        Choice::Is(CpuModel::HostPassthrough) if spec.accelerator == Accelerator::Qemu => {
            return refuse("CPU mode 'host-passthrough' is only supported with kvm");
        }
        Choice::Is(CpuModel::Named(name)) if !CPU_MODELS.contains(&name.as_str()) => {
            return refuse(&format!("Unknown CPU model {name}"));
        }
        _ => {}
    }
    let seed = spec.seed.iter().map(|seed| &seed.target);
    let drives = spec.media.iter().map(|drive| &drive.target);
    let mut targets = BTreeSet::new();
    match spec
        .disks
        .iter()
        .map(|disk| &disk.target)
        .chain(seed)
        .chain(drives)
        .all(|target| targets.insert(target))
    {
        true => Ok(()),
        false => refuse("two devices have the same target"),
    }
}
