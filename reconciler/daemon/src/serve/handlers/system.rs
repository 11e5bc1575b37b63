//! The server itself: whether it lives and can serve, its numbers, its description.

use super::{Answer, json};
use crate::{
    failure::Failure,
    keep::operations::{self, Sought},
    serve::{
        app::App,
        metrics::{Seen, Whole},
        who::Caller,
    },
};
use axum::{
    Extension,
    extract::State,
    response::{IntoResponse as _, Response},
};
use http::{HeaderValue, header};
use labyard_api::{openapi, operation, server};
use labyard_labs::{
    pool::work,
    quota,
    show::{self, Scope},
};
use labyard_store::StoreError;
use std::sync::Arc;

fn text(media_type: &'static str, text: impl Into<String>) -> Response {
    let media_type = (header::CONTENT_TYPE, HeaderValue::from_static(media_type));
    ([media_type], text.into()).into_response()
}

pub(crate) async fn health() -> Response {
    text("text/plain", "ok\n")
}

pub(crate) async fn readiness(State(app): State<Arc<App>>) -> Answer {
    let answered: Result<_, StoreError> = app.store.read(|read| read.query("SELECT 1 AS n", &[])).await;
    answered?;
    Ok(text("text/plain", "ok\n"))
}

pub(crate) async fn openapi() -> Response {
    json(200, &openapi::document(env!("CARGO_PKG_VERSION")))
}

pub(crate) async fn server(State(app): State<Arc<App>>) -> Answer {
    let server = server::Server {
        release: env!("CARGO_PKG_VERSION").to_owned(),
        api: server::NUMBER,
        store: app.store.id().to_owned(),
        hooks: app.hooks.clone(),
    };
    Ok(json(200, &server))
}

pub(crate) async fn metrics(State(app): State<Arc<App>>, Extension(caller): Extension<Caller>) -> Answer {
    let (now, scope) = (app.now(), caller.scope());
    let sees_all = scope == Scope::All;
    let seen: Result<_, Failure> = app
        .store
        .read(move |read| {
            let running = Sought {
                scope: scope.clone(),
                state: Some(operation::State::Running),
                before: None,
                limit: u32::MAX,
            };
            let rows = read.query("SELECT COALESCE(MAX(id), 0) AS newest FROM events", &[])?;
            let newest: i64 = match rows.first() {
                Some(row) => row.get("newest")?,
                None => 0,
            };
            Ok((
                show::pools(read, &scope)?,
                operations::list(read, &running)?.len(),
                quota::shown(read, &scope)?,
                (newest, work::waiting(read, now)?),
            ))
        })
        .await;
    let (pools, running, quotas, (newest, waiting)) = seen?;
    let whole = sees_all.then(|| Whole {
        newest,
        waiting,
        numbers: app.meter.numbers(),
    });
    let numbers = app.metrics.text(&Seen {
        pools: &pools,
        running: running as u64,
        quotas: &quotas,
        whole,
    });
    Ok(text("text/plain; version=0.0.4", numbers))
}
