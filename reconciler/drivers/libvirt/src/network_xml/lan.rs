//! What a network offers beside its IPv4 address and range, in its definition.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use ipnet::Ipv6Net;
use labyard_driver::lan::{Dhcp6, Ipv6, Lan, Records, VlanId};
use labyard_driver::spec::{NetworkMode, NetworkSpec};

use super::options;
use crate::xml::Element;

/// What a definition offers.
pub(super) fn read(network: &Element) -> Lan {
    let dns = network.child("dns");
    Lan {
        ipv6: network.elements().find(|e| is_ipv6(e)).and_then(read_ipv6),
        dhcp_options: options::lines(network)
            .filter_map(options::dhcp_option)
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect(),
        forwarders: dns
            .into_iter()
            .flat_map(|dns| dns.elements().filter_map(forwarder))
            .collect(),
        records: records(network),
        vlan: network.child("vlan").and_then(vlan),
        mtu: network
            .attribute_at(&["mtu"], "size")
            .and_then(|size| size.parse().ok()),
    }
}

/// Brings a definition to what is wanted.
pub(super) fn edit(network: &mut Element, spec: &NetworkSpec) {
    let (standing, wanted) = (read(network), &spec.lan);
    if standing.ipv6 != wanted.ipv6 {
        edit_ipv6(network, wanted.ipv6);
    }
    edit_translation(network, spec);
    options::set_dhcp_options(network, &wanted.dhcp_options);
    if standing.forwarders != wanted.forwarders {
        let dns = network.ensure("dns");
        dns.remove_where(|e| forwarder(e).is_some());
        for address in &wanted.forwarders {
            dns.push(Element::new("forwarder").with("addr", &address.to_string()));
        }
    }
    if standing.records != wanted.records {
        edit_records(network, &wanted.records);
    }
    if network
        .child("dns")
        .is_some_and(|dns| dns.elements().next().is_none() && dns.attributes().next().is_none())
    {
        network.remove_named("dns");
    }
    if standing.vlan != wanted.vlan {
        set_vlan(network, wanted.vlan);
    }
    if standing.mtu != wanted.mtu {
        match wanted.mtu {
            Some(mtu) => network.ensure("mtu").set_attribute("size", &mtu.to_string()),
            None => network.remove_named("mtu"),
        }
    }
}

fn is_ipv6(e: &Element) -> bool {
    e.is("ip") && e.attribute("family") == Some("ipv6")
}

fn read_ipv6(ip: &Element) -> Option<Ipv6> {
    let prefix = match ip.attribute("prefix") {
        Some(prefix) => prefix.parse().ok()?,
        None => 64,
    };
    let range = ip.at(&["dhcp", "range"]);
    Some(Ipv6 {
        address: Ipv6Net::new(ip.attribute("address")?.parse().ok()?, prefix).ok()?,
        dhcp: range.and_then(|range| {
            let end = |name| range.attribute(name)?.parse().ok();
            Some(Dhcp6 {
                start: end("start")?,
                end: end("end")?,
            })
        }),
    })
}

fn edit_ipv6(network: &mut Element, wanted: Option<Ipv6>) {
    let Some(wanted) = wanted else {
        let mut first = true;
        network.remove_where(|e| is_ipv6(e) && std::mem::replace(&mut first, false));
        return;
    };
    if !network.elements().any(is_ipv6) {
        network.push(Element::new("ip").with("family", "ipv6"));
    }
    let Some(ip) = network.elements_mut().find(|e| is_ipv6(e)) else {
        return;
    };
    ip.set_attribute("address", &wanted.address.addr().to_string());
    ip.set_attribute("prefix", &wanted.address.prefix_len().to_string());
    match wanted.dhcp {
        Some(dhcp) => {
            let range = ip.ensure("dhcp").ensure("range");
            range.set_attribute("start", &dhcp.start.to_string());
            range.set_attribute("end", &dhcp.end.to_string());
        }
        None => ip.remove_named("dhcp"),
    }
}

