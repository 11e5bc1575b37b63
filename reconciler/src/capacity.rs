//! What a host has room for: its processors and memory against what machines take of them, its pools against what
//! disks were promised. Pure.

use std::collections::{BTreeMap, BTreeSet};

use labyard_driver::ids::{Bytes, Mib, PoolName};
use labyard_driver::mark::CloneMode;
use labyard_driver::observed::{
    Activity, Capacity, HostFacts, MachineSize, ObservedMachine, Offers, PoolFacts, PoolKind, Power, Snapshot,
};
use labyard_driver::spec::Firmware;

use crate::host::{Cordon, HostPolicy};
use crate::image_store::StoredImage;
use serde::{Deserialize, Serialize};

/// Virtual processors for each of the host's, where nothing is configured: guests of a lab mostly wait.
const CPUS_FOR_ONE: u32 = 8;

/// What a host has and what is taken of it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct HostCapacity {
    /// The host.
    pub facts: HostFacts,
    /// What machines may take together.
    pub limit: MachineSize,
    /// What they take: all of labyard's, and others that run.
    pub taken: MachineSize,
    /// Sizes of the disks of labyard's machines by pool, as their guests see them.
    pub promised: BTreeMap<PoolName, Bytes>,
    /// Whether it takes new machines.
    pub cordon: Cordon,
    /// Machines: all, running, labyard's.
    pub machines: Counts,
    /// Pools in which there is a whole image.
    pub images: BTreeSet<PoolName>,
}

/// How many machines a host has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// All.
    pub all: u64,
    /// Those that run.
    pub running: u64,
    /// Those of labyard.
    pub owned: u64,
}

/// What a machine needs of a host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Need {
    /// Processors and memory.
    pub size: MachineSize,
    /// Its firmware.
    pub firmware: Firmware,
    /// Disks to be made, by key.
    pub disks: BTreeMap<String, NewDisk>,
}

impl Need {
    /// Whether the host has to be asked for what it offers: every host has a BIOS.
    pub fn asks_offers(&self) -> bool {
        self.firmware != Firmware::Bios
    }
}

/// A disk to be made, or how far one is to grow.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NewDisk {
    /// Its pool; `None`: the host's own.
    pub pool: Option<PoolName>,
    /// Its size; `None`: its image's.
    pub size: Option<Bytes>,
    /// Its size now, where it is there.
    pub grows_from: Option<Bytes>,
    /// As written.
    pub clone: Option<CloneMode>,
    /// Whether it is made of an image, and how long that is where it is known and has to be sent.
    pub image: ImageNeed,
}

/// The image of a disk to be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ImageNeed {
    /// None.
    None,
    /// There is one; what it takes is not known.
    Unknown,
    /// It has to be sent, this long.
    Send(Bytes),
}

/// What speaks against a machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// Whether it cannot be, or is only to be known.
    pub weight: Weight,
    /// The attribute, as in HCL.
    pub attribute: String,
    /// In a few words.
    pub summary: &'static str,
    /// With numbers and the way out.
    pub detail: String,
}

/// How much a finding weighs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Weight {
    /// It cannot be.
    Refused,
    /// It can, and may go wrong later.
    Warned,
}

/// What a machine takes for itself: one of labyard's always, since it may be started at any time; another's only while
/// it runs.
fn takes(machine: &ObservedMachine) -> Option<MachineSize> {
    let counts = machine.mark.ours().is_some() || machine.power != Power::Stopped;
    machine.size.filter(|_| counts)
}

fn sum(sizes: impl Iterator<Item = MachineSize>) -> MachineSize {
    let none = MachineSize {
        cpus: 0,
        memory: Mib(0),
    };
    sizes.fold(none, plus)
}

fn plus(a: MachineSize, b: MachineSize) -> MachineSize {
    MachineSize {
        cpus: a.cpus.saturating_add(b.cpus),
        memory: Mib(a.memory.0.saturating_add(b.memory.0)),
    }
}

