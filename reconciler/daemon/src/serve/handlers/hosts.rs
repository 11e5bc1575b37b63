//! Hosts, as the configuration names them, and as pools see them.

use super::{
    Answer, json,
    taken::{Json, Name},
};
use crate::{
    failure::Failure,
    keep::time,
    serve::{app::App, who::Caller},
};
use axum::{Extension, extract::State};
use labyard_api::{
    List,
    host::{self as api, Wished},
    problem::Problem,
};
use labyard_labs::{
    claim::Queries,
    host::{self, HostStanding, Wish},
    show::Scope,
};
use labyard_schema::provider;
use labyard_store::StoreError;
use std::{collections::BTreeMap, sync::Arc};

/// What the store knows of hosts.
struct Known {
    standing: BTreeMap<String, HostStanding>,
    machines: BTreeMap<String, i64>,
}

fn known(from: &mut impl Queries) -> Result<Known, StoreError> {
    let rows = from.rows(
        "SELECT host, COUNT(*) AS n FROM members WHERE host IS NOT NULL GROUP BY host",
        &[],
    )?;
    let machines = rows.iter().map(|row| Ok((row.get("host")?, row.get("n")?)));
    Ok(Known {
        standing: host::all(from)?,
        machines: machines.collect::<Result<_, StoreError>>()?,
    })
}

fn shown(name: &str, host: &provider::Host, known: &Known) -> api::Host {
    let standing = known.standing.get(name).cloned().unwrap_or_default();
    let machines = known.machines.get(name).copied().unwrap_or_default();
    api::Host {
        name: name.to_owned(),
        kind: match (&host.sim, &host.libvirt) {
            (Some(_), _) => Some("sim".to_owned()),
            (None, Some(_)) => Some("libvirt".to_owned()),
            (None, None) => None,
        },
        wish: match standing.wish {
            Wish::Open if host.cordoned == Some(true) => api::Wish::Cordoned,
            Wish::Open => api::Wish::Open,
            Wish::Cordoned => api::Wish::Cordoned,
            Wish::Draining => api::Wish::Draining,
        },
        silent_since: standing.silent_since.map(time),
        lost_since: standing.lost_since.map(time),
        why: standing.why,
        machines: machines.unsigned_abs(),
    }
}

pub(crate) async fn list(State(app): State<Arc<App>>) -> Answer {
    let known: Result<_, Failure> = app.store.read(|read| Ok(known(read)?)).await;
    let known = known?;
    let hosts = app.hosts.iter().map(|(name, host)| shown(name, host, &known));
    Ok(json(
        200,
        &List {
            items: hosts.collect(),
            next: None,
        },
    ))
}

pub(crate) async fn wish(
    State(app): State<Arc<App>>,
    Extension(caller): Extension<Caller>,
    Name(name): Name,
    Json(wished): Json<Wished>,
) -> Answer {
    // A host has the machines of all namespaces.
    if caller.scope() != Scope::All {
        let detail = "A host is shared: this needs a token for all namespaces.";
        return Err(Problem::new(403, "other-namespace", "Not by this token")
            .detail(detail)
            .into());
    }
    let Some(host) = app.hosts.get(&name).cloned() else {
        let detail = "It stands in no configuration of this server.";
        return Err(Problem::new(404, "no-host", "The host is not there")
            .detail(detail)
            .into());
    };
    let (actor, now) = (caller.actor(), app.now());
    let wish = match wished.wish {
        api::Wish::Open => Wish::Open,
        api::Wish::Cordoned => Wish::Cordoned,
        api::Wish::Draining => Wish::Draining,
    };
    let done: Result<_, Failure> = app
        .store
        .write(move |write| {
            host::wish(write, &name, wish, now, &actor)?;
            Ok(shown(&name, &host, &known(write)?))
        })
        .await;
    Ok(json(200, &done?))
}
