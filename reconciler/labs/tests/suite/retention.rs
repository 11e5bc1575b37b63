//! What is over is forgotten after a while, and nothing that counts.

use crate::{
    lab::*,
    pools::{put, spec},
};
use labyard_labs::{
    Refusal,
    code::Terms,
    pool::Spec,
    retention::{self, Forgotten, Retention},
};
use labyard_store::{
    Store, Value,
    event::{Event, EventId, Moment},
    on_both,
    testing::Database,
};
use serde_json::json;

on_both!(
    what_has_been_over_for_long_enough_is_forgotten,
    claims_that_uses_are_counted_by_are_kept,
    what_a_machine_was_made_of_is_kept_as_long_as_it_stands,
);

const KEPT: Retention = Retention {
    log_ms: 1_000,
    ended_ms: HOUR,
};

async fn forgotten(store: &Store, now: i64) -> Forgotten {
    let done: Result<_, Refusal> = store
        .write(move |write| retention::forget(write, KEPT, Moment(now)))
        .await;
    done.unwrap()
}

async fn what_has_been_over_for_long_enough_is_forgotten(database: &Database) {
    let store = database.open().await;
    pool(&store, "k8s", 2).await;
    code(&store, terms(&[("k8s", 1)])).await;
    let over = redeemed(&store, request("ada", "1"), 0).await.unwrap().claim;
    let live = redeemed(&store, request("ben", "2"), 0).await.unwrap().claim;
    released(&store, &over.id, 5).await.unwrap();
    let operations: Result<(), Refusal> = store
        .write(|write| {
            for (id, number, ended) in [("a", 1, Some(5)), ("b", 2, None), ("c", 3, Some(5))] {
                let state = if ended.is_some() { "succeeded" } else { "running" };
                let parameters: [Value; 4] = [id.into(), i64::from(number).into(), state.into(), ended.map(i64::from).into()];
                write.execute(
                    "INSERT INTO operations (id, number, namespace, kind, subject, actor, state, stage, attempt, \
                     created_at, ended_at) VALUES ($1, $2, 'default', 'pool.put', 'pool/k8s', 'test', $3, 'done', 1, 0, $4)",
                    &parameters,
                )?;
                write.execute(
                    "INSERT INTO operation_lines (operation, line, at, text) VALUES ($1, 1, 0, 'made')",
                    &[id.into()],
                )?;
            }
            write.event(&Event::new(Moment(5), "default", "test", "operation.made", "all"))?;
            Ok(())
        })
        .await;
    operations.unwrap();
    let logged = number(&store, "SELECT COUNT(*) AS n FROM events").await;
    assert_eq!(
        forgotten(&store, 900).await,
        Forgotten::default(),
        "nothing is old"
    );
    assert_eq!(number(&store, "SELECT COUNT(*) AS n FROM events").await, logged);

    let first = forgotten(&store, 2_000).await;
    assert_eq!((first.events, first.claims), (logged.unsigned_abs(), 0));
    let second = forgotten(&store, HOUR + 5).await;
    assert_eq!(
        (second.claims, second.operations),
        (1, 1),
        "the newest says the next one's number"
    );
    let left = number(&store, "SELECT COUNT(*) AS n FROM operation_lines").await;
    assert_eq!(left, 2, "lines go with theirs");
    let phase: Result<_, Refusal> = store
        .read(move |read| Ok(labyard_labs::claim::find(read, &live.id)?.phase))
        .await;
    assert!(!phase.unwrap().is_over());
    // Who listens goes on where he was: numbers are never used again.
    let events: Result<Vec<_>, labyard_store::StoreError> =
        store.read(move |read| read.events_after(EventId(0), 100)).await;
    assert!(events.unwrap().iter().all(|event| event.id > EventId(logged)));
}

async fn claims_that_uses_are_counted_by_are_kept(database: &Database) {
    let store = database.open().await;
    pool(&store, "k8s", 2).await;
    let once = Terms {
        max_uses_per_user: Some(1),
        ..terms(&[("k8s", 1)])
    };
    code(&store, once).await;
    let claim = redeemed(&store, request("ada", "1"), 0).await.unwrap().claim;
    released(&store, &claim.id, 5).await.unwrap();
    assert_eq!(forgotten(&store, 9 * HOUR).await.claims, 0);
    let again = redeemed(&store, request("ada", "2"), 9 * HOUR).await.unwrap_err();
    assert!(matches!(again, Refusal::UsedUpByUser { .. }), "{again}");
}

async fn what_a_machine_was_made_of_is_kept_as_long_as_it_stands(database: &Database) {
    let store = database.open().await;
    for cpus in 1..=3 {
        let template = json!({"cpus": cpus});
        put(
            &store,
            Spec {
                template,
                ..spec(0, 4)
            },
            None,
            0,
        )
        .await
        .unwrap();
    }
    let made: Result<(), Refusal> = store
        .write(|write| {
            write.execute(
                "INSERT INTO members (id, namespace, pool, number, name, host, state, generation, since, detail) \
                 VALUES ('k8s-1', 'default', 'k8s', 1, 'k8s-1', 'lab1', 'free', 2, 0, '{}')",
                &[],
            )?;
            write.event(&Event::new(Moment(0), "default", "test", "machine.made", "k8s-1"))?;
            Ok(())
        })
        .await;
    made.unwrap();
    assert_eq!(forgotten(&store, 1).await.templates, 1);
    assert_eq!(
        number(
            &store,
            "SELECT CAST(SUM(generation) AS BIGINT) AS n FROM templates WHERE generation IN (2, 3)"
        )
        .await,
        5
    );
}
