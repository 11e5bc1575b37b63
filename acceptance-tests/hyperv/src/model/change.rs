//! VSMS.ModifyResourceSettings and RemoveResourceSettings.

use crate::cim::{Instance, Path, Value};
use crate::contract::{Parameters, WmiFault};

use super::add::{BOOT, EMULATED, EPASD, RASD, SASD, SYNTHETIC, mac, one_file};
use super::codes::{FAILED, Failure, INVALID_PARAMETER, INVALID_STATE, Input, Stop, fail, fault, stop};
use super::jobs::Plan;
use super::machine::{Condition, Consent};
use super::paths;
use super::processors::{self, over};
use super::settings::normal;
use super::setup::Build;
use super::state::{State, needs_off};
use super::store::{self, number, text};

/// VSMS.ModifyResourceSettings.
pub(crate) fn modify(state: &mut State, input: &Input<'_>) -> Result<Parameters, Stop> {
    let sent: Vec<Instance> = input
        .instances("ResourceSettings")?
        .into_iter()
        .cloned()
        .collect();
    let mut named = Vec::new();
    let mut failure = None;
    let mut only = None;
    for one in &sent {
        let row = state
            .setting_at(&paths::setting(&one.class, store::id(one)))?
            .clone();
        let (machine, condition) = state.changeable(store::id(&row))?;
        if only.as_ref().is_some_and(|only| *only != machine) {
            return stop(INVALID_PARAMETER, "settings of two machines");
        }
        failure = failure.or(judge(state, &row, one, condition, &machine)?);
        only = Some(machine);
        named.push(Value::Reference(paths::setting(&row.class, store::id(&row))));
    }
    let machine = only.unwrap_or_default();
    state.free(&machine)?;
    let mut plan = Plan::of(state, "ModifyResourceSettings", Some(&machine), {
        let machine = machine.clone();
        move |state| match failure {
            Some(failure) => Err(failure),
            None => sent.iter().try_for_each(|one| write(state, &machine, one)),
        }
    });
    plan.output
        .insert("ResultingResourceSettings".to_owned(), Value::Array(named));
    state.begin(plan)
}

