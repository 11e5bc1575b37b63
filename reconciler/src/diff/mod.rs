//! Desired against what is: the changes that are needed, each with what it disturbs and why. Pure.
//!
//! The same function serves a plan (what is = the refreshed state) and an apply (what is = the host, read now).

pub mod kit;
pub mod machine;
pub mod network;

use std::fmt;

/// How much a change disturbs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Disturbance {
    /// Nothing: it takes effect while the object runs.
    Live,
    /// A running machine is restarted.
    Restart,
    /// The object is made anew.
    Replace,
    /// Data on a disk are lost.
    DestroysData,
}

/// One difference.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// What changes.
    pub what: What,
    /// As it is.
    pub from: String,
    /// As it shall be.
    pub to: String,
    /// What it disturbs.
    pub disturbance: Disturbance,
    /// Why it disturbs that much, or what to do where it cannot be done.
    pub why: &'static str,
}

/// What can change.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum What {
    /// An attribute at the top.
    Attribute(&'static str),
    /// A disk, with its key.
    Disk(String, DiskChange),
    /// A CD drive, with its key.
    Medium(String, MediumChange),
    /// A NIC, with its key.
    Nic(String, NicChange),
}

/// What can change about a disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DiskChange {
    /// It is new.
    Added,
    /// It leaves the configuration and is deleted.
    Deleted,
    /// It leaves the configuration and its volume is left alone.
    Detached,
    /// It leaves a machine that must be restarted for that.
    TakenOff,
    /// It leaves the configuration, and nothing says that it may.
    RemovalRefused,
    /// It grows.
    Grown,
    /// It would have to shrink.
    Shrunk,
    /// It is made of another image.
    Remade,
    /// It is made of its image in another way.
    Recloned,
    /// Its volume would have to go to another pool.
    Moved,
    /// It has another place in the boot order.
    Reordered,
    /// It goes to another bus.
    Rebussed,
}

/// What can change about a CD drive.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum MediumChange {
    /// It is new.
    Added,
    /// It leaves.
    Removed,
    /// Another image, or none, is in it.
    Exchanged,
    /// It has another place in the boot order.
    Reordered,
}

/// What can change about a NIC.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum NicChange {
    /// It is new.
    Added,
    /// It leaves.
    Removed,
    /// It goes to another network.
    Moved,
    /// It has another MAC.
    Readdressed,
    /// It has another fixed address.
    Fixed,
    /// It has another VLAN.
    Tagged,
    /// It has another place in the boot order.
    Reordered,
    /// It is another card for the guest.
    Remodelled,
}

impl fmt::Display for What {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Attribute(name) => f.write_str(name),
            Self::Disk(key, DiskChange::Grown | DiskChange::Shrunk) => write!(f, "disks[{key:?}].size_gib"),
            Self::Disk(key, DiskChange::Remade) => write!(f, "disks[{key:?}].image"),
            Self::Disk(key, DiskChange::Recloned) => write!(f, "disks[{key:?}].clone"),
            Self::Disk(key, DiskChange::Moved) => write!(f, "disks[{key:?}].storage_pool"),
            Self::Disk(key, DiskChange::Reordered) => write!(f, "disks[{key:?}].boot"),
            Self::Disk(key, DiskChange::Rebussed) => write!(f, "disks[{key:?}].bus"),
            Self::Disk(key, _) => write!(f, "disks[{key:?}]"),
            Self::Medium(key, MediumChange::Exchanged) => write!(f, "media[{key:?}].image"),
            Self::Medium(key, MediumChange::Reordered) => write!(f, "media[{key:?}].boot"),
            Self::Medium(key, _) => write!(f, "media[{key:?}]"),
            Self::Nic(key, NicChange::Moved) => write!(f, "nics[{key:?}].network"),
            Self::Nic(key, NicChange::Readdressed) => write!(f, "nics[{key:?}].mac"),
            Self::Nic(key, NicChange::Fixed) => write!(f, "nics[{key:?}].ipv4"),
            Self::Nic(key, NicChange::Tagged) => write!(f, "nics[{key:?}].vlan"),
            Self::Nic(key, NicChange::Reordered) => write!(f, "nics[{key:?}].boot"),
            Self::Nic(key, NicChange::Remodelled) => write!(f, "nics[{key:?}].model"),
            Self::Nic(key, _) => write!(f, "nics[{key:?}]"),
        }
    }
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {} -> {}", self.what, self.from, self.to)
    }
}

/// The gravest disturbance among changes.
pub fn gravest(changes: &[Change]) -> Option<Disturbance> {
    changes.iter().map(|c| c.disturbance).max()
}
