//! Machines: read, find, create, update, destroy.

use std::collections::BTreeSet;
use std::sync::Arc;

use labyard_driver::DriverError;
use labyard_driver::ids::{Bytes, HostName, Namespace, ObjectName, PoolName, VolumeName};
use labyard_driver::mark::{Kind, Mark, Ownership};
use labyard_driver::observed::{Detail, MarkState, ObservedMachine, Power, Snapshot};

use super::claim::{Claim, Name, claim, same_host, same_owner};
use super::embedded::describe;
use super::{Bounds, Embedded, ObjectRef, Reading};
use crate::bystanders::refuse_used;
use crate::derived::Taken;
use crate::desired::{DesiredMachine, Wishes};
use crate::error::EngineError;
use crate::host::Host;
use crate::identity::Identity;
use crate::intent::intend;
use crate::left;
use crate::run::{Report, backward, forward};
use crate::steps::Work;
use crate::view::MachineView;

/// How often a create begins anew because another took the name between look and record.
pub(super) const RACES: usize = 3;

/// A machine that was renamed since the plan has what was derived of its former name.
async fn refuse_clash(host: &Host, desired: &DesiredMachine) -> Result<(), EngineError> {
    // Whoever claimed the name has looked again where a machine bore it.
    let snapshot = host.recent().await?;
    let taken = Taken::on(&snapshot, &desired.namespace, &desired.name);
    match taken.clash(desired) {
        None => Ok(()),
        Some((attribute, value)) => Err(EngineError::Attribute {
            attribute,
            message: format!(
                "{value} was derived of the name {:?}, and another machine on host {} has it, which bore that name \
                 before: apply again, and another is derived; or write one",
                desired.name.as_str(),
                host.name
            ),
        }),
    }
}

impl Embedded {
    pub(super) async fn machine_read(&self, object: &ObjectRef) -> Result<Reading<MachineView>, EngineError> {
        let host = self.host(&object.host)?;
        let snapshot = host.fresh().await?;
        let Some(machine) = find_in(&snapshot, object) else {
            same_host(host, Kind::Machine, object, &snapshot)?;
            // Whether its disks are still there only the pools can tell.
            let left = left::volumes(host, &snapshot, object).await?;
            return Ok(if left.is_empty() {
                Reading::Gone
            } else {
                Reading::DisksOnly
            });
        };
        let whole;
        let machine = if matches!(machine.mark, MarkState::None) {
            // Of a foreign machine the bulk read shows no more than its name.
            let what = describe(Kind::Machine, object.name.as_str());
            whole = host
                .driver
                .machine(&machine.id)
                .await
                .map_err(host.failed(what))?;
            &whole
        } else {
            machine
        };
        let view = view_of(host, machine, &snapshot, &object.name)?;
        same_owner(host, Kind::Machine, object, machine.mark.ours())?;
        if let Some(identity) = &object.identity
            && let MarkState::Ours(mark) = &machine.mark
            && mark.ownership == Ownership::Building
        {
            self.confirm_later(host, Kind::Machine, identity);
        }
        Ok(Reading::Present(Box::new(view)))
    }

    pub(super) fn confirm_later(&self, host: &Arc<Host>, kind: Kind, identity: &Identity) {
        if self.access == super::Access::ReadOnly {
            return;
        }
        let (host, identity) = (host.clone(), identity.clone());
        let mut background = self
            .background
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        background.spawn(async move { super::claim::confirm_known(&host, kind, &identity).await });
    }

    pub(super) async fn machine_find(
        &self,
        host: &HostName,
        namespace: &Namespace,
        id: &str,
    ) -> Result<(MachineView, Option<Mark>), EngineError> {
        let host = self.host(host)?;
        let snapshot = host.fresh().await?;
        let of_namespace = |m: &&ObservedMachine| {
            m.mark
                .ours()
                .is_some_and(|mark| &mark.namespace == namespace && mark.name.as_str() == id)
        };
        let found = snapshot.machines.iter().find(of_namespace);
        let found = found.or_else(|| {
            snapshot
                .machines
                .iter()
                .find(|m| m.host_name == id || m.id.as_str() == id)
        });
        let Some(found) = found else {
            let names: Vec<_> = snapshot
                .machines
                .iter()
                .map(|m| m.host_name.as_str())
                .take(20)
                .collect();
            let (host, what) = (host.name.clone(), describe(Kind::Machine, id));
            return Err(EngineError::NotFound {
                host,
                what,
                found: listing(&names),
            });
        };
        // Of a foreign machine the bulk read shows no more than its name.
        let what = describe(Kind::Machine, id);
        let machine = host.driver.machine(&found.id).await.map_err(host.failed(what))?;
        refuse_other_namespace(host, Kind::Machine, namespace, id, &machine.mark)?;
        let view = view_of(host, &machine, &snapshot, &ObjectName(id.to_owned()))?;
        Ok((view, machine.mark.ours().cloned()))
    }

