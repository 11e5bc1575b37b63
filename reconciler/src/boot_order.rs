//! The order in which a machine tries its devices: from the numbers that were written, and as a host shows it. Pure.

use std::collections::BTreeMap;

use labyard_driver::ids::{DiskKey, MacAddr, MediaKey, NicKey, VolumeName};
use labyard_driver::mark::Mark;
use labyard_driver::observed::MachineDetail;
use labyard_driver::spec::{BootDevice, MachineSpec};

use crate::desired::DesiredMachine;

/// A device that a machine may boot from, with what decides its place.
#[derive(Clone, Debug)]
struct Candidate {
    device: BootDevice,
    number: Option<u32>,
    of_image: bool,
}

/// Devices with numbers in the order of these, then the other disks: those made of an image first, then by key. NICs
/// and CD drives without a number are not booted from.
fn sequence(mut candidates: Vec<Candidate>) -> Vec<BootDevice> {
    candidates.retain(|c| c.number.is_some() || matches!(c.device, BootDevice::Disk(_)));
    candidates.sort_by_key(|c| (c.number.is_none(), c.number, !c.of_image, c.device.clone()));
    candidates.into_iter().map(|c| c.device).collect()
}

/// The order that a machine shall have; empty where nothing was said of it.
pub fn desired(machine: &DesiredMachine) -> Vec<BootDevice> {
    let disks = machine.disks.iter().map(|(key, disk)| Candidate {
        device: BootDevice::Disk(key.clone()),
        number: disk.boot,
        of_image: disk.image.is_some(),
    });
    let nics = machine.nics.iter().map(|(key, nic)| Candidate {
        device: BootDevice::Nic(key.clone()),
        number: nic.boot,
        of_image: false,
    });
    let drives = machine.media.iter().map(|(key, drive)| Candidate {
        device: BootDevice::Drive(key.clone()),
        number: drive.boot,
        of_image: false,
    });
    let candidates: Vec<_> = disks.chain(nics).chain(drives).collect();
    if candidates.iter().all(|c| c.number.is_none()) {
        return Vec::new();
    }
    sequence(candidates)
}

/// The boot numbers of a machine's devices, by key: as written where the host shows that order, else the host's.
#[derive(Debug, Default)]
pub struct Numbers {
    /// Of disks.
    pub disks: BTreeMap<DiskKey, u32>,
    /// Of NICs.
    pub nics: BTreeMap<NicKey, u32>,
    /// Of CD drives.
    pub drives: BTreeMap<MediaKey, u32>,
}

/// What a machine's definition says of the order, in the terms of its mark.
pub fn numbers(detail: &MachineDetail, mark: Option<&Mark>, nic_key: impl Fn(MacAddr) -> NicKey) -> Numbers {
    let disk_key = |volume: Option<&VolumeName>, target: &str| {
        let known = mark.and_then(|m| m.disks.iter().find(|(_, d)| Some(&d.volume) == volume));
        known.map_or_else(|| DiskKey(target.to_owned()), |(key, _)| key.clone())
    };
    let disks = detail.disks.iter().map(|disk| {
        let key = disk_key(disk.volume.as_ref(), &disk.target);
        let written = mark.and_then(|m| m.disks.get(&key));
        let candidate = Candidate {
            number: written.and_then(|d| d.boot),
            of_image: written.is_some_and(|d| d.image.is_some()),
            device: BootDevice::Disk(key),
        };
        (candidate, disk.boot)
    });
    let nics = detail.nics.iter().map(|nic| {
        let key = nic_key(nic.mac);
        let candidate = Candidate {
            number: mark.and_then(|m| m.nics.get(&key)?.boot),
            of_image: false,
            device: BootDevice::Nic(key),
        };
        (candidate, nic.boot)
    });
    let drives = mark.into_iter().flat_map(|mark| &mark.media);
    let drives = drives.filter(|(_, drive)| detail.cdroms.contains_key(&drive.target));
    let drives = drives.map(|(key, drive)| {
        let candidate = Candidate {
            number: drive.boot,
            of_image: false,
            device: BootDevice::Drive(key.clone()),
        };
        (candidate, detail.drive_boot.get(&drive.target).copied())
    });
    let devices: Vec<_> = disks.chain(nics).chain(drives).collect();
    let shown: Vec<_> = in_order(devices.iter().map(|(c, number)| (c.device.clone(), *number)));
    let written = devices.iter().any(|(c, _)| c.number.is_some());
    let all_numbered_shown = devices
        .iter()
        .all(|(c, number)| c.number.is_none() || number.is_some());
    let expected = sequence(devices.iter().map(|(c, _)| c.clone()).collect());
    let as_written = is_part_of(&shown, &expected) && (!written || all_numbered_shown);
    let mut numbers = Numbers::default();
    for (candidate, shown) in devices {
        let number = if as_written { candidate.number } else { shown };
        match (candidate.device, number) {
            (BootDevice::Disk(key), Some(number)) => drop(numbers.disks.insert(key, number)),
            (BootDevice::Nic(key), Some(number)) => drop(numbers.nics.insert(key, number)),
            (BootDevice::Drive(key), Some(number)) => drop(numbers.drives.insert(key, number)),
            (_, None) => {}
        }
    }
    numbers
}

