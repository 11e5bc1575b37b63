//! Claims, one invariant after another.

use crate::{
    lab::*,
    pools::{put, spec},
};
use labyard_labs::{
    Refusal,
    claim::{
        self, Claim, Guests, Phase,
        admit::{self, Deed, Job},
        hold,
    },
    code::Terms,
    pool::{
        Spec, Together,
        work::{Appetite, Worker},
    },
};
use labyard_store::{
    StoreError, Write,
    event::{Event, Moment},
    on_both,
    testing::Database,
};

on_both!(
    invariant_1_of_many_claimers_as_many_succeed_as_there_are_machines,
    invariant_2_a_key_is_one_claim_with_one_secret,
    invariant_3_a_claim_of_several_machines_gets_all_or_none,
    invariant_4_uses_never_exceed_the_most_and_a_failed_claim_returns_its_own_once,
    invariant_5_a_code_is_redeemed_within_its_validity_alone,
    invariant_6_a_code_grants_its_pools_alone,
    invariant_7_of_expiry_and_keepalive_exactly_one_wins,
    who_waits_longest_is_served_first_and_nobody_overtakes,
    one_who_waits_for_two_pools_is_not_starved_by_those_who_want_one,
    a_released_machine_is_recycled_before_anybody_gets_it,
    a_wrong_secret_is_the_same_answer_as_no_claim,
    invariant_3_machines_that_belong_together_are_on_one_host_or_none_is_given,
    a_paused_claim_whose_guests_stand_still_is_ready_once_they_run,
);

async fn invariant_1_of_many_claimers_as_many_succeed_as_there_are_machines(database: &Database) {
    let replicas = [database.open().await, database.open().await];
    pool(&replicas[0], "k8s", 30).await;
    code(&replicas[0], terms(&[("k8s", 1)])).await;
    let claimers: Vec<_> = (0..100)
        .map(|number| {
            let store = replicas[number % 2].clone();
            let user = format!("u{number}");
            tokio::spawn(async move { redeemed(&store, request(&user, &user), 0).await })
        })
        .collect();
    let mut machines = Vec::new();
    let mut losers = 0;
    for claimer in claimers {
        match claimer.await.unwrap() {
            Ok(redeemed) => machines.extend(redeemed.claim.machines),
            Err(refusal) => {
                assert!(matches!(&refusal, Refusal::NoneFree { .. }), "{refusal}");
                assert!(refusal.is_retryable());
                losers += 1;
            }
        }
    }
    machines.sort();
    machines.dedup();
    assert_eq!((machines.len(), losers), (30, 70));
    assert_sound(&replicas[1]).await;
}

async fn invariant_2_a_key_is_one_claim_with_one_secret(database: &Database) {
    let store = database.open().await;
    pool(&store, "k8s", 3).await;
    code(&store, terms(&[("k8s", 1)])).await;
    let again: Vec<_> = (0..10)
        .map(|_| {
            let store = store.clone();
            tokio::spawn(async move { redeemed(&store, request("ada", "one"), 0).await.unwrap() })
        })
        .collect();
    let mut seen = Vec::new();
    for one in again {
        let one = one.await.unwrap();
        seen.push((one.claim.id, one.claim.machines, one.secret));
    }
    assert!(seen.windows(2).all(|pair| pair[0] == pair[1]));
    assert_eq!(in_state(&store, "claimed").await, 1);
    let other = redeemed(&store, request("bob", "one"), 0).await.unwrap_err();
    assert!(matches!(other, Refusal::KeyReused), "{other}");
    // Also when the store was closed in between, and after the claim has ended.
    drop(store);
    let store = database.open().await;
    released(&store, &seen[0].0, 5).await.unwrap();
    let late = redeemed(&store, request("ada", "one"), 9).await.unwrap();
    assert_eq!(
        (late.claim.id, late.claim.phase),
        (seen[0].0.clone(), Phase::Released)
    );
    assert_sound(&store).await;
}

async fn invariant_3_a_claim_of_several_machines_gets_all_or_none(database: &Database) {
    let store = database.open().await;
    pool(&store, "k8s", 5).await;
    pool(&store, "db", 1).await;
    code(&store, terms(&[("k8s", 2), ("db", 1)])).await;
    let first = redeemed(&store, request("ada", "1"), 0).await.unwrap();
    assert_eq!(first.claim.machines.len(), 3);
    let refused = redeemed(&store, request("bob", "2"), 0).await.unwrap_err();
    assert!(
        matches!(&refused, Refusal::NoneFree { pool } if pool.as_str() == "db"),
        "{refused}"
    );
    assert_eq!(in_state(&store, "claimed").await, 3);
    assert_eq!(number(&store, "SELECT COUNT(*) AS n FROM claims").await, 1);
    assert_sound(&store).await;
}

