//! What a driver's tests tell the suite about their host.

use std::sync::Arc;

use async_trait::async_trait;

use crate::ids::{MacAddr, Mib, ObjectId, PoolName};
use crate::spec::{Accelerator, DirectBoot, DiskFormat, Firmware};
use crate::{Driver, DriverError};

/// A host to play with.
pub trait Fixture: Send + Sync {
    /// Its driver.
    fn driver(&self) -> Arc<dyn Driver>;

    /// A storage pool with at least 64 MiB to spare: the one that snapshots list.
    fn pool(&self) -> PoolName;

    /// Who chooses the ids of machines and networks.
    fn ids(&self) -> Ids {
        Ids::ByCaller
    }

    /// The format of the disks that it makes.
    fn format(&self) -> DiskFormat {
        DiskFormat::Qcow2
    }

    /// The firmware of machines whose firmware is of no matter.
    fn firmware(&self) -> Firmware {
        Firmware::Bios
    }

    /// A name that nothing on the host has, with `hint` in it; another one each time.
    fn fresh_name(&self, hint: &str) -> String;

    /// How far machines come.
    fn guests(&self) -> Guests;

    /// What runs them.
    fn accelerator(&self) -> Accelerator {
        Accelerator::Qemu
    }

    /// A /24 that no network of the host uses, another one each time; `None` where networks cannot be made.
    fn free_net(&self) -> Option<ipnet::Ipv4Net>;

    /// A pool with less than 64 MiB in all.
    fn small_pool(&self) -> Option<PoolName> {
        None
    }

    /// A pool of files beside [`Fixture::pool`].
    fn other_pool(&self) -> Option<PoolName> {
        None
    }

    /// Somebody else on the host.
    fn hands(&self) -> Option<Arc<dyn OtherHands>> {
        None
    }
}

/// Who chooses the ids of machines and networks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ids {
    /// Whoever makes them.
    ByCaller,
    /// The host.
    ByHost,
}

/// How far machines come on a host.
#[derive(Clone, Debug)]
pub enum Guests {
    /// They cannot be started.
    Never,
    /// They start, and there is nothing to boot.
    Start,
    /// They boot.
    Boot(Guest),
}

/// A guest that writes to the first serial port while it boots and asks for an address by DHCP on its first NIC.
#[derive(Clone, Debug)]
pub struct Guest {
    /// Its kernel.
    pub direct_boot: DirectBoot,
    /// The memory that it needs.
    pub memory: Mib,
    /// From start to address, at most.
    pub patience: std::time::Duration,
}

/// What others do on the host, past the driver.
#[async_trait]
pub trait OtherHands: Send + Sync {
    /// Defines a machine without a mark and without devices.
    async fn define_machine(&self, id: &ObjectId, name: &str) -> Result<(), DriverError>;

    /// Puts something into a machine's definition that labyard does not make.
    async fn put_device(&self, id: &ObjectId) -> Result<(), DriverError>;

    /// Writes a file beside the pools, in a directory of its own, and tells its path. The same name: it is overwritten.
    async fn put_file(&self, name: &str, content: &[u8]) -> Result<String, DriverError>;

    /// What stands in such a file.
    async fn file(&self, path: &str) -> Result<Vec<u8>, DriverError>;

    /// How many storage pools the host has.
    async fn pools(&self) -> Result<usize, DriverError>;

    /// Pulls the cable out of a running machine's NIC, and leaves its definition.
    async fn pull_cable(&self, id: &ObjectId, mac: MacAddr) -> Result<(), DriverError>;

    /// Whether that is still in it.
    async fn has_device(&self, id: &ObjectId) -> Result<Presence, DriverError>;
}

/// Whether something is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Presence {
    /// It is.
    There,
    /// It is not.
    Gone,
}
