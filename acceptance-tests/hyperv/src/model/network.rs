//! The host's own network: its cards, the adapters that switches give it, addresses, translation of addresses, neighbours.

use std::collections::BTreeMap;
use std::net::IpAddr;

use crate::cim::{Instance, Path, Value};
use crate::contract::{Parameters, WmiFault};

use super::codes::{ALREADY_EXISTS, Input, Stop, WINDOWS_INVALID_PARAMETER, answer, fault};
use super::paths::{STANDARD, key};
use super::row::Row;
use super::setup::{Card, NatLimit, Rights};
use super::state::State;
use super::store::{number, text};

/// ERROR_OBJECT_ALREADY_EXISTS as a result of Windows.
const OBJECT_EXISTS: WmiFault = WmiFault(0x8007_1392);

/// An adapter of the host.
#[derive(Clone, Debug)]
struct Adapter {
    /// In braces.
    guid: String,
    name: String,
    description: String,
    mac: String,
    index: u64,
    /// The switch that it leads into, or that has it.
    switch: Option<String>,
    card: bool,
}

/// An address of an adapter, in one of the two stores.
#[derive(Clone, Debug)]
struct Address {
    name: String,
    index: u64,
    address: IpAddr,
    prefix: u8,
    /// 0 lasting, 1 now.
    store: u64,
    /// 1 by hand, 2 the system's own.
    origin: u64,
}

/// The host's own network.
#[derive(Debug, Default)]
pub(crate) struct Network {
    adapters: Vec<Adapter>,
    addresses: Vec<Address>,
    nats: BTreeMap<String, Instance>,
    mappings: BTreeMap<u64, Instance>,
    neighbours: Vec<(u64, String, String)>,
    count: u64,
}

impl State {
    /// Puts a network card in.
    pub(crate) fn add_card(&mut self, card: &Card) {
        let guid = format!("{{{}}}", self.setup.ids.next_guid());
        self.network.count += 1;
        let index = 3 + self.network.count;
        self.network.adapters.push(Adapter {
            guid,
            name: card.name.clone(),
            description: card.description.clone(),
            mac: card.mac.to_uppercase(),
            index,
            switch: None,
            card: true,
        });
        if let Some((address, prefix)) = &card.address {
            self.give_address(&card.name, address, *prefix);
        }
    }

    /// An adapter that leads into a switch. Nobody has given it an address, so it gives itself one.
    pub(crate) fn add_host_adapter(&mut self, guid: &str, switch_name: &str, switch: &str, mac: &str) {
        self.network.count += 1;
        let index = 3 + self.network.count;
        let twin = self
            .network
            .adapters
            .iter()
            .filter(|adapter| !adapter.card)
            .count();
        let description = match twin {
            0 => "Hyper-V Virtual Ethernet Adapter".to_owned(),
            twin => format!("Hyper-V Virtual Ethernet Adapter #{}", twin + 1),
        };
        self.network.adapters.push(Adapter {
            guid: format!("{{{guid}}}"),
            name: format!("vEthernet ({switch_name})"),
            description,
            mac: mac.to_owned(),
            index,
            switch: Some(switch.to_owned()),
            card: false,
        });
        let own = IpAddr::from([169, 254, 10, u8::try_from(index % 250).unwrap_or(1)]);
        self.put_address(index, own, 16, 1, 2);
    }

    /// An address that somebody has given before.
    pub(crate) fn give_address(&mut self, adapter: &str, address: &str, prefix: u8) {
        let index = self
            .network
            .adapters
            .iter()
            .find(|there| there.name == adapter)
            .map(|there| there.index);
        if let (Some(index), Ok(address)) = (index, address.parse()) {
            self.static_address(index, address, prefix, true);
        }
    }

    fn put_address(&mut self, index: u64, address: IpAddr, prefix: u8, store: u64, origin: u64) {
        let name = self.setup.ids.next_guid().replace('-', ":");
        self.network.addresses.push(Address {
            name,
            index,
            address,
            prefix,
            store,
            origin,
        });
    }

    fn static_address(&mut self, index: u64, address: IpAddr, prefix: u8, lasting: bool) {
        self.network
            .addresses
            .retain(|there| there.index != index || there.origin != 2);
        self.put_address(index, address, prefix, 1, 1);
        if lasting {
            self.put_address(index, address, prefix, 0, 1);
        }
    }

    /// Takes away the adapters that lead into a switch, with their addresses.
    pub(crate) fn remove_host_adapters(&mut self, switch: &str) {
        let gone: Vec<u64> = self
            .network
            .adapters
            .iter()
            .filter(|adapter| !adapter.card && adapter.switch.as_deref() == Some(switch))
            .map(|adapter| adapter.index)
            .collect();
        self.network
            .adapters
            .retain(|adapter| !gone.contains(&adapter.index));
        self.network
            .addresses
            .retain(|address| !gone.contains(&address.index));
    }

