//! Operations.

use super::{
    Answer, json,
    taken::{Name, Query, limit, namespace, number},
};
use crate::{
    failure::Failure,
    keep::operations::{self, Sought},
    serve::{app::App, who::Caller},
};
use axum::{Extension, extract::State};
use labyard_api::{
    List,
    operation::{Operation, State as Far},
    problem::Problem,
};
use labyard_labs::ids::Namespace;
use serde::Deserialize;
use std::sync::Arc;

/// Which operations are listed.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Listed {
    namespace: Option<String>,
    limit: Option<u32>,
    after: Option<u64>,
    state: Option<Far>,
}

pub(crate) async fn list(
    State(app): State<Arc<App>>,
    Extension(caller): Extension<Caller>,
    Query(listed): Query<Listed>,
) -> Answer {
    let sought = Sought {
        scope: caller.scope().narrowed(namespace(listed.namespace)?.as_ref()),
        state: listed.state,
        before: number("after", listed.after)?,
        limit: limit(listed.limit)?,
    };
    let most = sought.limit as usize;
    let found: Result<_, Failure> = app
        .store
        .read(move |read| Ok(operations::list(read, &sought)?))
        .await;
    let found = found?;
    let next = found
        .last()
        .filter(|_| found.len() == most)
        .map(|(number, _)| number.to_string());
    let items = found.into_iter().map(|(_, operation)| operation).collect();
    Ok(json(200, &List { items, next }))
}

pub(crate) async fn show(
    State(app): State<Arc<App>>,
    Extension(caller): Extension<Caller>,
    Name(id): Name,
) -> Answer {
    let found: Result<_, Failure> = app
        .store
        .read(move |read| seen(operations::find(read, &id)?, &caller))
        .await;
    Ok(json(200, &found?))
}

pub(crate) async fn cancel(
    State(app): State<Arc<App>>,
    Extension(caller): Extension<Caller>,
    Name(id): Name,
) -> Answer {
    let now = app.now();
    let sought = id.clone();
    let done: Result<_, Failure> = app
        .store
        .write(move |write| {
            seen(operations::find(write, &sought)?, &caller)?;
            operations::cancel(write, &sought, now, &caller.actor())
        })
        .await;
    let operation = done?;
    app.runs.end(&id);
    Ok(json(200, &operation))
}

/// One of a namespace that the caller does not see is not there.
fn seen(operation: Operation, caller: &Caller) -> Result<Operation, Failure> {
    match caller.scope().holds(&Namespace(operation.namespace.clone())) {
        true => Ok(operation),
        false => Err(Problem::new(404, "no-operation", "There is no such operation").into()),
    }
}
