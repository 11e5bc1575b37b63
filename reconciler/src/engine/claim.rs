//! Whether a name is free to build: what stands there already is foreign, another state's, being built, or left by
//! a builder that died. Only the last is taken.

use std::sync::Arc;
use std::time::Duration;

use labyard_driver::DriverError;
use labyard_driver::ids::{Namespace, ObjectId, ObjectName};
use labyard_driver::mark::{Kind, Lease, Mark, MemberMark, Ownership};
use labyard_driver::observed::{MarkState, Snapshot};
use tokio::time::{Instant, sleep};

use super::embedded::describe;
use super::{Bounds, Deps, ObjectRef};
use crate::error::EngineError;
use crate::host::Host;
use crate::identity::{self, Identity};
use crate::keeper::{self, Keeper};
use crate::lease::{self, Holder};
use crate::record::Record;

/// How long a living builder is waited for, within the operation's own time.
const PATIENCE: Duration = Duration::from_secs(120);
/// How often it is looked at.
const LOOK: Duration = Duration::from_secs(2);
/// Between taking over and looking whether it was taken again: far longer than another's way from its look to its
/// write.
const SETTLE: Duration = Duration::from_millis(400);

/// What a name is free for.
pub(super) enum Claim {
    /// Nothing stands there.
    Free,
    /// A dead builder's object, ours from now on under the new token in its mark.
    Adopted(ObjectId, Box<Mark>),
}

/// Whose name it is.
pub(super) struct Name<'a> {
    /// Of a machine or a network.
    pub kind: Kind,
    /// The state.
    pub namespace: &'a Namespace,
    /// The user's name.
    pub name: &'a ObjectName,
    /// Which machine of a pool it is.
    pub member: Option<&'a MemberMark>,
}

struct Standing {
    id: ObjectId,
    mark: MarkState,
}

/// Looks whether the name is free, waits for a living builder, and adopts what a dead one left.
pub(super) async fn claim(
    host: &Host,
    (deps, keeper): (&Deps, &Keeper),
    name: &Name<'_>,
    bounds: &Bounds,
) -> Result<Claim, EngineError> {
    let give_up = Instant::now() + PATIENCE.min(bounds.limit);
    let mut snapshot = host.recent().await?;
    if standing(&snapshot, name).is_some() {
        // This run may have removed it since (a replacement).
        snapshot = host.fresh().await?;
    }
    loop {
        let Some(standing) = standing(&snapshot, name) else {
            return Ok(Claim::Free);
        };
        let mark = ours(host, name, &standing)?;
        let holder = lease::holder(
            mark.lease.as_ref(),
            &deps.engine,
            deps.processes.as_ref(),
            deps.clock.now(),
        );
        match holder {
            // What this engine let go of has nobody, whatever its mark still says.
            Holder::Ours if keeper.record(&standing.id).is_some() => return Err(twice(host, name)),
            Holder::Dead | Holder::Ours => {
                if let Some(adopted) = adopt(host, deps, name.kind, &standing.id, mark).await? {
                    return Ok(Claim::Adopted(standing.id, Box::new(adopted)));
                }
            }
            Holder::Alive if Instant::now() >= give_up => {
                return Err(being_built(host, name, mark.lease.as_ref()));
            }
            Holder::Alive => {}
        }
        tokio::select! {
            () = sleep(LOOK) => {}
            () = bounds.cancel.cancelled() => return Err(being_built(host, name, mark.lease.as_ref())),
        }
        host.observer.invalidate_networks();
        snapshot = host.fresh().await?;
    }
}

