//! Translation of addresses: what is made by creating an instance, and goes by deleting it.

use std::collections::BTreeMap;

use crate::cim::{Instance, Path};
use crate::contract::WmiFault;

use super::super::codes::{ALREADY_EXISTS, Stop, WINDOWS_INVALID_PARAMETER, fault};
use super::super::paths::{STANDARD, key};
use super::super::row::Row;
use super::super::setup::NatLimit;
use super::super::state::State;
use super::super::store::{number, text};

impl State {
    /// Creates an instance of a class whose instances are made so.
    pub(crate) fn create_row(&mut self, instance: &Instance) -> Result<Path, Stop> {
        match instance.class.to_ascii_lowercase().as_str() {
            "msft_netnat" => self.create_nat(instance),
            "msft_netnatstaticmapping" => self.create_mapping(instance),
            _ => fault(
                WmiFault::NOT_SUPPORTED,
                format!("{} is not created so", instance.class),
            ),
        }
    }

    fn create_nat(&mut self, sent: &Instance) -> Result<Path, Stop> {
        self.administrator("a NAT")?;
        let refuse = |why: &str| fault(WINDOWS_INVALID_PARAMETER, format!("MSFT_NetNat: {why}"));
        let name = text(sent, "Name").to_owned();
        let Some((network, length)) = prefix(text(sent, "InternalIPInterfaceAddressPrefix")) else {
            return refuse("InternalIPInterfaceAddressPrefix is a network of IPv4");
        };
        if name.is_empty() || !sent.get("InstanceID").is_null() || !sent.get("Store").is_null() {
            return refuse("Name is said; InstanceID and Store are not");
        }
        if self.network.nats.contains_key(&name.to_uppercase()) {
            return fault(ALREADY_EXISTS, format!("a NAT {name} exists already"));
        }
        let overlaps = self.network.nats.values().any(|there| {
            prefix(text(there, "InternalIPInterfaceAddressPrefix")).is_some_and(|(other, other_length)| {
                let mask = mask(length.min(other_length));
                network & mask == other & mask
            })
        });
        if overlaps || (self.setup.nats == NatLimit::One && !self.network.nats.is_empty()) {
            return refuse("the network overlaps that of another NAT");
        }
        let id = format!("{name};0");
        let row = Row::elsewhere(STANDARD, "MSFT_NetNat")
            .text("InstanceID", &id)
            .text("Name", &name)
            .text(
                "InternalIPInterfaceAddressPrefix",
                text(sent, "InternalIPInterfaceAddressPrefix"),
            )
            .text(
                "ExternalIPInterfaceAddressPrefix",
                text(sent, "ExternalIPInterfaceAddressPrefix"),
            )
            .text(
                "InternalRoutingDomainId",
                "{00000000-0000-0000-0000-000000000000}",
            )
            .number("Active", 1)
            .number("Store", 0)
            .number("IcmpQueryTimeout", 30)
            .number("TcpEstablishedConnectionTimeout", 1800)
            .number("TcpTransientConnectionTimeout", 120)
            .number("TcpFilteringBehavior", 2)
            .number("UdpFilteringBehavior", 2)
            .number("UdpIdleSessionTimeout", 120)
            .number("UdpInboundRefresh", 0);
        self.network.nats.insert(name.to_uppercase(), row.done());
        Ok(of("MSFT_NetNat", &id))
    }

