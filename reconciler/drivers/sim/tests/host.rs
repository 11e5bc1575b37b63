//! The simulated host in memory: guests in simulated time, faults, crash points, the record of calls.

use std::time::Duration;

use labyard_driver::conformance::sample;
use labyard_driver::driver::AgentState;
use labyard_driver::ids::{ObjectId, PoolName, VolumeName};
use labyard_driver::observed::{Detail, Power, Reservation};
use labyard_driver::spec::{DirectBoot, MachineSpec};
use labyard_driver::{Driver, DriverError, Entry, Heard, HostEvent};
use labyard_driver_sim::{
    Edge, Failure, Fault, FaultKind, ForeignHand, Latency, Outcome, Settings, SimDriver, SimHost, Trigger,
    Verb,
};

fn host() -> (SimHost, SimDriver) {
    let host = SimHost::new(Settings::default());
    let driver = SimDriver::in_memory(&host);
    (host, driver)
}

fn booting(name: &str, cmdline: &str) -> MachineSpec {
    let mut spec = sample::with_nic(sample::machine(name), "lab");
    spec.direct_boot = Some(DirectBoot {
        kernel: "/boot/vmlinuz".to_owned(),
        initrd: None,
        cmdline: Some(cmdline.to_owned()),
    });
    spec
}

/// A running machine on a network of its own.
async fn started(driver: &SimDriver, cmdline: &str) -> MachineSpec {
    driver
        .create_network(&sample::network("lab", "10.1.0.0/24".parse().unwrap()))
        .await
        .unwrap();
    let spec = booting("guest", cmdline);
    driver.record_machine(&spec).await.unwrap();
    driver.define_machine(&spec).await.unwrap();
    driver.start_machine(&spec.id).await.unwrap();
    spec
}

async fn power(driver: &SimDriver, id: &ObjectId) -> Power {
    driver.machine(id).await.unwrap().power
}

#[tokio::test(start_paused = true)]
async fn a_guest_gets_the_address_reserved_for_it_and_its_agent_answers_later() {
    let (_host, driver) = host();
    let net = sample::network("lab", "10.1.0.0/24".parse().unwrap());
    driver.create_network(&net).await.unwrap();
    let spec = booting("guest", "quiet");
    let reservation = Reservation {
        mac: spec.nics[0].mac,
        address: "10.1.0.7".parse().unwrap(),
        name: Some("guest".to_owned()),
    };
    driver.reserve_address(&net.id, &reservation).await.unwrap();
    driver.record_machine(&spec).await.unwrap();
    driver.define_machine(&spec).await.unwrap();
    let mut events = driver.events().await.unwrap();
    driver.start_machine(&spec.id).await.unwrap();
    assert_eq!(driver.leases(&net.id).await.unwrap(), []);
    assert_eq!(events.recv().await.unwrap(), HostEvent::Machine(spec.id.clone()));
    assert_eq!(events.recv().await.unwrap(), HostEvent::Agent(spec.id.clone()));
    assert_eq!(
        driver.leases(&net.id).await.unwrap()[0].address,
        reservation.address
    );
    assert_eq!(driver.agent_answers(&spec.id).await.unwrap(), AgentState::Answers);
}

