//! The changes that bring a machine from what it is to what it shall be.

use labyard_driver::ids::{Bytes, DiskKey, NicKey};
use labyard_driver::lan::VlanId;
use labyard_driver::mark::{CloneMode, ImageMark, OnRemove};
use labyard_driver::observed::Power;
use labyard_driver::spec::{Firmware, SecureBoot, Tpm};

use super::kit::{hardware, kept, media};
use super::{Change, DiskChange, Disturbance, NicChange, What};
use crate::desired::{
    DesiredDisk, DesiredImage, DesiredMachine, DesiredNic, DesiredPower, FixedAddress, SeedVersion,
    default_on_remove,
};
use crate::room::{self, Need, Ports};
use crate::view::{DiskView, MachineView, NicView, Owner, Pending, SeedView};

/// The changes, in the order of the attributes; none where the machine is as it shall be.
pub fn diff(desired: &DesiredMachine, current: &MachineView) -> Vec<Change> {
    let mut changes = Vec::new();
    // Of a machine that does not run nothing is disturbed by a new definition.
    let restart = if runs(current.power) {
        Disturbance::Restart
    } else {
        Disturbance::Live
    };
    // A paused machine's guest lets nothing go, and a saved one takes nothing.
    let ports = match current.power {
        Power::Running => Ports::of(current.room.as_ref()),
        Power::Paused | Power::Saved => Ports::none(),
        Power::Stopped | Power::Crashed => Ports::unlimited(),
    };
    name(desired, current, restart, &mut changes);
    growth(desired, current, restart, &mut changes);
    definition(desired, current, restart, &mut changes);
    hardware(desired, current, restart, &mut changes);
    devices(desired, current, ports, &mut changes);
    media(&desired.media, &current.media, ports.reorders(), &mut changes);
    seed(desired, current, &mut changes);
    power(desired, current, &mut changes);
    kept(desired, current, &mut changes);
    if current.owner == Owner::Foreign {
        changes.push(attribute(
            "owned",
            "false",
            "true",
            Disturbance::Live,
            "the machine gets labyard's mark",
        ));
    }
    changes
}

/// Whether a machine has live state that a restart would disturb.
pub fn runs(power: Power) -> bool {
    matches!(power, Power::Running | Power::Paused | Power::Saved)
}

/// Processors and memory. What is compared is the definition or what runs, whichever is not as it shall be.
fn growth(desired: &DesiredMachine, current: &MachineView, restart: Disturbance, changes: &mut Vec<Change>) {
    let running = current.power == Power::Running;
    let room = current.room.as_ref().filter(|_| running);
    let say = |need: Need| match need {
        Need::Nothing => Disturbance::Live,
        Need::Restart(_) => restart,
    };
    let mut push = |name, from: String, to: String, need: Need| {
        changes.push(attribute(name, from, to, say(need), need.why()));
    };
    if let Some(most) = desired.cpus_max.filter(|most| *most != current.cpus_max) {
        let need = room::cpus_max(most, room);
        push("cpus_max", current.cpus_max.to_string(), most.to_string(), need);
    }
    if let Some(most) = desired.memory_max.filter(|most| *most != current.memory_max) {
        let need = room::memory_max(most, room);
        push(
            "memory_max_mib",
            current.memory_max.0.to_string(),
            most.0.to_string(),
            need,
        );
    }
    let cpus = [Some(current.cpus), current.live_cpus].into_iter().flatten();
    if let Some(is) = cpus.into_iter().find(|is| *is != desired.cpus) {
        let need = room::cpus(desired.cpus, current.live_cpus.unwrap_or(current.cpus), room);
        push("cpus", is.to_string(), desired.cpus.to_string(), need);
    }
    let memory = [Some(current.memory), current.live_memory].into_iter().flatten();
    if let Some(is) = memory.into_iter().find(|is| *is != desired.memory) {
        let need = room::memory(desired.memory, desired.memory_max, current.memory, room);
        push("memory_mib", is.0.to_string(), desired.memory.0.to_string(), need);
    }
}

