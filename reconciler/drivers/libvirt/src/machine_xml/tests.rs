use std::collections::BTreeMap;

use labyard_driver::ids::{Bytes, DiskKey, Mib, NicKey, ObjectId, PoolName, VolumeName};
use labyard_driver::mark::{DiskMark, Made, Mark, NicMark};
use labyard_driver::observed::{Attachment, Capacity, MarkState, ScsiController, Standing};
use labyard_driver::spec::{
    Accelerator, BootDevice, CpuSpec, DirectBoot, DiskBus, DiskFormat, DiskSpec, DriveSpec, Firmware,
    Graphics, Guards, Isolation, MachineSpec, MachineType, MediumSpec, NicModel, NicSpec, NvramSpec,
    SecureBoot, Tpm,
};

use super::*;
use crate::mark_xml;
use crate::places::{Place, Places, Store};
use crate::testing::mark;
use crate::xml::Element;

mod by_hand;

fn pool() -> PoolName {
    PoolName::from("default")
}

fn places() -> Places {
    let mut places = Places::default();
    places.learn(&pool(), Place::new("/pool", Store::File));
    places
}

fn disk(key: &str, target: &str) -> DiskSpec {
    DiskSpec {
        key: DiskKey::from(key),
        target: target.to_owned(),
        pool: pool(),
        volume: VolumeName(format!("web.{key}")),
        format: DiskFormat::Qcow2,
        bus: DiskBus::Virtio,
    }
}

fn nic(key: &str, mac: &str, network: &str) -> NicSpec {
    NicSpec {
        key: NicKey::from(key),
        mac: mac.parse().unwrap(),
        attachment: Attachment::Network(network.to_owned()),
        vlan: None,
        model: NicModel::Virtio,
        isolation: Isolation::Open,
    }
}

pub(super) fn spec() -> MachineSpec {
    MachineSpec {
        id: ObjectId::from("2c4a7d1e-0000-4000-8000-000000000001"),
        host_name: "web".to_owned(),
        mark: mark("web"),
        cpus: 2,
        cpus_max: None,
        memory: Mib(512),
        memory_max: None,
        accelerator: Accelerator::Qemu,
        firmware: Firmware::Bios,
        guards: Guards::default(),
        nvram: None,
        boot_order: Vec::new(),
        machine_type: MachineType::Q35,
        cpu: CpuSpec::default(),
        graphics: Graphics::None,
        serial: None,
        media: Vec::new(),
        direct_boot: None,
        disks: vec![disk("root", "vda"), disk("data", "vdb")],
        seed: Some(MediumSpec {
            target: "sda".to_owned(),
            pool: pool(),
            volume: VolumeName::from("web.seed"),
        }),
        nics: vec![nic("lan", "52:54:00:00:00:01", "lab")],
    }
}

fn made(spec: &MachineSpec) -> Element {
    let mut domain = bare(spec);
    edit(&mut domain, spec, &places()).unwrap();
    Element::parse(&domain.to_string()).unwrap()
}

fn read(domain: &Element) -> labyard_driver::observed::MachineDetail {
    let sizes = BTreeMap::from([
        ("vda".to_owned(), Some(Bytes::from_gib(2))),
        ("vdb".to_owned(), None),
    ]);
    detail(domain, None, &Sizes::Read(sizes), &places())
}

#[test]
fn a_record_carries_the_mark_and_no_devices() {
    let record = bare(&spec());
    assert_eq!(
        mark_xml::of_definition(&record),
        MarkState::Ours(Box::new(mark("web")))
    );
    assert_eq!(record.at(&["devices"]).unwrap().elements().count(), 0);
    assert_eq!(record.text_at(&["on_crash"]).as_deref(), Some("preserve"));
}

#[test]
fn what_was_asked_for_is_what_is_read_back() {
    let detail = read(&made(&spec()));
    assert_eq!(
        (detail.cpus, detail.memory, detail.firmware),
        (2, Mib(512), Firmware::Bios)
    );
    assert_eq!(detail.accelerator, Accelerator::Qemu);
    assert_eq!(detail.disks[0].capacity, Capacity::Known(Bytes::from_gib(2)));
    assert_eq!(detail.disks[0].volume, Some(VolumeName::from("web.root")));
    assert_eq!(detail.disks[1].capacity, Capacity::Missing);
    assert_eq!(
        detail.cdroms["sda"].as_ref().unwrap().volume,
        Some(VolumeName::from("web.seed"))
    );
    assert_eq!(detail.nics[0].attachment, Attachment::Network("lab".to_owned()));
    assert_eq!(detail.nics[0].standing, Standing::Whole);
}

