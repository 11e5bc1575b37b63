//! What goes between host and guest: components of integration, keys and values, addresses.

use crate::cim::{Instance, Value};
use crate::contract::Parameters;

use super::codes::{FAILED, INVALID_PARAMETER, INVALID_STATE, Input, Stop, answer, fail, stop};
use super::content::COMPONENTS;
use super::jobs::Plan;
use super::machine::{GuestNetwork, Machine, Services};
use super::row::Row;
use super::state::State;
use super::store::{self, number, text};

/// As many items as one call takes.
const MOST_ITEMS: usize = 128;
/// Letters of a key: 512 bytes of UTF-16 with the zero at the end.
const LONGEST_NAME: usize = 255;
/// Letters of a value: 2048 bytes of UTF-16 with the zero at the end.
const LONGEST_VALUE: usize = 1023;

/// What is done with items.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Items {
    /// New ones.
    Add,
    /// New values of those that are there.
    Modify,
    /// None any more.
    Remove,
}

impl Items {
    fn method(self) -> &'static str {
        match self {
            Self::Add => "AddKvpItems",
            Self::Modify => "ModifyKvpItems",
            Self::Remove => "RemoveKvpItems",
        }
    }
}

/// A key and its value as an instance.
pub(crate) fn item(name: &str, data: &str, source: u64) -> Instance {
    Row::of("Msvm_KvpExchangeDataItem")
        .text("Name", name)
        .text("Data", data)
        .number("Source", source)
        .done()
}

fn item_value(name: &str, data: &str, source: u64) -> Value {
    Value::Instance(Box::new(item(name, data, source)))
}

/// Names and values of an array of items.
pub(crate) fn pairs(items: &Value) -> Vec<(String, String)> {
    items
        .each()
        .iter()
        .filter_map(|one| match one {
            Value::Instance(item) => Some((text(item, "Name").to_owned(), text(item, "Data").to_owned())),
            _ => None,
        })
        .collect()
}

/// VSMS.AddKvpItems, ModifyKvpItems, RemoveKvpItems.
pub(crate) fn exchange(state: &mut State, input: &Input<'_>, what: Items) -> Result<Parameters, Stop> {
    let machine = state.machine_at(input.reference("TargetSystem")?)?;
    let sent = input.instances("DataItems")?;
    if sent.len() > MOST_ITEMS {
        return stop(INVALID_PARAMETER, format!("more than {MOST_ITEMS} items"));
    }
    let mut items = Vec::new();
    for one in sent {
        let (name, data) = (text(one, "Name"), text(one, "Data"));
        let source = one.get("Source");
        let fits = !name.is_empty()
            && name.encode_utf16().count() <= LONGEST_NAME
            && data.encode_utf16().count() <= LONGEST_VALUE;
        let of_host = source.as_unsigned() == Some(0) || (source.is_null() && what == Items::Remove);
        if one.class != "Msvm_KvpExchangeDataItem" || !fits || !of_host {
            return stop(
                INVALID_PARAMETER,
                format!("no item to exchange: {name:.40?}, {} letters", data.len()),
            );
        }
        items.push((name.to_owned(), data.to_owned()));
    }
    let id = component_setting(&machine, "Msvm_KvpExchangeComponent");
    let plan = Plan::of(state, what.method(), Some(&machine), move |state| {
        let Some(row) = state.store.get_mut(&id) else {
            return fail(FAILED, "the machine has gone");
        };
        let mut there = pairs(row.get("HostExchangeItems"));
        for (name, data) in items {
            let at = there.iter().position(|(known, _)| *known == name);
            match (what, at) {
                (Items::Add, None) => there.push((name, data)),
                (Items::Modify, Some(at)) => there[at].1 = data,
                (Items::Remove, Some(at)) => drop(there.remove(at)),
                (Items::Add, Some(_)) => return fail(INVALID_PARAMETER, format!("{name} exists already")),
                (_, None) => return fail(INVALID_PARAMETER, format!("{name} does not exist")),
            }
        }
        let values = there
            .iter()
            .map(|(name, data)| item_value(name, data, 0))
            .collect();
        row.set("HostExchangeItems", Value::Array(values));
        Ok(())
    });
    state.begin(plan)
}

/// The id of a component's setting of a machine.
pub(crate) fn component_setting(machine: &str, component: &str) -> String {
    let part = COMPONENTS
        .iter()
        .find(|(class, ..)| *class == component)
        .map_or("", |(_, _, part)| *part);
    format!("Microsoft:{machine}\\{part}")
}

impl State {
    /// The rows of a class of components: of machines that are on.
    pub(crate) fn components(&self, class: &str) -> Vec<Instance> {
        let Some((component, ..)) = COMPONENTS
            .iter()
            .find(|(known, ..)| known.eq_ignore_ascii_case(class))
        else {
            return Vec::new();
        };
        let on = self.machines.values().filter(|machine| machine.is_on());
        on.map(|machine| self.component(machine, component)).collect()
    }

