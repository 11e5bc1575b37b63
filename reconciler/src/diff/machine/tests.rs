use super::*;
use crate::desired::{DesiredImage, DesiredReady, DesiredSeed, DesiredShutdown, SeedVersion, Wait, Wishes};
use labyard_driver::ids::{Mib, PoolName};
use labyard_driver::mark::{ImageMark, SeedMark};
use labyard_driver::observed::{Room, ScsiController};
use labyard_driver::spec::{DiskBus, Firmware, Isolation, NicModel};
use std::collections::BTreeMap;
use std::time::Duration;

fn desired() -> DesiredMachine {
    DesiredMachine {
        namespace: "default".into(),
        name: "web".into(),
        cpus: 1,
        cpus_max: None,
        memory: Mib(256),
        memory_max: None,
        firmware: Firmware::Bios,
        guards: Default::default(),
        ca_certificate: None,
        machine_type: None,
        cpu: Default::default(),
        graphics: Default::default(),
        serial: None,
        autostart: Default::default(),
        media: Default::default(),
        direct_boot: None,
        disks: BTreeMap::from([(
            "root".into(),
            DesiredDisk {
                size: Some(Bytes::from_gib(2)),
                image: Some(DesiredImage {
                    source: "file:/i".into(),
                    digest: None,
                    sha256: None,
                }),
                clone: None,
                pool: None,
                bus: DiskBus::Virtio,
                on_remove: None,
                boot: None,
            },
        )]),
        nics: BTreeMap::from([(
            "lan".into(),
            DesiredNic {
                network: "lab".into(),
                mac: "52:54:00:00:00:01".parse().unwrap(),
                fixed: None,
                vlan: None,
                boot: None,
                model: NicModel::Virtio,
                isolation: Isolation::Open,
            },
        )]),
        seed: None,
        power: DesiredPower::Running,
        ready: DesiredReady {
            wait: Wait::None,
            timeout: Duration::ZERO,
        },
        shutdown: DesiredShutdown::Force,
        planned: Default::default(),
        member: None,
        wishes: Wishes::default(),
    }
}

fn current() -> MachineView {
    let image = ImageMark {
        pool: None,
        source: "file:/i".into(),
        sha256: None,
        digest: None,
        volume: None,
        upload: None,
    };
    MachineView {
        name: "web".into(),
        id: "id".into(),
        owner: Owner::Ours {
            identity: crate::identity::Identity {
                host: None,
                token: "t".into(),
                origin: "t".into(),
                id: "id".into(),
            },
            ownership: labyard_driver::mark::Ownership::Confirmed,
            stage: labyard_driver::mark::Stage::Finished,
        },
        power: Power::Running,
        cpus: 1,
        cpus_max: 1,
        live_cpus: Some(1),
        memory: Mib(256),
        memory_max: Mib(256),
        live_memory: Some(Mib(256)),
        pending: Pending::Nothing,
        room: Some(Room {
            cpus: 1,
            memory: Mib(256),
            ports: 8,
            scsi: ScsiController::Missing,
        }),
        firmware: Firmware::Bios,
        guards: Default::default(),
        ca_certificate: None,
        hardware: Default::default(),
        vnc_port: None,
        autostart: Default::default(),
        media: Default::default(),
        direct_boot: None,
        obstacles: Vec::new(),
        disks: BTreeMap::from([(
            "root".into(),
            DiskView {
                size: Some(Bytes::from_gib(2)),
                image: Some(image),
                clone: None,
                pool: None,
                bus: Some(DiskBus::Virtio),
                on_remove: None,
                boot: None,
            },
        )]),
        nics: BTreeMap::from([(
            "lan".into(),
            NicView {
                network: "lab".into(),
                mac: "52:54:00:00:00:01".parse().unwrap(),
                model: Some(NicModel::Virtio),
                reserved: None,
                fixed: None,
                vlan: None,
                addresses: vec![],
                boot: None,
            },
        )]),
        seed: SeedView::None,
        wishes: Wishes::default(),
    }
}

