//! Msvm_VirtualEthernetSwitchManagementService: switches, their ports to the host and to its network cards.

use crate::cim::{Instance, Path, Value};
use crate::contract::Parameters;

use super::add::EPASD;
use super::codes::{INCORRECT_TYPE, INVALID_PARAMETER, Input, NOT_SUPPORTED, Stop, stop};
use super::jobs::{Mode, Plan};
use super::paths::{self, key};
use super::row::Row;
use super::settings::normal;
use super::state::State;
use super::store::{self, first_text, number, text};

/// The class of switches.
pub(crate) const SWITCH: &str = "Msvm_VirtualEthernetSwitch";
/// The class of their settings.
pub(crate) const SETTING: &str = "Msvm_VirtualEthernetSwitchSettingData";
/// The switch that client editions have from the beginning.
pub(crate) const DEFAULT_SWITCH: &str = "C08CB7B8-9B3C-408E-8E30-5E16A3AEB444";

/// A switch beside its settings.
#[derive(Clone, Debug)]
pub(crate) struct Switch {
    pub(crate) id: String,
}

/// Where a port of a switch leads.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Leads {
    /// To the host.
    Host,
    /// To a card of the host, by its GUID in braces.
    Card(String),
}

/// DefineSystem.
pub(crate) fn define(state: &mut State, input: &Input<'_>) -> Result<Parameters, Stop> {
    let sent = input.instance("SystemSettings", SETTING)?.clone();
    if text(&sent, "ElementName").is_empty() {
        return stop(INVALID_PARAMETER, "a switch has a name");
    }
    notes(&sent)?;
    let ports = sent_ports(input)?;
    for port in &ports {
        leads(state, port)?;
    }
    let id = state.setup.ids.next_guid();
    let private = ports.is_empty();
    let mut plan = Plan::of(state, "DefineSystem", None, {
        let id = id.clone();
        move |state| {
            put_in(state, &id, &sent);
            for port in ports {
                add_port(state, &id, &port);
            }
            state.affects(paths::system(SWITCH, &id), 5);
            Ok(())
        }
    });
    if private {
        plan.mode = Mode::AtOnce;
    }
    plan.output.insert(
        "ResultingSystem".to_owned(),
        Value::Reference(paths::system(SWITCH, &id)),
    );
    state.begin(plan)
}

fn sent_ports(input: &Input<'_>) -> Result<Vec<Instance>, Stop> {
    match input.get("ResourceSettings") {
        Value::Null => Ok(Vec::new()),
        Value::Array(all) if all.is_empty() => Ok(Vec::new()),
        _ => Ok(input
            .instances("ResourceSettings")?
            .into_iter()
            .cloned()
            .collect()),
    }
}

fn notes(sent: &Instance) -> Result<(), Stop> {
    match sent.get("Notes") {
        Value::Null | Value::Array(_) => Ok(()),
        _ => stop(INCORRECT_TYPE, "Notes is an array"),
    }
}

/// Where a port is to lead.
fn leads(state: &State, port: &Instance) -> Result<Leads, Stop> {
    let kind = number(port, "ResourceType") == 33
        && text(port, "ResourceSubType") == "Microsoft:Hyper-V:Ethernet Connection";
    if port.class != EPASD || !kind {
        return stop(
            INVALID_PARAMETER,
            format!("{} is no port of a switch", port.class),
        );
    }
    let path = match port.get("HostResource") {
        Value::Array(all) if all.len() == 1 => all[0].as_text().unwrap_or_default(),
        Value::Null | Value::Array(_) => return stop(INVALID_PARAMETER, "HostResource is missing"),
        _ => return stop(INCORRECT_TYPE, "HostResource is an array"),
    };
    let Some(to) = paths::read(path, state.computer()) else {
        return stop(INVALID_PARAMETER, format!("no path of an object: {path}"));
    };
    let same =
        |name: &str, wanted: &str| key(&to, name).is_some_and(|there| there.eq_ignore_ascii_case(wanted));
    if to.class.eq_ignore_ascii_case("Msvm_ComputerSystem") {
        let host = same("CreationClassName", "Msvm_ComputerSystem") && same("Name", state.computer());
        return if host {
            Ok(Leads::Host)
        } else {
            stop(INVALID_PARAMETER, "that system is not this host")
        };
    }
    let card = state.external_ports().into_iter().find(|row| {
        let keys = [
            "CreationClassName",
            "DeviceID",
            "SystemCreationClassName",
            "SystemName",
        ];
        to.class.eq_ignore_ascii_case(&row.class)
            && to.keys.len() == keys.len()
            && keys.iter().all(|name| same(name, text(row, name)))
    });
    match card {
        Some(card) if card.get("IsBound").as_boolean() == Some(true) => {
            stop(INVALID_PARAMETER, "a switch has that card already")
        }
        Some(card) => Ok(Leads::Card(text(&card, "DeviceID").replace("Microsoft:", ""))),
        None => stop(INVALID_PARAMETER, format!("no such card: {path}")),
    }
}

