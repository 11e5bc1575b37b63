//! Another key for the store: everything is found as before, and the old key opens nothing.

use crate::lab::{CODE, HOUR, code, namespace, pool, redeemed, request, seen, terms};
use labyard_labs::{
    Refusal,
    claim::hold,
    code::keep,
    pool::{self, Spec},
    rotate::{COLUMNS, rotate},
};
use labyard_store::{SealingKey, Store, StoreError, event::Moment, on_both, testing::Database};
use std::collections::BTreeSet;

on_both!(
    with_another_key_codes_claims_and_secrets_are_as_they_were,
    a_program_with_the_old_key_is_refused_and_changes_nothing,
    no_column_that_the_key_has_to_do_with_is_forgotten,
);

async fn rotated(store: &Store) {
    let done: Result<(), Refusal> = store
        .write(|write| rotate(write, &SealingKey::from_bytes([9; 32]), Moment(5), "operator"))
        .await;
    done.unwrap();
}

async fn shown(store: &Store) -> String {
    let texts = store
        .write(|write| {
            let texts = keep::shown(write, &namespace(), &"class".into())?;
            write.event(&labyard_store::event::Event::new(
                Moment(6),
                "default",
                "test",
                "shown",
                "class",
            ))?;
            Ok::<_, Refusal>(texts)
        })
        .await;
    texts.unwrap()["main"].to_string()
}

async fn with_another_key_codes_claims_and_secrets_are_as_they_were(database: &Database) {
    let store = database.try_open(7).await.unwrap();
    pool(&store, "web", 2).await;
    code(&store, terms(&[("web", 1)])).await;
    let made: Result<_, Refusal> = store
        .write(|write| {
            let spec: Spec = serde_json::from_value(serde_json::json!({
                "ready": 0, "max": 1, "max_in_flight": 1, "lease": crate::lab::LIMITS, "template": {}
            }))
            .unwrap();
            pool::put(
                write,
                &namespace(),
                &"secret".into(),
                &spec,
                Some(b"pass word"),
                Moment(0),
                "test",
            )
        })
        .await;
    made.unwrap();
    let first = redeemed(&store, request("ann", "k1"), 1).await.unwrap();
    rotated(&store).await;
    drop(store);

    let store = database.try_open(9).await.unwrap();
    assert_eq!(shown(&store).await, CODE);
    let again = redeemed(&store, request("ann", "k1"), 7).await.unwrap();
    assert_eq!(
        (again.claim.id.clone(), &again.secret),
        (first.claim.id.clone(), &first.secret)
    );
    let (id, secret) = (first.claim.id.clone(), first.secret.clone());
    let found = store.write(move |write| {
        let claim = hold::by_secret(write, &id, &secret)?;
        hold::keepalive(write, claim, Moment(8))
    });
    assert_eq!(found.await.unwrap().machines, first.claim.machines);
    let second = redeemed(&store, request("bob", "k1"), 9).await;
    assert!(matches!(second, Err(Refusal::KeyReused)), "{second:?}");
    redeemed(&store, request("bob", "k2"), 9).await.unwrap();
    let secrets = store.write(|write| {
        let opened = pool::secrets_of(write, &namespace(), &"secret".into())?;
        Ok::<_, Refusal>(opened)
    });
    assert_eq!(secrets.await.unwrap().as_deref(), Some(&b"pass word"[..]));
}

async fn a_program_with_the_old_key_is_refused_and_changes_nothing(database: &Database) {
    let store = database.try_open(7).await.unwrap();
    pool(&store, "web", 1).await;
    code(&store, terms(&[("web", 1)])).await;
    let claim = redeemed(&store, request("ann", "k1"), 1).await.unwrap().claim;
    rotated(&store).await;

    let late = seen(&store, &claim.id, HOUR / 2).await;
    assert!(
        matches!(late, Err(Refusal::Store(StoreError::OtherKey { .. }))),
        "{late:?}"
    );
    assert!(matches!(
        database.try_open(7).await,
        Err(StoreError::OtherKey { .. })
    ));
    let store = database.try_open(9).await.unwrap();
    let seen_at = crate::lab::number(&store, "SELECT seen_at AS n FROM claims").await;
    assert_eq!(seen_at, 1);
}

/// The tables say what there is; the list says what the key has to do with it.
async fn no_column_that_the_key_has_to_do_with_is_forgotten(database: &Database) {
    let store = database.open().await;
    let sqlite = "SELECT m.name AS t, p.name AS c FROM sqlite_master m JOIN pragma_table_info(m.name) p \
                  WHERE m.type = 'table' AND p.type = 'BYTEA'";
    let postgres = "SELECT table_name::text AS t, column_name::text AS c FROM information_schema.columns \
                    WHERE table_schema = current_schema() AND data_type = 'bytea'";
    let sql = if database.name.is_empty() {
        sqlite
    } else {
        postgres
    };
    let there: Result<BTreeSet<(String, String)>, StoreError> = store
        .read(move |read| {
            let rows = read.query(sql, &[])?;
            rows.iter()
                .map(|row| Ok((row.get("t")?, row.get("c")?)))
                .collect()
        })
        .await;
    let listed = COLUMNS
        .iter()
        .map(|(table, column, _)| ((*table).to_owned(), (*column).to_owned()));
    assert_eq!(listed.collect::<BTreeSet<_>>(), there.unwrap());
}
