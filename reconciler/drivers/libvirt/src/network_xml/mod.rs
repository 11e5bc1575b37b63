//! Networks as libvirt's network XML: new ones, edits of what is there, and reading.

mod boot;
mod lan;
mod options;
mod read;
#[cfg(test)]
mod tests;

pub(crate) use lan::{set_vlan, vlan};
pub(crate) use read::{NetworkFacts, Transition, Update, facts};

use labyard_driver::observed::Reservation;
use labyard_driver::spec::{Dhcp, NetworkMode, NetworkSpec};

use crate::mark_xml;
use crate::xml::Element;

/// A new network.
pub(crate) fn new(spec: &NetworkSpec) -> Element {
    let mut network = Element::new("network")
        .holding(Element::new("name").saying(&spec.host_name))
        .holding(Element::new("uuid").saying(spec.id.as_str()))
        .holding(Element::new("metadata"));
    edit(&mut network, spec);
    if spec.mode != NetworkMode::Bridge {
        // Without them a guest waits out the bridge's forward delay and dnsmasq's ping check, four seconds of every
        // boot, for loops and strangers that a bridge of libvirt's own cannot have.
        let bridge = network.ensure("bridge");
        if spec.bridge.is_none() {
            bridge.set_attribute("name", &own_bridge(spec));
        }
        bridge.set_attribute("stp", "off");
        bridge.set_attribute("delay", "0");
        if spec.dhcp.is_some() {
            options::set(&mut network, |line| line == "no-ping", &["no-ping".to_owned()]);
        }
    }
    network
}

/// Brings a definition to the specification and leaves the rest as found.
pub(crate) fn edit(network: &mut Element, spec: &NetworkSpec) {
    mark_xml::put(network, &spec.mark);
    let standing = facts(network);
    if standing.mode != Some(spec.mode) {
        set_mode(network, spec.mode);
        if standing.mode == Some(NetworkMode::Bridge) && spec.bridge.is_none() {
            network.ensure("bridge").set_attribute("name", &own_bridge(spec));
        }
    }
    if let Some(bridge) = &spec.bridge {
        network.ensure("bridge").set_attribute("name", bridge);
    }
    if standing.domain != spec.domain {
        match &spec.domain {
            Some(domain) => network.ensure("domain").set_attribute("name", domain),
            None => network.remove_named("domain"),
        }
    }
    edit_address(network, spec, &standing);
    lan::edit(network, spec);
    if standing.boot != spec.boot {
        boot::set(network, spec.boot.as_ref());
    }
}

/// The name of a bridge that libvirt makes for a network, as long as Linux allows it. Left to libvirt, two networks
/// that are made at the same time get the same.
fn own_bridge(spec: &NetworkSpec) -> String {
    let digits = spec.id.as_str().chars().filter(char::is_ascii_hexdigit);
    format!("virbr-{}", digits.take(8).collect::<String>())
}

fn set_mode(network: &mut Element, mode: NetworkMode) {
    network.remove_named("forward");
    let forward = |mode| Element::new("forward").with("mode", mode);
    match mode {
        NetworkMode::Nat => network.push(forward("nat")),
        NetworkMode::Routed => network.push(forward("route")),
        NetworkMode::Bridge => {
            network.push(forward("bridge"));
            // They speak of a bridge that libvirt makes itself.
            let bridge = network.ensure("bridge");
            ["stp", "delay", "zone"]
                .into_iter()
                .for_each(|name| bridge.remove_attribute(name));
            network.remove_named("mac");
        }
        NetworkMode::Isolated => {}
    }
}

fn edit_address(network: &mut Element, spec: &NetworkSpec, standing: &NetworkFacts) {
    let Some(address) = spec.address else {
        if standing.address.is_some() {
            let mut first = true;
            network.remove_where(|e| e.is("ip") && read::is_ipv4(e) && std::mem::replace(&mut first, false));
        }
        return;
    };
    let found = network.elements().any(|e| e.is("ip") && read::is_ipv4(e));
    if !found {
        network.push(Element::new("ip"));
    }
    let Some(ip) = network.elements_mut().find(|e| e.is("ip") && read::is_ipv4(e)) else {
        return;
    };
    if standing.address != Some(address) {
        ip.remove_attribute("prefix");
        ip.set_attribute("address", &address.addr().to_string());
        ip.set_attribute("netmask", &address.netmask().to_string());
    }
    if standing.dhcp != spec.dhcp {
        set_range(ip, spec.dhcp);
    }
}

fn set_range(ip: &mut Element, dhcp: Option<Dhcp>) {
    let Some(Dhcp { start, end }) = dhcp else {
        ip.remove_named("dhcp");
        return;
    };
    let range = ip.ensure("dhcp").ensure("range");
    range.set_attribute("start", &start.to_string());
    range.set_attribute("end", &end.to_string());
}

/// A DHCP range as libvirt's network update takes it.
fn range(dhcp: Dhcp) -> Element {
    Element::new("range")
        .with("start", &dhcp.start.to_string())
        .with("end", &dhcp.end.to_string())
}

/// A reservation as libvirt's network update takes it.
pub(crate) fn host(reservation: &Reservation) -> Element {
    let host = Element::new("host")
        .with("mac", &reservation.mac.to_string())
        .with("ip", &reservation.address.to_string());
    match &reservation.name {
        Some(name) => host.with("name", name),
        None => host,
    }
}