#[test]
fn the_same_specification_again_changes_no_byte() {
    let mut domain = made(&spec());
    let before = domain.to_string();
    edit(&mut domain, &spec(), &places()).unwrap();
    assert_eq!(domain.to_string(), before);
}

#[test]
fn a_machine_has_console_agent_random_numbers_and_spare_ports() {
    let domain = made(&spec());
    let devices = domain.child("devices").unwrap();
    let first = devices.elements().next().unwrap();
    assert_eq!(first.attribute("model"), Some("pcie-root"));
    let ports = devices
        .named("controller")
        .filter(|c| c.attribute("model") == Some("pcie-root-port"))
        .count();
    assert_eq!(
        ports,
        3 + 4 + 8,
        "two disks and a NIC; agent, rng, balloon and the seed's controller; spares"
    );
    assert_eq!(devices.attribute_at(&["serial"], "type"), Some("pty"));
    assert_eq!(
        devices.attribute_at(&["channel", "target"], "name"),
        Some("org.qemu.guest_agent.0")
    );
    assert_eq!(
        devices.text_at(&["rng", "backend"]).as_deref(),
        Some("/dev/urandom")
    );
    assert!(devices.child("graphics").is_none() && devices.child("video").is_none());
}

#[test]
fn the_seed_is_on_a_scsi_controller_that_cloud_kernels_drive() {
    let controllers = |domain: &Element| -> Vec<(Option<String>, Option<String>)> {
        let devices = domain.child("devices").unwrap();
        let scsi = devices
            .named("controller")
            .filter(|c| c.attribute("type") == Some("scsi"));
        let of = |c: &Element, name: &str| c.attribute(name).map(str::to_owned);
        scsi.map(|c| (of(c, "index"), of(c, "model"))).collect()
    };
    let drive_at = |domain: &Element| {
        let devices = domain.child("devices").unwrap();
        let wanted = drives::wanted(&spec(), &places()).unwrap();
        let drive = wanted[0].find(devices).unwrap();
        assert_eq!(drive.attribute_at(&["target"], "bus"), Some("scsi"));
        drive.attribute_at(&["address"], "controller").map(str::to_owned)
    };
    let own = (Some("0".to_owned()), Some("virtio-scsi".to_owned()));
    let domain = made(&spec());
    assert_eq!(controllers(&domain), [own]);
    assert_eq!(drive_at(&domain).as_deref(), Some("0"));

    let other = "<controller type='scsi' index='0' model='lsilogic'/></devices>";
    let without = MachineSpec { seed: None, ..spec() };
    let text = made(&without).to_string().replace("</devices>", other);
    let mut domain = Element::parse(&text).unwrap();
    edit(&mut domain, &spec(), &places()).unwrap();
    assert_eq!(
        controllers(&domain)[1],
        (Some("1".to_owned()), Some("virtio-scsi".to_owned()))
    );
    assert_eq!(drive_at(&domain).as_deref(), Some("1"));
}

#[test]
fn an_edit_leaves_a_foreign_device_byte_for_byte_equal() {
    const WATCHDOG: &str = "<watchdog model=\"itco\"  action='reset'>\n      <address x:y='&#x41;'/><!-- by hand -->\n    </watchdog>";
    const COMMAND: &str = "<qemu:commandline xmlns:qemu='http://libvirt.org/schemas/domain/qemu/1.0'><qemu:arg value=\"-x\"/></qemu:commandline>";
    let text = made(&spec()).to_string();
    let text = text.replace("</devices>", &format!("{WATCHDOG}</devices>{COMMAND}"));
    let text = text.replace("<metadata>", "<metadata><o:os xmlns:o='urn:o' id=\"d\"/>");
    let mut domain = Element::parse(&text).unwrap();
    let mut changed = spec();
    changed.cpus = 4;
    changed.memory = Mib(1024);
    changed.disks.remove(1);
    changed.nics.push(nic("wan", "52:54:00:00:00:02", "out"));
    edit(&mut domain, &changed, &places()).unwrap();
    let written = domain.to_string();
    for foreign in [WATCHDOG, COMMAND, "<metadata><o:os xmlns:o='urn:o' id=\"d\"/>"] {
        assert!(written.contains(foreign), "{foreign} in {written}");
    }
    let detail = read(&domain);
    assert_eq!((detail.cpus, detail.memory), (4, Mib(1024)));
    assert_eq!((detail.disks.len(), detail.nics.len()), (1, 2));
}

