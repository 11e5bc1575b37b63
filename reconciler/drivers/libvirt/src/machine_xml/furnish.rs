//! What every machine of ours has besides disks and NICs: console, agent channel, random numbers, spare ports.

use super::{AGENT_ALIAS, alias_of};
use crate::xml::Element;

/// Ports for devices that are plugged in later: a q35 machine takes no device without a free one.
const SPARE_PORTS: usize = 8;

/// Whether this is a record of ours that has no devices yet.
pub(super) fn is_fresh(domain: &Element) -> bool {
    domain.child("devices").is_none_or(|devices| {
        !devices
            .elements()
            .any(|d| d.is("disk") || d.is("interface") || d.is("serial") || d.is("channel"))
    })
}

/// Whether these devices were laid out here, and not in a machine that was imported.
pub(super) fn was_furnished(devices: &Element) -> bool {
    devices
        .elements()
        .any(|device| alias_of(device) == Some(AGENT_ALIAS))
}

/// Puts the standing devices into a record.
pub(super) fn furnish(domain: &mut Element) {
    // libvirt gives a record without disks a boot device for all; disks of ours carry their order themselves, and
    // the two ways do not go together.
    if let Some(os) = domain.child_mut("os") {
        os.remove_named("boot");
    }
    let devices = domain.ensure("devices");
    devices.push(
        Element::new("serial")
            .with("type", "pty")
            .holding(Element::new("target").with("port", "0")),
    );
    devices.push(
        Element::new("console")
            .with("type", "pty")
            .holding(Element::new("target").with("type", "serial").with("port", "0")),
    );
    devices.push(
        Element::new("channel")
            .with("type", "unix")
            .holding(
                Element::new("target")
                    .with("type", "virtio")
                    .with("name", "org.qemu.guest_agent.0"),
            )
            .holding(Element::new("alias").with("name", AGENT_ALIAS)),
    );
    devices.push(random_numbers());
    if devices.child("memballoon").is_none() {
        devices.push(Element::new("memballoon").with("model", "virtio"));
    }
    if devices.child("panic").is_none() {
        devices.push(Element::new("panic").with("model", "isa"));
    }
}

/// Random numbers from the host.
pub(super) fn random_numbers() -> Element {
    Element::new("rng").with("model", "virtio").holding(
        Element::new("backend")
            .with("model", "random")
            .saying("/dev/urandom"),
    )
}

/// Adds root ports until there is one for each device and some to spare.
pub(super) fn keep_spare_ports(devices: &mut Element) {
    let is_pci = |d: &Element, model: &str| {
        d.is("controller") && d.attribute("type") == Some("pci") && d.attribute("model") == Some(model)
    };
    if !devices.elements().any(|d| is_pci(d, "pcie-root")) {
        devices.push_front(controller(0, "pcie-root"));
    }
    let there = devices.elements().filter(|d| is_pci(d, "pcie-root-port")).count();
    let wanted = devices.elements().map(ports_taken).sum::<usize>() + SPARE_PORTS;
    let taken: Vec<usize> = devices
        .named("controller")
        .filter(|c| c.attribute("type") == Some("pci"))
        .filter_map(|c| c.attribute("index")?.parse().ok())
        .collect();
    (1..)
        .filter(|index| !taken.contains(index))
        .take(wanted.saturating_sub(there))
        .for_each(|index| devices.push(controller(index, "pcie-root-port")));
}

fn controller(index: usize, model: &str) -> Element {
    Element::new("controller")
        .with("type", "pci")
        .with("index", &index.to_string())
        .with("model", model)
}

/// How many root ports a device takes; the devices of the chipset itself take none.
fn ports_taken(device: &Element) -> usize {
    let takes = match device.local_name() {
        "disk" => device.attribute_at(&["target"], "bus") == Some("virtio"),
        "interface" | "rng" | "hostdev" | "filesystem" | "vsock" => true,
        "memballoon" => device.attribute("model") == Some("virtio"),
        // The controller of the agent's channel, which libvirt adds.
        "channel" => device.attribute_at(&["target"], "type") == Some("virtio"),
        "controller" => {
            matches!(device.attribute("type"), Some("scsi"))
                || device
                    .attribute("model")
                    .is_some_and(|model| model.contains("xhci"))
        }
        _ => false,
    };
    usize::from(takes)
}
