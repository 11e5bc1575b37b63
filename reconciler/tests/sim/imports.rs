//! Machines that others made: taken over with everything they have, or not at all.

use std::collections::BTreeMap;

use labyard_driver::Driver;
use labyard_driver::ids::{Bytes, Mib, ObjectId, PoolName};
use labyard_driver::mark::Mark;
use labyard_driver::observed::{MarkState, PoolKind};
use labyard_driver::spec::{
    Accelerator, CpuSpec, DiskFormat, DiskSpec, Firmware, Graphics, MachineSpec, MachineType, VolumeContent,
    VolumeSpec,
};
use labyard_driver_sim::{ForeignHand, PoolSettings, Settings, SimDriver, SimHost};
use labyard_reconciler::EngineError;
use labyard_reconciler::desired::DesiredMachine;
use labyard_reconciler::engine::{Engine, ObjectRef, Reading};
use labyard_reconciler::view::MachineView;
use labyard_schema::vm;

use crate::rig::{Rig, Table, bounds, wish};

const THEIRS: &str = "2c4a7d1e-0000-4000-8000-00000000beef";

fn host() -> SimHost {
    let fast = PoolSettings {
        capacity: Bytes::from_gib(64),
        kind: PoolKind::Directory,
    };
    SimHost::new(Settings {
        other_pools: BTreeMap::from([("fast".into(), fast)]),
        ..Settings::default()
    })
}

/// A machine without a mark, with a disk in a pool.
fn foreign(sim: &SimHost, pool: &str, content: VolumeContent, format: DiskFormat) {
    let volume = VolumeSpec {
        pool: pool.into(),
        name: "theirs.img".into(),
        content,
    };
    sim.by_other_hand(&ForeignHand::AddVolume(volume)).unwrap();
    let disk = DiskSpec {
        key: "vda".into(),
        target: "vda".to_owned(),
        pool: pool.into(),
        volume: "theirs.img".into(),
        format,
        bus: Default::default(),
    };
    add_machine(sim, THEIRS, "theirs", vec![disk]);
}

fn add_machine(sim: &SimHost, id: &str, name: &str, disks: Vec<DiskSpec>) {
    let mark = r#"{"version": 1, "namespace": "none", "kind": "machine", "name": "theirs", "token": "t",
                   "origin": "t", "ownership": "building", "stage": "record"}"#;
    let spec = MachineSpec {
        id: id.into(),
        host_name: name.to_owned(),
        mark: Mark::parse(mark).unwrap(),
        cpus: 1,
        cpus_max: None,
        memory: Mib(128),
        memory_max: None,
        accelerator: Accelerator::Qemu,
        firmware: Firmware::Bios,
        guards: Default::default(),
        nvram: None,
        boot_order: Vec::new(),
        machine_type: MachineType::Q35,
        cpu: CpuSpec::default(),
        graphics: Graphics::None,
        serial: None,
        direct_boot: None,
        seed: None,
        media: Vec::new(),
        nics: Vec::new(),
        disks,
    };
    sim.by_other_hand(&ForeignHand::AddMachine(Box::new(spec)))
        .unwrap();
}

fn config(pool: Option<&str>, power: &str) -> vm::Vm {
    let vda = vm::Disk {
        size_gib: Some(1),
        storage_pool: pool.map(str::to_owned),
        ..vm::Disk::default()
    };
    vm::Vm {
        name: "theirs".into(),
        cpus: 1,
        memory_mib: 128,
        disks: Some(BTreeMap::from([("vda".to_owned(), vda)])),
        power: power.into(),
        allow_restart: true,
        ..vm::Vm::default()
    }
}

/// As a state has it that imported the machine and applied nothing yet.
fn imported(rig: &Rig, wish: &DesiredMachine) -> ObjectRef {
    ObjectRef {
        id: Some(ObjectId::from(THEIRS)),
        ..rig.object(wish, None)
    }
}

async fn apply(rig: &Rig, wish: &DesiredMachine) -> Result<MachineView, EngineError> {
    let object = imported(rig, wish);
    rig.engine
        .update_machine(&object, wish, wish, bounds(), &|_| {})
        .await
}

async fn disks(sim: &SimHost) -> Vec<String> {
    let machine = SimDriver::in_memory(sim).machine(&THEIRS.into()).await.unwrap();
    let detail = machine.detail.known().unwrap().clone();
    detail.disks.into_iter().map(|disk| disk.path).collect()
}

