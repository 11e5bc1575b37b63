//! The storage pools of a host: what they are, where they lie, and whose disks nobody can look at for want of one.

use std::collections::BTreeMap;

use futures::future::{join_all, try_join_all};
use labyard_driver::DriverError;
use labyard_driver::ids::{Bytes, PoolName};
use labyard_driver::mark::{Made, Mark};
use labyard_driver::observed::{Activity, Capacity, MachineDetail, PoolFacts, PoolRoom};
use libvirt_rpc::flags::ListPools;
use libvirt_rpc::{PoolRef, PoolState};

use crate::errors::{Act, During};
use crate::explain;
use crate::host::{Host, Session};
use crate::places::Places;

/// Pools as they are.
#[derive(Default)]
pub(crate) struct Pools {
    /// Where the volumes of those lie that can be told.
    pub(crate) places: Places,
    /// Those that the host has.
    up: BTreeMap<PoolName, Activity>,
}

impl Pools {
    /// Whether a pool is there and up.
    pub(crate) fn is_up(&self, pool: &PoolName) -> bool {
        self.up.get(pool) == Some(&Activity::Active)
    }

    /// Why a machine cannot be told: a disk or seed of it lies in a pool that is not there, or in one that is not
    /// started and whose files do not show. Such a disk is not gone.
    pub(crate) fn out_of_reach(&self, host: &Host, mark: &Mark, detail: &MachineDetail) -> Option<String> {
        let disks = mark
            .disks
            .iter()
            .filter(|(_, disk)| disk.made == Made::Whole)
            .map(|(key, disk)| (format!("disk {:?}", key.as_str()), &disk.pool, &disk.volume));
        let seed = mark
            .seed
            .iter()
            .map(|seed| ("seed".to_owned(), &seed.pool, &seed.volume));
        disks.chain(seed).find_map(|(what, pool, volume)| {
            let shown = || {
                let disks = detail.disks.iter().map(|d| (&d.volume, d.capacity));
                let media = detail.cdroms.values().flatten().map(|m| (&m.volume, m.capacity));
                disks
                    .chain(media)
                    .find(|(shown, _)| shown.as_ref() == Some(volume))
            };
            let why = match self.up.get(pool) {
                None => explain::pool_gone(&host.uri_text, pool),
                Some(Activity::Inactive) if shown().is_some_and(|(_, size)| size == Capacity::Missing) => {
                    explain::start_pool(&host.uri_text, pool)
                }
                Some(_) => return None,
            };
            Some(format!("its {what} cannot be looked at: {why}"))
        })
    }
}

/// All pools of the host.
pub(crate) async fn all(
    host: &Host,
    session: &Session,
    act: &Act,
) -> Result<(Pools, Vec<PoolFacts>), DriverError> {
    let listed = session
        .connection
        .connect_list_all_storage_pools(ListPools::empty())
        .await
        .during(act)?;
    let read = listed.into_iter().map(|pool| one(host, session, act, pool));
    let mut pools = Pools::default();
    let mut facts = Vec::new();
    for (read, place) in try_join_all(read).await?.into_iter().flatten() {
        if let Some(place) = place {
            pools.places.learn(&read.name, place);
        }
        pools.up.insert(read.name.clone(), read.active);
        facts.push(read);
    }
    facts.sort_by(|a, b| a.name.cmp(&b.name));
    Ok((pools, facts))
}

type One = (PoolFacts, Option<crate::places::Place>);

/// One pool; `None` if it went while it was read.
async fn one(
    host: &Host,
    session: &Session,
    act: &Act,
    reference: PoolRef,
) -> Result<Option<One>, DriverError> {
    let name = PoolName(reference.name.clone());
    let pool = session.learn_pool(&name, reference);
    let (info, described) = futures::join!(
        session.connection.storage_pool_get_info(&pool.reference),
        host.kind_and_place(session, &name, &pool, act),
    );
    let info = match info {
        Ok(info) => info,
        Err(error) if error.is_no_storage_pool() => return Ok(None),
        Err(error) => return Err(act.failed(&error)),
    };
    let (kind, place) = described?;
    let active = match info.state {
        PoolState::Running | PoolState::Degraded => Activity::Active,
        _ => Activity::Inactive,
    };
    let room = (active == Activity::Active).then_some(PoolRoom {
        capacity: Bytes(info.capacity),
        available: Bytes(info.available),
    });
    let facts = PoolFacts {
        name,
        kind,
        active,
        room,
    };
    Ok(Some((facts, place)))
}

/// These pools, as far as the host has them.
pub(crate) async fn named(
    host: &Host,
    session: &Session,
    names: impl IntoIterator<Item = PoolName>,
    act: &Act,
) -> Result<Pools, DriverError> {
    let read = names.into_iter().map(async |name| {
        let read = async {
            let pool = host.pool(session, &name, act).await?;
            host.kind_and_place(session, &name, &pool, act).await
        };
        match read.await {
            Ok((_, place)) => Ok(Some((name, place))),
            Err(DriverError::Refused { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    });
    let mut pools = Pools::default();
    for read in join_all(read).await {
        let Some((name, place)) = read? else { continue };
        if let Some(place) = place {
            pools.places.learn(&name, place);
        }
        pools.up.insert(name, Activity::Active);
    }
    Ok(pools)
}

/// Asks which of the pools are up in whose places a file is missing: only then it matters.
pub(crate) async fn look_closer(
    pools: &mut Pools,
    host: &Host,
    session: &Session,
    detail: &MachineDetail,
    act: &Act,
) -> Result<(), DriverError> {
    let disks = detail.disks.iter().map(|d| (&d.pool, d.capacity));
    let media = detail.cdroms.values().flatten().map(|m| (&m.pool, m.capacity));
    let doubted: std::collections::BTreeSet<_> = disks
        .chain(media)
        .filter(|(_, size)| *size == Capacity::Missing)
        .filter_map(|(pool, _)| pool.clone())
        .collect();
    for name in doubted {
        let pool = host.pool(session, &name, act).await?;
        match session.connection.storage_pool_is_active(&pool.reference).await {
            Ok(true) => {}
            Ok(false) => drop(pools.up.insert(name, Activity::Inactive)),
            Err(error) if error.is_no_storage_pool() => drop(pools.up.remove(&name)),
            Err(error) => return Err(act.failed(&error)),
        }
    }
    Ok(())
}
