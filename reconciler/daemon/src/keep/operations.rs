//! Operations in the store: what was asked for, how far it is, what became of it. They are kept.
//!
//! An operation is begun in the transaction of the change that it stands for, so that neither is there without the
//! other. A later one with the same object takes the place of one that still runs.

use crate::failure::Failure;
use labyard_api::{
    operation::{Line, Operation, State},
    problem::Problem,
};
use labyard_labs::{claim::Queries, ids::Namespace, ids::random_id, show::Scope};
use labyard_store::{
    Row, StoreError, Value, Write,
    event::{Event, Moment},
};
use std::fmt;

use super::{time, time_in};

const COLUMNS: &str =
    "id, number, namespace, kind, subject, actor, state, stage, attempt, created_at, ended_at, error";

/// What an operation does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    PutPool,
    DeletePool,
    PutCode,
    DeleteCode,
    PutVm,
    DeleteVm,
    CaptureVm,
    DeleteImage,
    PutNetwork,
    DeleteNetwork,
}

impl Kind {
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::PutPool => "pool.put",
            Self::DeletePool => "pool.delete",
            Self::PutCode => "code.put",
            Self::DeleteCode => "code.delete",
            Self::PutVm => "vm.put",
            Self::DeleteVm => "vm.delete",
            Self::CaptureVm => "vm.capture",
            Self::DeleteImage => "image.delete",
            Self::PutNetwork => "network.put",
            Self::DeleteNetwork => "network.delete",
        }
    }
}

/// What is begun.
#[derive(Clone, Debug)]
pub(crate) struct Begun<'a> {
    pub(crate) namespace: &'a Namespace,
    pub(crate) kind: Kind,
    /// The noun and its name: `pool/k8s`.
    pub(crate) subject: String,
    pub(crate) actor: &'a str,
    pub(crate) stage: &'a str,
}

/// What changes of an operation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// It is at this.
    At(String),
    /// What was asked for stands.
    Done,
    /// It could not be done.
    Failed(String),
    /// It is not waited for any more.
    Cancelled(String),
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::At(stage) => f.write_str(stage),
            Self::Done => f.write_str("done"),
            Self::Failed(why) => write!(f, "failed: {why}"),
            Self::Cancelled(why) => write!(f, "cancelled: {why}"),
        }
    }
}

/// Begins an operation; part of the change that it stands for.
pub(crate) fn begin(write: &mut Write<'_>, begun: &Begun<'_>, now: Moment) -> Result<Operation, Failure> {
    let before = write.query(
        "SELECT id FROM operations WHERE namespace = $1 AND subject = $2 AND state = 'running'",
        &[begun.namespace.as_str().into(), (&begun.subject).into()],
    )?;
    for row in &before {
        let why = "a later change of the same object took its place".to_owned();
        step(
            write,
            &row.get::<String>("id")?,
            &Step::Cancelled(why),
            now,
            begun.actor,
        )?;
    }
    let id = random_id()?;
    // All writers go one after another: nobody else takes the same number.
    let rows = write.query("SELECT COALESCE(MAX(number), 0) + 1 AS next FROM operations", &[])?;
    let number: i64 = rows.first().map_or(Ok(1), |row| row.get("next"))?;
    let parameters: [Value; 8] = [
        (&id).into(),
        number.into(),
        begun.namespace.as_str().into(),
        begun.kind.word().into(),
        (&begun.subject).into(),
        begun.actor.into(),
        begun.stage.into(),
        now.0.into(),
    ];
    write.execute(
        "INSERT INTO operations (id, number, namespace, kind, subject, actor, state, stage, attempt, created_at) \
         VALUES ($1, $2, $3, $4, $5, $6, 'running', $7, 1, $8)",
        &parameters,
    )?;
    let event = Event::new(
        now,
        begun.namespace.as_str(),
        begun.actor,
        "operation.begun",
        &format!("operation/{id}"),
    );
    write.event(
        &event
            .with("kind", begun.kind.word())
            .with("object", begun.subject.as_str()),
    )?;
    line(write, &id, begun.stage, now)?;
    find(write, &id)
}

/// Writes down whose identity an operation that begins is about; part of the change that it stands for.
pub(crate) fn about(write: &mut Write<'_>, id: &str, object: &str) -> Result<(), Failure> {
    write.execute(
        "UPDATE operations SET object = $1 WHERE id = $2",
        &[object.into(), id.into()],
    )?;
    Ok(())
}

