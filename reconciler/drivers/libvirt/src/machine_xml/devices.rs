//! Disks.

use std::collections::BTreeSet;

use labyard_driver::ids::{DiskKey, PoolName, VolumeName};
use labyard_driver::mark::Mark;
use labyard_driver::spec::{BootDevice, DiskBus, DiskSpec, MachineSpec};

use super::read::path_in;
use super::{EditError, alias, alias_of, drives, is_drive, is_ours};
use crate::places::{Places, Store};
use crate::volume_xml::format_name;
use crate::xml::Element;

/// What virtio-blk shows of a serial number.
const SERIAL_LENGTH: usize = 20;

/// Brings the disks to the specification: those of ours that it does not name are taken out.
pub(super) fn edit_disks(
    devices: &mut Element,
    spec: &MachineSpec,
    before: Option<&Mark>,
    places: &Places,
) -> Result<(), EditError> {
    let wanted: Vec<(DiskSpec, Source)> = spec
        .disks
        .iter()
        .map(|disk| Ok((disk.clone(), source(places, &disk.pool, &disk.volume)?)))
        .collect::<Result<_, EditError>>()?;
    let kept: BTreeSet<String> = wanted
        .iter()
        .map(|(disk, _)| alias("disk", disk.key.as_str()))
        .collect();
    let former = former_paths(spec, before, places, &wanted);
    devices.remove_where(|device| {
        is_drive(device, "disk")
            && match alias_of(device) {
                Some(name) if is_ours(device) => !kept.contains(name),
                _ => ["file", "dev"]
                    .iter()
                    .filter_map(|attribute| device.attribute_at(&["source"], attribute))
                    .any(|path| former.contains(path)),
            }
    });
    if wanted.iter().any(|(disk, _)| disk.bus == DiskBus::Scsi) {
        let (_, missing) = drives::controller(devices);
        missing
            .into_iter()
            .for_each(|controller| devices.push(controller));
    }
    for (disk, source) in &wanted {
        edit_disk(devices, disk, source, places);
    }
    Ok(())
}

/// The paths of volumes that marks call ours, or released, and that the specification does not attach.
fn former_paths(
    spec: &MachineSpec,
    before: Option<&Mark>,
    places: &Places,
    wanted: &[(DiskSpec, Source)],
) -> BTreeSet<String> {
    let volumes = [before, Some(&spec.mark)].into_iter().flatten().flat_map(|mark| {
        let disks = mark.disks.values().map(|disk| (&disk.pool, &disk.volume));
        let others = mark
            .discard
            .iter()
            .chain(&mark.released)
            .map(|(pool, volume)| (pool, volume));
        disks.chain(others).collect::<Vec<_>>()
    });
    volumes
        .filter_map(|(pool, volume)| Some(places.path(pool, volume)?.0))
        .filter(|path| !wanted.iter().any(|(_, kept)| kept.0 == *path))
        .collect()
}

fn edit_disk(devices: &mut Element, disk: &DiskSpec, source: &Source, places: &Places) {
    let (controller, _) = drives::controller(devices);
    let alias = alias("disk", disk.key.as_str());
    let is_it = |d: &Element| is_drive(d, "disk") && alias_of(d) == Some(alias.as_str());
    let others = |d: &Element| is_drive(d, "disk") && !is_ours(d);
    let of_its_volume = |d: &Element| others(d) && path_in(d, places) == source.0;
    // A file outside of the pools is somebody's own: it keeps its place, and libvirt refuses two in one.
    let in_its_place = |d: &Element| {
        others(d)
            && d.attribute_at(&["target"], "dev") == Some(disk.target.as_str())
            && places.volume_at(&path_in(d, places)).is_some()
    };
    let known: [&dyn Fn(&Element) -> bool; 3] = [&is_it, &of_its_volume, &in_its_place];
    let Some(is_known) = known.into_iter().find(|is| devices.elements().any(is)) else {
        devices.push(new_disk(disk, &alias, source, &controller));
        return;
    };
    let Some(element) = devices.elements_mut().find(|d| is_known(d)) else {
        return;
    };
    say_path(element, source, places);
    element
        .ensure("driver")
        .set_attribute("type", format_name(disk.format));
    set_source(element, source);
    let target = element.ensure("target");
    match target.attribute("bus").map(DiskBus::parse) {
        // A bus that labyard does not make stays as it was found, and the disk's name on it.
        Some(None) => {}
        Some(Some(bus)) if bus != disk.bus => {
            target.set_attribute("dev", &disk.target);
            target.set_attribute("bus", disk.bus.word());
            // They belong to the bus that it was on.
            element.remove_named("address");
            set_controller(element, disk.bus, &controller);
        }
        _ => target.set_attribute("dev", &disk.target),
    }
    element.ensure("alias").set_attribute("name", &alias);
}