    /// Gives a card to a switch.
    pub(crate) fn bind_card(&mut self, guid: &str, switch: Option<&str>) {
        for card in self
            .network
            .adapters
            .iter_mut()
            .filter(|adapter| adapter.card && adapter.guid == guid)
        {
            card.switch = switch.map(str::to_owned);
        }
    }

    /// Takes its cards from a switch.
    pub(crate) fn unbind_cards(&mut self, switch: &str) {
        for card in self.network.adapters.iter_mut().filter(|adapter| adapter.card) {
            if card.switch.as_deref() == Some(switch) {
                card.switch = None;
            }
        }
    }

    fn port(&self, class: &str, adapter: &Adapter) -> Row {
        Row::of(class)
            .text("SystemCreationClassName", "Msvm_ComputerSystem")
            .text("SystemName", self.computer())
            .text("CreationClassName", class)
            .text("DeviceID", format!("Microsoft:{}", adapter.guid))
            .text("Name", &adapter.description)
            .text("PermanentAddress", &adapter.mac)
            .number("EnabledState", 2)
            .number("HealthState", 5)
            .numbers("OperationalStatus", &[2])
    }

    /// The rows of Msvm_ExternalEthernetPort.
    pub(crate) fn external_ports(&self) -> Vec<Instance> {
        let cards = self.network.adapters.iter().filter(|adapter| adapter.card);
        cards
            .map(|card| {
                self.port("Msvm_ExternalEthernetPort", card)
                    .text("ElementName", &card.description)
                    .flag("IsBound", card.switch.is_some())
                    .done()
            })
            .collect()
    }

    /// The rows of Msvm_InternalEthernetPort.
    pub(crate) fn internal_ports(&self) -> Vec<Instance> {
        let own = self.network.adapters.iter().filter(|adapter| !adapter.card);
        own.map(|adapter| {
            let switch = adapter.switch.as_deref().unwrap_or_default();
            self.port("Msvm_InternalEthernetPort", adapter)
                .text("ElementName", self.switch_name(switch))
                .done()
        })
        .collect()
    }

    /// The rows of a class of the host's network.
    pub(crate) fn network_rows(&self, class: &str) -> Option<Vec<Instance>> {
        let rows = match class.to_ascii_lowercase().as_str() {
            "msft_netadapter" => self
                .network
                .adapters
                .iter()
                .map(|adapter| self.adapter_row(adapter))
                .collect(),
            "msft_netipaddress" => self
                .network
                .addresses
                .iter()
                .map(|address| self.address_row(address))
                .collect(),
            "msft_netipinterface" => self
                .network
                .adapters
                .iter()
                .map(|adapter| self.interface_row(adapter))
                .collect(),
            "msft_netnat" => self.network.nats.values().cloned().collect(),
            "msft_netnatstaticmapping" => self.network.mappings.values().cloned().collect(),
            "msft_netneighbor" => self.network.neighbours.iter().map(neighbour_row).collect(),
            _ => return None,
        };
        Some(rows)
    }

    fn adapter_row(&self, adapter: &Adapter) -> Instance {
        Row::elsewhere(STANDARD, "MSFT_NetAdapter")
            .text("SystemCreationClassName", "CIM_NetworkPort")
            .text("SystemName", self.computer())
            .text("CreationClassName", "MSFT_NetAdapter")
            .text("DeviceID", &adapter.guid)
            .text("InterfaceGuid", &adapter.guid)
            .text("InstanceID", &adapter.guid)
            .text("Name", &adapter.name)
            .text("InterfaceDescription", &adapter.description)
            .number("InterfaceIndex", adapter.index)
            .text("PermanentAddress", &adapter.mac)
            .texts("NetworkAddresses", [&adapter.mac])
            .flag("Virtual", !adapter.card)
            .flag("HardwareInterface", adapter.card)
            .flag("ConnectorPresent", adapter.card)
            .number("State", 2)
            .number("MediaConnectState", 1)
            .number("InterfaceOperationalStatus", 1)
            .done()
    }

    fn interface_row(&self, adapter: &Adapter) -> Instance {
        Row::elsewhere(STANDARD, "MSFT_NetIPInterface")
            .text("SystemCreationClassName", "")
            .text("SystemName", "")
            .text("CreationClassName", "")
            .text("Name", format!("{};2", adapter.guid))
            .text("InterfaceAlias", &adapter.name)
            .number("InterfaceIndex", adapter.index)
            .number("AddressFamily", 2)
            .number("ConnectionState", 1)
            .number("Dhcp", 0)
            .number("Forwarding", 0)
            .number("Store", 1)
            .done()
    }

    fn alias(&self, index: u64) -> &str {
        let found = self
            .network
            .adapters
            .iter()
            .find(|adapter| adapter.index == index);
        found.map_or("", |adapter| adapter.name.as_str())
    }