fn definition(
    desired: &DesiredMachine,
    current: &MachineView,
    restart: Disturbance,
    changes: &mut Vec<Change>,
) {
    const NEXT_START: &str = "a running machine takes it at its next start";
    if current.pending == Pending::Restart {
        let why = "the running machine differs from its definition";
        changes.push(attribute(
            "power",
            "running as it was",
            "running as defined",
            restart,
            why,
        ));
    }
    firmware(desired, current, restart, changes);
    if desired.direct_boot != current.direct_boot {
        let show = |boot: &Option<labyard_driver::spec::DirectBoot>| {
            boot.as_ref().map_or("none".to_owned(), |b| b.kernel.clone())
        };
        let (from, to) = (show(&current.direct_boot), show(&desired.direct_boot));
        changes.push(attribute("boot", from, to, restart, NEXT_START));
    }
}

fn firmware(
    desired: &DesiredMachine,
    current: &MachineView,
    restart: Disturbance,
    changes: &mut Vec<Change>,
) {
    if desired.firmware != current.firmware {
        let why = "a guest installed under one firmware does not boot under the other";
        let (from, to) = (
            format!("{:?}", current.firmware),
            format!("{:?}", desired.firmware),
        );
        changes.push(attribute(
            // Where the object itself goes or comes there is nothing at the path of its type.
            if desired.wishes.firmware_written {
                "firmware.type"
            } else {
                "firmware"
            },
            from.to_lowercase(),
            to.to_lowercase(),
            Disturbance::Replace,
            why,
        ));
    }
    if desired.firmware != Firmware::Uefi || current.firmware != Firmware::Uefi {
        return;
    }
    let (from, to) = (current.guards, desired.guards);
    if from.secure_boot != to.secure_boot {
        let show = |s: SecureBoot| if s == SecureBoot::Off { "off" } else { "on" };
        let why = "the firmware's variables are exchanged for those of the other kind, the guest's boot entries kept";
        let (from, to) = (show(from.secure_boot), show(to.secure_boot));
        changes.push(attribute("firmware.secure_boot", from, to, restart, why));
    }
    if from.tpm != to.tpm {
        let (why, from, to) = match to.tpm {
            Tpm::Emulated => ("a TPM comes at a start", "none", "emulated"),
            Tpm::Absent => (
                "a TPM goes at a start; its state is kept until the machine is destroyed",
                "emulated",
                "none",
            ),
        };
        changes.push(attribute("firmware.tpm", from, to, restart, why));
    }
    if current.ca_certificate != desired.ca_certificate {
        let show = |pem: &Option<String>| match pem {
            None => "none".to_owned(),
            Some(pem) => match labyard_schema::pem::certificates(pem).map_or(0, |found| found.len()) {
                1 => "1 certificate".to_owned(),
                several => format!("{several} certificates"),
            },
        };
        let why = "firmware reads its variables at a start";
        let (from, to) = (show(&current.ca_certificate), show(&desired.ca_certificate));
        changes.push(attribute("boot.ca_certificate", from, to, restart, why));
    }
}

fn name(desired: &DesiredMachine, current: &MachineView, restart: Disturbance, changes: &mut Vec<Change>) {
    if desired.name != current.name {
        changes.push(attribute(
            "name",
            current.name.as_str(),
            desired.name.as_str(),
            restart,
            "a machine is renamed while it is off",
        ));
    }
}

pub(super) fn attribute(
    name: &'static str,
    from: impl Into<String>,
    to: impl Into<String>,
    disturbance: Disturbance,
    why: &'static str,
) -> Change {
    Change {
        what: What::Attribute(name),
        from: from.into(),
        to: to.into(),
        disturbance,
        why,
    }
}

