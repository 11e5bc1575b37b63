//! Where volumes lie: pool and name to path, and back.
//!
//! Definitions name disks by path, since only then libvirt tells the size of a stopped machine's disk.

use std::collections::BTreeMap;

use labyard_driver::ids::{PoolName, VolumeName};

/// The directories of pools.
#[derive(Clone, Debug, Default)]
pub(crate) struct Places {
    directories: BTreeMap<PoolName, String>,
}

impl Places {
    /// Learns a pool's directory.
    pub(crate) fn learn(&mut self, pool: &PoolName, directory: &str) {
        self.directories
            .insert(pool.clone(), directory.trim_end_matches('/').to_owned());
    }

    /// Whether a pool's directory is known.
    pub(crate) fn knows(&self, pool: &PoolName) -> bool {
        self.directories.contains_key(pool)
    }

    /// The path of a volume, if its pool is known.
    pub(crate) fn path(&self, pool: &PoolName, volume: &VolumeName) -> Option<String> {
        Some(format!("{}/{volume}", self.directories.get(pool)?))
    }

    /// The volume's name, if the path lies directly in that pool.
    pub(crate) fn volume_in(&self, pool: &PoolName, path: &str) -> Option<VolumeName> {
        let name = path
            .strip_prefix(self.directories.get(pool)?.as_str())?
            .strip_prefix('/')?;
        (!name.is_empty() && !name.contains('/')).then(|| VolumeName(name.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_volume_is_found_by_its_path_only_directly_in_its_pool() {
        let pool = PoolName::from("default");
        let mut places = Places::default();
        places.learn(&pool, "/srv/pool/");
        let volume = VolumeName::from("a.qcow2");
        assert_eq!(places.path(&pool, &volume).as_deref(), Some("/srv/pool/a.qcow2"));
        assert_eq!(places.volume_in(&pool, "/srv/pool/a.qcow2"), Some(volume));
        for elsewhere in ["/srv/pool/sub/a", "/srv/pool2/a", "/srv/pool/", "/a"] {
            assert_eq!(places.volume_in(&pool, elsewhere), None, "{elsewhere}");
        }
        assert_eq!(
            places.path(&PoolName::from("other"), &VolumeName::from("a")),
            None
        );
    }
}
