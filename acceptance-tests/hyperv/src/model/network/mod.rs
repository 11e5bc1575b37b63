//! The host's own network: its cards, the adapters that switches give it, addresses, translation of addresses, neighbours.

mod nat;
mod rows;

use std::collections::BTreeMap;
use std::net::IpAddr;

use crate::cim::{Instance, Value};
use crate::contract::{Parameters, WmiFault};

use super::codes::{Input, Stop, WINDOWS_INVALID_PARAMETER, answer, fault};
use super::setup::{Card, Rights};
use super::state::State;

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

    pub(super) fn administrator(&self, what: &str) -> Result<(), Stop> {
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