/// How many machines of a size fit beside what is taken.
fn fitting(limit: MachineSize, taken: MachineSize, size: MachineSize) -> u64 {
    let memory = limit.memory.0.saturating_sub(taken.memory.0) / size.memory.0.max(1);
    let cpus = limit.cpus.saturating_sub(taken.cpus) / size.cpus.max(1);
    memory.min(cpus.into())
}

/// What the machines that `counts` take of a host.
pub fn taken(snapshot: &Snapshot, counts: impl Fn(&ObservedMachine) -> bool) -> MachineSize {
    sum(snapshot.machines.iter().filter(|m| counts(m)).filter_map(takes))
}

/// What machines may take of a host together.
pub fn limit(facts: &HostFacts, policy: &HostPolicy) -> MachineSize {
    MachineSize {
        cpus: policy.cpus.unwrap_or(facts.cpus.saturating_mul(CPUS_FOR_ONE)),
        memory: policy.memory.unwrap_or(facts.memory),
    }
}

/// Whether a machine fits beside what is taken.
pub fn fits(limit: MachineSize, taken: MachineSize, more: MachineSize) -> bool {
    let all = plus(taken, more);
    all.cpus <= limit.cpus && all.memory <= limit.memory
}

/// What to make of storage of a kind that takes no disks of labyard's.
fn in_its_place(kind: &str) -> &'static str {
    match kind {
        "zfs" => "Mount a dataset on the host, and make a pool of type dir on it.",
        "disk" | "iscsi" | "scsi" | "mpath" => {
            "Put a file system or a volume group on its device, and a pool of type fs or logical on that."
        }
        _ => "Mount it on the host, where it can be mounted, and make a pool of type dir on that.",
    }
}

impl HostCapacity {
    /// Of a host as it was read.
    pub fn of(snapshot: &Snapshot, policy: &HostPolicy) -> Self {
        let mut promised = BTreeMap::new();
        let ours = snapshot.machines.iter().filter(|m| m.mark.ours().is_some());
        for disk in ours.filter_map(|m| m.detail.known()).flat_map(|d| &d.disks) {
            if let (Some(pool), Capacity::Known(size)) = (&disk.pool, disk.capacity) {
                promised.entry(pool.clone()).or_insert(Bytes(0)).0 += size.0;
            }
        }
        let count =
            |of: &dyn Fn(&&ObservedMachine) -> bool| snapshot.machines.iter().filter(of).count() as u64;
        Self {
            limit: limit(&snapshot.host, policy),
            taken: taken(snapshot, |_| true),
            promised,
            cordon: policy.cordon,
            machines: Counts {
                all: snapshot.machines.len() as u64,
                running: count(&|m| m.power == Power::Running),
                owned: count(&|m| m.mark.ours().is_some()),
            },
            images: snapshot
                .volumes
                .iter()
                .filter(|volume| StoredImage::from_marker(&volume.name).is_some())
                .map(|volume| volume.pool.clone())
                .collect(),
            facts: snapshot.host.clone(),
        }
    }

    /// A pool by name, the host's own where none is named.
    pub fn pool(&self, name: Option<&PoolName>) -> Option<&PoolFacts> {
        let name = name.or(self.facts.pool.as_ref())?;
        self.facts.pools.iter().find(|pool| pool.name == *name)
    }

    /// Why a machine cannot be placed here, if so; `offers` are asked for where the need says so.
    pub fn lacks(&self, need: &Need, offers: Option<&Offers>) -> Option<String> {
        if self.cordon == Cordon::Closed {
            return Some("it is cordoned".to_owned());
        }
        if offers.is_some_and(|offers| !offers.firmwares.contains(&need.firmware)) {
            return Some("it offers no UEFI firmware".to_owned());
        }
        if !fits(self.limit, self.taken, need.size) {
            return Some(format!(
                "{} of {} MiB of memory and {} of {} processors are taken",
                self.taken.memory.0, self.limit.memory.0, self.taken.cpus, self.limit.cpus
            ));
        }
        let refused = self
            .storage(&need.disks)
            .into_iter()
            .find(|f| f.weight == Weight::Refused);
        refused.map(|finding| format!("{}: {}", finding.attribute, finding.detail))
    }

