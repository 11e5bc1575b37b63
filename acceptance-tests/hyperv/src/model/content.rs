//! What a machine holds that was only defined: the rows that are there before anything is added to it.

use crate::cim::Instance;

use super::row::Row;
use super::setup::Build;
use super::state::State;

/// The components of integration: class, class of their setting, part of the id.
pub(crate) const COMPONENTS: [(&str, &str, &str); 6] = [
    (
        "Msvm_HeartbeatComponent",
        "Msvm_HeartbeatComponentSettingData",
        "84EAAE65-2F2E-45F5-9BB5-0E857DC8EB47",
    ),
    (
        "Msvm_KvpExchangeComponent",
        "Msvm_KvpExchangeComponentSettingData",
        "2A34B1C2-FD73-4043-8A5B-DD2159BC743F",
    ),
    (
        "Msvm_ShutdownComponent",
        "Msvm_ShutdownComponentSettingData",
        "9F8233AC-BE49-4C79-8EE3-E7E1985B2077",
    ),
    (
        "Msvm_TimeSyncComponent",
        "Msvm_TimeSyncComponentSettingData",
        "2497F4DE-E9FA-4204-80E4-4B75C46419C0",
    ),
    (
        "Msvm_VssComponent",
        "Msvm_VssComponentSettingData",
        "5CED1297-4598-4915-A5FC-AD21BB4D02A4",
    ),
    (
        "Msvm_GuestServiceInterfaceComponent",
        "Msvm_GuestServiceInterfaceComponentSettingData",
        "6C09BB55-D683-4DA0-8931-C9BF705F6480",
    ),
];

/// Units of memory.
pub(crate) const MEBIBYTES: &str = "byte * 2^20";

/// The memory of a new machine, in MiB.
pub(crate) const MEMORY: u64 = 1024;
/// The most memory that a machine may be given.
pub(crate) const MEMORY_MAXIMUM: u64 = 12_582_912;
/// The least.
pub(crate) const MEMORY_MINIMUM: u64 = 32;
/// Memory goes in steps of this.
pub(crate) const MEMORY_STEP: u64 = 2;
/// The most processors that a machine may be given.
pub(crate) const PROCESSORS_MAXIMUM: u64 = 240;

/// A setting of memory as it is by default.
pub(crate) fn memory(id: &str) -> Row {
    Row::of("Msvm_MemorySettingData")
        .text("InstanceID", id)
        .text("Caption", "Memory")
        .text("ElementName", "Memory")
        .number("ResourceType", 4)
        .text("ResourceSubType", "Microsoft:Hyper-V:Memory")
        .text("AllocationUnits", MEBIBYTES)
        .text("VirtualQuantityUnits", MEBIBYTES)
        .number("VirtualQuantity", MEMORY)
        .number("Reservation", 512)
        .number("Limit", 1_048_576)
        .number("Weight", 5000)
        .number("TargetMemoryBuffer", 20)
        .flag("DynamicMemoryEnabled", false)
        .flag("SwapFilesInUse", false)
        .flag("IsVirtualized", true)
        .flag("HugePagesEnabled", false)
        .number("MaxMemoryBlocksPerNumaNode", 65_536)
}

/// A setting of processors as it is by default.
pub(crate) fn processor(id: &str, build: Build) -> Row {
    let row = Row::of("Msvm_ProcessorSettingData")
        .text("InstanceID", id)
        .text("Caption", "Processor")
        .text("ElementName", "Processor")
        .number("ResourceType", 3)
        .text("ResourceSubType", "Microsoft:Hyper-V:Processor")
        .text("AllocationUnits", "percent / 1000")
        .text("VirtualQuantityUnits", "count")
        .number("VirtualQuantity", 1)
        .number("Reservation", 0)
        .number("Limit", 100_000)
        .number("Weight", 100)
        .flag("LimitCPUID", false)
        .flag("LimitProcessorFeatures", false)
        .number("MaxProcessorsPerNumaNode", 16)
        .number("MaxNumaNodesPerSocket", 1)
        .number("HwThreadsPerCore", 0);
    if build >= Build::SERVER_2016 {
        row.flag("ExposeVirtualizationExtensions", false)
    } else {
        row
    }
}

