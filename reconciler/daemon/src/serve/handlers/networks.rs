//! Networks: seen, made, changed, removed.

use super::{
    Answer,
    asked::{About, Change, Sought, allowed, as_text, engines, known, object, of_driver, on, tag},
    codes::asked_for,
    json,
    pools::Within,
    taken::{Json, Query, Two, invalid, namespace, time_limit},
    versions,
    vms::{everywhere, gone, hidden, not_ours, same_namespace, seen, sent_object, word},
};
use crate::{
    failure::Failure,
    keep::operations::Kind,
    serve::{
        app::App,
        met,
        runs::{Keeper, Work},
        who::Caller,
    },
};
use axum::{Extension, extract::State};
use http::HeaderMap;
use labyard_api::{
    network::{Network, Networks},
    problem::Problem,
    vm::PutVm,
};
use labyard_driver::{
    mark::{Mark, Ownership},
    observed::Activity,
};
use labyard_reconciler::{
    EngineError,
    desired::DesiredNetwork,
    diff::{Disturbance, network::diff},
    engine::{Embedded, Engine as _, ObjectRef, Reading},
    view::{NetworkView, Owner},
};
use labyard_schema::{Described as _, network, text::Span};
use serde_json::Value;
use std::{sync::Arc, time::Duration};

const CHANGE: Duration = Duration::from_secs(5 * 60);

pub(crate) async fn list(
    State(app): State<Arc<App>>,
    Extension(caller): Extension<Caller>,
    Query(within): Query<Within>,
) -> Answer {
    let scope = caller.scope().narrowed(namespace(within.namespace)?.as_ref());
    let (read, unread) = everywhere(&app).await;
    let mut items: Vec<Network> = Vec::new();
    for (host, snapshot) in &read {
        for network in &snapshot.networks {
            let namespace = network.mark.ours().map(|mark| mark.namespace.to_string());
            let view = NetworkView::new(network, Some(&snapshot.host.uuid));
            if seen(&scope, namespace.as_deref()) {
                items.push(shown(host.as_str(), namespace, &view, None));
            }
        }
    }
    items.sort_by(|a, b| (&a.host, &a.namespace, &a.name).cmp(&(&b.host, &b.namespace, &b.name)));
    Ok(json(200, &Networks { items, unread }))
}

fn shown(host: &str, namespace: Option<String>, view: &NetworkView, reading: Option<Value>) -> Network {
    Network {
        host: host.to_owned(),
        namespace,
        name: view.name.to_string(),
        id: view.id.to_string(),
        owned: view.owner != Owner::Foreign,
        active: view.active == Activity::Active,
        mode: view.mode.as_ref().and_then(word),
        bridge: view.bridge.clone(),
        address: view.address.as_ref().map(ToString::to_string),
        reading,
    }
}

/// What the engine may take for the network that the caller knows so is the caller's to see.
async fn meant(engine: &Embedded, object: &ObjectRef, caller: &Caller) -> Result<Option<Mark>, Failure> {
    let namespace = labyard_labs::ids::Namespace(object.namespace.to_string());
    let sought = Sought {
        namespace: &namespace,
        name: object.name.as_str(),
        known: Some(object),
    };
    sought
        .judged_network((engine, &object.host), &caller.scope())
        .await
}

/// A network by its name, where no state says who it is.
async fn by_name(engine: &Embedded, object: &ObjectRef) -> Result<Option<NetworkView>, Failure> {
    let found = engine
        .find_network(&object.host, &object.namespace, object.name.as_str())
        .await;
    match found {
        Ok(view) => Ok(Some(view)),
        Err(error) if matches!(error.root(), EngineError::NotFound { .. }) => Ok(None),
        Err(error) => Err(met::problem(&error)),
    }
}

