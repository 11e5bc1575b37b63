//! The way of a running machine to a specification: changes that it takes while it runs, or a restart. Pure.

use labyard_driver::ids::{DiskKey, MacAddr, Mib, NicKey};
use labyard_driver::observed::{Cable, Hardware, MachineDetail, ObservedDisk, ObservedNic};
use labyard_driver::spec::{Choice, DiskSpec, LiveChange, MachineSpec, NicSpec};

use crate::boot_order;
use crate::room::{self, Need, Ports};
use crate::view::settled_memory;

/// What brings a running machine to a specification.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Way {
    /// These, one after another; none where only the definition differs, or nothing does.
    Live(Vec<LiveChange>),
    /// A restart.
    Restart(&'static str),
}

/// Decides the way. What leaves comes first, since it makes room.
pub fn way(spec: &MachineSpec, detail: &MachineDetail) -> Way {
    match changes(spec, detail) {
        Ok(changes) => Way::Live(changes),
        Err(why) => Way::Restart(why),
    }
}

fn changes(spec: &MachineSpec, detail: &MachineDetail) -> Result<Vec<LiveChange>, &'static str> {
    if detail.direct_boot != spec.direct_boot {
        return Err("another kernel is booted at its next start");
    }
    let shown = [Some(&detail.hardware), detail.live_hardware.as_ref()];
    let other = |live: &Hardware| *live != detail.hardware;
    if !shown.into_iter().flatten().all(|there| fits(spec, there))
        || detail.live_hardware.as_ref().is_some_and(other)
    {
        return Err("processor, display and serial number are those of its next start");
    }
    if detail.guards != spec.guards || other_nvram(spec, detail) {
        return Err("its firmware is set up anew at its next start");
    }
    if !boot_order::holds(spec, detail) {
        return Err("the boot order counts at a start");
    }
    let mut ports = Ports::of(detail.room.as_ref());
    let mut changes = Vec::new();
    for disk in live_disks(detail).filter(|disk| is_unwanted(disk, spec)) {
        granted(ports.leaves_disk(disk.bus))?;
        changes.push(LiveChange::UnplugDisk(disk.target.clone()));
    }
    for nic in live_nics(detail).filter(|nic| is_replaced(nic, spec)) {
        granted(ports.leaves_nic(nic.model))?;
        changes.push(LiveChange::UnplugNic(nic.mac));
    }
    for disk in &spec.disks {
        match live_disks(detail).find(|there| is_it(there, disk)) {
            Some(there) if there.bus.is_some_and(|bus| bus != disk.bus) => granted(ports.moves_disk())?,
            Some(_) => {}
            None => {
                granted(ports.takes_disk(disk.bus))?;
                changes.push(LiveChange::PlugDisk(disk.key.clone()));
            }
        }
    }
    for nic in &spec.nics {
        match live_nics(detail).find(|there| there.mac == nic.mac && !is_replaced(there, spec)) {
            None => {
                granted(ports.takes_nic(nic.model))?;
                changes.push(LiveChange::PlugNic(nic.key.clone()));
            }
            Some(there) if there.vlan != nic.vlan => granted(ports.retags_nic())?,
            Some(there) if !is_plugged_in(there, nic) => {
                granted(ports.moves_nic())?;
                changes.push(LiveChange::MoveNic(nic.key.clone()));
            }
            Some(_) => {}
        }
    }
    changes.extend(hardware(spec, detail)?);
    Ok(changes)
}

/// Whether processor, display and serial number are as asked for.
pub(crate) fn fits(spec: &MachineSpec, there: &Hardware) -> bool {
    let model = match &spec.cpu.model {
        Choice::AsFound => true,
        Choice::Default => there.cpu_model == Some(spec.accelerator.usual_cpu()),
        Choice::Is(model) => there.cpu_model.as_ref() == Some(model),
    };
    let nested = match spec.cpu.nested {
        Choice::AsFound => true,
        Choice::Default => there.nested.is_none(),
        Choice::Is(nested) => there.nested == Some(nested),
    };
    let serial = spec.serial.is_none() || there.serial == spec.serial;
    model && nested && serial && there.graphics == spec.graphics
}

/// Whether the machine is to keep its firmware's variables in another file than it does.
pub(crate) fn other_nvram(spec: &MachineSpec, detail: &MachineDetail) -> bool {
    let there = detail.nvram.as_ref().and_then(|nvram| nvram.volume.as_ref());
    let wanted = spec.nvram.as_ref().map(|nvram| &nvram.volume);
    wanted.is_some() && wanted != there
}

fn hardware(spec: &MachineSpec, detail: &MachineDetail) -> Result<Vec<LiveChange>, &'static str> {
    let room = detail.room.as_ref();
    let mut changes = Vec::new();
    if let Some(most) = spec.cpus_max {
        granted(room::cpus_max(most, room))?;
    }
    if let Some(most) = spec.memory_max {
        granted(room::memory_max(most, room))?;
    }
    let cpus = detail.live_cpus.unwrap_or(detail.cpus);
    if cpus != spec.cpus {
        granted(room::cpus(spec.cpus, cpus, room))?;
        changes.push(LiveChange::Cpus);
    }
    if detail.memory != spec.memory || settled_memory(detail).is_some_and(|live| live != spec.memory) {
        granted(room::memory(spec.memory, spec.memory_max, detail.memory, room))?;
        changes.push(LiveChange::Memory);
    }
    Ok(changes)
}