/// The identity of the object that an operation is about, where it was written down.
pub(crate) fn object(from: &mut impl Queries, id: &str) -> Result<Option<String>, StoreError> {
    let rows = from.rows("SELECT object FROM operations WHERE id = $1", &[id.into()])?;
    let object = rows.first().map(|row| row.get::<Option<String>>("object"));
    Ok(object.transpose()?.flatten())
}

/// Writes down a step of an operation that runs; `false` if it is over, or at that stage already.
pub(crate) fn step(
    write: &mut Write<'_>,
    id: &str,
    step: &Step,
    now: Moment,
    actor: &str,
) -> Result<bool, Failure> {
    let (state, stage, error) = match step {
        Step::At(stage) => (State::Running, Some(stage.as_str()), None),
        Step::Done => (State::Succeeded, Some("done"), None),
        Step::Failed(why) => (State::Failed, None, Some(why.as_str())),
        Step::Cancelled(why) => (State::Cancelled, None, Some(why.as_str())),
    };
    let ended = state.is_over().then_some(now.0);
    let parameters: [Value; 5] = [
        state.word().into(),
        stage.into(),
        error.into(),
        ended.into(),
        id.into(),
    ];
    let rows = write.query(
        "UPDATE operations SET state = $1, stage = COALESCE($2, stage), error = $3, ended_at = $4 \
         WHERE id = $5 AND state = 'running' AND (state <> $1 OR stage <> COALESCE($2, stage)) RETURNING namespace",
        &parameters,
    )?;
    let Some(row) = rows.first() else { return Ok(false) };
    line(write, id, &step.to_string(), now)?;
    let action = match state {
        State::Running => "operation.moved",
        State::Succeeded => "operation.succeeded",
        State::Failed => "operation.failed",
        State::Cancelled => "operation.cancelled",
    };
    let namespace: String = row.get("namespace")?;
    let event = Event::new(now, &namespace, actor, action, &format!("operation/{id}"));
    write.event(&event.with("step", step.to_string()))?;
    Ok(true)
}

pub(super) fn line(write: &mut Write<'_>, id: &str, text: &str, now: Moment) -> Result<(), StoreError> {
    write.execute(
        "INSERT INTO operation_lines (operation, line, at, text) \
         SELECT $1, COUNT(*), $2, $3 FROM operation_lines WHERE operation = $1",
        &[id.into(), now.0.into(), text.into()],
    )?;
    Ok(())
}

/// Somebody ends an operation where it is.
pub(crate) fn cancel(
    write: &mut Write<'_>,
    id: &str,
    now: Moment,
    actor: &str,
) -> Result<Operation, Failure> {
    // What a process does is ended by that process, and stands where it was ended.
    let asked = super::runs::ask_to_end(write, id, now, actor)?;
    let cancelled = asked || step(write, id, &Step::Cancelled(format!("by {actor}")), now, actor)?;
    let operation = find(write, id)?;
    if !cancelled && operation.state != State::Cancelled {
        let detail = format!("It is {} since before.", operation.state.word());
        return Err(Problem::new(409, "operation-over", "The operation is over")
            .detail(detail)
            .into());
    }
    Ok(operation)
}

/// The operation of that identity, with its log.
pub(crate) fn find(from: &mut impl Queries, id: &str) -> Result<Operation, Failure> {
    let rows = from.rows(
        &format!("SELECT {COLUMNS}, reached, result, failure FROM operations WHERE id = $1"),
        &[id.into()],
    )?;
    let Some(row) = rows.first() else {
        return Err(Problem::new(404, "no-operation", "There is no such operation").into());
    };
    let (_, mut operation) = shown(row)?;
    let engines = |name: &str| -> Result<Option<serde_json::Value>, StoreError> {
        let text: Option<String> = row.get(name)?;
        Ok(text.and_then(|text| serde_json::from_str(&text).ok()))
    };
    operation.reached = engines("reached")?;
    operation.result = engines("result")?;
    operation.failure = engines("failure")?;
    let lines = from.rows(
        "SELECT at, text FROM operation_lines WHERE operation = $1 ORDER BY line",
        &[id.into()],
    )?;
    for row in &lines {
        operation.log.push(Line {
            at: time(Moment(row.get("at")?)),
            text: row.get("text")?,
        });
    }
    Ok(operation)
}

/// Which operations.
#[derive(Clone, Debug)]
pub(crate) struct Sought {
    pub(crate) scope: Scope,
    pub(crate) state: Option<State>,
    pub(crate) before: Option<i64>,
    pub(crate) limit: u32,
}