#[test]
fn devices_attached_by_others_stay_and_keep_their_boot_numbers() {
    let foreign_disk = "<disk type='block' device='disk'><source dev='/dev/sdx'/><target dev='vdz' bus='virtio'/><boot order='1'/></disk>";
    let foreign_nic = "<interface type='user'><mac address='52:54:00:00:00:99'/></interface>";
    let text = made(&spec())
        .to_string()
        .replace("</devices>", &format!("{foreign_disk}{foreign_nic}</devices>"));
    let mut domain = Element::parse(&text).unwrap();
    let mut changed = spec();
    changed.disks = vec![disk("data", "vdb"), disk("root", "vda")];
    changed.nics.clear();
    edit(&mut domain, &changed, &places()).unwrap();
    assert!(domain.to_string().contains(foreign_disk));
    assert!(domain.to_string().contains(foreign_nic));
    let order = |target: &str| {
        let devices = domain.child("devices").unwrap();
        let disk = devices
            .named("disk")
            .find(|d| d.attribute_at(&["target"], "dev") == Some(target));
        disk.unwrap().attribute_at(&["boot"], "order").map(str::to_owned)
    };
    assert_eq!(
        (order("vdb").as_deref(), order("vda").as_deref()),
        (Some("2"), Some("3"))
    );
}

#[test]
fn a_device_of_ours_is_found_again_whatever_was_changed_by_hand() {
    let text = made(&spec()).to_string();
    let text = text
        .replace("52:54:00:00:00:01", "52:54:00:aa:aa:aa")
        .replace("/pool/web.data", "/elsewhere");
    let mut domain = Element::parse(&text).unwrap();
    edit(&mut domain, &spec(), &places()).unwrap();
    assert_eq!(read(&domain), read(&made(&spec())));
}

#[test]
fn an_imported_machine_loses_only_what_its_mark_called_ours() {
    let mut before: Mark = mark("web");
    let of = |volume: &str, target: &str| DiskMark {
        made: Made::Whole,
        pool: pool(),
        volume: VolumeName::from(volume),
        format: None,
        target: target.to_owned(),
        image: None,
        clone: None,
        on_remove: None,
        boot: None,
    };
    before.disks = [("root", of("old.root", "vda")), ("data", of("old.data", "vdb"))]
        .map(|(key, mark)| (DiskKey::from(key), mark))
        .into();
    let nic_mark = |mac: &str| NicMark {
        network: "lab".to_owned(),
        mac: mac.parse().unwrap(),
        reserved: None,
        boot: None,
    };
    before.nics = [("a", "52:54:00:00:00:0a"), ("b", "52:54:00:00:00:0b")]
        .map(|(key, mac)| (NicKey::from(key), nic_mark(mac)))
        .into();
    let mut domain = Element::parse(
        "<domain type='qemu'><name>old</name><memory unit='KiB'>524288</memory><vcpu placement='static'>2</vcpu>\
         <os><type machine='pc'>hvm</type><boot dev='hd'/></os><devices><emulator>/usr/bin/q</emulator>\
         <disk type='file'><source file='/pool/old.root'/><target dev='vda' bus='virtio'/></disk>\
         <disk type='file'><source file='/pool/old.data'/><target dev='vdb' bus='virtio'/></disk>\
         <disk type='file'><source file='/pool/theirs'/><target dev='vdc' bus='virtio'/></disk>\
         <interface type='network'><mac address='52:54:00:00:00:0A'/><source network='lab' portgroup='g'/></interface>\
         <interface type='network'><mac address='52:54:00:00:00:0b'/><source network='lab'/></interface>\
         </devices></domain>",
    )
    .unwrap();
    mark_xml::put(&mut domain, &before);
    let mut wanted = spec();
    wanted.seed = None;
    wanted.disks = vec![DiskSpec {
        volume: VolumeName::from("old.root"),
        ..disk("root", "vda")
    }];
    wanted.nics = vec![nic("a", "52:54:00:00:00:0a", "lab")];
    edit(&mut domain, &wanted, &places()).unwrap();
    let devices = domain.child("devices").unwrap();
    let paths: Vec<String> = devices.named("disk").map(disk_path).collect();
    assert_eq!(paths, ["/pool/old.root", "/pool/theirs"]);
    let text = domain.to_string();
    assert!(text.contains("<source network='lab' portgroup='g'/>"), "{text}");
    assert!(
        text.contains("<boot dev='hd'/>") && !text.contains("<boot order"),
        "{text}"
    );
    assert!(
        !text.contains("52:54:00:00:00:0b") && !text.contains("<serial type"),
        "{text}"
    );
    assert!(!text.contains("pcie-root-port"), "{text}");
}

