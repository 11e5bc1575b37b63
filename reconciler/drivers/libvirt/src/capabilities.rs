//! What libvirt says of its host.

use std::collections::{BTreeMap, BTreeSet};

use labyard_driver::ids::{HostUuid, Mib};
use labyard_driver::observed::{Ability, HostFacts, Offer, Offers};
use labyard_driver::spec::{Accelerator, Firmware, SecureBoot};

use libvirt_rpc::Version;

use crate::machine_xml::hardware::Vendor;
use crate::xml::Element;

/// The architecture of machines made here.
pub(crate) const ARCH: &str = "x86_64";
/// Their machine type.
pub(crate) const MACHINE: &str = "q35";

/// The facts of a host, without its pool; `None` where the text lacks the host's id.
pub(crate) fn facts(capabilities: &Element) -> Option<HostFacts> {
    let uuid = capabilities
        .text_at(&["host", "uuid"])
        .filter(|uuid| !uuid.is_empty())?;
    Some(HostFacts {
        uuid: HostUuid(uuid),
        accelerators: accelerators(capabilities),
        pool: None,
        pool_fault: None,
        pools: Vec::new(),
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

/// What it offers, without the hypervisor's name and its processors. `domain` are the parts of the domain capabilities
/// that [`domain_parts`] leaves.
pub(crate) fn offers(domain: Option<&Element>, version: Version) -> Offers {
    let os = domain.and_then(|domain| domain.child("os"));
    Offers {
        firmwares: firmwares(os),
        variables: variables(os),
        tpm: tpm(domain),
        abilities: abilities(version),
        ..Offers::default()
    }
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

/// VLANs on bridges that are not Open vSwitch's came with libvirt 11.0. libvirt 9.0 makes QEMU a request without a file
/// for a drive without a medium, and 11.3 none; of those between, the younger ones are believed.
fn abilities(version: Version) -> BTreeSet<Ability> {
    let since = [
        (11, Ability::BridgeVlan),
        (10, Ability::EmptyDrive),
        (0, Ability::Moments),
    ];
    let has = |(major, ability)| (version >= Version::new(major, 0, 0)).then_some(ability);
    since.into_iter().filter_map(has).collect()
}

/// The parts of domain capabilities about booting and about TPMs. All of it is a hundred times as long, for the names
/// of processors, and would be the dearest text of a refresh.
pub(crate) fn domain_parts(domain_capabilities: &str) -> String {
    let part = |name: &str| {
        let from = domain_capabilities.find(&format!("<{name} "))?;
        let (whole, empty) = (format!("</{name}>"), "/>");
        let rest = &domain_capabilities[from..];
        let tag = rest.find('>')? + 1;
        let length = match rest[..tag].ends_with(empty) {
            true => tag,
            false => rest.find(&whole)? + whole.len(),
        };
        Some(&rest[..length])
    };
    let os = part("os").unwrap_or("<os/>");
    let tpm = part("tpm").unwrap_or_default();
    format!("<domainCapabilities>{os}{tpm}</domainCapabilities>")
}

/// Where nobody may ask, a TPM is assumed: making the machine would tell.
fn tpm(domain: Option<&Element>) -> Offer {
    let Some(domain) = domain else {
        return Offer::Offered;
    };
    let emulates = domain
        .child("tpm")
        .into_iter()
        .flat_map(|tpm| tpm.named("enum"))
        .filter(|list| list.attribute("name") == Some("backendModel"))
        .flat_map(|list| list.named("value"))
        .any(|value| value.text() == "emulator");
    if emulates { Offer::Offered } else { Offer::Lacking }
}

/// The templates of firmware variables, by their distributors' custom named as the firmware with VARS for CODE.
fn variables(os: Option<&Element>) -> BTreeMap<SecureBoot, Result<String, String>> {
    let Some(os) = os else { return BTreeMap::new() };
    let loaders: Vec<String> = os
        .child("loader")
        .into_iter()
        .flat_map(|loader| loader.named("value"))
        .map(Element::text)
        .collect();
    [SecureBoot::Off, SecureBoot::Microsoft]
        .into_iter()
        .map(|kind| (kind, template(&loaders, kind)))
        .collect()
}

fn template(loaders: &[String], kind: SecureBoot) -> Result<String, String> {
    let file = |path: &str| path.rsplit('/').next().unwrap_or_default().to_lowercase();
    let fits = |path: &&String| {
        let name = file(path);
        let words: Vec<_> = name.split(['.', '-', '_']).collect();
        let has = |word: &str| words.contains(&word);
        let special = ["snakeoil", "amdsev", "inteltdx", "tdx", "sev", "cc"]
            .into_iter()
            .any(has);
        let keys = has("ms") || (has("secboot") && !name.contains("_4m."));
        let kind_fits = match kind {
            SecureBoot::Off => !has("ms") && !has("secboot") && !has("secure"),
            SecureBoot::Microsoft => keys,
        };
        kind_fits && !special && (name.ends_with(".fd") || name.ends_with(".bin"))
    };
    let found = loaders.iter().find(fits).and_then(|path| {
        let (directory, name) = path.rsplit_once('/')?;
        let other = name.replace("CODE", "VARS").replace("code", "vars");
        (other != name).then(|| format!("{directory}/{other}"))
    });
    found.ok_or_else(|| {
        let what = match kind {
            SecureBoot::Off => "UEFI firmware without secure boot",
            SecureBoot::Microsoft => "UEFI firmware with secure boot and Microsoft's keys enrolled",
        };
        let list = if loaders.is_empty() {
            "none at all".to_owned()
        } else {
            loaders.join(", ")
        };
        format!("the host offers no raw {what} (it lists {list})")
    })
}

/// The names of the processor models in domain capabilities, picked out of a text that is long for them.
pub(crate) fn cpu_models(domain_capabilities: &str) -> Vec<String> {
    let Some((_, custom)) = domain_capabilities.split_once("<mode name='custom'") else {
        return Vec::new();
    };
    let custom = custom.split("</mode>").next().unwrap_or_default();
    let names = custom.split("<model ").skip(1).filter_map(|model| {
        let name = model.split_once('>')?.1.split('<').next()?;
        Some(name.to_owned())
    });
    names.collect()
}

/// Who made the host's processor.
pub(crate) fn vendor(capabilities: &Element) -> Vendor {
    match capabilities.text_at(&["host", "cpu", "vendor"]).as_deref() {
        Some("Intel") => Vendor::Intel,
        _ => Vendor::Amd,
    }
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
        let facts = facts(&Element::parse(HOST).unwrap()).unwrap();
        assert_eq!(
            (facts.uuid.as_str(), facts.cpus, facts.memory),
            ("u-1", 6, Mib(3072))
        );
        assert_eq!(facts.accelerators, [Accelerator::Qemu]);
        let with_kvm = HOST.replace("KVM", "<domain type='kvm'/>");
        let facts = super::facts(&Element::parse(&with_kvm).unwrap()).unwrap();
        assert_eq!(facts.accelerators, [Accelerator::Kvm, Accelerator::Qemu]);
    }

    #[test]
    fn what_a_host_can_depends_on_its_version() {
        let abilities = |version| offers(None, version).abilities;
        assert_eq!(abilities(Version::new(9, 0, 0)), [Ability::Moments].into());
        assert_eq!(
            abilities(Version::new(10, 9, 0)),
            [Ability::EmptyDrive, Ability::Moments].into()
        );
        assert_eq!(
            abilities(Version::new(11, 0, 0)),
            [Ability::BridgeVlan, Ability::EmptyDrive, Ability::Moments].into()
        );
    }

    #[test]
    fn templates_of_variables_are_named_after_the_firmware_that_the_host_lists() {
        let at = |directory: &str, names: &[&str], kind| {
            let paths: Vec<_> = names.iter().map(|name| format!("{directory}/{name}")).collect();
            template(&paths, kind).map(|path| path.replace(directory, ""))
        };
        let debian = ["OVMF_CODE_4M.ms.fd", "OVMF_CODE_4M.secboot.fd", "OVMF_CODE_4M.fd"];
        let fedora = ["OVMF_CODE_4M.qcow2", "OVMF_CODE.secboot.fd", "OVMF_CODE.fd"];
        let suse = ["ovmf-x86_64-smm-ms-code.bin", "ovmf-x86_64-code.bin"];
        for (names, plain, keys) in [
            (&debian[..], "OVMF_VARS_4M.fd", "OVMF_VARS_4M.ms.fd"),
            (&fedora[..], "OVMF_VARS.fd", "OVMF_VARS.secboot.fd"),
            (&suse[..], "ovmf-x86_64-vars.bin", "ovmf-x86_64-smm-ms-vars.bin"),
        ] {
            assert_eq!(at("/f", names, SecureBoot::Off).unwrap(), format!("/{plain}"));
            assert_eq!(
                at("/f", names, SecureBoot::Microsoft).unwrap(),
                format!("/{keys}")
            );
        }
        let none = template(&["/f/OVMF_CODE_4M.qcow2".to_owned()], SecureBoot::Off).unwrap_err();
        assert!(none.contains("OVMF_CODE_4M.qcow2"), "{none}");
    }

    #[test]
    fn a_tpm_is_offered_where_libvirt_can_emulate_one() {
        let tpm = |list: &str| {
            let text = format!(
                "<domainCapabilities><os supported='no'/><devices><disk/>{list}</devices></domainCapabilities>"
            );
            super::tpm(Some(&Element::parse(&domain_parts(&text)).unwrap()))
        };
        let with = "<tpm supported='yes'><enum name='backendModel'><value>emulator</value></enum></tpm>";
        assert_eq!(tpm(with), Offer::Offered);
        assert_eq!(tpm(&with.replace("emulator", "passthrough")), Offer::Lacking);
        assert_eq!(tpm("<tpm supported='no'/>"), Offer::Lacking);
        assert_eq!(super::tpm(None), Offer::Offered);
    }

    #[test]
    fn uefi_is_offered_where_libvirt_lists_it_and_assumed_where_nobody_may_ask() {
        let list = |values: &str| {
            let text = format!(
                "<domainCapabilities><vcpu max='8'/><os supported='yes'><enum name='firmware'>{values}</enum></os>\
                 <cpu/></domainCapabilities>"
            );
            firmwares(Element::parse(&domain_parts(&text)).unwrap().child("os"))
        };
        assert_eq!(list("<value>bios</value><value>efi</value>").len(), 2);
        assert_eq!(list("<value>bios</value>"), [Firmware::Bios]);
        assert_eq!(firmwares(None).len(), 2);
    }

    #[test]
    fn processor_models_are_those_of_the_custom_mode() {
        let text = "<mode name='host-model'><model fallback='forbid'>EPYC</model></mode>\
            <mode name='custom' supported='yes'><model usable='yes' vendor='unknown'>486</model>\
            <blockers model='x'><feature name='y'/></blockers><model usable='no'>Haswell</model></mode>\
            <mode name='other'><model a='b'>z</model></mode>";
        assert_eq!(cpu_models(text), ["486", "Haswell"]);
        assert_eq!(cpu_models(""), [""; 0]);
    }
}