    /// How many more machines of that size the host has processors and memory for.
    pub fn fitting(&self, size: MachineSize) -> u64 {
        fitting(self.limit, self.taken, size)
    }

    /// How many it would have, were nothing else on it.
    pub fn fitting_alone(&self, size: MachineSize) -> u64 {
        let none = MachineSize {
            cpus: 0,
            memory: Mib(0),
        };
        fitting(self.limit, none, size)
    }

    /// How full the host is with a machine on it, in parts of a million.
    pub fn load(&self, more: MachineSize) -> u64 {
        let all = plus(self.taken, more);
        let part = |of: u64, whole: u64| of.saturating_mul(1_000_000) / whole.max(1);
        part(all.memory.0, self.limit.memory.0).max(part(all.cpus.into(), self.limit.cpus.into()))
    }

    /// What speaks against a machine of `whole` size that takes `more` than it does now.
    pub fn hardware(&self, whole: MachineSize, more: MachineSize) -> Vec<Finding> {
        let mut findings = Vec::new();
        let has = self.facts.memory.0;
        if whole.memory.0 > has {
            findings.push(Finding {
                weight: Weight::Refused,
                attribute: "memory_mib".to_owned(),
                summary: "More memory than the host has",
                detail: format!(
                    "The machine is to have {} MiB, and the host has {has} MiB in all.",
                    whole.memory.0
                ),
            });
        } else if more.memory.0 > 0 && self.taken.memory.0 + more.memory.0 > self.limit.memory.0 {
            findings.push(Finding {
                weight: Weight::Warned,
                attribute: "memory_mib".to_owned(),
                summary: "Memory over-committed",
                detail: format!(
                    "With this the machines of the host have {} MiB together, and it has {} MiB for them: when all run, \
                     it swaps or stops some.",
                    self.taken.memory.0 + more.memory.0,
                    self.limit.memory.0
                ),
            });
        }
        let cpus = self.taken.cpus.saturating_add(more.cpus);
        if more.cpus > 0 && cpus > self.limit.cpus {
            findings.push(Finding {
                weight: Weight::Warned,
                attribute: "cpus".to_owned(),
                summary: "Processors over-committed",
                detail: format!(
                    "With this the machines of the host have {cpus} processors together, and it has {} for {} of them.",
                    self.facts.cpus, self.limit.cpus
                ),
            });
        }
        findings
    }

    /// What speaks against disks to be made or grown.
    pub fn storage(&self, disks: &BTreeMap<String, NewDisk>) -> Vec<Finding> {
        let mut findings = Vec::new();
        let mut thin: BTreeMap<&PoolName, (u64, &str)> = BTreeMap::new();
        let mut thick: BTreeMap<&PoolName, u64> = BTreeMap::new();
        for (key, disk) in disks {
            let pool = match self.usable(key, disk) {
                Ok(pool) => pool,
                Err(finding) => {
                    findings.push(finding);
                    continue;
                }
            };
            let Some(pool) = pool else { continue };
            findings.extend(logical_rules(key, disk, pool));
            let (size, from) = (disk.size.map_or(0, |s| s.0), disk.grows_from.map_or(0, |s| s.0));
            let grows = size.saturating_sub(from);
            if pool.kind == PoolKind::Logical {
                *thick.entry(&pool.name).or_default() += grows;
                findings.extend(no_room(
                    key,
                    "size_gib",
                    pool,
                    thick[&pool.name],
                    "logical volumes take all their size",
                ));
                continue;
            }
            if let ImageNeed::Send(length) = disk.image {
                *thick.entry(&pool.name).or_default() += length.0;
                findings.extend(no_room(
                    key,
                    "image",
                    pool,
                    thick[&pool.name],
                    "the image is sent whole",
                ));
            }
            thin.entry(&pool.name).or_insert((0, key)).0 += grows;
        }
        for (pool, (grows, key)) in thin {
            findings.extend(self.overcommitted(pool, grows, key));
        }
        findings
    }

