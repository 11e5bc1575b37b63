//! Who makes a code or a pool: what a maker left is taken over once, and by nobody when it is written down.

use crate::lab::{HOUR, LIMITS, assert_sound, in_state, namespace, pool, redeemed, request};
use labyard_labs::{
    Refusal,
    claim::redeem::Request,
    code::{
        config::{Meant, put},
        keep::{self, Kept},
    },
    maker::{self, Maker, Stands, Thing},
    pool::{self as pools, Spec},
    rotate::rotate,
};
use labyard_schema::access_code::AccessCode;
use labyard_store::{SealingKey, Store, StoreError, event::Moment, on_both, testing::Database};
use serde_json::json;

on_both!(
    what_a_maker_left_is_taken_over_by_one_alone_and_gets_another_identity,
    what_is_written_down_or_kept_alive_is_not_taken_over,
    a_code_that_is_taken_over_keeps_its_texts_its_uses_and_its_claims,
    a_secret_that_a_maker_left_is_not_taken_for_the_one_of_its_version,
    a_pool_that_is_taken_over_keeps_what_its_machines_were_made_of,
);

const CODE: &str = r#"{"name": "a", "pools": {"k8s": {"count": 1}}}"#;

fn words(text: &str) -> Maker {
    Maker::parse(text).unwrap()
}

fn left(by: &str, maker: &str) -> Meant {
    Meant::Left {
        by: words(by),
        maker: words(maker),
    }
}

async fn kept(store: &Store, text: &str, meant: Meant) -> Result<Kept, Refusal> {
    let config: AccessCode = serde_json::from_str(text).unwrap();
    store
        .write(move |write| put(write, &namespace(), &config, &meant, Moment(5), "test"))
        .await
}

async fn said(store: &Store, id: &str, maker: Option<&str>) -> Stands {
    let (id, maker) = (id.to_owned(), maker.map(words));
    let said: Result<_, StoreError> = store
        .write(move |write| {
            let (thing, at) = (Thing::Code("a".into()), (Moment(6), "test"));
            match &maker {
                Some(maker) => maker::keep(write, &namespace(), (&thing, id.as_str()), maker, at),
                None => maker::recorded(write, &namespace(), (&thing, id.as_str()), at),
            }
        })
        .await;
    said.unwrap()
}

async fn what_a_maker_left_is_taken_over_by_one_alone_and_gets_another_identity(database: &Database) {
    let store = database.open().await;
    let made = kept(&store, CODE, Meant::Made(words("one"))).await.unwrap();
    assert_eq!(made.maker, Some(words("one")));
    let twice = kept(&store, CODE, Meant::Made(words("two"))).await.unwrap_err();
    assert!(matches!(twice, Refusal::CodeExists { .. }), "{twice}");
    let taken = kept(&store, CODE, left("one", "two")).await.unwrap();
    assert_ne!(taken.id, made.id);
    assert_eq!(taken.maker, Some(words("two")));
    // Who comes second finds other words than it saw.
    let late = kept(&store, CODE, left("one", "three")).await.unwrap_err();
    assert!(matches!(late, Refusal::CodeExists { .. }), "{late}");
    // The first one, should it live after all, is told.
    assert_eq!(said(&store, &made.id, Some("one")).await, Stands::No);
    assert_eq!(said(&store, &made.id, None).await, Stands::No);
    let old = kept(&store, CODE, Meant::There(made.id)).await.unwrap_err();
    assert!(matches!(old, Refusal::CodeReplaced { .. }), "{old}");
    // One that was taken away meanwhile is made.
    let other = CODE.replace("\"a\"", "\"b\"");
    let anew = kept(&store, &other, left("one", "two")).await.unwrap();
    assert_eq!(anew.maker, Some(words("two")));
}

