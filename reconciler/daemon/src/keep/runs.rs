//! Operations that one process does, on machines and networks: it holds each by a lease while it works, so that whoever
//! looks knows whether anybody does. What the process was asked for is kept nowhere, since there are secrets in it: an
//! operation whose process is gone has failed, and the same request again goes on from what stands on the host.

use super::operations::{self, Begun, Step};
use crate::failure::Failure;
use labyard_api::{
    operation::{Operation, State},
    problem::Problem,
};
use labyard_labs::claim::Queries;
use labyard_store::{
    StoreError, Value, Write,
    event::{Event, Moment},
};

/// How long a process is believed to work without saying so again.
pub(crate) const LEASE_MS: i64 = 20_000;

/// A piece of work that is asked for.
#[derive(Clone, Debug)]
pub(crate) struct Asked<'a> {
    pub(crate) begun: Begun<'a>,
    /// By what the same request is known.
    pub(crate) key: Option<Key<'a>>,
    /// The process that will do it.
    pub(crate) holder: &'a str,
}

/// The caller's own name of a request, and what it asks for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Key<'a> {
    pub(crate) name: &'a str,
    /// A hash under the store's key, since there may be secrets in what is asked for.
    pub(crate) asked: &'a [u8],
}

/// What became of it.
#[derive(Clone, Debug)]
pub(crate) enum Taken {
    /// It is begun: it is to be done now.
    New(Operation),
    /// The same request came before.
    Again(Operation),
}

/// Begins a piece of work, unless another with the same object goes on.
pub(crate) fn begin(write: &mut Write<'_>, asked: &Asked<'_>, now: Moment) -> Result<Taken, Failure> {
    let begun = &asked.begun;
    if let Some(before) = repeated(write, begun, asked.key)? {
        return Ok(Taken::Again(before));
    }
    let running = write.query(
        "SELECT id FROM operations WHERE namespace = $1 AND subject = $2 AND state = 'running'",
        &[begun.namespace.as_str().into(), (&begun.subject).into()],
    )?;
    if let Some(row) = running.first() {
        let id: String = row.get("id")?;
        let detail = format!(
            "Operation {id} works on {}: wait for its end, or cancel it (POST /v1/operations/{id}/cancel).",
            begun.subject
        );
        let problem = Problem::new(409, "operation-running", "Another operation works on the object");
        return Err(problem.detail(detail).retry_after(2).into());
    }
    let operation = operations::begin(write, begun, now)?;
    if let Some(key) = asked.key {
        // Of one that came to nothing: the name is that of the new attempt from now on.
        write.execute(
            "UPDATE operations SET idempotency = NULL, asked = NULL \
             WHERE namespace = $1 AND actor = $2 AND idempotency = $3",
            &[
                begun.namespace.as_str().into(),
                begun.actor.into(),
                key.name.into(),
            ],
        )?;
    }
    write.execute(
        "UPDATE operations SET idempotency = $1, asked = $2, holder = $3, held_until = $4 WHERE id = $5",
        &[
            asked.key.map(|key| key.name).into(),
            asked.key.map(|key| key.asked).into(),
            asked.holder.into(),
            now.0.saturating_add(LEASE_MS).into(),
            (&operation.id).into(),
        ],
    )?;
    Ok(Taken::New(operation))
}

/// The operation of the same request, where it came before and goes on or has done what was asked for: one that failed
/// or was ended may be begun anew under the same name.
pub(crate) fn repeated(
    from: &mut impl Queries,
    begun: &Begun<'_>,
    key: Option<Key<'_>>,
) -> Result<Option<Operation>, Failure> {
    let Some(key) = key else { return Ok(None) };
    let rows = from.rows(
        "SELECT id, asked FROM operations WHERE namespace = $1 AND actor = $2 AND idempotency = $3",
        &[
            begun.namespace.as_str().into(),
            begun.actor.into(),
            key.name.into(),
        ],
    )?;
    let Some(row) = rows.first() else { return Ok(None) };
    let before = operations::find(from, &row.get::<String>("id")?)?;
    let asked: Option<Vec<u8>> = row.get("asked")?;
    let is_same = asked.is_none_or(|asked| asked == key.asked);
    if before.kind == begun.kind.word() && before.subject == begun.subject && is_same {
        let came_to_nothing = matches!(before.state, State::Failed | State::Cancelled);
        return Ok((!came_to_nothing).then_some(before));
    }
    let detail = format!(
        "It was used for {} of {}, with what was asked for then: give a request of its own a key of its own.",
        before.kind, before.subject
    );
    Err(Problem::new(
        422,
        "key-reused",
        "The idempotency key was used for another request",
    )
    .detail(detail)
    .into())
}

/// Whether a process goes on with its work.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Held {
    /// It does.
    Yes,
    /// It does, and somebody wants it ended.
    Unwanted(String),
    /// It is over, or was taken for gone.
    No,
}

