//! How claims are served and end: in turn, by whoever can, and not before somebody has looked.

use crate::{
    lab::*,
    pools::{put, spec},
};
use labyard_labs::{
    Refusal,
    claim::{
        self, Claim, Phase,
        admit::{self, Deed},
        hold,
        redeem::Request,
        serve,
    },
    code::Terms,
    host,
    pool::work::{Appetite, Worker},
};
use labyard_store::{
    Store, StoreError, Write,
    event::{Event, Moment},
    on_both,
    testing::Database,
};
use std::collections::BTreeSet;

on_both!(
    invariant_5_nothing_prolongs_a_claim_once_its_code_is_no_longer_valid,
    invariant_11_a_machine_is_used_from_the_moment_its_users_own_key_may_be_in_it,
    a_thousand_who_wait_are_served_in_turn_at_once,
    who_wants_more_than_a_pool_may_have_is_told_so_and_holds_back_nobody,
    the_idle_time_ends_nothing_where_nobody_looked_who_is_connected,
    showing_a_claim_again_writes_nothing,
    a_worker_takes_no_claim_on_hosts_that_it_has_not_or_that_are_lost,
);

/// The key is in the first machine while the second hangs: its user logs in, and gives the claim back before it is ready.
async fn invariant_11_a_machine_is_used_from_the_moment_its_users_own_key_may_be_in_it(database: &Database) {
    let store = database.open().await;
    pool(&store, "k8s", 4).await;
    code(&store, terms(&[("k8s", 2)])).await;
    let by = Worker {
        name: "w1".to_owned(),
        lease_ms: 1_000,
    };
    for (user, key, used) in [("ada", Some("ssh-ed25519 AAAA ada"), 2), ("ben", None, 0)] {
        let asked = Request {
            public_key: key.map(str::to_owned),
            ..request(user, user)
        };
        let claim = redeemed(&store, asked, 0).await.unwrap().claim;
        let worker = by.clone();
        let jobs: Result<_, Refusal> = store
            .write(move |write| admit::take(write, &worker, &Appetite::default(), Moment(1)))
            .await;
        assert_eq!(jobs.unwrap().remove(0).deed, Deed::LetIn);
        released(&store, &claim.id, 2).await.unwrap();
        let touched = "SELECT COUNT(*) AS n FROM members WHERE state = 'recycling' AND touched = 1";
        assert_eq!(number(&store, touched).await, used, "{user}");
        recycled(&store, 3).await;
        let done: Result<(), StoreError> = store
            .write(|write| {
                write.execute("UPDATE members SET touched = 0", &[])?;
                let event = Event::new(Moment(3), "default", "test", "machine.recycled", "all");
                write.event(&event).map(drop)
            })
            .await;
        done.unwrap();
    }
    assert_sound(&store).await;
}

/// So many more machines of the pool are free.
async fn freed(store: &Store, numbers: std::ops::RangeInclusive<i64>) {
    let done: Result<(), StoreError> = store
        .write(move |write| {
            for number in numbers.clone() {
                write.execute(
                    "INSERT INTO members (id, namespace, pool, number, name, host, state, generation, since, detail) \
                     VALUES ($1, 'default', 'k8s', $2, $1, 'lab1', 'free', 1, 0, '{}')",
                    &[format!("k8s-{number}").into(), number.into()],
                )?;
            }
            let event = Event::new(Moment(0), "default", "test", "machine.made", "all");
            write.event(&event).map(drop)
        })
        .await;
    done.unwrap();
}

async fn a_thousand_who_wait_are_served_in_turn_at_once(database: &Database) {
    const WAITING: usize = 1_000;
    let store = database.open().await;
    pool(&store, "k8s", 0).await;
    code(&store, terms(&[("k8s", 1)])).await;
    let began = std::time::Instant::now();
    let asking: Vec<_> = (0..WAITING)
        .map(|number| {
            let (store, user) = (store.clone(), format!("u{number}"));
            tokio::spawn(async move { redeemed(&store, waiting(&user, &user, HOUR), 0).await })
        })
        .collect();
    let mut queue = Vec::new();
    for asked in asking {
        let claim = asked.await.unwrap().unwrap().claim;
        queue.push((claim.place, claim.id));
    }
    queue.sort();
    freed(&store, 1..=300).await;
    let late = redeemed(&store, request("late", "late"), 1).await.unwrap_err();
    assert!(matches!(late, Refusal::NoneFree { .. }), "{late}");
    let bound: Vec<_> = served(&store, 2)
        .await
        .into_iter()
        .map(|claim| claim.id)
        .collect();
    let first: Vec<_> = queue.into_iter().take(300).map(|(_, id)| id).collect();
    assert_eq!(bound, first);
    assert!(served(&store, 3).await.is_empty());
    // What grew with the square of those who wait took minutes.
    assert!(began.elapsed().as_secs() < 60, "{:?}", began.elapsed());
    assert_sound(&store).await;
}

