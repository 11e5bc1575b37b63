//! Codes as users write them down: made, changed, read back, revoked and healed, taken away.

use crate::lab::{HOUR, assert_sound, in_state, namespace, pool, redeemed, request, waiting};
use labyard_labs::{
    Refusal,
    claim::redeem::Request,
    code::{
        CodeText,
        config::{Meant, as_config, put, remove},
        keep::{self, Kept, Running},
    },
};
use labyard_schema::access_code::AccessCode;
use labyard_store::{Store, event::Moment, on_both, testing::Database};

on_both!(
    what_was_written_is_read_back_as_it_was_written,
    a_name_is_taken_once_and_another_code_in_its_place_is_told,
    a_secret_changes_with_its_version_alone_and_is_never_read_back,
    a_code_that_is_given_no_longer_is_replaced_by_one_that_is_made_up,
    a_revoked_code_shows_itself_and_is_healed,
    a_batch_that_is_used_shrunk_and_grown_again_and_again_keeps_its_labels,
    a_removed_code_lets_claims_go_on_or_ends_them_as_it_was_written,
);

fn config(text: &str) -> AccessCode {
    serde_json::from_str(text).unwrap()
}

async fn kept(store: &Store, text: &str, meant: Meant) -> Result<Kept, Refusal> {
    let config = config(text);
    store
        .write(move |write| put(write, &namespace(), &config, &meant, Moment(5), "test"))
        .await
}

async fn found(store: &Store, name: &str) -> Result<Kept, Refusal> {
    let name = name.into();
    store
        .read(move |read| keep::find(read, &namespace(), &name))
        .await
}

fn with(code: &CodeText, user: &str) -> Request {
    Request {
        code: code.clone(),
        ..request(user, user)
    }
}

async fn what_was_written_is_read_back_as_it_was_written(database: &Database) {
    let store = database.open().await;
    for text in [
        r#"{"name": "a", "pools": {"k8s": {"count": 2}, "db": {"count": 1}}, "max_uses": 30, "max_uses_per_user": 1,
            "not_before": "2026-09-01T08:00:00+02:00", "not_after": "2026-12-20T12:00:00Z", "lease": "1h30m",
            "source_cidrs": ["10.0.0.0/8", "fd00::/8"], "code": "Robotics-101", "on_destroy": "end"}"#,
        r#"{"name": "b", "pools": {"k8s": {"count": 1}}, "batch": 3, "source_cidrs": [], "on_destroy": "keep"}"#,
        r#"{"name": "c", "pools": {"k8s": {"count": 1}}, "on_destroy": "keep"}"#,
    ] {
        let written = config(text);
        let made = kept(&store, text, Meant::New).await.unwrap();
        let read = found(&store, &written.name).await.unwrap();
        for prior in [None, Some(&written)] {
            let state = as_config(&read, prior);
            assert_eq!(state.codes.as_ref().unwrap().len(), made.texts().len());
            let without = AccessCode {
                id: None,
                codes: None,
                ..state
            };
            assert_eq!(without, written);
        }
    }
    // Another spelling of the same is the user's to choose; what means something else is shown as it is.
    let prior = config(
        r#"{"name": "a", "pools": {}, "lease": "90m", "not_before": "2026-09-01T06:00:00Z", "code": "robotics 101",
        "not_after": "2027-01-01T00:00:00Z"}"#,
    );
    let state = as_config(&found(&store, "a").await.unwrap(), Some(&prior));
    assert_eq!(state.lease.unwrap().0, "90m");
    assert_eq!(state.not_before.as_deref(), Some("2026-09-01T06:00:00Z"));
    assert_eq!(state.code.as_deref(), Some("robotics 101"));
    assert_eq!(state.not_after.as_deref(), Some("2026-12-20T12:00:00Z"));
}

async fn a_name_is_taken_once_and_another_code_in_its_place_is_told(database: &Database) {
    let store = database.open().await;
    let text = r#"{"name": "a", "pools": {"k8s": {"count": 1}}}"#;
    let made = kept(&store, text, Meant::New).await.unwrap();
    let twice = kept(&store, text, Meant::New).await.unwrap_err();
    assert!(matches!(twice, Refusal::CodeExists { .. }), "{twice}");
    let other = kept(&store, text, Meant::There("other".to_owned()))
        .await
        .unwrap_err();
    assert!(matches!(other, Refusal::CodeReplaced { .. }), "{other}");
    let again = kept(&store, text, Meant::There(made.id.clone())).await.unwrap();
    assert_eq!((again.id, again.values.len()), (made.id, 1));
    let gone = kept(
        &store,
        r#"{"name": "b", "pools": {"k8s": {"count": 1}}}"#,
        Meant::There("x".to_owned()),
    );
    assert!(matches!(gone.await.unwrap_err(), Refusal::NoCode { .. }));
}

async fn a_secret_changes_with_its_version_alone_and_is_never_read_back(database: &Database) {
    let store = database.open().await;
    pool(&store, "k8s", 5).await;
    let secret = |text: &str, version: u64| {
        format!(
            r#"{{"name": "a", "pools": {{"k8s": {{"count": 1}}}}, "code_wo": "{text}", "code_wo_version": {version}}}"#
        )
    };
    kept(&store, &secret("robotics-101", 1), Meant::New)
        .await
        .unwrap();
    kept(&store, &secret("robotics-102", 1), Meant::Any)
        .await
        .unwrap();
    let text = |text| CodeText::parse(text).unwrap();
    redeemed(&store, with(&text("ROBOTICS101"), "ada"), 6)
        .await
        .unwrap();
    kept(&store, &secret("robotics-102", 2), Meant::Any)
        .await
        .unwrap();
    let old = redeemed(&store, with(&text("robotics-101"), "bob"), 7)
        .await
        .unwrap_err();
    assert!(matches!(old, Refusal::Revoked), "{old}");
    redeemed(&store, with(&text("robotics-102"), "bob"), 7)
        .await
        .unwrap();
    let state = as_config(&found(&store, "a").await.unwrap(), None);
    assert_eq!((state.code_wo_version, state.codes.unwrap().len()), (Some(2), 0));
    assert_eq!((state.code, state.code_wo.is_none()), (None, true));
    assert_sound(&store).await;
}

