//! What an engine that works through a server asks of a host, as engines write it.

use super::{
    Answer,
    asked::{of_driver, on, pools},
    json,
    pools::Within,
    taken::{Name, Query, Two, invalid},
    veil::veiled,
};
use crate::{
    failure::Failure,
    serve::{app::App, met, sources, who::Caller},
};
use axum::{Extension, extract::State};
use labyard_api::vm::Found;
use labyard_driver::{
    ids::{HostName, ObjectId, ObjectName},
    mark::Mark,
};
use labyard_labs::show::Scope;
use labyard_reconciler::{
    EngineError,
    desired::Wishes,
    engine::{Embedded, Engine as _, Look},
    view::{MachineView, NetworkView},
};
use serde::Deserialize;
use serde_json::json as value;
use std::sync::Arc;

/// Who does not see all namespaces is not told what there is beside his own: what is another's, nobody's and not there is the
/// same.
fn unseen(error: &EngineError, scope: &Scope, (host, what, id): (&HostName, &str, &str)) -> Failure {
    match error.root() {
        EngineError::NotFound { .. } | EngineError::AlreadyExists { .. } if *scope != Scope::All => {
            hidden(host, what, id)
        }
        _ => met::problem(error),
    }
}

fn hidden(host: &HostName, what: &str, id: &str) -> Failure {
    met::problem(&EngineError::NotFound {
        host: host.clone(),
        what: format!("{what} {id:?}"),
        found: "no such name is in the namespaces of this token".to_owned(),
    })
}

/// A machine that the caller may know of, and its mark.
async fn machine(
    (engine, host): (&Embedded, &HostName),
    id: &str,
    (caller, within): (&Caller, &Within),
) -> Result<(MachineView, Option<Mark>), Failure> {
    let (namespace, scope) = (caller.namespace(within.namespace.as_deref())?, caller.scope());
    let found = engine.find_machine(host, &of_driver(&namespace), id).await;
    let found = found.map_err(|error| unseen(&error, &scope, (host, "machine", id)))?;
    match found.1.is_some() || scope == Scope::All {
        true => Ok(found),
        false => Err(hidden(host, "machine", id)),
    }
}

/// The same of a network.
async fn network(
    (engine, host): (&Embedded, &HostName),
    id: &str,
    (caller, within): (&Caller, &Within),
) -> Result<NetworkView, Failure> {
    let (namespace, scope) = (caller.namespace(within.namespace.as_deref())?, caller.scope());
    let found = engine.find_network(host, &of_driver(&namespace), id).await;
    let view = found.map_err(|error| unseen(&error, &scope, (host, "network", id)))?;
    match view.identity().is_some() || scope == Scope::All {
        true => Ok(view),
        false => Err(hidden(host, "network", id)),
    }
}

macro_rules! got {
    ($reading:expr) => {
        $reading.await.map_err(|error| met::problem(&error))?
    };
}

pub(crate) async fn facts(State(app): State<Arc<App>>, Name(host): Name) -> Answer {
    let (engine, host) = on(&app, &host).await?;
    Ok(json(200, &got!(engine.facts(&host))))
}

pub(crate) async fn offers(State(app): State<Arc<App>>, Name(host): Name) -> Answer {
    let (engine, host) = on(&app, &host).await?;
    Ok(json(200, &got!(engine.offers(&host))))
}

/// How old the look may be.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Looked {
    now: Option<String>,
}

pub(crate) async fn capacity(
    State(app): State<Arc<App>>,
    Name(host): Name,
    Query(looked): Query<Looked>,
) -> Answer {
    let (engine, host) = on(&app, &host).await?;
    let measured = looked.now.as_deref().map(pools);
    let look = measured.as_ref().map_or(Look::Recent, Look::Now);
    Ok(json(200, &got!(engine.capacity(&host, look))))
}

