//! What libvirt hands to dnsmasq as written: lines of several owners in one list.
//!
//! Each owner knows his lines by their form and brings those alone to what is wanted; what the host's keeper or
//! another owner wrote stays as found.

use std::collections::BTreeMap;

use crate::xml::Element;

/// The namespace of options that libvirt hands to dnsmasq.
const NAMESPACE: &str = "http://libvirt.org/schemas/network/dnsmasq/1.0";
const LIST: &str = "dnsmasq:options";
const LINE: &str = "dnsmasq:option";

/// The lines of a definition, in order.
pub(super) fn lines(network: &Element) -> impl Iterator<Item = &str> {
    let list = network.child(LIST).into_iter();
    list.flat_map(|list| list.named(LINE))
        .filter_map(|line| line.attribute("value"))
}

/// Brings the lines of one owner to those wanted, behind the others.
pub(super) fn set(network: &mut Element, is_his: impl Fn(&str) -> bool, wanted: &[String]) {
    if lines(network).filter(|line| is_his(line)).eq(wanted) {
        return;
    }
    network.set_attribute("xmlns:dnsmasq", NAMESPACE);
    let list = network.ensure(LIST);
    list.remove_where(|line| line.is(LINE) && line.attribute("value").is_some_and(&is_his));
    for line in wanted {
        list.push(Element::new(LINE).with("value", line));
    }
    if list.elements().next().is_none() {
        network.remove_named(LIST);
    }
}

/// A DHCP option for every guest, if the line is one: its number or name, and its value.
pub(super) fn dhcp_option(line: &str) -> Option<(&str, &str)> {
    let (name, value) = line.strip_prefix("dhcp-option=")?.split_once(',')?;
    let number = !name.is_empty() && name.chars().all(|c| c.is_ascii_digit());
    let name = match number {
        true => name,
        false => name.strip_prefix("option:")?,
    };
    Some((name, value))
}

/// Brings the DHCP options for every guest to those wanted.
pub(super) fn set_dhcp_options(network: &mut Element, wanted: &BTreeMap<String, String>) {
    let line = |(name, value): (&String, &String)| match name.parse::<u8>() {
        Ok(_) => format!("dhcp-option={name},{value}"),
        Err(_) => format!("dhcp-option=option:{name},{value}"),
    };
    let standing: BTreeMap<_, _> = lines(network).filter_map(dhcp_option).collect();
    let same = standing.len() == wanted.len()
        && wanted
            .iter()
            .all(|(name, value)| standing.get(name.as_str()) == Some(&value.as_str()));
    if !same {
        let wanted: Vec<_> = wanted.iter().map(line).collect();
        set(network, |line| dhcp_option(line).is_some(), &wanted);
    }
}
