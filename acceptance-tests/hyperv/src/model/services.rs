//! Rows of the host itself: its services and what they are set to, its capabilities, the computer and its system.

use crate::cim::Instance;

use super::paths::CIMV2;
use super::row::Row;
use super::setup::Edition;
use super::state::State;
use super::time::stamp;

/// Services of Hyper-V: class, and the name that they go by.
pub(crate) const SERVICES: [(&str, &str); 5] = [
    ("Msvm_VirtualSystemManagementService", "vmms"),
    ("Msvm_VirtualSystemSnapshotService", "vssd"),
    ("Msvm_ImageManagementService", "vhdsvc"),
    ("Msvm_VirtualEthernetSwitchManagementService", "nvspwmi"),
    ("Msvm_SecurityService", "vmsec"),
];

impl State {
    /// The rows of a class of the host's services; none where it is no such class.
    pub(crate) fn service_rows(&self, class: &str) -> Option<Vec<Instance>> {
        if let Some((class, name)) = SERVICES
            .iter()
            .find(|(known, _)| known.eq_ignore_ascii_case(class))
        {
            return Some(vec![
                Row::of(class)
                    .text("SystemCreationClassName", "Msvm_ComputerSystem")
                    .text("SystemName", self.computer())
                    .text("CreationClassName", *class)
                    .text("Name", *name)
                    .text("ElementName", *class)
                    .text("Caption", *class)
                    .flag("Started", true)
                    .text("StartMode", "Automatic")
                    .number("EnabledState", 5)
                    .number("HealthState", 5)
                    .numbers("OperationalStatus", &[2])
                    .done(),
            ]);
        }
        match class.to_ascii_lowercase().as_str() {
            "msvm_virtualsystemmanagementservicesettingdata" => Some(vec![
                Row::of("Msvm_VirtualSystemManagementServiceSettingData")
                    .text("InstanceID", format!("Microsoft:{}", self.computer()))
                    .text("ElementName", "Hyper-V Virtual System Management Service")
                    .text("DefaultExternalDataRoot", &self.setup.default_root)
                    .text(
                        "DefaultVirtualHardDiskPath",
                        r"C:\Users\Public\Documents\Hyper-V\Virtual Hard Disks",
                    )
                    .text("MinimumMacAddress", "00155D0A0000")
                    .text("MaximumMacAddress", "00155D0AFFFF")
                    .flag("NumaSpanningEnabled", true)
                    .flag("EnhancedSessionModeEnabled", false)
                    .done(),
            ]),
            "msvm_virtualsystemmanagementcapabilities" => Some(vec![
                Row::of("Msvm_VirtualSystemManagementCapabilities")
                    .text("InstanceID", "Microsoft:VirtualSystemManagementCapabilities")
                    .texts(
                        "VirtualSystemTypesSupported",
                        ["Microsoft:Hyper-V:SubType:1", "Microsoft:Hyper-V:SubType:2"],
                    )
                    .flag("ElementNameEditSupported", true)
                    .done(),
            ]),
            _ => None,
        }
    }

    /// The rows of a class of the computer.
    pub(crate) fn computer_rows(&self, class: &str) -> Option<Vec<Instance>> {
        let row = match class.to_ascii_lowercase().as_str() {
            "cim_datafile" => return Some(self.data_files()),
            "win32_operatingsystem" => self.operating_system(),
            "win32_computersystem" => Row::elsewhere(CIMV2, "Win32_ComputerSystem")
                .text("Name", self.computer())
                .text("CreationClassName", "Win32_ComputerSystem")
                .text("DNSHostName", self.computer().to_lowercase())
                .text("Domain", "WORKGROUP")
                .text("Workgroup", "WORKGROUP")
                .flag("PartOfDomain", false)
                .flag("HypervisorPresent", true)
                .text("Manufacturer", "Contoso")
                .text("Model", "Server")
                .text("SystemType", "x64-based PC")
                .number("NumberOfLogicalProcessors", self.setup.processors)
                .number("NumberOfProcessors", 1)
                .number("TotalPhysicalMemory", self.setup.memory << 20)
                .done(),
            "win32_computersystemproduct" => Row::elsewhere(CIMV2, "Win32_ComputerSystemProduct")
                .text("Name", "Server")
                .text("IdentifyingNumber", "0001")
                .text("Version", "1")
                .text("Vendor", "Contoso")
                .text("UUID", "6D3B1A52-8D10-4E0B-9A54-5F1C7B2E0A11")
                .done(),
            "win32_processor" => Row::elsewhere(CIMV2, "Win32_Processor")
                .text("DeviceID", "CPU0")
                .text("Name", "Contoso CPU")
                .text("Manufacturer", "GenuineIntel")
                .text("Role", "CPU")
                .number("Architecture", 9)
                .number("MaxClockSpeed", 2600)
                .number("CurrentClockSpeed", 2600)
                .number("NumberOfCores", (self.setup.processors / 2).max(1))
                .number("NumberOfLogicalProcessors", self.setup.processors)
                .number("LoadPercentage", 1)
                .done(),
            "win32_logicaldisk" => {
                let drives = self.setup.drives.iter();
                let row = |(letter, _): &(char, std::path::PathBuf)| {
                    Row::elsewhere(CIMV2, "Win32_LogicalDisk")
                        .text("DeviceID", format!("{letter}:"))
                        .text("Name", format!("{letter}:"))
                        .number("DriveType", 3)
                        .text("FileSystem", "NTFS")
                        .number("Size", 1 << 40)
                        .number("FreeSpace", 1 << 39)
                        .done()
                };
                return Some(drives.map(row).collect());
            }
            _ => return None,
        };
        Some(vec![row])
    }

    fn operating_system(&self) -> Instance {
        let (product, sku, name) = match self.setup.edition {
            Edition::Server => (3, 7, "Microsoft Windows Server"),
            Edition::Client => (1, 48, "Microsoft Windows 11 Pro"),
        };
        let used: u64 = self
            .machines
            .values()
            .filter(|machine| machine.is_on())
            .flat_map(|machine| {
                self.store
                    .owned_of(&format!("Microsoft:{}", machine.id), "Msvm_MemorySettingData")
            })
            .map(|row| super::store::number(row, "VirtualQuantity"))
            .sum();
        Row::elsewhere(CIMV2, "Win32_OperatingSystem")
            .text("Name", name)
            .text("Caption", name)
            .text("CSName", self.computer())
            .text("Version", format!("10.0.{}", self.setup.build.0))
            .text("BuildNumber", self.setup.build.0.to_string())
            .number("ProductType", product)
            .number("OperatingSystemSKU", sku)
            .text("OSArchitecture", "64-bit")
            .text("SystemDrive", "C:")
            .text("WindowsDirectory", r"C:\Windows")
            .number("TotalVisibleMemorySize", self.setup.memory * 1024)
            .number(
                "FreePhysicalMemory",
                self.setup.memory.saturating_sub(used + 2048) * 1024,
            )
            .text("LocalDateTime", stamp(self.now))
            .done()
    }
}
