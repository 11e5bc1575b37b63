//! Machines: seen, made, changed, removed.

mod change;
mod console;

pub(crate) use change::{confirm, delete, destroy, place, put};
pub(crate) use console::console;

use super::{
    Answer,
    asked::{About, Sought, engines, known, object, of_driver, on, tag},
    json,
    pools::Within,
    taken::{Query, Two, namespace},
    versions,
};
use crate::{
    failure::Failure,
    serve::{app::App, met, seen::since, who::Caller},
};
use axum::{Extension, extract::State};
use labyard_api::{
    problem::Problem,
    vm::{Unread, Vm, Vms},
};
use labyard_driver::{
    ids::HostName,
    mark::Stage,
    observed::{Detail, ObservedMachine, Snapshot},
};
use labyard_labs::show::Scope;
use labyard_reconciler::{
    engine::{Embedded, Engine as _, ObjectRef, Reading},
    view::{MachineView, Owner, presentable, shown_name},
};
use serde_json::Value;
use std::{sync::Arc, time::Duration};

/// How long a list waits for a host.
pub(super) const ANSWERS_WITHIN: Duration = Duration::from_secs(15);

/// The snapshots of all hosts, and those that did not answer.
pub(super) async fn everywhere(app: &App) -> (Vec<(HostName, Arc<Snapshot>)>, Vec<Unread>) {
    let Some(engine) = app.runs.engine() else {
        return (Vec::new(), Vec::new());
    };
    let looks = engine.hosts().into_iter().map(async |host| {
        let look = async {
            engine.look_anew(&host, since()).await;
            engine.snapshot(&host).await
        };
        let looked = tokio::time::timeout(ANSWERS_WITHIN, look).await;
        match looked {
            Ok(Ok(snapshot)) => Ok((host, snapshot)),
            Ok(Err(error)) => Err(unread(&host, error.to_string())),
            Err(_) => Err(unread(
                &host,
                format!("no answer within {} s", ANSWERS_WITHIN.as_secs()),
            )),
        }
    });
    let mut read = Vec::new();
    let mut unread = Vec::new();
    for looked in futures::future::join_all(looks).await {
        match looked {
            Ok(one) => read.push(one),
            Err(one) => unread.push(one),
        }
    }
    (read, unread)
}

pub(super) fn unread(host: &HostName, why: String) -> Unread {
    Unread {
        host: host.to_string(),
        why,
    }
}

pub(crate) async fn list(
    State(app): State<Arc<App>>,
    Extension(caller): Extension<Caller>,
    Query(within): Query<Within>,
) -> Answer {
    let scope = caller.scope().narrowed(namespace(within.namespace)?.as_ref());
    let (read, unread) = everywhere(&app).await;
    let mut items: Vec<Vm> = Vec::new();
    for (host, snapshot) in &read {
        let machines = snapshot.machines.iter();
        items.extend(
            machines
                .map(|machine| listed(host, machine))
                .filter(|vm| seen(&scope, vm.namespace.as_deref())),
        );
    }
    items.sort_by(|a, b| (&a.host, &a.namespace, &a.name).cmp(&(&b.host, &b.namespace, &b.name)));
    Ok(json(200, &Vms { items, unread }))
}

/// What is nobody's is shown to who sees everything.
pub(super) fn seen(scope: &Scope, namespace: Option<&str>) -> bool {
    match namespace {
        Some(namespace) => scope.holds(&namespace.into()),
        None => *scope == Scope::All,
    }
}

fn listed(host: &HostName, machine: &ObservedMachine) -> Vm {
    let mark = machine.mark.ours();
    let detail = match &machine.detail {
        Detail::Known(detail) => Some(detail),
        Detail::Unknown(_) => None,
    };
    let addresses = detail.map(|detail| {
        let of_nics = detail.nics.iter().flat_map(|nic| nic.addresses.iter().copied());
        presentable(&of_nics.collect::<Vec<_>>())
    });
    Vm {
        host: host.to_string(),
        namespace: mark.map(|mark| mark.namespace.to_string()),
        name: shown_name(machine).to_string(),
        id: machine.id.to_string(),
        owned: mark.is_some(),
        pool: mark
            .and_then(|mark| mark.member.as_ref())
            .map(|member| member.pool.clone()),
        power: word(&machine.power),
        stage: mark
            .map(|mark| mark.stage)
            .filter(|stage| *stage != Stage::Finished)
            .map(|stage| stage.word().to_owned()),
        cpus: detail
            .map(|detail| detail.cpus)
            .or(machine.size.map(|size| size.cpus)),
        memory_mib: detail
            .map(|detail| detail.memory.0)
            .or(machine.size.map(|size| size.memory.0)),
        addresses: addresses.unwrap_or_default(),
        reading: None,
    }
}

/// The word of a value in JSON.
pub(super) fn word(value: &impl serde::Serialize) -> Option<String> {
    let value = serde_json::to_value(value).ok()?;
    value.as_str().map(str::to_lowercase)
}

/// What the engine may take for the machine that the caller knows so is the caller's to see.
pub(super) async fn meant(
    engine: &Embedded,
    object: &ObjectRef,
    caller: &Caller,
) -> Result<Option<labyard_driver::mark::Mark>, Failure> {
    let namespace = labyard_labs::ids::Namespace(object.namespace.to_string());
    let sought = Sought {
        namespace: &namespace,
        name: object.name.as_str(),
        known: Some(object),
    };
    sought
        .judged_machine((engine, &object.host), &caller.scope())
        .await
}

