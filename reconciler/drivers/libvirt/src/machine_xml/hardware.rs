//! Chipset, processor, display and serial number: read, and brought to a specification.

use labyard_driver::observed::Hardware;
use labyard_driver::spec::{Choice, CpuModel, Graphics, MachineSpec, MachineType, Nested};

use super::{alias_of, cpu};
use crate::xml::Element;

const VIDEO_ALIAS: &str = "ua-labyard-video";
/// The processor's features by which a guest runs guests of its own.
const NESTING: [&str; 2] = ["vmx", "svm"];

/// The name of a chipset as libvirt takes it.
pub(super) fn machine_name(of: MachineType) -> &'static str {
    match of {
        MachineType::Q35 => "q35",
        MachineType::Pc => "pc",
    }
}

/// Who made the host's processor decides how it nests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Vendor {
    /// VMX.
    Intel,
    /// SVM; so does QEMU's emulation.
    Amd,
}

/// What a definition says.
pub(super) fn read(domain: &Element) -> Hardware {
    Hardware {
        machine_type: machine_type(domain),
        cpu_model: model(domain),
        nested: nested(domain),
        graphics: graphics(domain),
        serial: serial(domain),
    }
}

/// What runs. libvirt replaces `host-model` by what it came to, and adds to a named model what QEMU made of it:
/// neither is another processor than was asked for.
pub(super) fn read_live(live: &Element, defined: &Hardware) -> Hardware {
    let mut hardware = read(live);
    let by_model = defined.cpu_model == Some(CpuModel::HostModel);
    if by_model {
        hardware.cpu_model = Some(CpuModel::HostModel);
    }
    if by_model || defined.nested.is_none() {
        hardware.nested = defined.nested;
    }
    hardware
}

pub(super) fn machine_type(domain: &Element) -> Option<MachineType> {
    let name = domain.attribute_at(&["os", "type"], "machine")?;
    match name {
        "q35" => Some(MachineType::Q35),
        "pc" => Some(MachineType::Pc),
        _ if name.starts_with("pc-q35-") => Some(MachineType::Q35),
        _ if name.starts_with("pc-i440fx-") => Some(MachineType::Pc),
        _ => None,
    }
}

fn model(domain: &Element) -> Option<CpuModel> {
    let cpu = domain.child("cpu")?;
    match cpu.attribute("mode") {
        Some("host-passthrough") => Some(CpuModel::HostPassthrough),
        Some("host-model") => Some(CpuModel::HostModel),
        Some("maximum") => Some(CpuModel::Maximum),
        _ => cpu
            .text_at(&["model"])
            .filter(|name| !name.is_empty())
            .map(CpuModel::Named),
    }
}

fn nested(domain: &Element) -> Option<Nested> {
    let policy_of = |feature: &Element| match feature.attribute("policy") {
        Some("disable" | "forbid") => Nested::Off,
        _ => Nested::On,
    };
    let said: Vec<_> = domain
        .child("cpu")?
        .named("feature")
        .filter(|feature| is_nesting(feature))
        .map(policy_of)
        .collect();
    match said.contains(&Nested::On) {
        true => Some(Nested::On),
        false => said.first().copied(),
    }
}

fn is_nesting(feature: &Element) -> bool {
    feature.is("feature")
        && feature
            .attribute("name")
            .is_some_and(|name| NESTING.contains(&name))
}

fn is_vnc(device: &Element) -> bool {
    device.is("graphics") && device.attribute("type") == Some("vnc")
}

/// The port that a running machine's display got; libvirt says -1 while it has none.
pub(super) fn vnc_port(live: &Element) -> Option<u16> {
    let mut displays = live.child("devices")?.elements().filter(|device| is_vnc(device));
    let port: u16 = displays.find_map(|display| display.attribute("port")?.parse().ok())?;
    (port > 0).then_some(port)
}

fn graphics(domain: &Element) -> Graphics {
    let vnc = domain
        .child("devices")
        .is_some_and(|devices| devices.elements().any(is_vnc));
    if vnc { Graphics::Vnc } else { Graphics::None }
}

fn serial(domain: &Element) -> Option<String> {
    if domain.attribute_at(&["os", "smbios"], "mode") != Some("sysinfo") {
        return None;
    }
    let system = domain
        .named("sysinfo")
        .find(|info| is_smbios(info))?
        .child("system")?;
    entry(system, "serial").map(Element::text)
}