async fn who_wants_more_than_a_pool_may_have_is_told_so_and_holds_back_nobody(database: &Database) {
    let store = database.open().await;
    put(&store, spec(0, 2), None, 0).await.unwrap();
    code(&store, terms(&[("k8s", 2)])).await;
    let pair = redeemed(&store, waiting("pair", "1", HOUR), 1)
        .await
        .unwrap()
        .claim;
    // From now on two are more than there may be.
    put(&store, spec(0, 1), None, 2).await.unwrap();
    let refused = redeemed(&store, waiting("ada", "2", HOUR), 3).await.unwrap_err();
    assert!(
        matches!(&refused, Refusal::TooMany { asked: 2, max: 1, .. }) && !refused.is_retryable(),
        "{refused}"
    );
    grants(&store, 1).await;
    let one = redeemed(&store, waiting("ada", "2", HOUR), 4)
        .await
        .unwrap()
        .claim;
    assert_eq!(one.phase, Phase::Queued);
    freed(&store, 1..=1).await;
    let bound = served(&store, 5).await;
    assert_eq!(bound.iter().map(|claim| &claim.id).collect::<Vec<_>>(), [&one.id]);
    released(&store, &one.id, 6).await.unwrap();
    recycled(&store, 7).await;
    let next = redeemed(&store, request("ben", "3"), 8).await.unwrap().claim;
    assert_eq!(next.phase, Phase::Bound, "nobody who can be served waits");
    // It may have two again: who waited longest has not lost his place.
    put(&store, spec(0, 2), None, 9).await.unwrap();
    released(&store, &next.id, 10).await.unwrap();
    recycled(&store, 11).await;
    let refused = redeemed(&store, request("eve", "4"), 12).await.unwrap_err();
    assert!(matches!(refused, Refusal::NoneFree { .. }), "{refused}");
    assert_eq!(pair.phase, Phase::Queued);
    assert_sound(&store).await;
}

/// The code grants so many machines from now on.
async fn grants(store: &Store, machines: u32) {
    let done: Result<(), StoreError> = store
        .write(move |write| {
            let spec = serde_json::to_string(&terms(&[("k8s", machines)])).unwrap();
            write.execute("UPDATE codes SET spec = $1", &[spec.into()])?;
            let event = Event::new(Moment(0), "default", "test", "code.changed", "class");
            write.event(&event).map(drop)
        })
        .await;
    done.unwrap();
}

async fn the_idle_time_ends_nothing_where_nobody_looked_who_is_connected(database: &Database) {
    let store = database.open().await;
    pool(&store, "k8s", 1).await;
    code(&store, terms(&[("k8s", 1)])).await;
    let claim = redeemed(&store, request("ada", "1"), 0).await.unwrap().claim;
    let expired = async |idle: serve::Idle, now: i64| -> usize {
        let ended: Result<_, Refusal> = store
            .write(move |write| serve::expire(write, idle, Moment(now)))
            .await;
        ended.unwrap().len()
    };
    assert_eq!(expired(serve::Idle::Waits, HOUR + 5).await, 0);
    // He is connected after all; a keepalive of that time would have come too late.
    assert!(seen(&store, &claim.id, HOUR + 5).await.is_err());
    let id = claim.id.clone();
    let connected: Result<(), Refusal> = store
        .write(move |write| serve::connected(write, &id, Moment(HOUR + 6)))
        .await;
    connected.unwrap();
    assert_eq!(expired(serve::Idle::Ends, HOUR + 7).await, 0);
    // Its lease ends whoever looks.
    assert_eq!(expired(serve::Idle::Waits, 2 * HOUR).await, 1);
    assert_sound(&store).await;
}

async fn showing_a_claim_again_writes_nothing(database: &Database) {
    let store = database.open().await;
    pool(&store, "k8s", 1).await;
    code(&store, terms(&[("k8s", 1)])).await;
    let claim = redeemed(&store, request("ada", "1"), 0).await.unwrap().claim;
    let again = async || {
        let id = claim.id.clone();
        let shown: Result<_, Refusal> = store.read(move |read| admit::show_again(read, &id)).await;
        shown.unwrap()
    };
    assert!(again().await.is_some(), "nothing can be used yet");
    let by = Worker {
        name: "w1".to_owned(),
        lease_ms: 1_000,
    };
    let id = claim.id.clone();
    let shown: Result<_, Refusal> = store
        .write(move |write| {
            for job in admit::take(write, &by, &Appetite::default(), Moment(1))? {
                admit::ready(write, &job, &by, Moment(2))?;
            }
            Ok(())
        })
        .await;
    shown.unwrap();
    assert_eq!(again().await, None, "from now on it counts as used");
    let shown: Result<_, Refusal> = store.write(move |write| admit::show(write, &id, Moment(3))).await;
    assert_eq!(again().await, Some(shown.unwrap()));
}

