//! What a network's definition says.

use std::net::{IpAddr, Ipv4Addr};

use ipnet::Ipv4Net;
use labyard_driver::lan::Lan;
use labyard_driver::observed::Reservation;
use labyard_driver::spec::{Dhcp, NetworkBoot, NetworkMode};

use libvirt_rpc::{NetworkSection, NetworkUpdateCommand};

use super::{lan, range};
use crate::xml::Element;

/// What a definition says of the things that labyard decides.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct NetworkFacts {
    /// `None` for a kind that labyard does not make.
    pub(crate) mode: Option<NetworkMode>,
    pub(crate) bridge: Option<String>,
    pub(crate) address: Option<Ipv4Net>,
    pub(crate) dhcp: Option<Dhcp>,
    pub(crate) domain: Option<String>,
    pub(crate) lan: Lan,
    pub(crate) boot: Option<NetworkBoot>,
    pub(crate) reservations: Vec<Reservation>,
    /// Which of its addresses IPv4 is: with DHCP for both libvirt cannot tell by itself which one an update is for.
    pub(crate) ipv4_index: Option<u16>,
}

/// What it takes to make a network that runs into what its definition says.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Transition {
    /// These, in this order, which cut nobody off; none where it runs as defined. Reservations are kept in step by
    /// themselves.
    Updates(Vec<Update>),
    /// A restart.
    Restart,
}

/// A part that libvirt exchanges in a network that runs.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Update {
    /// Whether it comes or goes.
    pub(crate) command: NetworkUpdateCommand,
    /// Where it stands.
    pub(crate) section: NetworkSection,
    /// Which of the network's addresses it is about.
    pub(crate) parent: Option<u16>,
    /// The part.
    pub(crate) part: Element,
}

impl NetworkFacts {
    /// From what runs to what is wanted.
    pub(crate) fn transition_to(&self, wanted: &Self) -> Transition {
        let Self {
            mode,
            bridge,
            address,
            dhcp,
            domain,
            lan,
            boot,
            reservations: _,
            ipv4_index,
        } = self;
        let bridge_differs = wanted.bridge.is_some() && *bridge != wanted.bridge;
        let lan_differs = Lan {
            records: wanted.lan.records.clone(),
            ..lan.clone()
        } != wanted.lan;
        let differs =
            (mode, address, domain, boot) != (&wanted.mode, &wanted.address, &wanted.domain, &wanted.boot);
        if bridge_differs || lan_differs || differs {
            return Transition::Restart;
        }
        let mut updates = Vec::new();
        let mut update = |command, section, part| {
            let parent = match section {
                NetworkSection::IpDhcpRange => *ipv4_index,
                _ => None,
            };
            updates.push(Update {
                command,
                section,
                parent,
                part,
            });
        };
        use NetworkUpdateCommand::{AddLast, Delete};
        match (*dhcp, wanted.dhcp) {
            (old, new) if old == new => {}
            // The new range first: so there is always one, and a change that was cut short is taken up again.
            (Some(old), Some(new)) => {
                update(AddLast, NetworkSection::IpDhcpRange, range(new));
                update(Delete, NetworkSection::IpDhcpRange, range(old));
            }
            _ => return Transition::Restart,
        }
        if lan.records != wanted.lan.records {
            let Some((gone, come)) = lan::exchange(&lan.records, &wanted.lan.records) else {
                return Transition::Restart;
            };
            gone.into_iter()
                .for_each(|part| update(Delete, NetworkSection::DnsHost, part));
            come.into_iter()
                .for_each(|part| update(AddLast, NetworkSection::DnsHost, part));
        }
        Transition::Updates(updates)
    }

    /// Whether addresses of the two overlap.
    pub(crate) fn overlaps(&self, address: Ipv4Net) -> bool {
        self.address
            .is_some_and(|own| own.contains(&address.network()) || address.contains(&own.network()))
    }
}

/// Reads a definition.
pub(crate) fn facts(network: &Element) -> NetworkFacts {
    let ip = network.elements().find(|e| e.is("ip") && is_ipv4(e));
    let range = ip.and_then(|ip| ip.at(&["dhcp", "range"]));
    NetworkFacts {
        mode: mode(network),
        bridge: network.attribute_at(&["bridge"], "name").map(str::to_owned),
        address: ip.and_then(address),
        dhcp: range.and_then(|range| {
            let end = |name| range.attribute(name)?.parse().ok();
            Some(Dhcp {
                start: end("start")?,
                end: end("end")?,
            })
        }),
        domain: network.attribute_at(&["domain"], "name").map(str::to_owned),
        lan: lan::read(network),
        boot: super::boot::read(network),
        ipv4_index: network
            .named("ip")
            .position(is_ipv4)
            .and_then(|index| u16::try_from(index).ok()),
        reservations: network.named("ip").flat_map(reservations).collect(),
    }
}

fn mode(network: &Element) -> Option<NetworkMode> {
    let Some(forward) = network.child("forward") else {
        return Some(NetworkMode::Isolated);
    };
    // libvirt's default for an element without a mode.
    match forward.attribute("mode").unwrap_or("nat") {
        "nat" => Some(NetworkMode::Nat),
        "none" => Some(NetworkMode::Isolated),
        "route" => Some(NetworkMode::Routed),
        // The same word stands for a pool of interfaces without a bridge, which is another thing.
        "bridge" if network.child("bridge").is_some() => Some(NetworkMode::Bridge),
        _ => None,
    }
}

pub(super) fn is_ipv4(ip: &Element) -> bool {
    ip.attribute("family").is_none_or(|family| family == "ipv4")
}

fn address(ip: &Element) -> Option<Ipv4Net> {
    let address: Ipv4Addr = ip.attribute("address")?.parse().ok()?;
    match (ip.attribute("prefix"), ip.attribute("netmask")) {
        (Some(prefix), _) => Ipv4Net::new(address, prefix.parse().ok()?).ok(),
        (None, Some(netmask)) => Ipv4Net::with_netmask(address, netmask.parse().ok()?).ok(),
        (None, None) => None,
    }
}

fn reservations(ip: &Element) -> Vec<Reservation> {
    let hosts = ip.child("dhcp").into_iter().flat_map(|dhcp| dhcp.named("host"));
    let read = |host: &Element| {
        let address: IpAddr = host.attribute("ip")?.parse().ok()?;
        let mac = host.attribute("mac")?.parse().ok()?;
        Some(Reservation {
            mac,
            address,
            name: host.attribute("name").map(str::to_owned),
        })
    };
    hosts.filter_map(read).collect()
}
