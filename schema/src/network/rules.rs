//! Rules between the attributes of a network.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{Ipv4Net, Ipv6Net};

use super::{Dns, Ipv4, Ipv6, Network, gateway, gateway6};
use crate::check;
use crate::problem::{At, Problem};

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
            if self.ipv6.is_some() {
                refuse(
                    "ipv6",
                    "IPv6 on a bridge",
                    "Who runs the bridge gives its addresses: leave ipv6 out, or use another mode.".into(),
                );
            }
            if self.mtu.is_some() {
                refuse(
                    "mtu",
                    "MTU on a bridge",
                    "A bridge of the host has its own: leave mtu out, and set it on the bridge.".into(),
                );
            }
            if self.boot.is_some() {
                refuse(
                    "boot",
                    "Boot file on a bridge",
                    "Who runs the bridge answers its guests' DHCP: leave boot out, or use another mode."
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
            if self.mode != "isolated" && self.ipv4.is_none() && self.ipv6.is_none() {
                refuse(
                    "ipv4",
                    "Missing ipv4",
                    format!(
                        "mode = {:?} needs ipv4 = {{ cidr = \"10.77.0.0/24\" }} (or ipv6): without an address the host forwards nothing.",
                        self.mode
                    ),
                );
            }
            if self.vlan.is_some() {
                refuse(
                    "vlan",
                    "VLAN without a bridge of the host",
                    format!(
                        "mode = {:?} makes a bridge of its own, on which a VLAN would part the guests from the host: leave vlan out, or set mode = \"bridge\".",
                        self.mode
                    ),
                );
            }
        }
        let serves = self.ipv4.as_ref().is_some_and(|ipv4| ipv4.dhcp.is_some());
        if self.mode != "bridge" && self.boot.is_some() && !serves {
            let detail = "The boot file's address is handed out by DHCP: give ipv4.dhcp, or leave boot out.";
            problems.push(Problem::new(vec![At::Attribute("boot")], "No DHCP", detail));
        }
        problems.extend(self.ipv4.as_ref().and_then(Ipv4::problem));
        problems.extend(self.ipv4.iter().flat_map(Ipv4::bad_options));
        problems.extend(self.ipv6.as_ref().and_then(Ipv6::problem));
        problems.extend(self.dns.iter().flat_map(Dns::problems));
        problems.extend(crate::check::bad_labels(self.labels.as_ref()));
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

    fn bad_options(&self) -> Vec<Problem> {
        let options = self.dhcp.iter().flat_map(|dhcp| dhcp.options.iter().flatten());
        options
            .filter_map(|(name, _)| {
                let detail = check::dhcp_option(name).err()?;
                let at = ["ipv4", "dhcp", "options"].map(At::Attribute);
                let at = at.into_iter().chain([At::Key(name.clone())]).collect();
                Some(Problem::new(at, "Unknown DHCP option", detail))
            })
            .collect()
    }
}