fn one(changes: &[Change]) -> (String, Disturbance) {
    assert_eq!(changes.len(), 1, "{changes:?}");
    (changes[0].what.to_string(), changes[0].disturbance)
}

#[test]
fn another_pool_means_another_disk_and_none_written_means_where_it_is() {
    let in_pool = |pool: Option<&str>| {
        let mut wanted = desired();
        wanted.disks.get_mut(&DiskKey::from("root")).unwrap().pool = pool.map(PoolName::from);
        wanted
    };
    let mut there = current();
    there.disks.get_mut(&DiskKey::from("root")).unwrap().pool = Some("fast".into());
    assert_eq!(diff(&in_pool(None), &there), []);
    assert_eq!(diff(&in_pool(Some("fast")), &there), []);
    assert_eq!(
        one(&diff(&in_pool(Some("slow")), &there)),
        ("disks[\"root\"].storage_pool".to_owned(), Disturbance::Replace)
    );
}

#[test]
fn a_machine_as_it_shall_be_needs_nothing() {
    assert_eq!(diff(&desired(), &current()), []);
}

#[test]
fn memory_restarts_a_running_machine_and_disturbs_no_stopped_one() {
    let wanted = DesiredMachine {
        memory: Mib(512),
        ..desired()
    };
    assert_eq!(
        one(&diff(&wanted, &current())),
        ("memory_mib".into(), Disturbance::Restart)
    );
    let wanted = DesiredMachine {
        power: DesiredPower::Stopped,
        ..wanted
    };
    let stopped = MachineView {
        power: Power::Stopped,
        ..current()
    };
    assert_eq!(
        one(&diff(&wanted, &stopped)),
        ("memory_mib".into(), Disturbance::Live)
    );
}

#[test]
fn a_disk_grows_live_and_never_shrinks() {
    let sized = |gib| {
        let mut wanted = desired();
        wanted.disks.get_mut(&DiskKey::from("root")).unwrap().size = Some(Bytes::from_gib(gib));
        one(&diff(&wanted, &current()))
    };
    assert_eq!(sized(3), ("disks[\"root\"].size_gib".into(), Disturbance::Live));
    assert_eq!(
        sized(1),
        ("disks[\"root\"].size_gib".into(), Disturbance::DestroysData)
    );
}

#[test]
fn a_size_that_the_host_did_not_tell_is_no_difference() {
    let mut unknown = current();
    unknown.disks.get_mut(&DiskKey::from("root")).unwrap().size = None;
    assert_eq!(diff(&desired(), &unknown), []);
}

#[test]
fn a_removed_disk_follows_its_on_remove_and_a_blank_one_is_kept_by_default() {
    let mut wanted = desired();
    wanted.disks.clear();
    assert_eq!(
        diff(&wanted, &current())[0].what,
        What::Disk("root".into(), DiskChange::Deleted)
    );
    let mut blank = current();
    blank.disks.get_mut(&DiskKey::from("root")).unwrap().image = None;
    assert_eq!(
        diff(&wanted, &blank)[0].what,
        What::Disk("root".into(), DiskChange::RemovalRefused)
    );
    blank.disks.get_mut(&DiskKey::from("root")).unwrap().on_remove = Some(OnRemove::Detach);
    assert_eq!(
        diff(&wanted, &blank)[0].what,
        What::Disk("root".into(), DiskChange::Detached)
    );
}

#[test]
fn another_image_replaces_but_an_imported_disk_takes_one_on_record() {
    let mut wanted = desired();
    wanted
        .disks
        .get_mut(&DiskKey::from("root"))
        .unwrap()
        .image
        .as_mut()
        .unwrap()
        .source = "file:/j".into();
    assert_eq!(
        one(&diff(&wanted, &current())),
        ("disks[\"root\"].image".into(), Disturbance::Replace)
    );
    let mut imported = current();
    imported.disks.get_mut(&DiskKey::from("root")).unwrap().image = None;
    assert_eq!(diff(&wanted, &imported), []);
}