#[test]
fn firmware_accelerator_and_direct_boot_change_both_ways() {
    let mut wanted = spec();
    wanted.firmware = Firmware::Uefi;
    wanted.accelerator = Accelerator::Kvm;
    wanted.direct_boot = Some(DirectBoot {
        kernel: "/k".to_owned(),
        initrd: None,
        cmdline: Some(" a=\"<b>\" ".to_owned()),
    });
    let mut domain = made(&spec());
    edit(&mut domain, &wanted, &places()).unwrap();
    let detail = read(&domain);
    assert_eq!(
        (detail.firmware, detail.accelerator),
        (wanted.firmware, wanted.accelerator)
    );
    assert_eq!(detail.direct_boot, wanted.direct_boot);
    assert_eq!(domain.attribute_at(&["cpu"], "mode"), Some("host-passthrough"));
    let features = domain.at(&["os", "firmware"]).unwrap();
    assert_eq!(
        features
            .named("feature")
            .filter(|f| f.attribute("enabled") == Some("no"))
            .count(),
        2
    );
    edit(&mut domain, &spec(), &places()).unwrap();
    assert_eq!(read(&domain), read(&made(&spec())));
}

#[test]
fn a_running_machine_shows_what_only_its_definition_has() {
    let domain = made(&spec());
    let mut running = spec();
    running.disks.truncate(1);
    running.nics[0].attachment = Attachment::Network("old".to_owned());
    running.cpus = 1;
    let live = made(&running);
    let detail = detail(&domain, Some(&live), &Sizes::Unread, &places());
    assert_eq!(
        detail.disks.iter().map(|d| d.standing).collect::<Vec<_>>(),
        [Standing::Whole, Standing::AtNextStart]
    );
    assert_eq!(detail.disks[0].capacity, Capacity::Unknown);
    assert_eq!(
        (&detail.nics[0].live_attachment, detail.cpus, detail.live_cpus),
        (&Some(Attachment::Network("old".to_owned())), 2, Some(1))
    );
}

#[test]
fn a_card_that_runs_on_a_network_which_is_a_bridge_of_the_hosts_is_on_that_network() {
    let on = |text: &str| super::read::attachment(&Element::parse(text).unwrap());
    let running = "<interface type='bridge'><source network='trunk' portid='p' bridge='br7'/></interface>";
    assert_eq!(on(running), Attachment::Network("trunk".to_owned()));
    let plain = "<interface type='bridge'><source bridge='br7'/></interface>";
    assert_eq!(on(plain), Attachment::Bridge("br7".to_owned()));
}

#[test]
fn maxima_of_others_are_kept_where_they_leave_room() {
    let text = made(&spec())
        .to_string()
        .replace("<vcpu>2</vcpu>", "<vcpu current='2'>8</vcpu>");
    let mut domain = Element::parse(&text).unwrap();
    let mut wanted = spec();
    wanted.cpus = 4;
    edit(&mut domain, &wanted, &places()).unwrap();
    assert!(domain.to_string().contains("<vcpu current='4'>8</vcpu>"));
    wanted.cpus = 9;
    edit(&mut domain, &wanted, &places()).unwrap();
    assert!(domain.to_string().contains("<vcpu>9</vcpu>"));
}

