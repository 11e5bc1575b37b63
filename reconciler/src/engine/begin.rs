//! Where the work on a machine begins: nothing there, left by a dead builder, standing, foreign until now, or disks
//! without a definition. Each becomes a mark to go on from.

use std::sync::Arc;

use labyard_driver::DriverError;
use labyard_driver::ids::{DiskKey, PoolName, VolumeName};
use labyard_driver::mark::{DiskMark, Kind, Made, Mark, NicMark, NvramMark, Ownership, SeedMark, Stage};
use labyard_driver::observed::{Attachment, Detail, MarkState, ObservedMachine, ObservedNetwork};
use tokio::time::Instant;

use super::claim::{same_host, same_owner};
use super::embedded::describe;
use super::machines::find_in;
use super::screens::screen_of;
use super::{Bounds, Embedded, ObjectRef};
use crate::console::Tail;
use crate::desired::DesiredMachine;
use crate::diff::{Disturbance, gravest, machine::diff};
use crate::error::EngineError;
use crate::host::Host;
use crate::identity;
use crate::intent::Storage;
use crate::lease;
use crate::left;
use crate::record::Record;
use crate::run::{backward, tell_of_removal};
use crate::steps::{Started, Work};
use crate::takeover::{Obstacle, obstacles};
use crate::view::{MachineView, Networks};

