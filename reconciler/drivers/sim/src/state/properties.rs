//! Random verbs, other hands and times: what must hold of the model whatever comes.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr};

use labyard_driver::Entry;
use labyard_driver::conformance::sample;
use labyard_driver::ids::{Bytes, Mib, PoolName, VolumeName};
use labyard_driver::observed::{Reservation, Snapshot};
use labyard_driver::spec::{DirectBoot, DiskFormat, MachineSpec, VolumeContent, VolumeSpec};
use proptest::prelude::*;

use super::{ForeignHand, MachineActivity, State};
use crate::clock::Millis;
use crate::request::{Reply, Request};
use crate::settings::Settings;

const MACHINES: [&str; 3] = ["a", "b", "c"];
const NETWORKS: [&str; 2] = ["lab", "lan"];
const VOLUMES: [&str; 3] = ["one", "two", "three"];
const CMDLINES: [&str; 6] = [
    "",
    "sim.crash",
    "sim.no_address",
    "sim.hang",
    "sim.ignore_shutdown",
    "sim.boot_ms=0",
];

/// Something that happens to the host.
#[derive(Clone, Debug)]
enum Happening {
    Asked(Request),
    OtherHand(ForeignHand),
    Passes(Millis),
}

fn pool() -> PoolName {
    PoolName::from("default")
}

fn machine() -> impl Strategy<Value = MachineSpec> {
    let disks = prop::collection::vec(prop::sample::select(&VOLUMES[..]), 0..3);
    let nics = prop::collection::vec(prop::sample::select(&NETWORKS[..]), 0..3);
    let names = (
        prop::sample::select(&MACHINES[..]),
        prop::sample::select(&MACHINES[..]),
    );
    let cmdline = prop::option::of(prop::sample::select(&CMDLINES[..]));
    let seed = prop::option::of(prop::sample::select(&VOLUMES[..]));
    (names, disks, nics, cmdline, seed, 0..3_u32).prop_map(
        |((name, id), disks, nics, cmdline, seed, cpus)| {
            let mut spec = sample::machine(name);
            spec.id = sample::id(id);
            for disk in disks {
                spec = sample::with_disk(spec, &pool(), &VolumeName::from(disk));
            }
            for nic in nics {
                spec = sample::with_nic(spec, nic);
            }
            if let Some(seed) = seed {
                spec = sample::with_seed(spec, &pool(), &VolumeName::from(seed));
            }
            spec.direct_boot = cmdline.map(|cmdline| DirectBoot {
                kernel: "/boot/vmlinuz".to_owned(),
                initrd: None,
                cmdline: Some(cmdline.to_owned()),
            });
            spec.cpus = cpus;
            spec
        },
    )
}

fn of_machines() -> impl Strategy<Value = Request> {
    let id = prop::sample::select(&MACHINES[..]).prop_map(sample::id);
    let ided = (id, 0..8_u32).prop_map(|(id, verb)| match verb {
        0 => Request::StartMachine(id),
        1 => Request::Shutdown(id),
        2 => Request::PowerOff(id),
        3 => Request::RemoveMachine(id),
        4 => Request::GrowDisk(id, "vda".to_owned(), Bytes::from_mib(96)),
        5 => Request::Addresses(id),
        6 => Request::OpenConsole(id, Entry::Waits),
        _ => Request::StartMachine(id),
    });
    let whole = (machine(), 0..4_u32).prop_map(|(spec, verb)| match verb {
        0 => Request::RecordMachine(Box::new(spec)),
        1 | 2 => Request::DefineMachine(Box::new(spec)),
        _ => Request::ChangeMedium(Box::new(spec)),
    });
    prop_oneof![ided, whole]
}

fn of_networks() -> impl Strategy<Value = Request> {
    let what = (prop::sample::select(&NETWORKS[..]), 0..2_u8, 0..6_u32);
    let reserved = (prop::sample::select(&MACHINES[..]), 2..5_u8);
    (what, reserved).prop_map(|((name, net, verb), (machine, last))| {
        let spec = sample::network(name, ipnet::Ipv4Net::new_assert([10, net, 0, 0].into(), 24));
        let mac = sample::mac(&format!("{machine}/nic0"));
        let reservation = Reservation {
            mac,
            address: IpAddr::V4(Ipv4Addr::new(10, net, 0, last)),
            name: None,
        };
        match verb {
            0 | 1 => Request::CreateNetwork(Box::new(spec)),
            2 => Request::ChangeNetwork(Box::new(spec)),
            3 => Request::RemoveNetwork(spec.id),
            4 => Request::ReserveAddress(spec.id, reservation),
            _ => Request::ReleaseAddress(spec.id, mac, reservation.address),
        }
    })
}

fn of_volumes() -> impl Strategy<Value = Request> {
    let names = (
        prop::sample::select(&VOLUMES[..]),
        prop::sample::select(&VOLUMES[..]),
    );
    (names, 0..5_u32, 1..200_u64).prop_map(|((name, base), verb, mib)| {
        let (name, base, capacity) = (
            VolumeName::from(name),
            VolumeName::from(base),
            Bytes::from_mib(mib),
        );
        let base_format = DiskFormat::Qcow2;
        let content = match verb {
            0 => VolumeContent::Blank { capacity },
            1 => VolumeContent::Overlay {
                base,
                base_format,
                capacity,
            },
            2 => VolumeContent::Copy {
                base,
                base_format,
                capacity,
            },
            3 => VolumeContent::Upload { length: capacity },
            _ => return Request::DeleteVolume(pool(), name),
        };
        Request::CreateVolume(VolumeSpec {
            pool: pool(),
            name,
            content,
        })
    })
}

