//! What libvirt says of its host.

use std::collections::BTreeSet;

use labyard_driver::ids::{HostUuid, Mib};
use labyard_driver::observed::{Ability, HostFacts};
use labyard_driver::spec::{Accelerator, Firmware};

use libvirt_rpc::Version;

use crate::xml::Element;

/// The architecture of machines made here.
pub(crate) const ARCH: &str = "x86_64";
/// Their machine type.
pub(crate) const MACHINE: &str = "q35";

/// The facts of a host, without its pool; `None` where the text lacks the host's id. `boot` is the part of the
/// domain capabilities about booting.
pub(crate) fn facts(capabilities: &Element, boot: Option<&Element>, version: Version) -> Option<HostFacts> {
    let uuid = capabilities
        .text_at(&["host", "uuid"])
        .filter(|uuid| !uuid.is_empty())?;
    Some(HostFacts {
        uuid: HostUuid(uuid),
        accelerators: accelerators(capabilities),
        firmwares: firmwares(boot),
        pool: None,
        pool_fault: None,
        pools: Vec::new(),
        hypervisor: String::new(),
        abilities: abilities(version),
        cpus: cells(capabilities)
            .map(|cell| number(cell.attribute_at(&["cpus"], "num")))
            .sum::<u64>() as u32,
        memory: Mib(cells(capabilities)
            .filter_map(|cell| cell.text_at(&["memory"]))
            .map(|kib| number(Some(&kib)))
            .sum::<u64>()
            / 1024),
    })
}

fn cells(capabilities: &Element) -> impl Iterator<Item = &Element> {
    capabilities
        .at(&["host", "topology", "cells"])
        .into_iter()
        .flat_map(|cells| cells.named("cell"))
}

fn number(text: Option<&str>) -> u64 {
    text.and_then(|text| text.parse().ok()).unwrap_or(0)
}

fn accelerators(capabilities: &Element) -> Vec<Accelerator> {
    let types: Vec<&str> = capabilities
        .named("guest")
        .filter(|guest| guest.text_at(&["os_type"]).as_deref() == Some("hvm"))
        .filter_map(|guest| guest.child("arch"))
        .filter(|arch| arch.attribute("name") == Some(ARCH))
        .flat_map(|arch| arch.named("domain"))
        .filter_map(|domain| domain.attribute("type"))
        .collect();
    [("kvm", Accelerator::Kvm), ("qemu", Accelerator::Qemu)]
        .into_iter()
        .filter(|(name, _)| types.contains(name))
        .map(|(_, accelerator)| accelerator)
        .collect()
}

/// VLANs on bridges that are not Open vSwitch's came with libvirt 11.0.
fn abilities(version: Version) -> BTreeSet<Ability> {
    let bridge_vlan = (version >= Version::new(11, 0, 0)).then_some(Ability::BridgeVlan);
    bridge_vlan.into_iter().collect()
}

/// The part of domain capabilities about booting. All of it is a hundred times as long, for the names of processors,
/// and would be the dearest text of a refresh.
pub(crate) fn boot_part(domain_capabilities: &str) -> &str {
    let part = || {
        let from = domain_capabilities.find("<os ")?;
        let length = domain_capabilities[from..].find("</os>")? + "</os>".len();
        Some(&domain_capabilities[from..from + length])
    };
    part().unwrap_or("<os/>")
}

/// Where nobody may ask (a connection that only reads), UEFI is assumed: making the machine would tell.
fn firmwares(boot: Option<&Element>) -> Vec<Firmware> {
    let Some(os) = boot else {
        return vec![Firmware::Bios, Firmware::Uefi];
    };
    let uefi = os
        .named("enum")
        .filter(|list| list.attribute("name") == Some("firmware"))
        .flat_map(|list| list.named("value"))
        .any(|value| value.text() == "efi");
    if uefi {
        vec![Firmware::Bios, Firmware::Uefi]
    } else {
        vec![Firmware::Bios]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOST: &str = "<capabilities><host><uuid>u-1</uuid><topology><cells num='2'>\
        <cell id='0'><memory unit='KiB'>2097152</memory><cpus num='4'/></cell>\
        <cell id='1'><memory unit='KiB'>1048576</memory><cpus num='2'/></cell></cells></topology></host>\
        <guest><os_type>hvm</os_type><arch name='i686'><domain type='kvm'/></arch></guest>\
        <guest><os_type>hvm</os_type><arch name='x86_64'><domain type='qemu'/>KVM</arch></guest></capabilities>";

    #[test]
    fn facts_are_summed_over_the_cells_and_read_for_our_architecture_alone() {
        let facts = facts(&Element::parse(HOST).unwrap(), None, Version::new(10, 9, 0)).unwrap();
        assert_eq!(
            (facts.uuid.as_str(), facts.cpus, facts.memory),
            ("u-1", 6, Mib(3072))
        );
        assert_eq!(facts.accelerators, [Accelerator::Qemu]);
        assert_eq!(facts.abilities, BTreeSet::new());
        let with_kvm = HOST.replace("KVM", "<domain type='kvm'/>");
        let facts = super::facts(&Element::parse(&with_kvm).unwrap(), None, Version::new(11, 0, 0)).unwrap();
        assert_eq!(facts.accelerators, [Accelerator::Kvm, Accelerator::Qemu]);
        assert_eq!(facts.abilities, [Ability::BridgeVlan].into());
    }

    #[test]
    fn uefi_is_offered_where_libvirt_lists_it_and_assumed_where_nobody_may_ask() {
        let list = |values: &str| {
            let text = format!(
                "<domainCapabilities><vcpu max='8'/><os supported='yes'><enum name='firmware'>{values}</enum></os>\
                 <cpu/></domainCapabilities>"
            );
            firmwares(Some(&Element::parse(boot_part(&text)).unwrap()))
        };
        assert_eq!(list("<value>bios</value><value>efi</value>").len(), 2);
        assert_eq!(list("<value>bios</value>"), [Firmware::Bios]);
        assert_eq!(boot_part("<domainCapabilities/>"), "<os/>");
        assert_eq!(firmwares(None).len(), 2);
    }
}