/// libvirt translates IPv4 alone unless it is told otherwise, and addresses that nobody routes would lead nowhere.
fn edit_translation(network: &mut Element, spec: &NetworkSpec) {
    if spec.mode != NetworkMode::Nat {
        return;
    }
    let translated = network.attribute_at(&["forward", "nat"], "ipv6") == Some("yes");
    if translated == spec.lan.ipv6.is_some() {
        return;
    }
    let forward = network.ensure("forward");
    let nat = forward.ensure("nat");
    match translated {
        false => nat.set_attribute("ipv6", "yes"),
        true => nat.remove_attribute("ipv6"),
    }
    if nat.elements().next().is_none() && nat.attributes().next().is_none() {
        forward.remove_named("nat");
    }
}

/// A name server that is asked for everything; those for one domain alone are not ours.
fn forwarder(e: &Element) -> Option<IpAddr> {
    if !e.is("forwarder") || e.attribute("domain").is_some() {
        return None;
    }
    e.attribute("addr")?.parse().ok()
}

/// The names of each address, as libvirt groups them.
fn by_address(records: &Records) -> BTreeMap<IpAddr, BTreeSet<&str>> {
    let mut grouped: BTreeMap<IpAddr, BTreeSet<&str>> = BTreeMap::new();
    for (name, addresses) in records {
        for address in addresses {
            grouped.entry(*address).or_default().insert(name);
        }
    }
    grouped
}

fn host_names(host: &Element) -> Option<(IpAddr, BTreeSet<String>)> {
    if !host.is("host") {
        return None;
    }
    let names = host.named("hostname").map(Element::text).collect();
    Some((host.attribute("ip")?.parse().ok()?, names))
}

fn records(network: &Element) -> Records {
    let hosts = network.child("dns").into_iter().flat_map(Element::elements);
    let mut records = Records::new();
    for (address, names) in hosts.filter_map(host_names) {
        for name in names {
            records.entry(name).or_default().insert(address);
        }
    }
    records
}

fn edit_records(network: &mut Element, wanted: &Records) {
    let mut missing = by_address(wanted);
    let dns = network.ensure("dns");
    dns.remove_where(|e| {
        let Some((address, names)) = host_names(e) else {
            return false;
        };
        let stays = missing
            .get(&address)
            .is_some_and(|wanted| wanted.iter().copied().eq(names.iter().map(String::as_str)));
        if stays {
            missing.remove(&address);
        }
        !stays
    });
    for (address, names) in missing {
        dns.push(host(address, &names));
    }
}

fn host(address: IpAddr, names: &BTreeSet<&str>) -> Element {
    let host = Element::new("host").with("ip", &address.to_string());
    names.iter().fold(host, |host, name| {
        host.holding(Element::new("hostname").saying(name))
    })
}

/// The records that leave and those that come, as libvirt's network update takes them; `None` where it cannot tell
/// one from another, since it finds them by any name in them.
pub(super) fn exchange(old: &Records, new: &Records) -> Option<(Vec<Element>, Vec<Element>)> {
    let ambiguous = |records: &Records| records.values().any(|addresses| addresses.len() > 1);
    if ambiguous(old) || ambiguous(new) {
        return None;
    }
    let (before, after) = (by_address(old), by_address(new));
    let differing = |from: &BTreeMap<IpAddr, BTreeSet<&str>>, to: &BTreeMap<IpAddr, BTreeSet<&str>>| {
        let differing = from
            .iter()
            .filter(|(address, names)| to.get(address) != Some(names));
        differing.map(|(address, names)| host(*address, names)).collect()
    };
    Some((differing(&before, &after), differing(&after, &before)))
}

/// The one VLAN of an element, untagged for the guest; trunks are not ours.
pub(crate) fn vlan(element: &Element) -> Option<VlanId> {
    let mut tags = element.named("tag");
    let (tag, other) = (tags.next()?, tags.next());
    let plain =
        other.is_none() && element.attribute("trunk") != Some("yes") && tag.attribute("nativeMode").is_none();
    plain.then_some(())?;
    tag.attribute("id")?.parse().ok().map(VlanId)
}

/// Puts a VLAN into a network or NIC.
pub(crate) fn set_vlan(of: &mut Element, vlan: Option<VlanId>) {
    of.remove_named("vlan");
    if let Some(vlan) = vlan {
        let tag = Element::new("tag").with("id", &vlan.to_string());
        of.push(Element::new("vlan").holding(tag));
    }
}
