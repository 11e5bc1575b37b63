//! Pools and their machines.

use super::{
    Answer,
    codes::asked_for,
    json,
    makers::Putting,
    taken::{Json, Name, Query, invalid, namespace},
    versions::{self, Rests},
};
use crate::{
    failure::Failure,
    keep::{
        operations::{self, Begun, Kind},
        time,
    },
    serve::{app::App, sources, who::Caller},
};
use axum::{Extension, extract::State, response::IntoResponse as _};
use http::HeaderMap;
use labyard_api::{List, pool as api, problem::Problem};
use labyard_foreman::{
    spec,
    written::{self, NotPut},
};
use labyard_labs::{
    Refusal,
    ids::PoolName,
    member::{Member, State as MemberState},
    plan::{Next, backoff},
    pool::{self, Pool, Strategy},
    show::{self, PoolShown},
};
use labyard_schema::{Described as _, vm_pool::VmPool};
use labyard_store::event::Moment;
use serde::Deserialize;
use serde_json::Value;
use std::sync::Arc;

/// Which namespace.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Within {
    pub(crate) namespace: Option<String>,
}

pub(crate) async fn list(
    State(app): State<Arc<App>>,
    Extension(caller): Extension<Caller>,
    Query(within): Query<Within>,
) -> Answer {
    let scope = caller.scope().narrowed(namespace(within.namespace)?.as_ref());
    let now = app.now();
    let found: Result<_, Failure> = app.store.read(move |read| Ok(show::pools(read, &scope)?)).await;
    let items = found?.iter().map(|pool| shown(pool, now)).collect();
    Ok(json(200, &List { items, next: None }))
}

pub(crate) async fn show(
    State(app): State<Arc<App>>,
    Extension(caller): Extension<Caller>,
    Name(name): Name,
    Query(within): Query<Within>,
) -> Answer {
    let namespace = caller.namespace(within.namespace.as_deref())?;
    let now = app.now();
    let found: Result<_, Failure> = app
        .store
        .read(move |read| {
            let name = PoolName(name);
            Ok((
                show::pool(read, &namespace, &name)?,
                written::find(read, &namespace, &name)?,
            ))
        })
        .await;
    let (found, as_written) = found?;
    let writers: Vec<&VmPool> = as_written.written.iter().collect();
    let pool = api::Pool {
        claims: Some(as_written.claims as u64),
        asked: Some(api::shown(&written::as_config(&found.pool, &writers))),
        maker: as_written.maker.as_ref().map(|maker| maker.as_str().to_owned()),
        ..shown(&found, now)
    };
    let mut answer = json(200, &pool);
    answer.headers_mut().extend(versions::header(&tag(&found.pool)));
    Ok(answer.into_response())
}

/// Which version of a pool this is: its identity, its template, what else it is asked to be, whether it goes.
pub(crate) fn tag(pool: &Pool) -> String {
    let spec = serde_json::to_string(&pool.spec).unwrap_or_default();
    let leaving = if pool.draining { "draining" } else { "active" };
    versions::tag(&[&pool.id, &pool.generation.to_string(), leaving, &spec])
}

pub(crate) async fn members(
    State(app): State<Arc<App>>,
    Extension(caller): Extension<Caller>,
    Name(name): Name,
    Query(within): Query<Within>,
) -> Answer {
    let namespace = caller.namespace(within.namespace.as_deref())?;
    let found: Result<_, Failure> = app
        .store
        .read(move |read| Ok(show::members(read, &namespace, &PoolName(name))?))
        .await;
    let items = found?.into_iter().map(member).collect();
    Ok(json(200, &List { items, next: None }))
}

pub(crate) async fn put(
    State(app): State<Arc<App>>,
    Extension(caller): Extension<Caller>,
    Name(name): Name,
    Query(putting): Query<Putting>,
    headers: HeaderMap,
    Json(asked): Json<Value>,
) -> Answer {
    let (namespace, meant) = (caller.namespace(putting.namespace.as_deref())?, putting.meant()?);
    let asked: VmPool = asked_for(asked, &name, &VmPool::attributes())?;
    let problems = asked.problems();
    if !problems.is_empty() {
        let mut problem = invalid();
        for found in problems {
            let at: Vec<String> = found.at.iter().map(crate::config::step).collect();
            problem = problem.wrong(format!("/{}", at.join("/")), found.detail);
        }
        return Err(problem.into());
    }
    unknown_hosts(&app, &asked)?;
    sources::of_vm(&app.sources, asked.template.as_machine(), "/template")?;
    spec::kept(&asked)
        .map_err(|_| invalid().detail("The template cannot be written as JSON."))?
        .spec
        .standing(app.now())
        .map_err(|error| invalid().wrong("/schedule", error.to_string()))?;
    let (rests, actor, now) = (Rests::read(&headers)?, caller.actor(), app.now());
    let done: Result<_, Failure> = app
        .store
        .write(move |write| {
            let name = PoolName(name.clone());
            let before = match pool::find(write, &namespace, &name) {
                Ok(found) => Some(tag(&found)),
                Err(Refusal::NoPool { .. }) => None,
                Err(other) => return Err(other.into()),
            };
            rests.allow(before.as_deref())?;
            let put = match written::put(write, &namespace, &asked, &meant, now, &actor) {
                Ok(put) => put.pool,
                Err(NotPut::Refused(refusal)) => return Err(refusal.into()),
                Err(other) => return Err(not_put(&other)),
            };
            let begun = Begun {
                namespace: &namespace,
                kind: Kind::PutPool,
                subject: format!("pool/{name}"),
                actor: &actor,
                stage: "filling",
            };
            let operation = operations::begin(write, &begun, now)?;
            operations::about(write, &operation.id, &put.id)?;
            Ok((operation, tag(&put)))
        })
        .await;
    let (operation, tag) = done?;
    let mut answer = json(202, &operation);
    answer.headers_mut().extend(versions::header(&tag));
    Ok(answer)
}