fn is_smbios(info: &Element) -> bool {
    info.is("sysinfo") && info.attribute("type") == Some("smbios")
}

fn entry<'a>(of: &'a Element, name: &'a str) -> Option<&'a Element> {
    of.named("entry")
        .find(|entry| entry.attribute("name") == Some(name))
}

/// Brings processor, display and serial number to the specification.
pub(super) fn edit(domain: &mut Element, spec: &MachineSpec) {
    set_model(domain, spec);
    set_graphics(domain, spec.graphics);
    if let Some(serial) = &spec.serial {
        set_serial(domain, spec, serial);
    }
}

fn set_model(domain: &mut Element, spec: &MachineSpec) {
    let usual = spec.accelerator.usual_cpu();
    let wanted = match &spec.cpu.model {
        Choice::AsFound => return,
        Choice::Default => &usual,
        Choice::Is(model) => model,
    };
    if model(domain).as_ref() == Some(wanted) {
        return;
    }
    let cpu = match domain.child_mut("cpu") {
        Some(cpu) => cpu,
        None => {
            domain.replace(cpu(spec.accelerator));
            domain.ensure("cpu")
        }
    };
    for name in ["match", "check", "migratable"] {
        cpu.remove_attribute(name);
    }
    for name in ["model", "vendor"] {
        cpu.remove_named(name);
    }
    let mode = match wanted {
        CpuModel::HostPassthrough => "host-passthrough",
        CpuModel::HostModel => "host-model",
        CpuModel::Maximum => "maximum",
        CpuModel::Named(name) => {
            cpu.set_attribute("match", "exact");
            cpu.push_front(Element::new("model").with("fallback", "forbid").saying(name));
            "custom"
        }
    };
    cpu.set_attribute("mode", mode);
}

/// Says whether the guest may run guests of its own. To forbid it both words are known everywhere; to ask for it the
/// processor's own is needed.
pub(crate) fn set_nested(domain: &mut Element, wanted: &Choice<Nested>, vendor: Vendor) {
    let wanted = match wanted {
        Choice::AsFound => return,
        Choice::Default => None,
        Choice::Is(nested) => Some(*nested),
    };
    if nested(domain) == wanted {
        return;
    }
    let cpu = domain.ensure("cpu");
    cpu.remove_where(is_nesting);
    let feature = |policy, name| Element::new("feature").with("policy", policy).with("name", name);
    match (wanted, vendor) {
        (None, _) => {}
        (Some(Nested::Off), _) => NESTING.iter().for_each(|name| cpu.push(feature("disable", name))),
        (Some(Nested::On), Vendor::Intel) => cpu.push(feature("require", "vmx")),
        (Some(Nested::On), Vendor::Amd) => cpu.push(feature("require", "svm")),
    }
}

/// Displays of other kinds were put there by somebody else and stay.
fn set_graphics(domain: &mut Element, wanted: Graphics) {
    if graphics(domain) == wanted {
        return;
    }
    let devices = domain.ensure("devices");
    match wanted {
        Graphics::None => {
            devices.remove_where(|d| is_vnc(d) || (d.is("video") && alias_of(d) == Some(VIDEO_ALIAS)));
        }
        Graphics::Vnc => {
            devices.push(
                Element::new("graphics")
                    .with("type", "vnc")
                    .with("port", "-1")
                    .with("autoport", "yes")
                    .with("listen", "127.0.0.1"),
            );
            devices.remove_where(|d| d.is("video") && d.attribute_at(&["model"], "type") == Some("none"));
            if devices.child("video").is_none() {
                devices.push(
                    Element::new("video")
                        .holding(Element::new("model").with("type", "vga"))
                        .holding(Element::new("alias").with("name", VIDEO_ALIAS)),
                );
            }
        }
    }
}

