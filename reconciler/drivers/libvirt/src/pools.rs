//! The storage pools of a host: what they are, where they lie, and whose disks nobody can look at for want of one.

use std::collections::BTreeMap;

use futures::future::{join_all, try_join_all};
use labyard_driver::DriverError;
use labyard_driver::ids::PoolName;
use labyard_driver::mark::{Made, Mark};
use labyard_driver::observed::{Activity, Capacity, MachineDetail, PoolFacts};
use libvirt_rpc::flags::ListPools;

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

/// The pools of the host that are started.
pub(crate) async fn started(
    host: &Host,
    session: &Session,
    act: &Act,
) -> Result<(Pools, Vec<PoolFacts>), DriverError> {
    let (mut pools, mut facts) = (Pools::default(), Vec::new());
    read(host, session, act, Activity::Active, &mut pools, &mut facts).await?;
    Ok((pools, facts))
}

/// The others too, where a mark names one that is not started. Else nobody asks for them: it would cost every refresh.
pub(crate) async fn complete(
    host: &Host,
    session: &Session,
    act: &Act,
    marks: impl Iterator<Item = &Mark>,
    (pools, facts): (&mut Pools, &mut Vec<PoolFacts>),
) -> Result<(), DriverError> {
    let missing = marks.flat_map(Mark::pools).any(|name| !pools.is_up(&name));
    if missing {
        read(host, session, act, Activity::Inactive, pools, facts).await?;
    }
    Ok(())
}

async fn read(
    host: &Host,
    session: &Session,
    act: &Act,
    active: Activity,
    pools: &mut Pools,
    facts: &mut Vec<PoolFacts>,
) -> Result<(), DriverError> {
    let flags = match active {
        Activity::Active => ListPools::ACTIVE,
        Activity::Inactive => ListPools::INACTIVE,
    };
    let listed = session
        .connection
        .connect_list_all_storage_pools(flags)
        .await
        .during(act)?;
    let described = listed.into_iter().map(async |reference| {
        let name = PoolName(reference.name.clone());
        let pool = session.learn_pool(&name, reference);
        match host.described(session, &name, &pool, act).await {
            Ok(described) => Ok(Some((name, described))),
            // It went while it was read.
            Err(DriverError::Refused { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    });
    for (name, described) in try_join_all(described).await?.into_iter().flatten() {
        if let Some(place) = described.place {
            pools.places.learn(&name, place);
        }
        pools.up.insert(name.clone(), active);
        facts.push(PoolFacts {
            name,
            kind: described.kind,
            active,
            room: described.room.filter(|_| active == Activity::Active),
        });
    }
    facts.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(())
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
            host.described(session, &name, &pool, act).await
        };
        match read.await {
            Ok(described) => Ok(Some((name, described.place))),
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
