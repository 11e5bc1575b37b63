//! Machines: read, find, create, update, destroy.

use std::collections::BTreeSet;
use std::sync::Arc;

use labyard_driver::DriverError;
use labyard_driver::ids::{Bytes, HostName, Namespace, ObjectName, VolumeName};
use labyard_driver::mark::{DiskMark, Kind, Made, Mark, NicMark, Ownership, SeedMark, Stage, VERSION};
use labyard_driver::observed::{Attachment, Detail, MarkState, ObservedMachine, Power, Snapshot};
use tokio::time::Instant;

use super::claim::{Claim, Name, claim, same_owner};
use super::embedded::describe;
use super::{Bounds, Embedded, ObjectRef, Reading};
use crate::console::Tail;
use crate::desired::DesiredMachine;
use crate::diff::{Disturbance, gravest, machine::diff};
use crate::error::EngineError;
use crate::host::Host;
use crate::identity::{self, Identity};
use crate::lease::{self, Holder};
use crate::record::Record;
use crate::run::{Report, backward, forward};
use crate::steps::{Started, Work};
use crate::view::{MachineView, Networks, volumes_of};

/// How often a create begins anew because another took the name between look and record.
const RACES: usize = 3;

impl Embedded {
    pub(super) async fn machine_read(&self, object: &ObjectRef) -> Result<Reading<MachineView>, EngineError> {
        let host = self.host(&object.host)?;
        let snapshot = host.fresh().await?;
        let Some(machine) = find_in(&snapshot, object) else {
            let disks = object
                .identity
                .as_ref()
                .is_some_and(|i| volumes_of(&snapshot, i).next().is_some());
            return Ok(if disks { Reading::DisksOnly } else { Reading::Gone });
        };
        let view = view_of(host, machine, &snapshot, &object.name)?;
        if let Some(identity) = &object.identity {
            self.check_owner(host, object, machine)?;
            if let MarkState::Ours(mark) = &machine.mark
                && mark.ownership == Ownership::Building
            {
                self.confirm_later(host, Kind::Machine, identity);
            }
        }
        Ok(Reading::Present(Box::new(view)))
    }

    pub(super) fn confirm_later(&self, host: &Arc<Host>, kind: Kind, identity: &Identity) {
        let (host, identity) = (host.clone(), identity.clone());
        let mut background = self
            .background
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        background.spawn(async move { super::claim::confirm_known(&host, kind, &identity).await });
    }