fn other_hand() -> impl Strategy<Value = ForeignHand> {
    let id = prop::sample::select(&MACHINES[..]).prop_map(sample::id);
    (id, prop::sample::select(&VOLUMES[..]), machine(), 0..11_u32).prop_map(|(id, volume, spec, hand)| {
        match hand {
            0 => ForeignHand::Crash(id),
            1 => ForeignHand::Pause(id),
            2 => ForeignHand::Save(id),
            3 => ForeignHand::Hang(id),
            4 => ForeignHand::Kill(id),
            5 => ForeignHand::Undefine(id),
            6 => ForeignHand::EraseMark(id),
            7 => ForeignHand::LoseVolume(VolumeName::from(volume)),
            8 => ForeignHand::StopNetwork(sample::id("lab")),
            9 => ForeignHand::AddMachine(Box::new(spec)),
            _ => ForeignHand::SetHardware {
                id,
                cpus: 2,
                memory: Mib(64),
            },
        }
    })
}

fn happening() -> impl Strategy<Value = Happening> {
    prop_oneof![
        4 => of_machines().prop_map(Happening::Asked),
        2 => of_networks().prop_map(Happening::Asked),
        2 => of_volumes().prop_map(Happening::Asked),
        1 => other_hand().prop_map(Happening::OtherHand),
        1 => (0..2000_u64).prop_map(Happening::Passes),
    ]
}

/// What stands on the host, so that it can be compared.
fn picture(snapshot: &Snapshot) -> serde_json::Value {
    serde_json::to_value(snapshot).unwrap()
}

fn check(state: &State, now: Millis) {
    let names: BTreeSet<_> = state
        .machines
        .values()
        .map(|machine| &machine.host_name)
        .collect();
    assert_eq!(names.len(), state.machines.len(), "two machines have one name");
    for (name, id) in &state.names {
        assert_eq!(&state.machines[id].host_name, name, "the index of names");
    }
    assert_eq!(state.names.len(), state.machines.len(), "the index of names");
    let mut disks = BTreeSet::new();
    for machine in state.machines.values() {
        let Some(run) = machine.run() else { continue };
        assert!(
            run.definition.disks.iter().all(|disk| disks.insert(&disk.path)),
            "a disk has two writers"
        );
        let woken = |at| state.due.contains(&(at, machine.id.clone()));
        assert!(
            run.next_due().is_none_or(woken),
            "nobody wakes {}",
            machine.host_name
        );
    }
    assert!(
        state
            .locks
            .values()
            .all(|id| matches!(state.machines[id].activity, MachineActivity::On(_)))
    );
    for network in state.networks.values() {
        let leases = network.valid_leases(now);
        let addresses: BTreeSet<_> = leases.iter().map(|lease| lease.address).collect();
        assert_eq!(
            addresses.len(),
            leases.len(),
            "one address is leased twice: {leases:?}"
        );
        let reserved: BTreeSet<_> = network.reservations.values().map(|r| r.address).collect();
        assert_eq!(
            reserved.len(),
            network.reservations.len(),
            "one address is reserved twice"
        );
    }
}

/// Whether a call that succeeded may fail when it is made again at once: makers do, the thing exists, and whoever waits for a console
/// that is free finds it taken.
fn makes(request: &Request) -> bool {
    matches!(
        request,
        Request::RecordMachine(_)
            | Request::CreateNetwork(_)
            | Request::CreateVolume(_)
            | Request::OpenConsole(_, Entry::Waits)
    )
}

fn ask(state: &mut State, request: &Request, now: Millis) {
    let before = picture(&state.snapshot(now));
    let answer = state.apply(request, now);
    let after = picture(&state.snapshot(now));
    if answer.is_err() {
        assert_eq!(before, after, "{request:?} failed and changed something");
        return;
    }
    let again = state.apply(request, now);
    assert_eq!(again.is_err(), makes(request), "{request:?} again: {again:?}");
    let repeated = picture(&state.snapshot(now));
    assert_eq!(after, repeated, "{request:?} again changed something");
    if let (Ok(Reply::Machine(one)), Ok(Reply::Machine(two))) = (answer, again) {
        assert_eq!(one.detail.known(), two.detail.known());
    }
}

/// A host with all volumes, networks and machines, so that more of what is asked can be done.
fn furnished() -> State {
    let mut state = State::new(Settings::default());
    for name in VOLUMES {
        state
            .create_volume(&sample::blank(&pool(), &VolumeName::from(name)))
            .unwrap();
    }
    for (number, name) in (0..).zip(NETWORKS) {
        let net = ipnet::Ipv4Net::new_assert([10, number, 0, 0].into(), 24);
        state.create_network(&sample::network(name, net), 0).unwrap();
    }
    for name in MACHINES {
        state.record_machine(&sample::machine(name), 0).unwrap();
    }
    state
}

proptest! {
    #[test]
    fn verbs_are_repeatable_failures_leave_no_trace_and_the_model_stays_whole(
        happenings in prop::collection::vec(happening(), 1..60),
    ) {
        let mut state = furnished();
        let mut now = 0;
        for happening in &happenings {
            match happening {
                Happening::Asked(request) => ask(&mut state, request, now),
                // Others may be refused too.
                Happening::OtherHand(hand) => drop(state.by_other_hand(hand, now)),
                Happening::Passes(time) => now += time,
            }
            state.advance(now);
            check(&state, now);
        }
        let text = serde_json::to_string(&state).unwrap();
        let again: State = serde_json::from_str(&text).unwrap();
        prop_assert_eq!(picture(&state.snapshot(now)), picture(&again.snapshot(now)));
    }
}
