//! Codes: made up or given, one or a batch, grown, revoked.

use crate::lab::{HOUR, assert_sound, in_state, namespace, pool, redeemed, request, terms, waiting};
use labyard_labs::{
    Refusal,
    claim::{Phase, find, redeem::Request},
    code::{
        CodeText, Terms,
        keep::{self, Running, Values},
    },
    show::Scope,
};
use labyard_store::{Store, event::Moment, on_both, testing::Database};
use std::collections::{BTreeMap, BTreeSet};

on_both!(
    a_generated_code_stays_the_same_when_its_terms_change,
    fewer_uses_than_were_made_are_all_used_up,
    a_user_may_use_so_many_codes_of_a_batch,
    a_batch_is_grown_without_touching_the_old_and_each_is_for_one_use,
    a_given_text_is_refused_where_it_is_another_codes,
    a_revoked_code_is_taken_by_nobody_and_its_claims_go_on_or_end_as_is_said,
    a_code_of_another_namespace_is_unknown_whatever_it_would_say,
    no_code_stands_plainly_in_the_store,
);

async fn put(
    store: &Store,
    name: &'static str,
    terms: Terms,
    values: Values,
) -> Result<BTreeMap<String, CodeText>, Refusal> {
    store
        .write(move |write| {
            keep::put(
                write,
                &namespace(),
                &name.into(),
                &terms,
                &values,
                Moment(0),
                "test",
            )
        })
        .await
}

fn with(code: &CodeText, user: &str) -> Request {
    Request {
        code: code.clone(),
        ..request(user, user)
    }
}

async fn a_generated_code_stays_the_same_when_its_terms_change(database: &Database) {
    let store = database.open().await;
    pool(&store, "k8s", 3).await;
    let first = put(&store, "class", terms(&[("k8s", 1)]), Values::Generated)
        .await
        .unwrap();
    assert_eq!(first.len(), 1);
    let changed = Terms {
        max_uses: Some(2),
        ..terms(&[("k8s", 1)])
    };
    assert_eq!(
        put(&store, "class", changed, Values::Generated).await.unwrap(),
        first
    );
    redeemed(&store, with(&first["main"], "ada"), 1).await.unwrap();
    redeemed(&store, with(&first["main"], "bob"), 1).await.unwrap();
    let third = redeemed(&store, with(&first["main"], "eve"), 1)
        .await
        .unwrap_err();
    assert!(matches!(third, Refusal::UsedUp { uses: 2 }), "{third}");
}

async fn a_batch_is_grown_without_touching_the_old_and_each_is_for_one_use(database: &Database) {
    let store = database.open().await;
    pool(&store, "k8s", 5).await;
    let few = put(&store, "class", terms(&[("k8s", 1)]), Values::Batch(3))
        .await
        .unwrap();
    let distinct: BTreeSet<String> = few.values().map(ToString::to_string).collect();
    assert_eq!(distinct.len(), 3);
    redeemed(&store, with(&few["002"], "ada"), 1).await.unwrap();
    let twice = redeemed(&store, with(&few["002"], "bob"), 1).await.unwrap_err();
    assert!(matches!(twice, Refusal::UsedUp { uses: 1 }), "{twice}");
    let more = put(&store, "class", terms(&[("k8s", 1)]), Values::Batch(5))
        .await
        .unwrap();
    assert_eq!(more.len(), 5);
    assert!(few.iter().all(|(label, text)| &more[label] == text));
    let fewer = put(&store, "class", terms(&[("k8s", 1)]), Values::Batch(1))
        .await
        .unwrap();
    assert_eq!(fewer.keys().collect::<Vec<_>>(), ["001"]);
    assert!(redeemed(&store, with(&more["004"], "eve"), 2).await.is_err());
    // The used one is no longer taken, and its claim goes on.
    assert!(matches!(
        redeemed(&store, with(&few["002"], "eve"), 2).await.unwrap_err(),
        Refusal::Revoked
    ));
    assert_eq!(in_state(&store, "claimed").await, 1);
    assert_sound(&store).await;
}

async fn fewer_uses_than_were_made_are_all_used_up(database: &Database) {
    let store = database.open().await;
    pool(&store, "k8s", 5).await;
    let most = |most| Terms {
        max_uses: Some(most),
        ..terms(&[("k8s", 1)])
    };
    let codes = put(&store, "class", most(4), Values::Generated).await.unwrap();
    for user in ["ada", "bob"] {
        redeemed(&store, with(&codes["main"], user), 1).await.unwrap();
    }
    put(&store, "class", most(1), Values::Generated).await.unwrap();
    let third = redeemed(&store, with(&codes["main"], "eve"), 2)
        .await
        .unwrap_err();
    assert!(matches!(third, Refusal::UsedUp { uses: 2 }), "{third}");
    put(&store, "class", most(3), Values::Generated).await.unwrap();
    redeemed(&store, with(&codes["main"], "eve"), 3).await.unwrap();
    assert_sound(&store).await;
}

