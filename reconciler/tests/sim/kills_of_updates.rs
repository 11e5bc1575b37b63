//! An update of any class, killed before and after any of its mutations: one more apply converges, one more does nothing,
//! and a destroy leaves nothing. So are create and destroy of a machine with everything. The mutations are those of an
//! undisturbed run.

use std::collections::BTreeMap;
use std::time::Duration;

use labyard_driver_sim::{Edge, Failure, Fault, FaultKind, Settings, SimHost};
use labyard_reconciler::desired::DesiredMachine;
use labyard_reconciler::engine::Engine;
use labyard_reconciler::identity::Identity;
use labyard_schema::{network, vm};
use tokio::time::timeout;

use crate::any_machine::World;
use crate::any_network::desired;
use crate::rig::{Rig, Table, bounds, config, inventory, raw, wish};

/// Long enough for everything that an operation waits for.
const PATIENCE: Duration = Duration::from_secs(3600);
/// Both sides of a mutation.
const EDGES: [Edge; 2] = [Edge::Before, Edge::After];

fn drive(image: &'static str) -> vm::Medium {
    vm::Medium {
        image: Some(vm::MediumImage {
            source: format!("file:{}", raw(image).display()),
            sha256: None,
        }),
        boot: None,
    }
}

fn card(network: &str, last: u8, address: Option<&str>) -> vm::Nic {
    vm::Nic {
        network: network.into(),
        mac: Some(format!("52:54:00:00:00:{last:02x}")),
        ipv4: address.map(|address| vm::NicIpv4 {
            address: address.into(),
            gateway: None,
        }),
        ..vm::Nic::default()
    }
}

/// A machine with UEFI, variables, a TPM, a CD drive, two NICs and a fixed address.
fn everything() -> vm::Vm {
    vm::Vm {
        cpus_max: Some(4),
        memory_max_mib: Some(1024),
        firmware: Some(vm::Firmware {
            r#type: "uefi".into(),
            secure_boot: false,
            tpm: true,
        }),
        media: Some([("tools".to_owned(), drive("one"))].into()),
        nics: Some(BTreeMap::from([
            ("lan".to_owned(), card("lab", 1, Some("10.77.0.20/24"))),
            ("wan".to_owned(), card("lab", 2, None)),
        ])),
        ..config("web")
    }
}

/// Two networks, and nothing else.
async fn world() -> (World, Vec<String>) {
    let world = World {
        sim: SimHost::new(Settings::default()),
        table: Table::default(),
    };
    let rig = Rig::start(&world.sim, &world.table);
    rig.network().await.unwrap();
    let other = network::Network {
        name: "other".into(),
        mode: "nat".into(),
        ipv4: Some(network::Ipv4 {
            cidr: "10.78.0.0/24".into(),
            dhcp: None,
        }),
        ..network::Network::default()
    };
    let other = desired(&other);
    let made = rig.engine.create_network(&rig.host, &other, bounds()).await;
    made.unwrap();
    rig.end().await;
    let empty = inventory(&world.sim);
    (world, empty)
}

async fn made(world: &World, wish: &DesiredMachine) -> Identity {
    let rig = Rig::start(&world.sim, &world.table);
    let (made, identity) = rig.create(wish).await;
    made.unwrap();
    rig.end().await;
    identity.unwrap()
}

/// How many mutations an operation has that nothing disturbs.
async fn mutations(world: &World, operation: impl Future<Output = ()>) -> u64 {
    world.sim.clear_operations();
    operation.await;
    world.sim.mutations() as u64
}

/// An operation whose process dies at a mutation.
async fn killed<T>(world: &World, nth: u64, edge: Edge, operation: impl Future<Output = T>) -> Option<T> {
    through(world, nth, FaultKind::CrashCaller(edge), operation).await
}

/// An operation at one of whose mutations something goes wrong; what it said, if it came to its end.
async fn through<T>(
    world: &World,
    nth: u64,
    kind: FaultKind,
    operation: impl Future<Output = T>,
) -> Option<T> {
    world.sim.order(Fault::mutation(nth, kind));
    let told = tokio::select! {
        told = timeout(PATIENCE, operation) => told.ok(),
        () = world.sim.caller_crashed() => None,
    };
    world.sim.clear_faults();
    told
}

async fn removed(world: &World, identity: &Identity, wish: &DesiredMachine, empty: &[String], at: &str) {
    let rig = Rig::start(&world.sim, &world.table);
    let destroyed = rig.destroy(identity, wish).await;
    destroyed.unwrap_or_else(|error| panic!("{at}: destroy: {error}"));
    rig.end().await;
    assert_eq!(inventory(&world.sim), empty, "{at}");
}