fn tools(medium: Option<&str>) -> DriveSpec {
    DriveSpec {
        key: "tools".into(),
        target: "sdc".to_owned(),
        medium: medium.map(|volume| (pool(), volume.into())),
    }
}

#[test]
fn a_medium_is_changed_taken_out_of_its_drive_and_the_drive_goes_when_nothing_asks_for_it() {
    let mut wanted = MachineSpec {
        media: vec![tools(Some("one.iso"))],
        ..spec()
    };
    let mut domain = made(&wanted);
    let content = |domain: &Element, wanted: &MachineSpec| {
        let drives = drives::wanted(wanted, &places()).unwrap();
        let devices = domain.child("devices").unwrap();
        let there = drives.iter().map(|drive| drive.find(devices).map(disk_path));
        there.collect::<Vec<_>>()
    };
    let seed = Some("/pool/web.seed".to_owned());
    assert_eq!(
        content(&domain, &wanted),
        [seed.clone(), Some("/pool/one.iso".to_owned())]
    );
    let place = |domain: &Element| {
        let drives = drives::wanted(&wanted, &places()).unwrap();
        let drive = drives[1].find(domain.child("devices").unwrap()).unwrap();
        drive.attribute_at(&["address"], "target").map(str::to_owned)
    };
    assert_eq!(place(&domain).as_deref(), Some("2"));
    for medium in [Some("two.iso"), None] {
        wanted.media = vec![tools(medium)];
        edit(&mut domain, &wanted, &places()).unwrap();
        let path = medium.map_or(String::new(), |volume| format!("/pool/{volume}"));
        assert_eq!(content(&domain, &wanted), [seed.clone(), Some(path)]);
    }
    wanted.media.clear();
    edit(&mut domain, &wanted, &places()).unwrap();
    assert_eq!(content(&domain, &wanted), [seed]);
    assert_eq!(domain.to_string().matches("cdrom").count(), 1);
}

#[test]
fn a_drive_that_somebody_else_put_there_stays() {
    let foreign = "<disk type='file' device='cdrom'><source file='/other.iso'/><target dev='sdx' bus='sata'/>\
        </disk></devices>";
    let text = made(&spec()).to_string().replace("</devices>", foreign);
    let mut domain = Element::parse(&text).unwrap();
    let wanted = MachineSpec {
        media: vec![tools(None)],
        ..spec()
    };
    edit(&mut domain, &wanted, &places()).unwrap();
    assert!(domain.to_string().contains("/other.iso"));
}

#[test]
fn the_older_chipset_gets_no_ports_of_the_newer() {
    let domain = made(&MachineSpec {
        machine_type: MachineType::Pc,
        ..spec()
    });
    assert!(domain.to_string().contains("machine=\"pc\"") || domain.to_string().contains("machine='pc'"));
    assert!(!domain.to_string().contains("pcie-root"));
}

#[test]
fn keys_that_libvirt_would_not_take_as_an_alias_are_spelled_out() {
    assert_eq!(alias("disk", "root-1"), "ua-labyard-disk-root-1");
    assert_eq!(alias("disk", "a.b_c"), "ua-labyard-disk-a_2e_b_5f_c");
}

