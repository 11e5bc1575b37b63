//! `labyard_network`: a network of a host.

use std::net::Ipv4Addr;

use ipnet::Ipv4Net;

use crate::attribute::attributes;
use crate::check;
use crate::problem::{At, Problem};

/// What a network may do.
pub const MODES: &[&str] = &["nat", "isolated", "bridge"];

attributes! {
    /// A network on a host: with NAT to the outside, isolated, or a bridge that the host has already.
    pub struct Network {
        /// Name of the network, unique in its namespace on the host.
        name: String = required().replace().check(check::object_name);
        /// Host it is made on, a key of the provider's `hosts`. Where the provider knows one host, that one.
        host: Option<String> = optional_computed().replace();
        /// What it does. The mode can be changed while no machine is attached.
        mode: String = required().choice(MODES);
        /// IPv4 on the network; needed for `nat`, refused for `bridge`.
        ipv4: Option<Ipv4> = optional();
        /// Name service of the network; refused for `bridge`.
        dns: Option<Dns> = optional();
        /// Bridge of the host to use; needed for `bridge`, refused otherwise.
        bridge: Option<String> = optional().check(check::bridge);
        /// Whether the network starts with the host.
        autostart: bool = default(true);
        /// How long its operations may take.
        timeouts: Option<NetworkTimeouts> = optional();
        /// Id that the host keeps for it.
        id: Option<String> = computed();
        /// The host's own address on the network, the guests' gateway and name server; null for `bridge`.
        gateway: Option<String> = computed();
        /// Bridge on the host that carries it.
        bridge_name: Option<String> = computed();
        /// Whether it is up. A network that was stopped by hand is started by the next apply.
        active: Option<bool> = computed();
        /// Whether it carries the provider's mark. An imported foreign network gets it at the next apply.
        owned: Option<bool> = computed();
    }

    /// IPv4 of a network.
    pub struct Ipv4 {
        /// Network with prefix, like `10.77.0.0/24`; its first address is the gateway. It can be changed while no machine is attached.
        cidr: String = required().check(check::ipv4_cidr);
        /// Addresses handed out by DHCP; left out, none are.
        dhcp: Option<DhcpRange> = optional();
    }

    /// Addresses handed out by DHCP, both ends included. Machines made by labyard get theirs reserved.
    pub struct DhcpRange {
        /// First address.
        start: String = required().check(check::ipv4);
        /// Last address.
        end: String = required().check(check::ipv4);
    }

    /// Name service of a network.
    pub struct Dns {
        /// Domain of the guests, like `lab.test`.
        domain: Option<String> = optional().check(check::domain);
    }

    /// How long operations on a network may take.
    pub struct NetworkTimeouts {
        /// Creation; default 2m.
        create: Option<crate::text::Span> = optional().check(check::duration);
        /// Change in place; default 2m.
        update: Option<crate::text::Span> = optional().check(check::duration);
        /// Removal; default 2m.
        delete: Option<crate::text::Span> = optional().check(check::duration);
    }
}

impl Network {
    /// Rules between attributes; single values are checked by their table.
    pub fn problems(&self) -> Vec<Problem> {
        let mut problems = Vec::new();
        let mut refuse = |name: &'static str, summary, detail: String| {
            problems.push(Problem::new(vec![At::Attribute(name)], summary, detail));
        };
        if self.mode == "bridge" {
            if self.bridge.is_none() {
                refuse(
                    "bridge",
                    "Missing bridge",
                    "mode = \"bridge\" needs bridge: the name of a bridge that the host has, like br0."
                        .into(),
                );
            }
            if self.ipv4.is_some() {
                refuse(
                    "ipv4",
                    "IPv4 on a bridge",
                    "Who runs the bridge gives its addresses: leave ipv4 out, or use mode nat or isolated."
                        .into(),
                );
            }
            if self.dns.is_some() {
                refuse(
                    "dns",
                    "DNS on a bridge",
                    "Who runs the bridge gives its name service: leave dns out, or use mode nat or isolated."
                        .into(),
                );
            }
        } else {
            if self.bridge.is_some() {
                refuse(
                    "bridge",
                    "Bridge not used",
                    format!(
                        "mode = {:?} makes a bridge of its own (bridge_name): leave bridge out, or set mode = \"bridge\".",
                        self.mode
                    ),
                );
            }
            if self.mode == "nat" && self.ipv4.is_none() {
                refuse("ipv4", "Missing ipv4", "mode = \"nat\" needs ipv4 = { cidr = \"10.77.0.0/24\" }: without an address nothing can be translated.".into());
            }
        }
        problems.extend(self.ipv4.as_ref().and_then(Ipv4::problem));
        problems
    }
}