    fn create_mapping(&mut self, sent: &Instance) -> Result<Path, Stop> {
        self.administrator("a mapping")?;
        let refuse = |why: &str| {
            fault(
                WINDOWS_INVALID_PARAMETER,
                format!("MSFT_NetNatStaticMapping: {why}"),
            )
        };
        let nat = text(sent, "NatName").to_owned();
        let Some(there) = self.network.nats.get(&nat.to_uppercase()) else {
            return fault(WmiFault::NOT_FOUND, format!("no NAT {nat:?}"));
        };
        let inside = prefix(text(there, "InternalIPInterfaceAddressPrefix"));
        let (protocol, port) = (number(sent, "Protocol"), number(sent, "ExternalPort"));
        let address = |name: &str| text(sent, name).parse::<std::net::Ipv4Addr>().ok();
        let (Some(external), Some(internal)) = (address("ExternalIPAddress"), address("InternalIPAddress"))
        else {
            return refuse("two addresses of IPv4");
        };
        let within = inside.is_some_and(|(network, length)| u32::from(internal) & mask(length) == network);
        if !matches!(protocol, 6 | 17) || port == 0 || number(sent, "InternalPort") == 0 || !within {
            return refuse("protocol, ports, or an address outside of the NAT");
        }
        let taken = self.network.mappings.values().any(|there| {
            number(there, "Protocol") == protocol
                && number(there, "ExternalPort") == port
                && text(there, "ExternalIPAddress") == external.to_string()
        });
        if taken {
            return fault(ALREADY_EXISTS, format!("port {port} is mapped already"));
        }
        self.network.count += 1;
        let number = self.network.count;
        let id = format!("{nat};{number}");
        let mut row = Row::elsewhere(STANDARD, "MSFT_NetNatStaticMapping")
            .text("InstanceID", &id)
            .number("StaticMappingID", number)
            .number("Active", 1)
            .done();
        for (name, value) in sent.properties() {
            if row.get(name).is_null() {
                row.set(name, value.clone());
            }
        }
        self.network.mappings.insert(number, row);
        Ok(of("MSFT_NetNatStaticMapping", &id))
    }

    /// Deletes an instance of a class whose instances are deleted so.
    pub(crate) fn delete_row(&mut self, object: &Path) -> Result<(), Stop> {
        let class = object.class.to_ascii_lowercase();
        let missing = || fault(WmiFault::NOT_FOUND, format!("nothing at {object:?}"));
        let id = key(object, "InstanceID").unwrap_or_default();
        match class.as_str() {
            "msft_netnat" | "msft_netnatstaticmapping" | "msft_netipaddress" => {
                self.administrator("the host's network")?;
            }
            _ => {
                return fault(
                    WmiFault::NOT_SUPPORTED,
                    format!("{} is not deleted so", object.class),
                );
            }
        }
        if class == "msft_netipaddress" {
            let name = key(object, "Name").unwrap_or_default();
            let before = self.network.addresses.len();
            if object.keys.len() == 4 {
                self.network.addresses.retain(|address| address.name != name);
            }
            return if self.network.addresses.len() < before {
                Ok(())
            } else {
                missing()
            };
        }
        if class == "msft_netnatstaticmapping" {
            let before = self.network.mappings.len();
            self.network
                .mappings
                .retain(|_, row| !text(row, "InstanceID").eq_ignore_ascii_case(id));
            return if self.network.mappings.len() < before {
                Ok(())
            } else {
                missing()
            };
        }
        let found = self
            .network
            .nats
            .iter()
            .find(|(_, row)| text(row, "InstanceID").eq_ignore_ascii_case(id));
        let Some(name) = found.map(|(name, _)| name.clone()) else {
            return missing();
        };
        self.network.nats.remove(&name);
        self.network
            .mappings
            .retain(|_, row| !text(row, "NatName").eq_ignore_ascii_case(&name));
        Ok(())
    }
}

fn of(class: &str, id: &str) -> Path {
    Path {
        namespace: STANDARD.to_owned(),
        class: class.to_owned(),
        keys: BTreeMap::from([("InstanceID".to_owned(), id.to_owned())]),
    }
}

fn mask(length: u8) -> u32 {
    if length == 0 {
        0
    } else {
        u32::MAX << (32 - u32::from(length))
    }
}

/// A network of IPv4 and the length of its prefix.
fn prefix(text: &str) -> Option<(u32, u8)> {
    let (address, length) = text.split_once('/')?;
    let address = u32::from(address.parse::<std::net::Ipv4Addr>().ok()?);
    let length = length.parse::<u8>().ok().filter(|length| *length <= 32)?;
    (address & mask(length) == address).then_some((address, length))
}