/// Whether a definition holds the order that is asked for.
pub fn holds(spec: &MachineSpec, detail: &MachineDetail) -> bool {
    let disks = spec.disks.iter().filter_map(|wanted| {
        let there = detail
            .disks
            .iter()
            .find(|d| d.volume.as_ref() == Some(&wanted.volume))?;
        Some((BootDevice::Disk(wanted.key.clone()), there.boot))
    });
    let nics = spec.nics.iter().filter_map(|wanted| {
        let there = detail.nics.iter().find(|n| n.mac == wanted.mac)?;
        Some((BootDevice::Nic(wanted.key.clone()), there.boot))
    });
    let drives = spec.media.iter().filter_map(|wanted| {
        detail.cdroms.get(&wanted.target)?;
        let number = detail.drive_boot.get(&wanted.target).copied();
        Some((BootDevice::Drive(wanted.key.clone()), number))
    });
    let there: Vec<_> = disks.chain(nics).chain(drives).collect();
    let shown = in_order(there.iter().cloned());
    if spec.boot_order.is_empty() {
        // Disks in their order; one that was plugged in since has no number yet.
        let disks: Vec<_> = spec
            .disks
            .iter()
            .map(|d| BootDevice::Disk(d.key.clone()))
            .collect();
        return is_part_of(&shown, &disks);
    }
    // One that is not there yet has its place from the next start on, which is when the order counts.
    let is_there = |device: &&BootDevice| there.iter().any(|(other, _)| other == *device);
    shown.iter().eq(spec.boot_order.iter().filter(is_there))
}

fn in_order(devices: impl Iterator<Item = (BootDevice, Option<u32>)>) -> Vec<BootDevice> {
    let mut numbered: Vec<_> = devices
        .filter_map(|(device, number)| Some((number?, device)))
        .collect();
    numbered.sort();
    numbered.into_iter().map(|(_, device)| device).collect()
}

/// Whether these stand in that order, with others between them.
fn is_part_of(part: &[BootDevice], whole: &[BootDevice]) -> bool {
    let mut whole = whole.iter();
    part.iter().all(|device| whole.any(|other| other == device))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn candidate(device: BootDevice, number: Option<u32>, of_image: bool) -> Candidate {
        Candidate {
            device,
            number,
            of_image,
        }
    }

    fn disk(key: &str) -> BootDevice {
        BootDevice::Disk(key.into())
    }

    fn nic(key: &str) -> BootDevice {
        BootDevice::Nic(key.into())
    }

    #[test]
    fn numbered_devices_come_first_then_disks_with_images_and_no_unnumbered_nic() {
        let order = sequence(vec![
            candidate(nic("lan"), Some(2), false),
            candidate(disk("zeta"), Some(10), false),
            candidate(disk("b"), None, false),
            candidate(disk("root"), None, true),
            candidate(nic("wan"), None, false),
        ]);
        assert_eq!(order, [nic("lan"), disk("zeta"), disk("root"), disk("b")]);
    }

    #[test]
    fn an_order_with_a_device_left_out_is_part_of_the_whole_and_a_swapped_one_is_not() {
        let whole = [disk("a"), disk("b"), disk("c")];
        assert!(is_part_of(&[disk("a"), disk("c")], &whole));
        assert!(!is_part_of(&[disk("c"), disk("a")], &whole));
        assert!(!is_part_of(&[nic("lan")], &whole));
    }
}
