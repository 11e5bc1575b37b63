//! Before a volume goes that labyard did not make: whether anybody else on the host uses it. A host deletes what other
//! machines have attached and what overlays stand on without a word, so the guard is ours. Volumes that carry the
//! machine's own token are nobody else's, and nothing is asked for them.

use std::collections::BTreeMap;

use futures::future::try_join_all;
use labyard_driver::DriverError;
use labyard_driver::ids::{PoolName, VolumeName};
use labyard_driver::observed::{Activity, Detail, ObservedMachine, PoolKind, Snapshot};

use crate::error::EngineError;
use crate::foreign::with_foreign;
use crate::host::Host;
use crate::identity;
use crate::steps::Work;

/// A volume and the pool that it lies in.
type Volume = (PoolName, VolumeName);

/// Refuses the deletion of volumes of which somebody else uses one, or may use one: what cannot be read is not free.
pub async fn refuse_used(
    work: &Work<'_>,
    volumes: impl IntoIterator<Item = Volume>,
) -> Result<(), EngineError> {
    let origin = work.mark().await.origin;
    let suspects = volumes
        .into_iter()
        .filter(|(_, volume)| !identity::volume_carries(volume, &origin));
    let paths = paths(work, suspects).await?;
    if paths.is_empty() {
        return Ok(());
    }
    // Nothing is taken away by an old look.
    work.host.observer.invalidate();
    let snapshot = with_foreign(work.host).await?;
    for machine in snapshot.machines.iter().filter(|machine| machine.id != work.id) {
        if let Some(volume) = used_by(work, machine, &paths)? {
            return Err(in_use(work, volume, format!("machine {:?}", machine.host_name)));
        }
    }
    match overlay(work.host, &snapshot, &paths).await? {
        Some((volume, (pool, overlay))) => {
            let user = format!("volume {overlay} of pool {pool}, which stands on it");
            Err(in_use(work, &volume, user))
        }
        None => Ok(()),
    }
}

/// Where the volumes lie that are there.
async fn paths(
    work: &Work<'_>,
    volumes: impl Iterator<Item = Volume>,
) -> Result<BTreeMap<String, Volume>, EngineError> {
    let mut paths = BTreeMap::new();
    for (pool, volume) in volumes {
        match work.host.driver.volume(&pool, &volume).await {
            Ok(detail) => drop(paths.insert(detail.path, (pool, volume))),
            Err(DriverError::Missing { .. }) => {}
            Err(error) => return Err(work.failed()(error)),
        }
    }
    Ok(paths)
}

fn used_by<'a>(
    work: &Work<'_>,
    machine: &ObservedMachine,
    paths: &'a BTreeMap<String, Volume>,
) -> Result<Option<&'a Volume>, EngineError> {
    let detail = match &machine.detail {
        Detail::Known(detail) => detail,
        Detail::Unknown(why) => {
            return Err(EngineError::Unknown {
                host: work.host.name.clone(),
                what: format!(
                    "machine {:?}, which may use a disk that is to be deleted,",
                    machine.host_name
                ),
                why: why.clone(),
            });
        }
    };
    let disks = detail.disks.iter().map(|disk| &disk.path);
    let media = detail.cdroms.values().flatten().map(|medium| &medium.path);
    let live = detail.live_cdroms.iter().flat_map(BTreeMap::values);
    let mut used = disks.chain(media).chain(live);
    Ok(used.find_map(|path| paths.get(path)))
}

/// A volume of the host that stands on one of these, and the one that it stands on.
async fn overlay(
    host: &Host,
    snapshot: &Snapshot,
    paths: &BTreeMap<String, Volume>,
) -> Result<Option<(Volume, Volume)>, EngineError> {
    let pools = snapshot.host.pools.iter().filter(|pool| {
        pool.active == Activity::Active && matches!(pool.kind, PoolKind::Directory | PoolKind::Logical)
    });
    for pool in pools {
        let failed = || host.failed(format!("storage pool {}", pool.name));
        let names = host.driver.volumes(&pool.name).await.map_err(failed())?;
        let reads = names
            .iter()
            .map(async |name| match host.driver.volume(&pool.name, name).await {
                Ok(volume) => Ok(volume.backing.and_then(|path| Some((paths.get(&path)?, name)))),
                Err(DriverError::Missing { .. }) => Ok(None),
                Err(error) => Err(error),
            });
        let found = try_join_all(reads).await.map_err(failed())?;
        // Those that go together stand on one another as they like.
        let stays = |name: &VolumeName| {
            !paths
                .values()
                .any(|gone| *gone == (pool.name.clone(), name.clone()))
        };
        let found = found.into_iter().flatten().find(|(_, name)| stays(name));
        if let Some((base, name)) = found {
            return Ok(Some((base.clone(), (pool.name.clone(), name.clone()))));
        }
    }
    Ok(None)
}

fn in_use(work: &Work<'_>, (pool, volume): &Volume, users: String) -> EngineError {
    EngineError::InUse {
        host: work.host.name.clone(),
        what: format!("volume {volume} of pool {pool}, a disk of {},", work.what()),
        users,
        way_out: "with it their data would be lost. Take it from them first; or keep it: set the disk's on_remove to \
                  \"detach\", apply, and take the disk out of the configuration"
            .to_owned(),
    }
}