pub(crate) async fn show(
    State(app): State<Arc<App>>,
    Extension(caller): Extension<Caller>,
    Two(host, name): Two,
    Query(about): Query<About>,
) -> Answer {
    let namespace = caller.namespace(about.namespace.as_deref())?;
    let (engine, host) = on(&app, &host).await?;
    let known = known(about.object.as_deref())?;
    let by_state = known.is_some();
    let object = object((&host, &name), &namespace, known);
    let reading = match by_state {
        true => {
            meant(engine, &object, &caller).await?;
            engine
                .read_network(&object)
                .await
                .map_err(|error| met::problem(&error))?
        }
        false => match by_name(engine, &object).await? {
            Some(view) => Reading::Present(Box::new(view)),
            None => Reading::Gone,
        },
    };
    let written = serde_json::to_value(&reading).unwrap_or_default();
    let Reading::Present(view) = reading else {
        return Err(gone("network"));
    };
    let owned = view.owner != Owner::Foreign;
    if hidden(&view.owner, &caller) {
        return Err(gone("network"));
    }
    let namespace = owned.then(|| namespace.to_string());
    let mut answer = json(200, &shown(host.as_str(), namespace, &view, Some(written)));
    let tag = tag(&serde_json::to_value(&view).unwrap_or_default());
    answer.headers_mut().extend(versions::header(&tag));
    Ok(answer)
}

/// A network in the words of a person.
fn written(attributes: Value, (host, name): (&str, &str)) -> Result<network::Network, Failure> {
    let mut attributes = attributes;
    if let Some(fields) = attributes.as_object_mut() {
        let given = fields.entry("host").or_insert_with(|| host.into());
        if !given.is_null() && *given != host {
            let detail = format!("the path says {host:?}; leave the host out, or give the same");
            return Err(invalid().wrong("/attributes/host", detail).into());
        }
    }
    let read: Result<network::Network, Failure> =
        asked_for(attributes, name, &network::Network::attributes());
    let config = read.map_err(|mut failure| {
        for wrong in &mut failure.0.errors {
            wrong.at = format!("/attributes{}", wrong.at);
        }
        failure
    })?;
    let mut problem = invalid();
    for found in config.problems() {
        let at: Vec<String> = found.at.iter().map(crate::config::step).collect();
        problem = problem.wrong(format!("/attributes/{}", at.join("/")), found.detail);
    }
    match problem.errors.is_empty() {
        true => Ok(config),
        false => Err(problem.into()),
    }
}

pub(crate) async fn put(
    State(app): State<Arc<App>>,
    Extension(caller): Extension<Caller>,
    Two(host, name): Two,
    Query(within): Query<Within>,
    headers: HeaderMap,
    Json(asked): Json<PutVm>,
) -> Answer {
    let namespace = caller.namespace(within.namespace.as_deref())?;
    let (engine, host) = on(&app, &host).await?;
    let mut change = Change {
        caller: &caller,
        namespace: &namespace,
        kind: Kind::PutNetwork,
        subject: format!("network/{host}/{name}"),
        stage: "begun",
        limit: CHANGE,
        asked: as_text(&asked),
    };
    let work = match (asked.attributes, asked.desired) {
        (Some(attributes), None) => {
            let config = written(attributes, (host.as_str(), &name))?;
            let desired = DesiredNetwork::from_config(&of_driver(&namespace), &config)
                .map_err(|unusable| met::problem(&unusable.into()))?;
            if let Some(before) = change.repeated(&app, &headers).await? {
                return Ok(before);
            }
            let timeouts = config.timeouts.as_ref();
            change.limit = Span::or(timeouts.and_then(|timeouts| timeouts.create.as_ref()), CHANGE);
            let target = object((&host, &name), &namespace, None);
            wanted(engine, target, desired, (&caller, &headers)).await?
        }
        (None, Some(desired)) => {
            let desired: DesiredNetwork = engines(desired, "/desired")?;
            same_namespace(&desired.namespace, &namespace)?;
            if let Some(before) = change.repeated(&app, &headers).await? {
                return Ok(before);
            }
            change.limit = time_limit(asked.limit_s)?.unwrap_or(CHANGE);
            let known = sent_object(asked.object)?;
            let update = known.is_some();
            let target = object((&host, &name), &namespace, known);
            meant(engine, &target, &caller).await?;
            match update {
                true => Work::UpdateNetwork(target, Box::new(desired), Keeper::Caller),
                false => Work::CreateNetwork(host, Box::new(desired), Keeper::Caller),
            }
        }
        _ => {
            let detail = "give attributes, or what an engine sends (desired), and not both";
            return Err(invalid().wrong("", detail).into());
        }
    };
    change.begun(&app, &headers, work).await
}

