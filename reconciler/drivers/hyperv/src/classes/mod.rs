//! The classes that the driver works with, as structs: what is asked for is what stands here, and nothing else. Their tables
//! are held against the classes of real servers in `tests/classes.rs`, so that a misspelt property fails there.
//!
//! Sources of the classes' meaning: Microsoft's reference of the Hyper-V WMI provider (V2), as noted at each property where it
//! is not its name.

mod device;
mod disk;
mod guest;
mod host;
mod job;
mod machine;
mod network;

pub use device::{
    BootSource, Connection, Drive, EmulatedPort, Medium, PortSecurity, PortVlan, SyntheticPort,
};
pub use disk::{DiskState, VirtualDisk};
pub use guest::{GuestNetwork, Heartbeat, Kvp, KvpItem, KvpSettings};
pub use host::{ComputerProduct, ComputerSystem, ManagementService, ManagementSettings, OperatingSystem};
pub use job::{ConcreteJob, StorageJob};
pub use machine::{Machine, Memory, Processor, Security, Settings};
pub use network::{Adapter, Address, ExternalPort, InternalPort, Nat, Switch, SwitchSettings};

use wsman::{CimClass, ClassTable, Namespace};

/// Hyper-V's own classes.
pub const V2: Namespace = Namespace("root/virtualization/v2");
/// Windows itself.
pub const CIMV2: Namespace = Namespace("root/cimv2");
/// The host's own network.
pub const STANDARD: Namespace = Namespace("root/standardcimv2");

/// Every table, to be held against a schema.
pub const TABLES: &[ClassTable] = &[
    Machine::TABLE,
    Settings::TABLE,
    Memory::TABLE,
    Processor::TABLE,
    Security::TABLE,
    Drive::TABLE,
    Medium::TABLE,
    SyntheticPort::TABLE,
    EmulatedPort::TABLE,
    Connection::TABLE,
    PortVlan::TABLE,
    PortSecurity::TABLE,
    BootSource::TABLE,
    VirtualDisk::TABLE,
    DiskState::TABLE,
    GuestNetwork::TABLE,
    Heartbeat::TABLE,
    Kvp::TABLE,
    KvpItem::TABLE,
    KvpSettings::TABLE,
    ComputerProduct::TABLE,
    ComputerSystem::TABLE,
    ManagementService::TABLE,
    ManagementSettings::TABLE,
    OperatingSystem::TABLE,
    ConcreteJob::TABLE,
    StorageJob::TABLE,
    Adapter::TABLE,
    Address::TABLE,
    ExternalPort::TABLE,
    InternalPort::TABLE,
    Nat::TABLE,
    Switch::TABLE,
    SwitchSettings::TABLE,
];