    pub(super) async fn seed_read(
        &self,
        host: &HostName,
        mark: &Mark,
    ) -> Result<Option<crate::seed::Contents>, EngineError> {
        let host = self.host(host)?;
        let Some(seed) = &mark.seed else { return Ok(None) };
        match host
            .driver
            .download(&seed.pool, &seed.volume, Bytes::from_mib(16))
            .await
        {
            Ok(iso) => Ok(crate::seed::read(&iso).ok()),
            Err(DriverError::Missing { .. }) => Ok(None),
            Err(error) => Err(host.failed(describe(Kind::Machine, mark.name.as_str()))(error)),
        }
    }

    pub(super) async fn machine_create(
        &self,
        host: &HostName,
        desired: &DesiredMachine,
        bounds: Bounds,
        report: Report<'_>,
    ) -> Result<MachineView, EngineError> {
        let host = self.host(host)?.clone();
        let name = Name {
            kind: Kind::Machine,
            namespace: &desired.namespace,
            name: &desired.name,
            member: desired.member.as_ref(),
        };
        for _ in 0..RACES {
            let claimed = claim(&host, (&self.deps, &self.keeper), &name, &bounds).await?;
            let mut work = self.work(&host, desired, &bounds).await?;
            match claimed {
                Claim::Free => {
                    refuse_clash(&host, desired).await?;
                    work.first_mark = self.first_mark(desired);
                }
                Claim::Adopted(id, mark) => self.adopt(&mut work, id, *mark).await?,
            }
            let result = forward(&mut work, report).await;
            let raced = work.record.is_none() && result.as_ref().err().is_some_and(is_taken);
            if raced {
                host.observer.invalidate_networks();
                continue;
            }
            if work.record.is_some() {
                self.keeper.answered(&work.id);
            }
            self.collect_after(&host, &work, &result).await;
            return self.ended(&mut work, result).await;
        }
        let (host, what) = (host.name.clone(), describe(Kind::Machine, desired.name.as_str()));
        Err(EngineError::BeingBuilt {
            host,
            what,
            builder: "several runs at once".to_owned(),
        })
    }

    pub(super) async fn machine_update(
        &self,
        object: &ObjectRef,
        known: &DesiredMachine,
        desired: &DesiredMachine,
        bounds: Bounds,
        report: Report<'_>,
    ) -> Result<MachineView, EngineError> {
        let host = self.host(&object.host)?.clone();
        let mut work = self.work(&host, desired, &bounds).await?;
        match self.locate(&host, object).await? {
            Some(machine) => {
                refuse_unknown(&work, &machine)?;
                self.take_up(&mut work, object, machine).await?;
                refuse_used(&work, going(&work).await).await?;
            }
            None => self.put_back(&mut work, object, known).await?,
        }
        let result = forward(&mut work, report).await;
        if work.record.is_some() {
            self.keeper.answered(&work.id);
        }
        self.collect_after(&host, &work, &result).await;
        self.ended(&mut work, result).await
    }

    pub(super) async fn machine_destroy(
        &self,
        object: &ObjectRef,
        known: &DesiredMachine,
        bounds: Bounds,
    ) -> Result<(), EngineError> {
        let host = self.host(&object.host)?.clone();
        let mut work = self.work(&host, known, &bounds).await?;
        match self.locate(&host, object).await? {
            Some(machine) => {
                same_owner(&host, Kind::Machine, object, machine.mark.ours())?;
                if machine.mark.ours().is_none() {
                    let (host, what) = (host.name.clone(), describe(Kind::Machine, object.name.as_str()));
                    return Err(EngineError::NotOurs { host, what });
                }
                refuse_protected(&host, Kind::Machine, &object.name, machine.mark.ours())?;
                self.take_up(&mut work, object, machine).await?;
                // Asked while it is whole, and again where they go.
                refuse_used(&work, work.mark().await.own_volumes()).await?;
                backward(&mut work).await?;
                self.keeper.drop_hold(&work.id);
            }
            None => {
                if known.wishes.deletion_protection && self.rest_is_there(&host, object).await? {
                    let what = describe(Kind::Machine, object.name.as_str());
                    let host = host.name.clone();
                    return Err(EngineError::Protected { host, what });
                }
                self.remove_rest(&mut work, object).await?;
                self.collect(&host, &work.first_mark).await;
            }
        }
        Ok(())
    }

    /// Whether disks of a machine without definition are there.
    async fn rest_is_there(&self, host: &Host, object: &ObjectRef) -> Result<bool, EngineError> {
        let snapshot = host.fresh().await?;
        let left = left::volumes(host, &snapshot, object).await?;
        Ok(!left.is_empty())
    }

