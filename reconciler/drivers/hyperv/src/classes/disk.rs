//! Virtual disks as files.

use wsman::cim_class;

use super::V2;

cim_class! {
    /// A virtual disk.
    pub struct VirtualDisk = "Msvm_VirtualHardDiskSettingData" in V2 {
        /// Its file.
        pub path: String = "Path",
        /// 2 fixed, 3 dynamic, 4 differencing.
        pub kind: u16 = "Type",
        /// 2 VHD, 3 VHDX.
        pub format: u16 = "Format",
        /// Its size in bytes as a machine sees it.
        pub size: u64 = "MaxInternalSize",
        /// The file that a differencing one stands on.
        pub parent: String = "ParentPath",
        /// In bytes.
        pub block_size: u32 = "BlockSize",
    }
}

cim_class! {
    /// The file of a virtual disk.
    pub struct DiskState = "Msvm_VirtualHardDiskState" in V2 {
        /// In bytes.
        pub file_size: u64 = "FileSize",
        /// Whether a machine or the host has it open.
        pub in_use: bool = "InUse",
        /// In bytes: the least that it can be shrunk to.
        pub least: u64 = "MinInternalSize",
    }
}