fn standing(snapshot: &Snapshot, name: &Name<'_>) -> Option<Standing> {
    let host_name = identity::host_name(name.namespace, name.name);
    let is_it = |mark: &MarkState| {
        mark.ours()
            .is_some_and(|m| m.kind == name.kind && &m.namespace == name.namespace && &m.name == name.name)
    };
    let all: Vec<(&ObjectId, &String, &MarkState)> = match name.kind {
        Kind::Machine => snapshot
            .machines
            .iter()
            .map(|m| (&m.id, &m.host_name, &m.mark))
            .collect(),
        Kind::Network => snapshot
            .networks
            .iter()
            .map(|n| (&n.id, &n.host_name, &n.mark))
            .collect(),
    };
    let by_mark = all.iter().find(|(_, _, mark)| is_it(mark));
    let found = by_mark.or_else(|| all.iter().find(|(_, there, _)| **there == host_name));
    found.map(|(id, _, mark)| Standing {
        id: (*id).clone(),
        mark: (*mark).clone(),
    })
}

/// The mark of what stands there, if it may be waited for or adopted at all.
fn ours<'a>(host: &Host, name: &Name<'_>, standing: &'a Standing) -> Result<&'a Mark, EngineError> {
    let host_name = identity::host_name(name.namespace, name.name);
    let exists = |found: String, way_out: String| EngineError::AlreadyExists {
        host: host.name.clone(),
        what: describe(name.kind, name.name.as_str()),
        found,
        way_out,
    };
    let import = format!(
        "To manage it from here: terraform import ADDRESS {}/{}; otherwise choose another name",
        host.name, name.name
    );
    match &standing.mark {
        MarkState::None => Err(exists(format!("{host_name:?} without labyard's mark"), import)),
        MarkState::Unreadable(why) => Err(exists(
            format!("{host_name:?} with a mark that cannot be read ({why})"),
            String::new(),
        )),
        MarkState::Ours(mark) if &mark.namespace != name.namespace || mark.name != *name.name => Err(exists(
            format!(
                "{host_name:?}, which is {:?} of namespace {}",
                mark.name.as_str(),
                mark.namespace
            ),
            "Choose another name".to_owned(),
        )),
        MarkState::Ours(mark) if mark.ownership == Ownership::Confirmed => Err(exists(
            format!("owned by a state of namespace {}", mark.namespace),
            format!(
                "{import}. If it is this very state's, create_before_destroy makes the replacement before it destroys \
                 what it replaces: leave that out, or change the name with it"
            ),
        )),
        // What a dead builder of a pool's machine left is that pool's, and of nobody else.
        MarkState::Ours(mark) if mark.member.as_ref().map(|m| &m.id) != name.member.map(|m| &m.id) => {
            let whose = mark.member.as_ref().map_or_else(
                || "begun as a machine of no pool".to_owned(),
                |member| format!("begun as machine {} of pool {}", member.number, member.pool),
            );
            Err(exists(whose, "Choose another name".to_owned()))
        }
        MarkState::Ours(mark) => Ok(mark),
    }
}

fn twice(host: &Host, name: &Name<'_>) -> EngineError {
    EngineError::AlreadyExists {
        host: host.name.clone(),
        what: describe(name.kind, name.name.as_str()),
        found: "made by another resource of this very configuration".to_owned(),
        way_out: "Give each a name of its own".to_owned(),
    }
}

fn being_built(host: &Host, name: &Name<'_>, lease: Option<&Lease>) -> EngineError {
    built_by(host, describe(name.kind, name.name.as_str()), lease)
}

/// That another builds it.
pub(super) fn built_by(host: &Host, what: String, lease: Option<&Lease>) -> EngineError {
    EngineError::BeingBuilt {
        host: host.name.clone(),
        what,
        builder: lease.map_or("unknown".to_owned(), |l| {
            format!("process {}, engine {}", l.pid, l.engine)
        }),
    }
}

