//! Follows operations to their end: what they asked for stands in the store already; they are over when it is so. Any
//! replica may write that down; who comes second finds it written.

use super::{
    app::App,
    runs::{of_lost, placed_name, where_is},
};
use crate::{
    failure::Failure,
    keep::{
        operations::{self, Kind, Sought, Step},
        runs,
    },
};
use labyard_api::operation::{Operation, State as Far};
use labyard_labs::{
    Refusal,
    ids::{Namespace, PoolName},
    member::{Member, State},
    plan::{self, Asked, Next, backoff},
    pool::{Pool, work},
    show::{self, Scope},
};
use labyard_reconciler::engine::Engine as _;
use labyard_store::event::Moment;
use std::{sync::Arc, time::Duration};

/// Who writes it down, in the log.
const ACTOR: &str = "labyard";
/// How often what other replicas did is looked at.
const LOOK: Duration = Duration::from_secs(1);

/// Follows operations until the server ends.
pub(crate) async fn follow(app: Arc<App>) {
    let mut wakes = app.store.newest();
    loop {
        wakes.mark_unchanged();
        if let Err(failure) = look(&app).await {
            tracing::warn!(problem = %failure.0, "operations could not be followed");
        }
        tokio::select! {
            () = app.ending.cancelled() => return,
            Ok(()) = wakes.changed() => {}
            () = tokio::time::sleep(LOOK) => {}
        }
    }
}

/// Looks at all operations that run.
async fn look(app: &App) -> Result<(), Failure> {
    let now = app.now();
    give_up(app, now).await?;
    let due: Vec<(String, Step)> = app
        .store
        .read(move |read| {
            let running = Sought {
                scope: Scope::All,
                state: Some(Far::Running),
                before: None,
                limit: u32::MAX,
            };
            let mut due = Vec::new();
            for (_, operation) in operations::list(read, &running)? {
                let Some(name) = operation.subject.strip_prefix("pool/") else {
                    continue;
                };
                let (namespace, name) = (Namespace(operation.namespace.clone()), PoolName::from(name));
                let meant = operations::object(read, &operation.id)?;
                let found = match show::pool(read, &namespace, &name) {
                    Ok(shown) if !is_meant(meant.as_deref(), &shown.pool) => None,
                    Ok(shown) => Some(Found {
                        asked: work::asked(read, &shown.pool, now)?,
                        members: show::members(read, &namespace, &name)?,
                        pool: shown.pool,
                    }),
                    Err(Refusal::NoPool { .. }) => None,
                    Err(other) => return Err(Failure::from(other)),
                };
                let step = judge(&operation, found.as_ref(), now);
                if step != Step::At(operation.stage.clone()) {
                    due.push((operation.id, step));
                }
            }
            Ok(due)
        })
        .await?;
    if due.is_empty() {
        return Ok(());
    }
    app.store
        .write(move |write| {
            for (id, step) in &due {
                operations::step(write, id, step, now, ACTOR)?;
            }
            Ok(())
        })
        .await
}

/// Ends operations whose process is gone: nobody else knows what they were asked for.
async fn give_up(app: &App, now: Moment) -> Result<(), Failure> {
    let lost: Result<Vec<Operation>, Failure> = app
        .store
        .read(move |read| {
            let ids = runs::lost(read, now)?;
            ids.iter().map(|id| operations::find(read, id)).collect()
        })
        .await;
    let lost = lost?;
    if lost.is_empty() {
        return Ok(());
    }
    let mut placed = Vec::new();
    for operation in &lost {
        if let (Some(name), Some(engine)) = (placed_name(&operation.subject), app.runs.engine()) {
            let namespace = Namespace(operation.namespace.clone());
            let there = where_is(engine, engine.hosts(), (&namespace, &name)).await;
            placed.push((operation.id.clone(), namespace, name, there));
        }
    }
    app.store
        .write(move |write| {
            for operation in &lost {
                let id = &operation.id;
                let ended = operations::step(write, id, &runs::gone(), now, ACTOR)?;
                let settles = placed.iter().filter(|(of, ..)| ended && of == id);
                for (_, namespace, name, there) in settles {
                    of_lost(write, namespace, (name, there))?;
                }
            }
            Ok(())
        })
        .await
}

/// A pool as it is.
struct Found {
    pool: Pool,
    asked: Asked,
    members: Vec<Member>,
}

/// Whether a pool is the one that an operation is about, and not another that has its name by now.
fn is_meant(object: Option<&str>, pool: &Pool) -> bool {
    object.is_none_or(|object| object == pool.id)
}

