//! What is common to requests about objects on hosts: the host that is named, the object as the caller knows it, whose
//! it is, and the operation that a change becomes.

use super::{
    json,
    taken::invalid,
    versions::{self, Rests},
    vms::gone,
};
use crate::{
    failure::Failure,
    keep::{
        operations::{Begun, Kind},
        runs::{self, Asked, Key, Taken},
    },
    serve::{
        app::App,
        met,
        runs::{Room, Task, Work, spawn, tag_of},
        seen::since,
        who::Caller,
    },
};
use axum::response::Response;
use http::HeaderMap;
use labyard_api::{claim::IDEMPOTENCY_KEY, problem::Problem};
use labyard_driver::{
    ids::{HostName, ObjectId, ObjectName},
    mark::Mark,
    observed::{MarkState, Snapshot},
};
use labyard_labs::{ids::Namespace, show::Scope};
use labyard_reconciler::{
    engine::{Embedded, Engine as _, ObjectRef},
    wire::Known,
};
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::Value;
use std::{collections::BTreeSet, sync::Arc, time::Duration};

/// The query of a request about an object.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct About {
    pub(crate) namespace: Option<String>,
    /// What a state knows of it, as engines write it.
    pub(crate) object: Option<String>,
}

/// The engine, and the host that is named: of it nothing is told that is older than the request may be told.
pub(crate) async fn on<'a>(app: &'a App, host: &str) -> Result<(&'a Arc<Embedded>, HostName), Failure> {
    let name = HostName(host.to_owned());
    let engine = app.runs.engine().filter(|engine| engine.hosts().contains(&name));
    match engine {
        Some(engine) => {
            engine.look_anew(&name, since()).await;
            Ok((engine, name))
        }
        None => {
            let detail = format!("{host:?} stands in no configuration of this server.");
            Err(Problem::new(404, "no-host", "The host is not there")
                .detail(detail)
                .into())
        }
    }
}

/// JSON of engines, at that place of a request.
pub(crate) fn engines<T: DeserializeOwned>(value: Value, at: &str) -> Result<T, Failure> {
    // What serde says may repeat a value, and a value may be a secret.
    serde_json::from_value(value).map_err(|_| {
        let detail = "it is not what an engine of this release writes";
        invalid().wrong(at, detail).into()
    })
}

/// An object as the caller knows it.
pub(crate) fn object(
    (host, name): (&HostName, &str),
    namespace: &Namespace,
    known: Option<Known>,
) -> ObjectRef {
    let known = known.unwrap_or_default();
    ObjectRef {
        host: host.clone(),
        namespace: labyard_driver::ids::Namespace(namespace.to_string()),
        name: ObjectName(name.to_owned()),
        identity: known.identity,
        id: known.id,
        pools: known.pools,
    }
}

/// How long what a query says of an object may be: with all else it has to fit the head of a request.
const LONGEST_OBJECT: usize = 4096;

/// What a query says of the object.
pub(crate) fn known(text: Option<&str>) -> Result<Option<Known>, Failure> {
    let Some(text) = text else { return Ok(None) };
    if text.len() > LONGEST_OBJECT {
        let detail = format!("it is longer than {LONGEST_OBJECT} bytes");
        return Err(invalid().wrong("object", detail).into());
    }
    let value = serde_json::from_str(text).unwrap_or(Value::Null);
    engines(value, "object").map(Some)
}

/// The same namespace, as drivers know it.
pub(crate) fn of_driver(namespace: &Namespace) -> labyard_driver::ids::Namespace {
    labyard_driver::ids::Namespace(namespace.to_string())
}

/// What is to be found in a snapshot.
pub(crate) struct Sought<'a> {
    pub(crate) namespace: &'a Namespace,
    pub(crate) name: &'a str,
    /// Who it is, where a state says so; else it is sought by its name.
    pub(crate) known: Option<&'a ObjectRef>,
}

