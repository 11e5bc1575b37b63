//! What keeps a machine that others made from being taken over: a disk that could not be told from another one
//! afterwards would be taken for lost and made anew. Pure.

use std::path::Path;

use labyard_driver::ids::DiskKey;
use labyard_driver::observed::ObservedDisk;
use serde::{Deserialize, Serialize};

/// A disk that cannot become labyard's.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Obstacle {
    /// The key that it would have.
    pub disk: DiskKey,
    /// Why, and what to do.
    pub why: String,
}

/// The disks that cannot become labyard's, whether the configuration names them or not.
pub fn obstacles(disks: &[ObservedDisk]) -> Vec<Obstacle> {
    let of = |disk: &ObservedDisk| {
        let why = match (&disk.pool, &disk.volume, disk.format) {
            (Some(_), Some(_), Some(_)) => return None,
            (Some(_), Some(_), None) => {
                "its definition takes it for neither raw nor qcow2: convert it (qemu-img convert), and plan again"
                    .to_owned()
            }
            _ => nowhere(&disk.path),
        };
        let disk = DiskKey(disk.target.clone());
        Some(Obstacle { disk, why })
    };
    disks.iter().filter_map(of).collect()
}

fn nowhere(path: &str) -> String {
    let directory = Path::new(path)
        .parent()
        .filter(|directory| directory.is_absolute());
    let way_out = directory.map_or_else(
        || "move it to a volume of such a pool".to_owned(),
        |directory| {
            format!(
                "make its directory one (virsh pool-define-as NAME dir --target {0}; virsh pool-start NAME), or start \
                 the pool that has it",
                directory.display()
            )
        },
    );
    format!(
        "it lies at {path:?}, which is not directly in a storage pool of the host that is started, so labyard could \
         not find it again: {way_out}, and plan again"
    )
}

#[cfg(test)]
mod tests {
    use labyard_driver::observed::{Capacity, Standing};
    use labyard_driver::spec::{DiskBus, DiskFormat};

    use super::*;

    fn why(path: &str, pool: Option<&str>, format: Option<DiskFormat>) -> Option<String> {
        let disk = ObservedDisk {
            target: "vda".to_owned(),
            path: path.to_owned(),
            pool: pool.map(Into::into),
            volume: pool.map(|_| "x.img".into()),
            capacity: Capacity::Missing,
            boot: None,
            bus: Some(DiskBus::Virtio),
            format,
            standing: Standing::Whole,
        };
        obstacles(&[disk]).pop().map(|obstacle| obstacle.why)
    }

    #[test]
    fn a_disk_that_could_not_be_found_again_is_an_obstacle_and_the_way_out_is_said() {
        let raw = Some(DiskFormat::Raw);
        assert_eq!(why("/vm/x.img", Some("vm"), raw), None);
        assert!(why("/vm/x.img", None, raw).unwrap().contains("--target /vm;"));
        let remote = why("rbd:pool/image", None, raw).unwrap();
        assert!(
            remote.contains("move it") && !remote.contains("--target"),
            "{remote}"
        );
        assert!(
            why("/vm/x.vmdk", Some("vm"), None)
                .unwrap()
                .contains("qemu-img convert")
        );
    }
}
