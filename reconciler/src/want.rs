//! What a machine that is to be placed wants of a host, from its configuration. Pure but for a look at how long the
//! files are that its images are sent from.

use std::collections::BTreeSet;

use labyard_driver::ids::{Bytes, HostName, Mib, Namespace, NicKey, ObjectName, PoolName};
use labyard_driver::mark::CloneMode;
use labyard_driver::observed::{HostFacts, MachineSize};
use labyard_driver::spec::Firmware;
use labyard_schema::vm::{Disk, Vm};

use crate::capacity::{ImageNeed, Need, NewDisk};
use crate::derived::Taken;
use crate::desired::{DesiredMachine, Unusable};
use crate::engine::Want;

impl Want {
    /// Of a machine that may be on these hosts, or on all.
    pub fn of(namespace: &Namespace, vm: &Vm, hosts: Option<BTreeSet<HostName>>) -> Self {
        Self {
            namespace: namespace.clone(),
            name: ObjectName(vm.name.clone()),
            need: need(vm, None),
            networks: vm
                .nics
                .iter()
                .flatten()
                .map(|(_, nic)| nic.network.clone())
                .collect(),
            files: files(vm),
            hosts,
        }
    }
}

/// A machine of which nothing was planned on a host: MACs and the serial number that are not written are derived of it.
///
/// # Errors
/// As of [`DesiredMachine::from_config`].
pub fn desired_on(
    namespace: &Namespace,
    vm: &Vm,
    (facts, taken): (&HostFacts, &Taken),
) -> Result<DesiredMachine, Unusable> {
    let name = ObjectName(vm.name.clone());
    let mut vm = vm.clone();
    let keys = vm.nics.iter().flatten().map(|(key, _)| NicKey(key.clone()));
    let macs = keys.map(|key| {
        let mac = taken.mac(&facts.uuid, namespace, &name, &key);
        (key.to_string(), mac.to_string())
    });
    let macs = macs.collect();
    if vm.serial.is_none() {
        vm.serial = Some(taken.serial(&facts.uuid, namespace, &name));
    }
    DesiredMachine::from_config(namespace, &vm, &macs, &Default::default())
}

/// The path on the host that a source names, as the engine reads it: host:///path is host:/path.
pub fn on_host(source: &str) -> Option<&str> {
    let path = source.strip_prefix("host:")?;
    Some(if path.starts_with("///") { &path[2..] } else { path })
}

/// The files of the host that a machine is made from.
fn files(vm: &Vm) -> BTreeSet<String> {
    let disks = vm.disks.iter().flatten();
    let disks = disks.filter_map(|(_, disk)| Some(&disk.image.as_ref()?.source));
    let media = vm.media.iter().flatten();
    let media = media.filter_map(|(_, drive)| Some(&drive.image.as_ref()?.source));
    disks
        .chain(media)
        .filter_map(|source| on_host(source).map(str::to_owned))
        .collect()
}

/// What a planned machine needs.
pub fn need(vm: &Vm, prior: Option<&Vm>) -> Need {
    let before = |key: &str| prior.and_then(|prior| prior.disks.as_ref()?.get(key));
    let disks = vm.disks.iter().flatten().filter_map(|(key, disk)| {
        let new = new_disk(disk, before(key))?;
        Some((key.clone(), new))
    });
    Need {
        size: size(vm),
        firmware: match &vm.firmware {
            Some(firmware) if firmware.r#type == "uefi" => Firmware::Uefi,
            _ => Firmware::Bios,
        },
        disks: disks.collect(),
    }
}

fn size(vm: &Vm) -> MachineSize {
    MachineSize {
        cpus: vm.cpus,
        memory: Mib(vm.memory_mib),
    }
}

/// A disk that is to be made, or to grow.
fn new_disk(disk: &Disk, before: Option<&Disk>) -> Option<NewDisk> {
    let grows_from = before.and_then(|before| before.size_gib).map(Bytes::from_gib);
    let wanted = disk.size_gib.map(Bytes::from_gib);
    if before.is_some() && (grows_from.is_none() || wanted <= grows_from) {
        return None;
    }
    let clone = disk.clone.as_deref().map(|clone| match clone {
        "full" => CloneMode::Full,
        _ => CloneMode::Linked,
    });
    let image = match &disk.image {
        Some(image) if before.is_none() => image_need(&image.source),
        _ => ImageNeed::None,
    };
    Some(NewDisk {
        pool: disk
            .storage_pool
            .clone()
            .or_else(|| before.and_then(|before| before.storage_pool.clone()))
            .map(PoolName),
        size: wanted,
        grows_from,
        clone,
        image,
    })
}

fn image_need(source: &str) -> ImageNeed {
    let length = source
        .strip_prefix("file:")
        .and_then(|path| std::fs::metadata(path).ok())
        .map(|file| Bytes(file.len()));
    length.map_or(ImageNeed::Unknown, ImageNeed::Send)
}
