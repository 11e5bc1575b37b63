//! Killed at every mutation, every reply lost, every step failed: one more run converges, and a destroy leaves
//! nothing. (Invariants 13 and 14 of the lab systems: deterministic recorded names, nothing left over.)

use std::sync::Arc;
use std::time::Duration;

use labyard_driver_sim::{Edge, Failure, Fault, FaultKind, Ids, Settings, SimHost};
use tokio::time::timeout;

use crate::rig::{Rig, Table, assert_whole, config, inventory, wish};

/// Long enough for everything that a create waits for.
const PATIENCE: Duration = Duration::from_secs(3600);

/// How many mutations a whole create has, network and confirmation left out.
async fn mutations_of_a_create() -> u64 {
    let (sim, table) = (SimHost::new(Settings::default()), Table::default());
    let rig = Rig::start(&sim, &table);
    rig.network().await.unwrap();
    sim.clear_operations();
    rig.create(&wish(&config("web"))).await.0.unwrap();
    sim.mutations() as u64
}

/// A create during which `kind` happens at the nth mutation, then the process is killed; then one more create by a
/// new process, and a destroy by a third.
async fn create_through(nth: u64, kind: FaultKind, ids: Ids) {
    let (sim, table) = (
        SimHost::new(Settings {
            seed: nth,
            ids,
            ..Settings::default()
        }),
        Table::default(),
    );
    let first = Rig::start(&sim, &table);
    first.network().await.unwrap();
    let empty = inventory(&sim);
    let wish = wish(&config("web"));
    sim.order(Fault::mutation(nth, kind.clone()));
    let told = timeout(PATIENCE, first.create(&wish)).await;
    sim.clear_faults();
    first.kill();

    let second = Rig::start(&sim, &table);
    // Terraform destroys a tainted object before it makes it anew; one that it was never told of is adopted.
    if let Ok((Err(_), Some(identity))) = &told {
        second
            .destroy(identity, &wish)
            .await
            .unwrap_or_else(|e| panic!("{kind:?} at {nth}: destroy: {e}"));
    }
    let made = match told {
        Ok((Ok(_), Some(identity))) => Some(identity),
        _ => {
            let (made, identity) = second.create(&wish).await;
            made.unwrap_or_else(|e| panic!("{kind:?} at {nth}: {e}"));
            identity
        }
    };
    assert_whole(&sim, &["web"]);
    second.end().await;

    let third = Rig::start(&sim, &table);
    third
        .destroy(&made.unwrap(), &wish)
        .await
        .unwrap_or_else(|e| panic!("{kind:?} at {nth}: {e}"));
    assert_eq!(inventory(&sim), empty, "{kind:?} at {nth}");
}

async fn at_every_mutation(kind: FaultKind) {
    let all = mutations_of_a_create().await;
    assert!(all >= 12, "a create has {all} mutations");
    for nth in 1..=all {
        for ids in [Ids::ByCaller, Ids::ByHost] {
            create_through(nth, kind.clone(), ids).await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_create_killed_before_any_mutation_converges() {
    at_every_mutation(FaultKind::CrashCaller(Edge::Before)).await;
}

#[tokio::test(start_paused = true)]
async fn a_create_killed_after_any_mutation_converges() {
    at_every_mutation(FaultKind::CrashCaller(Edge::After)).await;
}

#[tokio::test(start_paused = true)]
async fn a_create_whose_reply_is_lost_at_any_mutation_converges() {
    at_every_mutation(FaultKind::LoseReply).await;
}

#[tokio::test(start_paused = true)]
async fn a_create_whose_request_is_lost_at_any_mutation_converges() {
    at_every_mutation(FaultKind::LoseRequest).await;
}

#[tokio::test(start_paused = true)]
async fn a_create_whose_request_arrives_twice_at_any_mutation_converges() {
    at_every_mutation(FaultKind::Duplicate).await;
}

#[tokio::test(start_paused = true)]
async fn a_create_refused_at_any_mutation_is_kept_and_can_be_destroyed() {
    at_every_mutation(FaultKind::Fail(Edge::Before, Failure::Refused)).await;
}

#[tokio::test(start_paused = true)]
async fn a_create_goes_on_after_the_host_was_busy_at_any_mutation() {
    at_every_mutation(FaultKind::Fail(Edge::Before, Failure::Busy)).await;
}

#[tokio::test(start_paused = true)]
async fn a_destroy_killed_at_any_mutation_is_finished_by_the_next() {
    for nth in 1..=8 {
        for edge in [Edge::Before, Edge::After] {
            let (sim, table) = (SimHost::new(Settings::default()), Table::default());
            let first = Rig::start(&sim, &table);
            first.network().await.unwrap();
            let empty = inventory(&sim);
            let wish = wish(&config("web"));
            let (made, identity) = first.create(&wish).await;
            made.unwrap();
            let identity = identity.unwrap();
            first.end().await;
            let second = Rig::start(&sim, &table);
            sim.order(Fault::mutation(nth, FaultKind::CrashCaller(edge)));
            let _ = timeout(PATIENCE, second.destroy(&identity, &wish)).await;
            sim.clear_faults();
            second.kill();
            let third = Rig::start(&sim, &table);
            third
                .destroy(&identity, &wish)
                .await
                .unwrap_or_else(|e| panic!("{edge:?} {nth}: {e}"));
            assert_eq!(inventory(&sim), empty, "{edge:?} {nth}");
        }
    }
}

/// Nobody else may touch what a living builder builds, and its own next process must.
#[tokio::test(start_paused = true)]
async fn a_living_builder_is_waited_for_and_then_named() {
    let (sim, table) = (SimHost::new(Settings::default()), Table::default());
    let builder = Arc::new(Rig::start(&sim, &table));
    builder.network().await.unwrap();
    sim.set_guests(labyard_driver_sim::GuestSettings {
        fault: labyard_driver_sim::GuestFault::NoAddress,
        ..Default::default()
    });
    let wish = wish(&config("web"));
    let building = {
        let (builder, wish) = (builder.clone(), wish.clone());
        tokio::spawn(async move { builder.create(&wish).await.0 })
    };
    tokio::time::sleep(Duration::from_secs(30)).await;
    let other = Rig::start(&sim, &table);
    let began = tokio::time::Instant::now();
    let refused = other.create(&wish).await.0.unwrap_err().to_string();
    assert!(
        refused.contains("being built") && refused.contains("engine-101"),
        "{refused}"
    );
    assert!(
        (120..140).contains(&began.elapsed().as_secs()),
        "{:?}",
        began.elapsed()
    );
    building.abort();
}