    fn address_row(&self, address: &Address) -> Instance {
        let four = address.address.is_ipv4();
        Row::elsewhere(STANDARD, "MSFT_NetIPAddress")
            .text("SystemCreationClassName", "")
            .text("SystemName", "")
            .text("CreationClassName", "")
            .text("Name", &address.name)
            .text("IPAddress", address.address.to_string())
            .text("Address", address.address.to_string())
            .text(
                if four { "IPv4Address" } else { "IPv6Address" },
                address.address.to_string(),
            )
            .number("PrefixLength", u64::from(address.prefix))
            .number("AddressFamily", if four { 2 } else { 23 })
            .text("InterfaceAlias", self.alias(address.index))
            .number("InterfaceIndex", address.index)
            .number("AddressState", if address.store == 1 { 4 } else { 0 })
            .number("PrefixOrigin", address.origin)
            .number("SuffixOrigin", if address.origin == 1 { 1 } else { 4 })
            .number("Type", 1)
            .number("Store", address.store)
            .flag("SkipAsSource", false)
            .done()
    }

    fn administrator(&self, what: &str) -> Result<(), Stop> {
        if self.rights == Rights::Administrator {
            return Ok(());
        }
        fault(WmiFault::ACCESS_DENIED, format!("{what} needs an administrator"))
    }

    /// MSFT_NetIPAddress.Create.
    pub(crate) fn create_address(&mut self, input: &Input<'_>) -> Result<Parameters, Stop> {
        self.administrator("an address")?;
        let refuse = |why: &str| {
            fault(
                WINDOWS_INVALID_PARAMETER,
                format!("MSFT_NetIPAddress.Create: {why}"),
            )
        };
        let adapter = self.network.adapters.iter().find(|adapter| {
            match (
                input.get("InterfaceIndex").as_unsigned(),
                input.get("InterfaceAlias").as_text(),
            ) {
                (Some(index), _) => adapter.index == index,
                (None, Some(alias)) => adapter.name.eq_ignore_ascii_case(alias),
                (None, None) => false,
            }
        });
        let Some(index) = adapter.map(|adapter| adapter.index) else {
            return fault(WmiFault::NOT_FOUND, "no adapter of this index or name");
        };
        let Some(address) = input
            .get("IPAddress")
            .as_text()
            .and_then(|text| text.parse::<IpAddr>().ok())
        else {
            return refuse("no address");
        };
        let (family, most) = if address.is_ipv4() { (2, 32) } else { (23, 128) };
        let said = input.get("AddressFamily").as_unsigned().unwrap_or(family);
        let prefix = input.get("PrefixLength").as_unsigned().unwrap_or(most);
        let Some(prefix) = u8::try_from(prefix)
            .ok()
            .filter(|prefix| u64::from(*prefix) <= most && said == family)
        else {
            return refuse("family or length of prefix");
        };
        if self
            .network
            .addresses
            .iter()
            .any(|there| there.address == address && there.origin == 1)
        {
            return fault(OBJECT_EXISTS, format!("{address} exists already"));
        }
        let lasting = match input.get("PolicyStore").as_text() {
            None | Some("PersistentStore") => true,
            Some("ActiveStore") => false,
            Some(_) => return refuse("PolicyStore"),
        };
        self.static_address(index, address, prefix, lasting);
        let all = self.network.addresses.iter();
        let rows = all
            .filter(|there| there.address == address && there.index == index)
            .map(|there| Value::Instance(Box::new(self.address_row(there))))
            .collect();
        let mut output = answer(0);
        output.insert("CmdletOutput".to_owned(), Value::Array(rows));
        Ok(output)
    }

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

    /// A neighbour that the host has heard of.
    pub(crate) fn add_neighbour(&mut self, adapter: &str, mac: &str, address: &str) {
        let found = self.network.adapters.iter().find(|there| there.name == adapter);
        if let Some(index) = found.map(|there| there.index) {
            self.network
                .neighbours
                .push((index, mac.to_uppercase(), address.to_owned()));
        }
    }
}

fn neighbour_row((index, mac, address): &(u64, String, String)) -> Instance {
    let pairs: Vec<String> = mac
        .as_bytes()
        .chunks(2)
        .map(|pair| String::from_utf8_lossy(pair).into_owned())
        .collect();
    Row::elsewhere(STANDARD, "MSFT_NetNeighbor")
        .text("SystemCreationClassName", "")
        .text("SystemName", "")
        .text("CreationClassName", "")
        .text("Name", format!("{index};{address}"))
        .number("InterfaceIndex", *index)
        .text("IPAddress", address)
        .text("LinkLayerAddress", pairs.join("-"))
        .number("AddressFamily", if address.contains(':') { 23 } else { 2 })
        .number("State", 5)
        .done()
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
