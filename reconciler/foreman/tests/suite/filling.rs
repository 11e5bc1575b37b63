//! Pools are filled, rolled, shrunk and removed, within their bounds.

use crate::rig::{Crew, Lab, namespace, settings, spec};
use labyard_driver_sim::{Edge, Failure, Fault, FaultKind, GuestFault, GuestSettings, Trigger, Verb};
use labyard_foreman::{Standing, Unsettled};
use labyard_labs::{
    Refusal, host,
    member::State,
    plan::ATTEMPTS,
    pool::{self, Spec},
};
use labyard_store::{on_both, testing::Database};
use serde_json::json;
use std::time::Duration;

on_both!(
    a_pool_is_filled_and_its_machines_can_be_reached,
    invariant_8_no_more_stand_or_are_in_flight_than_may,
    a_changed_template_rolls_and_a_removed_pool_leaves_nothing,
    invariant_9_a_template_that_fails_waits_is_given_up_and_leaves_nothing,
    a_host_that_hangs_hurts_itself_alone_and_its_machines_are_not_forgotten,
    cordoned_hosts_get_none_and_a_drained_one_is_emptied,
);

pub(crate) const LONG: Duration = Duration::from_secs(120);

/// Until the pool is what it is asked to be.
pub(crate) async fn settle(crew: &Crew) -> Option<Standing> {
    let settled = crew
        .foreman
        .settle(&namespace(), &"k8s".into(), LONG, &|_| {})
        .await;
    settled.unwrap()
}

async fn a_pool_is_filled_and_its_machines_can_be_reached(database: &Database) {
    let lab = Lab::with(database, 2).await;
    lab.put(spec(5, 8)).await;
    let standing = settle(&lab.crew()).await.unwrap();
    assert_eq!((standing.free, standing.count(State::Free)), (5, 5));
    for member in lab.members().await {
        assert!(
            member.identity.is_some() && member.addresses.len() == 1,
            "{member:?}"
        );
    }
    lab.assert_nothing_doubled_or_orphaned().await;
    // Both hosts have some.
    assert!(lab.sims.iter().all(|sim| !sim.look().machines.is_empty()));
}

