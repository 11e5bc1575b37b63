//! NICs.

use std::collections::BTreeSet;

use labyard_driver::ids::MacAddr;
use labyard_driver::mark::Mark;
use labyard_driver::observed::Attachment;
use labyard_driver::spec::{MachineSpec, NicSpec};

use super::{EditError, alias, alias_of, is_ours, read};
use crate::network_xml;
use crate::xml::Element;

/// Brings the NICs to the specification: those of ours that it does not name are taken out.
pub(super) fn edit_nics(
    devices: &mut Element,
    spec: &MachineSpec,
    before: Option<&Mark>,
) -> Result<(), EditError> {
    let kept: BTreeSet<String> = spec
        .nics
        .iter()
        .map(|nic| alias("nic", nic.key.as_str()))
        .collect();
    let former: BTreeSet<MacAddr> = before
        .into_iter()
        .flat_map(|mark| mark.nics.values().map(|nic| nic.mac))
        .filter(|mac| !spec.nics.iter().any(|nic| nic.mac == *mac))
        .collect();
    devices.remove_where(|device| {
        device.is("interface")
            && match alias_of(device) {
                Some(name) if is_ours(device) => !kept.contains(name),
                _ => read::mac(device).is_some_and(|mac| former.contains(&mac)),
            }
    });
    spec.nics.iter().try_for_each(|nic| edit_nic(devices, nic))
}

fn edit_nic(devices: &mut Element, nic: &NicSpec) -> Result<(), EditError> {
    let (kind, source) = source(&nic.attachment)?;
    let alias = alias("nic", nic.key.as_str());
    let is_it = |d: &Element| d.is("interface") && alias_of(d) == Some(alias.as_str());
    let has_its_mac = |d: &Element| d.is("interface") && !is_ours(d) && read::mac(d) == Some(nic.mac);
    let found = devices.elements().any(is_it);
    let Some(element) = devices
        .elements_mut()
        .find(|d| if found { is_it(d) } else { has_its_mac(d) })
    else {
        let mut element = Element::new("interface")
            .with("type", kind)
            .holding(Element::new("mac").with("address", &nic.mac.to_string()))
            .holding(source)
            .holding(Element::new("model").with("type", "virtio"))
            .holding(Element::new("alias").with("name", &alias));
        network_xml::set_vlan(&mut element, nic.vlan);
        devices.push(element);
        return Ok(());
    };
    if read::mac(element) != Some(nic.mac) {
        element
            .ensure("mac")
            .set_attribute("address", &nic.mac.to_string());
    }
    if read::attachment(element) != nic.attachment {
        element.set_attribute("type", kind);
        element.replace(source);
        // They belong to what it was attached to.
        element.remove_named("virtualport");
        element.remove_named("target");
    }
    if element.child("vlan").and_then(network_xml::vlan) != nic.vlan {
        network_xml::set_vlan(element, nic.vlan);
    }
    element.ensure("alias").set_attribute("name", &alias);
    Ok(())
}

fn source(attachment: &Attachment) -> Result<(&'static str, Element), EditError> {
    let source = Element::new("source");
    match attachment {
        Attachment::Network(name) => Ok(("network", source.with("network", name))),
        Attachment::Bridge(name) => Ok(("bridge", source.with("bridge", name))),
        Attachment::Other(kind) => Err(EditError::UnknownAttachment(kind.clone())),
    }
}