/// Says that the process still works. That is no event: nothing has changed for anybody.
pub(crate) fn keep(write: &mut Write<'_>, id: &str, holder: &str, now: Moment) -> Result<Held, Failure> {
    write.renew(
        "UPDATE operations SET held_until = $1 WHERE id = $2 AND holder = $3 AND state = 'running'",
        &[now.0.saturating_add(LEASE_MS).into(), id.into(), holder.into()],
    )?;
    let rows = write.query(
        "SELECT cancel_by FROM operations WHERE id = $1 AND holder = $2 AND state = 'running'",
        &[id.into(), holder.into()],
    )?;
    let Some(row) = rows.first() else {
        return Ok(Held::No);
    };
    let by: Option<String> = row.get("cancel_by")?;
    Ok(by.map_or(Held::Yes, Held::Unwanted))
}

/// Whether a process holds a piece of work at this moment.
pub(crate) fn is_held(
    from: &mut impl Queries,
    id: &str,
    holder: &str,
    now: Moment,
) -> Result<bool, StoreError> {
    let rows = from.rows(
        "SELECT id FROM operations WHERE id = $1 AND holder = $2 AND state = 'running' AND held_until > $3",
        &[id.into(), holder.into(), now.0.into()],
    )?;
    Ok(!rows.is_empty())
}

/// Who wants a piece of work ended.
pub(crate) fn unwanted(from: &mut impl Queries, id: &str) -> Result<Option<String>, StoreError> {
    let rows = from.rows("SELECT cancel_by FROM operations WHERE id = $1", &[id.into()])?;
    rows.first().map_or(Ok(None), |row| row.get("cancel_by"))
}

/// Somebody wants a piece of work ended that a process does; `false` where none does it.
pub(super) fn ask_to_end(
    write: &mut Write<'_>,
    id: &str,
    now: Moment,
    actor: &str,
) -> Result<bool, StoreError> {
    let rows = write.query(
        "UPDATE operations SET cancel_by = $1 WHERE id = $2 AND state = 'running' AND holder IS NOT NULL \
         AND cancel_by IS NULL RETURNING namespace",
        &[actor.into(), id.into()],
    )?;
    let Some(row) = rows.first() else {
        let again = write.query(
            "SELECT id FROM operations WHERE id = $1 AND state = 'running' AND cancel_by IS NOT NULL",
            &[id.into()],
        )?;
        return Ok(!again.is_empty());
    };
    operations::line(write, id, &format!("{actor} wants it ended"), now)?;
    let namespace: String = row.get("namespace")?;
    write.event(&Event::new(
        now,
        &namespace,
        actor,
        "operation.unwanted",
        &format!("operation/{id}"),
    ))?;
    Ok(true)
}

/// How far a piece of work came, and where it stands.
pub(crate) fn reached(
    write: &mut Write<'_>,
    (id, holder): (&str, &str),
    (stage, reached): (&str, &serde_json::Value),
    now: Moment,
) -> Result<(), Failure> {
    operations::step(write, id, &Step::At(stage.to_owned()), now, holder)?;
    let text: Value = reached.to_string().into();
    write.execute(
        "UPDATE operations SET reached = $1 WHERE id = $2 AND state = 'running'",
        &[text, id.into()],
    )?;
    Ok(())
}

/// How a piece of work ended, with what engines write of it.
#[derive(Clone, Debug)]
pub(crate) struct Ended {
    pub(crate) step: Step,
    pub(crate) result: Option<serde_json::Value>,
    pub(crate) failure: Option<serde_json::Value>,
}

/// Writes down how it ended; nothing if it is over already.
pub(crate) fn end(write: &mut Write<'_>, id: &str, ended: &Ended, now: Moment) -> Result<(), Failure> {
    let text = |value: &Option<serde_json::Value>| -> Value {
        let text = value.as_ref().map(ToString::to_string);
        text.into()
    };
    write.execute(
        "UPDATE operations SET result = $1, failure = $2 WHERE id = $3 AND state = 'running'",
        &[text(&ended.result), text(&ended.failure), id.into()],
    )?;
    operations::step(write, id, &ended.step, now, "labyard")?;
    Ok(())
}

/// Those whose process is gone.
pub(crate) fn lost(from: &mut impl Queries, now: Moment) -> Result<Vec<String>, StoreError> {
    let rows = from.rows(
        "SELECT id FROM operations WHERE state = 'running' AND held_until < $1",
        &[now.0.into()],
    )?;
    rows.iter().map(|row| row.get("id")).collect()
}

/// What is written down of those.
pub(crate) fn gone() -> Step {
    Step::Failed(
        "the process that did it is gone; what it reached is on the host. Ask for the same again: it goes on from there"
            .to_owned(),
    )
}

#[cfg(test)]
mod tests {
    use super::super::operations::{Kind, find};
    use super::*;
    use labyard_labs::ids::Namespace;
    use labyard_store::{Store, on_both, testing::Database};

    on_both!(
        the_same_request_is_the_same_operation_and_another_waits_for_its_end,
        a_key_is_of_one_request_alone_and_one_that_failed_is_begun_anew_under_it,
        who_wants_work_ended_is_told_to_the_process_that_does_it,
        work_whose_process_is_gone_has_failed,
    );