/// Operations with their numbers, the newest first.
pub(crate) fn list(from: &mut impl Queries, sought: &Sought) -> Result<Vec<(i64, Operation)>, StoreError> {
    let mut parameters = Vec::new();
    let mut condition = sought.scope.condition(&mut parameters);
    if let Some(state) = sought.state {
        parameters.push(state.word().into());
        condition += &format!(" AND state = ${}", parameters.len());
    }
    if let Some(before) = sought.before {
        parameters.push(before.into());
        condition += &format!(" AND number < ${}", parameters.len());
    }
    parameters.push(i64::from(sought.limit).into());
    let sql = format!(
        "SELECT {COLUMNS} FROM operations WHERE {condition} ORDER BY number DESC LIMIT ${}",
        parameters.len()
    );
    from.rows(&sql, &parameters)?.iter().map(shown).collect()
}

fn shown(row: &Row) -> Result<(i64, Operation), StoreError> {
    let state: String = row.get("state")?;
    let known = State::ALL.into_iter().find(|known| known.word() == state);
    let attempt: i64 = row.get("attempt")?;
    let operation = Operation {
        id: row.get("id")?,
        namespace: row.get("namespace")?,
        kind: row.get("kind")?,
        subject: row.get("subject")?,
        actor: row.get("actor")?,
        state: known.ok_or_else(|| StoreError::Unreadable {
            what: format!("operations.state {state:?}"),
        })?,
        stage: row.get("stage")?,
        attempt: u32::try_from(attempt).unwrap_or(u32::MAX),
        created_at: time(Moment(row.get("created_at")?)),
        ended_at: time_in(row, "ended_at")?,
        error: row.get("error")?,
        reached: None,
        result: None,
        failure: None,
        log: Vec::new(),
    };
    Ok((row.get("number")?, operation))
}

#[cfg(test)]
mod tests {
    use super::*;
    use labyard_store::{Store, on_both, testing::Database};

    on_both!(
        an_operation_keeps_its_steps_and_its_end,
        a_later_operation_takes_the_place_of_one_that_runs,
    );

    async fn begun(store: &Store, now: i64) -> Operation {
        let begun = store.write(move |write| {
            let namespace = Namespace::from("default");
            let asked = Begun {
                namespace: &namespace,
                kind: Kind::PutPool,
                subject: "pool/k8s".to_owned(),
                actor: "ci",
                stage: "filling",
            };
            begin(write, &asked, Moment(now))
        });
        let begun: Result<_, Failure> = begun.await;
        begun.unwrap()
    }

    async fn stepped(store: &Store, id: &str, what: Step, now: i64) -> bool {
        let id = id.to_owned();
        let stepped: Result<_, Failure> = store
            .write(move |write| step(write, &id, &what, Moment(now), "labyard"))
            .await;
        stepped.unwrap()
    }

    async fn seen(store: &Store, id: &str) -> Operation {
        let id = id.to_owned();
        let found: Result<_, Failure> = store.read(move |read| find(read, &id)).await;
        found.unwrap()
    }

    async fn an_operation_keeps_its_steps_and_its_end(database: &Database) {
        let store = database.open().await;
        let id = begun(&store, 0).await.id;
        assert!(stepped(&store, &id, Step::At("1 of 2 free".to_owned()), 1).await);
        assert!(
            !stepped(&store, &id, Step::At("1 of 2 free".to_owned()), 2).await,
            "nothing new"
        );
        assert!(stepped(&store, &id, Step::Done, 3).await);
        assert!(
            !stepped(&store, &id, Step::Failed("late".to_owned()), 4).await,
            "it is over"
        );
        let found = seen(&store, &id).await;
        assert_eq!((found.state, found.stage.as_str()), (State::Succeeded, "done"));
        let lines: Vec<_> = found.log.iter().map(|line| line.text.as_str()).collect();
        assert_eq!(lines, ["filling", "1 of 2 free", "done"]);
        let late: Result<_, Failure> = store
            .write(move |write| cancel(write, &id, Moment(5), "ci"))
            .await;
        assert_eq!(late.unwrap_err().0.kind(), "operation-over");
    }

    async fn a_later_operation_takes_the_place_of_one_that_runs(database: &Database) {
        let store = database.open().await;
        let (first, second) = (begun(&store, 0).await, begun(&store, 1).await);
        assert_eq!(seen(&store, &first.id).await.state, State::Cancelled);
        let sought = Sought {
            scope: Scope::All,
            state: Some(State::Running),
            before: None,
            limit: 9,
        };
        let listed: Result<_, StoreError> = store.read(move |read| list(read, &sought)).await;
        let listed: Vec<_> = listed.unwrap().into_iter().map(|(_, one)| one.id).collect();
        assert_eq!(listed, [second.id]);
    }
}
