//! Any faults at any calls: answers come in time, and a reader that repeats converges.

use std::time::Duration;

use futures::future::BoxFuture;
use labyard_driver::conformance::sample;
use labyard_driver::ids::{PoolName, VolumeName};
use labyard_driver::{Driver, DriverError};
use labyard_driver_sim::{
    Edge, Failure, Fault, FaultKind, Latency, Settings, SimDriver, SimHost, Trigger, Verb,
};
use proptest::prelude::*;

/// A call's deadline, both halves of its latency and the longest delay that is ordered.
const LONGEST: Duration = Duration::from_secs(31);

fn kind() -> impl Strategy<Value = FaultKind> {
    let edge = prop::sample::select(&[Edge::Before, Edge::After][..]);
    let failure = prop::sample::select(&[Failure::Busy, Failure::Refused, Failure::NoSpace][..]);
    (edge, failure, 0..7_u32).prop_map(|(edge, failure, kind)| match kind {
        0 => FaultKind::Fail(edge, failure),
        1 => FaultKind::LoseRequest,
        2 => FaultKind::LoseReply,
        3 => FaultKind::Duplicate,
        4 => FaultKind::Hang(edge),
        5 => FaultKind::RestartDaemon(edge),
        _ => FaultKind::Delay(Duration::from_millis(700)),
    })
}

fn fault() -> impl Strategy<Value = Fault> {
    let at = prop_oneof![
        (1..30_u64).prop_map(Trigger::Call),
        (1..20_u64).prop_map(Trigger::Mutation),
        (3..9_u64).prop_map(Trigger::OneIn),
        Just(Trigger::Nth(Verb::StartMachine, 1)),
    ];
    (at, kind()).prop_map(|(at, kind)| Fault { at, kind })
}

fn host(faults: &[Fault]) -> SimHost {
    let latency = Latency {
        least: Duration::from_millis(1),
        most: Duration::from_millis(50),
    };
    let host = SimHost::new(Settings {
        latency,
        ..Settings::default()
    });
    faults.iter().for_each(|fault| host.order(fault.clone()));
    host
}

/// Makes and starts a machine with a disk, whatever its calls answer.
async fn build(driver: &SimDriver) {
    let (pool, disk) = (PoolName::from("default"), VolumeName::from("disk"));
    let spec = sample::with_disk(sample::machine("m"), &pool, &disk);
    let calls: [BoxFuture<'_, Result<(), DriverError>>; 5] = [
        Box::pin(async { driver.record_machine(&spec).await.map(drop) }),
        Box::pin(async { driver.create_volume(&sample::blank(&pool, &disk)).await.map(drop) }),
        Box::pin(async { driver.define_machine(&spec).await.map(drop) }),
        Box::pin(driver.start_machine(&spec.id)),
        Box::pin(async { driver.snapshot().await.map(drop) }),
    ];
    for call in calls {
        let answer = tokio::time::timeout(LONGEST, call).await;
        assert!(answer.is_ok(), "a call did not end in time");
    }
}

/// Reads and removes until a read shows nothing.
async fn converge(driver: &SimDriver) -> bool {
    for _ in 0..100 {
        let Ok(snapshot) = driver.snapshot().await else {
            continue;
        };
        if snapshot.machines.is_empty() && snapshot.volumes.is_empty() {
            return true;
        }
        for machine in snapshot.machines {
            // Whether it worked the next read tells.
            drop(driver.power_off(&machine.id).await);
            drop(driver.remove_machine(&machine.id).await);
        }
        for volume in snapshot.volumes {
            drop(
                driver
                    .delete_volume(&PoolName::from("default"), &volume.name)
                    .await,
            );
        }
    }
    false
}

fn in_simulated_time<T>(work: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .unwrap();
    runtime.block_on(work)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn calls_end_in_time_and_repeated_removal_converges(faults in prop::collection::vec(fault(), 0..6)) {
        in_simulated_time(async {
            let host = host(&faults);
            let driver = SimDriver::in_memory(&host);
            build(&driver).await;
            assert!(converge(&driver).await, "{:?}", host.look());
        });
    }

    #[test]
    fn the_same_seed_and_faults_give_the_same_run(faults in prop::collection::vec(fault(), 0..6)) {
        let run = || in_simulated_time(async {
            let host = host(&faults);
            build(&SimDriver::in_memory(&host)).await;
            host.operations()
        });
        prop_assert_eq!(run(), run());
    }
}

#[test]
fn from_a_crash_at_any_mutation_the_next_driver_clears_up() {
    let mutations = in_simulated_time(async {
        let host = host(&[]);
        build(&SimDriver::in_memory(&host)).await;
        host.mutations()
    });
    assert_eq!(mutations, 4);
    for mutation in 1..=mutations as u64 {
        for edge in [Edge::Before, Edge::After] {
            in_simulated_time(async {
                let host = host(&[Fault::mutation(mutation, FaultKind::CrashCaller(edge))]);
                let driver = SimDriver::in_memory(&host);
                tokio::select! {
                    () = build(&driver) => panic!("it survived a crash at {mutation}"),
                    () = host.caller_crashed() => {}
                }
                assert!(
                    converge(&SimDriver::in_memory(&host)).await,
                    "{mutation} {edge:?}: {:?}",
                    host.look()
                );
            });
        }
    }
}