/// Takes a dead builder's object under a new token; `None` where another took it, changed it or removed it at the
/// same time.
async fn adopt(
    host: &Host,
    deps: &Deps,
    kind: Kind,
    id: &ObjectId,
    seen: &Mark,
) -> Result<Option<Mark>, EngineError> {
    let what = || host.failed(describe(kind, seen.name.as_str()));
    // What was seen may be seconds old: nothing but what stands there at this moment is taken.
    let Some(before) = mark_if_there(host, kind, id).await.map_err(what())? else {
        return Ok(None);
    };
    if before != *seen {
        return Ok(None);
    }
    let token = identity::new_token(deps.random.as_ref());
    let lease = lease::grant(&deps.engine, deps.processes.as_ref(), deps.clock.now());
    let record = Record::new(host.driver.clone(), id.clone(), before);
    let taken = record
        .update(|mark| {
            mark.token = token.clone();
            mark.lease = Some(lease);
        })
        .await;
    match taken {
        Err(DriverError::Missing { .. }) => return Ok(None),
        taken => taken.map_err(what())?,
    };
    sleep(SETTLE).await;
    let now = mark_if_there(host, kind, id).await.map_err(what())?;
    Ok(now.filter(|now| now.token == token))
}

async fn mark_if_there(host: &Host, kind: Kind, id: &ObjectId) -> Result<Option<Mark>, DriverError> {
    match mark_of(host, kind, id).await {
        Err(DriverError::Missing { .. }) => Ok(None),
        mark => mark,
    }
}

/// The mark of an object, read now.
pub(super) async fn mark_of(host: &Host, kind: Kind, id: &ObjectId) -> Result<Option<Mark>, DriverError> {
    let mark = match kind {
        Kind::Machine => host.driver.machine(id).await?.mark,
        Kind::Network => host.driver.network(id).await?.mark,
    };
    Ok(mark.ours().cloned())
}

/// A state holds the object's token: its mark is confirmed, if the object still carries that token.
pub(super) async fn confirm_known(host: &Arc<Host>, kind: Kind, identity: &Identity) {
    let confirmed = async {
        let Ok(Some(mark)) = mark_of(host, kind, &identity.id).await else {
            return;
        };
        if mark.token == identity.token && mark.ownership == Ownership::Building {
            let record = Record::new(host.driver.clone(), identity.id.clone(), mark);
            keeper::confirm(&record, &host.driver).await;
        }
    };
    // The run may be over before: the next one does it.
    let _ = tokio::time::timeout(Duration::from_secs(2), confirmed).await;
}

/// That an object is not found tells that it is gone only on the host where it was made.
pub(super) fn same_host(
    host: &Host,
    kind: Kind,
    object: &ObjectRef,
    snapshot: &Snapshot,
) -> Result<(), EngineError> {
    let made_on = object
        .identity
        .as_ref()
        .and_then(|identity| identity.host.as_ref());
    match made_on {
        Some(made_on) if *made_on != snapshot.host.uuid => Err(EngineError::OtherHost {
            host: host.name.clone(),
            what: describe(kind, object.name.as_str()),
            made_on: made_on.to_string(),
            found: snapshot.host.uuid.to_string(),
        }),
        _ => Ok(()),
    }
}

/// Whether what a state holds is what the mark says; the error names who has it now. A state that imported the object
/// and has not marked it yet holds nothing: what another namespace has marked since is that one's.
pub(super) fn same_owner(
    host: &Host,
    kind: Kind,
    object: &ObjectRef,
    mark: Option<&Mark>,
) -> Result<(), EngineError> {
    let Some(mark) = mark else { return Ok(()) };
    let by = match (&object.identity, &mark.lease) {
        (Some(identity), _) if identity.token == mark.token => return Ok(()),
        (None, _) if mark.namespace == object.namespace => return Ok(()),
        (None, _) => format!("by a state of namespace {}", mark.namespace),
        (Some(_), Some(lease)) => format!("by engine {}, process {}", lease.engine, lease.pid),
        (Some(_), None) => format!("by another state of namespace {}", mark.namespace),
    };
    let (host, what) = (host.name.clone(), describe(kind, object.name.as_str()));
    Err(EngineError::TakenOver { host, what, by })
}
