//! The host's network as rows.

use crate::cim::Instance;

use super::super::paths::STANDARD;
use super::super::row::Row;
use super::super::state::State;
use super::{Adapter, Address};

impl State {
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

    pub(super) fn address_row(&self, address: &Address) -> Instance {
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
