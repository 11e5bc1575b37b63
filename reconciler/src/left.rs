//! What is left of a machine whose definition is gone: volumes that carry its token, in whichever pool.

use std::collections::BTreeSet;

use labyard_driver::ids::{PoolName, VolumeName};
use labyard_driver::mark::Mark;
use labyard_driver::observed::{Activity, PoolKind, Snapshot};

use crate::engine::ObjectRef;
use crate::error::EngineError;
use crate::host::Host;
use crate::identity;

/// The volumes that carry the token of an object, as its state knows it. Pools that the snapshot does not list are asked
/// now. A volume that stands in the mark of another machine, or bears the name of another namespace, is not among them,
/// whoever says that he knows its token.
///
/// # Errors
/// Where a pool in which they may lie cannot be looked into: what nobody sees is not gone.
pub(crate) async fn volumes(
    host: &Host,
    snapshot: &Snapshot,
    object: &ObjectRef,
) -> Result<Vec<(PoolName, VolumeName)>, EngineError> {
    let Some(identity) = &object.identity else {
        return Ok(Vec::new());
    };
    let named = &object.pools;
    let own = host.pool(snapshot)?;
    let of_marks = snapshot.machines.iter().filter_map(|m| m.mark.ours());
    let mut listed: BTreeSet<PoolName> = of_marks.flat_map(Mark::pools).collect();
    listed.insert(own);
    let unreadable = |pool: &PoolName, why: String| EngineError::HostUnreadable {
        host: host.name.clone(),
        message: format!("storage pool {pool}, where disks of this machine lie, {why}"),
    };
    for pool in named {
        match snapshot.host.pools.iter().find(|known| known.name == *pool) {
            Some(known) if known.active == Activity::Active => {}
            Some(_) => {
                return Err(unreadable(
                    pool,
                    format!("is not started: virsh pool-start {pool}"),
                ));
            }
            None => return Err(unreadable(pool, "is not there any more".to_owned())),
        }
    }
    let others_marks = snapshot.machines.iter().filter_map(|m| m.mark.ours());
    let of_others: BTreeSet<_> = others_marks
        .filter(|mark| mark.token != identity.token)
        .flat_map(Mark::own_volumes)
        .collect();
    let carries = |name: &VolumeName| {
        identity::volume_carries(name, &identity.origin)
            && identity::volume_may_be_of(name, &object.namespace)
    };
    let mut found: Vec<_> = snapshot
        .volumes
        .iter()
        .filter(|volume| carries(&volume.name))
        .map(|volume| (volume.pool.clone(), volume.name.clone()))
        .collect();
    let others = snapshot.host.pools.iter().filter(|pool| {
        let holds_disks = matches!(pool.kind, PoolKind::Directory | PoolKind::Logical);
        holds_disks && pool.active == Activity::Active && !listed.contains(&pool.name)
    });
    for pool in others {
        let what = format!("storage pool {}", pool.name);
        let names = host.driver.volumes(&pool.name).await.map_err(host.failed(what))?;
        let of_it = names.into_iter().filter(carries);
        found.extend(of_it.map(|name| (pool.name.clone(), name)));
    }
    found.retain(|volume| !of_others.contains(volume));
    Ok(found)
}
