//! A moment of a machine that is kept so that the machine can be put back to it, memory and disks: what its mark says
//! of it, and what a driver is asked for.
//!
//! Its disks as they were become read-only bases, and the machine goes on on overlays; its memory stands in a file. To
//! put it back is to make the overlays anew and to start the machine from that file, any number of times.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::ids::{DiskKey, ObjectId, PoolName, VolumeName};
use crate::mark::Mark;
use crate::spec::DiskFormat;

/// How far a moment of a machine has come that is kept to put the machine back to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MomentStage {
    /// Recorded; the memory may be half written, and the machine's disks are those of before.
    Saving,
    /// The memory is whole and the disks of that time are only read from now on; the machine is off, or on its way back.
    Saved,
    /// The machine ran on from it: it can be put back to it at any time.
    Whole,
}

/// A disk as it was at a moment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MomentDiskMark {
    /// The pool of both volumes.
    pub pool: PoolName,
    /// The volume that the disk was.
    pub base: VolumeName,
    /// Its format; qcow2 where nothing is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub format: Option<DiskFormat>,
    /// The overlay on it: the disk since then.
    pub overlay: VolumeName,
}

/// A moment of a machine that is kept to put the machine back to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MomentMark {
    /// How far it has come.
    pub stage: MomentStage,
    /// The pool of the file with its memory.
    pub pool: PoolName,
    /// That file.
    pub memory: VolumeName,
    /// The machine's disks.
    pub disks: BTreeMap<DiskKey, MomentDiskMark>,
}

impl MomentMark {
    /// Every volume that it is made of.
    pub fn volumes(&self) -> impl Iterator<Item = (PoolName, VolumeName)> {
        let disks = self.disks.values();
        // Overlays before what they stand on.
        let overlays = disks
            .clone()
            .map(|disk| (disk.pool.clone(), disk.overlay.clone()));
        let bases = disks.map(|disk| (disk.pool.clone(), disk.base.clone()));
        let memory = (self.pool.clone(), self.memory.clone());
        overlays.chain(bases).chain([memory])
    }
}

/// A moment of a machine: what it was when its memory was kept.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MomentSpec {
    /// The machine.
    pub id: ObjectId,
    /// Its mark.
    pub mark: Mark,
    /// The pool of the file with its memory: one of files.
    pub pool: PoolName,
    /// That file.
    pub memory: VolumeName,
    /// Its disks.
    pub disks: Vec<MomentDisk>,
}

/// A disk of a moment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MomentDisk {
    /// The pool of both volumes.
    pub pool: PoolName,
    /// The volume as it was: never written to again.
    pub base: VolumeName,
    /// Its format.
    pub base_format: DiskFormat,
    /// What is written to since, in qcow2.
    pub overlay: VolumeName,
}

/// What the disks of a moment stand on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Footing {
    /// The volumes of the moment themselves.
    Bases,
    /// Overlays over them.
    Overlays,
}

/// How a machine goes on that is put back to a moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Resume {
    /// It runs.
    Running,
    /// It is paused.
    Paused,
}

/// What there is of the memory of a moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum SavedMemory {
    /// All of it.
    Whole,
    /// No file, or one that was not written to its end.
    Wanting,
}
