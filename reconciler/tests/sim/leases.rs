//! Leases: what a builder may still write when its own has run out, and when the one it finds is another's.

use std::time::Duration;

use labyard_driver::Driver;
use labyard_driver::mark::{Mark, Ownership};
use labyard_driver_sim::{Edge, Fault, FaultKind, Settings, SimDriver, SimHost};

use labyard_reconciler::EngineError;
use labyard_reconciler::engine::Engine;

use crate::rig::{Rig, Table, assert_whole, config, inventory, wish};

const NIGHT: Duration = Duration::from_secs(8 * 3600);

fn mark(sim: &SimHost) -> Mark {
    sim.look().machines[0].mark.ours().cloned().unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_builder_that_slept_past_its_lease_writes_nothing_over_its_successors_mark() {
    let (sim, table) = (SimHost::new(Settings::default()), Table::default());
    let sleeper = Rig::start(&sim, &table);
    sleeper.network().await.unwrap();
    let wish = wish(&config("web"));
    sleeper.create(&wish).await.0.unwrap();
    let successor = Rig::start(&sim, &table);
    for rig in [&sleeper, &successor] {
        rig.sleeps(NIGHT);
    }
    let (made, identity) = successor.create(&wish).await;
    made.unwrap();
    let token = identity.unwrap().token;
    assert_eq!(mark(&sim).token, token);

    // Time for several renewals, of both.
    tokio::time::sleep(Duration::from_secs(70)).await;
    assert_eq!(mark(&sim).token, token);
    sleeper.end().await;
    assert_eq!(
        (mark(&sim).token, mark(&sim).ownership),
        (token.clone(), Ownership::Building)
    );
    successor.end().await;
    assert_eq!(
        (mark(&sim).token, mark(&sim).ownership),
        (token, Ownership::Confirmed)
    );
    assert_whole(&sim, &["web"]);
}

#[tokio::test(start_paused = true)]
async fn what_a_run_left_unconfirmed_is_changed_and_removed_long_after_by_the_state_that_has_it() {
    for long_after in [Duration::ZERO, NIGHT] {
        let (sim, table) = (SimHost::new(Settings::default()), Table::default());
        let first = Rig::start(&sim, &table);
        first.network().await.unwrap();
        let known = wish(&config("web"));
        let mut wish = known.clone();
        let identity = first.create(&wish).await.1.unwrap();
        first.kill();
        let second = Rig::start(&sim, &table);
        second.sleeps(long_after);
        wish.cpus = 2;
        second.update(&identity, &known, &wish).await.unwrap();
        assert_whole(&sim, &["web"]);
        second.kill();
        let third = Rig::start(&sim, &table);
        third.sleeps(2 * long_after);
        third.destroy(&identity, &wish).await.unwrap();
        assert!(sim.look().machines.is_empty());
    }
}

#[tokio::test(start_paused = true)]
async fn what_changed_between_look_and_take_over_is_not_taken() {
    let (sim, table) = (SimHost::new(Settings::default()), Table::default());
    let first = Rig::start(&sim, &table);
    first.network().await.unwrap();
    let wish = wish(&config("web"));
    let identity = first.create(&wish).await.1.unwrap();
    first.kill();
    // The second has looked, and is slow; meanwhile the state that has the machine confirms it.
    let second = Rig::start(&sim, &table);
    second.engine.snapshot(&second.host).await.unwrap();
    let driver = SimDriver::in_memory(&sim);
    let confirmed = Mark {
        ownership: Ownership::Confirmed,
        lease: None,
        ..mark(&sim)
    };
    driver.write_mark(&identity.id, &confirmed).await.unwrap();
    let refused = second.create(&wish).await.0.unwrap_err().to_string();
    assert!(refused.contains("terraform import"), "{refused}");
    assert_eq!(mark(&sim).token, identity.token);
}

#[tokio::test(start_paused = true)]
async fn an_object_that_is_not_found_on_another_host_is_not_gone() {
    let (sim, table) = (SimHost::new(Settings::default()), Table::default());
    let first = Rig::start(&sim, &table);
    first.network().await.unwrap();
    let wish = wish(&config("web"));
    let mut identity = first.create(&wish).await.1.unwrap();
    assert!(identity.host.is_some());
    first.destroy(&identity, &wish).await.unwrap();
    first.destroy(&identity, &wish).await.unwrap();
    identity.host = Some("another".into());
    let refused = first.destroy(&identity, &wish).await.unwrap_err().to_string();
    assert!(refused.contains("another host answers"), "{refused}");
    let refused = first
        .update(&identity, &wish, &wish)
        .await
        .unwrap_err()
        .to_string();
    assert!(refused.contains("another host answers"), "{refused}");
}

#[tokio::test(start_paused = true)]
async fn what_a_dead_builder_began_for_another_configuration_becomes_the_wanted_one_without_rest() {
    let mut smaller = config("web");
    smaller.disks.as_mut().unwrap().get_mut("data").unwrap().size_gib = Some(1);
    let mut without = config("web");
    without.disks.as_mut().unwrap().remove("data");
    for changed in [smaller, without] {
        for nth in 1..=12 {
            let (sim, table) = (SimHost::new(Settings::default()), Table::default());
            let first = Rig::start(&sim, &table);
            first.network().await.unwrap();
            let mut begun = config("web");
            begun.disks.as_mut().unwrap().get_mut("data").unwrap().on_remove = None;
            sim.order(Fault::mutation(nth, FaultKind::CrashCaller(Edge::After)));
            let killed = tokio::time::timeout(NIGHT, first.create(&wish(&begun))).await;
            assert!(killed.is_err(), "not killed at {nth}");
            sim.clear_faults();
            first.kill();
            let second = Rig::start(&sim, &table);
            let wanted = wish(&changed);
            second
                .create(&wanted)
                .await
                .0
                .unwrap_or_else(|e| panic!("killed at {nth}: {e}"));
            let disks = wanted.disks.len();
            let volumes: Vec<_> = inventory(&sim)
                .into_iter()
                .filter(|l| l.starts_with("volume"))
                .collect();
            assert_eq!(volumes.len(), disks + 3, "killed at {nth}: {volumes:?}");
            let snapshot = sim.look();
            let detail = snapshot.machines[0].detail.known().unwrap();
            assert_eq!(detail.disks.len(), disks, "killed at {nth}");
            for disk in &detail.disks {
                let size = labyard_driver::observed::Capacity::Known(labyard_driver::ids::Bytes::from_gib(1));
                assert_eq!(disk.capacity, size, "killed at {nth}");
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn what_an_engine_lets_go_of_is_taken_up_by_its_next_create_and_what_it_holds_is_not() {
    let (sim, table) = (SimHost::new(Settings::default()), Table::default());
    let rig = Rig::start(&sim, &table);
    rig.network().await.unwrap();
    let wanted = wish(&config("web"));
    let (made, first) = rig.create(&wanted).await;
    let id = made.unwrap().id;
    let held = rig.create(&wanted).await.0.unwrap_err();
    assert!(matches!(held, EngineError::AlreadyExists { .. }), "{held}");
    rig.engine.let_go(&rig.host, &id).await;
    let (again, second) = rig.create(&wanted).await;
    assert_eq!(again.unwrap().id, id, "the same machine");
    assert_ne!(first.unwrap().token, second.unwrap().token);
}