async fn a_user_may_use_so_many_codes_of_a_batch(database: &Database) {
    let store = database.open().await;
    pool(&store, "k8s", 5).await;
    let once = Terms {
        max_uses_per_user: Some(1),
        ..terms(&[("k8s", 1)])
    };
    let codes = put(&store, "class", once, Values::Batch(3)).await.unwrap();
    redeemed(&store, with(&codes["001"], "ada"), 1).await.unwrap();
    let again = Request {
        idempotency_key: "another".to_owned(),
        ..with(&codes["002"], "ada")
    };
    let refused = redeemed(&store, again, 1).await.unwrap_err();
    assert!(matches!(refused, Refusal::UsedUpByUser { uses: 1 }), "{refused}");
    redeemed(&store, with(&codes["002"], "bob"), 1).await.unwrap();
}

async fn a_given_text_is_refused_where_it_is_another_codes(database: &Database) {
    let store = database.open().await;
    let text = |text: &str| Values::Given(CodeText::parse(text).unwrap());
    put(&store, "one", terms(&[("k8s", 1)]), text("ROBOTICS-101"))
        .await
        .unwrap();
    let taken = put(&store, "two", terms(&[("k8s", 1)]), text("robotics 101"))
        .await
        .unwrap_err();
    assert!(matches!(taken, Refusal::CodeTaken), "{taken}");
    put(&store, "one", terms(&[("k8s", 1)]), text("ROBOTICS-102"))
        .await
        .unwrap();
    put(&store, "two", terms(&[("k8s", 1)]), text("robotics 101"))
        .await
        .unwrap();
}

/// Neither that it is used up, nor that a key was used with it, nor that none is free.
async fn a_code_of_another_namespace_is_unknown_whatever_it_would_say(database: &Database) {
    let store = database.open().await;
    pool(&store, "k8s", 1).await;
    let once = Terms {
        max_uses: Some(1),
        ..terms(&[("k8s", 1)])
    };
    let used = put(&store, "used", once, Values::Generated).await.unwrap();
    let open = put(&store, "open", terms(&[("k8s", 1)]), Values::Generated)
        .await
        .unwrap();
    redeemed(&store, with(&used["main"], "ada"), 1).await.unwrap();
    for (code, key) in [
        (&used["main"], "ada"),
        (&used["main"], "eve"),
        (&open["main"], "eve"),
    ] {
        let from_elsewhere = Request {
            idempotency_key: key.to_owned(),
            scope: Scope::These(vec!["physics".into()]),
            ..with(code, "eve")
        };
        let refused = redeemed(&store, from_elsewhere, 2).await.unwrap_err();
        assert!(matches!(refused, Refusal::UnknownCode), "{refused}");
    }
    assert_sound(&store).await;
}

async fn a_revoked_code_is_taken_by_nobody_and_its_claims_go_on_or_end_as_is_said(database: &Database) {
    let store = database.open().await;
    pool(&store, "k8s", 1).await;
    let codes = put(&store, "class", terms(&[("k8s", 1)]), Values::Generated)
        .await
        .unwrap();
    let held = redeemed(&store, with(&codes["main"], "ada"), 1)
        .await
        .unwrap()
        .claim;
    let waits = Request {
        code: codes["main"].clone(),
        ..waiting("bob", "bob", HOUR)
    };
    let waits = redeemed(&store, waits, 1).await.unwrap().claim;
    let revoke = |running| {
        let store = store.clone();
        async move {
            let done: Result<(), Refusal> = store
                .write(move |write| {
                    keep::revoke(write, &namespace(), &"class".into(), running, Moment(2), "test")
                })
                .await;
            done.unwrap();
        }
    };
    let phase = |id: labyard_labs::ids::ClaimId| {
        let store = store.clone();
        async move { store.read(move |read| find(read, &id)).await.unwrap().phase }
    };
    revoke(Running::GoOn).await;
    assert_eq!(
        (phase(held.id.clone()).await, phase(waits.id.clone()).await),
        (Phase::Bound, Phase::Failed)
    );
    assert!(matches!(
        redeemed(&store, with(&codes["main"], "eve"), 3)
            .await
            .unwrap_err(),
        Refusal::Revoked
    ));
    revoke(Running::End).await;
    assert_eq!(phase(held.id).await, Phase::Released);
    assert_eq!(in_state(&store, "recycling").await, 1);
    assert_sound(&store).await;
}

async fn no_code_stands_plainly_in_the_store(database: &Database) {
    let store = database.open().await;
    let codes = put(&store, "class", terms(&[("k8s", 1)]), Values::Batch(4))
        .await
        .unwrap();
    if let labyard_store::Location::File(path) = &database.location {
        for entry in std::fs::read_dir(path.parent().unwrap()).unwrap() {
            let bytes = std::fs::read(entry.unwrap().path()).unwrap();
            for code in codes.values() {
                let plain = code.as_compared().as_bytes();
                assert!(!bytes.windows(plain.len()).any(|window| window == plain));
            }
        }
    }
}