async fn a_code_that_is_given_no_longer_is_replaced_by_one_that_is_made_up(database: &Database) {
    let store = database.open().await;
    let given = r#"{"name": "a", "pools": {"k8s": {"count": 1}}, "code": "ROBOTICS-101"}"#;
    kept(&store, given, Meant::New).await.unwrap();
    let made_up = r#"{"name": "a", "pools": {"k8s": {"count": 1}}}"#;
    let first = kept(&store, made_up, Meant::Any).await.unwrap().texts();
    assert_ne!(first["main"], CodeText::parse("ROBOTICS-101").unwrap());
    let second = kept(&store, made_up, Meant::Any).await.unwrap().texts();
    assert_eq!(first, second);
}

async fn a_revoked_code_shows_itself_and_is_healed(database: &Database) {
    let store = database.open().await;
    pool(&store, "k8s", 9).await;
    for (text, stays) in [
        (
            r#"{"name": "a", "pools": {"k8s": {"count": 1}}, "code": "ROBOTICS-101"}"#,
            true,
        ),
        (r#"{"name": "b", "pools": {"k8s": {"count": 1}}}"#, false),
        (
            r#"{"name": "c", "pools": {"k8s": {"count": 1}}, "code_wo": "ROBOTICS-102", "code_wo_version": 4}"#,
            true,
        ),
    ] {
        let before = kept(&store, text, Meant::New).await.unwrap();
        let text_before = before.texts()["main"].clone();
        redeemed(&store, with(&text_before, "ada"), 6).await.unwrap();
        let name = before.name.clone();
        let done: Result<(), Refusal> = store
            .write(move |write| keep::revoke(write, &namespace(), &name, Running::GoOn, Moment(7), "test"))
            .await;
        done.unwrap();
        let state = as_config(&found(&store, before.name.as_str()).await.unwrap(), None);
        assert!(state.codes.unwrap().is_empty());
        assert_eq!((state.code, state.code_wo_version), (None, None));
        let healed = kept(&store, text, Meant::Any).await.unwrap();
        assert_eq!(healed.texts()["main"] == text_before, stays, "{text}");
        redeemed(&store, with(&healed.texts()["main"], "bob"), 8)
            .await
            .unwrap();
        if !stays {
            let old = redeemed(&store, with(&text_before, "bob"), 8).await.unwrap_err();
            assert!(matches!(old, Refusal::Revoked), "{old}");
        }
    }
    assert_sound(&store).await;
}

async fn a_batch_that_is_used_shrunk_and_grown_again_and_again_keeps_its_labels(database: &Database) {
    let store = database.open().await;
    pool(&store, "k8s", 9).await;
    let batch =
        |count: u32| format!(r#"{{"name": "a", "pools": {{"k8s": {{"count": 1}}}}, "batch": {count}}}"#);
    let first = kept(&store, &batch(2), Meant::New).await.unwrap().texts();
    for round in ["ada", "bob", "eve"] {
        let texts = kept(&store, &batch(2), Meant::Any).await.unwrap().texts();
        assert_eq!(texts["001"], first["001"]);
        redeemed(&store, with(&texts["002"], round), 6).await.unwrap();
        let fewer = kept(&store, &batch(1), Meant::Any).await.unwrap();
        assert_eq!(fewer.texts().keys().collect::<Vec<_>>(), ["001"]);
        assert_eq!(as_config(&fewer, None).batch, Some(1));
    }
    assert_eq!(found(&store, "a").await.unwrap().values.len(), 4);
    assert_eq!(in_state(&store, "claimed").await, 3);
    assert_sound(&store).await;
}

async fn a_removed_code_lets_claims_go_on_or_ends_them_as_it_was_written(database: &Database) {
    let store = database.open().await;
    pool(&store, "k8s", 2).await;
    for (name, on_destroy, running) in [("a", "keep", 1), ("b", "end", 0)] {
        let text = format!(
            r#"{{"name": "{name}", "pools": {{"k8s": {{"count": 1}}}}, "on_destroy": "{on_destroy}"}}"#
        );
        let made = kept(&store, &text, Meant::New).await.unwrap();
        let code = made.texts()["main"].clone();
        let claim = redeemed(&store, with(&code, name), 6).await.unwrap().claim;
        if name == "b" {
            let waits = Request {
                code: code.clone(),
                ..waiting("bob", "bob", HOUR)
            };
            redeemed(&store, waits, 6).await.unwrap();
        }
        assert_eq!(
            found(&store, name).await.unwrap().running(),
            1 + i64::from(name == "b")
        );
        let (id, label) = (made.id.clone(), made.name.clone());
        let done: Result<(), Refusal> = store
            .write(move |write| remove(write, &namespace(), &label, &id, Moment(7), "test"))
            .await;
        done.unwrap();
        assert!(matches!(
            found(&store, name).await.unwrap_err(),
            Refusal::NoCode { .. }
        ));
        let unknown = redeemed(&store, with(&code, "eve"), 8).await.unwrap_err();
        assert!(matches!(unknown, Refusal::UnknownCode), "{unknown}");
        let left = store
            .read(move |read| labyard_labs::claim::find(read, &claim.id))
            .await
            .unwrap();
        assert_eq!(i64::from(!left.phase.is_over()), running);
    }
}
