//! What a machine's mark will say before anything is done: its devices decided, its volumes named. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use labyard_driver::ids::{DiskKey, NicKey, PoolName, VolumeName};
use labyard_driver::mark::{DiskMark, ImageMark, Made, Mark, MediumMark, NicMark, OnRemove, TpmState};
use labyard_driver::observed::{PoolKind, Snapshot};
use labyard_driver::spec::{DiskBus, DiskFormat, Tpm};

use crate::desired::{DesiredDisk, DesiredMachine, default_on_remove};
use crate::identity;

/// Where new volumes go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Storage {
    /// The host's own pool.
    pub pool: PoolName,
    /// Pools whose volumes are block devices.
    pub logical: BTreeSet<PoolName>,
}

impl Storage {
    /// The pools of a host as it was read.
    pub fn of(snapshot: &Snapshot, pool: PoolName) -> Self {
        let logical = snapshot
            .host
            .pools
            .iter()
            .filter(|pool| pool.kind == PoolKind::Logical)
            .map(|pool| pool.name.clone());
        Self {
            pool,
            logical: logical.collect(),
        }
    }
}

/// The target of the seed's CD drive.
pub const SEED_TARGET: &str = "sda";

/// The mark of `before` brought to what is desired: new disks named, removed ones to be discarded or released,
/// NICs with the addresses they have. The seed and the wishes are left: they change when they are done.
pub fn intend(desired: &DesiredMachine, before: &Mark, host_name: &str, storage: &Storage) -> Mark {
    let mut mark = before.clone();
    mark.name = desired.name.clone();
    if desired.member.is_some() {
        mark.member.clone_from(&desired.member);
    }
    for (key, disk) in before
        .disks
        .iter()
        .filter(|(key, _)| !desired.disks.contains_key(*key))
    {
        let volume = (disk.pool.clone(), disk.volume.clone());
        match disk
            .on_remove
            .unwrap_or_else(|| default_on_remove(disk.image.as_ref()))
        {
            OnRemove::Delete => drop(mark.discard.insert(volume)),
            // A refused removal never gets here: it is an error of the plan.
            OnRemove::Detach | OnRemove::Refuse => drop(mark.released.insert(volume)),
        }
        mark.leaving.disks.insert(key.clone(), disk.clone());
        mark.disks.remove(key);
    }
    for (key, disk) in boot_order(&desired.disks) {
        let known = mark.disks.get(key).cloned();
        let pool = disk.pool.as_ref().unwrap_or(&storage.pool);
        let made = known
            .or_else(|| take_back(&mut mark, key))
            .unwrap_or_else(|| DiskMark {
                made: Made::Begun,
                pool: pool.clone(),
                volume: free_volume(&mark, host_name, key, pool),
                format: storage.logical.contains(pool).then_some(DiskFormat::Raw),
                target: free_target(&mark, disk.bus),
                image: None,
                clone: None,
                on_remove: None,
                boot: None,
            });
        let made = if made.target.starts_with(disk.bus.target_prefix()) {
            made
        } else {
            DiskMark {
                target: free_target(&mark, disk.bus),
                ..made
            }
        };
        mark.disks.insert(key.clone(), wish_disk(made, disk, storage));
    }
    for (key, nic) in before.nics.iter().filter(|(_, nic)| nic.reserved.is_some()) {
        let kept = desired
            .nics
            .get(key)
            .is_some_and(|d| d.network == nic.network && d.mac == nic.mac);
        if !kept {
            mark.give_back.push(nic.clone());
        }
    }
    intend_media(desired, before, &mut mark, &storage.pool);
    // What a hook supplied was for the NIC on its network.
    let same_place = |key: &NicKey| match (before.nics.get(key), desired.nics.get(key)) {
        (Some(was), Some(nic)) => was.network == nic.network,
        (was, nic) => was.is_none() && nic.is_some(),
    };
    mark.hooks.addresses.retain(|key, _| same_place(key));
    mark.hooks.macs.retain(|key, _| desired.nics.contains_key(key));
    for (key, nic) in &before.nics {
        if desired.nics.get(key).is_none_or(|d| d.mac != nic.mac) {
            mark.leaving.nics.insert(key.clone(), nic.clone());
        }
    }
    mark.nics = desired
        .nics
        .iter()
        .map(|(key, nic)| (key.clone(), intend_nic(key, nic, before)))
        .collect();
    if desired.guards.tpm == Tpm::Emulated {
        // Before the host can have any state of it.
        mark.tpm = TpmState::Kept;
    }
    // A volume that is one of the machine's disks again must not be discarded.
    let in_use: Vec<_> = mark
        .disks
        .values()
        .map(|d| (d.pool.clone(), d.volume.clone()))
        .collect();
    mark.discard.retain(|volume| !in_use.contains(volume));
    mark
}