impl Sought<'_> {
    fn is(&self, mark: Option<&Mark>, id: &labyard_driver::ids::ObjectId) -> bool {
        match self.known.and_then(|object| object.identity.as_ref()) {
            Some(identity) => {
                let knows = |mark: &Mark| mark.token == identity.token || mark.origin == identity.origin;
                mark.is_some_and(knows) || *id == identity.id
            }
            None => match self.known.and_then(|object| object.id.as_ref()) {
                Some(known) => id == known,
                None => mark.is_some_and(|mark| {
                    mark.namespace.as_str() == self.namespace.as_str() && mark.name.as_str() == self.name
                }),
            },
        }
    }

    /// The mark of the machine, if it is there with one and it is the caller's to change.
    pub(crate) fn machine<'s>(&self, snapshot: &'s Snapshot) -> Result<Option<&'s Mark>, Failure> {
        let machines = snapshot.machines.iter();
        let found: Vec<_> = machines
            .filter(|machine| self.is(machine.mark.ours(), &machine.id))
            .collect();
        // Whatever of it leads to another's machine: the engine may go by any part of it.
        found
            .iter()
            .try_for_each(|machine| self.own(machine.mark.ours()))?;
        let mark = found.first().and_then(|machine| machine.mark.ours());
        match mark.and_then(|mark| mark.member.as_ref()) {
            Some(member) => {
                let detail = format!("It is machine {} of pool {}.", member.number, member.pool);
                let problem = Problem::new(409, "pool-member", "The machine is a pool's");
                Err(problem.detail(detail).into())
            }
            None => Ok(mark),
        }
    }

    /// The same of a network.
    pub(crate) fn network<'s>(&self, snapshot: &'s Snapshot) -> Result<Option<&'s Mark>, Failure> {
        let networks = snapshot.networks.iter();
        let found: Vec<_> = networks
            .filter(|network| self.is(network.mark.ours(), &network.id))
            .collect();
        found
            .iter()
            .try_for_each(|network| self.own(network.mark.ours()))?;
        Ok(found.first().and_then(|network| network.mark.ours()))
    }

    /// Who knows the token of another namespace's object has no more of it than who does not.
    fn own(&self, mark: Option<&Mark>) -> Result<(), Failure> {
        match mark {
            Some(mark) if mark.namespace.as_str() != self.namespace.as_str() => {
                let problem = Problem::new(403, "other-namespace", "The object is of another namespace");
                Err(problem.into())
            }
            _ => Ok(()),
        }
    }
}

/// Who asks for an object that is sought: what is nobody's is there for who sees everything alone.
impl Sought<'_> {
    /// The machine, judged whole: all that the engine may take by what is known of it, at the host as it is now.
    pub(crate) async fn judged_machine(
        &self,
        (engine, host): (&Embedded, &HostName),
        scope: &Scope,
    ) -> Result<Option<Mark>, Failure> {
        let all = snapshot(engine, host).await?;
        let machines = all.machines.iter();
        self.seen(
            scope,
            "machine",
            machines.map(|machine| (&machine.mark, &machine.id)),
        )?;
        Ok(self.machine(&all)?.cloned())
    }

    /// The same of a network.
    pub(crate) async fn judged_network(
        &self,
        (engine, host): (&Embedded, &HostName),
        scope: &Scope,
    ) -> Result<Option<Mark>, Failure> {
        let all = snapshot(engine, host).await?;
        let networks = all.networks.iter();
        self.seen(
            scope,
            "network",
            networks.map(|network| (&network.mark, &network.id)),
        )?;
        Ok(self.network(&all)?.cloned())
    }

    fn seen<'s>(
        &self,
        scope: &Scope,
        noun: &str,
        mut objects: impl Iterator<Item = (&'s MarkState, &'s ObjectId)>,
    ) -> Result<(), Failure> {
        let is_nobodys = |(mark, id): (&MarkState, &ObjectId)| mark.ours().is_none() && self.is(None, id);
        match *scope != Scope::All && objects.any(is_nobodys) {
            true => Err(gone(noun)),
            false => Ok(()),
        }
    }
}

/// All that is on a host, read after every change of this process.
pub(crate) async fn snapshot(engine: &Embedded, host: &HostName) -> Result<Arc<Snapshot>, Failure> {
    engine.snapshot(host).await.map_err(|error| met::problem(&error))
}

/// A change that is asked for.
pub(crate) struct Change<'a> {
    pub(crate) caller: &'a Caller,
    pub(crate) namespace: &'a Namespace,
    pub(crate) kind: Kind,
    /// The noun, host and name: `vm/lab1/web`.
    pub(crate) subject: String,
    pub(crate) stage: &'static str,
    pub(crate) limit: Duration,
    /// What is asked for, as text: the same request says the same.
    pub(crate) asked: String,
}