async fn invariant_4_uses_never_exceed_the_most_and_a_failed_claim_returns_its_own_once(database: &Database) {
    let store = database.open().await;
    pool(&store, "k8s", 3).await;
    code(
        &store,
        Terms {
            max_uses: Some(5),
            max_uses_per_user: Some(1),
            ..terms(&[("k8s", 1)])
        },
    )
    .await;
    let claimers: Vec<_> = (0..40)
        .map(|number| {
            let (store, user) = (store.clone(), format!("u{number}"));
            tokio::spawn(async move { redeemed(&store, waiting(&user, &user, 100), 0).await })
        })
        .collect();
    let mut got = Vec::new();
    for claimer in claimers {
        match claimer.await.unwrap() {
            Ok(redeemed) => got.push(redeemed.claim),
            Err(refusal) => assert!(matches!(refusal, Refusal::UsedUp { uses: 5 }), "{refusal}"),
        }
    }
    assert_eq!(got.len(), 5);
    assert_eq!(got.iter().filter(|claim| claim.phase == Phase::Queued).count(), 2);
    assert_sound(&store).await;
    // Two waited in vain: their uses come back, once.
    served(&store, 100).await;
    served(&store, 101).await;
    assert_eq!(number(&store, "SELECT uses AS n FROM code_values").await, 3);
    assert_sound(&store).await;
    let user = got
        .iter()
        .find(|claim| claim.phase == Phase::Bound)
        .unwrap()
        .user
        .clone();
    let twice = redeemed(&store, request(user.as_str(), "another"), 200)
        .await
        .unwrap_err();
    assert!(matches!(twice, Refusal::UsedUpByUser { uses: 1 }), "{twice}");
}

async fn invariant_5_a_code_is_redeemed_within_its_validity_alone(database: &Database) {
    let store = database.open().await;
    pool(&store, "k8s", 3).await;
    let valid = Terms {
        not_before: Some(Moment(100)),
        not_after: Some(Moment(200)),
        ..terms(&[("k8s", 1)])
    };
    code(&store, valid).await;
    let early = redeemed(&store, request("ada", "1"), 99).await.unwrap_err();
    assert!(matches!(early, Refusal::NotYetValid { .. }) && early.is_retryable());
    redeemed(&store, request("ada", "1"), 100).await.unwrap();
    redeemed(&store, request("bob", "2"), 199).await.unwrap();
    let late = redeemed(&store, request("eve", "3"), 200).await.unwrap_err();
    assert!(matches!(late, Refusal::NoLongerValid { .. }) && !late.is_retryable());
}

async fn invariant_6_a_code_grants_its_pools_alone(database: &Database) {
    let store = database.open().await;
    pool(&store, "k8s", 1).await;
    pool(&store, "gpu", 1).await;
    code(&store, terms(&[("k8s", 1)])).await;
    let got = redeemed(&store, request("ada", "1"), 0).await.unwrap();
    assert_eq!(got.claim.machines[0].as_str(), "k8s-1");
    assert!(redeemed(&store, request("bob", "2"), 0).await.is_err());
    assert_eq!(in_state(&store, "free").await, 1);
}

async fn invariant_7_of_expiry_and_keepalive_exactly_one_wins(database: &Database) {
    let store = database.open().await;
    pool(&store, "k8s", 20).await;
    code(&store, terms(&[("k8s", 1)])).await;
    for round in 0..20 {
        let user = format!("u{round}");
        let claim = redeemed(&store, request(&user, &user), 0).await.unwrap().claim;
        // Idle since the beginning: over at one hour. The keepalive comes just before, the expiry at that moment.
        let (one, other) = (store.clone(), store.clone());
        let id = claim.id.clone();
        let keepalive = tokio::spawn(async move { seen(&one, &id, HOUR - 1).await });
        let expiry = tokio::spawn(async move { expired(&other, HOUR).await });
        let (kept, ended) = (keepalive.await.unwrap(), expiry.await.unwrap());
        let was_ended = ended.iter().any(|ended| ended.id == claim.id);
        assert_eq!(kept.is_err(), was_ended, "{kept:?}");
        if was_ended {
            let revived = seen(&store, &claim.id, HOUR - 1).await;
            assert!(revived.is_err(), "an expired claim is never revived");
        } else {
            released(&store, &claim.id, HOUR).await.unwrap();
        }
        assert_sound(&store).await;
    }
}

