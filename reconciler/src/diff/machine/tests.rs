use super::*;
use crate::desired::{DesiredImage, DesiredReady, DesiredSeed, DesiredShutdown, SeedVersion, Wait, Wishes};
use labyard_driver::ids::{Mib, PoolName};
use labyard_driver::mark::{ImageMark, SeedMark};
use std::time::Duration;

fn desired() -> DesiredMachine {
    DesiredMachine {
        namespace: "default".into(),
        name: "web".into(),
        cpus: 1,
        memory: Mib(256),
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
        memory: Mib(256),
        pending: Pending::Nothing,
        firmware: Firmware::Bios,
        guards: Default::default(),
        ca_certificate: None,
        hardware: Default::default(),
        autostart: Default::default(),
        media: Default::default(),
        direct_boot: None,
        disks: BTreeMap::from([(
            "root".into(),
            DiskView {
                size: Some(Bytes::from_gib(2)),
                image: Some(image),
                clone: None,
                pool: None,
                on_remove: None,
                boot: None,
            },
        )]),
        nics: BTreeMap::from([(
            "lan".into(),
            NicView {
                network: "lab".into(),
                mac: "52:54:00:00:00:01".parse().unwrap(),
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
fn a_card_put_elsewhere_by_hand_is_moved_back_with_a_restart() {
    let mut moved = current();
    moved.nics.get_mut(&NicKey::from("lan")).unwrap().network = "default".into();
    assert_eq!(
        one(&diff(&desired(), &moved)),
        ("nics[\"lan\"].network".into(), Disturbance::Restart)
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
fn every_other_power_is_brought_back() {
    for power in [Power::Stopped, Power::Paused, Power::Saved, Power::Crashed] {
        assert_eq!(
            one(&diff(&desired(), &MachineView { power, ..current() })).0,
            "power"
        );
    }
}