/// The UUID stands beside it, since libvirt tells SMBIOS nothing of its own once it is told anything.
fn set_serial(domain: &mut Element, spec: &MachineSpec, wanted: &str) {
    if serial(domain).as_deref() == Some(wanted) {
        return;
    }
    domain
        .ensure("os")
        .ensure("smbios")
        .set_attribute("mode", "sysinfo");
    if !domain.elements().any(is_smbios) {
        domain.push(Element::new("sysinfo").with("type", "smbios"));
    }
    let Some(info) = domain.elements_mut().find(|info| is_smbios(info)) else {
        return;
    };
    let system = info.ensure("system");
    for (name, value) in [("serial", wanted), ("uuid", spec.id.as_str())] {
        let is_it = |entry: &Element| entry.is("entry") && entry.attribute("name") == Some(name);
        system.remove_where(is_it);
        system.push(Element::new("entry").with("name", name).saying(value));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use labyard_driver::conformance::sample;
    use labyard_driver::spec::CpuSpec;

    fn standing() -> Element {
        let text = "<domain type='qemu'><name>web</name><uuid>u</uuid><os><type machine='pc-q35-10.0'>hvm</type></os>\
            <cpu mode='maximum' check='none'><topology sockets='1' cores='2' threads='1'/>\
            <feature policy='disable' name='x2apic'/></cpu><devices/></domain>";
        Element::parse(text).unwrap()
    }

    fn edited(change: impl FnOnce(&mut MachineSpec)) -> Element {
        let mut spec = sample::machine("web");
        change(&mut spec);
        let mut domain = standing();
        edit(&mut domain, &spec);
        set_nested(&mut domain, &spec.cpu.nested, Vendor::Intel);
        domain
    }

    #[test]
    fn what_nothing_is_asked_of_stays_as_it_was() {
        assert_eq!(edited(|_| {}).to_string(), standing().to_string());
    }

    #[test]
    fn a_model_is_changed_around_the_topology_and_features_that_stand() {
        let model = CpuModel::Named("Haswell".to_owned());
        let domain = edited(|spec| spec.cpu.model = Choice::Is(model.clone()));
        assert_eq!(read(&domain).cpu_model, Some(model));
        let cpu = domain.child("cpu").unwrap();
        assert!(cpu.child("topology").is_some() && cpu.child("feature").is_some());
        assert_eq!(cpu.attribute("check"), None);
    }

    #[test]
    fn nesting_is_asked_for_by_the_vendors_word_and_forbidden_by_both() {
        let with = |nested| {
            edited(|spec| {
                spec.cpu = CpuSpec {
                    nested,
                    ..CpuSpec::default()
                };
            })
        };
        for (nested, words) in [(Nested::On, 1), (Nested::Off, 2)] {
            let domain = with(Choice::Is(nested));
            assert_eq!(read(&domain).nested, Some(nested));
            let said = domain.child("cpu").unwrap().named("feature");
            assert_eq!(said.filter(|f| is_nesting(f)).count(), words);
        }
        let mut domain = with(Choice::Is(Nested::On));
        set_nested(&mut domain, &Choice::Default, Vendor::Intel);
        assert_eq!(read(&domain).nested, None);
        assert!(domain.child("cpu").unwrap().child("feature").is_some());
    }

    #[test]
    fn a_display_comes_with_a_card_of_ours_and_goes_with_it() {
        let mut domain = edited(|spec| spec.graphics = Graphics::Vnc);
        assert_eq!(vnc_port(&domain), None, "a definition asks for any port");
        let devices = domain.child("devices").unwrap();
        assert_eq!(devices.attribute_at(&["graphics"], "listen"), Some("127.0.0.1"));
        assert!(devices.child("video").is_some());
        set_graphics(&mut domain, Graphics::None);
        assert_eq!(domain.child("devices").unwrap().elements().count(), 0);
    }

    #[test]
    fn a_serial_number_leaves_the_other_words_of_smbios() {
        let mut domain = edited(|spec| spec.serial = Some("LY-1".to_owned()));
        assert_eq!(read(&domain).serial.as_deref(), Some("LY-1"));
        let system = domain.child_mut("sysinfo").unwrap().child_mut("system").unwrap();
        system.push(Element::new("entry").with("name", "product").saying("Lab"));
        let spec = sample::machine("web");
        set_serial(&mut domain, &spec, "LY-2");
        assert_eq!(read(&domain).serial.as_deref(), Some("LY-2"));
        assert!(domain.to_string().contains("Lab"));
    }

    #[test]
    fn chipsets_are_known_by_their_versions_too() {
        let of = |machine: &str| {
            let text = format!("<domain><os><type machine='{machine}'/></os></domain>");
            machine_type(&Element::parse(&text).unwrap())
        };
        assert_eq!(of("pc-i440fx-9.2"), Some(MachineType::Pc));
        assert_eq!(of("q35"), Some(MachineType::Q35));
        assert_eq!(of("microvm"), None);
    }
}
