//! Pools: what is kept, built, brought back and taken away, by workers that come and go.

use crate::lab::{
    CODE, HOUR, LIMITS, assert_sound, code, in_state, namespace, number, redeemed, released, request, served,
    terms, waiting,
};
use labyard_labs::{
    Refusal,
    claim::{Bind, Phase, redeem::Request},
    code::CodeText,
    plan::ATTEMPTS,
    pool::{
        self, Access, OnDestroy, Pool, Recycle, Spec, Strategy,
        work::{self, Appetite, Blame, Left, Piece, Task, Worker},
    },
};
use labyard_store::{Store, event::Moment, on_both, testing::Database};
use serde_json::json;

on_both!(
    a_pool_is_filled_within_its_bounds_and_comes_to_rest,
    two_workers_never_have_the_same_machine,
    the_work_of_a_worker_that_died_is_taken_over_and_its_word_no_longer_counts,
    invariant_9_a_template_that_always_fails_waits_longer_each_time_and_is_given_up,
    a_pool_that_was_given_up_is_tried_again_when_somebody_asks_for_it_as_it_is,
    another_template_rolls_through_free_machines_and_never_through_claimed_ones,
    other_secrets_are_another_template_and_the_same_are_none,
    a_pool_with_live_claims_is_removed_as_it_says,
    an_on_demand_pool_builds_for_those_who_wait,
    machines_that_failed_are_kept_as_asked_for_and_go_with_the_wish,
    who_prefers_or_requires_what_is_kept_has_none_made_beside_it,
    whose_machines_are_reached_from_his_address_alone_has_to_have_one,
);

pub(crate) fn spec(ready: u32, max: u32) -> Spec {
    Spec {
        ready,
        max,
        max_in_flight: 2,
        strategy: Strategy::Warm,
        recycle: Recycle::Reset,
        isolation: Default::default(),
        access: Default::default(),
        on_destroy: OnDestroy::Refuse,
        together: Default::default(),
        network: None,
        on_pause: Default::default(),
        keep_failed: 0,
        lease: LIMITS,
        template: json!({"cpus": 1}),
        hosts: None,
        schedule: Default::default(),
    }
}

pub(crate) fn worker(name: &str) -> Worker {
    Worker {
        name: name.to_owned(),
        lease_ms: 90_000,
    }
}

pub(crate) async fn put(
    store: &Store,
    spec: Spec,
    secrets: Option<&'static [u8]>,
    now: i64,
) -> Result<Pool, Refusal> {
    store
        .write(move |write| {
            pool::put(
                write,
                &namespace(),
                &"k8s".into(),
                &spec,
                secrets,
                Moment(now),
                "test",
            )
        })
        .await
}

pub(crate) async fn current(store: &Store) -> Result<Pool, Refusal> {
    store
        .read(|read| pool::find(read, &namespace(), &"k8s".into()))
        .await
}

pub(crate) async fn take(store: &Store, by: &Worker, now: i64) -> Vec<Piece> {
    let pool = current(store).await.unwrap();
    let by = by.clone();
    let taken: Result<_, Refusal> = store
        .write(move |write| work::take(write, &pool, &by, &Appetite::default(), Moment(now)))
        .await;
    taken.unwrap()
}

pub(crate) async fn done(store: &Store, piece: &Piece, by: &Worker, now: i64) -> Result<(), Refusal> {
    let (piece, by) = (piece.clone(), by.clone());
    store
        .write(move |write| match piece.task {
            Task::Build => work::built(write, &piece, "lab1", &by, Moment(now)),
            Task::Reset | Task::Tidy => work::recycled(write, &piece, &by, Moment(now)),
            Task::Retire => work::gone(write, &piece, &by, Moment(now)),
        })
        .await
}

pub(crate) async fn failed(store: &Store, piece: &Piece, by: &Worker, now: i64) {
    let (piece, by) = (piece.clone(), by.clone());
    let done: Result<(), Refusal> = store
        .write(move |write| {
            work::failed(
                write,
                &piece,
                "image not found",
                (Blame::Template, Left::Unused),
                &by,
                Moment(now),
            )
        })
        .await;
    done.unwrap();
}