impl Change<'_> {
    /// Begins the operation and has its work done, or answers with that of the same request. Whoever asked may hang up
    /// meanwhile: what stands in the store is done all the same.
    pub(crate) async fn begun(
        self,
        app: &Arc<App>,
        headers: &HeaderMap,
        work: Work,
    ) -> Result<Response, Failure> {
        let rests = Rests::read(headers)?;
        if let Some(engine) = app.runs.engine().filter(|_| !rests.say_nothing()) {
            let there = tag_of(engine, &work).await;
            rests.allow(there.map_err(|error| met::problem(&error))?.as_deref())?;
        }
        let (request, limit, room) = (self.request(app, headers)?, self.limit, Room::of(&work));
        let (holder, now) = (app.runs.holder().to_owned(), app.now());
        let begin = {
            let app = Arc::clone(app);
            async move {
                let held = room.clone();
                let taken: Result<_, Failure> = app
                    .store
                    .write(move |write| {
                        let asked = Asked {
                            begun: request.begun(),
                            key: request.key(),
                            holder: &holder,
                        };
                        let taken = runs::begin(write, &asked, now)?;
                        let former = match (&taken, &held) {
                            (Taken::New(_), Some(room)) => room.hold(write, &request.namespace)?,
                            (Taken::New(_), None) | (Taken::Again(_), _) => None,
                        };
                        Ok((taken, former))
                    })
                    .await;
                match taken? {
                    (Taken::Again(operation), _) => Ok::<_, Failure>(operation),
                    (Taken::New(operation), former) => {
                        let task = Task {
                            work,
                            limit,
                            room,
                            former,
                            rests,
                        };
                        spawn(&app, &operation, task);
                        Ok(operation)
                    }
                }
            }
        };
        let broken = |_| Err(Problem::new(500, "broken", "The server broke off").into());
        let operation = app.runs.apart(begin).await.unwrap_or_else(broken)?;
        Ok(json(202, &operation))
    }

    /// The operation of the same request where it came before: what it rested on may be another by now, of its own doing.
    pub(crate) async fn repeated(&self, app: &App, headers: &HeaderMap) -> Result<Option<Response>, Failure> {
        let request = self.request(app, headers)?;
        if request.key.is_none() {
            return Ok(None);
        }
        let before: Result<_, Failure> = app
            .store
            .read(move |read| runs::repeated(read, &request.begun(), request.key()))
            .await;
        Ok(before?.map(|operation| json(202, &operation)))
    }

    fn request(&self, app: &App, headers: &HeaderMap) -> Result<Request, Failure> {
        let key = key(headers)?;
        Ok(Request {
            namespace: self.namespace.clone(),
            actor: self.caller.actor(),
            kind: self.kind,
            subject: self.subject.clone(),
            stage: self.stage,
            key: key.map(|name| (name, app.key.finding_hash("request", &self.asked))),
        })
    }
}

/// A change that is asked for, on its way into the store.
struct Request {
    namespace: Namespace,
    actor: String,
    kind: Kind,
    subject: String,
    stage: &'static str,
    key: Option<(String, Vec<u8>)>,
}

impl Request {
    fn begun(&self) -> Begun<'_> {
        Begun {
            namespace: &self.namespace,
            kind: self.kind,
            subject: self.subject.clone(),
            actor: &self.actor,
            stage: self.stage,
        }
    }

    fn key(&self) -> Option<Key<'_>> {
        let (name, asked) = self.key.as_ref()?;
        Some(Key { name, asked })
    }
}

/// What is asked for, as text.
pub(crate) fn as_text(asked: &impl serde::Serialize) -> String {
    serde_json::to_string(asked).unwrap_or_default()
}

/// The caller's own name of the request.
fn key(headers: &HeaderMap) -> Result<Option<String>, Failure> {
    let Some(value) = headers.get(IDEMPOTENCY_KEY) else {
        return Ok(None);
    };
    let text = value.to_str().unwrap_or_default();
    let fine = (1..=128).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic());
    match fine {
        true => Ok(Some(text.to_owned())),
        false => {
            let detail = "1 to 128 letters, digits and signs of ASCII";
            Err(invalid().wrong(IDEMPOTENCY_KEY, detail).into())
        }
    }
}

/// What a change rests on, against the object of that tag.
pub(crate) fn allowed(headers: &HeaderMap, tag: Option<&str>) -> Result<(), Failure> {
    Rests::read(headers)?.allow(tag)
}

/// The tag of an object as it is asked to be: what moves by itself is not in it.
pub(crate) fn tag(view: &Value) -> String {
    const MOVING: [&str; 11] = [
        "power",
        "live_cpus",
        "live_memory",
        "room",
        "pending",
        "vnc_port",
        "obstacles",
        "active",
        "standing",
        "owner",
        "addresses",
    ];
    let mut still = view.clone();
    let token = view
        .pointer("/owner/Ours/identity/token")
        .cloned()
        .unwrap_or_default();
    if let Some(fields) = still.as_object_mut() {
        fields.retain(|name, _| !MOVING.contains(&name.as_str()));
        for nic in fields
            .get_mut("nics")
            .and_then(Value::as_object_mut)
            .into_iter()
            .flatten()
        {
            if let Some(nic) = nic.1.as_object_mut() {
                nic.retain(|name, _| !MOVING.contains(&name.as_str()) && name != "reserved");
            }
        }
    }
    versions::tag(&[&token.to_string(), &still.to_string()])
}

/// Names with commas between them.
pub(crate) fn pools(text: &str) -> BTreeSet<labyard_driver::ids::PoolName> {
    let names = text.split(',').map(str::trim).filter(|name| !name.is_empty());
    names
        .map(|name| labyard_driver::ids::PoolName(name.to_owned()))
        .collect()
}