impl Embedded {
    /// The work on a machine, before anything is found.
    pub(super) async fn work<'a>(
        &'a self,
        host: &'a Host,
        desired: &DesiredMachine,
        bounds: &Bounds,
    ) -> Result<Work<'a>, EngineError> {
        let snapshot = host.recent().await?;
        Ok(Work {
            host,
            keeper: &self.keeper,
            deps: &self.deps,
            desired: Arc::new(desired.clone()),
            host_name: identity::host_name(&desired.namespace, &desired.name),
            storage: Storage::of(&snapshot, host.pool(&snapshot)?),
            found: None,
            record: None,
            first_mark: self.first_mark(desired),
            id: identity::new_object_id(self.deps.random.as_ref()),
            cancel: bounds.cancel.clone(),
            deadline: Instant::now() + bounds.limit,
            limit: bounds.limit,
            reserve: bounds.reserve,
            fence: bounds.fence.clone(),
            stage: Stage::Record,
            lets_go: false,
            seen: Vec::new(),
            tail: Tail::default(),
            started: Started::Not,
        })
    }

    pub(super) fn first_mark(&self, desired: &DesiredMachine) -> Mark {
        let token = identity::new_token(self.deps.random.as_ref());
        let lease = lease::grant(
            &self.deps.engine,
            self.deps.processes.as_ref(),
            self.deps.clock.now(),
        );
        Mark {
            lease: Some(lease),
            member: desired.member.clone(),
            ..Mark::building(
                Kind::Machine,
                desired.namespace.clone(),
                desired.name.clone(),
                token,
            )
        }
    }

    /// Goes on with what a dead builder left. Where that cannot become what is desired, it is taken away first: no
    /// state was ever told of it.
    pub(super) async fn adopt(
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
        crate::hooks::passage::take_up(work).await;
        let snapshot = work.host.recent().await?;
        let view = work
            .found
            .as_ref()
            .and_then(|machine| MachineView::new(machine, &snapshot));
        let changes = view
            .as_ref()
            .map(|view| diff(&work.desired, view))
            .unwrap_or_default();
        let same_disks = begun_alike(&work.first_mark, &work.desired);
        if same_disks && gravest(&changes) < Some(Disturbance::Replace) {
            return make_anew_what_is_not_defined(work, view.as_ref()).await;
        }
        let gone = work.mark().await;
        refuse_others(work, &gone)?;
        backward(work).await?;
        self.keeper.drop_hold(&work.id);
        self.collect(work.host, &gone).await;
        work.found = None;
        work.first_mark = self.first_mark(&work.desired);
        work.id = identity::new_object_id(self.deps.random.as_ref());
        work.started = Started::Not;
        Ok(())
    }

    /// The machine of a state as it stands now: by the id that the state holds, else by its token anywhere on the
    /// host. `None` where it is certain that there is none.
    pub(super) async fn locate(
        &self,
        host: &Host,
        object: &ObjectRef,
    ) -> Result<Option<ObservedMachine>, EngineError> {
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
        let found = find_in(&snapshot, object).cloned();
        if found.is_none() {
            same_host(host, Kind::Machine, object, &snapshot)?;
        }
        Ok(found)
    }

    /// Works on a machine that stands: with its own mark, or, foreign until now, with one made of what it shows.
    pub(super) async fn take_up(
        &self,
        work: &mut Work<'_>,
        object: &ObjectRef,
        machine: ObservedMachine,
    ) -> Result<(), EngineError> {
        same_owner(work.host, Kind::Machine, object, machine.mark.ours())?;
        let what = describe(Kind::Machine, object.name.as_str());
        work.id = machine.id.clone();
        work.host_name = machine.host_name.clone();
        let mark = match &machine.mark {
            MarkState::Ours(mark) => (**mark).clone(),
            MarkState::Unreadable(why) => {
                let (host, why) = (work.host.name.clone(), why.clone());
                return Err(EngineError::Unknown { host, what, why });
            }
            MarkState::None => {
                let mark = self.mark_of_foreign(work, &machine)?;
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
            // The lease in it is of the run that did not come to its end.
            let lease = lease::grant(
                &self.deps.engine,
                self.deps.processes.as_ref(),
                self.deps.clock.now(),
            );
            record
                .update(|mark| mark.lease = Some(lease))
                .await
                .map_err(work.failed())?;
            self.keeper
                .hold(record.clone(), work.host.renewals.clone(), &self.deps);
        }
        work.record = Some(record);
        work.found = Some(machine);
        Ok(())
    }

    fn mark_of_foreign(&self, work: &Work<'_>, machine: &ObservedMachine) -> Result<Mark, EngineError> {
        let mut mark = Mark {
            ownership: Ownership::Building,
            stage: Stage::Finished,
            ..self.first_mark(&work.desired)
        };
        let detail = match &machine.detail {
            Detail::Known(detail) => detail,
            Detail::Unknown(why) => {
                let (host, what, why) = (work.host.name.clone(), work.what(), why.clone());
                return Err(EngineError::Unknown { host, what, why });
            }
        };
        if let Some(Obstacle { disk, why }) = obstacles(&detail.disks).into_iter().next() {
            let message = format!("the machine cannot become labyard's with this disk: {why}");
            return Err(work.at(format!("disks[{:?}]", disk.as_str()), message));
        }
        for disk in &detail.disks {
            let Some(volume) = &disk.volume else { continue };
            let known = DiskMark {
                made: Made::Whole,
                pool: disk.pool.clone().unwrap_or_else(|| work.storage.pool.clone()),
                volume: volume.clone(),
                format: disk.format,
                target: disk.target.clone(),
                image: None,
                clone: None,
                on_remove: None,
                boot: None,
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
                    boot: None,
                },
            );
        }
        Ok(mark)
    }

    /// A machine whose definition is gone and whose disks are there is recorded again under the same token, with
    /// its disks; its mark is made of what the state knows, so that what leaves the configuration is dealt with.
    pub(super) async fn put_back(
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
        let mut mark = self.first_mark(&work.desired);
        mark.token = identity.token.clone();
        mark.origin = identity.origin.clone();
        mark = crate::intent::intend(known, &mark, &work.host_name, &work.storage);
        // What is there of the disks is whole: the machine had come to its end once. What is not is made again.
        mark.disks.values_mut().for_each(|disk| disk.made = Made::Whole);
        let networks = Networks {
            snapshot: &snapshot,
            namespace: Some(&known.namespace),
        };
        for (key, nic) in &mut mark.nics {
            let network = networks.resolve(&nic.network);
            // Nothing but its MAC says whose a reservation is: on networks of other namespaces only one's own name's is.
            let own = identity::derived_mac(&snapshot.host.uuid, &object.namespace, &object.name, key);
            let may_be_its = |network: &&ObservedNetwork| {
                let of_network = network.mark.ours().map(|mark| &mark.namespace);
                nic.mac == own || of_network == Some(&object.namespace)
            };
            let kept = network.filter(may_be_its).map(|network| &network.reservations);
            nic.reserved = kept.and_then(|all| Some(all.iter().find(|r| r.mac == nic.mac)?.address));
        }
        let there = left::volumes(work.host, &snapshot, object).await?;
        // The host's pool, and the machine's name, may have been others when a disk was made.
        for (key, disk) in &mut mark.disks {
            let is_it = |(_, volume): &&(PoolName, VolumeName)| {
                *volume == disk.volume || identity::is_of_disk(volume, key)
            };
            if let Some((pool, volume)) = there.iter().find(is_it) {
                (disk.pool, disk.volume) = (pool.clone(), volume.clone());
            }
        }
        mark.discard.extend(outlived(&there, identity::seed_revision));
        mark.discard.extend(outlived(&there, identity::nvram_revision));
        // Without its definition there is nothing that the memory could go on in.
        let of_moment = there.iter().filter(|(_, volume)| identity::is_of_moment(volume));
        mark.discard.extend(of_moment.cloned());
        let latest = there
            .iter()
            .filter_map(|(pool, volume)| identity::seed_revision(volume).map(|r| (r, pool, volume)))
            .max();
        mark.seed = latest.map(|(revision, pool, volume)| SeedMark {
            pool: pool.clone(),
            volume: volume.clone(),
            length: 0,
            revision,
        });
        let latest = there
            .iter()
            .filter_map(|(pool, volume)| identity::nvram_revision(volume).map(|r| (r, pool, volume)))
            .max();
        mark.nvram = latest.map(|(revision, pool, volume)| NvramMark {
            made: Made::Whole,
            pool: pool.clone(),
            volume: volume.clone(),
            revision,
            previous: None,
            former: None,
            secure_boot: known.guards.secure_boot,
            ca_certificate: known.ca_certificate.clone(),
        });
        work.id = identity.id.clone();
        work.first_mark = mark;
        Ok(())
    }

    /// Of a machine without definition: the volumes that carry its token, and its addresses.
    pub(super) async fn remove_rest(
        &self,
        work: &mut Work<'_>,
        object: &ObjectRef,
    ) -> Result<(), EngineError> {
        if object.identity.is_none() {
            return Ok(());
        }
        let known = work.desired.clone();
        self.put_back(work, object, &known).await?;
        tell_of_removal(work).await?;
        crate::steps::release_addresses(work).await?;
        remove_screen(work).await?;
        let snapshot = work.host.fresh().await?;
        for (pool, volume) in left::volumes(work.host, &snapshot, object).await? {
            work.may_mutate().await?;
            work.host
                .driver
                .delete_volume(&pool, &volume)
                .await
                .map_err(work.failed())?;
        }
        work.host.observer.invalidate();
        Ok(())
    }
}