async fn who_waits_longest_is_served_first_and_nobody_overtakes(database: &Database) {
    let store = database.open().await;
    pool(&store, "k8s", 1).await;
    code(&store, terms(&[("k8s", 1)])).await;
    let holder = redeemed(&store, request("holder", "0"), 0).await.unwrap().claim;
    let mut queue = Vec::new();
    for user in ["ada", "bob", "eve"] {
        queue.push(
            redeemed(&store, waiting(user, user, HOUR), 1)
                .await
                .unwrap()
                .claim
                .id,
        );
    }
    released(&store, &holder.id, 2).await.unwrap();
    recycled(&store, 3).await;
    // One machine is free, and three wait for it: who comes now gets none.
    let late = redeemed(&store, request("late", "late"), 3).await.unwrap_err();
    assert!(matches!(late, Refusal::NoneFree { .. }), "{late}");
    for waiting in queue {
        let bound = served(&store, 4).await;
        assert_eq!(
            bound.iter().map(|claim| &claim.id).collect::<Vec<_>>(),
            [&waiting]
        );
        released(&store, &waiting, 5).await.unwrap();
        recycled(&store, 6).await;
        assert_sound(&store).await;
    }
}

async fn one_who_waits_for_two_pools_is_not_starved_by_those_who_want_one(database: &Database) {
    let store = database.open().await;
    pool(&store, "k8s", 2).await;
    code(&store, terms(&[("k8s", 2)])).await;
    let holder = redeemed(&store, request("holder", "0"), 0).await.unwrap().claim;
    let pair = redeemed(&store, waiting("pair", "1", HOUR), 1)
        .await
        .unwrap()
        .claim;
    let later = redeemed(&store, waiting("later", "2", HOUR), 2)
        .await
        .unwrap()
        .claim;
    released(&store, &holder.id, 3).await.unwrap();
    // Half of what the first wants is free: nobody gets it.
    let half: Result<(), labyard_store::StoreError> = store
        .write(|write| {
            write.execute("UPDATE members SET state = 'free' WHERE id = 'k8s-1'", &[])?;
            let event =
                labyard_store::event::Event::new(Moment(4), "default", "test", "machine.recycled", "k8s-1");
            write.event(&event).map(drop)
        })
        .await;
    half.unwrap();
    assert!(served(&store, 4).await.is_empty());
    recycled(&store, 5).await;
    assert_eq!(
        served(&store, 6)
            .await
            .iter()
            .map(|claim| &claim.id)
            .collect::<Vec<_>>(),
        [&pair.id]
    );
    assert_eq!(later.phase, Phase::Queued);
    assert_sound(&store).await;
}

async fn a_released_machine_is_recycled_before_anybody_gets_it(database: &Database) {
    let store = database.open().await;
    pool(&store, "k8s", 1).await;
    code(&store, terms(&[("k8s", 1)])).await;
    let claim = redeemed(&store, request("ada", "1"), 0).await.unwrap().claim;
    let released = released(&store, &claim.id, 1).await.unwrap();
    assert_eq!(released.phase, Phase::Released);
    assert_eq!(in_state(&store, "recycling").await, 1);
    assert!(redeemed(&store, request("bob", "2"), 2).await.is_err());
    // Giving back what was given back is true already.
    crate::lab::released(&store, &claim.id, 3).await.unwrap();
    assert_sound(&store).await;
}

async fn a_wrong_secret_is_the_same_answer_as_no_claim(database: &Database) {
    let store = database.open().await;
    pool(&store, "k8s", 1).await;
    code(&store, terms(&[("k8s", 1)])).await;
    let got = redeemed(&store, request("ada", "1"), 0).await.unwrap();
    let id = got.claim.id.clone();
    let ask = |id: labyard_labs::ids::ClaimId, secret: String| {
        let store = store.clone();
        async move {
            store
                .write(move |write| labyard_labs::claim::hold::by_secret(write, &id, &secret))
                .await
                .map(|claim| claim.id)
                .map_err(|refusal: Refusal| refusal.to_string())
        }
    };
    assert_eq!(ask(id.clone(), got.secret).await, Ok(id.clone()));
    let wrong = ask(id, "nonsense".to_owned()).await.unwrap_err();
    assert_eq!(
        wrong,
        ask("nobody".into(), "nonsense".to_owned()).await.unwrap_err()
    );
}

