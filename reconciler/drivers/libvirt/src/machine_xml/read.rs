//! What a definition says.

use std::collections::BTreeMap;

use labyard_driver::ids::{Bytes, MacAddr, Mib, PoolName, VolumeName};
use labyard_driver::observed::{
    Attachment, Cable, Capacity, MachineDetail, MachineSize, ObservedDisk, ObservedMedium, ObservedNic,
    ObservedNvram, Standing,
};
use labyard_driver::spec::{Accelerator, DirectBoot, DiskBus, DiskFormat, Isolation, NicModel};

use super::{firmware, hardware, is_drive, room};
use crate::places::Places;
use crate::xml::Element;
use crate::{network_xml, wires};

/// The sizes of a machine's disks by target, as far as the host said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Sizes {
    /// The host answered; a target without a size is a file that is gone.
    Read(BTreeMap<String, Option<Bytes>>),
    /// It did not answer in time.
    Unread,
}

impl Sizes {
    fn of(&self, target: &str) -> Capacity {
        match self {
            Self::Unread => Capacity::Unknown,
            Self::Read(sizes) => match sizes.get(target) {
                Some(Some(size)) => Capacity::Known(*size),
                Some(None) => Capacity::Missing,
                // Attached at the next start only: the running machine's figures do not hold it.
                None => Capacity::Unknown,
            },
        }
    }
}

/// Whether a NIC waits aside to be put back on its network.
fn is_aside(nic: &Element) -> bool {
    let network = nic.attribute_at(&["source"], "network");
    network.is_some_and(|name| wires::aside_for(name).is_some())
}

/// The NICs of a definition.
pub(crate) fn interfaces(domain: &Element) -> Vec<(MacAddr, &Element)> {
    let devices = domain.child("devices").into_iter();
    let all = devices.flat_map(|devices| devices.named("interface"));
    all.filter_map(|nic| Some((mac(nic)?, nic))).collect()
}

/// The detail of a machine, without the addresses of its NICs.
pub(crate) fn detail(
    domain: &Element,
    live: Option<&Element>,
    sizes: &Sizes,
    places: &Places,
) -> MachineDetail {
    let none = Element::new("devices");
    let devices = domain.child("devices").unwrap_or(&none);
    let live_devices = live.map(|live| live.child("devices").unwrap_or(&none));
    let place = Place { sizes, places };
    let cdroms = devices.elements().filter(|d| is_drive(d, "cdrom")).map(|d| {
        let path = place.path(d);
        let (pool, volume) = places.volume_at(&path).unzip();
        let medium = ObservedMedium {
            pool,
            volume,
            path,
            capacity: sizes.of(&target(d)),
        };
        (target(d), Some(medium).filter(|medium| !medium.path.is_empty()))
    });
    let drives = devices.elements().filter(|d| is_drive(d, "cdrom"));
    let drive_boot = drives.filter_map(|d| Some((target(d), boot_number(d)?)));
    let live_cdroms = live_devices.map(|live| {
        let drives = live.elements().filter(|d| is_drive(d, "cdrom"));
        drives.map(|d| (target(d), place.path(d))).collect()
    });
    let hardware = hardware::read(domain);
    MachineDetail {
        cpus: cpus(domain),
        cpus_max: cpus_max(domain),
        live_cpus: live.map(cpus),
        memory: memory(domain),
        memory_max: memory_max(domain),
        live_memory: live.map(memory),
        room: live.map(room::of),
        firmware: firmware::kind(domain),
        guards: firmware::guards(domain),
        nvram: firmware::nvram(domain).map(|path| ObservedNvram {
            volume: places.volume_at(&path).map(|(_, volume)| volume),
            path,
        }),
        accelerator: accelerator(domain),
        direct_boot: direct_boot(domain),
        disks: disks(devices, live_devices, &place),
        live_hardware: live.map(|live| hardware::read_live(live, &hardware)),
        hardware,
        vnc_port: live.and_then(hardware::vnc_port),
        cdroms: cdroms.collect(),
        drive_boot: drive_boot.collect(),
        live_cdroms,
        nics: nics(devices, live_devices),
    }
}

/// What a machine takes of its host.
pub(crate) fn size(domain: &Element) -> MachineSize {
    MachineSize {
        cpus: cpus(domain),
        memory: memory(domain),
    }
}

/// What tells of a drive's file.
struct Place<'a> {
    sizes: &'a Sizes,
    places: &'a Places,
}

impl Place<'_> {
    /// Where a disk's content lies: for a volume named with its pool, its path.
    fn path(&self, disk: &Element) -> String {
        path_in(disk, self.places)
    }

    /// Of a volume that is named with its pool libvirt tells no size while the machine is off: it is not gone.
    fn capacity(&self, disk: &Element, target: &str) -> Capacity {
        match self.sizes.of(target) {
            Capacity::Missing if named_volume(disk).is_some() => Capacity::Unknown,
            capacity => capacity,
        }
    }
}

