//! Define: the machine's whole definition, taken by a running machine through a restart. Finish: what the machine
//! no longer needs goes, and the mark says that it is whole.

use futures::future::BoxFuture;
use labyard_driver::mark::{Ownership, Stage};
use labyard_driver::observed::MachineDetail;
use labyard_driver::spec::MachineSpec;

use super::{Outcome, Work, disks, power};
use crate::boot_order;
use crate::diff::machine::runs;
use crate::error::EngineError;

pub(super) fn ensure<'a>(work: &'a mut Work<'_>) -> BoxFuture<'a, Outcome> {
    Box::pin(async move {
        let accelerator = work.accelerator().await?;
        let spec = work.spec(work.mark().await, accelerator).await?;
        let running = runs(work.power());
        if running && needs_restart(&spec, work.detail()) {
            power::stop(work).await?;
        }
        work.may_mutate().await?;
        let record = work.record()?.clone();
        let held = record.hold().await;
        let spec = MachineSpec {
            mark: held.clone(),
            ..spec
        };
        if runs(work.power()) && spec.seed.is_some() {
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
        work.found = Some(defined);
        disks::grow(work).await
    })
}

/// Whether a running machine must be restarted to take the definition.
fn needs_restart(spec: &MachineSpec, detail: Option<&MachineDetail>) -> bool {
    let Some(detail) = detail else { return false };
    let live_cpus = detail.live_cpus.unwrap_or(detail.cpus);
    let live_memory = detail.live_memory.unwrap_or(detail.memory);
    let mut disks: Vec<_> = detail
        .disks
        .iter()
        .filter(|d| d.live != Some(false))
        .map(|d| d.volume.as_ref())
        .collect();
    let mut wanted: Vec<_> = spec.disks.iter().map(|d| Some(&d.volume)).collect();
    // Disks outside of the pool are not labyard's: they stay as they are.
    disks.retain(Option::is_some);
    disks.sort();
    wanted.sort();
    let mut nics: Vec<_> = detail
        .nics
        .iter()
        .filter(|n| n.live != Some(false))
        .map(|n| (n.mac, format!("{:?}", n.attachment)))
        .collect();
    let mut wanted_nics: Vec<_> = spec
        .nics
        .iter()
        .map(|n| (n.mac, format!("{:?}", n.attachment)))
        .collect();
    nics.sort();
    wanted_nics.sort();
    let seed_drive = spec.seed.is_some() && detail.cdroms.is_empty();
    live_cpus != spec.cpus
        || live_memory != spec.memory
        || disks != wanted
        || nics != wanted_nics
        || detail.direct_boot != spec.direct_boot
        || detail.guards != spec.guards
        || other_nvram(spec, detail)
        || !boot_order::holds(spec, detail)
        || seed_drive
}

/// Whether the machine is to keep its firmware's variables in another file than it does.
fn other_nvram(spec: &MachineSpec, detail: &MachineDetail) -> bool {
    let there = detail.nvram.as_ref().and_then(|nvram| nvram.volume.as_ref());
    let wanted = spec.nvram.as_ref().map(|nvram| &nvram.volume);
    wanted.is_some() && wanted != there
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
        && detail.direct_boot == spec.direct_boot
        && detail.guards == spec.guards
        && !other_nvram(spec, detail)
        && spec.disks.iter().all(|d| {
            detail
                .disks
                .iter()
                .any(|there| there.volume.as_ref() == Some(&d.volume))
        })
        && spec
            .nics
            .iter()
            .all(|n| detail.nics.iter().any(|there| there.mac == n.mac));
    if same {
        return Ok(());
    }
    Err(EngineError::Unknown {
        host: work.host.name.clone(),
        what: work.what(),
        why: "the host does not show the definition that it accepted".to_owned(),
    })
}

pub(super) fn finish<'a>(work: &'a mut Work<'_>) -> BoxFuture<'a, Outcome> {
    Box::pin(async move {
        let mark = work.mark().await;
        for (pool, volume) in &mark.discard {
            work.may_mutate().await?;
            work.host
                .driver
                .delete_volume(pool, volume)
                .await
                .map_err(work.failed())?;
        }
        let mut wishes = work.desired.wishes.clone();
        wishes.seed = crate::desired::Wishes::from_mark(&mark).seed;
        work.write(|mark| {
            mark.discard.clear();
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
