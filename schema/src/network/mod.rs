//! `labyard_network`: a network of a host.

mod rules;

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, Ipv6Addr};

use ipnet::{Ipv4Net, Ipv6Net};

use crate::attribute::attributes;
use crate::check;

/// What a network may do.
pub const MODES: &[&str] = &["nat", "routed", "isolated", "bridge"];

attributes! {
    /// A network on a host: with NAT to the outside, routed, isolated, or a bridge that the host has already. A change that takes the network down and up again ("restarts it") cuts the guests off for some seconds; those that run are put back on it.
    pub struct Network {
        /// Name of the network, unique in its namespace on the host.
        name: String = required().replace().check(check::object_name);
        /// Host it is made on, a key of the provider's `hosts`. Where the provider knows one host, that one.
        host: Option<String> = optional_computed().replace();
        /// What it does: guests reach the outside through the host's address (`nat`), by their own (`routed`, others need a route to it), not at all (`isolated`), or are on a bridge that the host has (`bridge`). To and from `bridge` is refused while a machine is attached to it, a stopped one too.
        mode: String = required().restart_network().choice(MODES);
        /// IPv4 on the network; `nat` and `routed` need it or `ipv6`; refused for `bridge`. To give or to take it is refused while a machine is attached to the network, a stopped one too.
        ipv4: Option<Ipv4> = optional().restart_network();
        /// IPv6 on the network; refused for `bridge`.
        ipv6: Option<Ipv6> = optional().restart_network();
        /// Name service of the network; refused for `bridge`.
        dns: Option<Dns> = optional().live_or_restart_network();
        /// What guests on the network that boot from it load; needs `ipv4.dhcp`, refused for `bridge`.
        boot: Option<NetworkBoot> = optional().restart_network();
        /// Bridge of the host to use; needed for `bridge`, refused otherwise.
        bridge: Option<String> = optional().restart_network().check(check::bridge);
        /// VLAN of the guests on the host's bridge, for `bridge` only: the bridge must filter VLANs, and the host needs libvirt 11.0 or later. Left out: none.
        vlan: Option<u32> = optional().restart_network().range(1, 4094);
        /// Largest packet in bytes of the network's bridge and of the host's ends of its cards; refused for `bridge`, which has its own. Guests whose DHCP client takes option 26 follow; others are told by their own configuration. Left out: 1500.
        mtu: Option<u32> = optional().restart_network().range(576, 65_521);
        /// Whether the network starts with the host.
        autostart: bool = default(true);
        /// How long its operations may take.
        timeouts: Option<NetworkTimeouts> = optional();
        /// Labels of your own, kept with the network.
        labels: Option<std::collections::BTreeMap<String, String>> = optional().check(check::label_value);
        /// Whether destroying and replacing the network is refused.
        deletion_protection: bool = default(false);
        /// Id that the host keeps for it.
        id: Option<String> = computed();
        /// The host's own address on the network, the guests' gateway and name server, IPv4 where it has that; null for `bridge`.
        gateway: Option<String> = computed();
        /// Bridge on the host that carries it.
        bridge_name: Option<String> = computed();
        /// Whether it is up with its guests on it. A network that was stopped by hand is started by the next apply.
        active: Option<bool> = computed();
        /// Whether it carries the provider's mark. An imported foreign network gets it at the next apply.
        owned: Option<bool> = computed();
    }

    /// IPv4 of a network.
    pub struct Ipv4 {
        /// Network with prefix, like `10.77.0.0/24`; its first address is the gateway. A change is refused while a machine is attached to the network, a stopped one too.
        cidr: String = required().restart_network().check(check::ipv4_cidr);
        /// Addresses handed out by DHCP; left out, none are. Another range takes effect at once; the first one, and none at all, restart the network.
        dhcp: Option<DhcpRange> = optional().live_or_restart_network();
    }

    /// Addresses handed out by DHCP, both ends included. Machines made by labyard get theirs reserved.
    pub struct DhcpRange {
        /// First address.
        start: String = required().check(check::ipv4);
        /// Last address.
        end: String = required().check(check::ipv4);
        /// What else guests are told by DHCP: options by number (`"42"`) or dnsmasq's name (`"ntp-server"`), values as dnsmasq takes them, several with commas.
        options: Option<BTreeMap<String, String>> = optional().restart_network().check(check::dhcp_value);
    }

    /// IPv6 of a network. In mode `nat` it is translated too.
    pub struct Ipv6 {
        /// Network with prefix, like `fd00:77::/64`; its first address is the host's. Without `dhcp` guests choose their own addresses (SLAAC), which needs a /64.
        cidr: String = required().restart_network().check(check::ipv6_cidr);
        /// Addresses handed out by DHCPv6; left out, guests choose their own.
        dhcp: Option<Dhcp6Range> = optional().restart_network();
    }

    /// Addresses handed out by DHCPv6, both ends included.
    pub struct Dhcp6Range {
        /// First address.
        start: String = required().restart_network().check(check::ipv6);
        /// Last address.
        end: String = required().restart_network().check(check::ipv6);
    }

    /// What is handed by DHCP to guests that boot from a network.
    pub struct NetworkBoot {
        /// Address of the boot file, `https://…` or `http://…`: for UEFI an EFI program.
        url: String = required().restart_network().check(check::boot_url);
        /// Vendor class of the clients that it is for, and of the answer: `HTTPClient` is UEFI's HTTP boot. Others are not told of the file.
        vendor_class: String = default("HTTPClient").restart_network().check(check::vendor_class);
    }

    /// Name service of a network.
    pub struct Dns {
        /// Domain of the guests, like `lab.test`: a machine of labyard's is `NAME.lab.test` there.
        domain: Option<String> = optional().restart_network().check(check::domain);
        /// Addresses of the name servers that are asked for everything else. Left out: the host's own.
        forwarders: Option<Vec<String>> = optional().restart_network().check(check::ip);
        /// Names with their addresses. A change takes effect at once, unless a name has several addresses.
        records: Option<BTreeMap<String, Vec<String>>> = optional().live_or_restart_network().check(check::ip);
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

/// The gateway of a network: its first address.
pub fn gateway(net: &Ipv4Net) -> Ipv4Addr {
    Ipv4Addr::from(u32::from(net.network()) + 1)
}

/// The host's own address on an IPv6 network: its first one.
pub fn gateway6(net: &Ipv6Net) -> Ipv6Addr {
    Ipv6Addr::from(u128::from(net.network()) + 1)
}
