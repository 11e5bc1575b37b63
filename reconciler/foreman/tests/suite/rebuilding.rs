//! A store that was lost is rebuilt from the marks on hosts.

use crate::{
    claims::{code, redeemed, until_ready, with_agents},
    filling::settle,
    rig::{Lab, namespace, spec},
};
use labyard_foreman::rebuild::Why;
use labyard_labs::{
    member::State,
    pool::{Recycle, Spec},
};
use labyard_store::{on_both, testing::Database};
use std::collections::BTreeSet;

on_both!(
    a_lost_store_is_rebuilt_and_no_machine_is_doubled_or_orphaned,
    machines_of_a_pool_that_nobody_declares_are_listed_and_go_when_that_is_said,
);

fn another(database: &Database) -> Database {
    match database.name.is_empty() {
        true => Database::sqlite(),
        false => Database::postgres().unwrap(),
    }
}

async fn a_lost_store_is_rebuilt_and_no_machine_is_doubled_or_orphaned(database: &Database) {
    let mut lab = Lab::with(database, 2).await;
    let crew = lab.crew();
    let of_pool = || Spec {
        ready: 3,
        max: 6,
        ..with_agents(Recycle::Reset)
    };
    lab.put(of_pool()).await;
    settle(&crew).await;
    code(&lab).await;
    let claim = redeemed(&lab, "ada", None).await.unwrap().claim;
    until_ready(&lab, &crew, &claim.id).await;
    settle(&crew).await;
    let before = lab.machines();
    assert_eq!(before.len(), 4);
    crew.kill();

    let empty = another(database);
    lab.store = empty.open().await;
    let crew = lab.crew();
    lab.put(of_pool()).await;
    let rebuilt = crew.foreman.rebuild(&namespace(), "test").await.unwrap();
    assert_eq!(
        (rebuilt.taken_back.len(), rebuilt.strays.len()),
        (4, 0),
        "{rebuilt:?}"
    );
    // None is free: whether somebody has it nobody can tell.
    assert_eq!(lab.in_state(State::Free).await, 0);
    lab.assert_nothing_doubled_or_orphaned().await;
    let again = crew.foreman.rebuild(&namespace(), "test").await.unwrap();
    assert_eq!((again.known.len(), again.taken_back.len()), (4, 0), "{again:?}");
    assert_eq!(settle(&crew).await.unwrap().free, 3);
    let after: BTreeSet<_> = lab.machines().into_iter().collect();
    assert!(before.iter().all(|machine| !after.contains(machine)), "{after:?}");
    lab.assert_nothing_doubled_or_orphaned().await;
}

async fn machines_of_a_pool_that_nobody_declares_are_listed_and_go_when_that_is_said(database: &Database) {
    let mut lab = Lab::with(database, 1).await;
    let crew = lab.crew();
    lab.put(spec(2, 3)).await;
    settle(&crew).await;
    crew.kill();
    let empty = another(database);
    lab.store = empty.open().await;
    let crew = lab.crew();
    let rebuilt = crew.foreman.rebuild(&namespace(), "test").await.unwrap();
    assert!(rebuilt.taken_back.is_empty(), "{rebuilt:?}");
    assert_eq!(rebuilt.strays.len(), 2);
    assert!(rebuilt.strays.iter().all(|stray| stray.why == Why::NoPool));
    assert_eq!(lab.machines().len(), 2, "they stay until it is said");
    for stray in &rebuilt.strays {
        crew.foreman.remove_stray(stray).await.unwrap();
    }
    lab.assert_nothing_doubled_or_orphaned().await;
    assert!(lab.sims[0].look().volumes.is_empty());
}