    fn component(&self, machine: &Machine, class: &'static str) -> Instance {
        let id = component_setting(&machine.id, class);
        let enabled = self.store.get(&id).map_or(2, |row| number(row, "EnabledState"));
        let answers = match class {
            "Msvm_KvpExchangeComponent" => machine.speaks(),
            "Msvm_VssComponent" => machine.up && machine.guest.vss == Services::Present,
            _ => machine.up && machine.guest.services == Services::Present,
        };
        let status: &[u64] = if answers && enabled == 2 { &[2] } else { &[12] };
        let row = Row::of(class)
            .text("SystemCreationClassName", "Msvm_ComputerSystem")
            .text("SystemName", &machine.id)
            .text("CreationClassName", class)
            .text("DeviceID", id)
            .text("ElementName", class)
            .text("Caption", class)
            .number("EnabledState", enabled)
            .number("EnabledDefault", 2)
            .number("RequestedState", 12)
            .number("HealthState", 5)
            .numbers("OperationalStatus", status);
        if class != "Msvm_KvpExchangeComponent" || !machine.speaks() {
            return row.done();
        }
        let guest = &machine.guest;
        let said = guest
            .says
            .iter()
            .map(|(name, data)| item_value(name, data, 1))
            .collect();
        let addresses = |wanted: fn(&str) -> bool| {
            let all: Vec<&str> = guest
                .networks
                .values()
                .flat_map(|network| network.addresses.iter().map(String::as_str))
                .filter(|address| wanted(address))
                .collect();
            all.join(";")
        };
        let facts = [
            ("FullyQualifiedDomainName", guest.name.clone()),
            ("OSName", guest.system.0.clone()),
            ("OSVersion", guest.system.1.clone()),
            ("NetworkAddressIPv4", addresses(|address| !address.contains(':'))),
            ("NetworkAddressIPv6", addresses(|address| address.contains(':'))),
            ("IntegrationServicesVersion", "4.1".to_owned()),
        ];
        let facts = facts
            .iter()
            .map(|(name, data)| item_value(name, data, 2))
            .collect();
        row.value("GuestExchangeItems", Value::Array(said))
            .value("GuestIntrinsicExchangeItems", Value::Array(facts))
            .done()
    }

    /// The rows that say which addresses adapters have: empty unless the guest's daemon tells.
    pub(crate) fn guest_networks(&self) -> Vec<Instance> {
        let mut rows = Vec::new();
        for machine in self.machines.values() {
            let owner = format!("Microsoft:{}", machine.id);
            for adapter in self
                .store
                .owned_of(&owner, "Msvm_SyntheticEthernetPortSettingData")
            {
                let part = store::id(adapter).split('\\').nth(1).unwrap_or_default();
                let told = machine.guest.networks.get(text(adapter, "ElementName"));
                let network = match told {
                    Some(told) if machine.speaks() => told.clone(),
                    _ => GuestNetwork {
                        dhcp: true,
                        ..GuestNetwork::default()
                    },
                };
                let origins = vec![if network.dhcp { 3 } else { 2 }; network.addresses.len()];
                rows.push(
                    Row::of("Msvm_GuestNetworkAdapterConfiguration")
                        .text(
                            "InstanceID",
                            format!(r"Microsoft:GuestNetwork\{}\{part}", machine.id),
                        )
                        .flag("DHCPEnabled", network.dhcp)
                        .number("ProtocolIFType", 4096)
                        .texts("IPAddresses", network.addresses)
                        .texts("Subnets", network.subnets)
                        .texts("DefaultGateways", network.gateways)
                        .texts("DNSServers", network.dns)
                        .numbers("IPAddressOrigins", &origins)
                        .done(),
                );
            }
        }
        rows
    }
}

