//! What hangs on a connection: VLAN, security, bandwidth. VSMS.AddFeatureSettings, ModifyFeatureSettings,
//! RemoveFeatureSettings.

use crate::cim::{Instance, Path, Value};
use crate::contract::Parameters;

use super::add::EPASD;
use super::codes::{INVALID_PARAMETER, INVALID_STATE, Input, Stop, WINDOWS_INVALID_PARAMETER, fault, stop};
use super::jobs::Plan;
use super::machine::Condition;
use super::paths;
use super::processors::over;
use super::row::Row;
use super::state::State;
use super::store::{self, number};

/// Classes of features, the id of each kind, and whether a row of it changes in place.
const FEATURES: [(&str, &str, bool); 4] = [
    (
        "Msvm_EthernetSwitchPortVlanSettingData",
        "952C5004-4465-451C-8CB8-FA9AB382B773",
        false,
    ),
    (
        "Msvm_EthernetSwitchPortSecuritySettingData",
        "776E0BA7-94A1-41C8-8F28-951F524251B5",
        true,
    ),
    (
        "Msvm_EthernetSwitchPortBandwidthSettingData",
        "24AD3CE1-69BD-4978-B2AC-DAAD389D699C",
        false,
    ),
    (
        "Msvm_EthernetSwitchPortOffloadSettingData",
        "C885BFD1-ABB7-418F-8163-9F379C9F7166",
        false,
    ),
];

fn kind(class: &str) -> Result<(&'static str, &'static str, bool), Stop> {
    match FEATURES
        .iter()
        .find(|(known, ..)| known.eq_ignore_ascii_case(class))
    {
        Some(found) => Ok(*found),
        None => stop(INVALID_PARAMETER, format!("{class} is no feature of a port")),
    }
}

/// VSMS.AddFeatureSettings.
pub(crate) fn add(state: &mut State, input: &Input<'_>) -> Result<Parameters, Stop> {
    let connection = state.setting_at(input.reference("AffectedConfiguration")?)?;
    if connection.class != EPASD {
        return stop(INVALID_PARAMETER, "features hang on a connection");
    }
    let connection = connection.clone();
    let id = store::id(&connection).to_owned();
    let (machine, condition) = state.changeable(&id)?;
    let mut rows: Vec<Instance> = Vec::new();
    let mut named = Vec::new();
    for sent in input.instances("FeatureSettings")? {
        let (class, feature, _) = kind(&sent.class)?;
        let guid = state.setup.ids.next_guid();
        let mut row = fresh(class).done();
        row = over(&row, sent);
        row.set("InstanceID", Value::text(format!(r"{id}\{feature}\{guid}")));
        check(state, &connection, &row)?;
        let twice = state
            .store
            .owned(&format!("Microsoft:{machine}"))
            .into_iter()
            .chain(&rows)
            .any(|there| {
                there.class == class
                    && store::id(there)
                        .to_uppercase()
                        .starts_with(&format!("{id}\\").to_uppercase())
            });
        if twice {
            return stop(INVALID_PARAMETER, format!("the connection has a {class}"));
        }
        named.push(Value::Reference(paths::setting(class, store::id(&row))));
        rows.push(row);
    }
    settled(state, &machine, condition)?;
    let mut plan = Plan::of(state, "AddFeatureSettings", Some(&machine), move |state| {
        for row in rows {
            state.store.put(row);
        }
        Ok(())
    });
    plan.output
        .insert("ResultingFeatureSettings".to_owned(), Value::Array(named));
    state.begin(plan)
}