/// A device that only RASD has a class for.
pub(crate) fn device(id: &str, kind: u64, sub: &str, name: &str) -> Row {
    Row::of("Msvm_ResourceAllocationSettingData")
        .text("InstanceID", id)
        .text("Caption", name)
        .text("ElementName", name)
        .number("ResourceType", kind)
        .text("ResourceSubType", sub)
        .number("VirtualQuantity", 1)
        .number("Reservation", 1)
        .number("Limit", 1)
        .number("Weight", 0)
        .text("AllocationUnits", "count")
        .text("VirtualQuantityUnits", "count")
        .flag("AutomaticAllocation", true)
        .flag("AutomaticDeallocation", true)
        .number("ConsumerVisibility", 3)
}

impl State {
    /// The rows of a new machine of this generation, beside its VSSD.
    pub(crate) fn contents(&self, machine: &str, generation: u8) -> Vec<Instance> {
        let own = |part: &str| format!("Microsoft:{machine}\\{part}");
        let build = self.setup.build;
        let mut rows = vec![
            memory(&own("4764334D-E001-4176-82EE-5594EC9B530E")).done(),
            processor(&own(r"B637F346-6A0E-4DEC-AF52-BD70CB80A21D\0"), build).done(),
            device(
                &own("02DBEDE0-E3A0-4FB9-9ECF-B1F4E29BC51A"),
                13,
                "Microsoft:Hyper-V:Synthetic Mouse",
                "Synthetic Mouse",
            )
            .done(),
            Row::of("Msvm_SyntheticDisplayControllerSettingData")
                .text("InstanceID", own("DA0A7802-E377-4AAC-8E77-0558EB1073F8"))
                .text("ElementName", "Display Controller")
                .number("ResourceType", 24)
                .text(
                    "ResourceSubType",
                    "Microsoft:Hyper-V:Synthetic Display Controller",
                )
                .number("HorizontalResolution", 1024)
                .number("VerticalResolution", 768)
                .number("ResolutionType", 3)
                .done(),
        ];
        for (component, class, part) in COMPONENTS {
            // Copying files into the guest is off until somebody wants it.
            let enabled = if component == "Msvm_GuestServiceInterfaceComponent" {
                3
            } else {
                2
            };
            rows.push(
                Row::of(class)
                    .text("InstanceID", own(part))
                    .text("Caption", component)
                    .text("ElementName", component)
                    .number("EnabledState", enabled)
                    .done(),
            );
        }
        for port in 0..2_u8 {
            rows.push(self.serial(
                &own(&format!(r"8E3A359F-559A-4B6A-98A9-1690A6100ED7\{port}")),
                port,
            ));
        }
        if build >= Build::SERVER_2016 {
            rows.push(
                Row::of("Msvm_SecuritySettingData")
                    .text("InstanceID", own("2F0B2D81-23B2-4B5E-8B39-0EB0E8ABDF23"))
                    .text("ElementName", "Security Settings")
                    .flag("TpmEnabled", false)
                    .flag("KsdEnabled", false)
                    .flag("ShieldingRequested", false)
                    .flag("DataProtectionRequested", false)
                    .flag("EncryptStateAndVmMigrationTraffic", false)
                    .flag("VirtualizationBasedSecurityOptOut", false)
                    .flag("BindToHostTpm", false)
                    .done(),
            );
        }
        if generation == 1 {
            rows.extend(first_generation(&own));
        }
        rows
    }

    fn serial(&self, id: &str, port: u8) -> Instance {
        let name = format!("COM {}", port + 1);
        let row = if self.setup.build >= Build::SERVER_2016 {
            Row::of("Msvm_SerialPortSettingData")
                .text("InstanceID", id)
                .text("ElementName", &name)
                .number("ResourceType", 21)
                .text("ResourceSubType", "Microsoft:Hyper-V:Serial Port")
                .flag("DebuggerMode", false)
        } else {
            device(id, 21, "Microsoft:Hyper-V:Serial Port", &name)
        };
        row.texts("Connection", [""]).done()
    }
}

/// What only the first generation has.
fn first_generation(own: &dyn Fn(&str) -> String) -> Vec<Instance> {
    let mut rows: Vec<Instance> = (0..2_u8)
        .map(|number| {
            device(
                &own(&format!(r"83F8638B-8DCA-4152-9EDA-2CA8B33039B4\{number}")),
                5,
                "Microsoft:Hyper-V:Emulated IDE Controller",
                &format!("IDE Controller {number}"),
            )
            .text("Address", number.to_string())
            .done()
        })
        .collect();
    rows.push(
        device(
            &own(r"8F0D2762-0B00-4E04-AF4F-19010527CB93\0\0\D"),
            14,
            "Microsoft:Hyper-V:Synthetic Diskette Drive",
            "Diskette Drive",
        )
        .text("AddressOnParent", "0")
        .done(),
    );
    rows
}
