//! Firmware: its kind, what it guards a start with, where it keeps its variables, and how it boots from a network.

use labyard_driver::spec::{Firmware, Guards, MachineSpec, SecureBoot, Tpm};

use super::{EditError, is_ours};
use crate::places::Places;
use crate::xml::Element;

/// What UEFI is told through QEMU's configuration device, so that it asks for the boot file at once: each of these
/// costs it a minute before the next try.
const NETWORK_SETTINGS: [(&str, &str); 3] = [
    ("opt/org.tianocore/IPv4PXESupport", "n"),
    ("opt/org.tianocore/IPv6PXESupport", "n"),
    ("opt/org.tianocore/IPv6Support", "n"),
];

pub(super) fn kind(domain: &Element) -> Firmware {
    let efi = domain.attribute_at(&["os"], "firmware") == Some("efi");
    let flash = domain.attribute_at(&["os", "loader"], "type") == Some("pflash");
    if efi || flash {
        Firmware::Uefi
    } else {
        Firmware::Bios
    }
}

pub(super) fn guards(domain: &Element) -> Guards {
    Guards {
        secure_boot: secure_boot(domain),
        tpm: tpm(domain),
    }
}

fn secure_boot(domain: &Element) -> SecureBoot {
    let features = domain.at(&["os", "firmware"]);
    let feature = features.and_then(|list| {
        let mut named = list.named("feature");
        named.find(|feature| feature.attribute("name") == Some("secure-boot"))
    });
    let on = match feature {
        Some(feature) => feature.attribute("enabled") == Some("yes"),
        None => domain.attribute_at(&["os", "loader"], "secure") == Some("yes"),
    };
    if on {
        SecureBoot::Microsoft
    } else {
        SecureBoot::Off
    }
}

fn tpm(domain: &Element) -> Tpm {
    match domain.attribute_at(&["devices", "tpm", "backend"], "type") {
        Some("emulator") => Tpm::Emulated,
        _ => Tpm::Absent,
    }
}

/// Where the variables are kept.
pub(super) fn nvram(domain: &Element) -> Option<String> {
    domain.text_at(&["os", "nvram"]).filter(|path| !path.is_empty())
}

/// Brings kind and secure boot to the specification. Both features are always said: left out, libvirt may choose
/// secure boot with keys of its own accord.
pub(super) fn edit_kind(domain: &mut Element, spec: &MachineSpec) {
    if kind(domain) == spec.firmware
        && (spec.firmware == Firmware::Bios || secure_boot(domain) == spec.guards.secure_boot)
    {
        return;
    }
    let os = domain.ensure("os");
    for name in ["firmware", "loader", "nvram"] {
        os.remove_named(name);
    }
    match spec.firmware {
        Firmware::Bios => os.remove_attribute("firmware"),
        Firmware::Uefi => {
            os.set_attribute("firmware", "efi");
            let enabled = match spec.guards.secure_boot {
                SecureBoot::Off => "no",
                SecureBoot::Microsoft => "yes",
            };
            let feature = |name| {
                Element::new("feature")
                    .with("enabled", enabled)
                    .with("name", name)
            };
            os.push(
                Element::new("firmware")
                    .holding(feature("enrolled-keys"))
                    .holding(feature("secure-boot")),
            );
        }
    }
    if spec.guards.secure_boot == SecureBoot::Off
        && let Some(features) = domain.child_mut("features")
    {
        // libvirt adds it for secure boot, which alone needs it.
        features.remove_named("smm");
    }
}

/// Names the file of the variables, where they have a volume of their own.
pub(super) fn edit_nvram(domain: &mut Element, spec: &MachineSpec, places: &Places) -> Result<(), EditError> {
    let Some(wanted) = &spec.nvram else { return Ok(()) };
    let (path, _) = places
        .path(&wanted.pool, &wanted.volume)
        .ok_or_else(|| EditError::UnknownPool(wanted.pool.clone()))?;
    if nvram(domain).as_ref() != Some(&path) {
        domain.ensure("os").replace(Element::new("nvram").saying(&path));
    }
    Ok(())
}

pub(super) fn edit_tpm(devices: &mut Element, before: Tpm, wanted: Tpm) {
    match (before, wanted) {
        (Tpm::Absent, Tpm::Emulated) => {
            let backend = Element::new("backend")
                .with("type", "emulator")
                .with("version", "2.0");
            devices.remove_named("tpm");
            devices.push(Element::new("tpm").with("model", "tpm-crb").holding(backend));
        }
        (Tpm::Emulated, Tpm::Absent) => devices.remove_named("tpm"),
        (Tpm::Absent, Tpm::Absent) | (Tpm::Emulated, Tpm::Emulated) => {}
    }
}

/// Tells the firmware how to boot from the network, or no longer.
pub(super) fn edit_network_boot(domain: &mut Element, spec: &MachineSpec) {
    let wanted = spec.boots_from_network();
    let is_setting = |entry: &Element| {
        let name = entry.attribute("name");
        entry.is("entry") && NETWORK_SETTINGS.iter().any(|(n, _)| Some(*n) == name)
    };
    let is_fwcfg = |e: &Element| e.is("sysinfo") && e.attribute("type") == Some("fwcfg");
    let there = domain
        .elements()
        .any(|e| is_fwcfg(e) && e.elements().any(is_setting));
    if wanted && !there {
        let entries =
            NETWORK_SETTINGS.map(|(name, value)| Element::new("entry").with("name", name).saying(value));
        if !domain.elements().any(is_fwcfg) {
            domain.push(Element::new("sysinfo").with("type", "fwcfg"));
        }
        if let Some(list) = domain.elements_mut().find(|e| is_fwcfg(e)) {
            entries.into_iter().for_each(|entry| list.push(entry));
        }
    }
    if !wanted && there {
        domain
            .elements_mut()
            .filter(|e| is_fwcfg(e))
            .for_each(|list| list.remove_where(is_setting));
        domain.remove_where(|e| is_fwcfg(e) && e.elements().next().is_none());
    }
    let devices = domain.ensure("devices");
    for nic in devices.elements_mut().filter(|d| d.is("interface") && is_ours(d)) {
        let off = Element::new("rom").with("enabled", "no");
        let has = nic.child("rom").map(Element::to_string);
        match (wanted, has) {
            // QEMU's own boot program would take the lease and the first half minute.
            (true, None) => nic.push(off),
            // The settings tell that labyard has switched it off: one that a hand has switched off stays so.
            (false, Some(has)) if there && has == off.to_string() => nic.remove_named("rom"),
            // A hand has chosen a boot program, or none.
            (true | false, _) => {}
        }
    }
    if wanted && devices.child("rng").is_none() {
        // Newer firmware has no network boot at all without random numbers.
        devices.push(super::furnish::random_numbers());
    }
}