#[test]
fn room_is_said_beside_what_is_in_it() {
    let roomy = MachineSpec {
        cpus_max: Some(4),
        memory_max: Some(Mib(1024)),
        ..spec()
    };
    let mut domain = made(&roomy);
    let text = domain.to_string();
    for part in [
        "<vcpu current='2'>4</vcpu>",
        "<memory unit='KiB'>1048576</memory>",
        "<currentMemory unit='KiB'>524288</currentMemory>",
    ] {
        assert!(text.contains(part), "no {part} in {text}");
    }
    let detail = read(&domain);
    assert_eq!((detail.cpus, detail.cpus_max), (2, 4));
    assert_eq!((detail.memory, detail.memory_max), (Mib(512), Mib(1024)));
    edit(&mut domain, &roomy, &places()).unwrap();
    assert_eq!(domain.to_string(), text);
    // Left out, room that is there stays; asked for anew, it changes.
    edit(&mut domain, &MachineSpec { cpus: 3, ..spec() }, &places()).unwrap();
    let detail = read(&domain);
    assert_eq!(
        (detail.cpus, detail.cpus_max, detail.memory_max),
        (3, 4, Mib(1024))
    );
    let tight = MachineSpec {
        cpus_max: Some(2),
        memory_max: Some(Mib(512)),
        ..spec()
    };
    edit(&mut domain, &tight, &places()).unwrap();
    let detail = read(&domain);
    assert_eq!((detail.cpus, detail.cpus_max), (2, 2));
    assert_eq!((detail.memory, detail.memory_max), (Mib(512), Mib(512)));
}

#[test]
fn buses_and_models_are_written_changed_and_read() {
    let mut wanted = spec();
    wanted.disks = vec![
        disk("root", "vda"),
        DiskSpec {
            bus: DiskBus::Scsi,
            ..disk("data", "sdb")
        },
    ];
    wanted.nics[0].model = NicModel::E1000e;
    for mut domain in [made(&wanted), made(&spec())] {
        edit(&mut domain, &wanted, &places()).unwrap();
        let detail = read(&domain);
        let buses: Vec<_> = detail.disks.iter().map(|d| (d.target.as_str(), d.bus)).collect();
        assert_eq!(
            buses,
            [("vda", Some(DiskBus::Virtio)), ("sdb", Some(DiskBus::Scsi))]
        );
        assert_eq!(detail.nics[0].model, Some(NicModel::E1000e));
        let data = "controller='0' bus='0' target='1' unit='0'";
        assert!(domain.to_string().contains(data), "{domain}");
        edit(&mut domain, &spec(), &places()).unwrap();
        assert_eq!(read(&domain), read(&made(&spec())));
    }
}

/// As libvirt shows a running machine: each device on the bus of a port of its own.
#[test]
fn a_running_machine_tells_its_free_ports_and_its_place_for_scsi_disks() {
    let live = Element::parse(
        "<domain><memory unit='KiB'>1048576</memory><vcpu current='1'>4</vcpu><devices>\
         <controller type='pci' index='0' model='pcie-root'/>\
         <controller type='pci' index='1' model='pcie-root-port'><address type='pci' bus='0x00' slot='0x02'/></controller>\
         <controller type='pci' index='2' model='pcie-root-port'><address type='pci' bus='0x00' slot='0x02'/></controller>\
         <controller type='pci' index='10' model='pcie-root-port'><address type='pci' bus='0x00' slot='0x02'/></controller>\
         <disk device='disk'><target dev='vda' bus='virtio'/><address type='pci' bus='0x0a' slot='0x00'/></disk>\
         </devices></domain>",
    )
    .unwrap();
    let room = room::of(&live);
    assert_eq!((room.cpus, room.memory, room.ports), (4, Mib(1024), 2));
    assert_eq!(room.scsi, ScsiController::Missing);
    assert_eq!(room::of(&made(&spec())).scsi, ScsiController::There);
}

#[test]
fn a_plugged_device_keeps_its_place_in_the_definition() {
    const PLACE: &str = "<address type='pci' bus='0x09' slot='0x00'/>";
    let mut running = spec();
    running.disks.push(disk("more", "vdc"));
    let live = made(&running).to_string();
    let with_place = format!("<alias name='ua-labyard-disk-more'/>{PLACE}");
    let live = live.replace("<alias name='ua-labyard-disk-more'/>", &with_place);
    let live = Element::parse(&live).unwrap();
    let mut definition = made(&running);
    keep_addresses(&mut definition, &live);
    assert_eq!(definition.to_string().matches(PLACE).count(), 1);
    let text = definition.to_string();
    keep_addresses(&mut definition, &live);
    assert_eq!(definition.to_string(), text);
    let machine = detail(&made(&spec()), Some(&live), &Sizes::Unread, &places());
    assert_eq!(machine.disks[2].standing, Standing::UntilStop);
}

