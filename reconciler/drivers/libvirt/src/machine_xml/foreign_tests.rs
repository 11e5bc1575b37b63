//! Machines that others made: read with every disk where it lies, and edited without losing one.

use std::collections::BTreeMap;

use labyard_driver::ids::{Bytes, PoolName, VolumeName};
use labyard_driver::observed::{Capacity, MachineDetail, Standing};
use labyard_driver::spec::{DiskBus, DiskFormat, DiskSpec, MachineSpec};

use super::*;
use crate::places::{Place, Places, Store};
use crate::xml::Element;

fn places() -> Places {
    let mut places = Places::default();
    places.learn(&PoolName::from("default"), Place::new("/pool", Store::File));
    places.learn(&PoolName::from("fast"), Place::new("/fast", Store::File));
    places
}

fn with_disks(disks: &str) -> Element {
    let text = format!(
        "<domain type='qemu'><name>theirs</name><memory unit='KiB'>524288</memory><vcpu>1</vcpu>\
         <os><type machine='pc'>hvm</type></os><devices>{disks}</devices></domain>"
    );
    Element::parse(&text).unwrap()
}

fn read(domain: &Element, live: Option<&Element>) -> MachineDetail {
    let sizes = Sizes::Read(BTreeMap::from([("vda".to_owned(), None)]));
    detail(domain, live, &sizes, &places())
}

/// What an apply asks for that takes the machine over as it was read.
fn taken_over(detail: &MachineDetail) -> MachineSpec {
    let disks = detail.disks.iter().map(|disk| DiskSpec {
        key: disk.target.as_str().into(),
        target: disk.target.clone(),
        pool: disk.pool.clone().unwrap(),
        volume: disk.volume.clone().unwrap(),
        format: disk.format.unwrap(),
        bus: disk.bus.unwrap_or_default(),
    });
    MachineSpec {
        seed: None,
        nics: Vec::new(),
        disks: disks.collect(),
        ..super::tests::spec()
    }
}

const OF_A_VOLUME: &str = "<disk type='volume' device='disk'><driver name='qemu' type='raw'/>\
    <source pool='fast' volume='vm1.img' mode='host'><encryption format='luks'><secret type='passphrase'/>\
    </encryption></source><target dev='vda' bus='virtio'/></disk>";

#[test]
fn a_disk_that_is_named_with_its_pool_is_that_volume_and_not_gone() {
    let detail = read(&with_disks(OF_A_VOLUME), None);
    let disk = &detail.disks[0];
    assert_eq!(disk.pool, Some(PoolName::from("fast")));
    assert_eq!(disk.volume, Some(VolumeName::from("vm1.img")));
    assert_eq!(
        (disk.path.as_str(), disk.capacity),
        ("/fast/vm1.img", Capacity::Unknown)
    );
    assert_eq!(disk.format, Some(DiskFormat::Raw));
    let unknown = read(
        &with_disks(&OF_A_VOLUME.replace("pool='fast'", "pool='gone'")),
        None,
    );
    assert_eq!((&unknown.disks[0].pool, &unknown.disks[0].volume), (&None, &None));
}

#[test]
fn it_stays_the_same_disk_when_the_machine_is_taken_over() {
    let mut domain = with_disks(OF_A_VOLUME);
    let spec = taken_over(&read(&domain, None));
    edit(&mut domain, &spec, &places()).unwrap();
    let text = domain.to_string();
    let source = "<disk type='file' device='disk'><driver name='qemu' type='raw'/>\
                  <source file='/fast/vm1.img'><encryption format='luks'>";
    assert!(text.contains(source), "{text}");
    assert_eq!(text.matches("<disk ").count(), 1, "{text}");
    // What runs still says the pool until the next start.
    let standing = read(&domain, Some(&with_disks(OF_A_VOLUME))).disks;
    assert_eq!(standing.len(), 1);
    assert_eq!(standing[0].standing, Standing::Whole);
}