#[test]
fn a_card_put_elsewhere_by_hand_is_moved_back_while_the_machine_runs() {
    let mut moved = current();
    moved.nics.get_mut(&NicKey::from("lan")).unwrap().network = "default".into();
    assert_eq!(
        one(&diff(&desired(), &moved)),
        ("nics[\"lan\"].network".into(), Disturbance::Live)
    );
}

#[test]
fn a_seed_is_renewed_when_it_changed_or_was_ejected() {
    let version = SeedVersion {
        plain: "p".into(),
        secret: None,
        guest: None,
    };
    let seed = DesiredSeed {
        family: labyard_schema::vm::OsFamily::Linux,
        guest: None,
        user_data: None,
        network_config: None,
        meta_data: None,
        version: version.clone(),
    };
    let wanted = DesiredMachine {
        seed: Some(seed),
        ..desired()
    };
    let mark = SeedMark {
        pool: "default".into(),
        volume: "v".into(),
        length: 1,
        revision: 1,
    };
    let same = MachineView {
        seed: SeedView::Inserted(mark),
        wishes: Wishes {
            seed: Some(version),
            ..Wishes::default()
        },
        ..current()
    };
    assert_eq!(diff(&wanted, &same), []);
    let ejected = MachineView {
        seed: SeedView::Broken,
        ..same.clone()
    };
    assert_eq!(
        one(&diff(&wanted, &ejected)),
        ("cloud_init".into(), Disturbance::Live)
    );
    let changed = MachineView {
        wishes: Wishes::default(),
        ..same
    };
    assert_eq!(
        one(&diff(&wanted, &changed)),
        ("cloud_init".into(), Disturbance::Live)
    );
}

#[test]
fn a_seed_that_differs_in_what_the_guest_is_told_differs_there() {
    let version = |plain: &str, guest: Option<&str>| SeedVersion {
        plain: plain.into(),
        secret: None,
        guest: guest.map(str::to_owned),
    };
    let change = |wanted: Option<SeedVersion>, there: Option<SeedVersion>| {
        let seed = wanted.map(|version| DesiredSeed {
            family: labyard_schema::vm::OsFamily::Linux,
            guest: None,
            user_data: None,
            network_config: None,
            meta_data: None,
            version,
        });
        let mark = SeedMark {
            pool: "default".into(),
            volume: "v".into(),
            length: 1,
            revision: 1,
        };
        let wanted = DesiredMachine { seed, ..desired() };
        let there = MachineView {
            seed: there
                .as_ref()
                .map_or(SeedView::None, |_| SeedView::Inserted(mark)),
            wishes: Wishes {
                seed: there,
                ..Wishes::default()
            },
            ..current()
        };
        one(&diff(&wanted, &there)).0
    };
    let (one, other) = (version("p", Some("a")), version("p", Some("b")));
    assert_eq!(change(Some(one.clone()), Some(other.clone())), "guest");
    assert_eq!(change(Some(one.clone()), None), "guest");
    assert_eq!(change(None, Some(other.clone())), "guest");
    assert_eq!(change(Some(version("q", Some("b"))), Some(other)), "cloud_init");
    assert_eq!(change(Some(one), Some(version("p", None))), "guest");
    assert_eq!(change(None, Some(version("p", None))), "cloud_init");
}

#[test]
fn the_first_seed_of_a_running_machine_comes_with_its_drive_and_disturbs_nothing() {
    let version = SeedVersion {
        plain: "p".into(),
        secret: None,
        guest: None,
    };
    let seed = DesiredSeed {
        family: labyard_schema::vm::OsFamily::Linux,
        guest: None,
        user_data: None,
        network_config: None,
        meta_data: None,
        version,
    };
    let wanted = DesiredMachine {
        seed: Some(seed),
        ..desired()
    };
    assert_eq!(one(&diff(&wanted, &current())).1, Disturbance::Live);
    let stopped = MachineView {
        power: Power::Stopped,
        ..current()
    };
    let live = diff(&wanted, &stopped);
    assert!(
        live.iter().all(|c| c.disturbance == Disturbance::Live),
        "{live:?}"
    );
}