fn edge() -> MachineSpec {
    MachineSpec {
        firmware: Firmware::Uefi,
        guards: Guards {
            secure_boot: SecureBoot::Microsoft,
            tpm: Tpm::Emulated,
        },
        nvram: Some(NvramSpec {
            pool: pool(),
            volume: VolumeName::from("web.nvram.1"),
        }),
        boot_order: vec![
            BootDevice::Nic(NicKey::from("lan")),
            BootDevice::Disk(DiskKey::from("data")),
            BootDevice::Disk(DiskKey::from("root")),
        ],
        ..spec()
    }
}

#[test]
fn firmware_guards_variables_and_boot_order_are_read_as_they_were_asked_for() {
    let domain = made(&edge());
    let detail = read(&domain);
    assert_eq!(detail.guards, edge().guards);
    let nvram = detail.nvram.unwrap();
    assert_eq!(nvram.path, "/pool/web.nvram.1");
    assert_eq!(nvram.volume, Some(VolumeName::from("web.nvram.1")));
    let numbers = |d: &labyard_driver::observed::ObservedDisk| (d.target.clone(), d.boot);
    let disks: Vec<_> = detail.disks.iter().map(numbers).collect();
    assert_eq!(disks, [("vda".to_owned(), Some(3)), ("vdb".to_owned(), Some(2))]);
    assert_eq!(detail.nics[0].boot, Some(1));
    let mut again = domain.clone();
    edit(&mut again, &edge(), &places()).unwrap();
    assert_eq!(again.to_string(), domain.to_string());
}

#[test]
fn a_machine_that_boots_from_the_network_tells_its_firmware_so_and_only_as_long() {
    let mut domain = made(&edge());
    let text = domain.to_string();
    assert!(
        text.contains("<entry name='opt/org.tianocore/IPv6Support'>n</entry>"),
        "{text}"
    );
    assert!(text.contains("<rom enabled='no'/>"), "{text}");
    let from_disk = MachineSpec {
        boot_order: Vec::new(),
        ..edge()
    };
    edit(&mut domain, &from_disk, &places()).unwrap();
    let text = domain.to_string();
    assert!(!text.contains("sysinfo") && !text.contains("<rom"), "{text}");
    assert_eq!(read(&domain).nics[0].boot, None);
    let by_bios = MachineSpec {
        boot_order: edge().boot_order,
        ..spec()
    };
    assert!(!made(&by_bios).to_string().contains("sysinfo"));
}

#[test]
fn settings_of_others_stay_beside_those_of_the_network_boot() {
    let entry = "<sysinfo type='fwcfg'><entry name='opt/site/x'>1</entry></sysinfo>";
    let bare = bare(&edge())
        .to_string()
        .replace("<devices", &format!("{entry}<devices"));
    let mut domain = Element::parse(&bare).unwrap();
    edit(&mut domain, &edge(), &places()).unwrap();
    assert_eq!(domain.to_string().matches("<entry").count(), 4);
    edit(&mut domain, &spec(), &places()).unwrap();
    assert!(domain.to_string().contains(entry), "{domain}");
}

#[test]
fn secure_boot_goes_with_all_that_libvirt_chose_for_it_and_the_tpm_of_others_stays() {
    let mut domain = made(&edge());
    domain
        .child_mut("features")
        .unwrap()
        .push(Element::new("smm").with("state", "on"));
    let off = MachineSpec {
        guards: Guards::default(),
        ..edge()
    };
    edit(&mut domain, &off, &places()).unwrap();
    let text = domain.to_string();
    assert!(!text.contains("smm") && !text.contains("<tpm"), "{text}");
    assert!(
        text.contains("<feature enabled='no' name='secure-boot'/>"),
        "{text}"
    );
    assert!(text.contains("<nvram>/pool/web.nvram.1</nvram>"), "{text}");
    let passed = "<tpm model='tpm-tis'><backend type='passthrough'/></tpm>";
    let text = made(&spec())
        .to_string()
        .replace("</devices>", &format!("{passed}</devices>"));
    let mut domain = Element::parse(&text).unwrap();
    edit(&mut domain, &spec(), &places()).unwrap();
    assert!(domain.to_string().contains(passed));
}