    async fn ended(
        &self,
        work: &mut Work<'_>,
        result: Result<(), EngineError>,
    ) -> Result<MachineView, EngineError> {
        result?;
        work.look().await?;
        let names: Vec<_> = work
            .desired
            .nics
            .values()
            .map(|nic| nic.network.clone())
            .collect();
        let snapshot = work
            .host
            .knowing(&work.desired.namespace, names.iter().map(String::as_str))
            .await?;
        match &work.found {
            Some(machine) => view_of(work.host, machine, &snapshot, &work.desired.name),
            None => Err(EngineError::Unknown {
                host: work.host.name.clone(),
                what: work.what(),
                why: "it was made and is not seen".to_owned(),
            }),
        }
    }
}

/// The volumes that an update deletes, by what is desired.
async fn going(work: &Work<'_>) -> BTreeSet<(PoolName, VolumeName)> {
    let mark = work.mark().await;
    intend(&work.desired, &mark, &work.host_name, &work.storage).discard
}

fn is_taken(error: &EngineError) -> bool {
    matches!(
        error.root(),
        EngineError::Host {
            source: DriverError::Exists { .. },
            ..
        }
    )
}

/// A machine of a state in a snapshot: by its token, wherever a hand has renamed it; a foreign one by its id.
pub(super) fn find_in<'a>(snapshot: &'a Snapshot, object: &ObjectRef) -> Option<&'a ObservedMachine> {
    let machines = &snapshot.machines;
    let Some(identity) = &object.identity else {
        let id = object.id.as_ref()?;
        return machines.iter().find(|m| &m.id == id);
    };
    let by_token = machines
        .iter()
        .find(|m| m.mark.ours().is_some_and(|mark| mark.token == identity.token));
    // The id finds it where the token does not: then somebody else has it now, or its mark was taken off.
    by_token.or_else(|| machines.iter().find(|m| m.id == identity.id))
}

fn view_of(
    host: &Host,
    machine: &ObservedMachine,
    snapshot: &Snapshot,
    name: &ObjectName,
) -> Result<MachineView, EngineError> {
    let unknown = |why: &str| EngineError::Unknown {
        host: host.name.clone(),
        what: describe(Kind::Machine, name.as_str()),
        why: why.to_owned(),
    };
    if let MarkState::Unreadable(why) = &machine.mark {
        return Err(unknown(why));
    }
    MachineView::new(machine, snapshot).ok_or_else(|| match &machine.detail {
        Detail::Unknown(why) => unknown(why),
        Detail::Known(_) => unknown("its definition could not be read"),
    })
}

/// An object of another namespace is another state's, whatever its name.
pub(super) fn refuse_other_namespace(
    host: &Host,
    kind: Kind,
    namespace: &Namespace,
    id: &str,
    mark: &MarkState,
) -> Result<(), EngineError> {
    match mark.ours() {
        Some(mark) if &mark.namespace != namespace => Err(EngineError::AlreadyExists {
            host: host.name.clone(),
            what: describe(kind, id),
            found: format!("in namespace {}", mark.namespace),
            way_out: format!(
                "Set namespace = {:?} in the provider to import it",
                mark.namespace.as_str()
            ),
        }),
        _ => Ok(()),
    }
}

/// The wish in the mark counts: it gets there with the end of a create, so that a half-made object is not bound.
pub(super) fn refuse_protected(
    host: &Host,
    kind: Kind,
    name: &ObjectName,
    mark: Option<&Mark>,
) -> Result<(), EngineError> {
    match mark {
        Some(mark) if Wishes::from_mark(mark).deletion_protection => Err(EngineError::Protected {
            host: host.name.clone(),
            what: describe(kind, name.as_str()),
        }),
        _ => Ok(()),
    }
}

/// Nothing is changed on a machine whose definition cannot be told; to remove it, its mark is enough.
fn refuse_unknown(work: &Work<'_>, machine: &ObservedMachine) -> Result<(), EngineError> {
    match &machine.detail {
        Detail::Known(_) => Ok(()),
        Detail::Unknown(why) => Err(EngineError::Unknown {
            host: work.host.name.clone(),
            what: work.what(),
            why: why.clone(),
        }),
    }
}

/// What is there instead, for a person who mistyped.
pub(super) fn listing(names: &[&str]) -> String {
    if names.is_empty() {
        "there are none".to_owned()
    } else {
        format!("there are {}", names.join(", "))
    }
}

/// Whether a machine keeps a network busy.
pub(super) fn keeps_busy(machine: &ObservedMachine) -> bool {
    machine.power != Power::Stopped
}
