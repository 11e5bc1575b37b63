//! What a running machine can take without a restart, by its own description.

use std::collections::BTreeSet;

use labyard_driver::observed::{Room, ScsiController};

use super::{drives, read};
use crate::xml::Element;

/// The room of a machine that runs as described.
pub(super) fn of(live: &Element) -> Room {
    let none = Element::new("devices");
    let devices = live.child("devices").unwrap_or(&none);
    Room {
        cpus: read::cpus_max(live),
        memory: read::memory_max(live),
        ports: free_ports(devices),
        scsi: match drives::controller(devices) {
            (_, None) => ScsiController::There,
            (_, Some(_)) => ScsiController::Missing,
        },
    }
}

/// Root ports with nothing on their bus. A machine whose devices sit on the root bus itself shows none and takes none.
fn free_ports(devices: &Element) -> u32 {
    let ports: BTreeSet<u32> = devices
        .named("controller")
        .filter(|c| c.attribute("type") == Some("pci") && c.attribute("model") == Some("pcie-root-port"))
        .filter_map(|c| c.attribute("index")?.parse().ok())
        .collect();
    let taken: BTreeSet<u32> = devices
        .elements()
        .filter_map(|device| device.child("address"))
        .filter(|address| address.attribute("type") == Some("pci"))
        .filter_map(|address| number(address.attribute("bus")?))
        .collect();
    u32::try_from(ports.difference(&taken).count()).unwrap_or(u32::MAX)
}

/// `0x0a`, as libvirt writes it.
fn number(text: &str) -> Option<u32> {
    match text.strip_prefix("0x") {
        Some(hex) => u32::from_str_radix(hex, 16).ok(),
        None => text.parse().ok(),
    }
}