async fn what_is_written_down_or_kept_alive_is_not_taken_over(database: &Database) {
    let store = database.open().await;
    let made = kept(&store, CODE, Meant::Made(words("one"))).await.unwrap();
    assert_eq!(said(&store, &made.id, Some("one, later")).await, Stands::Yes);
    let seen_before = kept(&store, CODE, left("one", "two")).await.unwrap_err();
    assert!(matches!(seen_before, Refusal::CodeExists { .. }), "{seen_before}");
    for _ in 0..2 {
        assert_eq!(said(&store, &made.id, None).await, Stands::Yes);
    }
    let recorded = kept(&store, CODE, left("one, later", "two")).await.unwrap_err();
    assert!(matches!(recorded, Refusal::CodeExists { .. }), "{recorded}");
    // A renewal that comes late says nothing of what is written down.
    assert_eq!(
        said(&store, &made.id, Some("one, later still")).await,
        Stands::Yes
    );
    let again = kept(&store, CODE, Meant::There(made.id.clone())).await.unwrap();
    assert_eq!((again.id, again.maker), (made.id, None));
    // Who changes what somebody makes has it.
    let other = CODE.replace("\"a\"", "\"b\"");
    kept(&store, &other, Meant::Made(words("one"))).await.unwrap();
    let changed = kept(&store, &other, Meant::Any).await.unwrap();
    assert_eq!(changed.maker, None);
}

async fn a_code_that_is_taken_over_keeps_its_texts_its_uses_and_its_claims(database: &Database) {
    let store = database.open().await;
    pool(&store, "k8s", 5).await;
    let text = r#"{"name": "a", "pools": {"k8s": {"count": 1}}, "batch": 2}"#;
    let made = kept(&store, text, Meant::Made(words("one"))).await.unwrap();
    let used = Request {
        code: made.texts()["001"].clone(),
        ..request("ada", "ada")
    };
    redeemed(&store, used, HOUR).await.unwrap();
    let taken = kept(&store, text, left("one", "two")).await.unwrap();
    assert_eq!(taken.texts(), made.texts());
    assert_eq!((taken.values["001"].uses, taken.running()), (1, 1));
    assert_eq!(in_state(&store, "claimed").await, 1);
    assert_sound(&store).await;
    // What is sealed is sealed for the new identity, also for who exchanges the key.
    let key = SealingKey::from_bytes([9; 32]);
    let rotated: Result<(), Refusal> = store
        .write(move |write| rotate(write, &key, Moment(HOUR), "test"))
        .await;
    rotated.unwrap();
}

async fn a_secret_that_a_maker_left_is_not_taken_for_the_one_of_its_version(database: &Database) {
    let store = database.open().await;
    let secret = |text: &str| {
        format!(
            r#"{{"name": "a", "pools": {{"k8s": {{"count": 1}}}}, "code_wo": "{text}", "code_wo_version": 1}}"#
        )
    };
    let made = kept(&store, &secret("robotics-101"), Meant::Made(words("one"))).await;
    assert_eq!(made.unwrap().texts()["main"].to_string(), "robotics-101");
    let taken = kept(&store, &secret("robotics-102"), left("one", "two"))
        .await
        .unwrap();
    assert_eq!(taken.texts()["main"].to_string(), "robotics-102");
    let found: Result<_, Refusal> = store
        .read(|read| keep::find(read, &namespace(), &"a".into()))
        .await;
    assert_eq!(found.unwrap().texts(), taken.texts());
}

async fn a_pool_that_is_taken_over_keeps_what_its_machines_were_made_of(database: &Database) {
    let store = database.open().await;
    let spec = json!({
        "ready": 0, "max": 1, "max_in_flight": 1, "lease": LIMITS, "template": {"memory_mib": 64}
    });
    let spec: Spec = serde_json::from_value(spec).unwrap();
    let taken: Result<_, Refusal> = store
        .write(move |write| {
            let (name, now) = ("k8s".into(), Moment(0));
            let before = pools::put(write, &namespace(), &name, &spec, None, now, "test")?;
            pools::taken_over(write, &before, Moment(5), "test")?;
            let after = pools::find(write, &namespace(), &name)?;
            let made_of = pools::template_of(write, &after, after.generation)?;
            Ok((before, after, made_of))
        })
        .await;
    let (before, after, made_of) = taken.unwrap();
    assert_ne!(before.id, after.id);
    assert_eq!(before.spec, after.spec);
    assert_eq!(made_of, Some(before.spec.template));
}
