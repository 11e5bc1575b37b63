//! What namespaces may have, on both stores.

use crate::lab::{LIMITS, namespace};
use labyard_labs::{
    Refusal,
    ids::Namespace,
    pool::{self, Spec},
    quota::{self, Amount, Kind, Quota},
    show::Scope,
};
use labyard_store::{Store, event::Moment, on_both, testing::Database};
use std::collections::BTreeMap;

on_both!(
    pools_hold_all_they_may_become_and_no_more_than_the_namespace_may_have,
    of_many_who_ask_at_once_no_more_are_let_in_than_fit,
    a_quota_set_below_what_is_held_takes_nothing_away,
);

fn spec(max: u32, cpus: u32, memory_mib: u64) -> Spec {
    serde_json::from_value(serde_json::json!({
        "ready": 0, "max": max, "max_in_flight": 1, "lease": LIMITS,
        "template": {"cpus": cpus, "memory_mib": memory_mib},
    }))
    .unwrap()
}

async fn put(store: &Store, name: &'static str, spec: Spec) -> Result<(), Refusal> {
    store
        .write(move |write| {
            pool::put(write, &namespace(), &name.into(), &spec, None, Moment(0), "test").map(drop)
        })
        .await
}

async fn set(store: &Store, quota: Quota) {
    let set: Result<(), labyard_store::StoreError> = store
        .write(move |write| quota::set(write, &BTreeMap::from([(namespace(), quota)]), Moment(0), "test"))
        .await;
    set.unwrap();
}

async fn used(store: &Store) -> Amount {
    let shown: Result<_, labyard_store::StoreError> = store
        .read(|read| quota::shown(read, &Scope::These(vec![namespace()])))
        .await;
    shown.unwrap().first().map(|one| one.used).unwrap_or_default()
}

async fn pools_hold_all_they_may_become_and_no_more_than_the_namespace_may_have(database: &Database) {
    let store = database.open().await;
    set(
        &store,
        Quota {
            machines: Some(10),
            cpus: Some(16),
            memory_mib: None,
        },
    )
    .await;
    put(&store, "a", spec(4, 2, 512)).await.unwrap();
    let refused = put(&store, "b", spec(5, 2, 512)).await.unwrap_err();
    assert!(
        matches!(
            &refused,
            Refusal::OverQuota {
                kind: Kind::Cpus,
                quota: 16,
                used: 8,
                asked: 10,
                ..
            }
        ),
        "{refused}"
    );
    assert!(
        !refused.is_retryable() && refused.to_string().contains("16"),
        "{refused}"
    );
    put(&store, "b", spec(6, 1, 512)).await.unwrap();
    assert_eq!(
        used(&store).await,
        Amount {
            machines: 10,
            cpus: 14,
            memory_mib: 5120
        }
    );
    // The same again is held once; a smaller one gives room.
    put(&store, "b", spec(6, 1, 512)).await.unwrap();
    put(&store, "b", spec(1, 1, 512)).await.unwrap();
    assert_eq!(used(&store).await.machines, 5);
    let gone: Result<(), Refusal> = store
        .write(|write| {
            let pool = pool::find(write, &namespace(), &"a".into())?;
            pool::remove(write, &namespace(), &"a".into(), Moment(1), "test")?;
            pool::forget_if_empty(write, &pool, Moment(1)).map(drop)
        })
        .await;
    gone.unwrap();
    assert_eq!(
        used(&store).await,
        Amount {
            machines: 1,
            cpus: 1,
            memory_mib: 512
        }
    );
    // Another namespace has its own, and this one none.
    let other: Result<(), Refusal> = store
        .write(|write| {
            let space = Namespace::from("other");
            pool::put(
                write,
                &space,
                &"c".into(),
                &spec(99, 9, 9),
                None,
                Moment(0),
                "test",
            )
            .map(drop)
        })
        .await;
    other.unwrap();
}

async fn of_many_who_ask_at_once_no_more_are_let_in_than_fit(database: &Database) {
    let stores = [database.open().await, database.open().await];
    set(
        &stores[0],
        Quota {
            machines: Some(7),
            ..Quota::default()
        },
    )
    .await;
    let asking = (0..20).map(|number| {
        let store = stores[number % 2].clone();
        tokio::spawn(async move {
            let held: Result<(), Refusal> = store
                .write(move |write| {
                    quota::hold(
                        write,
                        &namespace(),
                        &format!("vm/{number}"),
                        Amount {
                            machines: 1,
                            ..Amount::default()
                        },
                    )?;
                    let event =
                        labyard_store::event::Event::new(Moment(0), "default", "test", "vm.made", "vm");
                    Ok(write.event(&event).map(drop)?)
                })
                .await;
            held.is_ok()
        })
    });
    let asking: Vec<_> = asking.collect();
    let mut held = 0;
    for one in asking {
        held += usize::from(one.await.unwrap());
    }
    assert_eq!((held, used(&stores[0]).await.machines), (7, 7));
}

async fn a_quota_set_below_what_is_held_takes_nothing_away(database: &Database) {
    let store = database.open().await;
    put(&store, "a", spec(5, 1, 64)).await.unwrap();
    set(
        &store,
        Quota {
            machines: Some(3),
            ..Quota::default()
        },
    )
    .await;
    put(&store, "a", spec(4, 1, 64)).await.unwrap();
    assert!(put(&store, "a", spec(5, 1, 64)).await.is_err());
    assert_eq!(used(&store).await.machines, 4);
}
