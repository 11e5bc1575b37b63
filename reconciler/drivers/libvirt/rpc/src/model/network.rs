//! Networks: leases and the parts that can be changed one by one.

use super::{IpFamily, wire_enum, wire_struct};

wire_struct! {
    /// A DHCP lease of a network.
    pub struct DhcpLease {
        /// The network's interface on the host.
        pub interface: String,
        /// When it ends, in seconds since 1970; 0 means never.
        pub expiry: i64,
        /// IPv4 or IPv6.
        pub family: IpFamily,
        /// The MAC address of the holder.
        pub mac: Option<String>,
        /// The identity association, with IPv6.
        pub iaid: Option<String>,
        /// The address as text.
        pub address: String,
        /// The length of its prefix.
        pub prefix: u32,
        /// The name that the holder gave.
        pub hostname: Option<String>,
        /// The client id or DUID.
        pub client_id: Option<String>,
    }
}

wire_enum! {
    /// What to do with a part of a network.
    pub enum NetworkUpdateCommand {
        /// Change one that is there.
        Modify = 1,
        /// Remove one.
        Delete = 2,
        /// Add one behind the others.
        AddLast = 3,
        /// Add one before the others.
        AddFirst = 4,
    }
}

wire_enum! {
    /// The part of a network to change.
    pub enum NetworkSection {
        /// The bridge.
        Bridge = 1,
        /// The DNS domain.
        Domain = 2,
        /// An IP range.
        Ip = 3,
        /// A DHCP reservation.
        IpDhcpHost = 4,
        /// A DHCP range.
        IpDhcpRange = 5,
        /// Forwarding.
        Forward = 6,
        /// An interface to forward to.
        ForwardInterface = 7,
        /// A physical function to forward to.
        ForwardPf = 8,
        /// A group of ports.
        Portgroup = 9,
        /// A DNS name.
        DnsHost = 10,
        /// A DNS text record.
        DnsTxt = 11,
        /// A DNS service record.
        DnsSrv = 12,
    }
}

/// One change to a part of a network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NetworkUpdate<'a> {
    /// What to do.
    pub command: NetworkUpdateCommand,
    /// With what.
    pub section: NetworkSection,
    /// Which of several parents is meant; `None` lets libvirt choose.
    pub parent: Option<u16>,
    /// The element as XML.
    pub xml: &'a str,
}