/// What a disk's content is taken for; libvirt takes it for plain bytes where nothing is said.
fn format(disk: &Element) -> Option<DiskFormat> {
    match disk.attribute_at(&["driver"], "type").unwrap_or("raw") {
        "raw" => Some(DiskFormat::Raw),
        "qcow2" => Some(DiskFormat::Qcow2),
        _ => None,
    }
}

/// The volume of a source that names one with its pool.
fn named_volume(drive: &Element) -> Option<(PoolName, VolumeName)> {
    let source = drive.child("source")?;
    let (pool, volume) = (source.attribute("pool")?, source.attribute("volume")?);
    Some((pool.into(), volume.into()))
}

/// Where a drive's content lies, as [`disk_path`] has it; for a volume named with its pool, its path if that is known.
pub(super) fn path_in(drive: &Element, places: &Places) -> String {
    let of_volume = named_volume(drive).and_then(|(pool, volume)| Some(places.path(&pool, &volume)?.0));
    of_volume.unwrap_or_else(|| disk_path(drive))
}

fn disks(devices: &Element, live: Option<&Element>, place: &Place<'_>) -> Vec<ObservedDisk> {
    let same = |a: &Element, b: &Element| target(a) == target(b) && place.path(a) == place.path(b);
    fn of(devices: &Element) -> impl Iterator<Item = &Element> {
        devices.elements().filter(|d| is_drive(d, "disk"))
    }
    let seen = |disk: &Element, standing| {
        let (target, path) = (target(disk), place.path(disk));
        let (pool, volume) = place.places.volume_at(&path).unzip();
        ObservedDisk {
            pool,
            volume,
            capacity: place.capacity(disk, &target),
            boot: boot_number(disk),
            bus: disk.attribute_at(&["target"], "bus").and_then(DiskBus::parse),
            format: format(disk),
            standing,
            target,
            path,
        }
    };
    let defined = of(devices).map(|disk| {
        let runs = live.is_none_or(|live| of(live).any(|other| same(disk, other)));
        let standing = if runs {
            Standing::Whole
        } else {
            Standing::AtNextStart
        };
        seen(disk, standing)
    });
    let extra = live
        .into_iter()
        .flat_map(of)
        .filter(|disk| !of(devices).any(|other| same(disk, other)));
    defined
        .chain(extra.map(|disk| seen(disk, Standing::UntilStop)))
        .collect()
}

fn nics(devices: &Element, live: Option<&Element>) -> Vec<ObservedNic> {
    fn of(devices: &Element) -> impl Iterator<Item = (MacAddr, &Element)> {
        devices
            .named("interface")
            .filter_map(|nic| Some((mac(nic)?, nic)))
    }
    let find = |devices: &Element, wanted: MacAddr| of(devices).any(|(mac, _)| mac == wanted);
    let seen = |mac: MacAddr, nic: &Element, standing| ObservedNic {
        mac,
        attachment: attachment(nic),
        live_attachment: live
            .and_then(|live| of(live).find(|(other, _)| *other == mac))
            .map(|(_, running)| attachment(if is_aside(running) { nic } else { running })),
        cable: live
            .and_then(|live| of(live).find(|(other, _)| *other == mac))
            .map_or(Cable::AsDefined, |(_, running)| cable(nic, running)),
        model: nic.attribute_at(&["model"], "type").and_then(NicModel::parse),
        boot: boot_number(nic),
        vlan: nic.child("vlan").and_then(network_xml::vlan),
        isolation: isolation(nic),
        standing,
        addresses: Vec::new(),
    };
    let defined = of(devices).map(|(mac, nic)| {
        let runs = live.is_none_or(|live| find(live, mac));
        let standing = if runs {
            Standing::Whole
        } else {
            Standing::AtNextStart
        };
        seen(mac, nic, standing)
    });
    let extra = live
        .into_iter()
        .flat_map(of)
        .filter(|(mac, _)| !find(devices, *mac))
        .map(|(mac, nic)| seen(mac, nic, Standing::UntilStop));
    defined.chain(extra).collect()
}

/// Whom a NIC reaches on its network.
pub(crate) fn isolation(nic: &Element) -> Isolation {
    match nic.attribute_at(&["port"], "isolated") {
        Some("yes") => Isolation::Apart,
        _ => Isolation::Open,
    }
}

fn accelerator(domain: &Element) -> Accelerator {
    match domain.attribute("type") {
        Some("kvm") => Accelerator::Kvm,
        _ => Accelerator::Qemu,
    }
}

