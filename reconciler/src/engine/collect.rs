//! Images that no machine needs any more go; so do uploads whose builders are dead.

use std::collections::BTreeSet;
use std::sync::atomic::Ordering;

use labyard_driver::ids::{ObjectId, VolumeName};
use labyard_driver::mark::{Kind, Mark, Ownership, Stage};

use super::Embedded;
use crate::error::EngineError;
use crate::host::Host;
use crate::lease::{self, Holder};
use crate::steps::Work;

impl Embedded {
    /// A failed build may leave an upload that nobody needs; a good one never does, but a run that was killed may
    /// have: once a run is looked after that too.
    pub(super) async fn collect_after(&self, host: &Host, work: &Work<'_>, result: &Result<(), EngineError>) {
        let first = !host.looked_after.swap(true, Ordering::Relaxed);
        if (first || result.is_err()) && !work.desired.disks.is_empty() {
            self.collect(host).await;
        }
    }

    /// Removes images that no machine needs. What cannot be removed now is removed by the next operation.
    pub(super) async fn collect(&self, host: &Host) {
        let Ok(snapshot) = host.recent().await else { return };
        let Some(pool) = &snapshot.host.pool else { return };
        let needed = |marks: &[(ObjectId, Mark)]| self.needed_images(marks);
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
    fn needed_images(&self, marks: &[(ObjectId, Mark)]) -> BTreeSet<VolumeName> {
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