/// Works until there is nothing to do.
pub(crate) async fn settle(store: &Store, by: &Worker, now: i64) {
    for round in 0.. {
        assert!(round < 50, "does not come to rest");
        let pieces = take(store, by, now).await;
        if pieces.is_empty() {
            return;
        }
        assert!(
            pieces.iter().filter(|piece| piece.task != Task::Retire).count() <= 2,
            "max_in_flight"
        );
        for piece in &pieces {
            done(store, piece, by, now).await.unwrap();
        }
        assert_bounds(store).await;
    }
}

async fn assert_bounds(store: &Store) {
    let pool = current(store).await.unwrap();
    let all = number(store, "SELECT COUNT(*) AS n FROM members").await;
    assert!(all <= i64::from(pool.spec.max), "{all} machines");
    let in_flight = in_state(store, "building").await + in_state(store, "recycling").await;
    assert!(
        in_flight <= i64::from(pool.spec.max_in_flight).max(in_state(store, "recycling").await),
        "{in_flight} in flight"
    );
}

async fn a_pool_is_filled_within_its_bounds_and_comes_to_rest(database: &Database) {
    let store = database.open().await;
    put(&store, spec(5, 8), None, 0).await.unwrap();
    let by = worker("w1");
    settle(&store, &by, 1).await;
    assert_eq!(in_state(&store, "free").await, 5);
    // Asked for again, nothing is another generation or another machine.
    put(&store, spec(5, 8), None, 2).await.unwrap();
    assert!(take(&store, &by, 3).await.is_empty());
    put(&store, spec(2, 8), None, 4).await.unwrap();
    settle(&store, &by, 5).await;
    assert_eq!(number(&store, "SELECT COUNT(*) AS n FROM members").await, 2);
    assert_eq!(current(&store).await.unwrap().generation, 1);
}

async fn two_workers_never_have_the_same_machine(database: &Database) {
    let replicas = [database.open().await, database.open().await];
    put(
        &replicas[0],
        Spec {
            max_in_flight: 20,
            ..spec(20, 20)
        },
        None,
        0,
    )
    .await
    .unwrap();
    let taking: Vec<_> = (0..6)
        .map(|number| {
            let (store, by) = (replicas[number % 2].clone(), worker(&format!("w{number}")));
            tokio::spawn(async move { take(&store, &by, 1).await })
        })
        .collect();
    let mut names = Vec::new();
    for taken in taking {
        names.extend(taken.await.unwrap().into_iter().map(|piece| piece.machine.name));
    }
    let all = names.len();
    names.sort();
    names.dedup();
    assert_eq!((all, names.len()), (20, 20));
}

async fn the_work_of_a_worker_that_died_is_taken_over_and_its_word_no_longer_counts(database: &Database) {
    let store = database.open().await;
    put(&store, spec(1, 2), None, 0).await.unwrap();
    let (first, second) = (worker("stopped"), worker("alive"));
    let piece = take(&store, &first, 0).await.remove(0);
    assert!(take(&store, &second, 89_999).await.is_empty(), "it lives");
    let (renewed, by) = (piece.clone(), first.clone());
    let kept: Result<bool, Refusal> = store
        .write(move |write| work::renew(write, &renewed, &by, Moment(60_000)))
        .await;
    assert!(kept.unwrap());
    assert!(take(&store, &second, 149_999).await.is_empty());
    let taken = take(&store, &second, 150_000).await.remove(0);
    assert_eq!(
        (taken.task, &taken.machine.name),
        (Task::Build, &piece.machine.name)
    );
    // The first one was stopped and goes on now.
    let late = done(&store, &piece, &first, 150_001).await.unwrap_err();
    assert!(matches!(late, Refusal::TakenOver { .. }), "{late}");
    let (renewed, by) = (piece.clone(), first.clone());
    let kept: Result<bool, Refusal> = store
        .write(move |write| work::renew(write, &renewed, &by, Moment(150_002)))
        .await;
    assert!(!kept.unwrap());
    done(&store, &taken, &second, 150_003).await.unwrap();
    assert_eq!(in_state(&store, "free").await, 1);
}

