//! An existing definition brought to a specification, the rest left as found.

use labyard_driver::ids::Mib;
use labyard_driver::spec::{DirectBoot, MachineSpec, MachineType};

use super::{EditError, cpu, devices, domain_type, drives, firmware, furnish, hardware, nics, read};
use crate::mark_xml;
use crate::places::Places;
use crate::xml::Element;

/// Edits the definition.
pub(crate) fn edit(domain: &mut Element, spec: &MachineSpec, places: &Places) -> Result<(), EditError> {
    let before = mark_xml::of_definition(domain);
    mark_xml::put(domain, &spec.mark);
    set_accelerator(domain, spec);
    set_cpus(domain, spec.cpus);
    set_memory(domain, spec.memory);
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

fn set_cpus(domain: &mut Element, cpus: u32) {
    let vcpu = domain.ensure("vcpu");
    let most: u32 = vcpu.text().parse().unwrap_or(0);
    if vcpu.attribute("current").is_some() && most >= cpus {
        vcpu.set_attribute("current", &cpus.to_string());
        return;
    }
    if most == cpus {
        return;
    }
    vcpu.remove_attribute("current");
    vcpu.set_text(&cpus.to_string());
    // Both spell out the old number processor by processor, and libvirt refuses a contradiction.
    domain.remove_named("vcpus");
    if let Some(cpu) = domain.child_mut("cpu") {
        cpu.remove_named("topology");
    }
}

fn set_memory(domain: &mut Element, memory: Mib) {
    for name in ["memory", "currentMemory"] {
        let standing = domain.child(name).map(read::kib);
        if standing.is_some_and(|kib| kib != memory.0 * 1024) {
            let element = domain.ensure(name);
            element.set_attribute("unit", "KiB");
            element.set_text(&(memory.0 * 1024).to_string());
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