/// An update from one configuration to another, killed at every mutation.
async fn update_at_every_mutation(from: vm::Vm, to: vm::Vm) {
    let (from, to) = (wish(&from), wish(&to));
    let all = {
        let (world, _) = world().await;
        let identity = made(&world, &from).await;
        let rig = Rig::start(&world.sim, &world.table);
        let all = mutations(&world, async {
            drop(rig.update(&identity, &from, &to).await.unwrap());
        })
        .await;
        rig.end().await;
        world.assert_settled(&identity, &to).await;
        all
    };
    assert!(all >= 2, "an update writes its mark at least twice: {all}");
    println!("KILLS of an update at {all} mutations");
    for (nth, edge) in (1..=all).flat_map(|nth| EDGES.map(|edge| (nth, edge))) {
        let at = format!("{edge:?} {nth} of {all}");
        let (world, empty) = world().await;
        let identity = made(&world, &from).await;
        let rig = Rig::start(&world.sim, &world.table);
        let told = killed(&world, nth, edge, rig.update(&identity, &from, &to)).await;
        assert!(told.is_none(), "{at}: not killed: {told:?}");
        rig.kill();
        let rig = Rig::start(&world.sim, &world.table);
        let healed = rig.update(&identity, &from, &to).await;
        healed.unwrap_or_else(|error| panic!("{at}: {error}"));
        rig.end().await;
        world.assert_settled(&identity, &to).await;
        removed(&world, &identity, &to, &empty, &at).await;
    }
}

/// What the host answers is not what it did, or it never does.
fn answers() -> [FaultKind; 5] {
    [
        FaultKind::LoseRequest,
        FaultKind::LoseReply,
        FaultKind::Duplicate,
        FaultKind::Hang(Edge::Before),
        FaultKind::Fail(Edge::After, Failure::Refused),
    ]
}

/// From a machine with everything to the same with a change.
async fn changed(change: impl FnOnce(&mut vm::Vm)) {
    let mut to = everything();
    change(&mut to);
    update_at_every_mutation(everything(), to).await;
}

fn disks(vm: &mut vm::Vm) -> &mut BTreeMap<String, vm::Disk> {
    vm.disks.as_mut().unwrap()
}

