//! Access codes. What is typed to redeem one is shown to who may print it, and to nobody else.

use super::{
    Answer, json,
    makers::Putting,
    pools::Within,
    taken::{Json, Name, Query, invalid, namespace},
    versions::{self, Rests},
};
use crate::{
    failure::Failure,
    keep::operations::{self, Begun, Kind, Step},
    serve::{app::App, who::Caller},
};
use axum::{Extension, extract::State};
use http::HeaderMap;
use labyard_api::{List, attributes, code as api, operation::Operation};
use labyard_labs::{
    Refusal,
    code::{
        config::{self, Origin, as_config},
        keep::{self, Kept, Running},
    },
    ids::{CodeName, Namespace},
    show,
};
use labyard_schema::{Described as _, access_code::AccessCode};
use labyard_store::{
    Write,
    event::{Event, Moment},
};
use serde::Deserialize;
use serde_json::Value;
use std::sync::Arc;

pub(crate) async fn list(
    State(app): State<Arc<App>>,
    Extension(caller): Extension<Caller>,
    Query(within): Query<Within>,
) -> Answer {
    let scope = caller.scope().narrowed(namespace(within.namespace)?.as_ref());
    let found: Result<_, Failure> = app.store.read(move |read| Ok(show::codes(read, &scope)?)).await;
    let items = found?
        .iter()
        .map(|(namespace, kept)| shown(namespace, kept))
        .collect();
    Ok(json(200, &List { items, next: None }))
}

pub(crate) async fn show(
    State(app): State<Arc<App>>,
    Extension(caller): Extension<Caller>,
    Name(name): Name,
    Query(within): Query<Within>,
) -> Answer {
    let namespace = caller.namespace(within.namespace.as_deref())?;
    let found: Result<_, Failure> = app
        .store
        .read(move |read| {
            let kept = keep::find(read, &namespace, &CodeName(name))?;
            Ok((shown(&namespace, &kept), tag(&kept)))
        })
        .await;
    let (code, tag) = found?;
    let mut answer = json(200, &code);
    answer.headers_mut().extend(versions::header(&tag));
    Ok(answer)
}

pub(crate) async fn values(
    State(app): State<Arc<App>>,
    Extension(caller): Extension<Caller>,
    Name(name): Name,
    Query(within): Query<Within>,
) -> Answer {
    let namespace = caller.namespace(within.namespace.as_deref())?;
    let (actor, now) = (caller.actor(), app.now());
    // That somebody has seen them is a change worth a line in the log.
    let found: Result<_, Failure> = app
        .store
        .write(move |write| {
            let kept = keep::find(write, &namespace, &CodeName(name.clone()))?;
            let subject = format!("code/{name}");
            write.event(&Event::new(
                now,
                namespace.as_str(),
                &actor,
                "code.shown",
                &subject,
            ))?;
            Ok(kept.texts())
        })
        .await;
    let values = found?.into_iter().map(|(label, text)| (label, text.to_string()));
    Ok(json(
        200,
        &api::Values {
            values: values.collect(),
        },
    ))
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
    let asked: AccessCode = asked_for(asked, &name, &AccessCode::attributes())?;
    let (rests, actor, now) = (Rests::read(&headers)?, caller.actor(), app.now());
    let done: Result<_, Failure> = app
        .store
        .write(move |write| {
            let before = match keep::find(write, &namespace, &CodeName(asked.name.clone())) {
                Ok(kept) => Some(tag(&kept)),
                Err(Refusal::NoCode { .. }) => None,
                Err(other) => return Err(other.into()),
            };
            rests.allow(before.as_deref())?;
            let kept = config::put(write, &namespace, &asked, &meant, now, &actor)?;
            let operation = at_once(write, &namespace, Kind::PutCode, &kept.name, &actor, now)?;
            Ok((operation, tag(&kept)))
        })
        .await;
    let (operation, tag) = done?;
    let mut answer = json(202, &operation);
    answer.headers_mut().extend(versions::header(&tag));
    Ok(answer)
}