async fn invariant_9_a_template_that_always_fails_waits_longer_each_time_and_is_given_up(
    database: &Database,
) {
    let store = database.open().await;
    put(
        &store,
        Spec {
            max_in_flight: 1,
            ..spec(1, 2)
        },
        None,
        0,
    )
    .await
    .unwrap();
    let by = worker("w1");
    let (mut now, mut waits, mut attempts) = (0, Vec::new(), 0);
    loop {
        let pieces = take(&store, &by, now).await;
        for piece in &pieces {
            match piece.task {
                Task::Build => {
                    attempts += 1;
                    failed(&store, piece, &by, now).await;
                }
                _ => done(&store, piece, &by, now).await.unwrap(),
            }
        }
        let pool = current(&store).await.unwrap();
        assert_eq!(pool.cause.as_deref(), Some("image not found"));
        match pool.retry_at {
            Some(at) if at.0 > now => {
                waits.push(at.0 - now);
                now = at.0 - 1;
                let early = take(&store, &by, now).await;
                assert!(early.iter().all(|piece| piece.task == Task::Retire), "{early:?}");
                for piece in &early {
                    done(&store, piece, &by, now).await.unwrap();
                }
                now += 1;
            }
            _ => break,
        }
    }
    assert_eq!(attempts, ATTEMPTS);
    assert!(waits.windows(2).all(|pair| pair[1] >= pair[0]), "{waits:?}");
    settle(&store, &by, now).await;
    assert!(take(&store, &by, now + 100 * HOUR).await.is_empty(), "given up");
    // Another template is another chance.
    let mended = Spec {
        template: json!({"cpus": 2}),
        max_in_flight: 1,
        ..spec(1, 2)
    };
    let pool = put(&store, mended, None, now).await.unwrap();
    assert_eq!((pool.failures, pool.cause, pool.generation), (0, None, 2));
    settle(&store, &by, now).await;
    assert_eq!(in_state(&store, "free").await, 1);
}

async fn a_pool_that_was_given_up_is_tried_again_when_somebody_asks_for_it_as_it_is(database: &Database) {
    let store = database.open().await;
    let asked = || Spec {
        max_in_flight: 1,
        ..spec(1, 2)
    };
    put(&store, asked(), None, 0).await.unwrap();
    let by = worker("w1");
    let mut now = 0;
    while current(&store).await.unwrap().failures < ATTEMPTS {
        for piece in &take(&store, &by, now).await {
            match piece.task {
                Task::Build => failed(&store, piece, &by, now).await,
                _ => done(&store, piece, &by, now).await.unwrap(),
            }
        }
        now += HOUR;
    }
    settle(&store, &by, now).await;
    assert!(take(&store, &by, now + 100 * HOUR).await.is_empty(), "given up");
    // Asked for with another bound.
    let larger = Spec { max: 3, ..asked() };
    let pool = put(&store, larger.clone(), None, now).await.unwrap();
    assert_eq!((pool.failures, pool.cause, pool.generation), (0, None, 1));
    for piece in &take(&store, &by, now).await {
        failed(&store, piece, &by, now).await;
    }
    assert_eq!(current(&store).await.unwrap().failures, 1);
    // Asked for as it is.
    let pool = put(&store, larger, None, now).await.unwrap();
    assert_eq!(
        (pool.failures, pool.retry_at, pool.cause, pool.generation),
        (0, None, None, 1)
    );
    settle(&store, &by, now).await;
    assert_eq!(in_state(&store, "free").await, 1);
}

async fn another_template_rolls_through_free_machines_and_never_through_claimed_ones(database: &Database) {
    let store = database.open().await;
    put(&store, spec(2, 3), None, 0).await.unwrap();
    let by = worker("w1");
    settle(&store, &by, 1).await;
    code(&store, terms(&[("k8s", 1)])).await;
    let claim = redeemed(&store, request("ada", "1"), 2).await.unwrap().claim;
    settle(&store, &by, 3).await;
    put(
        &store,
        Spec {
            template: json!({"cpus": 4}),
            ..spec(2, 3)
        },
        None,
        4,
    )
    .await
    .unwrap();
    settle(&store, &by, 5).await;
    let old_free = "SELECT COUNT(*) AS n FROM members WHERE state = 'free' AND generation = 1";
    assert_eq!(
        (number(&store, old_free).await, in_state(&store, "free").await),
        (0, 2)
    );
    assert_eq!(in_state(&store, "claimed").await, 1);
    // The claimed one is of the old template: given back, another takes its place.
    released(&store, &claim.id, 6).await.unwrap();
    settle(&store, &by, 7).await;
    assert_eq!(
        number(&store, "SELECT COUNT(*) AS n FROM members WHERE generation = 1").await,
        0
    );
    assert_sound(&store).await;
}