impl Ipv6 {
    fn problem(&self) -> Option<Problem> {
        let net: Ipv6Net = self.cidr.parse().ok()?;
        let at = |leaf| vec![At::Attribute("ipv6"), At::Attribute("dhcp"), At::Attribute(leaf)];
        let Some(dhcp) = &self.dhcp else {
            if net.prefix_len() == 64 {
                return None;
            }
            let detail = format!(
                "Guests can choose their own addresses in a /64 only, and {net} is none: give a /64, or dhcp = {{ start, end }}."
            );
            let at = vec![At::Attribute("ipv6"), At::Attribute("cidr")];
            return Some(Problem::new(at, "No addresses for guests", detail));
        };
        let (start, end): (Ipv6Addr, Ipv6Addr) = (dhcp.start.parse().ok()?, dhcp.end.parse().ok()?);
        for (leaf, address) in [("start", start), ("end", end)] {
            if !net.contains(&address) {
                let detail = format!("{address} is not in {net}: give addresses of the network.");
                return Some(Problem::new(at(leaf), "Address outside of the network", detail));
            }
            if address == net.network() || address == gateway6(&net) {
                let detail = format!(
                    "{address} is the network's own: give addresses behind {}.",
                    gateway6(&net)
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

impl Dns {
    fn problems(&self) -> Vec<Problem> {
        let mut problems = Vec::new();
        let mut refuse = |key: Option<&String>, leaf, summary, detail| {
            let mut at = vec![At::Attribute("dns"), At::Attribute(leaf)];
            at.extend(key.map(|key| At::Key(key.clone())));
            problems.push(Problem::new(at, summary, detail));
        };
        let twice = |list: &[String]| {
            let mut seen = BTreeSet::new();
            let address = |text: &&String| text.parse::<IpAddr>().is_ok_and(|a| !seen.insert(a));
            list.iter().find(address).cloned()
        };
        for (name, addresses) in self.records.iter().flatten() {
            if let Err(detail) = check::domain(name) {
                refuse(Some(name), "records", "Bad name", detail);
            } else if *name != name.to_lowercase() {
                let detail = format!("{name:?}: names are the same in capitals: write it in small letters.");
                refuse(Some(name), "records", "Bad name", detail);
            }
            if addresses.is_empty() {
                let detail = format!("{name:?} has no address: give one, or leave the name out.");
                refuse(Some(name), "records", "Name without address", detail);
            }
            if let Some(address) = twice(addresses) {
                let detail = format!("{name:?} has {address} twice: keep one.");
                refuse(Some(name), "records", "Address twice", detail);
            }
        }
        if let Some(address) = twice(self.forwarders.as_deref().unwrap_or_default()) {
            let detail = format!("{address} stands there twice: keep one.");
            refuse(None, "forwarders", "Forwarder twice", detail);
        }
        problems
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::network::DhcpRange;

    fn nat(start: &str, end: &str) -> Network {
        Network {
            name: "lab".into(),
            mode: "nat".into(),
            ipv4: Some(Ipv4 {
                cidr: "10.77.0.0/24".into(),
                dhcp: Some(DhcpRange {
                    start: start.into(),
                    end: end.into(),
                    ..DhcpRange::default()
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
    fn a_boot_file_needs_dhcp_to_be_told_of() {
        let boot = Some(crate::network::NetworkBoot {
            url: "https://boot.lab.test/a.efi".into(),
            vendor_class: "HTTPClient".into(),
        });
        let with = Network {
            boot: boot.clone(),
            ..nat("10.77.0.100", "10.77.0.200")
        };
        assert_eq!(with.problems(), []);
        let without = Network {
            mode: "isolated".into(),
            boot,
            ..Network::default()
        };
        assert_eq!(without.problems()[0].at, [At::Attribute("boot")]);
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

    fn ipv6(cidr: &str, dhcp: Option<(&str, &str)>) -> Network {
        Network {
            mode: "isolated".into(),
            ipv6: Some(Ipv6 {
                cidr: cidr.into(),
                dhcp: dhcp.map(|(start, end)| crate::network::Dhcp6Range {
                    start: start.into(),
                    end: end.into(),
                }),
            }),
            ..Network::default()
        }
    }

    fn paths(network: &Network) -> Vec<String> {
        let path = |p: &Problem| p.to_string().split(": ").next().unwrap().to_owned();
        network.problems().iter().map(path).collect()
    }

    #[test]
    fn ipv6_gives_guests_addresses_or_lets_them_choose() {
        assert_eq!(paths(&ipv6("fd00:77::/64", None)), [""; 0]);
        assert_eq!(paths(&ipv6("fd00:77::/80", None)), ["ipv6.cidr"]);
        for (range, at) in [
            (("fd00:77::100", "fd00:77::200"), None),
            (("fd00:78::100", "fd00:77::200"), Some("ipv6.dhcp.start")),
            (("fd00:77::100", "fd00:77::1"), Some("ipv6.dhcp.end")),
            (("fd00:77::200", "fd00:77::100"), Some("ipv6.dhcp.start")),
        ] {
            let at: Vec<_> = at.into_iter().collect();
            assert_eq!(paths(&ipv6("fd00:77::/80", Some(range))), at, "{range:?}");
        }
    }

    #[test]
    fn options_and_records_are_refused_by_their_key() {
        let mut network = nat("10.77.0.100", "10.77.0.200");
        let map = |key: &str, value: &str| BTreeMap::from([(key.to_owned(), value.to_owned())]);
        if let Some(dhcp) = network.ipv4.as_mut().and_then(|ipv4| ipv4.dhcp.as_mut()) {
            dhcp.options = Some(map("53", "1"));
        }
        let list = |addresses: &[&str]| addresses.iter().map(|a| (*a).to_owned()).collect();
        network.dns = Some(Dns {
            records: Some(BTreeMap::from([
                ("a_b".to_owned(), list(&["10.77.0.5"])),
                ("empty".to_owned(), list(&[])),
                ("twice".to_owned(), list(&["fd00::1", "fd00:0::1"])),
                ("good.lab".to_owned(), list(&["10.77.0.5", "fd00::1"])),
            ])),
            forwarders: Some(list(&["1.1.1.1", "1.1.1.1"])),
            ..Dns::default()
        });
        assert_eq!(
            paths(&network),
            [
                "ipv4.dhcp.options[\"53\"]",
                "dns.records[\"a_b\"]",
                "dns.records[\"empty\"]",
                "dns.records[\"twice\"]",
                "dns.forwarders"
            ]
        );
    }

    #[test]
    fn a_vlan_is_for_bridges_and_an_mtu_for_the_others() {
        let mut network = nat("10.77.0.100", "10.77.0.200");
        (network.vlan, network.mtu) = (Some(42), Some(9000));
        assert_eq!(paths(&network), ["vlan"]);
        network = Network {
            mode: "bridge".into(),
            bridge: Some("br0".into()),
            ipv4: None,
            ..network
        };
        assert_eq!(paths(&network), ["mtu"]);
    }
}
