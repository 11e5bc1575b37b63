//! The host itself.

use wsman::cim_class;

use super::{CIMV2, V2};

cim_class! {
    /// The service that makes and changes machines. None of it is no "nothing there": the account may not see Hyper-V, or the
    /// service does not run.
    pub struct ManagementService = "Msvm_VirtualSystemManagementService" in V2 {
        /// Its class.
        pub class: String = "CreationClassName",
        /// The host.
        pub system: String = "SystemName",
        /// Whether it runs.
        pub started: bool = "Started",
    }
}

cim_class! {
    /// Where the host puts machines by itself.
    pub struct ManagementSettings = "Msvm_VirtualSystemManagementServiceSettingData" in V2 {
        /// Configurations.
        pub configurations: String = "DefaultExternalDataRoot",
        /// Virtual disks.
        pub disks: String = "DefaultVirtualHardDiskPath",
    }
}

cim_class! {
    /// Windows.
    pub struct OperatingSystem = "Win32_OperatingSystem" in CIMV2 {
        /// `Microsoft Windows Server 2022 Standard`, in the host's language.
        pub caption: String = "Caption",
        /// `10.0.20348`.
        pub version: String = "Version",
        /// `20348`.
        pub build: String = "BuildNumber",
        /// 1 client, 2 domain controller, 3 server.
        pub product: u32 = "ProductType",
        /// In KiB.
        pub memory_kib: u64 = "TotalVisibleMemorySize",
    }
}

cim_class! {
    /// The computer.
    pub struct ComputerSystem = "Win32_ComputerSystem" in CIMV2 {
        /// Its name.
        pub name: String = "Name",
        /// Its processors.
        pub processors: u32 = "NumberOfLogicalProcessors",
        /// In bytes.
        pub memory: u64 = "TotalPhysicalMemory",
    }
}

cim_class! {
    /// The computer as its maker delivered it.
    pub struct ComputerProduct = "Win32_ComputerSystemProduct" in CIMV2 {
        /// The UUID of its board, in SMBIOS.
        pub uuid: String = "UUID",
    }
}
