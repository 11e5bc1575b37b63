//! The record of a machine: a definition that names it and carries its mark, without devices.

use labyard_driver::spec::MachineSpec;

use super::edit::{set_cpus, set_direct_boot, set_memory};
use super::hardware::machine_name;
use super::{cpu, domain_type, firmware};
use crate::mark_xml;
use crate::xml::Element;

/// The record.
pub(crate) fn bare(spec: &MachineSpec) -> Element {
    let text = |name: &str, text: &str| Element::new(name).saying(text);
    let mut domain = Element::new("domain")
        .with("type", domain_type(spec.accelerator))
        .holding(text("name", &spec.host_name))
        .holding(text("uuid", spec.id.as_str()))
        .holding(Element::new("metadata"))
        .holding(text("memory", &spec.memory.0.to_string()).with("unit", "MiB"))
        .holding(text("vcpu", &spec.cpus.to_string()))
        .holding(
            Element::new("os").holding(
                text("type", "hvm")
                    .with("arch", "x86_64")
                    .with("machine", machine_name(spec.machine_type)),
            ),
        )
        .holding(
            Element::new("features")
                .holding(Element::new("acpi"))
                .holding(Element::new("apic")),
        )
        .holding(cpu(spec.accelerator))
        .holding(Element::new("clock").with("offset", "utc"))
        .holding(text("on_poweroff", "destroy"))
        .holding(text("on_reboot", "restart"))
        // A guest that panics stays to be seen (and its console read) until it is started again or powered off;
        // destroyed at once it could not be told from one that was shut down.
        .holding(text("on_crash", "preserve"))
        .holding(Element::new("devices"));
    mark_xml::put(&mut domain, &spec.mark);
    firmware::edit_kind(&mut domain, spec);
    set_cpus(&mut domain, spec.cpus, spec.cpus_max);
    set_memory(&mut domain, spec.memory, spec.memory_max);
    set_direct_boot(&mut domain, spec.direct_boot.as_ref());
    domain
}