async fn other_secrets_are_another_template_and_the_same_are_none(database: &Database) {
    let store = database.open().await;
    put(&store, spec(1, 2), Some(b"one"), 0).await.unwrap();
    assert_eq!(
        put(&store, spec(1, 2), Some(b"one"), 1).await.unwrap().generation,
        1
    );
    assert_eq!(
        put(&store, spec(1, 2), Some(b"two"), 2).await.unwrap().generation,
        2
    );
    let kept: Result<_, Refusal> = store
        .write(|write| pool::secrets_of(write, &namespace(), &"k8s".into()))
        .await;
    assert_eq!(kept.unwrap().as_deref(), Some(&b"two"[..]));
    assert_eq!(put(&store, spec(1, 2), None, 3).await.unwrap().generation, 3);
}

async fn a_pool_with_live_claims_is_removed_as_it_says(database: &Database) {
    let store = database.open().await;
    let by = worker("w1");
    put(&store, spec(2, 3), None, 0).await.unwrap();
    settle(&store, &by, 1).await;
    code(&store, terms(&[("k8s", 1)])).await;
    let claim = redeemed(&store, request("ada", "1"), 2).await.unwrap().claim;
    let remove = || {
        let store = store.clone();
        async move {
            store
                .write(|write| pool::remove(write, &namespace(), &"k8s".into(), Moment(3), "test"))
                .await
        }
    };
    let refused: Refusal = remove().await.unwrap_err();
    assert!(
        matches!(&refused, Refusal::PoolInUse { claims: 1, .. }),
        "{refused}"
    );
    put(
        &store,
        Spec {
            on_destroy: OnDestroy::Drain,
            ..spec(2, 3)
        },
        None,
        4,
    )
    .await
    .unwrap();
    remove().await.unwrap();
    let leaving = put(&store, spec(2, 3), None, 5).await.unwrap_err();
    assert!(matches!(leaving, Refusal::PoolLeaving { .. }), "{leaving}");
    settle(&store, &by, 6).await;
    assert_eq!(
        number(&store, "SELECT COUNT(*) AS n FROM members").await,
        1,
        "the claimed one stays"
    );
    assert!(redeemed(&store, request("bob", "2"), 7).await.is_err());
    released(&store, &claim.id, 8).await.unwrap();
    settle(&store, &by, 9).await;
    let pool = current(&store).await.unwrap();
    let gone: Result<bool, Refusal> = store
        .write(move |write| pool::forget_if_empty(write, &pool, Moment(10)))
        .await;
    assert!(gone.unwrap());
    assert!(matches!(
        current(&store).await.unwrap_err(),
        Refusal::NoPool { .. }
    ));
    assert_sound(&store).await;
}

async fn an_on_demand_pool_builds_for_those_who_wait(database: &Database) {
    let store = database.open().await;
    let by = worker("w1");
    put(
        &store,
        Spec {
            strategy: Strategy::OnDemand,
            ..spec(2, 3)
        },
        None,
        0,
    )
    .await
    .unwrap();
    settle(&store, &by, 1).await;
    assert_eq!(number(&store, "SELECT COUNT(*) AS n FROM members").await, 0);
    code(&store, terms(&[("k8s", 1)])).await;
    assert_eq!(CodeText::parse(CODE).unwrap().to_string(), CODE);
    let claim = redeemed(&store, waiting("ada", "1", HOUR), 2)
        .await
        .unwrap()
        .claim;
    assert_eq!(claim.phase, Phase::Queued);
    settle(&store, &by, 3).await;
    assert_eq!(served(&store, 4).await.len(), 1);
    released(&store, &claim.id, 5).await.unwrap();
    settle(&store, &by, 6).await;
    assert_eq!(
        number(&store, "SELECT COUNT(*) AS n FROM members").await,
        0,
        "nobody waits: none is kept"
    );
}

async fn machines_that_failed_are_kept_as_asked_for_and_go_with_the_wish(database: &Database) {
    let store = database.open().await;
    let by = worker("w1");
    let keeping = |keep_failed| Spec {
        keep_failed,
        ..spec(1, 3)
    };
    put(&store, keeping(1), None, 0).await.unwrap();
    let mut now = 1;
    for _ in 0..2 {
        let piece = take(&store, &by, now).await.remove(0);
        assert_eq!(piece.task, Task::Build);
        let host: Result<(), Refusal> = {
            let (piece, by) = (piece.clone(), by.clone());
            store
                .write(move |write| work::placed(write, &piece, "lab1", &by, Moment(now)))
                .await
        };
        host.unwrap();
        failed(&store, &piece, &by, now).await;
        now += HOUR;
    }
    // The newest is kept, and says why it failed.
    settle(&store, &by, now).await;
    assert_eq!(
        (in_state(&store, "failed").await, in_state(&store, "free").await),
        (1, 1)
    );
    let told: Result<_, Refusal> = store
        .read(|read| Ok(labyard_labs::member::of_pool(read, &namespace(), &"k8s".into())?))
        .await;
    let kept = told.unwrap().remove(0);
    assert_eq!(
        (kept.number, kept.trouble.as_deref()),
        (2, Some("image not found"))
    );
    put(&store, keeping(0), None, now).await.unwrap();
    settle(&store, &by, now).await;
    assert_eq!(in_state(&store, "failed").await, 0);
    // A pool that goes keeps nothing.
    assert_bounds(&store).await;
}