/// VSMS.SetGuestNetworkAdapterConfiguration.
pub(crate) fn configure(state: &mut State, input: &Input<'_>) -> Result<Parameters, Stop> {
    let machine = state.machine_at(input.reference("ComputerSystem")?)?;
    let known = state.guest_networks();
    let mut wanted = Vec::new();
    for one in input.instances("NetworkConfiguration")? {
        let id = store::id(one);
        let Some(row) = known.iter().find(|row| store::id(row).eq_ignore_ascii_case(id)) else {
            return stop(INVALID_PARAMETER, format!("no adapter {id}"));
        };
        let Some(dhcp) = one.get("DHCPEnabled").as_boolean() else {
            return stop(INVALID_PARAMETER, "DHCPEnabled is always said");
        };
        let texts = |name: &str| -> Vec<String> {
            one.get(name)
                .each()
                .iter()
                .filter_map(Value::as_text)
                .map(str::to_owned)
                .collect()
        };
        let network = GuestNetwork {
            dhcp,
            addresses: texts("IPAddresses"),
            subnets: texts("Subnets"),
            gateways: texts("DefaultGateways"),
            dns: texts("DNSServers"),
        };
        let fits = network.gateways.len() <= 5 && network.addresses.len() == network.subnets.len();
        if !fits || (!dhcp && network.addresses.is_empty()) {
            return stop(
                INVALID_PARAMETER,
                "addresses, masks and gateways do not fit together",
            );
        }
        let mut parts = store::id(row).split('\\').skip(1);
        if !parts
            .next()
            .is_some_and(|owner| owner.eq_ignore_ascii_case(&machine))
        {
            return stop(INVALID_PARAMETER, format!("{id} is another machine's"));
        }
        let adapter = format!("Microsoft:{machine}\\{}", parts.next().unwrap_or_default());
        wanted.push((adapter, network));
    }
    if !state.machine(&machine).is_some_and(Machine::speaks) {
        return stop(INVALID_STATE, "the guest's daemon does not answer");
    }
    let plan = Plan::of(state, "SetGuestNetworkAdapterConfiguration", Some(&machine), {
        let machine = machine.clone();
        move |state| {
            for (adapter, network) in wanted {
                let name = state
                    .store
                    .get(&adapter)
                    .map(|row| text(row, "ElementName").to_owned());
                if let (Some(name), Some(machine)) = (name, state.machine_mut(&machine)) {
                    machine.guest.networks.insert(name, network);
                }
            }
            Ok(())
        }
    });
    state.begin(plan)
}

/// What GetSummaryInformation says of machines and checkpoints: only what was asked for.
pub(crate) fn summary(state: &State, input: &Input<'_>) -> Result<Parameters, Stop> {
    let asked: Vec<u64> = input
        .get("RequestedInformation")
        .each()
        .iter()
        .filter_map(Value::as_unsigned)
        .collect();
    let settings: Vec<Instance> = match input.get("SettingData") {
        Value::Null => state
            .store
            .of_class("Msvm_VirtualSystemSettingData")
            .into_iter()
            .filter(|row| text(row, "VirtualSystemType").ends_with("System:Realized"))
            .collect(),
        _ => {
            let mut found = Vec::new();
            for path in input.references("SettingData")? {
                found.push(state.setting_at(path)?.clone());
            }
            found
        }
    };
    let rows = settings
        .iter()
        .map(|setting| summary_of(state, setting, &asked))
        .collect();
    let mut output = answer(0);
    output.insert("SummaryInformation".to_owned(), Value::Array(rows));
    Ok(output)
}

fn summary_of(state: &State, setting: &Instance, asked: &[u64]) -> Value {
    let realised = text(setting, "VirtualSystemType").ends_with("System:Realized");
    let id = text(setting, "VirtualSystemIdentifier");
    let owner = store::id(setting);
    let system = state
        .machine(id)
        .filter(|_| realised)
        .map(|machine| (machine, state.system_row(machine)));
    let quantity = |class: &str| {
        let rows = state.store.owned_of(owner, class);
        rows.first().map_or(0, |row| number(row, "VirtualQuantity"))
    };
    let mut row = Row::of("Msvm_SummaryInformation")
        .text("InstanceID", owner)
        .done();
    for code in asked {
        let found = match (code, &system) {
            (0, _) => Some((
                "Name",
                Value::text(if realised { id } else { super::paths::guid(owner) }),
            )),
            (1, _) => Some(("ElementName", setting.get("ElementName").clone())),
            (2, _) => Some(("CreationTime", setting.get("CreationTime").clone())),
            (3, _) => Some((
                "Notes",
                setting
                    .get("Notes")
                    .each()
                    .first()
                    .cloned()
                    .unwrap_or(Value::Null),
            )),
            (4, _) => Some((
                "NumberOfProcessors",
                Value::Unsigned(quantity("Msvm_ProcessorSettingData")),
            )),
            (100, Some((_, system))) => Some(("EnabledState", system.get("EnabledState").clone())),
            (101, Some(_)) => Some(("ProcessorLoad", Value::Unsigned(0))),
            (103, Some((machine, _))) => {
                let used = if machine.is_on() {
                    quantity("Msvm_MemorySettingData")
                } else {
                    0
                };
                Some(("MemoryUsage", Value::Unsigned(used)))
            }
            (104, Some((machine, _))) if machine.is_on() => {
                Some(("Heartbeat", Value::Unsigned(if machine.up { 2 } else { 12 })))
            }
            (105, Some((machine, _))) => Some(("UpTime", Value::Unsigned(state.uptime(machine)))),
            (106, Some((machine, _))) if machine.speaks() => Some((
                "GuestOperatingSystem",
                Value::text(machine.guest.system.0.as_str()),
            )),
            (109, Some((_, system))) => Some(("HealthState", system.get("HealthState").clone())),
            (110, Some((_, system))) => Some(("OperationalStatus", system.get("OperationalStatus").clone())),
            (111, Some((_, system))) => {
                Some(("StatusDescriptions", system.get("StatusDescriptions").clone()))
            }
            _ => None,
        };
        if let Some((name, value)) = found {
            row.set(name, value);
        }
    }
    Value::Instance(Box::new(row))
}
