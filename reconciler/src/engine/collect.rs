//! Images that no machine needs any more go; so do uploads whose builders are dead.

use std::collections::BTreeSet;
use std::sync::atomic::Ordering;

use labyard_driver::DriverError;
use labyard_driver::ids::{ObjectId, PoolName, VolumeName};
use labyard_driver::mark::{Kind, Mark, Ownership, Stage};
use labyard_driver::observed::{Activity, ObservedMachine, PoolKind, Snapshot};

use super::{Deps, Embedded};
use crate::error::EngineError;
use crate::host::Host;
use crate::image_store::Retention;
use crate::lease::{self, Holder};
use crate::steps::Work;

impl Embedded {
    /// A failed build may leave an upload that nobody needs; a good one never does, but a run that was killed may
    /// have: once a run is looked after that too.
    pub(super) async fn collect_after(&self, host: &Host, work: &Work<'_>, result: &Result<(), EngineError>) {
        let first = !host.looked_after.swap(true, Ordering::Relaxed);
        let with_images = !work.desired.disks.is_empty() || !work.desired.media.is_empty();
        if work.lets_go || ((first || result.is_err()) && with_images) {
            self.collect(host, &work.mark().await).await;
        }
    }

    /// [`collect`] with this engine's surroundings.
    pub(super) async fn collect(&self, host: &Host, of: &Mark) {
        collect(host, &self.deps, of).await;
    }
}

/// The same when a machine has let go of its images, as `of` named them. Where others need the same there is nothing to
/// remove; once a run is looked after what killed ones left, whoever needs what.
pub(crate) async fn collect_let_go(host: &Host, deps: &Deps, of: &Mark) {
    let looked_after = host.looked_after.swap(true, Ordering::Relaxed);
    if !looked_after || !others_need_the_same(host, deps, of).await {
        collect(host, deps, of).await;
    }
}

/// Removes images that no machine needs, from the pools in which images may lie: the host's own, those of `of`
/// and those that marks name. What cannot be removed now is removed by the next operation.
async fn collect(host: &Host, deps: &Deps, of: &Mark) {
    let Ok(snapshot) = host.recent().await else { return };
    let marks = snapshot.machines.iter().filter_map(|m| m.mark.ours());
    let named: BTreeSet<PoolName> = marks
        .chain([of])
        .flat_map(Mark::pools)
        .chain(snapshot.host.pool.clone())
        .collect();
    // No mark tells where images are that only wait for their end.
    let in_use = |pool: &PoolName| host.policy.image_retention.is_some() || named.contains(pool);
    let pools = snapshot.host.pools.iter().filter(|pool| {
        pool.kind == PoolKind::Directory && pool.active == Activity::Active && in_use(&pool.name)
    });
    for pool in pools {
        collect_in(host, deps, &pool.name).await;
    }
}

/// The same of one pool.
pub(super) async fn collect_in(host: &Host, deps: &Deps, pool: &PoolName) {
    let retention = Retention {
        keep: host.policy.image_retention,
        now: deps.clock.now(),
    };
    let needed = |marks: &[(ObjectId, Mark)]| needed_images(deps, marks);
    match host.images.collect(pool, retention, needed).await {
        Ok(removed) if removed.is_empty() => {}
        Ok(removed) => {
            tracing::info!(host = %host.name, %pool, images = removed.len(), "removed images that no machine needs");
            host.observer.invalidate();
        }
        Err(error) => tracing::warn!(host = %host.name, %pool, %error, "images were not collected"),
    }
}

/// How many machines are asked whether they need an image before all are.
const WITNESSES: usize = 20;

/// Whether each image of a machine that is going is another's too. Reading the marks of all machines for every one
/// that goes would make the end of a fleet dear; one that is there and needs the image is enough. It is read after
/// `of` was written: of two runs that end the last two machines of an image at once, one sees the other.
async fn others_need_the_same(host: &Host, deps: &Deps, of: &Mark) -> bool {
    let Ok(snapshot) = host.recent().await else {
        return false;
    };
    let named = of.disks.values().filter_map(|disk| disk.image.as_ref());
    let named = named.chain(of.media.values().filter_map(|medium| medium.image.as_ref()));
    if named.clone().any(|image| image.upload.is_some()) {
        return false;
    }
    let images: BTreeSet<&VolumeName> = of.image_volumes().collect();
    for image in &images {
        if !another_needs(host, deps, of, &snapshot, image).await {
            return false;
        }
    }
    !images.is_empty()
}

async fn another_needs(host: &Host, deps: &Deps, of: &Mark, snapshot: &Snapshot, image: &VolumeName) -> bool {
    let names = |mark: &Mark| mark.token != of.token && mark.image_volumes().any(|volume| volume == image);
    let known = |machine: &&ObservedMachine| machine.mark.ours().is_some_and(names);
    // Terraform ends objects in no order that is known; one that was found gone is not asked again.
    let candidates = snapshot.machines.iter().rev().filter(known);
    let candidates = candidates.filter(|machine| !host.is_known_gone(&machine.id));
    for machine in candidates.take(WITNESSES) {
        match host.driver.machine(&machine.id).await {
            Ok(now)
                if now
                    .mark
                    .ours()
                    .is_some_and(|mark| names(mark) && needs(deps, mark)) =>
            {
                return true;
            }
            Ok(_) | Err(DriverError::Missing { .. }) => host.know_gone(&machine.id),
            Err(_) => return false,
        }
    }
    false
}

/// Whether a machine keeps its images: one that a state has, or whose builder lives.
fn needs(deps: &Deps, mark: &Mark) -> bool {
    let holder = || {
        lease::holder(
            mark.lease.as_ref(),
            &deps.engine,
            deps.processes.as_ref(),
            deps.clock.now(),
        )
    };
    mark.ownership == Ownership::Confirmed || mark.stage > Stage::Image || holder() != Holder::Dead
}

/// The images that stay.
fn needed_images(deps: &Deps, marks: &[(ObjectId, Mark)]) -> BTreeSet<VolumeName> {
    let of_machines = marks
        .iter()
        .map(|(_, mark)| mark)
        .filter(|mark| mark.kind == Kind::Machine);
    of_machines
        .filter(|mark| needs(deps, mark))
        .flat_map(|mark| mark.image_volumes().cloned().collect::<Vec<_>>())
        .collect()
}