#[tokio::test(start_paused = true)]
async fn a_machine_with_its_disk_in_another_pool_is_taken_over_with_that_disk() {
    let (sim, table) = (host(), Table::default());
    let blank = VolumeContent::Blank {
        capacity: Bytes::from_gib(1),
    };
    foreign(&sim, "fast", blank, DiskFormat::Qcow2);
    let rig = Rig::start(&sim, &table);
    let view = apply(&rig, &wish(&config(Some("fast"), "stopped")))
        .await
        .unwrap();
    assert_eq!(view.disks[&"vda".into()].pool, Some(PoolName::from("fast")));
    assert_eq!(sim.look().volumes.len(), 1, "no disk was made");
    let disks = disks(&sim).await;
    assert!(disks[0].ends_with("/theirs.img"), "{disks:?}");
}

#[tokio::test(start_paused = true)]
async fn a_raw_disk_that_was_taken_over_is_still_a_raw_one_when_the_machine_starts() {
    let (sim, table) = (host(), Table::default());
    let raw = VolumeContent::Upload {
        length: Bytes::from_gib(1),
    };
    foreign(&sim, "default", raw, DiskFormat::Raw);
    let rig = Rig::start(&sim, &table);
    let view = apply(&rig, &wish(&config(None, "running"))).await.unwrap();
    let known = sim.look().machines.remove(0);
    let mark = known.mark.ours().unwrap();
    assert_eq!(mark.disks[&"vda".into()].format, Some(DiskFormat::Raw));
    assert_eq!(
        known.detail.known().unwrap().disks[0].format,
        Some(DiskFormat::Raw)
    );
    assert!(view.obstacles.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_machine_with_a_disk_that_lies_nowhere_known_is_not_taken_over_and_not_touched() {
    let (sim, table) = (host(), Table::default());
    let blank = VolumeContent::Blank {
        capacity: Bytes::from_gib(1),
    };
    foreign(&sim, "default", blank, DiskFormat::Qcow2);
    for target in ["vda", "vdb"] {
        let id = ObjectId::from(THEIRS);
        if target == "vda" {
            let target = target.to_owned();
            sim.by_other_hand(&ForeignHand::DetachDisk {
                id: id.clone(),
                target,
            })
            .unwrap();
        }
        let path = format!("/vm/{target}.img");
        let target = target.to_owned();
        sim.by_other_hand(&ForeignHand::AttachDisk { id, target, path })
            .unwrap();
        let before = disks(&sim).await;
        let rig = Rig::start(&sim, &table);
        let wish = wish(&config(None, "stopped"));
        let refused = apply(&rig, &wish).await.unwrap_err().to_string();
        assert!(refused.contains("/vm/vda.img"), "{refused}");
        assert!(refused.contains("--target /vm;"), "the way out: {refused}");
        let machine = sim.look().machines.remove(0);
        assert!(matches!(machine.mark, MarkState::None), "it carries no mark");
        assert_eq!(disks(&sim).await, before);
        assert_eq!(sim.look().volumes.len(), 1, "no disk was made");
    }
}

#[tokio::test(start_paused = true)]
async fn what_another_namespace_took_meanwhile_is_no_longer_the_importers() {
    let (sim, table) = (host(), Table::default());
    let blank = VolumeContent::Blank {
        capacity: Bytes::from_gib(1),
    };
    foreign(&sim, "default", blank, DiskFormat::Qcow2);
    let config = config(None, "stopped");
    let of = |namespace: &str| {
        let none = BTreeMap::new();
        DesiredMachine::from_config(&namespace.into(), &config, &none, &none).unwrap()
    };
    let (ours, theirs) = (of("default"), of("other"));
    let first = Rig::start(&sim, &table);
    let object = imported(&first, &ours);
    assert!(matches!(
        first.engine.read_machine(&object).await.unwrap(),
        Reading::Present(_)
    ));
    apply(&Rig::start(&sim, &table), &theirs).await.unwrap();
    let taken = |result: Result<(), EngineError>| {
        let error = result.unwrap_err();
        assert!(matches!(error.root(), EngineError::TakenOver { .. }), "{error}");
        assert!(error.to_string().contains("namespace other"), "{error}");
    };
    let later = Rig::start(&sim, &table);
    taken(later.engine.read_machine(&object).await.map(drop));
    taken(apply(&later, &ours).await.map(drop));
    taken(later.engine.destroy_machine(&object, &ours, bounds()).await);
    let mark = sim.look().machines.remove(0).mark.ours().unwrap().clone();
    assert_eq!(mark.namespace.as_str(), "other");
}

#[tokio::test(start_paused = true)]
async fn a_disk_that_somebody_else_uses_is_not_deleted_with_the_machine_nor_without_it() {
    let (sim, table) = (host(), Table::default());
    let blank = VolumeContent::Blank {
        capacity: Bytes::from_gib(1),
    };
    foreign(&sim, "default", blank, DiskFormat::Qcow2);
    let rig = Rig::start(&sim, &table);
    let mut config = config(None, "stopped");
    let vda = config.disks.as_mut().unwrap().get_mut("vda").unwrap();
    vda.on_remove = Some("delete".into());
    let with_it = wish(&config);
    let view = apply(&rig, &with_it).await.unwrap();
    rig.end().await;
    let identity = view.identity().unwrap().clone();
    config.disks = None;
    let without_it = wish(&config);

    let refused = async |by: &str| {
        // A run of its own: what one has read holds for a while.
        let rig = Rig::start(&sim, &table);
        for result in [
            rig.destroy(&identity, &with_it).await,
            rig.update(&identity, &with_it, &without_it).await.map(drop),
        ] {
            let error = result.unwrap_err();
            assert!(matches!(error.root(), EngineError::InUse { .. }), "{error}");
            assert!(error.to_string().contains(by), "{error}");
            let looked = sim.look();
            let theirs = looked.machines.iter().find(|m| m.host_name == "theirs").unwrap();
            assert!(
                theirs.mark.ours().unwrap().disks.contains_key(&"vda".into()),
                "as it was"
            );
        }
    };
    let (other, target) = (
        ObjectId::from("2c4a7d1e-0000-4000-8000-00000000cafe"),
        "vdb".to_owned(),
    );
    add_machine(&sim, other.as_str(), "other", Vec::new());
    let path = disks(&sim).await.remove(0);
    let id = other.clone();
    sim.by_other_hand(&ForeignHand::AttachDisk { id, target, path })
        .unwrap();
    refused("machine \"other\"").await;
    sim.by_other_hand(&ForeignHand::Undefine(other)).unwrap();
    let overlay = VolumeSpec {
        pool: "default".into(),
        name: "overlay.img".into(),
        content: VolumeContent::Overlay {
            base: "theirs.img".into(),
            base_format: DiskFormat::Qcow2,
            capacity: Bytes::from_gib(1),
        },
    };
    sim.by_other_hand(&ForeignHand::AddVolume(overlay)).unwrap();
    refused("volume overlay.img of pool default").await;
    sim.by_other_hand(&ForeignHand::LoseVolume("overlay.img".into()))
        .unwrap();
    let rig = Rig::start(&sim, &table);
    rig.destroy(&identity, &with_it).await.unwrap();
    let left = sim.look();
    assert!(
        left.machines.is_empty() && left.volumes.is_empty(),
        "nobody needs them now"
    );
}

#[tokio::test(start_paused = true)]
async fn a_create_takes_nothing_away_from_a_takeover_that_was_killed() {
    let (sim, table) = (host(), Table::default());
    let blank = VolumeContent::Blank {
        capacity: Bytes::from_gib(1),
    };
    foreign(&sim, "default", blank, DiskFormat::Qcow2);
    let rig = Rig::start(&sim, &table);
    apply(&rig, &wish(&config(None, "stopped"))).await.unwrap();
    rig.kill();
    let mut other = config(None, "stopped");
    other.disks = Some(BTreeMap::from([(
        "root".to_owned(),
        vm::Disk {
            size_gib: Some(1),
            ..vm::Disk::default()
        },
    )]));
    let refused = Rig::start(&sim, &table)
        .create(&wish(&other))
        .await
        .0
        .unwrap_err();
    assert!(refused.to_string().contains("theirs.img"), "{refused}");
    let looked = sim.look();
    assert_eq!(
        (looked.machines.len(), looked.volumes.len()),
        (1, 1),
        "both are there"
    );
}

#[tokio::test(start_paused = true)]
async fn volumes_that_a_later_one_replaced_go_when_the_machine_is_put_back() {
    let (sim, table) = (SimHost::new(Settings::default()), Table::default());
    let rig = Rig::start(&sim, &table);
    rig.network().await.unwrap();
    let wish = wish(&crate::rig::config("web"));
    let (view, identity) = rig.create(&wish).await;
    view.unwrap();
    rig.end().await;
    let identity = identity.unwrap();
    sim.by_other_hand(&ForeignHand::Undefine(identity.id.clone()))
        .unwrap();
    let seeds = |sim: &SimHost| -> Vec<String> {
        let volumes = sim.look().volumes.into_iter().map(|v| v.name.to_string());
        volumes.filter(|name| name.contains(".seed.")).collect()
    };
    let latest = seeds(&sim).remove(0);
    let earlier = latest.replace(".seed.1.", ".seed.0.");
    assert_ne!(earlier, latest);
    let left = VolumeSpec {
        pool: "default".into(),
        name: earlier.as_str().into(),
        content: VolumeContent::Upload { length: Bytes(512) },
    };
    sim.by_other_hand(&ForeignHand::AddVolume(left)).unwrap();
    let rig = Rig::start(&sim, &table);
    rig.update(&identity, &wish, &wish).await.unwrap();
    assert!(!seeds(&sim).contains(&earlier), "{:?}", seeds(&sim));
    assert_eq!(seeds(&sim).len(), 1);
}
