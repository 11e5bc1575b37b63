//! Who makes pools and codes, until who asked for them has written them down.

use super::{
    Answer, json,
    pools::Within,
    taken::{Json, Name, Query, invalid},
};
use crate::{
    failure::Failure,
    serve::{app::App, who::Caller},
};
use axum::{Extension, extract::State};
use labyard_api::{maker::Making, problem::Problem};
use labyard_labs::{
    code::config::Meant,
    ids::{CodeName, PoolName},
    maker::{self, Maker, Stands, Thing},
};
use serde::Deserialize;
use std::sync::Arc;

/// Where something is put, and by whom.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Putting {
    pub(crate) namespace: Option<String>,
    maker: Option<String>,
    left_by: Option<String>,
}

impl Putting {
    /// Which object is meant.
    pub(crate) fn meant(&self) -> Result<Meant, Failure> {
        let left_by = words("left_by", self.left_by.as_deref())?;
        match (words("maker", self.maker.as_deref())?, left_by) {
            (None, None) => Ok(Meant::Any),
            (Some(maker), None) => Ok(Meant::Made(maker)),
            (Some(maker), Some(by)) => Ok(Meant::Left { by, maker }),
            (None, Some(_)) => {
                let wrong = "who takes something over says who it is, by maker";
                Err(invalid().wrong("left_by", wrong).into())
            }
        }
    }
}

fn words(name: &str, text: Option<&str>) -> Result<Option<Maker>, Failure> {
    let read = text.map(Maker::parse).transpose();
    read.map_err(|why| invalid().wrong(name, why).into())
}

pub(crate) async fn of_pool(
    app: State<Arc<App>>,
    caller: Extension<Caller>,
    Name(name): Name,
    within: Query<Within>,
    making: Json<Making>,
) -> Answer {
    said(app, caller, Thing::Pool(PoolName(name)), within, making).await
}

pub(crate) async fn of_code(
    app: State<Arc<App>>,
    caller: Extension<Caller>,
    Name(name): Name,
    within: Query<Within>,
    making: Json<Making>,
) -> Answer {
    said(app, caller, Thing::Code(CodeName(name)), within, making).await
}

async fn said(
    State(app): State<Arc<App>>,
    Extension(caller): Extension<Caller>,
    thing: Thing,
    Query(within): Query<Within>,
    Json(making): Json<Making>,
) -> Answer {
    let namespace = caller.namespace(within.namespace.as_deref())?;
    let maker = words("/maker", making.maker.as_deref())?;
    let (actor, now) = (caller.actor(), app.now());
    let what = thing.to_string();
    let stands: Result<_, Failure> = app
        .store
        .write(move |write| {
            let (of, at) = ((&thing, making.id.as_str()), (now, actor.as_str()));
            Ok(match &maker {
                Some(maker) => maker::keep(write, &namespace, of, maker, at)?,
                None => maker::recorded(write, &namespace, of, at)?,
            })
        })
        .await;
    match stands? {
        Stands::Yes => Ok(json(200, &())),
        Stands::No => {
            let problem = Problem::new(409, "other-object", "The object is another one");
            let detail = format!("{what} of that identity is not there: it is gone, or was taken over.");
            Err(problem.detail(detail).into())
        }
    }
}