#[test]
fn a_disk_on_another_bus_than_is_asked_for_is_never_doubled() {
    let cases = [
        ("sda", "scsi", "dev='vda' bus='virtio'"),
        ("hda", "ide", "dev='hda' bus='ide'"),
    ];
    for (target, bus, expected) in cases {
        let mut domain = with_disks(&format!(
            "<disk type='file' device='disk'><driver name='qemu' type='raw'/><source file='/pool/x.img'/>\
             <target dev='{target}' bus='{bus}'/><address type='drive'/></disk>"
        ));
        let mut spec = taken_over(&read(&domain, None));
        (spec.disks[0].bus, spec.disks[0].target) = (DiskBus::Virtio, "vda".to_owned());
        edit(&mut domain, &spec, &places()).unwrap();
        let text = domain.to_string();
        assert_eq!(text.matches("/pool/x.img").count(), 1, "{text}");
        assert!(text.contains(expected) && text.contains("type='raw'"), "{text}");
    }
}

/// As version 0.8 of the provider dmacvicar/libvirt leaves a machine: disks by path, of which one is of plain bytes
/// in another pool, and a CD with cloud-init's files.
const OF_0_8: &str = "<disk type='file' device='disk'><driver name='qemu' type='qcow2'/>\
    <source file='/pool/web-root.qcow2'/><target dev='vda' bus='virtio'/><wwn>5000000000000001</wwn></disk>\
    <disk type='file' device='disk'><driver name='qemu' type='raw'/><source file='/fast/web-data.raw'/>\
    <target dev='vdb' bus='virtio'/></disk>\
    <disk type='file' device='cdrom'><driver name='qemu' type='raw'/><source file='/pool/commoninit.iso'/>\
    <target dev='hdd' bus='ide'/><readonly/></disk>\
    <channel type='unix'><target type='virtio' name='org.qemu.guest_agent.0'/></channel>\
    <rng model='virtio'><backend model='random'>/dev/urandom</backend></rng>";

/// As version 0.9 leaves one: disks by pool and volume, of plain bytes unless the configuration says otherwise.
const OF_0_9: &str = "<disk type='volume' device='disk'><driver name='qemu' type='qcow2'/>\
    <source pool='default' volume='web-root.qcow2'/><target dev='vda' bus='virtio'/></disk>\
    <disk type='volume' device='disk'><driver name='qemu' type='raw'/><source pool='fast' volume='web-data.raw'/>\
    <target dev='vdb' bus='virtio'/></disk>\
    <disk type='volume' device='cdrom'><driver name='qemu' type='raw'/>\
    <source pool='default' volume='commoninit.iso'/><target dev='sda' bus='sata'/><readonly/></disk>";

#[test]
fn a_machine_of_the_usual_provider_comes_with_its_disks_as_they_are() {
    for (version, devices) in [("0.8", OF_0_8), ("0.9", OF_0_9)] {
        let mut domain = with_disks(devices);
        let before = read(&domain, None);
        let seen: Vec<_> = before.disks.iter().map(|d| (d.path.as_str(), d.format)).collect();
        let expected = [
            ("/pool/web-root.qcow2", Some(DiskFormat::Qcow2)),
            ("/fast/web-data.raw", Some(DiskFormat::Raw)),
        ];
        assert_eq!(seen, expected, "{version}");
        let spec = taken_over(&before);
        edit(&mut domain, &spec, &places()).unwrap();
        let after = read(&domain, None);
        let seen: Vec<_> = after.disks.iter().map(|d| (d.path.as_str(), d.format)).collect();
        assert_eq!(seen, expected, "{version}: {domain}");
        let text = domain.to_string();
        assert!(
            text.contains("commoninit.iso"),
            "their CD stays in {version}: {text}"
        );
        let again = text.clone();
        edit(&mut domain, &spec, &places()).unwrap();
        assert_eq!(domain.to_string(), again, "{version}");
    }
}

#[test]
fn what_is_neither_plain_nor_qcow2_is_not_called_either() {
    let disk = OF_A_VOLUME.replace("type='raw'", "type='vmdk'");
    assert_eq!(read(&with_disks(&disk), None).disks[0].format, None);
    let unsaid = OF_A_VOLUME.replace(" type='raw'", "");
    assert_eq!(
        read(&with_disks(&unsaid), None).disks[0].format,
        Some(DiskFormat::Raw)
    );
    let sizes = Sizes::Read(BTreeMap::from([("vda".to_owned(), Some(Bytes::from_gib(2)))]));
    let running = detail(&with_disks(&unsaid), None, &sizes, &places());
    assert_eq!(running.disks[0].capacity, Capacity::Known(Bytes::from_gib(2)));
}
