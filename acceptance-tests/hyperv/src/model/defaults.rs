//! The rows that say what a thing is by default, at least, at most, and in which steps: `Microsoft:Definition\…\Default`.

use crate::cim::{Instance, Value};

use super::content::{
    MEMORY_MAXIMUM, MEMORY_MINIMUM, MEMORY_STEP, PROCESSORS_MAXIMUM, device, memory, processor,
};
use super::row::Row;
use super::setup::Build;

/// All of them.
pub(crate) fn definitions(build: Build) -> Vec<Instance> {
    let mut rows = Vec::new();
    let bounds = [
        ("Default", None),
        ("Minimum", Some(0)),
        ("Maximum", Some(1)),
        ("Increment", Some(2)),
    ];
    for (which, bound) in bounds {
        let mut row = memory(&id("4A6B2C7C-0B32-4A0D-9C8B-2E0C3A4B0001", which)).done();
        if let Some(bound) = bound {
            let value = [MEMORY_MINIMUM, MEMORY_MAXIMUM, MEMORY_STEP][bound];
            for name in ["VirtualQuantity", "Reservation", "Limit"] {
                row.set(name, Value::Unsigned(value));
            }
            row.set("TargetMemoryBuffer", Value::Unsigned([5, 2000, 1][bound]));
            row.set("Weight", Value::Unsigned([0, 10_000, 1][bound]));
        }
        rows.push(row);
        let mut row = processor(&id("4A6B2C7C-0B32-4A0D-9C8B-2E0C3A4B0002", which), build).done();
        if let Some(bound) = bound {
            row.set(
                "VirtualQuantity",
                Value::Unsigned([1, PROCESSORS_MAXIMUM, 1][bound]),
            );
            row.set("Reservation", Value::Unsigned([0, 100_000, 1][bound]));
            row.set("Limit", Value::Unsigned([0, 100_000, 1][bound]));
            row.set("Weight", Value::Unsigned([0, 10_000, 1][bound]));
        }
        rows.push(row);
    }
    let devices = [
        (5, "Microsoft:Hyper-V:Emulated IDE Controller", "IDE Controller"),
        (
            6,
            "Microsoft:Hyper-V:Synthetic SCSI Controller",
            "SCSI Controller",
        ),
        (17, "Microsoft:Hyper-V:Synthetic Disk Drive", "Hard Drive"),
        (16, "Microsoft:Hyper-V:Synthetic DVD Drive", "DVD Drive"),
        (14, "Microsoft:Hyper-V:Synthetic Diskette Drive", "Diskette Drive"),
    ];
    for (number, (kind, sub, name)) in devices.into_iter().enumerate() {
        let pool = format!("4A6B2C7C-0B32-4A0D-9C8B-2E0C3A4B01{number:02}");
        rows.push(device(&id(&pool, "Default"), kind, sub, name).done());
    }
    let others = [
        (
            "Msvm_StorageAllocationSettingData",
            31,
            "Microsoft:Hyper-V:Virtual Hard Disk",
            "4A6B2C7C-0B32-4A0D-9C8B-2E0C3A4B0201",
        ),
        (
            "Msvm_StorageAllocationSettingData",
            31,
            "Microsoft:Hyper-V:Virtual CD/DVD Disk",
            "4A6B2C7C-0B32-4A0D-9C8B-2E0C3A4B0202",
        ),
        (
            "Msvm_SyntheticEthernetPortSettingData",
            10,
            "Microsoft:Hyper-V:Synthetic Ethernet Port",
            "4A6B2C7C-0B32-4A0D-9C8B-2E0C3A4B0203",
        ),
        (
            "Msvm_EmulatedEthernetPortSettingData",
            10,
            "Microsoft:Hyper-V:Emulated Ethernet Port",
            "4A6B2C7C-0B32-4A0D-9C8B-2E0C3A4B0204",
        ),
        (
            "Msvm_EthernetPortAllocationSettingData",
            33,
            "Microsoft:Hyper-V:Ethernet Connection",
            "4A6B2C7C-0B32-4A0D-9C8B-2E0C3A4B0205",
        ),
    ];
    for (class, kind, sub, pool) in others {
        rows.push(
            Row::of(class)
                .text("InstanceID", id(pool, "Default"))
                .number("ResourceType", kind)
                .text("ResourceSubType", sub)
                .done(),
        );
    }
    for (class, pool) in [
        (
            "Msvm_EthernetSwitchPortVlanSettingData",
            "4A6B2C7C-0B32-4A0D-9C8B-2E0C3A4B0301",
        ),
        (
            "Msvm_EthernetSwitchPortSecuritySettingData",
            "4A6B2C7C-0B32-4A0D-9C8B-2E0C3A4B0302",
        ),
    ] {
        rows.push(Row::of(class).text("InstanceID", id(pool, "Default")).done());
    }
    rows
}

fn id(pool: &str, which: &str) -> String {
    format!(r"Microsoft:Definition\{pool}\{which}")
}