/// Disks and NICs: what leaves makes room for what comes.
fn devices(desired: &DesiredMachine, current: &MachineView, mut ports: Ports, changes: &mut Vec<Change>) {
    for (key, disk) in &current.disks {
        if !desired.disks.contains_key(key) {
            let need = ports.leaves_disk(disk.bus);
            changes.push(removal(key, disk, need.disturbance()));
            if changes
                .last()
                .is_some_and(|c| c.disturbance == Disturbance::DestroysData)
                && need != Need::Nothing
            {
                changes.push(disk_change(
                    key,
                    DiskChange::TakenOff,
                    "attached",
                    "taken off",
                    need.disturbance(),
                    need.why(),
                ));
            }
        }
    }
    for (key, nic) in &current.nics {
        if !desired.nics.contains_key(key) {
            let need = ports.leaves_nic(nic.model);
            changes.push(nic_change(key, NicChange::Removed, &nic.network, "absent", need));
        }
    }
    for (key, disk) in &desired.disks {
        match current.disks.get(key) {
            None => {
                let need = ports.takes_disk(disk.bus);
                changes.push(disk_change(
                    key,
                    DiskChange::Added,
                    "absent",
                    "present",
                    need.disturbance(),
                    need.why(),
                ));
            }
            Some(there) => {
                changes.extend(disk_changes(key, disk, there, &ports));
                if disk.boot != there.boot {
                    let (from, to) = (place(there.boot), place(disk.boot));
                    let need = ports.reorders();
                    changes.push(disk_change(
                        key,
                        DiskChange::Reordered,
                        &from,
                        &to,
                        need.disturbance(),
                        need.why(),
                    ));
                }
            }
        }
    }
    for (key, nic) in &desired.nics {
        match current.nics.get(key) {
            None => {
                let need = ports.takes_nic(nic.model);
                changes.push(nic_change(key, NicChange::Added, "absent", &nic.network, need));
            }
            Some(there) => nic_changes(key, nic, there, &mut ports, changes),
        }
    }
}

pub(super) fn place(boot: Option<u32>) -> String {
    boot.map_or("none".to_owned(), |number| number.to_string())
}

/// What the removal of a disk from the configuration means: the state decides, not the new configuration, which
/// no longer speaks of it.
pub fn removal(key: &DiskKey, disk: &DiskView, restart: Disturbance) -> Change {
    match disk
        .on_remove
        .unwrap_or_else(|| default_on_remove(disk.image.as_ref()))
    {
        OnRemove::Delete => disk_change(
            key,
            DiskChange::Deleted,
            "present",
            "deleted",
            Disturbance::DestroysData,
            "the disk's on_remove is \"delete\"",
        ),
        OnRemove::Detach => {
            let why =
                "the disk's on_remove is \"detach\", and a running machine keeps it until its next start";
            disk_change(key, DiskChange::Detached, "present", "detached", restart, why)
        }
        OnRemove::Refuse => disk_change(
            key,
            DiskChange::RemovalRefused,
            "present",
            "refused",
            Disturbance::DestroysData,
            "set the disk's on_remove to \"delete\" or \"detach\", apply that, then remove the disk",
        ),
    }
}

fn disk_change(
    key: &DiskKey,
    change: DiskChange,
    from: &str,
    to: &str,
    disturbance: Disturbance,
    why: &'static str,
) -> Change {
    Change {
        what: What::Disk(key.to_string(), change),
        from: from.to_owned(),
        to: to.to_owned(),
        disturbance,
        why,
    }
}

fn nic_change(key: &NicKey, change: NicChange, from: &str, to: &str, need: Need) -> Change {
    Change {
        what: What::Nic(key.to_string(), change),
        from: from.to_owned(),
        to: to.to_owned(),
        disturbance: need.disturbance(),
        why: need.why(),
    }
}

