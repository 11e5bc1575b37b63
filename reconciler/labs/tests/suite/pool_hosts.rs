//! Pools on hosts that a worker has not, that are silent or lost, and that are emptied.

use crate::{
    lab::{code, in_state, number, redeemed, released, request, terms},
    pools::{current, done, failed, put, settle, spec, take, worker},
};
use labyard_labs::{
    Refusal,
    host::{self, LOST_AFTER_MS, Wish},
    plan::ATTEMPTS,
    pool::work::{self, Appetite, Blame, Left, Piece, Task},
};
use labyard_store::{
    Store,
    event::{Event, Moment},
    on_both,
    testing::Database,
};

on_both!(
    what_is_on_a_host_that_a_worker_has_not_is_left_to_others,
    a_lost_host_keeps_nothing_from_being_made_elsewhere,
    what_was_given_up_stays_so_though_a_host_is_silent_afterwards,
    a_host_that_is_emptied_is_left_though_its_machines_fit_nowhere_else,
);

async fn take_with(store: &Store, appetite: Appetite, now: i64) -> Vec<Piece> {
    let pool = current(store).await.unwrap();
    let by = worker("w1");
    let taken: Result<_, Refusal> = store
        .write(move |write| work::take(write, &pool, &by, &appetite, Moment(now)))
        .await;
    taken.unwrap()
}

fn reaching(host: &str) -> Appetite {
    Appetite {
        reaches: Some([host.to_owned()].into()),
        ..Appetite::default()
    }
}

async fn what_is_on_a_host_that_a_worker_has_not_is_left_to_others(database: &Database) {
    let store = database.open().await;
    put(&store, spec(1, 2), None, 0).await.unwrap();
    settle(&store, &worker("w1"), 1).await;
    put(&store, spec(0, 2), None, 2).await.unwrap();
    assert!(take_with(&store, reaching("lab2"), 3).await.is_empty());
    assert_eq!(in_state(&store, "retiring").await, 1);
    let taken = take_with(&store, reaching("lab1"), 4).await;
    assert_eq!(taken[0].task, Task::Retire);
}

async fn silent(store: &Store, now: i64) {
    for now in [now, now + LOST_AFTER_MS] {
        let noted: Result<(), Refusal> = store
            .write(move |write| host::seen(write, "lab1", Err("no answer"), Moment(now), "w1"))
            .await;
        noted.unwrap();
    }
}

/// Whatever hangs there is in flight no more, also where a worker holds it still.
async fn a_lost_host_keeps_nothing_from_being_made_elsewhere(database: &Database) {
    let store = database.open().await;
    let by = worker("w1");
    put(&store, spec(2, 6), None, 0).await.unwrap();
    settle(&store, &by, 1).await;
    code(&store, terms(&[("k8s", 1)])).await;
    for user in ["ada", "ben"] {
        let claim = redeemed(&store, request(user, user), 2).await.unwrap().claim;
        released(&store, &claim.id, 3).await.unwrap();
    }
    let held = take(&store, &by, 4).await;
    assert_eq!(held.len(), 2, "{held:?}");
    silent(&store, 5).await;
    let now = 6 + LOST_AFTER_MS;
    let taken = take(&store, &worker("w2"), now).await;
    let tasks: Vec<Task> = taken.iter().map(|piece| piece.task).collect();
    assert_eq!(tasks, [Task::Build, Task::Build]);
    // Their worker is gone; nobody works on a host that is lost.
    let later = now + 90_000;
    let taken = take(&store, &worker("w3"), later).await;
    assert!(taken.iter().all(|piece| piece.task == Task::Build), "{taken:?}");
    let answers: Result<(), Refusal> = store
        .write(move |write| host::seen(write, "lab1", Ok(()), Moment(later), "w1"))
        .await;
    answers.unwrap();
    for piece in &taken {
        done(&store, piece, &worker("w3"), later).await.unwrap();
    }
    settle(&store, &worker("w3"), later + 1).await;
    assert_eq!(in_state(&store, "free").await, 2);
}

async fn what_was_given_up_stays_so_though_a_host_is_silent_afterwards(database: &Database) {
    let store = database.open().await;
    let by = worker("w1");
    put(&store, spec(2, 9), None, 0).await.unwrap();
    let pieces = take(&store, &by, 1).await;
    assert_eq!(pieces.len(), 2);
    let given_up: Result<(), Refusal> = store
        .write(|write| {
            let all: i64 = i64::from(ATTEMPTS) - 1;
            write.execute("UPDATE pools SET failures = $1", &[all.into()])?;
            let event = Event::new(Moment(1), "default", "test", "pool.failed", "k8s");
            write.event(&event)?;
            Ok(())
        })
        .await;
    given_up.unwrap();
    failed(&store, &pieces[0], &by, 2).await;
    assert_eq!(current(&store).await.unwrap().failures, ATTEMPTS);
    let (piece, worker) = (pieces[1].clone(), by.clone());
    let silent: Result<(), Refusal> = store
        .write(move |write| {
            let how = (Blame::Circumstances, Left::Unused);
            work::failed(write, &piece, "no answer", how, &worker, Moment(3))
        })
        .await;
    silent.unwrap();
    let pool = current(&store).await.unwrap();
    assert_eq!((pool.failures, pool.retry_at), (ATTEMPTS, None));
}

async fn a_host_that_is_emptied_is_left_though_its_machines_fit_nowhere_else(database: &Database) {
    let store = database.open().await;
    let by = worker("w1");
    put(&store, spec(2, 6), None, 0).await.unwrap();
    settle(&store, &by, 1).await;
    let drained: Result<(), Refusal> = store
        .write(|write| host::wish(write, "lab1", Wish::Draining, Moment(2), "ada"))
        .await;
    drained.unwrap();
    let pieces = take(&store, &by, 3).await;
    assert!(
        pieces.iter().all(|piece| piece.task == Task::Build),
        "others come first: {pieces:?}"
    );
    for piece in &pieces {
        let (piece, by) = (piece.clone(), by.clone());
        let failed: Result<(), Refusal> = store
            .write(move |write| {
                let how = (Blame::Circumstances, Left::Unused);
                work::failed(write, &piece, "no host takes it", how, &by, Moment(4))
            })
            .await;
        failed.unwrap();
    }
    let pieces = take(&store, &by, 5).await;
    assert!(
        pieces.iter().all(|piece| piece.task == Task::Retire),
        "{pieces:?}"
    );
    for piece in &pieces {
        done(&store, piece, &by, 5).await.unwrap();
    }
    assert_eq!(number(&store, "SELECT COUNT(*) AS n FROM members").await, 0);
}
