//! Tokens. Nobody makes one that sees more namespaces than the own.

use super::{
    Answer, json,
    taken::{Json, Name, invalid},
};
use crate::{
    failure::Failure,
    keep::tokens,
    serve::{app::App, who::Caller},
};
use axum::{Extension, extract::State};
use labyard_api::{
    List,
    problem::Problem,
    token::{NewToken, Token},
};
use labyard_labs::{ids::Namespace, show::Scope};
use std::sync::Arc;

const LONGEST_S: u64 = 3_153_600_000;

pub(crate) async fn list(State(app): State<Arc<App>>, Extension(caller): Extension<Caller>) -> Answer {
    let found: Result<_, Failure> = app.store.read(|read| Ok(tokens::list(read)?)).await;
    let items = found?.into_iter().filter(|token| sees(&caller, token)).collect();
    Ok(json(200, &List { items, next: None }))
}

pub(crate) async fn make(
    State(app): State<Arc<App>>,
    Extension(caller): Extension<Caller>,
    Json(mut asked): Json<NewToken>,
) -> Answer {
    if asked
        .valid_s
        .is_some_and(|seconds| !(1..=LONGEST_S).contains(&seconds))
    {
        return Err(invalid()
            .wrong("/valid_s", format!("it is not from 1 to {LONGEST_S}"))
            .into());
    }
    let own = caller.scope();
    match (&asked.namespaces, &own) {
        (None, Scope::These(these)) => {
            asked.namespaces = Some(these.iter().map(ToString::to_string).collect());
        }
        (Some(names), _) => {
            if let Some(other) = names.iter().find(|name| !own.holds(&Namespace((*name).clone()))) {
                caller.namespace(Some(other))?;
            }
            let bad = names
                .iter()
                .zip(0..)
                .find_map(|(name, at)| Some((at, labyard_schema::check::namespace(name).err()?)));
            if let Some((at, detail)) = bad {
                return Err(invalid().wrong(format!("/namespaces/{at}"), detail).into());
            }
        }
        (None, Scope::All) => {}
    }
    let (actor, now) = (caller.actor(), app.now());
    let made: Result<_, Failure> = app
        .store
        .write(move |write| tokens::make(write, &asked, now, &actor))
        .await;
    Ok(json(201, &made?))
}

pub(crate) async fn revoke(
    State(app): State<Arc<App>>,
    Extension(caller): Extension<Caller>,
    Name(name): Name,
) -> Answer {
    let (actor, now) = (caller.actor(), app.now());
    let revoked: Result<_, Failure> = app
        .store
        .write(move |write| {
            if !sees(&caller, &tokens::find(write, &name)?) {
                return Err(Problem::new(404, "no-token", "There is no such token").into());
            }
            tokens::revoke(write, &name, now, &actor)
        })
        .await;
    Ok(json(200, &revoked?))
}

/// A token is seen by who sees all of its namespaces.
fn sees(caller: &Caller, token: &Token) -> bool {
    let own = caller.scope();
    match &token.namespaces {
        None => own == Scope::All,
        Some(names) => names.iter().all(|name| own.holds(&Namespace(name.clone()))),
    }
}
