//! Machines made, changed and removed: each an operation.

use super::{by_name, gone, hidden, identified, meant, not_ours, same_namespace, sent_object};
use crate::{
    failure::Failure,
    keep::operations::Kind,
    serve::{
        app::App,
        handlers::{
            Answer,
            asked::{About, Change, allowed, as_text, engines, known, object, of_driver, on, tag},
            codes::asked_for,
            json,
            pools::Within,
            taken::{Json, Query, Two, invalid, time_limit},
        },
        met,
        runs::{Keeper, Placed, Work},
        sources,
        who::Caller,
    },
};
use axum::{Extension, extract::State};
use http::HeaderMap;
use labyard_api::{
    problem::Problem,
    vm::{Destroy, PutVm},
};
use labyard_driver::{
    ids::HostName,
    mark::{Mark, Ownership},
};
use labyard_labs::ids::Namespace;
use labyard_reconciler::{
    desired::DesiredMachine,
    diff::{Change as Difference, DiskChange, Disturbance, What, machine::diff},
    engine::{Embedded, Engine as _, ObjectRef, Want},
    view::{MachineView, Owner},
    want::desired_on,
};
use labyard_schema::{
    Described as _,
    text::Span,
    vm::{Timeouts, Vm},
};
use serde::Deserialize;
use serde_json::Value;
use std::{sync::Arc, time::Duration};

const CHANGE: Duration = Duration::from_secs(30 * 60);
const REMOVE: Duration = Duration::from_secs(10 * 60);

/// The query of a change.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Changed {
    namespace: Option<String>,
    /// Whether one that is not labyard's becomes so.
    #[serde(default)]
    adopt: bool,
}

/// A machine in the words of a person, on that host or anywhere.
fn written(app: &App, attributes: Value, host: Option<&str>, name: Option<&str>) -> Result<Vm, Failure> {
    let mut attributes = attributes;
    if let (Some(fields), Some(host)) = (attributes.as_object_mut(), host) {
        let given = fields.entry("host").or_insert_with(|| host.into());
        if !given.is_null() && *given != host {
            let detail = format!("the path says {host:?}; leave the host out, or give the same");
            return Err(invalid().wrong("/attributes/host", detail).into());
        }
    }
    let named = name
        .or_else(|| attributes.get("name").and_then(Value::as_str))
        .unwrap_or_default()
        .to_owned();
    let vm: Vm =
        asked_for(attributes, &named, &Vm::attributes()).map_err(|failure| below(failure, "/attributes"))?;
    let problems = vm.problems();
    if !problems.is_empty() {
        let mut problem = invalid();
        for found in problems {
            let at: Vec<String> = found.at.iter().map(crate::config::step).collect();
            problem = problem.wrong(format!("/attributes/{}", at.join("/")), found.detail);
        }
        return Err(problem.into());
    }
    sources::of_vm(&app.sources, &vm, "/attributes")?;
    Ok(vm)
}

/// The same problem, of values below a place.
fn below(mut failure: Failure, at: &str) -> Failure {
    for wrong in &mut failure.0.errors {
        wrong.at = format!("{at}{}", wrong.at);
    }
    failure
}

fn limit(asked: Option<Duration>, written: Option<&Timeouts>, fallback: Duration) -> Duration {
    let written = written.and_then(|timeouts| timeouts.create.as_ref());
    asked.unwrap_or_else(|| Span::or(written, fallback))
}

/// A body is what a person writes, or what an engine sends.
enum Body {
    Written(Value),
    Sent(Box<PutVm>),
}

fn body(asked: PutVm) -> Result<Body, Failure> {
    let engines =
        asked.known.is_some() || asked.object.is_some() || asked.want.is_some() || asked.limit_s.is_some();
    match (asked.attributes.is_some(), asked.desired.is_some()) {
        (true, false) if !engines => Ok(Body::Written(asked.attributes.unwrap_or_default())),
        (false, true) => Ok(Body::Sent(Box::new(asked))),
        _ => {
            let detail = "give attributes, or what an engine sends (desired), and not both";
            Err(invalid().wrong("", detail).into())
        }
    }
}