    /// The pool of a disk, if it can take one; `None` where the host tells nothing of its pools.
    fn usable(&self, key: &str, disk: &NewDisk) -> Result<Option<&PoolFacts>, Finding> {
        let refused = |summary, detail| Finding {
            weight: Weight::Refused,
            attribute: format!("disks[{key:?}].storage_pool"),
            summary,
            detail,
        };
        let names: Vec<_> = self.facts.pools.iter().map(|pool| pool.name.as_str()).collect();
        let Some(pool) = self.pool(disk.pool.as_ref()) else {
            let Some(name) = &disk.pool else { return Ok(None) };
            let there = match names.as_slice() {
                [] => "it has none".to_owned(),
                names => format!("it has {}", names.join(", ")),
            };
            let detail = format!(
                "The host has no storage pool {:?} that is started: {there}. virsh pool-list --all shows all.",
                name.as_str()
            );
            return Err(refused("No such storage pool", detail));
        };
        match (&pool.kind, pool.active) {
            (PoolKind::Other(kind), _) => {
                let detail = format!(
                    "Storage pool {:?} is of type {kind:?}: disks are made as files (pools of type dir, fs, netfs) or as whole \
                     logical volumes (logical). {}",
                    pool.name.as_str(),
                    in_its_place(kind)
                );
                Err(refused("Unsuitable storage pool", detail))
            }
            (_, Activity::Inactive) => {
                let detail = format!("Start it on the host: virsh pool-start {}.", pool.name);
                Err(refused("Storage pool not started", detail))
            }
            _ => Ok(Some(pool)),
        }
    }

    /// Disks that take their room as they are written to may ask for more than there is.
    fn overcommitted(&self, name: &PoolName, grows: u64, key: &str) -> Option<Finding> {
        let pool = self.pool(Some(name))?;
        let room = pool.room?;
        let promised = self.promised.get(name).map_or(0, |bytes| bytes.0);
        let all = promised.saturating_add(grows);
        (grows > 0 && (all > room.capacity.0 || grows > room.available.0)).then(|| Finding {
            weight: Weight::Warned,
            attribute: format!("disks[{key:?}].size_gib"),
            summary: "Storage over-committed",
            detail: format!(
                "The disks of labyard's machines in storage pool {:?} may grow to {} with this; the pool has {} in all \
                 and {} free. Guests whose disks find no room are stopped.",
                name.as_str(),
                Bytes(all),
                room.capacity,
                room.available
            ),
        })
    }
}

/// What cannot be done with logical volumes.
fn logical_rules(key: &str, disk: &NewDisk, pool: &PoolFacts) -> Option<Finding> {
    if pool.kind != PoolKind::Logical {
        return None;
    }
    let refused = |leaf: &str, summary, detail| {
        Some(Finding {
            weight: Weight::Refused,
            attribute: format!("disks[{key:?}].{leaf}"),
            summary,
            detail,
        })
    };
    if disk.clone == Some(CloneMode::Linked) && disk.image != ImageNeed::None {
        let detail = format!(
            "Storage pool {:?} holds logical volumes, which are plain block devices and cannot be overlays: write \
             clone = \"full\", or leave it out.",
            pool.name.as_str()
        );
        return refused("clone", "No linked clone on logical volumes", detail);
    }
    if let (Some(from), Some(size)) = (disk.grows_from, disk.size)
        && size > from
    {
        let detail = format!(
            "libvirt does not change the size of logical volumes. Stop the machine, on the host run lvextend -L {}G on \
             the volume in pool {:?}, and set size_gib to that.",
            size.0 >> 30,
            pool.name.as_str()
        );
        return refused("size_gib", "A logical volume does not grow", detail);
    }
    None
}

fn no_room(key: &str, leaf: &str, pool: &PoolFacts, needed: u64, why: &str) -> Option<Finding> {
    let room = pool.room?;
    (needed > room.available.0).then(|| Finding {
        weight: Weight::Refused,
        attribute: format!("disks[{key:?}].{leaf}"),
        summary: "No room in the storage pool",
        detail: format!(
            "{} are needed in storage pool {:?} ({why}), and {} of {} are free: make room, or name another storage_pool.",
            Bytes(needed),
            pool.name.as_str(),
            room.available,
            room.capacity
        ),
    })
}

#[cfg(test)]
mod tests;
