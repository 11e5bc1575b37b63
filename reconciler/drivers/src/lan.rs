//! What a network offers beside its IPv4 address and range: a specification asks for it, and a host shows it alike.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv6Addr};

use serde::{Deserialize, Serialize};

/// What a network offers beside its IPv4 address and range.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Lan {
    /// IPv6.
    pub ipv6: Option<Ipv6>,
    /// What else DHCP tells guests: options by number or name.
    pub dhcp_options: BTreeMap<String, String>,
    /// Name servers that are asked for what the network does not know; empty: the host's own.
    pub forwarders: Vec<IpAddr>,
    /// Names with their addresses.
    pub records: Records,
    /// VLAN of the guests on the host's bridge.
    pub vlan: Option<VlanId>,
    /// Largest packet in bytes; `None`: the host's choice.
    pub mtu: Option<u32>,
}

/// Names with their addresses.
pub type Records = BTreeMap<String, BTreeSet<IpAddr>>;

/// IPv6 of a network.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ipv6 {
    /// The host's own address on it with the prefix.
    pub address: ipnet::Ipv6Net,
    /// DHCPv6; `None`: guests choose their own addresses.
    pub dhcp: Option<Dhcp6>,
}

/// A DHCPv6 range, ends included.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Dhcp6 {
    /// First address.
    pub start: Ipv6Addr,
    /// Last address.
    pub end: Ipv6Addr,
}

/// A VLAN, 1 to 4094.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct VlanId(pub u16);

impl std::fmt::Display for VlanId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}