fn disk_changes(key: &DiskKey, desired: &DesiredDisk, current: &DiskView, ports: &Ports) -> Vec<Change> {
    let mut changes = Vec::new();
    if let (Some(wanted), Some(size)) = (desired.size, current.size) {
        changes.extend(resize(key, wanted, size));
    }
    let (made_of, wanted_of) = (current.image.as_ref(), desired.image.as_ref());
    // An imported disk has no image on record: naming one records it and leaves the disk.
    let other_image = made_of.is_some_and(|made| !wanted_of.is_some_and(|wanted| is_of(made, wanted)));
    if other_image {
        let show = |source: Option<&String>| source.cloned().unwrap_or_else(|| "none".to_owned());
        let (from, to) = (
            made_of.map(|image| &image.source),
            wanted_of.map(|image| &image.source),
        );
        let (from, to) = (show(from), show(to));
        changes.push(disk_change(
            key,
            DiskChange::Remade,
            &from,
            &to,
            Disturbance::Replace,
            "a disk is made of its image once; another image means another disk",
        ));
    }
    if made_of.is_some() && current.clone.is_some() && desired.clone != current.clone {
        let show = |clone: Option<CloneMode>| {
            let word = clone.map(|clone| format!("{clone:?}").to_lowercase());
            word.unwrap_or_else(|| "left out".to_owned())
        };
        changes.push(disk_change(
            key,
            DiskChange::Recloned,
            &show(current.clone),
            &show(desired.clone),
            Disturbance::Replace,
            "a disk is made of its image once; made in another way it is another disk",
        ));
    }
    // A bus that labyard does not make stays as it was found.
    if let Some(bus) = current.bus.filter(|bus| *bus != desired.bus) {
        let (need, from, to) = (ports.moves_disk(), bus.word(), desired.bus.word());
        changes.push(disk_change(
            key,
            DiskChange::Rebussed,
            from,
            to,
            need.disturbance(),
            need.why(),
        ));
    }
    // Left out, the pool is where the volume is, whatever the host's own has become.
    if let (Some(wanted), Some(there)) = (&desired.pool, &current.pool)
        && wanted != there
    {
        let (from, to) = (there.as_str(), wanted.as_str());
        changes.push(disk_change(
            key,
            DiskChange::Moved,
            from,
            to,
            Disturbance::Replace,
            "a volume stays in the pool where it was made; a disk in another pool is another disk",
        ));
    }
    changes
}

/// Whether an image is the one that a disk was made of. A digest that is written down later, or no longer, says nothing
/// else of the disk as long as it is the one that was seen.
fn is_of(made: &ImageMark, wanted: &DesiredImage) -> bool {
    let seen = [&made.sha256, &made.digest];
    made.source == wanted.source && (wanted.sha256.is_none() || seen.contains(&&wanted.sha256))
}

fn resize(key: &DiskKey, wanted: Bytes, size: Bytes) -> Option<Change> {
    let (from, to) = (size.to_string(), wanted.to_string());
    let (change, disturbance, why) = match wanted.cmp(&size) {
        std::cmp::Ordering::Greater => (
            DiskChange::Grown,
            Disturbance::Live,
            "a disk grows while the machine runs",
        ),
        std::cmp::Ordering::Less => (
            DiskChange::Shrunk,
            Disturbance::DestroysData,
            "a disk cannot shrink without losing data: keep its size, or add a new disk",
        ),
        std::cmp::Ordering::Equal => return None,
    };
    Some(disk_change(key, change, &from, &to, disturbance, why))
}