#[tokio::test(start_paused = true)]
async fn words_on_the_command_line_choose_how_a_guest_goes_wrong() {
    for (word, expected) in [("sim.no_address", Power::Running), ("sim.crash", Power::Crashed)] {
        let (_host, driver) = host();
        let spec = started(&driver, word).await;
        tokio::time::sleep(Duration::from_secs(5)).await;
        assert_eq!(power(&driver, &spec.id).await, expected, "{word}");
        assert_eq!(driver.leases(&sample::id("lab")).await.unwrap(), [], "{word}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_guest_shuts_down_when_asked_unless_it_ignores_it() {
    for (word, expected) in [("", Power::Stopped), ("sim.ignore_shutdown", Power::Running)] {
        let (_host, driver) = host();
        let spec = started(&driver, word).await;
        tokio::time::sleep(Duration::from_secs(5)).await;
        driver.request_shutdown(&spec.id).await.unwrap();
        assert_eq!(power(&driver, &spec.id).await, Power::Running, "{word}");
        tokio::time::sleep(Duration::from_secs(5)).await;
        assert_eq!(power(&driver, &spec.id).await, expected, "{word}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_machine_that_hangs_is_unknown_and_cannot_be_changed_but_can_be_cut_off() {
    let (_host, driver) = host();
    let spec = started(&driver, "sim.hang").await;
    let snapshot = driver.snapshot().await.unwrap();
    assert!(matches!(snapshot.machines[0].detail, Detail::Unknown(_)));
    let answer = driver.define_machine(&spec).await;
    assert!(matches!(answer, Err(DriverError::Busy { .. })), "{answer:?}");
    driver.power_off(&spec.id).await.unwrap();
    driver.define_machine(&spec).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn the_console_of_a_crashing_guest_tells_of_its_panic_and_ends() {
    let (_host, driver) = host();
    let spec = started(&driver, "sim.crash").await;
    let mut console = driver.console(&spec.id, Entry::Waits).await.unwrap();
    let mut text = Vec::new();
    while let Heard::Said(bytes) = console.read().await.unwrap() {
        text.extend_from_slice(&bytes);
    }
    assert!(String::from_utf8(text).unwrap().contains("Linux version"));
}

#[tokio::test(start_paused = true)]
async fn a_lost_reply_leaves_the_effect_and_a_lost_request_does_not() {
    for (kind, left) in [(FaultKind::LoseReply, 1), (FaultKind::LoseRequest, 0)] {
        let (host, driver) = host();
        host.order(Fault::nth(Verb::RecordMachine, 1, kind));
        let answer = driver.record_machine(&sample::machine("m")).await;
        assert!(matches!(answer, Err(DriverError::ReplyLost { .. })), "{answer:?}");
        assert_eq!(host.look().machines.len(), left);
    }
}

#[tokio::test(start_paused = true)]
async fn a_duplicate_is_delivered_twice_and_the_second_answer_counts() {
    let (host, driver) = host();
    host.order(Fault::nth(Verb::RecordMachine, 1, FaultKind::Duplicate));
    let answer = driver.record_machine(&sample::machine("m")).await;
    assert!(matches!(answer, Err(DriverError::Exists { .. })), "{answer:?}");
    assert_eq!(host.look().machines.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_crash_point_silences_its_caller_for_ever_and_nobody_else() {
    for (edge, left) in [(Edge::Before, 0), (Edge::After, 1)] {
        let (host, driver) = host();
        host.order(Fault::mutation(1, FaultKind::CrashCaller(edge)));
        let spec = sample::machine("m");
        tokio::select! {
            answer = driver.record_machine(&spec) => panic!("{answer:?}"),
            () = host.caller_crashed() => {}
        }
        let late = tokio::time::timeout(Duration::from_secs(3600), driver.snapshot()).await;
        assert!(late.is_err(), "a dead caller got an answer");
        let next = SimDriver::in_memory(&host);
        assert_eq!(next.snapshot().await.unwrap().machines.len(), left);
    }
}

#[tokio::test(start_paused = true)]
async fn a_hanging_host_costs_the_deadline_and_a_daemon_that_is_down_costs_nothing() {
    let (host, driver) = host();
    host.hang();
    let before = host.now_ms();
    let answer = driver.snapshot().await;
    assert!(matches!(answer, Err(DriverError::ReplyLost { .. })), "{answer:?}");
    assert_eq!(host.now_ms() - before, 30_000);
    host.resume();
    driver.snapshot().await.unwrap();
    host.stop_daemon();
    let answer = driver.snapshot().await;
    assert!(
        matches!(answer, Err(DriverError::Unreachable { .. })),
        "{answer:?}"
    );
    host.start_daemon();
    driver.snapshot().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_restart_of_the_daemon_breaks_calls_under_way_and_guests_live_on() {
    let (host, driver) = host();
    let spec = started(&driver, "").await;
    host.set_latency(Latency::constant(Duration::from_millis(10)));
    let mut events = driver.events().await.unwrap();
    let (answer, ()) = tokio::join!(driver.snapshot(), async {
        tokio::time::sleep(Duration::from_millis(3)).await;
        host.start_daemon();
    });
    assert!(matches!(answer, Err(DriverError::ReplyLost { .. })), "{answer:?}");
    assert_eq!(events.recv().await.unwrap(), HostEvent::Lost);
    assert_eq!(power(&driver, &spec.id).await, Power::Running);
}

#[tokio::test(start_paused = true)]
async fn every_call_is_on_record_with_what_its_caller_was_told() {
    let (host, driver) = host();
    host.order(Fault {
        at: Trigger::Every(Verb::PoolRoom),
        kind: FaultKind::Fail(Edge::Before, Failure::Busy),
    });
    driver.record_machine(&sample::machine("m")).await.unwrap();
    driver.pool_room(&PoolName::from("default")).await.unwrap_err();
    let told: Vec<_> = host
        .operations()
        .into_iter()
        .map(|op| (op.number, op.verb, op.outcome))
        .collect();
    assert!(matches!(told[0], (1, Verb::RecordMachine, Outcome::Answered)));
    assert!(matches!(told[1], (2, Verb::PoolRoom, Outcome::Failed(_))));
    assert_eq!((host.mutations(), host.count(Verb::PoolRoom)), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn what_others_do_is_seen_and_what_they_added_survives_our_edits() {
    let (host, driver) = host();
    let spec = sample::machine("m");
    driver.record_machine(&spec).await.unwrap();
    let attach = ForeignHand::AttachDisk {
        id: spec.id.clone(),
        target: "vdz".to_owned(),
        path: "/srv/theirs.qcow2".to_owned(),
    };
    host.by_other_hand(&attach).unwrap();
    let pool = PoolName::from("default");
    let spec = sample::with_disk(spec, &pool, &VolumeName::from("ours"));
    let seen = driver.define_machine(&spec).await.unwrap();
    let targets: Vec<_> = seen
        .detail
        .known()
        .unwrap()
        .disks
        .iter()
        .map(|disk| disk.target.clone())
        .collect();
    assert_eq!(targets, ["vda", "vdz"]);
}