/// Whether it is nobody's, and the caller does not see everything.
pub(super) fn hidden(owner: &Owner, caller: &Caller) -> bool {
    *owner == Owner::Foreign && caller.scope() != Scope::All
}

/// A machine by its name, where no state says who it is.
pub(super) async fn by_name(
    engine: &Embedded,
    object: &ObjectRef,
) -> Result<Option<(MachineView, Option<labyard_driver::mark::Mark>)>, Failure> {
    let found = engine
        .find_machine(&object.host, &object.namespace, object.name.as_str())
        .await;
    match found {
        Ok(found) => Ok(Some(found)),
        Err(error) if matches!(error.root(), labyard_reconciler::EngineError::NotFound { .. }) => Ok(None),
        Err(error) => Err(met::problem(&error)),
    }
}

pub(super) fn gone(noun: &str) -> Failure {
    Problem::new(404, "gone", "It is not there")
        .detail(format!("No {noun} of that name is on the host."))
        .into()
}

/// What others made is nothing that is changed here.
pub(super) fn not_ours() -> Failure {
    Problem::new(409, "not-ours", "The object is not labyard's")
        .detail("Others made it, and labyard leaves it alone.")
        .into()
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
    if by_state {
        meant(engine, &object, &caller).await?;
    }
    let reading = match by_state {
        true => engine
            .read_machine(&object)
            .await
            .map_err(|error| met::problem(&error))?,
        false => match by_name(engine, &object).await? {
            Some((view, _)) => Reading::Present(Box::new(view)),
            None => Reading::Gone,
        },
    };
    let written = serde_json::to_value(&reading).unwrap_or_default();
    match reading {
        Reading::Gone => Err(gone("machine")),
        Reading::DisksOnly => Ok(json(200, &absent(&object, written))),
        Reading::Present(view) => {
            if hidden(&view.owner, &caller) {
                return Err(gone("machine"));
            }
            let mut answer = json(200, &shown(&object, &view, written));
            let tag = tag(&serde_json::to_value(&view).unwrap_or_default());
            answer.headers_mut().extend(versions::header(&tag));
            Ok(answer)
        }
    }
}

fn shown(object: &ObjectRef, view: &MachineView, reading: Value) -> Vm {
    let stage = match &view.owner {
        Owner::Ours { stage, .. } if *stage != Stage::Finished => Some(stage.word().to_owned()),
        _ => None,
    };
    let owned = view.owner != Owner::Foreign;
    let addresses: Vec<_> = view
        .nics
        .values()
        .flat_map(|nic| nic.addresses.iter().copied())
        .collect();
    Vm {
        host: object.host.to_string(),
        namespace: owned.then(|| object.namespace.to_string()),
        name: view.name.to_string(),
        id: view.id.to_string(),
        owned,
        pool: None,
        power: word(&view.power),
        stage,
        cpus: Some(view.cpus),
        memory_mib: Some(view.memory.0),
        addresses: presentable(&addresses),
        reading: Some(reading),
    }
}

/// Its definition is gone, its disks are there.
fn absent(object: &ObjectRef, reading: Value) -> Vm {
    Vm {
        host: object.host.to_string(),
        namespace: Some(object.namespace.to_string()),
        name: object.name.to_string(),
        id: object.id.as_ref().map(ToString::to_string).unwrap_or_default(),
        owned: true,
        pool: None,
        power: Some("absent".to_owned()),
        stage: None,
        cpus: None,
        memory_mib: None,
        addresses: Vec::new(),
        reading: Some(reading),
    }
}

pub(crate) async fn room(
    State(app): State<Arc<App>>,
    Extension(caller): Extension<Caller>,
    Two(host, name): Two,
    Query(about): Query<About>,
) -> Answer {
    let namespace = caller.namespace(about.namespace.as_deref())?;
    let (engine, host) = on(&app, &host).await?;
    let object = object((&host, &name), &namespace, known(about.object.as_deref())?);
    let object = match object.identity.is_some() || object.id.is_some() {
        true => {
            meant(engine, &object, &caller).await?;
            object
        }
        false => match by_name(engine, &object).await? {
            Some((view, _)) if !hidden(&view.owner, &caller) => identified(object, &view),
            _ => return Err(gone("machine")),
        },
    };
    let room = engine.room(&object).await.map_err(|error| met::problem(&error))?;
    Ok(json(200, &room))
}

/// The object with who it is, as it was read.
pub(super) fn identified(object: ObjectRef, view: &MachineView) -> ObjectRef {
    ObjectRef {
        identity: view.identity().cloned(),
        id: Some(view.id.clone()),
        ..object
    }
}

/// The namespace of what an engine sends has to be the one of the request.
pub(super) fn same_namespace(
    sent: &labyard_driver::ids::Namespace,
    namespace: &labyard_labs::ids::Namespace,
) -> Result<(), Failure> {
    match *sent == of_driver(namespace) {
        true => Ok(()),
        false => {
            let detail = format!("it is {sent}, and the request is about the namespace {namespace}");
            Err(super::taken::invalid().wrong("/desired/namespace", detail).into())
        }
    }
}

/// What an engine sends of the object.
pub(super) fn sent_object(value: Option<Value>) -> Result<Option<labyard_reconciler::wire::Known>, Failure> {
    value.map(|value| engines(value, "/object")).transpose()
}