fn wish_disk(mut mark: DiskMark, disk: &DesiredDisk, storage: &Storage) -> DiskMark {
    // No image lies in a pool of block devices: such a disk is a copy of one in the host's own pool.
    let apart = || storage.logical.contains(&mark.pool).then(|| storage.pool.clone());
    mark.clone = disk.clone;
    mark.on_remove = disk.on_remove;
    mark.boot = disk.boot;
    mark.image = disk.image.as_ref().map(|image| {
        let made = mark.image.take();
        ImageMark {
            source: image.source.clone(),
            sha256: image.sha256.clone(),
            digest: made
                .as_ref()
                .and_then(|m| m.digest.clone())
                .or_else(|| image.digest.clone()),
            pool: made.as_ref().map_or_else(apart, |m| m.pool.clone()),
            volume: made.as_ref().and_then(|m| m.volume.clone()),
            upload: made.and_then(|m| m.upload),
        }
    });
    mark
}

/// An image that leaves a drive may be in it until the drive is seen without.
fn intend_media(desired: &DesiredMachine, before: &Mark, mark: &mut Mark, pool: &PoolName) {
    mark.media.clear();
    for (key, wanted) in &desired.media {
        let known = before.media.get(key);
        let there = known.and_then(|medium| medium.image.as_ref());
        let image = wanted.image.as_ref().map(|wanted| {
            let kept = there.filter(|image| {
                let same_digest = wanted.sha256.is_none() || wanted.sha256 == image.digest;
                image.source == wanted.source && same_digest
            });
            ImageMark {
                source: wanted.source.clone(),
                sha256: wanted.sha256.clone(),
                digest: kept
                    .and_then(|image| image.digest.clone())
                    .or_else(|| wanted.digest.clone()),
                pool: None,
                volume: kept.and_then(|image| image.volume.clone()),
                upload: kept.and_then(|image| image.upload.clone()),
            }
        });
        let target = known.map_or_else(|| free_drive(before, mark), |medium| medium.target.clone());
        let pool = known.map_or(pool, |medium| &medium.pool).clone();
        let boot = wanted.boot;
        let medium = MediumMark {
            pool,
            target,
            image,
            boot,
        };
        mark.media.insert(key.clone(), medium);
    }
    let still: BTreeSet<_> = mark
        .media
        .values()
        .filter_map(|medium| medium.image.as_ref()?.volume.clone())
        .collect();
    let former = before
        .media
        .values()
        .filter_map(|medium| medium.image.as_ref()?.volume.clone());
    mark.ejecting
        .extend(former.filter(|volume| !still.contains(volume)));
}

/// The first target of a CD drive that no device has or had.
fn free_drive(before: &Mark, mark: &Mark) -> String {
    let taken = |target: &String| {
        let drives = before.media.values().chain(mark.media.values());
        let disks = mark.disks.values().chain(mark.leaving.disks.values());
        let disks = disks.map(|disk| &disk.target);
        drives
            .map(|drive| &drive.target)
            .chain(disks)
            .any(|t| t == target)
    };
    ('b'..='z')
        .map(|letter| format!("sd{letter}"))
        .find(|target| !taken(target))
        .unwrap_or_default()
}

fn intend_nic(key: &NicKey, nic: &crate::desired::DesiredNic, before: &Mark) -> NicMark {
    let known = before
        .nics
        .get(key)
        .filter(|known| known.network == nic.network && known.mac == nic.mac);
    NicMark {
        network: nic.network.clone(),
        mac: nic.mac,
        reserved: match &nic.fixed {
            Some(fixed) => Some(IpAddr::V4(fixed.address.addr())),
            None => known.and_then(|known| known.reserved),
        },
        boot: nic.boot,
    }
}

/// Disks in the order in which the machine tries to boot: those made of an image first, then by key.
pub fn boot_order(disks: &BTreeMap<DiskKey, DesiredDisk>) -> Vec<(&DiskKey, &DesiredDisk)> {
    let mut order: Vec<_> = disks.iter().collect();
    order.sort_by_key(|(key, disk)| (disk.image.is_none(), (*key).clone()));
    order
}