fn new_disk(disk: &DiskSpec, alias: &str, (path, store): &Source, controller: &str) -> Element {
    let mut element = Element::new("disk")
        .with("type", store.disk_type())
        .with("device", "disk")
        .holding(
            Element::new("driver")
                .with("name", "qemu")
                .with("type", format_name(disk.format))
                .with("discard", "unmap"),
        )
        .holding(Element::new("source").with(store.source_attribute(), path))
        .holding(
            Element::new("target")
                .with("dev", &disk.target)
                .with("bus", disk.bus.word()),
        )
        .holding(Element::new("serial").saying(&serial(disk)))
        .holding(Element::new("alias").with("name", alias));
    set_controller(&mut element, disk.bus, controller);
    element
}

/// A scsi disk says its controller, since libvirt's own choice for one is a model that cloud kernels do not drive.
fn set_controller(disk: &mut Element, bus: DiskBus, controller: &str) {
    if bus == DiskBus::Scsi {
        disk.push(scsi_address(controller, disk));
    }
}

/// Its place on the bus follows from its target, as that of a CD drive does, so that no two have the same.
fn scsi_address(controller: &str, disk: &Element) -> Element {
    let target = disk.attribute_at(&["target"], "dev").unwrap_or_default();
    Element::new("address")
        .with("type", "drive")
        .with("controller", controller)
        .with("bus", "0")
        .with("target", &drives::place(target).to_string())
        .with("unit", "0")
}

/// The element of a disk that is plugged into a running machine.
pub(crate) fn disk_element(live: &Element, disk: &DiskSpec, places: &Places) -> Result<Element, EditError> {
    let source = source(places, &disk.pool, &disk.volume)?;
    let none = Element::new("devices");
    let (controller, _) = drives::controller(live.child("devices").unwrap_or(&none));
    Ok(new_disk(
        disk,
        &alias("disk", disk.key.as_str()),
        &source,
        &controller,
    ))
}

fn serial(disk: &DiskSpec) -> String {
    disk.key.as_str().chars().take(SERIAL_LENGTH).collect()
}

/// A volume named with its pool is named by its path from now on; the rest of what is said about it stays.
fn say_path(disk: &mut Element, (path, store): &Source, places: &Places) {
    if disk.attribute("type") != Some("volume") || path_in(disk, places) != *path {
        return;
    }
    disk.set_attribute("type", store.disk_type());
    let source = disk.ensure("source");
    ["pool", "volume", "mode"]
        .into_iter()
        .for_each(|attribute| source.remove_attribute(attribute));
    source.set_attribute(store.source_attribute(), path);
}

/// Points a drive to a volume. What stood there about another (its chain, its slices) goes with it.
pub(super) fn set_source(drive: &mut Element, (path, store): &Source) {
    let attribute = store.source_attribute();
    if drive.attribute("type") == Some(store.disk_type())
        && drive.attribute_at(&["source"], attribute) == Some(path.as_str())
    {
        return;
    }
    drive.set_attribute("type", store.disk_type());
    drive.remove_named("backingStore");
    drive.replace(Element::new("source").with(attribute, path));
}

/// Numbers the devices that the machine boots from in the specification's order, around the numbers that devices of
/// others have; no other device of ours has a number.
pub(super) fn set_boot_order(devices: &mut Element, spec: &MachineSpec) {
    let disk = |key: &DiskKey| alias("disk", key.as_str());
    let aliases: Vec<String> = if spec.boot_order.is_empty() {
        spec.disks.iter().map(|d| disk(&d.key)).collect()
    } else {
        let of = |device: &BootDevice| match device {
            BootDevice::Disk(key) => disk(key),
            BootDevice::Nic(key) => alias("nic", key.as_str()),
            BootDevice::Drive(key) => alias("media", key.as_str()),
        };
        spec.boot_order.iter().map(of).collect()
    };
    let is_listed = |device: &Element| alias_of(device).is_some_and(|name| aliases.iter().any(|a| a == name));
    for device in devices.elements_mut().filter(|d| is_ours(d) && !is_listed(d)) {
        device.remove_named("boot");
    }
    let taken: BTreeSet<usize> = devices
        .elements()
        .filter(|device| !is_listed(device))
        .filter_map(|device| device.attribute_at(&["boot"], "order")?.parse().ok())
        .collect();
    let numbers = (1..).filter(|number| !taken.contains(number));
    for (alias, number) in aliases.iter().zip(numbers) {
        if let Some(device) = devices.elements_mut().find(|d| alias_of(d) == Some(alias)) {
            device.ensure("boot").set_attribute("order", &number.to_string());
        }
    }
}

/// Where a volume lies and what it is.
pub(super) type Source = (String, Store);

pub(super) fn source(places: &Places, pool: &PoolName, volume: &VolumeName) -> Result<Source, EditError> {
    places
        .path(pool, volume)
        .ok_or_else(|| EditError::UnknownPool(pool.clone()))
}