async fn invariant_8_no_more_stand_or_are_in_flight_than_may(database: &Database) {
    let lab = Lab::with(database, 2).await;
    lab.put(spec(8, 9)).await;
    let crews = [lab.crew(), lab.crew()];
    let watch = async {
        loop {
            let members = lab.members().await;
            let in_flight = members
                .iter()
                .filter(|member| matches!(member.state, State::Building | State::Recycling))
                .count();
            assert!(members.len() <= 9 && in_flight <= 3, "{members:?}");
            let standing: usize = lab.sims.iter().map(|sim| sim.look().machines.len()).sum();
            assert!(standing <= 9, "{standing} on hosts");
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    let both = async { tokio::join!(settle(&crews[0]), settle(&crews[1])) };
    tokio::select! {
        () = watch => unreachable!("watches for ever"),
        (first, second) = both => assert_eq!((first.unwrap().free, second.unwrap().free), (8, 8)),
    }
    lab.assert_nothing_doubled_or_orphaned().await;
}

async fn a_changed_template_rolls_and_a_removed_pool_leaves_nothing(database: &Database) {
    let lab = Lab::with(database, 1).await;
    let crew = lab.crew();
    lab.put(spec(2, 3)).await;
    settle(&crew).await;
    let old: Vec<_> = lab.members().await.into_iter().map(|member| member.id).collect();
    let mut changed = spec(2, 3);
    changed.template["memory_mib"] = json!(256);
    lab.put(changed).await;
    // Where there is room others are there before an old one goes: two are free at any time.
    let watch = async {
        loop {
            assert!(lab.in_state(State::Free).await >= 1);
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::select! {
        () = watch => unreachable!("watches for ever"),
        standing = settle(&crew) => assert_eq!(standing.unwrap().free, 2),
    }
    assert!(lab.members().await.iter().all(|member| !old.contains(&member.id)));
    for machine in lab.sims[0].look().machines {
        assert_eq!(machine.size.unwrap().memory.0, 256);
    }
    lab.put(Spec {
        ready: 1,
        template: lab.pool().await.spec.template,
        ..spec(1, 3)
    })
    .await;
    settle(&crew).await;
    assert_eq!(lab.members().await.len(), 1);
    let now = lab.time.moment();
    let removed: Result<(), Refusal> = lab
        .store
        .write(move |write| pool::remove(write, &namespace(), &"k8s".into(), now, "test"))
        .await;
    removed.unwrap();
    assert!(settle(&crew).await.is_none());
    assert!(lab.machines().is_empty());
    assert!(lab.sims[0].look().volumes.is_empty());
}

async fn invariant_9_a_template_that_fails_waits_is_given_up_and_leaves_nothing(database: &Database) {
    let lab = Lab::with(database, 1).await;
    let crew = lab.crew();
    lab.sims[0].set_guests(GuestSettings {
        fault: GuestFault::NoAddress,
        ..settings(1).guest
    });
    let mut bad = spec(2, 3);
    bad.template["ready"] = json!({"wait": "address", "timeout": "50ms"});
    lab.put(bad).await;
    for _ in 0..200 {
        crew.foreman.pass().await.unwrap();
        let pool = lab.pool().await;
        if pool.failures >= ATTEMPTS {
            break;
        }
        let now = lab.time.moment();
        lab.time
            .skip(pool.retry_at.map_or(1_000, |at| (at.0 - now.0).max(1_000)));
    }
    let pool = lab.pool().await;
    assert_eq!(pool.failures, ATTEMPTS);
    assert!(
        pool.cause.as_deref().unwrap().contains("did not become ready"),
        "{pool:?}"
    );
    lab.time.skip(3_600_000);
    for _ in 0..5 {
        crew.foreman.pass().await.unwrap();
    }
    assert!(lab.members().await.is_empty(), "{:?}", lab.members().await);
    assert!(lab.machines().is_empty() && lab.sims[0].look().volumes.is_empty());
    let told = crew
        .foreman
        .settle(&namespace(), &"k8s".into(), LONG, &|_| {})
        .await
        .unwrap_err();
    assert!(matches!(&told, Unsettled::GivenUp { .. }), "{told}");
    assert!(told.to_string().contains("did not become ready"), "{told}");
    // Another template is another chance.
    lab.sims[0].set_guests(settings(1).guest);
    lab.put(spec(2, 3)).await;
    assert_eq!(settle(&crew).await.unwrap().free, 2);
}

async fn a_host_that_hangs_hurts_itself_alone_and_its_machines_are_not_forgotten(database: &Database) {
    let lab = Lab::with(database, 2).await;
    let crew = lab.crew();
    lab.put(spec(4, 8)).await;
    settle(&crew).await;
    let on_first = lab.sims[0].look().machines.len();
    assert!(on_first > 0);
    lab.sims[0].order(Fault {
        at: Trigger::Every(Verb::Snapshot),
        kind: FaultKind::Fail(Edge::Before, Failure::Unreachable),
    });
    let now = lab.time.moment();
    let silent: Result<(), Refusal> = lab
        .store
        .write(move |write| host::seen(write, "lab1", Err("no answer"), now, "test"))
        .await;
    silent.unwrap();
    lab.time.skip(host::LOST_AFTER_MS);
    let now = lab.time.moment();
    let lost: Result<(), Refusal> = lab
        .store
        .write(move |write| host::seen(write, "lab1", Err("no answer"), now, "test"))
        .await;
    lost.unwrap();
    let standing = settle(&crew).await.unwrap();
    assert_eq!(standing.free, 4, "others are made elsewhere");
    assert_eq!(lab.sims[1].look().machines.len(), 4);
    assert_eq!(lab.members().await.len(), 4 + on_first, "none is forgotten");
    // It answers again: there are too many now.
    lab.sims[0].clear_faults();
    let now = lab.time.moment();
    let back: Result<(), Refusal> = lab
        .store
        .write(move |write| host::seen(write, "lab1", Ok(()), now, "test"))
        .await;
    back.unwrap();
    settle(&crew).await;
    assert_eq!(lab.members().await.len(), 4);
    lab.assert_nothing_doubled_or_orphaned().await;
}

async fn cordoned_hosts_get_none_and_a_drained_one_is_emptied(database: &Database) {
    let lab = Lab::with(database, 2).await;
    let crew = lab.crew();
    let wish = async |name: &'static str, wish| {
        let now = lab.time.moment();
        let done: Result<(), Refusal> = lab
            .store
            .write(move |write| host::wish(write, name, wish, now, "test"))
            .await;
        done.unwrap();
    };
    wish("lab1", host::Wish::Cordoned).await;
    lab.put(spec(3, 6)).await;
    settle(&crew).await;
    assert!(lab.sims[0].look().machines.is_empty());
    wish("lab1", host::Wish::Open).await;
    wish("lab2", host::Wish::Draining).await;
    settle(&crew).await;
    assert!(lab.sims[1].look().machines.is_empty());
    assert_eq!(lab.sims[0].look().machines.len(), 3);
    lab.assert_nothing_doubled_or_orphaned().await;
}
