//! Where volumes lie: pool and name to path, and back.
//!
//! Definitions name disks by path, since only then libvirt tells the size of a stopped machine's disk.

use std::collections::BTreeMap;

use labyard_driver::ids::{PoolName, VolumeName};

/// What a volume is to a machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Store {
    /// A file.
    File,
    /// A block device.
    Block,
}

impl Store {
    /// libvirt's type of a disk.
    pub(crate) fn disk_type(self) -> &'static str {
        match self {
            Self::File => "file",
            Self::Block => "block",
        }
    }

    /// The attribute of a disk's source that holds the path.
    pub(crate) fn source_attribute(self) -> &'static str {
        match self {
            Self::File => "file",
            Self::Block => "dev",
        }
    }
}

/// The place of a pool.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    /// Its directory, without a slash at its end.
    directory: String,
    /// What its volumes are.
    pub(crate) store: Store,
}

impl Place {
    /// A place.
    pub(crate) fn new(directory: &str, store: Store) -> Self {
        Self {
            directory: directory.trim_end_matches('/').to_owned(),
            store,
        }
    }

    fn volume(&self, path: &str) -> Option<VolumeName> {
        let name = path.strip_prefix(self.directory.as_str())?.strip_prefix('/')?;
        (!name.is_empty() && !name.contains('/')).then(|| VolumeName(name.to_owned()))
    }
}

/// The places of pools.
#[derive(Clone, Debug, Default)]
pub(crate) struct Places {
    pools: BTreeMap<PoolName, Place>,
}

impl Places {
    /// Learns a pool's place.
    pub(crate) fn learn(&mut self, pool: &PoolName, place: Place) {
        self.pools.insert(pool.clone(), place);
    }

    /// Whether a pool's place is known.
    pub(crate) fn knows(&self, pool: &PoolName) -> bool {
        self.pools.contains_key(pool)
    }

    /// The path of a volume and what it is, if its pool is known.
    pub(crate) fn path(&self, pool: &PoolName, volume: &VolumeName) -> Option<(String, Store)> {
        let place = self.pools.get(pool)?;
        Some((format!("{}/{volume}", place.directory), place.store))
    }

    /// The pool and volume of a path that lies directly in a pool.
    pub(crate) fn volume_at(&self, path: &str) -> Option<(PoolName, VolumeName)> {
        let found = |(pool, place): (&PoolName, &Place)| Some((pool.clone(), place.volume(path)?));
        self.pools.iter().find_map(found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_volume_is_found_by_its_path_only_directly_in_its_pool() {
        let (pool, fast) = (PoolName::from("default"), PoolName::from("fast"));
        let mut places = Places::default();
        places.learn(&pool, Place::new("/srv/pool/", Store::File));
        places.learn(&fast, Place::new("/dev/vg", Store::Block));
        let volume = VolumeName::from("a.qcow2");
        assert_eq!(
            places.path(&pool, &volume),
            Some(("/srv/pool/a.qcow2".to_owned(), Store::File))
        );
        assert_eq!(places.volume_at("/srv/pool/a.qcow2"), Some((pool, volume)));
        assert_eq!(places.volume_at("/dev/vg/b"), Some((fast, VolumeName::from("b"))));
        for elsewhere in ["/srv/pool/sub/a", "/srv/pool2/a", "/srv/pool/", "/a"] {
            assert_eq!(places.volume_at(elsewhere), None, "{elsewhere}");
        }
        assert_eq!(
            places.path(&PoolName::from("other"), &VolumeName::from("a")),
            None
        );
    }
}