fn granted(need: Need) -> Result<(), &'static str> {
    match need {
        Need::Nothing => Ok(()),
        Need::Restart(why) => Err(why),
    }
}

fn live_disks(detail: &MachineDetail) -> impl Iterator<Item = &ObservedDisk> {
    detail.disks.iter().filter(|disk| disk.standing.is_live())
}

fn live_nics(detail: &MachineDetail) -> impl Iterator<Item = &ObservedNic> {
    detail.nics.iter().filter(|nic| nic.standing.is_live())
}

fn is_it(there: &ObservedDisk, disk: &DiskSpec) -> bool {
    there.volume.as_ref() == Some(&disk.volume) && there.pool.as_ref() == Some(&disk.pool)
}

/// Disks outside of the pools are not labyard's: they stay as they are.
fn is_unwanted(disk: &ObservedDisk, spec: &MachineSpec) -> bool {
    disk.volume.is_some() && spec.disks.iter().all(|wanted| !is_it(disk, wanted))
}

/// Whether a card is wanted no more, or another kind of card in its place.
fn is_replaced(nic: &ObservedNic, spec: &MachineSpec) -> bool {
    match spec.nics.iter().find(|wanted| wanted.mac == nic.mac) {
        None => true,
        Some(wanted) => nic.model.is_some_and(|model| model != wanted.model),
    }
}

/// Whether a running machine's card is on its network, with its cable: a move pulls that out and puts it in again.
fn is_plugged_in(there: &ObservedNic, nic: &NicSpec) -> bool {
    there.live_attachment.as_ref() == Some(&nic.attachment) && there.cable == Cable::AsDefined
}

/// Whether a machine shows that a change is done.
pub fn is_done(change: &LiveChange, spec: &MachineSpec, detail: &MachineDetail) -> bool {
    match change {
        LiveChange::UnplugDisk(target) => live_disks(detail).all(|disk| &disk.target != target),
        LiveChange::UnplugNic(mac) => live_nics(detail).all(|nic| nic.mac != *mac),
        LiveChange::PlugDisk(key) => {
            disk_of(spec, key).is_some_and(|disk| live_disks(detail).any(|there| is_it(there, disk)))
        }
        LiveChange::PlugNic(key) => {
            nic_of(spec, key).is_some_and(|nic| live_nics(detail).any(|there| there.mac == nic.mac))
        }
        LiveChange::MoveNic(key) => nic_of(spec, key).is_some_and(|nic| {
            live_nics(detail).any(|there| there.mac == nic.mac && is_plugged_in(there, nic))
        }),
        LiveChange::Cpus => detail.live_cpus == Some(spec.cpus),
        LiveChange::Memory => detail
            .live_memory
            .is_some_and(|live| has_memory(live, spec, detail)),
    }
}

/// A guest whose balloon is not at work has all of the room, which is no less than what was asked for.
fn has_memory(live: Mib, spec: &MachineSpec, detail: &MachineDetail) -> bool {
    let grows = spec.memory >= detail.memory;
    live == spec.memory || (grows && detail.room.is_some_and(|room| live == room.memory))
}

fn disk_of<'a>(spec: &'a MachineSpec, key: &DiskKey) -> Option<&'a DiskSpec> {
    spec.disks.iter().find(|disk| &disk.key == key)
}

fn nic_of<'a>(spec: &'a MachineSpec, key: &NicKey) -> Option<&'a NicSpec> {
    spec.nics.iter().find(|nic| &nic.key == key)
}

/// What a change is about, as the path of its attribute.
pub fn attribute_of(change: &LiveChange, spec: &MachineSpec) -> String {
    let disk_at = |target: &str| {
        let leaving = spec.mark.leaving.disks.iter();
        let found = leaving
            .chain(&spec.mark.disks)
            .find(|(_, disk)| disk.target == target);
        found.map_or_else(|| target.to_owned(), |(key, _)| key.to_string())
    };
    let nic_at = |mac: &MacAddr| {
        let leaving = spec.mark.leaving.nics.iter();
        let found = leaving.chain(&spec.mark.nics).find(|(_, nic)| nic.mac == *mac);
        found.map_or_else(|| mac.to_string(), |(key, _)| key.to_string())
    };
    match change {
        LiveChange::UnplugDisk(target) => format!("disks[{:?}]", disk_at(target)),
        LiveChange::UnplugNic(mac) => format!("nics[{:?}]", nic_at(mac)),
        LiveChange::PlugDisk(key) => format!("disks[{:?}]", key.as_str()),
        LiveChange::PlugNic(key) => format!("nics[{:?}]", key.as_str()),
        LiveChange::MoveNic(key) => format!("nics[{:?}].network", key.as_str()),
        LiveChange::Cpus => "cpus".to_owned(),
        LiveChange::Memory => "memory_mib".to_owned(),
    }
}