#[test]
fn every_other_power_is_brought_back() {
    for power in [Power::Stopped, Power::Paused, Power::Saved, Power::Crashed] {
        assert_eq!(
            one(&diff(&desired(), &MachineView { power, ..current() })).0,
            "power"
        );
    }
}

#[test]
fn processors_and_memory_grow_live_within_the_room_and_restart_beyond_it() {
    let mut roomy = current();
    (roomy.cpus_max, roomy.memory_max) = (4, Mib(1024));
    if let Some(room) = &mut roomy.room {
        (room.cpus, room.memory) = (4, Mib(1024));
    }
    let wanted = |cpus, memory| DesiredMachine {
        cpus,
        cpus_max: Some(4),
        memory: Mib(memory),
        memory_max: Some(Mib(1024)),
        ..desired()
    };
    let said = |desired: &DesiredMachine, view: &MachineView| -> Vec<(String, Disturbance)> {
        let changes = diff(desired, view);
        changes
            .iter()
            .map(|c| (c.what.to_string(), c.disturbance))
            .collect()
    };
    use Disturbance::{Live, Restart};
    assert_eq!(said(&wanted(1, 256), &roomy), []);
    assert_eq!(
        said(&wanted(4, 512), &roomy),
        [("cpus".into(), Live), ("memory_mib".into(), Live)]
    );
    assert_eq!(said(&wanted(1, 128), &roomy), [("memory_mib".into(), Live)]);
    let small = current();
    assert_eq!(
        said(&wanted(2, 512), &small),
        [
            ("cpus_max".into(), Restart),
            ("memory_max_mib".into(), Restart),
            ("cpus".into(), Restart),
            ("memory_mib".into(), Restart),
        ]
    );
    let fewer = MachineView {
        cpus: 2,
        live_cpus: Some(2),
        ..roomy
    };
    assert_eq!(said(&wanted(1, 256), &fewer), [("cpus".into(), Restart)]);
}

#[test]
fn what_runs_otherwise_than_its_definition_is_seen_and_set_back() {
    let mut more = current();
    (more.memory_max, more.live_memory) = (Mib(512), Some(Mib(128)));
    if let Some(room) = &mut more.room {
        room.memory = Mib(512);
    }
    let changes = diff(&desired(), &more);
    assert_eq!(one(&changes), ("memory_mib".into(), Disturbance::Live));
    assert_eq!((changes[0].from.as_str(), changes[0].to.as_str()), ("128", "256"));
}

#[test]
fn devices_come_and_go_live_as_long_as_there_are_ports() {
    let ports = |free| {
        let mut view = current();
        view.room.as_mut().unwrap().ports = free;
        view
    };
    let blank = DesiredDisk {
        size: Some(Bytes::from_gib(1)),
        image: None,
        clone: None,
        pool: None,
        bus: DiskBus::Virtio,
        boot: None,
        on_remove: None,
    };
    let mut more = desired();
    more.disks.insert("data".into(), blank.clone());
    assert_eq!(
        one(&diff(&more, &ports(1))),
        ("disks[\"data\"]".into(), Disturbance::Live)
    );
    assert_eq!(
        one(&diff(&more, &ports(0))),
        ("disks[\"data\"]".into(), Disturbance::Restart)
    );
    // What leaves makes room.
    more.nics.clear();
    let said: Vec<_> = diff(&more, &ports(0)).iter().map(|c| c.disturbance).collect();
    assert_eq!(said, [Disturbance::Live, Disturbance::Live]);
    let mut sata = desired();
    sata.disks.insert(
        "data".into(),
        DesiredDisk {
            bus: DiskBus::Sata,
            ..blank
        },
    );
    assert_eq!(
        one(&diff(&sata, &ports(8))),
        ("disks[\"data\"]".into(), Disturbance::Restart)
    );
    let paused = MachineView {
        power: Power::Paused,
        ..ports(8)
    };
    assert!(
        diff(&more, &paused)
            .iter()
            .any(|c| c.disturbance == Disturbance::Restart)
    );
}