    fn check_owner(
        &self,
        host: &Host,
        object: &ObjectRef,
        machine: &ObservedMachine,
    ) -> Result<(), EngineError> {
        let (Some(identity), Some(mark)) = (&object.identity, machine.mark.ours()) else {
            return Ok(());
        };
        same_owner(host, Kind::Machine, &object.name, &identity.token, mark)
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
        };
        for _ in 0..RACES {
            let claimed = claim(&host, &self.deps, &name, &bounds.cancel).await?;
            let mut work = self.work(&host, desired, &bounds).await?;
            match claimed {
                Claim::Free => work.first_mark = self.first_mark(desired),
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
            Some(machine) => self.take_up(&mut work, object, machine).await?,
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
                self.check_owner(&host, object, &machine)?;
                if machine.mark.ours().is_none() {
                    let (host, what) = (host.name.clone(), describe(Kind::Machine, object.name.as_str()));
                    return Err(EngineError::NotOurs { host, what });
                }
                self.take_up(&mut work, object, machine).await?;
                backward(&mut work).await?;
                self.keeper.drop_hold(&work.id);
            }
            None => self.remove_rest(&mut work, object).await?,
        }
        self.collect(&host).await;
        Ok(())
    }

    /// The work on a machine, before anything is found.
    async fn work<'a>(
        &'a self,
        host: &'a Host,
        desired: &'a DesiredMachine,
        bounds: &Bounds,
    ) -> Result<Work<'a>, EngineError> {
        let snapshot = host.recent().await?;
        Ok(Work {
            host,
            keeper: &self.keeper,
            deps: &self.deps,
            desired,
            host_name: identity::host_name(&desired.namespace, &desired.name),
            pool: host.pool(&snapshot)?,
            found: None,
            record: None,
            first_mark: self.first_mark(desired),
            id: identity::new_object_id(self.deps.random.as_ref()),
            cancel: bounds.cancel.clone(),
            deadline: Instant::now() + bounds.limit,
            limit: bounds.limit,
            stage: Stage::Record,
            seen: Vec::new(),
            tail: Tail::default(),
            started: Started::Not,
        })
    }

    fn first_mark(&self, desired: &DesiredMachine) -> Mark {
        let token = identity::new_token(self.deps.random.as_ref());
        let lease = lease::grant(
            &self.deps.engine,
            self.deps.processes.as_ref(),
            self.deps.clock.now(),
        );
        Mark {
            version: VERSION,
            namespace: desired.namespace.clone(),
            kind: Kind::Machine,
            name: desired.name.clone(),
            origin: token.clone(),
            token,
            ownership: Ownership::Building,
            stage: Stage::Record,
            lease: Some(lease),
            disks: Default::default(),
            nics: Default::default(),
            seed: None,
            discard: Default::default(),
            released: Default::default(),
            give_back: Vec::new(),
            wishes: serde_json::Value::Null,
        }
    }

    /// Goes on with what a dead builder left. Where that cannot become what is desired, it is taken away first: no
    /// state was ever told of it.
    async fn adopt(
        &self,
        work: &mut Work<'_>,
        id: labyard_driver::ids::ObjectId,
        mark: Mark,
    ) -> Result<(), EngineError> {
        work.id = id.clone();
        work.first_mark = mark.clone();
        let record = Arc::new(Record::new(work.host.driver.clone(), id, mark));
        self.keeper
            .hold(record.clone(), work.host.renewals.clone(), &self.deps);
        work.record = Some(record);
        work.look().await?;
        work.started = Started::Adopted;
        let snapshot = work.host.recent().await?;
        let view = work
            .found
            .as_ref()
            .and_then(|machine| MachineView::new(machine, &snapshot));
        let changes = view.map(|view| diff(work.desired, &view)).unwrap_or_default();
        if gravest(&changes) < Some(Disturbance::Replace) {
            return Ok(());
        }
        backward(work).await?;
        self.keeper.drop_hold(&work.id);
        work.found = None;
        work.first_mark = self.first_mark(work.desired);
        work.id = identity::new_object_id(self.deps.random.as_ref());
        work.started = Started::Not;
        Ok(())
    }

    /// The machine of a state as it stands now: by the id that the state holds, else by its token anywhere on the
    /// host. `None` where it is certain that there is none.
    async fn locate(&self, host: &Host, object: &ObjectRef) -> Result<Option<ObservedMachine>, EngineError> {
        let id = object.identity.as_ref().map(|i| &i.id).or(object.id.as_ref());
        if let Some(id) = id {
            match host.driver.machine(id).await {
                Ok(machine) => return Ok(Some(machine)),
                Err(DriverError::Missing { .. }) => {}
                Err(error) => return Err(host.failed(describe(Kind::Machine, object.name.as_str()))(error)),
            }
        }
        host.observer.invalidate();
        let snapshot = host.fresh().await?;
        Ok(find_in(&snapshot, object).cloned())
    }

    /// Works on a machine that stands: with its own mark, or, foreign until now, with one made of what it shows.
    async fn take_up(
        &self,
        work: &mut Work<'_>,
        object: &ObjectRef,
        machine: ObservedMachine,
    ) -> Result<(), EngineError> {
        self.check_owner(work.host, object, &machine)?;
        let what = describe(Kind::Machine, object.name.as_str());
        if let Detail::Unknown(why) = &machine.detail {
            let (host, why) = (work.host.name.clone(), why.clone());
            return Err(EngineError::Unknown { host, what, why });
        }
        work.id = machine.id.clone();
        work.host_name = machine.host_name.clone();
        let mark = match &machine.mark {
            MarkState::Ours(mark) => (**mark).clone(),
            MarkState::Unreadable(why) => {
                let (host, why) = (work.host.name.clone(), why.clone());
                return Err(EngineError::Unknown { host, what, why });
            }
            MarkState::None => {
                let mark = self.mark_of_foreign(work, &machine);
                work.host
                    .driver
                    .write_mark(&machine.id, &mark)
                    .await
                    .map_err(work.failed())?;
                mark
            }
        };
        let building = mark.ownership == Ownership::Building;
        work.first_mark = mark.clone();
        let record = Arc::new(Record::new(work.host.driver.clone(), machine.id.clone(), mark));
        if building {
            self.keeper
                .hold(record.clone(), work.host.renewals.clone(), &self.deps);
        }
        work.record = Some(record);
        work.found = Some(machine);
        Ok(())
    }

    fn mark_of_foreign(&self, work: &Work<'_>, machine: &ObservedMachine) -> Mark {
        let mut mark = Mark {
            ownership: Ownership::Building,
            stage: Stage::Finished,
            ..self.first_mark(work.desired)
        };
        let Some(detail) = machine.detail.known() else {
            return mark;
        };
        for disk in &detail.disks {
            let Some(volume) = &disk.volume else { continue };
            let known = DiskMark {
                made: Made::Whole,
                pool: work.pool.clone(),
                volume: volume.clone(),
                target: disk.target.clone(),
                image: None,
                clone: None,
                on_remove: None,
            };
            mark.disks.insert(disk.target.as_str().into(), known);
        }
        for nic in &detail.nics {
            let Some((key, wanted)) = work.desired.nics.iter().find(|(_, wanted)| wanted.mac == nic.mac)
            else {
                continue;
            };
            let network = match &nic.attachment {
                Attachment::Network(name) if *name != wanted.network => name.clone(),
                _ => wanted.network.clone(),
            };
            mark.nics.insert(
                key.clone(),
                NicMark {
                    network,
                    mac: nic.mac,
                    reserved: None,
                },
            );
        }
        mark
    }

    /// A machine whose definition is gone and whose disks are there is recorded again under the same token, with
    /// its disks; its mark is made of what the state knows, so that what leaves the configuration is dealt with.
    async fn put_back(
        &self,
        work: &mut Work<'_>,
        object: &ObjectRef,
        known: &DesiredMachine,
    ) -> Result<(), EngineError> {
        let Some(identity) = &object.identity else {
            let (host, what) = (
                work.host.name.clone(),
                describe(Kind::Machine, object.name.as_str()),
            );
            return Err(EngineError::NotFound {
                host,
                what,
                found: "it is gone".to_owned(),
            });
        };
        let snapshot = work.host.fresh().await?;
        let mut mark = self.first_mark(work.desired);
        mark.token = identity.token.clone();
        mark.origin = identity.origin.clone();
        mark = crate::intent::intend(known, &mark, &work.host_name, &work.pool);
        // What is there of the disks is whole: the machine had come to its end once. What is not is made again.
        mark.disks.values_mut().for_each(|disk| disk.made = Made::Whole);
        let networks = Networks {
            snapshot: &snapshot,
            namespace: Some(&known.namespace),
        };
        for nic in mark.nics.values_mut() {
            nic.reserved = networks.resolve(&nic.network).and_then(|network| {
                network
                    .reservations
                    .iter()
                    .find(|r| r.mac == nic.mac)
                    .map(|r| r.address)
            });
        }
        let there = volumes_of(&snapshot, identity);
        let latest = there
            .filter_map(|volume| identity::seed_revision(volume).map(|r| (r, volume)))
            .max();
        mark.seed = latest.map(|(revision, volume)| SeedMark {
            pool: work.pool.clone(),
            volume: volume.clone(),
            length: 0,
            revision,
        });
        work.id = identity.id.clone();
        work.first_mark = mark;
        Ok(())
    }

    /// Of a machine without definition: the volumes that carry its token, and its addresses.
    async fn remove_rest(&self, work: &mut Work<'_>, object: &ObjectRef) -> Result<(), EngineError> {
        let Some(identity) = &object.identity else {
            return Ok(());
        };
        let known = work.desired;
        self.put_back(work, object, known).await?;
        crate::steps::release_addresses(work).await?;
        let snapshot = work.host.fresh().await?;
        for volume in volumes_of(&snapshot, identity) {
            work.host
                .driver
                .delete_volume(&work.pool, volume)
                .await
                .map_err(work.failed())?;
        }
        work.host.observer.invalidate();
        Ok(())
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

    /// A failed build may leave an upload that nobody needs; a good one never does.
    async fn collect_after(&self, host: &Host, work: &Work<'_>, result: &Result<(), EngineError>) {
        if result.is_err() && !work.desired.disks.is_empty() {
            self.collect(host).await;
        }
    }

    /// Removes images that no machine needs. What cannot be removed now is removed by the next operation.
    async fn collect(&self, host: &Host) {
        let Ok(snapshot) = host.recent().await else { return };
        let Some(pool) = &snapshot.host.pool else { return };
        let needed = |marks: &[(labyard_driver::ids::ObjectId, Mark)]| self.needed_images(marks);
        match host.images.collect(pool, needed).await {
            Ok(removed) if removed.is_empty() => {}
            Ok(removed) => {
                tracing::info!(host = %host.name, images = removed.len(), "removed images that no machine needs");
                host.observer.invalidate();
            }
            Err(error) => tracing::warn!(host = %host.name, %error, "images were not collected"),
        }
    }

    /// The images that stay: those of machines that a state has, and of machines whose builder lives.
    fn needed_images(&self, marks: &[(labyard_driver::ids::ObjectId, Mark)]) -> BTreeSet<VolumeName> {
        let (deps, now) = (&self.deps, self.deps.clock.now());
        let needs = |mark: &&Mark| {
            mark.ownership == Ownership::Confirmed
                || mark.stage > Stage::Image
                || lease::holder(mark.lease.as_ref(), &deps.engine, deps.processes.as_ref(), now)
                    != Holder::Dead
        };
        let of_machines = marks
            .iter()
            .map(|(_, mark)| mark)
            .filter(|mark| mark.kind == Kind::Machine);
        of_machines
            .filter(needs)
            .flat_map(|mark| mark.image_volumes().cloned().collect::<Vec<_>>())
            .collect()
    }
}

fn is_taken(error: &EngineError) -> bool {
    matches!(
        error,
        EngineError::Host {
            source: DriverError::Exists { .. },
            ..
        }
    )
}

/// A machine of a state in a snapshot: by its token, wherever a hand has renamed it; a foreign one by its id.
fn find_in<'a>(snapshot: &'a Snapshot, object: &ObjectRef) -> Option<&'a ObservedMachine> {
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