fn not_put(why: &NotPut) -> Failure {
    let problem = match why {
        NotPut::Exists(_) => Problem::new(409, "pool-exists", "The pool is there already"),
        NotPut::Replaced(_) | NotPut::Refused(_) => {
            Problem::new(409, "other-pool", "The pool is another one")
        }
    };
    problem.detail(why.to_string()).into()
}

/// A pool on a host that nobody knows would wait for ever.
fn unknown_hosts(app: &App, asked: &VmPool) -> Result<(), Failure> {
    let mut problem = invalid();
    for (host, at) in asked.hosts.iter().flatten().zip(0..) {
        if !app.hosts.is_empty() && !app.hosts.contains_key(host) {
            let known: Vec<&str> = app.hosts.keys().map(String::as_str).collect();
            let detail = format!(
                "host {host:?} stands in no configuration of this server; there are {}",
                known.join(", ")
            );
            problem = problem.wrong(format!("/hosts/{at}"), detail);
        }
    }
    match problem.errors.is_empty() {
        true => Ok(()),
        false => Err(problem.into()),
    }
}

pub(crate) async fn delete(
    State(app): State<Arc<App>>,
    Extension(caller): Extension<Caller>,
    Name(name): Name,
    Query(within): Query<Within>,
    headers: HeaderMap,
) -> Answer {
    let namespace = caller.namespace(within.namespace.as_deref())?;
    let (rests, actor, now) = (Rests::read(&headers)?, caller.actor(), app.now());
    let begun: Result<_, Failure> = app
        .store
        .write(move |write| {
            let name = PoolName(name.clone());
            let found = pool::find(write, &namespace, &name)?;
            rests.allow(Some(&tag(&found)))?;
            pool::remove(write, &namespace, &name, now, &actor)?;
            let begun = Begun {
                namespace: &namespace,
                kind: Kind::DeletePool,
                subject: format!("pool/{name}"),
                actor: &actor,
                stage: "emptying",
            };
            let operation = operations::begin(write, &begun, now)?;
            operations::about(write, &operation.id, &found.id)?;
            Ok(operation)
        })
        .await;
    Ok(json(202, &begun?))
}

fn shown(shown: &PoolShown, now: Moment) -> api::Pool {
    let count = |state| shown.counts.get(&state).copied().unwrap_or_default();
    let (pool, spec) = (&shown.pool, &shown.pool.spec);
    api::Pool {
        namespace: pool.namespace.to_string(),
        name: pool.name.to_string(),
        id: pool.id.clone(),
        generation: pool.generation.unsigned_abs(),
        ready: spec.ready,
        max: spec.max,
        max_in_flight: spec.max_in_flight,
        counts: api::Counts {
            building: count(MemberState::Building),
            free: count(MemberState::Free),
            claimed: count(MemberState::Claimed),
            recycling: count(MemberState::Recycling),
            retiring: count(MemberState::Retiring),
            failed: count(MemberState::Failed),
        },
        waiting: shown.waiting,
        claims: None,
        condition: condition(shown, now),
        maker: None,
        asked: None,
    }
}

fn condition(shown: &PoolShown, now: Moment) -> api::Condition {
    let (pool, failures) = (&shown.pool, shown.pool.failures);
    let cause = pool.cause.clone();
    let free = shown.counts.get(&MemberState::Free).copied().unwrap_or_default();
    let claimed = shown
        .counts
        .get(&MemberState::Claimed)
        .copied()
        .unwrap_or_default();
    let wanted = match pool.spec.strategy {
        Strategy::Warm => u64::from(pool.spec.ready).min(u64::from(pool.spec.max).saturating_sub(claimed)),
        Strategy::OnDemand => 0,
    };
    match backoff(failures, now) {
        _ if pool.draining => api::Condition::Draining,
        Next::GivenUp => api::Condition::GivenUp { failures, cause },
        Next::At(_) if failures > 0 => api::Condition::Failing {
            failures,
            cause,
            retry_at: pool.retry_at.map(time),
        },
        Next::At(_) if free < wanted => api::Condition::Filling,
        Next::At(_) => api::Condition::Ready,
    }
}

fn member(member: Member) -> api::Member {
    api::Member {
        id: member.id.to_string(),
        name: member.name,
        number: member.number.unsigned_abs(),
        host: member.host,
        state: match member.state {
            MemberState::Building => api::MemberState::Building,
            MemberState::Free => api::MemberState::Free,
            MemberState::Claimed => api::MemberState::Claimed,
            MemberState::Recycling => api::MemberState::Recycling,
            MemberState::Retiring => api::MemberState::Retiring,
            MemberState::Failed => api::MemberState::Failed,
        },
        generation: member.generation.unsigned_abs(),
        claim: member.claim.map(|claim| claim.to_string()),
        since: time(member.since),
        trouble: member.trouble,
    }
}