#[test]
fn a_disk_that_needs_a_restart_to_go_says_so_besides_its_data() {
    let mut current = current();
    current.disks.get_mut(&DiskKey::from("root")).unwrap().bus = Some(DiskBus::Sata);
    let mut wanted = desired();
    wanted.disks.clear();
    let said: Vec<_> = diff(&wanted, &current).iter().map(|c| c.disturbance).collect();
    assert_eq!(said, [Disturbance::DestroysData, Disturbance::Restart]);
}

#[test]
fn another_card_takes_the_place_of_one_with_another_mac_or_model() {
    let mut wanted = desired();
    let nic = wanted.nics.get_mut(&NicKey::from("lan")).unwrap();
    nic.mac = "52:54:00:00:00:02".parse().unwrap();
    assert_eq!(
        one(&diff(&wanted, &current())),
        ("nics[\"lan\"].mac".into(), Disturbance::Live)
    );
    for (model, disturbance) in [
        (NicModel::E1000e, Disturbance::Live),
        (NicModel::E1000, Disturbance::Restart),
    ] {
        let mut wanted = desired();
        wanted.nics.get_mut(&NicKey::from("lan")).unwrap().model = model;
        assert_eq!(
            one(&diff(&wanted, &current())),
            ("nics[\"lan\"].model".into(), disturbance)
        );
    }
}

#[test]
fn a_bus_changes_with_a_restart_and_one_that_is_unknown_stays() {
    let mut wanted = desired();
    wanted.disks.get_mut(&DiskKey::from("root")).unwrap().bus = DiskBus::Scsi;
    assert_eq!(
        one(&diff(&wanted, &current())),
        ("disks[\"root\"].bus".into(), Disturbance::Restart)
    );
    let mut ide = current();
    ide.disks.get_mut(&DiskKey::from("root")).unwrap().bus = None;
    assert_eq!(diff(&wanted, &ide), []);
}

#[test]
fn the_digest_that_was_seen_says_nothing_new_of_a_disk_and_another_one_or_another_way_does() {
    let digest = |letter: &str| Some(labyard_driver::ids::Digest(letter.repeat(64)));
    let of = |sha256: Option<labyard_driver::ids::Digest>, clone: Option<CloneMode>| {
        let mut desired = desired();
        let disk = desired.disks.get_mut(&"root".into()).unwrap();
        disk.clone = clone;
        disk.image.as_mut().unwrap().sha256 = sha256;
        desired
    };
    let mut current = current();
    let disk = current.disks.get_mut(&"root".into()).unwrap();
    disk.clone = Some(CloneMode::Linked);
    disk.image.as_mut().unwrap().digest = digest("a");
    let found = |desired: &DesiredMachine| -> Vec<String> {
        let changes = diff(desired, &current);
        assert!(
            changes
                .iter()
                .all(|change| change.disturbance == Disturbance::Replace)
        );
        changes.iter().map(|change| change.what.to_string()).collect()
    };
    let linked = Some(CloneMode::Linked);
    assert_eq!(found(&of(None, linked)), [""; 0]);
    assert_eq!(found(&of(digest("a"), linked)), [""; 0]);
    assert_eq!(found(&of(digest("b"), linked)), ["disks[\"root\"].image"]);
    assert_eq!(found(&of(None, Some(CloneMode::Full))), ["disks[\"root\"].clone"]);
}