async fn a_worker_takes_no_claim_on_hosts_that_it_has_not_or_that_are_lost(database: &Database) {
    let store = database.open().await;
    pool(&store, "k8s", 1).await;
    code(&store, terms(&[("k8s", 1)])).await;
    redeemed(&store, request("ada", "1"), 0).await.unwrap();
    let takes = async |appetite: Appetite, now: i64| {
        let by = Worker {
            name: "w1".to_owned(),
            lease_ms: 1_000,
        };
        let jobs: Result<_, Refusal> = store
            .write(move |write| admit::take(write, &by, &appetite, Moment(now)))
            .await;
        jobs.unwrap().len()
    };
    let on = |hosts: &[&str]| -> BTreeSet<String> { hosts.iter().map(|host| (*host).to_owned()).collect() };
    let reaching = |hosts: &[&str]| Appetite {
        reaches: Some(on(hosts)),
        ..Appetite::default()
    };
    assert_eq!(takes(reaching(&["lab2"]), 1).await, 0);
    let busy = Appetite {
        not_on: on(&["lab1"]),
        ..Appetite::default()
    };
    assert_eq!(takes(busy, 1).await, 0);
    let full = Appetite {
        room: [("lab1".to_owned(), 0)].into(),
        ..Appetite::default()
    };
    assert_eq!(takes(full, 1).await, 0);
    let silent = async |now: i64| {
        let noted: Result<(), Refusal> = store
            .write(move |write| host::seen(write, "lab1", Err("no answer"), Moment(now), "w1"))
            .await;
        noted.unwrap();
    };
    silent(1).await;
    silent(1 + host::LOST_AFTER_MS).await;
    assert_eq!(takes(reaching(&["lab1"]), 40_000).await, 0, "it is lost");
    let answers: Result<(), Refusal> = store
        .write(|write| host::seen(write, "lab1", Ok(()), Moment(50_000), "w1"))
        .await;
    answers.unwrap();
    assert_eq!(takes(reaching(&["lab1", "lab2"]), 50_000).await, 1);
}

async fn invariant_5_nothing_prolongs_a_claim_once_its_code_is_no_longer_valid(database: &Database) {
    let store = database.open().await;
    pool(&store, "k8s", 2).await;
    let valid = Terms {
        not_after: Some(Moment(200)),
        ..terms(&[("k8s", 1)])
    };
    code(&store, valid).await;
    let claim = redeemed(&store, request("ada", "1"), 0).await.unwrap().claim;
    let paused = redeemed(&store, request("ben", "2"), 0).await.unwrap().claim;
    type Verb = fn(&mut Write<'_>, Claim, Moment) -> Result<Claim, Refusal>;
    let asks = async |of: &Claim, verb: Verb, now: i64| -> Result<Claim, Refusal> {
        let id = of.id.clone();
        store
            .write(move |write| {
                let claim = claim::find(write, &id)?;
                verb(write, claim, Moment(now))
            })
            .await
    };
    let extend: Verb = |write, claim, now| hold::extend(write, claim, 1_000, now);
    asks(&paused, hold::pause, 198).await.unwrap();
    for verb in [hold::keepalive as Verb, extend] {
        asks(&claim, verb, 199).await.unwrap();
        let late = asks(&claim, verb, 200).await.unwrap_err();
        assert!(
            matches!(late, Refusal::NoLongerValid { until: Moment(200) }),
            "{late}"
        );
    }
    let late = asks(&claim, hold::pause, 200).await.unwrap_err();
    assert!(matches!(late, Refusal::NoLongerValid { .. }), "{late}");
    let late = asks(&paused, hold::resume, 200).await.unwrap_err();
    assert!(matches!(late, Refusal::NoLongerValid { .. }), "{late}");
    // What it has it keeps: the lease, and the idle time that is left.
    assert!(
        expired(&store, 198 + HOUR)
            .await
            .iter()
            .all(|ended| ended.id == paused.id)
    );
    assert_eq!(expired(&store, 199 + HOUR).await.len(), 1);
    assert_sound(&store).await;
}
