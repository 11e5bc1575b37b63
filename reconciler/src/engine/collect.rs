//! Images that no machine needs any more go; so do uploads whose builders are dead.

use std::collections::BTreeSet;
use std::sync::atomic::Ordering;

use labyard_driver::ids::{ObjectId, PoolName, VolumeName};
use labyard_driver::mark::{Kind, Mark, Ownership, Stage};
use labyard_driver::observed::{Activity, PoolKind};

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

/// Removes images that no machine needs, from the pools in which images may lie: the host's own, those of `of`
/// and those that marks name. What cannot be removed now is removed by the next operation.
pub(crate) async fn collect(host: &Host, deps: &Deps, of: &Mark) {
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
    let retention = Retention {
        keep: host.policy.image_retention,
        now: deps.clock.now(),
    };
    for pool in pools {
        let needed = |marks: &[(ObjectId, Mark)]| needed_images(deps, marks);
        match host.images.collect(&pool.name, retention, needed).await {
            Ok(removed) if removed.is_empty() => {}
            Ok(removed) => {
                tracing::info!(
                    host = %host.name, pool = %pool.name, images = removed.len(), "removed images that no machine needs"
                );
                host.observer.invalidate();
            }
            Err(error) => {
                tracing::warn!(host = %host.name, pool = %pool.name, %error, "images were not collected");
            }
        }
    }
}

/// The images that stay: those of machines that a state has, and of machines whose builder lives.
fn needed_images(deps: &Deps, marks: &[(ObjectId, Mark)]) -> BTreeSet<VolumeName> {
    let now = deps.clock.now();
    let needs = |mark: &&Mark| {
        mark.ownership == Ownership::Confirmed
            || mark.stage > Stage::Image
            || lease::holder(mark.lease.as_ref(), &deps.engine, deps.processes.as_ref(), now) != Holder::Dead
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
