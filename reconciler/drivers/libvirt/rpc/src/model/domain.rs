//! Domains: states, infos, addresses, kinds of metadata.

use super::{DomainRef, TypedParam, wire_enum, wire_struct};
use crate::xdr::{Decode, DecodeError, Decoder};

wire_enum! {
    /// What a domain is doing.
    pub enum DomainState {
        /// Nothing is known.
        NoState = 0,
        /// It runs.
        Running = 1,
        /// It waits for a resource.
        Blocked = 2,
        /// It is paused.
        Paused = 3,
        /// It is shutting down.
        Shutdown = 4,
        /// It is off.
        Shutoff = 5,
        /// It crashed.
        Crashed = 6,
        /// It sleeps by its own power management.
        PmSuspended = 7,
    }
}

wire_struct! {
    /// What a job of a domain is, and its figures.
    pub struct JobFigures {
        /// `virDomainJobType`.
        pub kind: i32,
        /// The figures by name.
        pub params: Vec<TypedParam>,
    }
}

wire_struct! {
    /// The state of a domain with libvirt's reason for it.
    pub struct StateAndReason {
        /// The state.
        pub state: DomainState,
        /// A number whose meaning depends on the state; see [`ShutoffReason`].
        pub reason: i32,
    }
}

wire_enum! {
    /// Why a domain is off.
    pub enum ShutoffReason {
        /// Nothing is known; so it is after a define.
        Unknown = 0,
        /// The guest shut down.
        Shutdown = 1,
        /// It was destroyed.
        Destroyed = 2,
        /// It crashed.
        Crashed = 3,
        /// It moved to another host.
        Migrated = 4,
        /// It was saved.
        Saved = 5,
        /// It could not start.
        Failed = 6,
        /// It was reverted to a snapshot of a stopped domain.
        FromSnapshot = 7,
        /// The daemon decided so while it reconnected.
        Daemon = 8,
    }
}

/// The figures of a domain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DomainInfo {
    /// What it is doing.
    pub state: DomainState,
    /// The most memory it may have, in KiB.
    pub max_memory_kib: u64,
    /// The memory it has, in KiB.
    pub memory_kib: u64,
    /// Its virtual CPUs.
    pub vcpus: u16,
    /// The CPU time it has used, in nanoseconds.
    pub cpu_time_ns: u64,
}

impl Decode for DomainInfo {
    const MIN_SIZE: usize = 32;

    fn decode(input: &mut Decoder<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            state: DomainState::from_raw(i32::from(u8::decode(input)?)),
            max_memory_kib: Decode::decode(input)?,
            memory_kib: Decode::decode(input)?,
            vcpus: Decode::decode(input)?,
            cpu_time_ns: Decode::decode(input)?,
        })
    }
}

wire_struct! {
    /// The sizes of a disk of a domain, in bytes.
    pub struct BlockInfo {
        /// What the image holds.
        pub allocation: u64,
        /// What the guest sees.
        pub capacity: u64,
        /// What the file or device takes on the host.
        pub physical: u64,
    }
}

wire_struct! {
    /// A network interface as the guest, the leases or the ARP table show it.
    pub struct InterfaceAddresses {
        /// The name of the interface, in the guest or on the host, after the source.
        pub name: String,
        /// Its MAC address.
        pub mac: Option<String>,
        /// Its IP addresses.
        pub addresses: Vec<IpAddress>,
    }
}

wire_struct! {
    /// An IP address with its prefix.
    pub struct IpAddress {
        /// IPv4 or IPv6.
        pub family: IpFamily,
        /// The address as text.
        pub address: String,
        /// The length of its prefix.
        pub prefix: u32,
    }
}

wire_enum! {
    /// The version of an IP address.
    pub enum IpFamily {
        /// IPv4.
        V4 = 0,
        /// IPv6.
        V6 = 1,
    }
}

wire_enum! {
    /// Where to look for the addresses of a domain.
    pub enum AddressSource {
        /// The leases of libvirt's own networks.
        Lease = 0,
        /// The guest agent.
        Agent = 1,
        /// The host's ARP table.
        Arp = 2,
    }
}

wire_enum! {
    /// Which part of an object's metadata is meant.
    pub enum MetadataKind {
        /// The description.
        Description = 0,
        /// The title.
        Title = 1,
        /// An XML element with a namespace of the application's own.
        Element = 2,
    }
}

/// A value for an object's metadata.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Metadata<'a> {
    /// The description; `None` removes it.
    Description(Option<&'a str>),
    /// The title, one line; `None` removes it.
    Title(Option<&'a str>),
    /// An XML element of a namespace; `None` removes it.
    Element {
        /// The element as XML, without the namespace.
        xml: Option<&'a str>,
        /// The prefix that the namespace gets.
        prefix: &'a str,
        /// The namespace.
        uri: &'a str,
    },
}

wire_struct! {
    /// The statistics of one domain.
    pub struct DomainStats {
        /// Which domain.
        pub domain: DomainRef,
        /// The figures by name.
        pub params: Vec<TypedParam>,
    }
}

/// How long libvirt waits for an answer of the guest agent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AgentTimeout {
    /// Without end.
    Block,
    /// As long as libvirt thinks right: five seconds.
    Default,
    /// Not at all.
    NoWait,
    /// So many seconds.
    Seconds(u16),
}

impl AgentTimeout {
    pub(crate) fn raw(self) -> i32 {
        match self {
            Self::Block => -2,
            Self::Default => -1,
            Self::NoWait => 0,
            Self::Seconds(seconds) => i32::from(seconds),
        }
    }
}