    async fn asked(store: &Store, subject: &str, key: Option<&'static str>) -> Result<Taken, Failure> {
        asked_for(store, subject, key.map(|key| (key, "a machine"))).await
    }

    async fn asked_for(
        store: &Store,
        subject: &str,
        key: Option<(&'static str, &'static str)>,
    ) -> Result<Taken, Failure> {
        let subject = subject.to_owned();
        store
            .write(move |write| {
                let namespace = Namespace::from("default");
                let begun = Begun {
                    namespace: &namespace,
                    kind: Kind::PutVm,
                    subject: subject.clone(),
                    actor: "ci",
                    stage: "begun",
                };
                let asked = Asked {
                    begun,
                    key: key.map(|(name, asked)| Key {
                        name,
                        asked: asked.as_bytes(),
                    }),
                    holder: "one",
                };
                begin(write, &asked, Moment(0))
            })
            .await
    }

    fn id(taken: Taken) -> String {
        match taken {
            Taken::New(operation) | Taken::Again(operation) => operation.id,
        }
    }

    async fn the_same_request_is_the_same_operation_and_another_waits_for_its_end(database: &Database) {
        let store = database.open().await;
        let first = asked(&store, "vm/lab1/web", Some("k")).await.unwrap();
        assert!(matches!(first, Taken::New(_)));
        let again = asked(&store, "vm/lab1/web", Some("k")).await.unwrap();
        assert!(matches!(again, Taken::Again(_)));
        assert_eq!(id(first), id(again));
        let other = asked(&store, "vm/lab1/web", Some("l")).await.unwrap_err();
        assert_eq!((other.0.kind(), other.0.retryable), ("operation-running", true));
        let reused = asked(&store, "vm/lab1/db", Some("k")).await.unwrap_err();
        assert_eq!(reused.0.kind(), "key-reused");
    }

    async fn a_key_is_of_one_request_alone_and_one_that_failed_is_begun_anew_under_it(database: &Database) {
        let store = database.open().await;
        let small = || asked_for(&store, "vm/lab1/web", Some(("k", "128 MiB")));
        let large = || asked_for(&store, "vm/lab1/web", Some(("k", "256 MiB")));
        let first = id(small().await.unwrap());
        assert_eq!(large().await.unwrap_err().0.kind(), "key-reused");
        for step in [Step::Failed("no room".into()), Step::Cancelled("by ada".into())] {
            let before = id(small().await.unwrap());
            let over = before.clone();
            let stepped: Result<bool, Failure> = store
                .write(move |write| operations::step(write, &over, &step, Moment(1), "one"))
                .await;
            assert!(stepped.unwrap());
            assert_eq!(large().await.unwrap_err().0.kind(), "key-reused");
            let anew = small().await.unwrap();
            assert!(matches!(anew, Taken::New(_)), "{anew:?}");
            assert_ne!(id(anew), before);
            assert!(matches!(small().await.unwrap(), Taken::Again(_)));
        }
        let kept: Result<Operation, Failure> = store.read(move |read| find(read, &first)).await;
        assert_eq!(
            kept.unwrap().state,
            State::Failed,
            "what came of the first is told on"
        );
    }

    async fn kept(store: &Store, id: &str, now: i64) -> Held {
        let id = id.to_owned();
        let kept: Result<_, Failure> = store
            .write(move |write| keep(write, &id, "one", Moment(now)))
            .await;
        kept.unwrap()
    }

    async fn who_wants_work_ended_is_told_to_the_process_that_does_it(database: &Database) {
        let store = database.open().await;
        let id = id(asked(&store, "vm/lab1/web", None).await.unwrap());
        let begun = *store.newest().borrow();
        assert_eq!(kept(&store, &id, 1).await, Held::Yes);
        assert_eq!(*store.newest().borrow(), begun, "nothing is told of it");
        for _ in 0..2 {
            let id = id.clone();
            let shown: Result<Operation, Failure> = store
                .write(move |write| operations::cancel(write, &id, Moment(2), "ada"))
                .await;
            assert_eq!(shown.unwrap().state, State::Running, "until it stands still");
        }
        assert_eq!(kept(&store, &id, 3).await, Held::Unwanted("ada".into()));
    }

    async fn work_whose_process_is_gone_has_failed(database: &Database) {
        let store = database.open().await;
        let id = id(asked(&store, "vm/lab1/web", None).await.unwrap());
        let at = |now: i64| store.read(move |read| lost(read, Moment(now)));
        let none: Result<Vec<String>, StoreError> = at(LEASE_MS).await;
        assert_eq!(none.unwrap(), Vec::<String>::new());
        let one: Result<Vec<String>, StoreError> = at(LEASE_MS + 1).await;
        assert_eq!(one.unwrap(), std::slice::from_ref(&id));
        let ended: Result<Operation, Failure> = store
            .write(move |write| {
                let ended = Ended {
                    step: gone(),
                    result: None,
                    failure: None,
                };
                end(write, &id, &ended, Moment(9))?;
                find(write, &id)
            })
            .await;
        let ended = ended.unwrap();
        assert_eq!(ended.state, State::Failed);
        assert!(ended.error.unwrap().contains("Ask for the same again"));
    }
}