/// Whether a setting may become this; and what its job will fail with.
fn judge(
    state: &State,
    row: &Instance,
    sent: &Instance,
    condition: Condition,
    machine: &str,
) -> Result<Option<Failure>, Stop> {
    if condition == Condition::Moving {
        return stop(INVALID_STATE, "it is on its way to another state");
    }
    for name in ["Parent", "ResourceType", "ResourceSubType", "AddressOnParent"] {
        let (wanted, there) = (sent.get(name), row.get(name));
        if !wanted.is_null() && normal(state.computer(), wanted) != *there {
            return stop(INVALID_PARAMETER, format!("{name} does not change"));
        }
    }
    match row.class.as_str() {
        "Msvm_MemorySettingData" => return processors::memory(state, row, sent, condition, machine),
        "Msvm_ProcessorSettingData" => return processors::processor(state, row, sent, condition),
        SASD => medium(state, row, sent, condition)?,
        SYNTHETIC | EMULATED => {
            if !sent.get("Address").is_null() || !sent.get("StaticMacAddress").is_null() {
                needs_off(condition, "an address of an adapter")?;
                if over(row, sent).get("StaticMacAddress").as_boolean() == Some(true) {
                    mac(&over(row, sent))?;
                }
            }
        }
        EPASD => {
            state.connected_switch(sent)?;
        }
        "Msvm_SerialPortSettingData" => {
            needs_off(condition, "a serial port")?;
            let pipe = match sent.get("Connection") {
                Value::Null => true,
                Value::Array(all) if all.len() == 1 => all[0]
                    .as_text()
                    .is_some_and(|pipe| pipe.is_empty() || pipe.starts_with(r"\\.\pipe\")),
                _ => false,
            };
            if !pipe {
                return stop(INVALID_PARAMETER, "Connection is an array of one named pipe");
            }
        }
        class if class.ends_with("ComponentSettingData") => {
            if !matches!(sent.get("EnabledState").as_unsigned(), None | Some(2 | 3)) {
                return stop(INVALID_PARAMETER, "EnabledState");
            }
        }
        "Msvm_SyntheticDisplayControllerSettingData" => needs_off(condition, "a screen")?,
        RASD => {}
        class => return stop(INVALID_PARAMETER, format!("{class} is no resource")),
    }
    if condition == Condition::Saved {
        return stop(INVALID_STATE, "a saved machine keeps the devices that it has");
    }
    Ok(None)
}

fn medium(state: &State, row: &Instance, sent: &Instance, condition: Condition) -> Result<(), Stop> {
    if sent.get("HostResource").is_null() {
        return Ok(());
    }
    let disk = text(row, "ResourceSubType").ends_with("Virtual Hard Disk");
    one_file(sent, if disk { 17 } else { 16 })?;
    if disk {
        needs_off(condition, "another file for a disk")?;
    }
    if state.store.get(&state.parent_of(row)).is_none() {
        return stop(INVALID_PARAMETER, "its drive has gone");
    }
    Ok(())
}

/// Writes what was sent.
fn write(state: &mut State, machine: &str, sent: &Instance) -> Result<(), Failure> {
    let Some(row) = state.store.get(store::id(sent)).cloned() else {
        return fail(FAILED, format!("{} has gone", store::id(sent)));
    };
    let mut merged = over(&row, sent);
    let resource = normal(state.computer(), merged.get("HostResource"));
    merged.set("HostResource", resource);
    match row.class.as_str() {
        SASD => {
            if let Some(machine) = state.machine(machine)
                && !sent.get("HostResource").is_null()
                && machine.is_on()
                && machine.guest.tray == Consent::Refused
            {
                return fail(FAILED, "the guest has locked the tray");
            }
            state.check_medium(&merged, machine)?;
        }
        SYNTHETIC | EMULATED => {
            let fixed = merged.get("StaticMacAddress").as_boolean() == Some(true);
            let address = if fixed {
                text(&merged, "Address").to_uppercase()
            } else if row.get("StaticMacAddress").as_boolean() == Some(true) {
                "000000000000".to_owned()
            } else {
                text(&row, "Address").to_owned()
            };
            merged.set("Address", Value::Text(address));
        }
        EPASD => {
            // An array without elements says nothing, as everywhere.
            if matches!(sent.get("HostResource"), Value::Array(all) if all.is_empty()) {
                merged.set("HostResource", row.get("HostResource").clone());
            }
            if let Ok(Some(name)) = state.connected_switch(sent) {
                merged.set("LastKnownSwitchName", Value::Text(name));
            }
        }
        _ => {}
    }
    state.affects(paths::setting(&row.class, store::id(&row)), 0);
    state.store.put(merged);
    Ok(())
}

/// VSMS.RemoveResourceSettings.
pub(crate) fn remove(state: &mut State, input: &Input<'_>) -> Result<Parameters, Stop> {
    let paths: Vec<Path> = input
        .references("ResourceSettings")?
        .into_iter()
        .cloned()
        .collect();
    let mut ids = Vec::new();
    let mut only = None;
    for path in &paths {
        let row = state.setting_at(path)?.clone();
        let (machine, condition) = state.changeable(store::id(&row))?;
        if only.as_ref().is_some_and(|only| *only != machine) {
            return stop(INVALID_PARAMETER, "settings of two machines");
        }
        if state.jobs.busy(&machine) {
            return stop(INVALID_STATE, "a job still works on it");
        }
        removable(state, &row, condition, &machine)?;
        ids.push(store::id(&row).to_owned());
        only = Some(machine);
    }
    let machine = only.unwrap_or_default();
    state.free(&machine)?;
    let plan = Plan::of(state, "RemoveResourceSettings", Some(&machine), {
        let machine = machine.clone();
        move |state| {
            for id in ids {
                take_out(state, &machine, &id)?;
            }
            Ok(())
        }
    });
    state.begin(plan)
}

fn removable(state: &State, row: &Instance, condition: Condition, machine: &str) -> Result<(), Stop> {
    let id = store::id(row).to_uppercase();
    let owner = format!("Microsoft:{machine}");
    let holds = state
        .store
        .owned(&owner)
        .into_iter()
        .any(|other| state.parent_of(other) == id);
    match (row.class.as_str(), number(row, "ResourceType")) {
        (RASD, 6 | 16 | 17) if holds => {
            return fault(
                WmiFault::FAILED,
                "what is in it has to be taken out before, by a call of its own",
            );
        }
        (RASD, 6) => needs_off(condition, "a SCSI controller")?,
        (RASD, 16 | 17) if state.on_ide(row) => needs_off(condition, "a drive on IDE")?,
        (SASD, _) => {
            let drive = state.store.get(&state.parent_of(row)).cloned();
            let disk = text(row, "ResourceSubType").ends_with("Virtual Hard Disk");
            if disk && drive.is_some_and(|drive| state.on_ide(&drive)) {
                needs_off(condition, "a disk on IDE")?;
            }
        }
        (SYNTHETIC, _) if state.generation(machine) == 2 && state.setup.build >= Build::SERVER_2016 => {}
        (SYNTHETIC | EMULATED, _) => needs_off(condition, "an adapter of this machine")?,
        (RASD, 16 | 17) | (EPASD, _) => {}
        (class, _) => {
            return stop(
                INVALID_PARAMETER,
                format!("{class} is not taken out of a machine"),
            );
        }
    }
    if condition == Condition::Saved {
        return stop(INVALID_STATE, "a saved machine keeps the devices that it has");
    }
    Ok(())
}

fn take_out(state: &mut State, machine: &str, id: &str) -> Result<(), Failure> {
    let Some(row) = state.store.get(id).cloned() else {
        return fail(FAILED, format!("{id} has gone"));
    };
    let image = row.class == SASD && text(&row, "ResourceSubType").ends_with("CD/DVD Disk");
    if image
        && let Some(machine) = state.machine(machine)
        && machine.is_on()
        && machine.guest.tray == Consent::Refused
    {
        return fail(FAILED, "the guest has locked the tray");
    }
    if row.class == SASD && state.machine(machine).is_some_and(super::machine::Machine::is_on) {
        let file = store::first_text(&row, "HostResource")
            .unwrap_or_default()
            .to_owned();
        state.hold(vec![file]);
    }
    let source = state.path_text(BOOT, &format!(r"{id}\B"));
    if let Some(vssd) = state.store.get_mut(&format!("Microsoft:{machine}")) {
        let order: Vec<Value> = vssd.get("BootSourceOrder").each().to_vec();
        if order.contains(&source) {
            let rest = order.into_iter().filter(|one| *one != source).collect();
            vssd.set("BootSourceOrder", Value::Array(rest));
        }
    }
    state.affects(paths::setting(&row.class, id), 6);
    state.store.remove_below(id);
    Ok(())
}
