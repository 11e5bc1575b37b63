//! NICs.

use std::collections::BTreeSet;

use labyard_driver::ids::MacAddr;
use labyard_driver::mark::Mark;
use labyard_driver::observed::Attachment;
use labyard_driver::spec::{Isolation, MachineSpec, NicModel, NicSpec};

use super::read::Link;
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
        devices.push(nic_element(nic)?);
        return Ok(());
    };
    if read::mac(element) != Some(nic.mac) {
        element
            .ensure("mac")
            .set_attribute("address", &nic.mac.to_string());
    }
    if read::attachment(element) != nic.attachment {
        attach(element, kind, source);
    }
    let model = element.attribute_at(&["model"], "type").and_then(NicModel::parse);
    if model.is_some_and(|model| model != nic.model) {
        element.ensure("model").set_attribute("type", nic.model.word());
        // A card of another kind may need a port of another kind.
        element.remove_named("address");
    }
    if element.child("vlan").and_then(network_xml::vlan) != nic.vlan {
        network_xml::set_vlan(element, nic.vlan);
    }
    set_apart(element, nic);
    element.ensure("alias").set_attribute("name", &alias);
    Ok(())
}

fn attach(element: &mut Element, kind: &str, source: Element) {
    element.set_attribute("type", kind);
    element.replace(source);
    // They belong to what it was attached to.
    element.remove_named("virtualport");
    element.remove_named("target");
}

/// The element of a new NIC.
pub(crate) fn nic_element(nic: &NicSpec) -> Result<Element, EditError> {
    let (kind, source) = source(&nic.attachment)?;
    let mut element = Element::new("interface")
        .with("type", kind)
        .holding(Element::new("mac").with("address", &nic.mac.to_string()))
        .holding(source)
        .holding(Element::new("model").with("type", nic.model.word()))
        .holding(Element::new("alias").with("name", &alias("nic", nic.key.as_str())));
    network_xml::set_vlan(&mut element, nic.vlan);
    set_apart(&mut element, nic);
    Ok(element)
}

/// The host's bridge passes nothing between ports that are kept apart.
fn set_apart(element: &mut Element, nic: &NicSpec) {
    if nic.isolation == Isolation::Apart {
        element.ensure("port").set_attribute("isolated", "yes");
    }
}

/// A running machine's NIC as it is asked to be attached, with the VLAN of its definition. What a host shows of one on a
/// network that is a bridge of the host's is that bridge and the network's VLAN: sent back like that it would be on the
/// bridge itself, and no longer on the network.
pub(crate) fn with_attachment(
    nic: &Element,
    defined: Option<&Element>,
    attachment: &Attachment,
) -> Result<Element, EditError> {
    let (kind, source) = source(attachment)?;
    let mut nic = nic.clone();
    attach(&mut nic, kind, source);
    nic.remove_named("vlan");
    if let Some(vlan) = defined.and_then(|defined| defined.child("vlan")) {
        nic.push(vlan.clone());
    }
    Ok(nic)
}

/// A NIC kept apart on its network, or not.
pub(crate) fn with_isolation(nic: &Element, isolation: Isolation) -> Element {
    let mut nic = nic.clone();
    nic.remove_named("port");
    if isolation == Isolation::Apart {
        nic.ensure("port").set_attribute("isolated", "yes");
    }
    nic
}

/// A running machine's NIC with its cable in or out.
pub(crate) fn with_link(nic: &Element, state: Link) -> Element {
    let mut nic = nic.clone();
    let state = match state {
        Link::Up => "up",
        Link::Down => "down",
    };
    nic.ensure("link").set_attribute("state", state);
    nic
}

fn source(attachment: &Attachment) -> Result<(&'static str, Element), EditError> {
    let source = Element::new("source");
    match attachment {
        Attachment::Network(name) => Ok(("network", source.with("network", name))),
        Attachment::Bridge(name) => Ok(("bridge", source.with("bridge", name))),
        Attachment::Other(kind) => Err(EditError::UnknownAttachment(kind.clone())),
    }
}