/// Of a machine of a pool nobody can say any more whether it had a screen.
async fn remove_screen(work: &Work<'_>) -> Result<(), EngineError> {
    if work.desired.member.is_none() {
        return Ok(());
    }
    work.may_mutate().await?;
    let screen = screen_of(&work.id, &work.mark().await);
    let removed = work.host.driver.remove_screen(&screen).await;
    removed.map_err(work.failed())
}

/// The volumes of a kind that a later one has replaced: all but that of the highest revision.
fn outlived(
    there: &[(PoolName, VolumeName)],
    revision: fn(&VolumeName) -> Option<u32>,
) -> Vec<(PoolName, VolumeName)> {
    let mut of_kind: Vec<_> = there
        .iter()
        .filter_map(|found| Some((revision(&found.1)?, found)))
        .collect();
    of_kind.sort();
    of_kind.pop();
    of_kind.into_iter().map(|(_, found)| found.clone()).collect()
}

/// What a dead run had only taken over is not what it had made, and nobody's to take away.
fn refuse_others(work: &Work<'_>, mark: &Mark) -> Result<(), EngineError> {
    let volumes = mark.own_volumes();
    let made_here = |volume: &VolumeName| identity::volume_carries(volume, &mark.origin);
    match volumes.iter().find(|(_, volume)| !made_here(volume)) {
        None => Ok(()),
        Some((pool, volume)) => Err(EngineError::AlreadyExists {
            host: work.host.name.clone(),
            what: work.what(),
            found: format!(
                "taken over by a run that did not come to its end, with volume {volume} of pool {pool}, which labyard did \
                 not make"
            ),
            way_out: format!(
                "To manage it from here: terraform import ADDRESS {}/{}; otherwise choose another name",
                work.host.name, work.desired.name
            ),
        }),
    }
}

/// Whether the disks that a dead builder began are those that are wanted, of the same images.
fn begun_alike(mark: &Mark, desired: &DesiredMachine) -> bool {
    mark.disks.iter().all(|(key, begun)| {
        let Some(wanted) = desired.disks.get(key) else {
            return false;
        };
        let begun = begun.image.as_ref().map(|image| (&image.source, &image.sha256));
        let wanted = wanted.image.as_ref().map(|image| (&image.source, &image.sha256));
        begun == wanted
    })
}

/// Disks that no definition shows yet may have been made for another configuration, and nobody has written to them.
async fn make_anew_what_is_not_defined(
    work: &mut Work<'_>,
    view: Option<&MachineView>,
) -> Result<(), EngineError> {
    let defined = |key: &DiskKey| view.is_some_and(|view| view.disks.contains_key(key));
    work.write(|mark| {
        let origin = mark.origin.clone();
        // What was only taken over is never made anew.
        let undefined = mark
            .disks
            .iter_mut()
            .filter(|(key, disk)| !defined(key) && identity::volume_carries(&disk.volume, &origin));
        undefined.for_each(|(_, disk)| disk.made = Made::Begun);
    })
    .await
    .map(drop)
}