/// What is to be done for what a person writes, as the host is now.
async fn wanted(
    engine: &Embedded,
    target: ObjectRef,
    desired: DesiredNetwork,
    (caller, headers): (&Caller, &HeaderMap),
) -> Result<Work, Failure> {
    let found = by_name(engine, &target).await?;
    let Some(view) = found.filter(|view| !hidden(&view.owner, caller)) else {
        allowed(headers, None)?;
        return Ok(Work::CreateNetwork(
            target.host,
            Box::new(desired),
            Keeper::Server,
        ));
    };
    allowed(
        headers,
        Some(&tag(&serde_json::to_value(&view).unwrap_or_default())),
    )?;
    match &view.owner {
        Owner::Foreign => {
            let problem = Problem::new(409, "not-ours", "The object is not labyard's");
            let detail = "A network of that name is on the host, and others made it: choose another name.";
            return Err(problem.detail(detail).into());
        }
        Owner::Ours { ownership, .. } if *ownership == Ownership::Building => {
            return Ok(Work::CreateNetwork(
                target.host,
                Box::new(desired),
                Keeper::Server,
            ));
        }
        Owner::Ours { .. } => {}
    }
    let mut problem = Problem::new(409, "disturbs", "The change disturbs more than it may");
    for change in diff(&desired, &view)
        .iter()
        .filter(|change| change.disturbance >= Disturbance::Replace)
    {
        let detail = format!("{change}: {}. Remove the network, and make it anew", change.why);
        problem = problem.wrong(format!("/attributes/{}", change.what), detail);
    }
    if !problem.errors.is_empty() {
        return Err(problem.into());
    }
    let target = ObjectRef {
        identity: view.identity().cloned(),
        id: Some(view.id),
        ..target
    };
    Ok(Work::UpdateNetwork(target, Box::new(desired), Keeper::Server))
}

pub(crate) async fn delete(
    State(app): State<Arc<App>>,
    Extension(caller): Extension<Caller>,
    Two(host, name): Two,
    Query(about): Query<About>,
    headers: HeaderMap,
) -> Answer {
    let namespace = caller.namespace(about.namespace.as_deref())?;
    let (engine, host) = on(&app, &host).await?;
    let change = Change {
        caller: &caller,
        namespace: &namespace,
        kind: Kind::DeleteNetwork,
        subject: format!("network/{host}/{name}"),
        stage: "begun",
        limit: CHANGE,
        asked: about.object.clone().unwrap_or_default(),
    };
    if let Some(before) = change.repeated(&app, &headers).await? {
        return Ok(before);
    }
    let known = known(about.object.as_deref())?;
    let by_state = known.is_some();
    let target = object((&host, &name), &namespace, known);
    let target = match by_state {
        true => {
            meant(engine, &target, &caller).await?;
            target
        }
        false => {
            let Some(view) = by_name(engine, &target).await? else {
                return Err(gone("network"));
            };
            if hidden(&view.owner, &caller) {
                return Err(gone("network"));
            }
            if view.owner == Owner::Foreign {
                return Err(not_ours());
            }
            allowed(
                &headers,
                Some(&tag(&serde_json::to_value(&view).unwrap_or_default())),
            )?;
            ObjectRef {
                identity: view.identity().cloned(),
                id: Some(view.id),
                ..target
            }
        }
    };
    change.begun(&app, &headers, Work::DestroyNetwork(target)).await
}