async fn who_prefers_or_requires_what_is_kept_has_none_made_beside_it(database: &Database) {
    let store = database.open().await;
    let by = worker("w1");
    put(&store, spec(1, 9), None, 0).await.unwrap();
    settle(&store, &by, 1).await;
    code(&store, terms(&[("k8s", 1)])).await;
    let asks = |user: &str, bind| Request {
        bind,
        ..waiting(user, user, HOUR)
    };
    let first = redeemed(&store, asks("ada", Bind::Require), 2)
        .await
        .unwrap()
        .claim;
    assert_eq!(first.phase, Phase::Bound);
    for (user, bind, coming) in [
        ("ben", Bind::Require, 1),
        ("cleo", Bind::Prefer, 1),
        ("dan", Bind::Prefer, 2),
        ("eve", Bind::Any, 3),
    ] {
        let claim = redeemed(&store, asks(user, bind), 3).await.unwrap().claim;
        assert_eq!(claim.phase, Phase::Queued);
        let asked: Result<_, Refusal> = store
            .read(|read| {
                let pool = pool::find(read, &namespace(), &"k8s".into())?;
                let asked = work::asked(read, &pool, Moment(3))?;
                Ok(asked.ready.max(asked.preferring) + asked.waiting)
            })
            .await;
        assert_eq!(asked.unwrap(), coming, "{user}");
    }
    let none = Spec {
        strategy: Strategy::OnDemand,
        ..spec(1, 9)
    };
    put(&store, none, None, 4).await.unwrap();
    let refused = redeemed(&store, asks("fay", Bind::Require), 5).await.unwrap_err();
    assert!(
        matches!(&refused, Refusal::NeverWarm { .. }) && !refused.is_retryable(),
        "{refused}"
    );
    assert_sound(&store).await;
}

async fn whose_machines_are_reached_from_his_address_alone_has_to_have_one(database: &Database) {
    let store = database.open().await;
    let by = worker("w1");
    let screened = Spec {
        access: Access::Claimer,
        ..spec(1, 9)
    };
    put(&store, screened, None, 0).await.unwrap();
    settle(&store, &by, 1).await;
    code(&store, terms(&[("k8s", 1)])).await;
    let refused = redeemed(&store, request("ada", "a"), 2).await.unwrap_err();
    assert!(
        matches!(&refused, Refusal::NoSource { pool } if pool.as_str() == "k8s") && !refused.is_retryable(),
        "{refused}"
    );
    // As a socket of both families has it.
    let source = Some("::ffff:192.0.2.7".parse().unwrap());
    let asks = |user: &str| Request {
        source,
        ..waiting(user, user, HOUR)
    };
    let bound = redeemed(&store, asks("ada"), 3).await.unwrap().claim;
    let queued = redeemed(&store, asks("ben"), 3).await.unwrap().claim;
    assert_eq!((bound.phase, queued.phase), (Phase::Bound, Phase::Queued));
    // What the pool says later does not reach them.
    put(&store, spec(1, 9), None, 4).await.unwrap();
    for claim in [bound, queued] {
        let id = claim.id;
        let found: Result<_, Refusal> = store.read(move |read| labyard_labs::claim::find(read, &id)).await;
        let wants = found.unwrap().wants;
        assert_eq!(
            wants.reached_from(&"k8s".into()),
            Some("192.0.2.7".parse().unwrap())
        );
        assert_eq!(wants.reached_from(&"other".into()), None);
    }
    let open = redeemed(&store, asks("cleo"), 5).await.unwrap().claim;
    assert_eq!(open.wants.reached, None, "nothing is kept of where he comes from");
    assert_sound(&store).await;
}