/// A disk that was on its way out to be deleted and never went is the machine's again, with what is on it.
fn take_back(mark: &mut Mark, key: &DiskKey) -> Option<DiskMark> {
    let leaving = mark.leaving.disks.get(key)?;
    let volume = (leaving.pool.clone(), leaving.volume.clone());
    if !mark.discard.contains(&volume) {
        return None;
    }
    mark.leaving.disks.remove(key)
}

/// A name for a disk's volume that no disk has, nor one that was detached by wish, which nobody may touch again.
fn free_volume(mark: &Mark, host_name: &str, key: &DiskKey, pool: &PoolName) -> VolumeName {
    let name = |n: u32| match n {
        1 => identity::disk_volume(host_name, key, &mark.origin),
        n => identity::disk_volume(host_name, &DiskKey(format!("{key}-{n}")), &mark.origin),
    };
    let is_taken = |volume: &VolumeName| {
        mark.released.contains(&(pool.clone(), volume.clone()))
            || mark.disks.values().any(|disk| &disk.volume == volume)
    };
    (1..)
        .map(name)
        .find(|volume| !is_taken(volume))
        .unwrap_or_else(|| name(1))
}

/// The first target of a bus that no device has, nor one that is leaving: `vda` to `vdz`, then `vdaa`.
fn free_target(mark: &Mark, bus: DiskBus) -> String {
    let prefix = bus.target_prefix();
    let letter = |n: usize| char::from(b'a' + (n % 26) as u8);
    let name = |n: usize| match n {
        0..26 => format!("{prefix}{}", letter(n)),
        _ => format!("{prefix}{}{}", letter(n / 26 - 1), letter(n)),
    };
    let is_free = |target: &String| {
        let disks = mark.disks.values().chain(mark.leaving.disks.values());
        let drives = mark.media.values().map(|drive| &drive.target);
        target != SEED_TARGET && disks.map(|disk| &disk.target).chain(drives).all(|t| t != target)
    };
    (0..702).map(name).find(is_free).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn disk(target: &str) -> DiskMark {
        DiskMark {
            made: Made::Whole,
            pool: "p".into(),
            volume: "v".into(),
            format: None,
            target: target.to_owned(),
            image: None,
            clone: None,
            on_remove: None,
            boot: None,
        }
    }

    fn mark() -> Mark {
        let text = r#"{"version": 1, "namespace": "default", "kind": "machine", "name": "web", "token": "t",
                       "origin": "t", "ownership": "confirmed", "stage": "finished"}"#;
        Mark::parse(text).unwrap()
    }

    #[test]
    fn targets_go_on_after_the_alphabet_and_fill_gaps() {
        let mut mark = mark();
        for n in 0..28 {
            let target = free_target(&mark, DiskBus::Virtio);
            mark.disks.insert(DiskKey(n.to_string()), disk(&target));
        }
        assert_eq!(mark.disks[&DiskKey::from("25")].target, "vdz");
        assert_eq!(mark.disks[&DiskKey::from("27")].target, "vdab");
        let gone = mark.disks.remove(&DiskKey::from("1")).unwrap();
        assert_eq!(free_target(&mark, DiskBus::Virtio), "vdb");
        assert_eq!(free_target(&mark, DiskBus::Sata), "sdb", "the seed is at sda");
        mark.leaving.disks.insert("1".into(), gone);
        assert_eq!(
            free_target(&mark, DiskBus::Virtio),
            "vdac",
            "it may still be there"
        );
    }

    #[test]
    fn a_volume_that_was_detached_by_wish_gives_its_name_to_no_other() {
        let mut mark = mark();
        let (key, pool) = (DiskKey::from("data"), PoolName::from("p"));
        let first = free_volume(&mark, "web", &key, &pool);
        assert_eq!(first, identity::disk_volume("web", &key, &mark.origin));
        mark.released.insert((pool.clone(), first.clone()));
        let second = free_volume(&mark, "web", &key, &pool);
        assert_ne!(second, first);
        assert!(identity::volume_carries(&second, &mark.origin));
    }

    #[test]
    fn a_disk_that_never_went_is_taken_back_with_what_is_on_it() {
        let mut mark = mark();
        let key = DiskKey::from("data");
        mark.leaving.disks.insert(key.clone(), disk("vdb"));
        assert_eq!(take_back(&mut mark, &key), None, "it was released, not discarded");
        mark.discard.insert(("p".into(), "v".into()));
        assert_eq!(take_back(&mut mark, &key), Some(disk("vdb")));
        assert!(mark.leaving.is_empty());
    }
}