fn cpus(domain: &Element) -> u32 {
    domain.child("vcpu").map_or(1, |vcpu| {
        let current = vcpu.attribute("current").and_then(|text| text.parse().ok());
        current.or_else(|| vcpu.text().parse().ok()).unwrap_or(1)
    })
}

pub(super) fn cpus_max(domain: &Element) -> u32 {
    domain
        .child("vcpu")
        .and_then(|vcpu| vcpu.text().parse().ok())
        .unwrap_or(1)
}

pub(super) fn memory_max(domain: &Element) -> Mib {
    Mib(domain
        .child("memory")
        .map_or(0, |element| kib(element).div_ceil(1024)))
}

fn memory(domain: &Element) -> Mib {
    let element = domain.child("currentMemory").or_else(|| domain.child("memory"));
    Mib(element.map_or(0, |element| kib(element).div_ceil(1024)))
}

/// A size with libvirt's units; without one it means KiB.
pub(super) fn kib(element: &Element) -> u64 {
    let number: u64 = element.text().parse().unwrap_or(0);
    let bytes = match element.attribute("unit").unwrap_or("KiB") {
        "b" | "bytes" => number,
        "KB" => number.saturating_mul(1000),
        "MB" => number.saturating_mul(1_000_000),
        "M" | "MiB" => number.saturating_mul(1 << 20),
        "GB" => number.saturating_mul(1_000_000_000),
        "G" | "GiB" => number.saturating_mul(1 << 30),
        "TB" => number.saturating_mul(1_000_000_000_000),
        "T" | "TiB" => number.saturating_mul(1 << 40),
        _ => number.saturating_mul(1 << 10),
    };
    bytes.div_ceil(1024)
}

/// The place of a device in the boot order.
fn boot_number(device: &Element) -> Option<u32> {
    device.attribute_at(&["boot"], "order")?.parse().ok()
}

fn direct_boot(domain: &Element) -> Option<DirectBoot> {
    // Space at the ends of a command line is the user's own, and libvirt keeps it.
    let text_of = |name| domain.at(&["os", name]).map(Element::whole_text);
    let part = |name| text_of(name).filter(|text| !text.is_empty());
    Some(DirectBoot {
        kernel: part("kernel")?,
        initrd: part("initrd"),
        cmdline: part("cmdline"),
    })
}

fn target(drive: &Element) -> String {
    drive
        .attribute_at(&["target"], "dev")
        .unwrap_or_default()
        .to_owned()
}

/// Where a drive's content lies, as far as one text can say it; empty for a drive with nothing in it.
pub(crate) fn disk_path(drive: &Element) -> String {
    let Some(source) = drive.child("source") else {
        return String::new();
    };
    if let (Some(pool), Some(volume)) = (source.attribute("pool"), source.attribute("volume")) {
        return format!("{pool}/{volume}");
    }
    if let (Some(protocol), Some(name)) = (source.attribute("protocol"), source.attribute("name")) {
        return format!("{protocol}:{name}");
    }
    ["file", "dev", "dir"]
        .into_iter()
        .find_map(|attribute| source.attribute(attribute))
        .unwrap_or_default()
        .to_owned()
}

pub(crate) fn mac(interface: &Element) -> Option<MacAddr> {
    interface.attribute_at(&["mac"], "address")?.parse().ok()
}

/// Who has the cable out in the definition wants it so.
fn cable(defined: &Element, running: &Element) -> Cable {
    match (link(defined), link(running)) {
        (Link::Up, Link::Down) => Cable::Out,
        _ => Cable::AsDefined,
    }
}

/// The state of a NIC's link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Link {
    Up,
    Down,
}

pub(crate) fn link(interface: &Element) -> Link {
    match interface.attribute_at(&["link"], "state") {
        Some("down") => Link::Down,
        _ => Link::Up,
    }
}

pub(crate) fn attachment(interface: &Element) -> Attachment {
    let source = |attribute| interface.attribute_at(&["source"], attribute).map(str::to_owned);
    let kind = interface.attribute("type").unwrap_or_default();
    // While it runs, a card on a network that is a bridge of the host's is shown as on that bridge, with both names.
    let known = match (source("network"), kind) {
        (Some(network), _) => Some(Attachment::Network(network)),
        (None, "bridge") => source("bridge").map(Attachment::Bridge),
        _ => None,
    };
    known.unwrap_or_else(|| Attachment::Other(kind.to_owned()))
}

/// The host's networks that a definition names.
pub(crate) fn networks_of(detail: &MachineDetail) -> impl Iterator<Item = &str> {
    detail.nics.iter().filter_map(|nic| match &nic.attachment {
        Attachment::Network(name) => Some(name.as_str()),
        Attachment::Bridge(_) | Attachment::Other(_) => None,
    })
}