/// Puts a switch in, without ports.
fn put_in(state: &mut State, id: &str, sent: &Instance) {
    let name = text(sent, "ElementName").to_owned();
    let mut row = Row::of(SETTING)
        .text("InstanceID", format!("Microsoft:{id}"))
        .text("Caption", "Virtual Ethernet Switch Settings")
        .text("ElementName", name)
        .text("VirtualSystemIdentifier", id)
        .text("VirtualSystemType", "Microsoft:Hyper-V:EthernetSwitch")
        .texts("Notes", [""])
        .number("BandwidthReservationMode", 3)
        .flag("IOVPreferred", false)
        .flag("PacketDirectEnabled", false)
        .flag("TeamingEnabled", false)
        .done();
    if let Value::Array(notes) = sent.get("Notes")
        && !notes.is_empty()
    {
        row.set("Notes", Value::Array(notes[..1].to_vec()));
    }
    if let Some(mode) = sent.get("BandwidthReservationMode").as_unsigned() {
        row.set("BandwidthReservationMode", Value::Unsigned(mode));
    }
    state.store.put(row);
    state
        .switches
        .insert(id.to_uppercase(), Switch { id: id.to_owned() });
}

/// Gives a switch a port; one to the host comes with an adapter in the host.
fn add_port(state: &mut State, id: &str, sent: &Instance) {
    let Ok(to) = leads(state, sent) else {
        return;
    };
    let guid = state.setup.ids.next_guid();
    let resource = normal(state.computer(), sent.get("HostResource"));
    let name = state.switch_name(id);
    let label = text(sent, "ElementName").to_owned();
    let row = Row::of(EPASD)
        .text("InstanceID", format!(r"Microsoft:{id}\{guid}"))
        .text("ElementName", if label.is_empty() { name.clone() } else { label })
        .number("ResourceType", 33)
        .text("ResourceSubType", "Microsoft:Hyper-V:Ethernet Connection")
        .number("EnabledState", 2)
        .value("HostResource", resource)
        .text("Address", text(sent, "Address"))
        .done();
    state.store.put(row);
    match to {
        Leads::Host => {
            let mac = match text(sent, "Address") {
                "" => state.next_mac(),
                said => said.to_uppercase(),
            };
            state.add_host_adapter(&guid, &name, id, &mac);
        }
        Leads::Card(card) => state.bind_card(&card, Some(id)),
    }
}

/// The switch that a client edition has from the beginning.
pub(crate) fn put_default(state: &mut State) {
    let sent = Row::of(SETTING).text("ElementName", "Default Switch").done();
    put_in(state, DEFAULT_SWITCH, &sent);
    let host = paths::system("Msvm_ComputerSystem", state.computer());
    let port = Row::of(EPASD)
        .number("ResourceType", 33)
        .text("ResourceSubType", "Microsoft:Hyper-V:Ethernet Connection")
        .texts("HostResource", [paths::write(state.computer(), &host)])
        .done();
    add_port(state, DEFAULT_SWITCH, &port);
    state.give_address("vEthernet (Default Switch)", "172.20.16.1", 20);
}

/// The switch that a reference leads to, unless it is the one that nobody changes.
fn changeable(state: &State, id: &str) -> Result<String, Stop> {
    match state.switches.get(&id.to_uppercase()) {
        Some(switch) if switch.id == DEFAULT_SWITCH => {
            stop(NOT_SUPPORTED, "the Default Switch stays as it is")
        }
        Some(switch) => Ok(switch.id.clone()),
        None => stop(INVALID_PARAMETER, format!("no switch {id}")),
    }
}

/// ModifySystemSettings.
pub(crate) fn modify(state: &mut State, input: &Input<'_>) -> Result<Parameters, Stop> {
    let sent = input.instance("SystemSettings", SETTING)?.clone();
    let id = changeable(state, paths::guid(store::id(&sent)))?;
    notes(&sent)?;
    for name in sent.properties().keys() {
        if !["InstanceID", "ElementName", "Notes", "IOVPreferred"]
            .iter()
            .any(|free| free.eq_ignore_ascii_case(name))
        {
            return stop(INVALID_PARAMETER, format!("{name} of a switch does not change"));
        }
    }
    if sent.get("ElementName").as_text() == Some("") {
        return stop(INVALID_PARAMETER, "a switch has a name");
    }
    let plan = Plan::of(state, "ModifySystemSettings", None, move |state| {
        if let Some(row) = state.store.get_mut(&format!("Microsoft:{id}")) {
            for (name, value) in sent.properties().iter().filter(|(name, _)| *name != "InstanceID") {
                match value {
                    Value::Array(all) if all.is_empty() => {}
                    Value::Array(all) => drop(row.set(name, Value::Array(all[..1].to_vec()))),
                    other => drop(row.set(name, other.clone())),
                }
            }
        }
        Ok(())
    });
    state.begin(plan)
}

