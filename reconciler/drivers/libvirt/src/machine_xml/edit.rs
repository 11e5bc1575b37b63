//! An existing definition brought to a specification, the rest left as found.

use labyard_driver::ids::Mib;
use labyard_driver::spec::{DirectBoot, MachineSpec, MachineType};

use super::{
    EditError, alias_of, cpu, devices, domain_type, drives, firmware, furnish, hardware, is_ours, nics, read,
};
use crate::mark_xml;
use crate::places::Places;
use crate::xml::Element;

/// Edits the definition.
pub(crate) fn edit(domain: &mut Element, spec: &MachineSpec, places: &Places) -> Result<(), EditError> {
    let before = mark_xml::of_definition(domain);
    mark_xml::put(domain, &spec.mark);
    set_accelerator(domain, spec);
    set_cpus(domain, spec.cpus, spec.cpus_max);
    set_memory(domain, spec.memory, spec.memory_max);
    let tpm_before = firmware::guards(domain).tpm;
    firmware::edit_kind(domain, spec);
    firmware::edit_nvram(domain, spec, places)?;
    set_direct_boot(domain, spec.direct_boot.as_ref());

    let fresh = furnish::is_fresh(domain);
    if fresh {
        furnish::furnish(domain);
    }
    if !spec.boot_order.is_empty()
        && let Some(os) = domain.child_mut("os")
    {
        // One order for all kinds of devices, which does not go together with devices that have their own.
        os.remove_named("boot");
    }
    let per_device_boot = domain.at(&["os", "boot"]).is_none();
    let devices = domain.ensure("devices");
    firmware::edit_tpm(devices, tpm_before, spec.guards.tpm);
    devices::edit_disks(devices, spec, before.ours(), places)?;
    drives::edit(devices, spec, places)?;
    nics::edit_nics(devices, spec, before.ours())?;
    if per_device_boot {
        devices::set_boot_order(devices, spec);
    }
    firmware::edit_network_boot(domain, spec);
    hardware::edit(domain, spec);
    if hardware::machine_type(domain) == Some(MachineType::Q35) {
        let devices = domain.ensure("devices");
        if furnish::was_furnished(devices) {
            furnish::keep_spare_ports(devices);
        }
    }
    Ok(())
}

fn set_accelerator(domain: &mut Element, spec: &MachineSpec) {
    let wanted = domain_type(spec.accelerator);
    if domain.attribute("type") != Some(wanted) {
        domain.set_attribute("type", wanted);
        domain.replace(cpu(spec.accelerator));
    }
}

/// The maximum is as asked for; where nothing was, the one that is there is kept if it leaves room.
pub(super) fn set_cpus(domain: &mut Element, cpus: u32, most: Option<u32>) {
    let vcpu = domain.ensure("vcpu");
    let there: u32 = vcpu.text().parse().unwrap_or(0);
    let current = vcpu.attribute("current").map(str::to_owned);
    let most = most.unwrap_or(if current.is_some() && there >= cpus {
        there
    } else {
        cpus
    });
    let now = current
        .as_ref()
        .and_then(|text| text.parse().ok())
        .unwrap_or(there);
    if (now, there) == (cpus, most) {
        return;
    }
    // Where there is no room one number says it all; where there was, both stay said.
    if most == cpus && (there != most || current.is_none()) {
        vcpu.remove_attribute("current");
    } else {
        vcpu.set_attribute("current", &cpus.to_string());
    }
    vcpu.set_text(&most.to_string());
    // Both spell out the old number processor by processor, and libvirt refuses a contradiction.
    domain.remove_named("vcpus");
    if let Some(cpu) = domain.child_mut("cpu").filter(|_| there != most) {
        cpu.remove_named("topology");
    }
}

/// `memory` is the most that the machine may have, `currentMemory` what it has.
pub(super) fn set_memory(domain: &mut Element, memory: Mib, most: Option<Mib>) {
    let kib_of = |domain: &Element, name: &str| domain.child(name).map(read::kib);
    let wanted = memory.0 * 1024;
    let (there, now) = (kib_of(domain, "memory"), kib_of(domain, "currentMemory"));
    let room = there.filter(|there| now.is_some_and(|now| now < *there) && *there >= wanted);
    let most = most.map(|most| most.0 * 1024).or(room).unwrap_or(wanted);
    let mut set = |name: &str, is: Option<u64>, kib: u64| {
        if is != Some(kib) {
            let element = domain.ensure(name);
            element.set_attribute("unit", "KiB");
            element.set_text(&kib.to_string());
        }
    };
    set("memory", there, most);
    // Left out it says the same as the maximum.
    if now.is_some() || most != wanted {
        set("currentMemory", now, wanted);
    }
}

/// A device that was plugged into the running machine sits in the definition where it sits now, so that a guest that
/// knows it by its place finds it there after a restart.
pub(crate) fn keep_addresses(definition: &mut Element, live: &Element) {
    let is_pci = |device: &Element| device.attribute_at(&["address"], "type") == Some("pci");
    let Some(there) = live.child("devices") else {
        return;
    };
    let Some(devices) = definition.child_mut("devices") else {
        return;
    };
    let mut taken: Vec<Element> = devices
        .elements()
        .filter_map(|d| d.child("address"))
        .cloned()
        .collect();
    for device in devices
        .elements_mut()
        .filter(|d| is_ours(d) && d.child("address").is_none())
    {
        let same = there.elements().find(|other| alias_of(other) == alias_of(device));
        let address = same
            .filter(|other| is_pci(other))
            .and_then(|other| other.child("address"));
        if let Some(address) = address.filter(|address| !taken.contains(address)) {
            taken.push(address.clone());
            device.push(address.clone());
        }
    }
}

pub(super) fn set_direct_boot(domain: &mut Element, boot: Option<&DirectBoot>) {
    let os = domain.ensure("os");
    let parts = [
        ("kernel", boot.map(|b| b.kernel.as_str())),
        ("initrd", boot.and_then(|b| b.initrd.as_deref())),
        ("cmdline", boot.and_then(|b| b.cmdline.as_deref())),
    ];
    for (name, value) in parts {
        match value {
            Some(value) => os.set_child_text(name, value),
            None => os.remove_named(name),
        }
    }
}
