use super::*;
use labyard_driver::observed::PoolRoom;

fn pool(name: &str, kind: PoolKind, capacity: u64, available: u64) -> PoolFacts {
    PoolFacts {
        name: name.into(),
        kind,
        active: Activity::Active,
        room: Some(PoolRoom {
            capacity: Bytes::from_gib(capacity),
            available: Bytes::from_gib(available),
        }),
    }
}

fn host(taken: MachineSize) -> HostCapacity {
    HostCapacity {
        facts: HostFacts {
            uuid: "u".into(),
            accelerators: vec![],
            pool: Some("default".into()),
            pool_fault: None,
            pools: vec![
                pool("default", PoolKind::Directory, 100, 40),
                pool("vg", PoolKind::Logical, 50, 20),
                pool("ceph", PoolKind::Other("rbd".into()), 50, 20),
            ],
            cpus: 4,
            memory: Mib(8192),
        },
        limit: MachineSize {
            cpus: 32,
            memory: Mib(8192),
        },
        taken,
        promised: BTreeMap::from([("default".into(), Bytes::from_gib(70))]),
        cordon: Cordon::Open,
        machines: Counts::default(),
        images: BTreeSet::new(),
    }
}

fn size(cpus: u32, mib: u64) -> MachineSize {
    MachineSize {
        cpus,
        memory: Mib(mib),
    }
}

fn disk(pool: Option<&str>, gib: u64) -> NewDisk {
    NewDisk {
        pool: pool.map(PoolName::from),
        size: Some(Bytes::from_gib(gib)),
        grows_from: None,
        clone: None,
        image: ImageNeed::None,
    }
}

fn found(disk: NewDisk) -> Vec<(Weight, String, &'static str)> {
    let disks = BTreeMap::from([("d".to_owned(), disk)]);
    let findings = host(size(0, 0)).storage(&disks).into_iter();
    findings.map(|f| (f.weight, f.attribute, f.summary)).collect()
}

#[test]
fn a_machine_larger_than_its_host_is_refused_and_a_sum_that_is_larger_is_a_warning() {
    let of = |whole, more| {
        let findings = host(size(2, 6000)).hardware(whole, more);
        findings
            .iter()
            .map(|f| (f.weight, f.attribute.clone()))
            .collect::<Vec<_>>()
    };
    assert_eq!(of(size(1, 1024), size(1, 1024)), []);
    assert_eq!(
        of(size(1, 9000), size(1, 9000)),
        [(Weight::Refused, "memory_mib".to_owned())]
    );
    assert_eq!(
        of(size(1, 4096), size(1, 4096)),
        [(Weight::Warned, "memory_mib".to_owned())]
    );
    assert_eq!(
        of(size(1, 4096), size(0, 0)),
        [],
        "what stands already is no news"
    );
    assert_eq!(
        of(size(31, 16), size(31, 16)),
        [(Weight::Warned, "cpus".to_owned())]
    );
}

#[test]
fn thin_disks_that_could_outgrow_their_pool_are_a_warning() {
    assert_eq!(found(disk(None, 20)), []);
    let warned = vec![(
        Weight::Warned,
        "disks[\"d\"].size_gib".to_owned(),
        "Storage over-committed",
    )];
    assert_eq!(found(disk(None, 31)), warned, "70 are promised of 100");
    let grown = NewDisk {
        grows_from: Some(Bytes::from_gib(25)),
        ..disk(None, 31)
    };
    assert_eq!(found(grown), [], "only what it grows by counts");
}

#[test]
fn what_takes_its_room_at_once_must_fit() {
    let sent = NewDisk {
        image: ImageNeed::Send(Bytes::from_gib(41)),
        ..disk(None, 1)
    };
    assert_eq!(
        found(sent),
        [(
            Weight::Refused,
            "disks[\"d\"].image".to_owned(),
            "No room in the storage pool"
        )]
    );
    assert_eq!(
        found(disk(Some("vg"), 21)),
        [(
            Weight::Refused,
            "disks[\"d\"].size_gib".to_owned(),
            "No room in the storage pool"
        )]
    );
    assert_eq!(found(disk(Some("vg"), 20)), []);
}

#[test]
fn logical_volumes_are_no_overlays_and_do_not_grow() {
    let linked = |clone| NewDisk {
        clone,
        image: ImageNeed::Unknown,
        ..disk(Some("vg"), 5)
    };
    assert_eq!(
        found(linked(Some(CloneMode::Linked))),
        [(
            Weight::Refused,
            "disks[\"d\"].clone".to_owned(),
            "No linked clone on logical volumes"
        )]
    );
    assert_eq!(found(linked(None)), [], "left out, it is a copy");
    let grown = NewDisk {
        grows_from: Some(Bytes::from_gib(4)),
        ..disk(Some("vg"), 5)
    };
    assert_eq!(found(grown)[0].1, "disks[\"d\"].size_gib");
}

#[test]
fn a_pool_that_takes_no_disks_is_refused_at_its_attribute() {
    for name in ["nowhere", "ceph"] {
        let findings = found(disk(Some(name), 1));
        assert_eq!(findings.len(), 1);
        assert_eq!(findings[0].0, Weight::Refused);
        assert_eq!(findings[0].1, "disks[\"d\"].storage_pool");
    }
}

#[test]
fn storage_that_takes_no_disks_is_told_with_what_to_make_of_it() {
    for (kind, word) in [
        ("zfs", "dataset"),
        ("iscsi", "fs or logical"),
        ("rbd", "Mount it"),
    ] {
        let mut host = host(size(0, 0));
        host.facts.pools = vec![pool("other", PoolKind::Other(kind.into()), 50, 20)];
        let disks = BTreeMap::from([("d".to_owned(), disk(Some("other"), 1))]);
        let findings = host.storage(&disks);
        let [finding] = findings.as_slice() else {
            panic!("{findings:?}")
        };
        assert_eq!(finding.weight, Weight::Refused);
        assert!(
            finding.detail.contains(kind) && finding.detail.contains(word),
            "{}",
            finding.detail
        );
    }
}

#[test]
fn a_host_that_is_cordoned_or_full_is_passed_over() {
    let need = Need {
        size: size(1, 2048),
        firmware: Firmware::Bios,
        disks: BTreeMap::new(),
    };
    assert_eq!(host(size(0, 0)).lacks(&need, None), None);
    let closed = HostCapacity {
        cordon: Cordon::Closed,
        ..host(size(0, 0))
    };
    assert!(closed.lacks(&need, None).unwrap().contains("cordoned"));
    assert!(
        host(size(0, 7000))
            .lacks(&need, None)
            .unwrap()
            .contains("7000 of 8192 MiB")
    );
    let uefi = Need {
        firmware: Firmware::Uefi,
        ..need.clone()
    };
    let offers = |firmwares: &[Firmware]| Offers {
        firmwares: firmwares.to_vec(),
        ..Offers::default()
    };
    let (bios, both) = (
        offers(&[Firmware::Bios]),
        offers(&[Firmware::Bios, Firmware::Uefi]),
    );
    assert!(uefi.asks_offers() && !need.asks_offers());
    assert!(host(size(0, 0)).lacks(&uefi, Some(&bios)).is_some());
    assert_eq!(host(size(0, 0)).lacks(&uefi, Some(&both)), None);
    assert!(host(size(0, 4096)).load(size(1, 1024)) > host(size(0, 0)).load(size(1, 1024)));
}