async fn invariant_3_machines_that_belong_together_are_on_one_host_or_none_is_given(database: &Database) {
    let store = database.open().await;
    let together = Spec {
        together: Together::OneHost,
        ..spec(0, 100)
    };
    put(&store, together, None, 0).await.unwrap();
    let made: Result<(), StoreError> = store
        .write(|write| {
            for (number, host) in [(1, "a"), (2, "b"), (3, "c"), (4, "c"), (5, "c")] {
                write.execute(
                    "INSERT INTO members (id, namespace, pool, number, name, host, state, generation, since, detail) \
                     VALUES ($1, 'default', 'k8s', $2, $1, $3, 'free', 1, 0, '{}')",
                    &[format!("k8s-{number}").into(), number.into(), host.into()],
                )?;
            }
            let event = Event::new(Moment(0), "default", "test", "machine.made", "all");
            write.event(&event).map(drop)
        })
        .await;
    made.unwrap();
    code(&store, terms(&[("k8s", 2)])).await;
    let pair = redeemed(&store, request("ada", "1"), 1).await.unwrap().claim;
    let names: Vec<_> = pair.machines.iter().map(|id| id.as_str()).collect();
    assert_eq!(names, ["k8s-3", "k8s-4"]);
    // Three are left, each on a host of its own.
    let refused = redeemed(&store, request("ben", "2"), 2).await.unwrap_err();
    assert!(matches!(refused, Refusal::NoneFree { .. }), "{refused}");
    let waits = redeemed(&store, waiting("ben", "2", HOUR), 2)
        .await
        .unwrap()
        .claim;
    assert!(served(&store, 3).await.is_empty());
    released(&store, &pair.id, 4).await.unwrap();
    recycled(&store, 5).await;
    let bound = served(&store, 6).await;
    assert_eq!((&bound[0].id, bound[0].machines.len()), (&waits.id, 2));
    assert_sound(&store).await;
}

async fn a_paused_claim_whose_guests_stand_still_is_ready_once_they_run(database: &Database) {
    let store = database.open().await;
    pool(&store, "k8s", 1).await;
    code(&store, terms(&[("k8s", 1)])).await;
    let claim = redeemed(&store, request("ada", "1"), 0).await.unwrap().claim;
    let by = Worker {
        name: "w1".to_owned(),
        lease_ms: 1_000,
    };
    let takes = async |now: i64| {
        let by = by.clone();
        let jobs: Result<_, Refusal> = store
            .write(move |write| admit::take(write, &by, &Appetite::default(), Moment(now)))
            .await;
        jobs.unwrap()
    };
    let ends = async |job: Job, now: i64| {
        let by = by.clone();
        store
            .write(move |write| match job.deed {
                Deed::LetIn => admit::ready(write, &job, &by, Moment(now)),
                Deed::Hold => admit::stopped(write, &job, &by, Moment(now)),
                Deed::Wake => admit::woken(write, &job, &by, Moment(now)),
            })
            .await
    };
    let asks = async |verb: fn(&mut Write<'_>, Claim, Moment) -> Result<Claim, Refusal>, now: i64| {
        let id = claim.id.clone();
        let done: Result<Claim, Refusal> = store
            .write(move |write| {
                let claim = claim::find(write, &id)?;
                verb(write, claim, Moment(now))
            })
            .await;
        done.unwrap()
    };
    let job = takes(1).await.remove(0);
    assert_eq!(job.deed, Deed::LetIn);
    // It is paused before its machines were made usable: that is made up for afterwards.
    let paused = asks(hold::pause, 2).await;
    assert_eq!((paused.phase, paused.guests), (Phase::Paused, Guests::Hold));
    assert!(matches!(ends(job, 3).await, Err(Refusal::TakenOver { .. })));
    let job = takes(4).await.remove(0);
    assert_eq!(job.deed, Deed::Hold);
    // It goes on before they stand still: they may do so all the same.
    assert_eq!(asks(hold::resume, 5).await.phase, Phase::Bound);
    assert!(matches!(ends(job, 6).await, Err(Refusal::TakenOver { .. })));
    let job = takes(7).await.remove(0);
    assert_eq!((job.deed, job.tries), (Deed::Wake, 1));
    assert_eq!(
        ends(job, 8).await.unwrap().phase,
        Phase::Bound,
        "nobody was let in yet"
    );
    let job = takes(9).await.remove(0);
    assert_eq!(job.deed, Deed::LetIn);
    assert_eq!(ends(job, 10).await.unwrap().phase, Phase::Ready);
    assert!(takes(11).await.is_empty());

    asks(hold::pause, 12).await;
    let job = takes(13).await.remove(0);
    assert_eq!(ends(job, 14).await.unwrap().guests, Guests::Held);
    assert!(takes(15).await.is_empty());
    let resumed = asks(hold::resume, 112).await;
    assert_eq!(
        resumed.lease.unwrap().ends,
        Moment(2 * HOUR + 3 + 100),
        "the clock stood still"
    );
    let job = takes(113).await.remove(0);
    assert_eq!(ends(job, 114).await.unwrap().phase, Phase::Ready);
    // A pause that lasts too long is the end, and what stands still is brought back.
    asks(hold::pause, 200).await;
    assert_eq!(expired(&store, 200 + HOUR).await.len(), 1);
    assert_eq!(in_state(&store, "recycling").await, 1);
    assert!(takes(201 + HOUR).await.is_empty());
    assert_sound(&store).await;
}