impl Ipv4 {
    fn problem(&self) -> Option<Problem> {
        let net: Ipv4Net = self.cidr.parse().ok()?;
        let dhcp = self.dhcp.as_ref()?;
        let (start, end): (Ipv4Addr, Ipv4Addr) = (dhcp.start.parse().ok()?, dhcp.end.parse().ok()?);
        let at = |leaf| vec![At::Attribute("ipv4"), At::Attribute("dhcp"), At::Attribute(leaf)];
        for (leaf, address) in [("start", start), ("end", end)] {
            if !net.contains(&address) {
                let detail = format!("{address} is not in {net}: give addresses of the network.");
                return Some(Problem::new(at(leaf), "Address outside of the network", detail));
            }
            if address == net.network() || address == net.broadcast() || address == gateway(&net) {
                let detail = format!(
                    "{address} is the network's own (network, broadcast or gateway): the range lies between {} and {}.",
                    Ipv4Addr::from(u32::from(net.network()) + 2),
                    Ipv4Addr::from(u32::from(net.broadcast()) - 1)
                );
                return Some(Problem::new(at(leaf), "Address not for guests", detail));
            }
        }
        if start > end {
            let detail = format!("start {start} lies behind end {end}: exchange them.");
            return Some(Problem::new(at("start"), "Empty DHCP range", detail));
        }
        None
    }
}

/// The gateway of a network: its first address.
pub fn gateway(net: &Ipv4Net) -> Ipv4Addr {
    Ipv4Addr::from(u32::from(net.network()) + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nat(start: &str, end: &str) -> Network {
        Network {
            name: "lab".into(),
            mode: "nat".into(),
            ipv4: Some(Ipv4 {
                cidr: "10.77.0.0/24".into(),
                dhcp: Some(DhcpRange {
                    start: start.into(),
                    end: end.into(),
                }),
            }),
            ..Network::default()
        }
    }

    #[test]
    fn a_range_inside_the_network_is_accepted() {
        assert_eq!(nat("10.77.0.100", "10.77.0.200").problems(), []);
    }

    #[test]
    fn a_range_that_cannot_serve_is_refused_at_its_attribute() {
        for (start, end, at) in [
            ("10.78.0.100", "10.77.0.200", "start"),
            ("10.77.0.1", "10.77.0.200", "start"),
            ("10.77.0.2", "10.77.0.255", "end"),
            ("10.77.0.20", "10.77.0.10", "start"),
        ] {
            let problems = nat(start, end).problems();
            assert_eq!(problems.len(), 1, "{start} {end}");
            assert!(
                problems[0].to_string().starts_with(&format!("ipv4.dhcp.{at}: ")),
                "{}",
                problems[0]
            );
        }
    }

    #[test]
    fn a_bridge_takes_no_addresses_and_needs_its_name() {
        let network = Network {
            mode: "bridge".into(),
            dns: Some(Dns::default()),
            ..nat("10.77.0.100", "10.77.0.200")
        };
        let at: Vec<_> = network.problems().iter().map(|p| p.at[0].clone()).collect();
        assert_eq!(
            at,
            [
                At::Attribute("bridge"),
                At::Attribute("ipv4"),
                At::Attribute("dns")
            ]
        );
    }
}