fn nic_changes(
    key: &NicKey,
    nic: &DesiredNic,
    there: &NicView,
    ports: &mut Ports,
    changes: &mut Vec<Change>,
) {
    // A model that labyard does not make stays as it was found.
    let other_model = there.model.is_some_and(|model| model != nic.model);
    let other_mac = there.mac != nic.mac;
    if there.network != nic.network {
        let need = if other_mac || other_model {
            Need::Nothing
        } else {
            ports.moves_nic()
        };
        changes.push(nic_change(
            key,
            NicChange::Moved,
            &there.network,
            &nic.network,
            need,
        ));
    }
    if there.boot != nic.boot {
        let (from, to) = (place(there.boot), place(nic.boot));
        changes.push(nic_change(
            key,
            NicChange::Reordered,
            &from,
            &to,
            ports.reorders(),
        ));
    }
    if there.vlan != nic.vlan {
        let show = |vlan: Option<VlanId>| vlan.map_or("none".to_owned(), |vlan| vlan.to_string());
        let need = ports.retags_nic();
        changes.push(nic_change(
            key,
            NicChange::Tagged,
            &show(there.vlan),
            &show(nic.vlan),
            need,
        ));
    }
    if there.fixed != nic.fixed {
        changes.push(Change {
            what: What::Nic(key.to_string(), NicChange::Fixed),
            from: show_fixed(there.fixed),
            to: show_fixed(nic.fixed),
            disturbance: Disturbance::Live,
            why: "the guest takes it at its next DHCP request, or from its seed at its first boot",
        });
    }
    if !other_mac && !other_model {
        return;
    }
    // Another card takes the place of this one.
    let out = ports.leaves_nic(there.model);
    let need = match ports.takes_nic(nic.model) {
        Need::Nothing => out,
        restart => restart,
    };
    if other_mac {
        let (from, to) = (there.mac.to_string(), nic.mac.to_string());
        changes.push(nic_change(key, NicChange::Readdressed, &from, &to, need));
    }
    if let Some(model) = there.model.filter(|_| other_model) {
        let (from, to) = (model.word(), nic.model.word());
        changes.push(nic_change(key, NicChange::Remodelled, from, to, need));
    }
}

fn show_fixed(fixed: Option<FixedAddress>) -> String {
    match fixed {
        None => "none".to_owned(),
        Some(FixedAddress {
            address,
            gateway: None,
        }) => address.to_string(),
        Some(FixedAddress {
            address,
            gateway: Some(gateway),
        }) => format!("{address} by {gateway}"),
    }
}

fn seed(desired: &DesiredMachine, current: &MachineView, changes: &mut Vec<Change>) {
    let wanted = desired.seed.as_ref().map(|seed| &seed.version);
    let there = match &current.seed {
        SeedView::Inserted(_) => current.wishes.seed.as_ref(),
        SeedView::None | SeedView::Broken => None,
    };
    if wanted != there || (wanted.is_none() && current.seed == SeedView::Broken) {
        let show = |present: bool| if present { "a seed" } else { "none" };
        let why = "the guest reads it at its next first boot";
        let (from, to) = (show(there.is_some()), show(wanted.is_some()));
        changes.push(attribute(
            seed_attribute(wanted, there),
            from,
            to,
            Disturbance::Live,
            why,
        ));
    }
}

/// The attribute that a difference of seeds comes from.
fn seed_attribute(wanted: Option<&SeedVersion>, there: Option<&SeedVersion>) -> &'static str {
    let guest = |version: Option<&SeedVersion>| version.and_then(|version| version.guest.clone());
    let written = |version: Option<&SeedVersion>| version.map(|v| (v.plain.clone(), v.secret));
    let alone = match (wanted, there) {
        (Some(_), Some(_)) => written(wanted) == written(there),
        _ => true,
    };
    if alone && guest(wanted) != guest(there) {
        "guest"
    } else {
        "cloud_init"
    }
}

fn power(desired: &DesiredMachine, current: &MachineView, changes: &mut Vec<Change>) {
    let fits = match desired.power {
        DesiredPower::Running => current.power == Power::Running,
        DesiredPower::Stopped => current.power == Power::Stopped,
    };
    if !fits {
        let from = format!("{:?}", current.power).to_lowercase();
        let to = format!("{:?}", desired.power).to_lowercase();
        changes.push(attribute("power", from, to, Disturbance::Live, "asked for"));
    }
}

#[cfg(test)]
mod tests;