pub(crate) async fn place(
    State(app): State<Arc<App>>,
    Extension(caller): Extension<Caller>,
    Query(within): Query<Within>,
    headers: HeaderMap,
    Json(asked): Json<PutVm>,
) -> Answer {
    let namespace = caller.namespace(within.namespace.as_deref())?;
    if app.runs.engine().is_none() {
        let problem = Problem::new(404, "no-host", "The host is not there");
        return Err(problem.detail("This server has no hosts.").into());
    }
    let text = as_text(&asked);
    let (want, placed, keeper, limit) = match body(asked)? {
        Body::Written(attributes) => {
            let vm = written(&app, attributes, None, None)?;
            let hosts = vm.host.clone().map(|host| [HostName(host)].into());
            let limit = limit(None, vm.timeouts.as_ref(), CHANGE);
            let want = Want::of(&of_driver(&namespace), &vm, hosts);
            (want, Placed::Written(Box::new(vm)), Keeper::Server, limit)
        }
        Body::Sent(sent) => {
            let want: Want = engines(sent.want.unwrap_or_default(), "/want")?;
            same_namespace(&want.namespace, &namespace)?;
            let by_host: std::collections::BTreeMap<_, DesiredMachine> =
                engines(sent.desired.unwrap_or_default(), "/desired")?;
            for desired in by_host.values() {
                decided(&app, (desired, None), &namespace)?;
                same_name(desired, want.name.as_str())?;
            }
            let timeouts = by_host
                .values()
                .next()
                .and_then(|desired| desired.wishes.timeouts.clone());
            let limit = limit(time_limit(sent.limit_s)?, timeouts.as_ref(), CHANGE);
            (want, Placed::Decided(by_host), Keeper::Caller, limit)
        }
    };
    for host in want.hosts.iter().flatten() {
        on(&app, host.as_str()).await?;
    }
    let change = Change {
        caller: &caller,
        namespace: &namespace,
        kind: Kind::PutVm,
        subject: format!("vm/-/{}", want.name),
        stage: "placement",
        limit,
        asked: text,
    };
    if let Some(before) = change.repeated(&app, &headers).await? {
        return Ok(before);
    }
    change
        .begun(&app, &headers, Work::Place(Box::new(want), placed, keeper))
        .await
}

/// What an engine has decided may name what a person may.
fn decided(
    app: &App,
    (desired, known): (&DesiredMachine, Option<&DesiredMachine>),
    namespace: &Namespace,
) -> Result<(), Failure> {
    same_namespace(&desired.namespace, namespace)?;
    if desired.member.is_some() {
        let detail = "machines of pools are made by pools";
        return Err(invalid().wrong("/desired/member", detail).into());
    }
    sources::of_desired(&app.sources, desired, known)
}

pub(crate) async fn put(
    State(app): State<Arc<App>>,
    Extension(caller): Extension<Caller>,
    Two(host, name): Two,
    Query(changed): Query<Changed>,
    headers: HeaderMap,
    Json(asked): Json<PutVm>,
) -> Answer {
    let namespace = caller.namespace(changed.namespace.as_deref())?;
    let (engine, host) = on(&app, &host).await?;
    let mut change = Change {
        caller: &caller,
        namespace: &namespace,
        kind: Kind::PutVm,
        subject: format!("vm/{host}/{name}"),
        stage: "begun",
        limit: CHANGE,
        asked: as_text(&(&asked, changed.adopt)),
    };
    let work = match body(asked)? {
        Body::Written(attributes) => {
            let vm = written(&app, attributes, Some(host.as_str()), Some(&name))?;
            if let Some(before) = change.repeated(&app, &headers).await? {
                return Ok(before);
            }
            change.limit = limit(None, vm.timeouts.as_ref(), CHANGE);
            let target = object((&host, &name), &namespace, None);
            wanted(engine, target, &vm, (&caller, &headers, changed.adopt)).await?
        }
        Body::Sent(sent) => {
            let desired: DesiredMachine = engines(sent.desired.unwrap_or_default(), "/desired")?;
            let known = sent.known.map(|known| engines(known, "/known")).transpose()?;
            decided(&app, (&desired, known.as_ref()), &namespace)?;
            if let Some(before) = change.repeated(&app, &headers).await? {
                return Ok(before);
            }
            change.limit = limit(
                time_limit(sent.limit_s)?,
                desired.wishes.timeouts.as_ref(),
                CHANGE,
            );
            let target = object((&host, &name), &namespace, sent_object(sent.object)?);
            sent_work(engine, (target, &caller), known, desired).await?
        }
    };
    change.begun(&app, &headers, work).await
}

/// What is to be done for what an engine sends: a create, or an update of what its state knows.
async fn sent_work(
    engine: &Embedded,
    (target, caller): (ObjectRef, &Caller),
    known: Option<DesiredMachine>,
    desired: DesiredMachine,
) -> Result<Work, Failure> {
    let Some(known) = known else {
        // A create goes by the name alone.
        let target = ObjectRef {
            identity: None,
            id: None,
            ..target
        };
        meant(engine, &target, caller).await?;
        same_name(&desired, target.name.as_str())?;
        return Ok(Work::Create(target.host, Box::new(desired), Keeper::Caller));
    };
    let name = match meant(engine, &target, caller).await? {
        // Renamed before, where the state was not told of it.
        Some(mark) if mark.name == target.name || mark.name == desired.name => mark.name,
        Some(mark) => {
            let detail = format!("it is {}, and the request is about {}", mark.name, target.name);
            return Err(invalid().wrong("/object", detail).into());
        }
        None => desired.name.clone(),
    };
    let target = ObjectRef { name, ..target };
    Ok(Work::Update(target, Box::new((known, desired)), Keeper::Caller))
}