/// How far an operation on a pool is.
fn judge(operation: &Operation, found: Option<&Found>, now: Moment) -> Step {
    let makes = operation.kind == Kind::PutPool.word();
    match found {
        None if makes => Step::Cancelled("the pool was removed".to_owned()),
        None => Step::Done,
        Some(found) if makes && found.pool.draining => {
            Step::Cancelled("the pool is being removed".to_owned())
        }
        Some(found) if makes => filled(found, now),
        Some(found) => emptied(&found.members),
    }
}

fn filled(found: &Found, now: Moment) -> Step {
    let Found { pool, asked, members } = found;
    if plan::rests(asked, members) {
        return Step::Done;
    }
    let (free, wanted) = (plan::free_new(asked, members), plan::reachable(asked, members));
    let cause = || pool.cause.clone().unwrap_or_default();
    match backoff(pool.failures, now) {
        Next::GivenUp => Step::Failed(format!(
            "{} builds in a row failed; the last: {}",
            pool.failures,
            cause()
        )),
        Next::At(_) if pool.failures > 0 => Step::At(format!(
            "{free} of {wanted} free; build {} failed: {}",
            pool.failures,
            cause()
        )),
        Next::At(_) => Step::At(format!("{free} of {wanted} free")),
    }
}

fn emptied(members: &[Member]) -> Step {
    let claimed = members
        .iter()
        .filter(|member| member.state == State::Claimed)
        .count();
    Step::At(format!(
        "{} machines left, {claimed} of them claimed",
        members.len()
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use labyard_labs::{claim::lease::Limits, member::Touch, pool::Spec};

    fn pool(ready: u32, failures: u32) -> Pool {
        let lease = Limits {
            length_ms: 1,
            max_ms: 1,
            idle_ms: None,
            pause_ms: 0,
        };
        let spec = serde_json::json!({
            "ready": ready, "max": 3, "max_in_flight": 1, "lease": lease, "template": {},
        });
        Pool {
            namespace: "default".into(),
            name: "k8s".into(),
            id: "p".into(),
            spec: serde_json::from_value::<Spec>(spec).unwrap(),
            generation: 2,
            draining: false,
            failures,
            retry_at: None,
            cause: Some("no such image".into()),
        }
    }

    fn found(pool: Pool, members: &[Member]) -> Found {
        Found {
            asked: Asked {
                ready: pool.spec.ready as usize,
                max: pool.spec.max as usize,
                max_in_flight: pool.spec.max_in_flight as usize,
                generation: pool.generation,
                may_build: pool.failures == 0,
                ..Asked::default()
            },
            pool,
            members: members.to_vec(),
        }
    }

    fn member(state: State, generation: i64) -> Member {
        Member {
            id: "m".into(),
            namespace: "default".into(),
            pool: "k8s".into(),
            number: 1,
            name: "k8s-1".into(),
            host: None,
            state,
            generation,
            claim: None,
            since: Moment(0),
            touch: Touch::Untouched,
            identity: None,
            addresses: Vec::new(),
            trouble: None,
        }
    }

    #[test]
    fn a_pool_is_made_when_its_new_machines_are_free_and_its_old_ones_gone() {
        let at = |members: &[Member]| filled(&found(pool(2, 0), members), Moment(0));
        let (new, old) = (member(State::Free, 2), member(State::Free, 1));
        assert_eq!(at(std::slice::from_ref(&new)), Step::At("1 of 2 free".into()));
        assert_eq!(at(&[new.clone(), new.clone()]), Step::Done);
        assert_eq!(
            at(&[new.clone(), new.clone(), old]),
            Step::At("2 of 2 free".into())
        );
        let claimed = member(State::Claimed, 1);
        assert_eq!(at(&[claimed.clone(), claimed, new]), Step::Done, "no more fit");
    }

    #[test]
    fn another_pool_of_the_same_name_is_not_the_one_that_an_operation_is_about() {
        assert!(is_meant(Some("p"), &pool(1, 0)) && is_meant(None, &pool(1, 0)));
        assert!(!is_meant(Some("one that was removed"), &pool(1, 0)));
    }

    #[test]
    fn a_template_that_always_fails_ends_its_operation_with_the_cause() {
        let failing = filled(&found(pool(1, 1), &[]), Moment(0));
        assert_eq!(
            failing,
            Step::At("0 of 1 free; build 1 failed: no such image".into())
        );
        let given_up = filled(&found(pool(1, 99), &[]), Moment(0));
        assert!(matches!(given_up, Step::Failed(why) if why.contains("no such image")));
    }
}