/// What a body asks for, its name that of the path.
pub(crate) fn asked_for<T: serde::de::DeserializeOwned>(
    mut asked: Value,
    name: &str,
    attributes: &[labyard_schema::Attribute],
) -> Result<T, Failure> {
    if let Some(fields) = asked.as_object_mut() {
        let given = fields.entry("name").or_insert_with(|| name.into());
        if given.is_null() {
            *given = name.into();
        }
        if *given != name {
            let detail = format!("the path says {name:?}; leave the name out, or give the same");
            return Err(invalid().wrong("/name", detail).into());
        }
    }
    let read = attributes::read(asked, attributes).map_err(|errors| {
        let mut problem = invalid();
        problem.errors = errors;
        problem
    })?;
    serde_json::from_value(read).map_err(|_| invalid().detail("A value is too large.").into())
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
    let done: Result<_, Failure> = app
        .store
        .write(move |write| {
            let kept = keep::find(write, &namespace, &CodeName(name.clone()))?;
            rests.allow(Some(&tag(&kept)))?;
            config::remove(write, &namespace, &kept.name, &kept.id, now, &actor)?;
            at_once(write, &namespace, Kind::DeleteCode, &kept.name, &actor, now)
        })
        .await;
    Ok(json(202, &done?))
}

/// What has been done in the transaction of its request is an operation all the same, and kept.
fn at_once(
    write: &mut Write<'_>,
    namespace: &Namespace,
    kind: Kind,
    name: &CodeName,
    actor: &str,
    now: Moment,
) -> Result<Operation, Failure> {
    let begun = Begun {
        namespace,
        kind,
        subject: format!("code/{name}"),
        actor,
        stage: "writing",
    };
    let operation = operations::begin(write, &begun, now)?;
    operations::step(write, &operation.id, &Step::Done, now, actor)?;
    operations::find(write, &operation.id)
}

/// What a revocation means for claims that run.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Revoked {
    namespace: Option<String>,
    running: Option<Claims>,
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Claims {
    GoOn,
    End,
}

pub(crate) async fn revoke(
    State(app): State<Arc<App>>,
    Extension(caller): Extension<Caller>,
    Name(name): Name,
    Query(revoked): Query<Revoked>,
) -> Answer {
    let namespace = caller.namespace(revoked.namespace.as_deref())?;
    let running = match revoked.running {
        None | Some(Claims::GoOn) => Running::GoOn,
        Some(Claims::End) => Running::End,
    };
    let (actor, now) = (caller.actor(), app.now());
    let done: Result<_, Failure> = app
        .store
        .write(move |write| {
            let name = CodeName(name.clone());
            keep::revoke(write, &namespace, &name, running, now, &actor)?;
            Ok(shown(&namespace, &keep::find(write, &namespace, &name)?))
        })
        .await;
    Ok(json(200, &done?))
}

/// Which version of a code this is. What is typed to redeem it is not in it; its version number is.
fn tag(kept: &Kept) -> String {
    let terms = serde_json::to_string(&kept.terms).unwrap_or_default();
    let written = serde_json::to_string(&kept.written).unwrap_or_default();
    let labels: Vec<&str> = kept
        .values
        .iter()
        .filter(|(_, value)| value.text.is_some())
        .map(|(label, _)| label.as_str())
        .collect();
    versions::tag(&[&kept.id, &terms, &written, &labels.join(",")])
}

fn shown(namespace: &Namespace, kept: &Kept) -> api::Code {
    let asked = AccessCode {
        code: None,
        codes: None,
        ..as_config(kept, None)
    };
    let mut asked = serde_json::to_value(asked).unwrap_or_default();
    if let Some(fields) = asked.as_object_mut() {
        fields.retain(|name, value| !value.is_null() && name != "id");
    }
    api::Code {
        namespace: namespace.to_string(),
        name: kept.name.to_string(),
        id: kept.id.clone(),
        asked,
        origin: match kept.written.origin {
            Origin::Generated => api::Origin::Generated,
            Origin::Given => api::Origin::Given,
            Origin::Secret { .. } => api::Origin::Secret,
            Origin::Batch { .. } => api::Origin::Batch,
        },
        labels: kept.values.iter().map(labelled).collect(),
        maker: kept.maker.as_ref().map(|maker| maker.as_str().to_owned()),
        claims: kept
            .claims
            .iter()
            .map(|(phase, count)| ((*phase).to_owned(), count.unsigned_abs()))
            .collect(),
        values: kept.texts().len() as u64,
        uses: kept.values.values().map(|value| value.uses.unsigned_abs()).sum(),
        running: kept.running().unsigned_abs(),
    }
}

fn labelled((label, value): (&String, &keep::KeptValue)) -> (String, api::Label) {
    let shown = api::Label {
        uses: value.uses.unsigned_abs(),
        max_uses: value.max_uses.map(i64::unsigned_abs),
        revoked: value.text.is_none(),
    };
    (label.clone(), shown)
}