/// A machine that is made has the name that the request is about.
fn same_name(desired: &DesiredMachine, name: &str) -> Result<(), Failure> {
    match desired.name.as_str() == name {
        true => Ok(()),
        false => {
            let detail = format!("it is {}, and the request is about {name}", desired.name);
            Err(invalid().wrong("/desired/name", detail).into())
        }
    }
}

/// The same object under the name that it bears on its host.
fn named(target: ObjectRef, mark: Option<&Mark>) -> ObjectRef {
    let name = mark.map_or_else(|| target.name.clone(), |mark| mark.name.clone());
    ObjectRef { name, ..target }
}

/// What is to be done for what a person writes, as the host is now.
async fn wanted(
    engine: &Embedded,
    target: ObjectRef,
    vm: &Vm,
    (caller, headers, adopt): (&Caller, &HeaderMap, bool),
) -> Result<Work, Failure> {
    let host = target.host.clone();
    let failed = |error| met::problem(&error);
    let facts = engine.facts(&host).await.map_err(failed)?;
    let taken = engine
        .taken(&host, &target.namespace, &target.name)
        .await
        .map_err(failed)?;
    let mut desired = desired_on(&target.namespace, vm, (&facts, &taken))
        .map_err(|unusable| met::problem(&unusable.into()))?;
    let found = by_name(engine, &target).await?;
    let is_hidden = |view: &MachineView| hidden(&view.owner, caller);
    if adopt && found.as_ref().is_some_and(|(view, _)| is_hidden(view)) {
        return Err(gone("machine"));
    }
    let Some((view, mark)) = found.filter(|(view, _)| !is_hidden(view)) else {
        allowed(headers, None)?;
        return Ok(Work::Create(host, Box::new(desired), Keeper::Server));
    };
    let written = serde_json::to_value(&view).unwrap_or_default();
    allowed(headers, Some(&tag(&written)))?;
    if let Some(mark) = &mark {
        meant(engine, &identified(target.clone(), &view), caller).await?;
        if mark.ownership == Ownership::Building {
            return Ok(Work::Create(host, Box::new(desired), Keeper::Server));
        }
    }
    pinned(&mut desired, &view);
    judged(&desired, &view, adopt)?;
    let known = desired.clone();
    Ok(Work::Update(
        named(identified(target, &view), mark.as_ref()),
        Box::new((known, desired)),
        Keeper::Server,
    ))
}

/// An image that was written without its digest stays the one that was seen when the machine was made.
fn pinned(desired: &mut DesiredMachine, view: &MachineView) {
    for (key, disk) in &mut desired.disks {
        let made_of = view.disks.get(key).and_then(|disk| disk.image.as_ref());
        if let (Some(image), Some(made_of)) = (&mut disk.image, made_of)
            && image.digest.is_none()
            && image.source == made_of.source
        {
            image.digest.clone_from(&made_of.digest);
        }
    }
}

/// Whether a machine that stands may be brought there without being made anew, without losing data, and without a restart
/// that was not allowed.
fn judged(desired: &DesiredMachine, view: &MachineView, adopt: bool) -> Result<(), Failure> {
    let foreign = view.owner == Owner::Foreign;
    if foreign && !adopt {
        let problem = Problem::new(409, "not-ours", "The object is not labyard's");
        let detail =
            "A machine of that name is on the host, and others made it: labyard vm adopt takes it over.";
        return Err(problem.detail(detail).into());
    }
    if let Some(obstacle) = view.obstacles.first().filter(|_| foreign) {
        let problem = Problem::new(409, "not-ours", "The machine cannot become labyard's");
        return Err(problem
            .detail(format!("Disk {}: {}", obstacle.disk, obstacle.why))
            .into());
    }
    let changes = diff(desired, view);
    let stays_on = matches!(desired.power, labyard_reconciler::desired::DesiredPower::Running)
        && view.power == labyard_driver::observed::Power::Running;
    let refused = |change: &Difference| match (change.disturbance, &change.what) {
        // That a disk goes with its data was said before: it stands in the mark.
        (Disturbance::Live, _) | (_, What::Disk(_, DiskChange::Deleted)) => false,
        (Disturbance::Restart, _) => stays_on && !desired.wishes.allow_restart,
        (Disturbance::Replace | Disturbance::DestroysData, _) => true,
    };
    let mut problem = Problem::new(409, "disturbs", "The change disturbs more than it may");
    for change in changes.iter().filter(|change| refused(change)) {
        let detail = match change.disturbance {
            Disturbance::Restart => format!("{change} needs a restart, and allow_restart is false"),
            Disturbance::Replace => format!("{change}: {}. Remove the machine, and make it anew", change.why),
            _ => format!("{change}: {}", change.why),
        };
        problem = problem.wrong(format!("/attributes/{}", change.what), detail);
    }
    match problem.errors.is_empty() {
        true => Ok(()),
        false => Err(problem.into()),
    }
}