fn nics(vm: &mut vm::Vm) -> &mut BTreeMap<String, vm::Nic> {
    vm.nics.as_mut().unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_live_change_of_processors_memory_and_labels_converges() {
    changed(|vm| {
        vm.cpus = 2;
        vm.memory_mib = 256;
        vm.labels = Some([("a".to_owned(), "x".to_owned())].into());
        vm.autostart = true;
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn devices_that_come_and_go_live_converge() {
    changed(|vm| {
        disks(vm).remove("data");
        disks(vm).insert(
            "more".into(),
            vm::Disk {
                size_gib: Some(1),
                on_remove: Some("delete".into()),
                ..vm::Disk::default()
            },
        );
        nics(vm).remove("wan");
        nics(vm).insert("new".into(), card("other", 3, None));
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_change_with_a_restart_converges() {
    changed(|vm| {
        vm.serial = Some("LAB 1".into());
        vm.graphics = "vnc".into();
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_renaming_converges() {
    changed(|vm| vm.name = "shop".into()).await;
}

#[tokio::test(start_paused = true)]
async fn another_seed_converges() {
    changed(|vm| {
        vm.cloud_init = Some(vm::CloudInit {
            user_data: Some("#other".into()),
            ..vm::CloudInit::default()
        });
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn other_variables_of_the_firmware_converge() {
    changed(|vm| {
        let firmware = vm.firmware.as_mut().unwrap();
        (firmware.secure_boot, firmware.tpm) = (true, false);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn the_growth_of_a_disk_converges() {
    changed(|vm| disks(vm).get_mut("root").unwrap().size_gib = Some(3)).await;
}

#[tokio::test(start_paused = true)]
async fn the_move_of_a_nic_converges() {
    changed(|vm| *nics(vm).get_mut("wan").unwrap() = card("other", 2, None)).await;
}

#[tokio::test(start_paused = true)]
async fn another_fixed_address_converges() {
    changed(|vm| *nics(vm).get_mut("lan").unwrap() = card("lab", 1, Some("10.77.0.21/24"))).await;
}

#[tokio::test(start_paused = true)]
async fn another_medium_converges() {
    changed(|vm| vm.media = Some([("tools".to_owned(), drive("two"))].into())).await;
}

#[tokio::test(start_paused = true)]
async fn a_drive_that_comes_and_one_that_goes_converge() {
    changed(|vm| vm.media = Some([("more".to_owned(), drive("two"))].into())).await;
}

#[tokio::test(start_paused = true)]
async fn a_stop_and_a_start_converge() {
    let mut stopped = everything();
    stopped.power = "stopped".into();
    update_at_every_mutation(everything(), stopped.clone()).await;
    update_at_every_mutation(stopped, everything()).await;
}

fn everything_else(vm: &mut vm::Vm) {
    vm.name = "shop".into();
    vm.cpus = 3;
    vm.serial = Some("LAB 2".into());
    vm.firmware.as_mut().unwrap().secure_boot = true;
    vm.cloud_init = None;
    vm.media = Some([("tools".to_owned(), drive("two"))].into());
    disks(vm).get_mut("root").unwrap().size_gib = Some(2);
    disks(vm).remove("data");
    nics(vm).remove("lan");
    *nics(vm).get_mut("wan").unwrap() = card("lab", 2, Some("10.77.0.20/24"));
}

#[tokio::test(start_paused = true)]
async fn everything_at_once_converges() {
    changed(everything_else).await;
}

#[tokio::test(start_paused = true)]
async fn an_update_that_says_it_is_done_is_done_whatever_the_host_answered() {
    let (from, to) = (wish(&everything()), {
        let mut to = everything();
        everything_else(&mut to);
        wish(&to)
    });
    let (first, _) = world().await;
    let identity = made(&first, &from).await;
    let rig = Rig::start(&first.sim, &first.table);
    let all = mutations(&first, async {
        drop(rig.update(&identity, &from, &to).await.unwrap());
    })
    .await;
    for (nth, kind) in (1..=all).flat_map(|nth| answers().map(|kind| (nth, kind))) {
        let at = format!("{kind:?} {nth} of {all}");
        let (world, empty) = world().await;
        let identity = made(&world, &from).await;
        let rig = Rig::start(&world.sim, &world.table);
        let told = through(&world, nth, kind, rig.update(&identity, &from, &to)).await;
        rig.end().await;
        if !matches!(told, Some(Ok(_))) {
            let rig = Rig::start(&world.sim, &world.table);
            let healed = rig.update(&identity, &from, &to).await;
            healed.unwrap_or_else(|error| panic!("{at}: {error} after {told:?}"));
            rig.end().await;
        }
        world.assert_settled(&identity, &to).await;
        removed(&world, &identity, &to, &empty, &at).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_create_that_says_it_is_done_is_done_whatever_the_host_answered() {
    let wish = wish(&everything());
    let (first, _) = world().await;
    let rig = Rig::start(&first.sim, &first.table);
    let all = mutations(&first, async {
        drop(rig.create(&wish).await.0.unwrap());
    })
    .await;
    for (nth, kind) in (1..=all).flat_map(|nth| answers().map(|kind| (nth, kind))) {
        let at = format!("{kind:?} {nth} of {all}");
        let (world, empty) = world().await;
        let rig = Rig::start(&world.sim, &world.table);
        let told = through(&world, nth, kind, rig.create(&wish)).await;
        rig.end().await;
        // What was told of and is not whole is destroyed before it is made anew.
        let identity = match told {
            Some((Ok(_), identity)) => identity.unwrap(),
            Some((Err(_), Some(identity))) => {
                removed(&world, &identity, &wish, &empty, &at).await;
                continue;
            }
            Some((Err(_), None)) | None => made(&world, &wish).await,
        };
        world.assert_settled(&identity, &wish).await;
        removed(&world, &identity, &wish, &empty, &at).await;
    }
}

#[tokio::test(start_paused = true)]
async fn the_making_of_a_machine_with_everything_converges() {
    let wish = wish(&everything());
    let all = {
        let (world, _) = world().await;
        let rig = Rig::start(&world.sim, &world.table);
        mutations(&world, async {
            drop(rig.create(&wish).await.0.unwrap());
        })
        .await
    };
    assert!(all >= 20, "it has {all} mutations");
    for (nth, edge) in (1..=all).flat_map(|nth| EDGES.map(|edge| (nth, edge))) {
        let at = format!("{edge:?} {nth} of {all}");
        let (world, empty) = world().await;
        let rig = Rig::start(&world.sim, &world.table);
        let told = killed(&world, nth, edge, rig.create(&wish)).await;
        assert!(told.is_none(), "{at}: not killed");
        rig.kill();
        let rig = Rig::start(&world.sim, &world.table);
        let (made, identity) = rig.create(&wish).await;
        made.unwrap_or_else(|error| panic!("{at}: {error}"));
        rig.end().await;
        let identity = identity.unwrap();
        world.assert_settled(&identity, &wish).await;
        removed(&world, &identity, &wish, &empty, &at).await;
    }
}

#[tokio::test(start_paused = true)]
async fn the_removal_of_a_machine_with_everything_is_finished_by_the_next() {
    let wish = wish(&everything());
    let all = {
        let (world, _) = world().await;
        let identity = made(&world, &wish).await;
        let rig = Rig::start(&world.sim, &world.table);
        mutations(&world, async { rig.destroy(&identity, &wish).await.unwrap() }).await
    };
    assert!(all >= 10, "it has {all} mutations");
    for (nth, edge) in (1..=all).flat_map(|nth| EDGES.map(|edge| (nth, edge))) {
        let at = format!("{edge:?} {nth} of {all}");
        let (world, empty) = world().await;
        let identity = made(&world, &wish).await;
        let rig = Rig::start(&world.sim, &world.table);
        let told = killed(&world, nth, edge, rig.destroy(&identity, &wish)).await;
        assert!(told.is_none(), "{at}: not killed: {told:?}");
        rig.kill();
        removed(&world, &identity, &wish, &empty, &at).await;
    }
}