/// DestroySystem: machines that were plugged in are plugged into nothing.
pub(crate) fn destroy(state: &mut State, input: &Input<'_>) -> Result<Parameters, Stop> {
    let path = input.reference("AffectedSystem")?;
    if !path.class.eq_ignore_ascii_case(SWITCH) {
        return stop(INVALID_PARAMETER, format!("{} is no switch", path.class));
    }
    let id = changeable(state, key(path, "Name").unwrap_or_default())?;
    let plan = Plan::of(state, "DestroySystem", None, move |state| {
        let name = state.switch_name(&id);
        for connection in state.store.of_class(EPASD) {
            let path = first_text(&connection, "HostResource").unwrap_or_default();
            let ours = state.owner_machine(store::id(&connection)).is_some()
                && state.switch_by_text(path).as_deref() == Some(&id);
            if ours && let Some(row) = state.store.get_mut(store::id(&connection)) {
                row.set("HostResource", Value::texts(Vec::<String>::new()));
                row.set("LastKnownSwitchName", Value::text(name.as_str()));
            }
        }
        state.remove_host_adapters(&id);
        state.unbind_cards(&id);
        state.store.remove_owned(&format!("Microsoft:{id}"));
        state.switches.remove(&id.to_uppercase());
        Ok(())
    });
    state.begin(plan)
}

/// AddResourceSettings: another port.
pub(crate) fn add(state: &mut State, input: &Input<'_>) -> Result<Parameters, Stop> {
    let row = state.setting_at(input.reference("AffectedConfiguration")?)?;
    let id = changeable(state, paths::guid(store::id(row)))?;
    let ports: Vec<Instance> = input
        .instances("ResourceSettings")?
        .into_iter()
        .cloned()
        .collect();
    for port in &ports {
        let to = leads(state, port)?;
        let owner = format!("Microsoft:{id}");
        let rows = state.store.owned_of(&owner, EPASD);
        let there = rows
            .into_iter()
            .any(|row| state.leads_to_host(row) == (to == Leads::Host));
        if there {
            return stop(INVALID_PARAMETER, "the switch has such a port");
        }
    }
    let plan = Plan::of(state, "AddResourceSettings", None, move |state| {
        for port in ports {
            add_port(state, &id, &port);
        }
        Ok(())
    });
    state.begin(plan)
}

/// RemoveResourceSettings: a port less.
pub(crate) fn remove(state: &mut State, input: &Input<'_>) -> Result<Parameters, Stop> {
    let mut gone: Vec<(String, String, bool)> = Vec::new();
    for path in input.references("ResourceSettings")? {
        let row = state.setting_at(path)?;
        let id = changeable(state, paths::guid(paths::owner(store::id(row))))?;
        let host = state.leads_to_host(row);
        gone.push((store::id(row).to_owned(), id, host));
    }
    let plan = Plan::of(state, "RemoveResourceSettings", None, move |state| {
        for (row, id, host) in gone {
            state.store.remove(&row);
            if host {
                state.remove_host_adapters(&id);
            } else {
                state.unbind_cards(&id);
            }
        }
        Ok(())
    });
    state.begin(plan)
}

impl State {
    /// Whether a port of a switch leads to the host. The path of a card names the host's class too, among its keys.
    fn leads_to_host(&self, port: &Instance) -> bool {
        first_text(port, "HostResource")
            .and_then(|path| paths::read(path, self.computer()))
            .is_some_and(|path| path.class.eq_ignore_ascii_case("Msvm_ComputerSystem"))
    }

    /// The name of a switch.
    pub(crate) fn switch_name(&self, id: &str) -> String {
        let row = self.store.get(&format!("Microsoft:{id}"));
        row.map(|row| text(row, "ElementName").to_owned())
            .unwrap_or_default()
    }

    /// The switch that the text of a path leads to.
    pub(crate) fn switch_by_text(&self, path: &str) -> Option<String> {
        let path: Path = paths::read(path, self.computer())?;
        let fits = path.class.eq_ignore_ascii_case(SWITCH)
            && key(&path, "CreationClassName").is_some_and(|class| class.eq_ignore_ascii_case(SWITCH));
        let name = key(&path, "Name").filter(|_| fits)?;
        self.switches
            .get(&name.to_uppercase())
            .map(|switch| switch.id.clone())
    }

    /// Whether the switch of a connection divides its bandwidth.
    pub(crate) fn has_bandwidth(&self, connection: &Instance) -> bool {
        first_text(connection, "HostResource")
            .and_then(|path| self.switch_by_text(path))
            .and_then(|id| self.store.get(&format!("Microsoft:{id}")))
            .is_some_and(|row| matches!(number(row, "BandwidthReservationMode"), 1 | 2))
    }

    /// The rows of Msvm_VirtualEthernetSwitch.
    pub(crate) fn switch_rows(&self) -> Vec<Instance> {
        let all = self.switches.values();
        all.map(|switch| {
            Row::of(SWITCH)
                .text("CreationClassName", SWITCH)
                .text("Name", &switch.id)
                .text("ElementName", self.switch_name(&switch.id))
                .text("Caption", "Virtual Switch")
                .text("Description", "Microsoft Virtual Switch")
                .number("EnabledState", 5)
                .number("RequestedState", 12)
                .number("HealthState", 5)
                .numbers("OperationalStatus", &[2])
                .number("MaxIOVOffloads", 0)
                .number("MaxVMQOffloads", 0)
                .done()
        })
        .collect()
    }
}