pub(crate) async fn delete(
    State(app): State<Arc<App>>,
    Extension(caller): Extension<Caller>,
    Two(host, name): Two,
    Query(within): Query<Within>,
    headers: HeaderMap,
) -> Answer {
    let namespace = caller.namespace(within.namespace.as_deref())?;
    let (engine, host) = on(&app, &host).await?;
    let change = Change {
        caller: &caller,
        namespace: &namespace,
        kind: Kind::DeleteVm,
        subject: format!("vm/{host}/{name}"),
        stage: "begun",
        limit: REMOVE,
        asked: String::new(),
    };
    if let Some(before) = change.repeated(&app, &headers).await? {
        return Ok(before);
    }
    let target = object((&host, &name), &namespace, None);
    let Some((view, mark)) = by_name(engine, &target).await? else {
        return Err(gone("machine"));
    };
    if hidden(&view.owner, &caller) {
        return Err(gone("machine"));
    }
    if mark.is_none() {
        return Err(not_ours());
    }
    meant(engine, &identified(target.clone(), &view), &caller).await?;
    allowed(
        &headers,
        Some(&tag(&serde_json::to_value(&view).unwrap_or_default())),
    )?;
    let known = as_found(&target, &view)?;
    change
        .begun(
            &app,
            &headers,
            Work::Destroy(named(identified(target, &view), mark.as_ref()), Box::new(known)),
        )
        .await
}

/// What a removal has to know of a machine that is there: how it is stopped, and what its wishes are.
fn as_found(target: &ObjectRef, view: &MachineView) -> Result<DesiredMachine, Failure> {
    let vm = Vm {
        name: target.name.to_string(),
        cpus: view.cpus,
        memory_mib: view.memory.0,
        shutdown: view.wishes.shutdown.clone(),
        timeouts: view.wishes.timeouts.clone(),
        deletion_protection: view.wishes.deletion_protection,
        ..Vm::default()
    };
    DesiredMachine::from_config(&target.namespace, &vm, &Default::default(), &Default::default())
        .map_err(|unusable| met::problem(&unusable.into()))
}

pub(crate) async fn destroy(
    State(app): State<Arc<App>>,
    Extension(caller): Extension<Caller>,
    Two(host, name): Two,
    Query(within): Query<Within>,
    headers: HeaderMap,
    Json(asked): Json<Destroy>,
) -> Answer {
    let namespace = caller.namespace(within.namespace.as_deref())?;
    let (engine, host) = on(&app, &host).await?;
    let text = as_text(&asked);
    let known: DesiredMachine = engines(asked.known, "/known")?;
    same_namespace(&known.namespace, &namespace)?;
    let change = Change {
        caller: &caller,
        namespace: &namespace,
        kind: Kind::DeleteVm,
        subject: format!("vm/{host}/{name}"),
        stage: "begun",
        limit: time_limit(asked.limit_s)?.unwrap_or(REMOVE),
        asked: text,
    };
    if let Some(before) = change.repeated(&app, &headers).await? {
        return Ok(before);
    }
    let target = object((&host, &name), &namespace, sent_object(Some(asked.object))?);
    let mark = meant(engine, &target, &caller).await?;
    let work = Work::Destroy(named(target, mark.as_ref()), Box::new(known));
    change.begun(&app, &headers, work).await
}

pub(crate) async fn confirm(
    State(app): State<Arc<App>>,
    Extension(caller): Extension<Caller>,
    Two(host, name): Two,
    Query(about): Query<About>,
) -> Answer {
    let namespace = caller.namespace(about.namespace.as_deref())?;
    let (engine, host) = on(&app, &host).await?;
    let target = object((&host, &name), &namespace, known(about.object.as_deref())?);
    meant(engine, &target, &caller).await?;
    engine
        .confirm_machine(&target)
        .await
        .map_err(|error| met::problem(&error))?;
    Ok(json(200, &serde_json::json!({})))
}
