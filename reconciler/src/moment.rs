//! Whether machines of a host can be put back to a kept moment, by where their disks lie. Pure; a plan asks it of what is
//! desired, the engine of what stands.

use labyard_driver::ids::{DiskKey, PoolName};
use labyard_driver::observed::{HostFacts, PoolKind};

/// Why no moment of a machine can be kept on a host. `disks` are its disks with their pools; `None`: the host's own.
pub fn obstacle<'a>(
    facts: &HostFacts,
    disks: impl IntoIterator<Item = (&'a DiskKey, Option<&'a PoolName>)>,
) -> Option<String> {
    let is_of_files = |name: &PoolName| {
        let pool = facts.pools.iter().find(|pool| pool.name == *name);
        pool.is_some_and(|pool| pool.kind == PoolKind::Directory)
    };
    let Some(own) = &facts.pool else {
        return Some("the host has no storage pool for its memory".to_owned());
    };
    if !is_of_files(own) {
        return Some(format!(
            "its memory would be a file, and the host's pool {own} holds none: set storage_pool of the host to one of \
             files, or recycle by recreate"
        ));
    }
    disks.into_iter().find_map(|(key, pool)| {
        let pool = pool.unwrap_or(own);
        (!is_of_files(pool)).then(|| {
            format!(
                "disk {:?} lies in pool {pool}, whose volumes can have no overlays: put it into a pool of files, or \
                 recycle by recreate",
                key.as_str()
            )
        })
    })
}

#[cfg(test)]
mod tests {
    use labyard_driver::ids::{HostUuid, Mib};
    use labyard_driver::observed::{Activity, PoolFacts};

    use super::*;

    fn facts(own: &str) -> HostFacts {
        let pool = |name: &str, kind| PoolFacts {
            name: name.into(),
            kind,
            active: Activity::Active,
            room: None,
        };
        HostFacts {
            uuid: HostUuid::from("host"),
            accelerators: Vec::new(),
            pool: Some(own.into()),
            pool_fault: None,
            pools: vec![
                pool("files", PoolKind::Directory),
                pool("blocks", PoolKind::Logical),
            ],
            cpus: 1,
            memory: Mib(1),
        }
    }

    #[test]
    fn memory_and_disks_have_to_be_files() {
        let (key, blocks, files) = (DiskKey::from("root"), "blocks".into(), "files".into());
        let says = |own: &str, pool| obstacle(&facts(own), [(&key, pool)]);
        assert_eq!(says("files", None), None);
        assert_eq!(says("files", Some(&files)), None);
        assert!(says("files", Some(&blocks)).unwrap().contains("disk \"root\""));
        assert!(says("blocks", Some(&files)).unwrap().contains("memory"));
    }
}
