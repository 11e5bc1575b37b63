//! Define: the machine's whole definition, taken by a running machine live or through a restart. Finish: what the machine
//! no longer needs goes, and the mark says that it is whole.

use futures::future::BoxFuture;
use labyard_driver::DriverError;
use labyard_driver::mark::{Leaving, Ownership, Stage};
use labyard_driver::observed::{MachineDetail, ObservedNic, Power};
use labyard_driver::spec::{DriveSpec, Isolation, MachineSpec, NicSpec};

use super::{Outcome, Work, disks, firmware, live, power};
use crate::bystanders::refuse_used;
use crate::diff::machine::runs;
use crate::error::EngineError;
use crate::identity;
use crate::live::{fits, other_nvram};
use crate::view::shown_name;

pub(super) fn ensure<'a>(work: &'a mut Work<'_>) -> BoxFuture<'a, Outcome> {
    Box::pin(async move {
        firmware::ensure(work).await?;
        let accelerator = work.accelerator().await?;
        let spec = work.spec(work.mark().await, accelerator).await?;
        let renamed = work
            .found
            .as_ref()
            .is_some_and(|m| shown_name(m) != work.desired.name);
        if renamed && runs(work.power()) {
            live::restart(work, "a machine is renamed while it is off").await?;
        }
        if renamed && work.power() == Power::Crashed {
            power::stop(work).await?;
        }
        live::approach(work, &spec).await?;
        work.may_mutate().await?;
        if renamed {
            rename(work).await?;
        }
        let record = work.record()?.clone();
        let held = record.hold().await;
        let spec = MachineSpec {
            mark: held.clone(),
            host_name: work.host_name.clone(),
            ..spec
        };
        let drives = spec.seed.is_some() || !spec.media.is_empty();
        let had = work.detail().is_some_and(|detail| !detail.cdroms.is_empty());
        if runs(work.power()) && (drives || had) {
            work.host
                .driver
                .change_medium(&spec)
                .await
                .map_err(work.failed())?;
        }
        let defined = work
            .host
            .driver
            .define_machine(&spec)
            .await
            .map_err(work.failed())?;
        drop(held);
        verify(work, &spec, defined.detail.known())?;
        if defined.autostart != work.desired.autostart {
            work.may_mutate().await?;
            let (driver, autostart) = (&work.host.driver, work.desired.autostart);
            let set = driver.set_autostart(&work.id, autostart).await;
            set.map_err(work.failed())?;
        }
        work.found = Some(defined);
        disks::grow(work).await
    })
}

/// Its name on the host follows the user's; the mark says the new one already.
async fn rename(work: &mut Work<'_>) -> Outcome {
    let desired = &work.desired;
    let host_name = identity::host_name(&desired.namespace, &desired.name);
    let renamed = work.host.driver.rename_machine(&work.id, &host_name).await;
    match renamed {
        Ok(()) => {}
        Err(DriverError::Exists { .. }) => {
            let message = format!(
                "host {} has another machine called {host_name}: choose another name, or move that one first",
                work.host.name
            );
            return Err(work.at("name", message));
        }
        Err(error) => return Err(work.failed()(error)),
    }
    work.host_name = host_name;
    work.look().await
}

/// Success means observed: what the host shows now is what was asked for.
fn verify(work: &Work<'_>, spec: &MachineSpec, detail: Option<&MachineDetail>) -> Outcome {
    let Some(detail) = detail else {
        return Err(EngineError::Unknown {
            host: work.host.name.clone(),
            what: work.what(),
            why: "its new definition could not be read back".to_owned(),
        });
    };
    let same = detail.cpus == spec.cpus
        && detail.memory == spec.memory
        && spec.cpus_max.is_none_or(|most| detail.cpus_max == most)
        && spec.memory_max.is_none_or(|most| detail.memory_max == most)
        && detail.direct_boot == spec.direct_boot
        && detail.guards == spec.guards
        && !other_nvram(spec, detail)
        && spec.disks.iter().all(|d| {
            detail
                .disks
                .iter()
                .any(|there| there.volume.as_ref() == Some(&d.volume))
        })
        && spec.nics.iter().all(|n| {
            detail
                .nics
                .iter()
                .any(|there| there.mac == n.mac && keeps_apart(n, there))
        })
        && fits(spec, &detail.hardware)
        && spec.media.iter().all(|drive| holds(drive, detail));
    if same {
        return Ok(());
    }
    Err(EngineError::Unknown {
        host: work.host.name.clone(),
        what: work.what(),
        why: "the host does not show the definition that it accepted".to_owned(),
    })
}

/// A NIC that shall be kept apart is.
fn keeps_apart(wanted: &NicSpec, there: &ObservedNic) -> bool {
    wanted.isolation == Isolation::Open || there.isolation == wanted.isolation
}

/// Whether a drive has in it what was asked for, in what runs too.
fn holds(drive: &DriveSpec, detail: &MachineDetail) -> bool {
    let Some(there) = detail.cdroms.get(&drive.target) else {
        return false;
    };
    let wanted = drive.medium.as_ref().map(|(_, volume)| volume);
    let path = there.as_ref().map_or("", |medium| medium.path.as_str());
    let live = detail.live_cdroms.as_ref();
    there.as_ref().and_then(|medium| medium.volume.as_ref()) == wanted
        && live.is_none_or(|live| live.get(&drive.target).is_some_and(|live| live == path))
}

pub(super) fn finish<'a>(work: &'a mut Work<'_>) -> BoxFuture<'a, Outcome> {
    Box::pin(async move {
        let mark = work.mark().await;
        work.lets_go |= !mark.ejecting.is_empty();
        refuse_used(work, mark.discard.iter().cloned()).await?;
        for (pool, volume) in &mark.discard {
            work.may_mutate().await?;
            work.host
                .driver
                .delete_volume(pool, volume)
                .await
                .map_err(work.failed())?;
        }
        firmware::discard_former(work, &mark).await?;
        let mut wishes = work.desired.wishes.clone();
        wishes.seed = crate::desired::Wishes::from_mark(&mark).seed;
        work.write(|mark| {
            mark.discard.clear();
            if let Some(nvram) = &mut mark.nvram {
                nvram.former = None;
            }
            mark.ejecting.clear();
            mark.leaving = Leaving::default();
            mark.wishes = wishes.to_json();
            mark.stage = Stage::Finished;
            if mark.ownership == Ownership::Confirmed {
                // A confirmed machine needs no builder's lease.
                mark.lease = None;
            }
        })
        .await
        .map(drop)
    })
}

/// The first thing of a removal that cannot be taken back, once the machine is off (a guest that hangs may hold its
/// mark locked until then): the mark says that it is on its way out.
pub(super) fn retire<'a>(work: &'a mut Work<'_>) -> BoxFuture<'a, Outcome> {
    Box::pin(async move { work.write(|mark| mark.stage = Stage::Retire).await.map(drop) })
}
