//! Machines: what they do, and what they are.

use wsman::{Interval, Moment, cim_class};

use super::V2;

cim_class! {
    /// A machine, and the host itself, which is told from them by its name: a machine's is a GUID.
    pub struct Machine = "Msvm_ComputerSystem" in V2 {
        /// The machine's GUID.
        pub name: String = "Name",
        /// What people call it; need not be unique.
        pub element_name: String = "ElementName",
        /// See [`crate::state`].
        pub enabled_state: u16 = "EnabledState",
        /// What it is on its way to.
        pub requested_state: u16 = "RequestedState",
        /// The state in words, where [`Machine::enabled_state`] is "other".
        pub other_state: String = "OtherEnabledState",
        /// 2 is well, 11 starting.
        pub operational_status: Vec<u16> = "OperationalStatus",
        /// How long it has run.
        pub uptime_ms: u64 = "OnTimeInMilliseconds",
    }
}

cim_class! {
    /// What a machine is, and what it was at each of its checkpoints.
    pub struct Settings = "Msvm_VirtualSystemSettingData" in V2 {
        /// `Microsoft:GUID`, of the machine or of the checkpoint.
        pub id: String = "InstanceID",
        /// The machine's GUID, on checkpoints as well.
        pub machine: String = "VirtualSystemIdentifier",
        /// Whether it is a machine or a kind of checkpoint: [`crate::ids::REALIZED`], [`crate::ids::SNAPSHOT`].
        pub kind: String = "VirtualSystemType",
        /// The generation: [`crate::ids::Generation`].
        pub subtype: String = "VirtualSystemSubType",
        /// What people call it.
        pub element_name: String = "ElementName",
        /// Text for people; the first element alone is kept.
        pub notes: Vec<String> = "Notes",
        /// When it was made.
        pub created: Moment = "CreationTime",
        /// The version of the configuration's format.
        pub version: String = "Version",
        /// The path of the checkpoint before.
        pub parent: String = "Parent",
        /// At the host's start: 2 nothing, 3 restart what ran, 4 start.
        pub startup_action: u16 = "AutomaticStartupAction",
        /// How long the host waits before that.
        pub startup_delay: Interval = "AutomaticStartupActionDelay",
        /// At the host's end: 2 turn off, 3 save, 4 shut down.
        pub shutdown_action: u16 = "AutomaticShutdownAction",
        /// 2 none, 3 production else standard, 4 production alone, 5 standard: with memory.
        pub checkpoints: u16 = "UserSnapshotType",
        /// Whether the host makes checkpoints by itself; builds before 16299 do not know it.
        pub automatic_checkpoints: bool = "AutomaticSnapshotsEnabled",
        /// Whether only what is signed is started.
        pub secure_boot: bool = "SecureBootEnabled",
        /// By whose keys: [`crate::ids::SecureBootTemplate`].
        pub secure_boot_template: String = "SecureBootTemplateId",
        /// Paths of boot sources, of generation 2.
        pub boot_sources: Vec<String> = "BootSourceOrder",
        /// Kinds of devices, of generation 1: 0 floppy, 1 CD, 2 hard disk, 3 network.
        pub boot_order: Vec<u16> = "BootOrder",
        /// The serial number in SMBIOS.
        pub serial: String = "BIOSSerialNumber",
        /// Where its configuration lies.
        pub configuration_root: String = "ConfigurationDataRoot",
        /// Where its checkpoints lie.
        pub snapshot_root: String = "SnapshotDataRoot",
        /// Where its paging file lies.
        pub swap_root: String = "SwapFileDataRoot",
        /// Whether its memory is saved.
        pub is_saved: bool = "IsSaved",
    }
}

cim_class! {
    /// A machine's memory, in MiB.
    pub struct Memory = "Msvm_MemorySettingData" in V2 {
        /// Which.
        pub id: String = "InstanceID",
        /// At its start.
        pub startup: u64 = "VirtualQuantity",
        /// The least that a dynamic one has.
        pub minimum: u64 = "Reservation",
        /// The most that a dynamic one has.
        pub maximum: u64 = "Limit",
        /// Whether it has more or less as it needs.
        pub dynamic: bool = "DynamicMemoryEnabled",
        /// In percent, what a dynamic one has beyond what it needs.
        pub buffer: u32 = "TargetMemoryBuffer",
    }
}

cim_class! {
    /// A machine's processors.
    pub struct Processor = "Msvm_ProcessorSettingData" in V2 {
        /// Which.
        pub id: String = "InstanceID",
        /// How many.
        pub count: u64 = "VirtualQuantity",
        /// Whether guests may run guests of their own.
        pub nested: bool = "ExposeVirtualizationExtensions",
    }
}

cim_class! {
    /// What guards a machine.
    pub struct Security = "Msvm_SecuritySettingData" in V2 {
        /// Which.
        pub id: String = "InstanceID",
        /// Whether it has a TPM.
        pub tpm: bool = "TpmEnabled",
        /// Whether its state is sealed where it is stored and on its way to another host.
        pub sealed_state: bool = "EncryptStateAndVmMigrationTraffic",
    }
}