/// A feature of which nothing was said.
fn fresh(class: &str) -> Row {
    let row = Row::of(class).text("ElementName", class);
    if class.ends_with("VlanSettingData") {
        row.number("OperationMode", 0)
            .number("AccessVlanId", 0)
            .number("NativeVlanId", 0)
            .numbers("TrunkVlanIdArray", &[])
    } else if class.ends_with("SecuritySettingData") {
        row.flag("AllowMacSpoofing", false)
            .flag("EnableDhcpGuard", false)
            .flag("EnableRouterGuard", false)
            .flag("AllowTeaming", false)
            .flag("AllowIeeePriorityTag", false)
            .number("MonitorMode", 0)
            .number("StormLimit", 0)
            .number("DynamicIPAddressLimit", 0)
    } else {
        row
    }
}

fn settled(state: &State, machine: &str, condition: Condition) -> Result<(), Stop> {
    state.free(machine)?;
    if condition == Condition::Saved {
        return stop(INVALID_STATE, "a saved machine keeps what its ports have");
    }
    Ok(())
}

/// Whether values fit together.
fn check(state: &State, connection: &Instance, row: &Instance) -> Result<(), Stop> {
    if row.class.ends_with("BandwidthSettingData") && !state.has_bandwidth(connection) {
        return fault(WINDOWS_INVALID_PARAMETER, "the switch has no mode for bandwidth");
    }
    if !row.class.ends_with("VlanSettingData") {
        return Ok(());
    }
    let trunk: Vec<u64> = row
        .get("TrunkVlanIdArray")
        .each()
        .iter()
        .filter_map(Value::as_unsigned)
        .collect();
    let (access, native) = (number(row, "AccessVlanId"), number(row, "NativeVlanId"));
    let fits = match number(row, "OperationMode") {
        1 => access <= 4094 && trunk.is_empty(),
        2 => native <= 4094 && !trunk.is_empty() && trunk.iter().all(|id| (1..=4094).contains(id)),
        3 => (1..=4094).contains(&number(row, "PrimaryVlanId")),
        _ => false,
    };
    if fits {
        Ok(())
    } else {
        stop(INVALID_PARAMETER, "no VLAN of these numbers")
    }
}

/// VSMS.ModifyFeatureSettings. What does not change in place is taken without a word, and stays as it is.
pub(crate) fn modify(state: &mut State, input: &Input<'_>) -> Result<Parameters, Stop> {
    let sent: Vec<Instance> = input.instances("FeatureSettings")?.into_iter().cloned().collect();
    let mut changed = Vec::new();
    let mut named = Vec::new();
    let mut only = None;
    for one in &sent {
        let row = state
            .setting_at(&paths::setting(&one.class, store::id(one)))?
            .clone();
        let (_, _, in_place) = kind(&row.class)?;
        let (machine, condition) = state.changeable(store::id(&row))?;
        settled(state, &machine, condition)?;
        if in_place {
            changed.push(over(&row, one));
        }
        named.push(Value::Reference(paths::setting(&row.class, store::id(&row))));
        only = Some(machine);
    }
    let machine = only.unwrap_or_default();
    let mut plan = Plan::of(state, "ModifyFeatureSettings", Some(&machine), move |state| {
        for row in changed {
            state.store.put(row);
        }
        Ok(())
    });
    plan.output
        .insert("ResultingFeatureSettings".to_owned(), Value::Array(named));
    state.begin(plan)
}

/// VSMS.RemoveFeatureSettings.
pub(crate) fn remove(state: &mut State, input: &Input<'_>) -> Result<Parameters, Stop> {
    let paths: Vec<Path> = input
        .references("FeatureSettings")?
        .into_iter()
        .cloned()
        .collect();
    let mut ids = Vec::new();
    let mut only = None;
    for path in &paths {
        let row = state.setting_at(path)?;
        kind(&row.class)?;
        ids.push(store::id(row).to_owned());
        let (machine, condition) = state.changeable(store::id(row))?;
        settled(state, &machine, condition)?;
        only = Some(machine);
    }
    let machine = only.unwrap_or_default();
    let plan = Plan::of(state, "RemoveFeatureSettings", Some(&machine), move |state| {
        for id in ids {
            state.store.remove(&id);
        }
        Ok(())
    });
    state.begin(plan)
}