pub(crate) async fn snapshot(
    State(app): State<Arc<App>>,
    Extension(caller): Extension<Caller>,
    Name(host): Name,
) -> Answer {
    let (engine, host) = on(&app, &host).await?;
    let snapshot = got!(engine.snapshot(&host));
    Ok(json(200, &veiled(&snapshot, &caller.scope())))
}

/// Whose name it is.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Named {
    namespace: Option<String>,
    name: Option<String>,
}

pub(crate) async fn taken(
    State(app): State<Arc<App>>,
    Extension(caller): Extension<Caller>,
    Name(host): Name,
    Query(named): Query<Named>,
) -> Answer {
    let namespace = caller.namespace(named.namespace.as_deref())?;
    let (engine, host) = on(&app, &host).await?;
    let Some(name) = named.name else {
        return Err(invalid().wrong("name", "it is required").into());
    };
    let taken = got!(engine.taken(&host, &of_driver(&namespace), &ObjectName(name)));
    Ok(json(200, &taken))
}

/// Which file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct At {
    path: Option<String>,
}

pub(crate) async fn file(State(app): State<Arc<App>>, Name(host): Name, Query(at): Query<At>) -> Answer {
    let (engine, host) = on(&app, &host).await?;
    let Some(path) = at.path else {
        return Err(invalid().wrong("path", "it is required").into());
    };
    if let Err(why) = sources::on_host(&app.sources, &path) {
        return Err(invalid().wrong("path", why).into());
    }
    Ok(json(200, &got!(engine.host_file(&host, &path))))
}

pub(crate) async fn find_machine(
    State(app): State<Arc<App>>,
    Extension(caller): Extension<Caller>,
    Two(host, id): Two,
    Query(within): Query<Within>,
) -> Answer {
    let (engine, host) = on(&app, &host).await?;
    let (view, mark) = machine((engine, &host), &id, (&caller, &within)).await?;
    let found = Found {
        view: value!(view),
        mark: mark.map(|mark| value!(mark)),
    };
    Ok(json(200, &found))
}

pub(crate) async fn seed(
    State(app): State<Arc<App>>,
    Extension(caller): Extension<Caller>,
    Two(host, id): Two,
    Query(within): Query<Within>,
) -> Answer {
    let (engine, host) = on(&app, &host).await?;
    let (_, mark) = machine((engine, &host), &id, (&caller, &within)).await?;
    let Some(mark) = mark else {
        return Err(hidden(&host, "machine", &id));
    };
    let mut contents = got!(engine.read_seed(&host, &mark));
    let wishes = Wishes::from_mark(&mark);
    // What was written as a secret is shown to nobody again.
    if let Some(contents) = contents.as_mut().filter(|_| !wishes.user_data_written) {
        contents.user_data = None;
    }
    Ok(json(200, &contents))
}

pub(crate) async fn addresses(
    State(app): State<Arc<App>>,
    Extension(caller): Extension<Caller>,
    Two(host, id): Two,
    Query(within): Query<Within>,
) -> Answer {
    let (engine, host) = on(&app, &host).await?;
    let (view, _) = machine((engine, &host), &id, (&caller, &within)).await?;
    Ok(json(200, &got!(engine.addresses(&host, &view.id))))
}

pub(crate) async fn find_network(
    State(app): State<Arc<App>>,
    Extension(caller): Extension<Caller>,
    Two(host, id): Two,
    Query(within): Query<Within>,
) -> Answer {
    let (engine, host) = on(&app, &host).await?;
    let view = network((engine, &host), &id, (&caller, &within)).await?;
    let found = Found {
        view: value!(view),
        mark: None,
    };
    Ok(json(200, &found))
}

pub(crate) async fn leases(
    State(app): State<Arc<App>>,
    Extension(caller): Extension<Caller>,
    Two(host, id): Two,
    Query(within): Query<Within>,
) -> Answer {
    let (engine, host) = on(&app, &host).await?;
    let view = network((engine, &host), &id, (&caller, &within)).await?;
    let id: ObjectId = view.id;
    Ok(json(200, &got!(engine.leases(&host, &id))))
}
