//! The storage pools: which there are, what they have, and which volume a path means.

use labyard_driver::DriverError;
use labyard_driver::ids::{Bytes, PoolName, VolumeName};
use labyard_driver::mark::{Made, Mark};
use labyard_driver::observed::{Activity, PoolFacts, PoolKind, PoolRoom};

use super::{State, missing, refused};
use crate::settings::PoolSettings;

impl State {
    /// The pools with their settings, the configured one first.
    fn pools(&self) -> impl Iterator<Item = (&PoolName, PoolSettings)> {
        let first = self.settings.pool.iter().map(|name| {
            let settings = PoolSettings {
                capacity: self.settings.pool_capacity,
                kind: PoolKind::Directory,
            };
            (name, settings)
        });
        let others = self.settings.other_pools.iter();
        first.chain(others.map(|(name, settings)| (name, settings.clone())))
    }

    fn settings_of(&self, asked: &PoolName) -> Option<PoolSettings> {
        self.pools().find_map(|(name, of)| (name == asked).then_some(of))
    }

    /// A pool that can be used.
    pub(super) fn pool(&self, asked: &PoolName) -> Result<PoolSettings, DriverError> {
        let settings = self.settings_of(asked);
        let settings = settings.ok_or_else(|| missing("storage pool", asked))?;
        if self.stopped_pools.contains(asked) {
            let message = "the storage pool is not started";
            return Err(refused(format!("using storage pool {asked}"), message));
        }
        Ok(settings)
    }

    pub(super) fn path_of(&self, pool: &PoolName, volume: &VolumeName) -> String {
        format!("/sim/{pool}/{volume}")
    }

    /// The path of a volume of a pool that can be used.
    pub(super) fn path_in(&self, pool: &PoolName, volume: &VolumeName) -> Result<String, DriverError> {
        self.pool(pool)?;
        Ok(self.path_of(pool, volume))
    }

    /// The pool and volume of a path, if it lies in a pool.
    pub(super) fn volume_at(&self, path: &str) -> Option<(PoolName, VolumeName)> {
        let (pool, name) = path.strip_prefix("/sim/")?.split_once('/')?;
        let pool = PoolName::from(pool);
        self.settings_of(&pool)?;
        Some((pool, VolumeName::from(name)))
    }

    pub(crate) fn pool_room(&self, pool: &PoolName) -> Result<PoolRoom, DriverError> {
        let settings = self.pool(pool)?;
        Ok(PoolRoom {
            capacity: settings.capacity,
            available: self.available(pool, &settings),
        })
    }

    pub(super) fn available(&self, pool: &PoolName, settings: &PoolSettings) -> Bytes {
        let prefix = format!("/sim/{pool}/");
        let inside = self.volumes.iter().filter(|(path, _)| path.starts_with(&prefix));
        let used: u64 = inside.map(|(_, volume)| volume.allocated.0).sum();
        Bytes(settings.capacity.0.saturating_sub(used))
    }

    pub(super) fn pool_facts(&self) -> Vec<PoolFacts> {
        let facts = self.pools().map(|(name, settings)| {
            let stopped = self.stopped_pools.contains(name);
            PoolFacts {
                name: name.clone(),
                active: if stopped {
                    Activity::Inactive
                } else {
                    Activity::Active
                },
                room: (!stopped).then(|| PoolRoom {
                    capacity: settings.capacity,
                    available: self.available(name, &settings),
                }),
                kind: settings.kind,
            }
        });
        facts.collect()
    }

    /// Whether the volumes of a pool are block devices.
    pub(super) fn is_logical(&self, pool: &PoolName) -> bool {
        self.settings_of(pool)
            .is_some_and(|of| of.kind == PoolKind::Logical)
    }

    /// Why a machine cannot be told: something of it lies in a pool that nobody can look into.
    pub(super) fn out_of_reach(&self, mark: &Mark) -> Option<String> {
        let disks = mark.disks.values().filter(|disk| disk.made == Made::Whole);
        let seed = mark.seed.iter().map(|seed| &seed.pool);
        let pool = disks
            .map(|disk| &disk.pool)
            .chain(seed)
            .find(|pool| self.pool(pool).is_err())?;
        Some(format!(
            "something of it lies in storage pool {pool}, which is not there or not started"
        ))
    }
}
