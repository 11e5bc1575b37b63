//! Machines change their state: RequestStateChange, and guests that are asked to go down.

use crate::cim::Path;
use crate::contract::{Parameters, WmiFault};

use super::codes::{
    FAILED, FILE_NOT_FOUND, Failure, IN_PROGRESS, IN_USE, INVALID_PARAMETER, INVALID_STATE, Input, LOCKED,
    NOT_READY, OUT_OF_MEMORY, Stop, answer, fail, fault, stop,
};
use super::content::COMPONENTS;
use super::jobs::{Mode, Plan};
use super::machine::{OnShutdown, Power, Services, Way};
use super::paths::key;
use super::snapshots;
use super::state::State;
use super::store::{first_text, number, text};

/// Timeouts are not supported.
const NO_TIMEOUT: u32 = 4098;

/// Msvm_ComputerSystem.RequestStateChange.
pub(crate) fn request(state: &mut State, object: &Path, input: &Input<'_>) -> Result<Parameters, Stop> {
    let id = state.machine_at(object)?;
    let wanted = input.number("RequestedState")?;
    if !input.get("TimeoutPeriod").is_null() {
        return stop(NO_TIMEOUT, "a time-out is not taken");
    }
    state.free(&id)?;
    let Some(machine) = state.machine(&id) else {
        return stop(INVALID_PARAMETER, "it has gone");
    };
    let from = machine.power;
    let wrong = || stop(INVALID_STATE, format!("{wanted} is not the way from {from:?}"));
    let way = match (wanted, from) {
        (2, Power::Off) => Way::Starting,
        (2, Power::Saved | Power::Paused) => Way::Resuming,
        (3, Power::Running | Power::Paused | Power::Saved) | (11, Power::Running | Power::Paused) => {
            Way::Stopping
        }
        (6 | 32769, Power::Running | Power::Paused) => Way::Saving,
        (9 | 32768, Power::Running) => Way::Pausing,
        (4 | 10, Power::Running) => return ask_guest(state, &id, wanted),
        (2 | 3 | 4 | 6 | 9 | 10 | 11 | 32768 | 32769, _) => return wrong(),
        _ => return stop(INVALID_PARAMETER, format!("{wanted} is no state")),
    };
    let mut plan = Plan::of(state, "RequestStateChange", Some(&id), {
        let id = id.clone();
        move |state| arrive(state, &id, wanted, from)
    });
    plan.takes = state.setup.pace.state;
    plan.mode = Mode::Job;
    if let Some(machine) = state.machine_mut(&id) {
        machine.way = Some(way);
        machine.requested = wanted;
    }
    state.begin(plan)
}

/// The older ways to ask the guest: 4 to go down, 10 to come again.
fn ask_guest(state: &mut State, id: &str, wanted: u64) -> Result<Parameters, Stop> {
    let ready = state
        .machine(id)
        .is_some_and(|machine| machine.up && machine.guest.services == Services::Present);
    if !ready {
        return stop(INVALID_STATE, "there is nobody in the guest to ask");
    }
    let mut plan = Plan::of(state, "RequestStateChange", Some(id), {
        let id = id.to_owned();
        move |state| {
            go_down(state, &id, wanted == 10);
            Ok(())
        }
    });
    plan.mode = Mode::Job;
    state.begin(plan)
}

/// The machine's way is at its end.
fn arrive(state: &mut State, id: &str, wanted: u64, from: Power) -> Result<(), Failure> {
    let starts = wanted == 2 && from == Power::Off;
    let checked = if starts || (wanted == 2 && from == Power::Saved) {
        may_start(state, id)
    } else {
        Ok(())
    };
    let now = state.now;
    let checked = checked.and_then(|()| {
        if starts {
            snapshots::automatic(state, id)
        } else {
            Ok(())
        }
    });
    let Some(machine) = state.machine_mut(id) else {
        return fail(FAILED, "the machine has gone");
    };
    machine.way = None;
    machine.requested = 12;
    checked?;
    machine.changed = now;
    match wanted {
        2 => {
            machine.power = Power::Running;
            if from != Power::Paused {
                machine.on_since = now;
                machine.run += 1;
            }
            // A guest that was in memory goes on where it was.
            machine.up = machine.up || from == Power::Saved;
        }
        3 => {
            machine.power = Power::Off;
            machine.run += 1;
            machine.up = false;
            machine.going_down = false;
        }
        11 => {
            machine.power = Power::Running;
            machine.on_since = now;
            machine.run += 1;
            machine.up = false;
            machine.going_down = false;
        }
        9 | 32768 => machine.power = Power::Paused,
        _ => {
            machine.power = Power::Saved;
            machine.run += 1;
            machine.going_down = false;
        }
    }
    if !machine.is_on() {
        let files = state.disks_of(&format!("Microsoft:{id}"));
        state.hold(files);
    }
    let Some(machine) = state.machine(id) else {
        return Ok(());
    };
    let (saved, boots) = (machine.power == Power::Saved, starts || wanted == 11);
    mark_saved(state, id, saved);
    if starts {
        first_start(state, id);
    }
    if boots {
        boot(state, id);
    }
    Ok(())
}

/// Says in the setting whether there is a saved memory.
pub(crate) fn mark_saved(state: &mut State, id: &str, saved: bool) {
    if let Some(row) = state.store.get_mut(&format!("Microsoft:{id}")) {
        row.set("IsSaved", crate::cim::Value::Boolean(saved));
    }
}

/// The guest's services come after a while.
fn boot(state: &mut State, id: &str) {
    let after = state.setup.pace.boot;
    state.later_in_run(id, after, |state, id| {
        if let Some(machine) = state.machine_mut(id) {
            machine.up = machine.guest.services == Services::Present;
        }
    });
}

/// What a first start settles: addresses of adapters that have none, the state of a TPM.
fn first_start(state: &mut State, id: &str) {
    let owner = format!("Microsoft:{id}");
    let without: Vec<String> = state
        .store
        .owned(&owner)
        .into_iter()
        .filter(|row| {
            row.class.ends_with("EthernetPortSettingData") && text(row, "Address") == "000000000000"
        })
        .map(|row| super::store::id(row).to_owned())
        .collect();
    for adapter in without {
        let mac = state.next_mac();
        if let Some(row) = state.store.get_mut(&adapter) {
            row.set("Address", crate::cim::Value::Text(mac));
        }
    }
    let has_tpm = state.tpm_enabled(id);
    if let Some(machine) = state.machine_mut(id)
        && has_tpm
        && machine.tpm.is_none()
    {
        machine.tpm = Some(machine.protector.clone());
    }
}

/// Whether all is there that the machine needs to run.
fn may_start(state: &State, id: &str) -> Result<(), Failure> {
    let owner = format!("Microsoft:{id}");
    let rows = state.store.owned(&owner);
    let mut own = Vec::new();
    for row in rows
        .iter()
        .filter(|row| row.class == "Msvm_StorageAllocationSettingData")
    {
        let path = first_text(row, "HostResource").unwrap_or_default();
        let disk = text(row, "ResourceSubType").ends_with("Virtual Hard Disk");
        let chain = if disk {
            state.chain(path)
        } else {
            vec![path.to_owned()]
        };
        for file in &chain {
            if !state.is_file(file) {
                return fail(
                    FILE_NOT_FOUND,
                    format!("'{file}': the system cannot find the file specified (0x80070002)"),
                );
            }
        }
        let twice = own.iter().any(|there: &String| there.eq_ignore_ascii_case(path));
        if disk && (twice || state.opened_by_other(path, id)) {
            return fail(
                IN_USE,
                format!("'{path}': the process cannot access the file (0x80070020)"),
            );
        }
        if disk {
            own.push(path.to_owned());
        }
    }
    for row in rows
        .iter()
        .filter(|row| row.class == "Msvm_EthernetPortAllocationSettingData")
    {
        let wanted = first_text(row, "HostResource").unwrap_or_default();
        if number(row, "EnabledState") == 2 && !wanted.is_empty() && state.switch_by_text(wanted).is_none() {
            return fail(
                FAILED,
                format!("the virtual switch of an adapter does not exist: {wanted}"),
            );
        }
    }
    let memory = |id: &str| {
        let rows = state
            .store
            .owned_of(&format!("Microsoft:{id}"), "Msvm_MemorySettingData");
        rows.first().map_or(0, |row| number(row, "VirtualQuantity"))
    };
    let used: u64 = state
        .machines
        .values()
        .filter(|other| other.is_on())
        .map(|other| memory(&other.id))
        .sum();
    if used + memory(id) > state.setup.memory {
        return fail(
            OUT_OF_MEMORY,
            "not enough memory in the system to start the virtual machine",
        );
    }
    let processors = state.store.owned_of(&owner, "Msvm_ProcessorSettingData");
    if processors
        .first()
        .is_some_and(|row| number(row, "VirtualQuantity") > state.setup.processors)
    {
        return fail(FAILED, "more virtual processors than the host has logical ones");
    }
    state.tpm_opens(id)
}

/// Msvm_ShutdownComponent.InitiateShutdown and InitiateReboot.
pub(crate) fn initiate(
    state: &mut State,
    object: &Path,
    input: &Input<'_>,
    again: bool,
) -> Result<Parameters, Stop> {
    let name = key(object, "SystemName").unwrap_or_default();
    let device = key(object, "DeviceID").unwrap_or_default();
    let part = COMPONENTS
        .iter()
        .find(|(class, ..)| *class == "Msvm_ShutdownComponent")
        .map_or("", |(_, _, part)| part);
    let Some(machine) = state.machine(name).filter(|machine| machine.is_on()) else {
        return fault(WmiFault::NOT_FOUND, "a machine that is off has no such component");
    };
    let id = machine.id.clone();
    let whole = object.keys.len() == 4 && device.eq_ignore_ascii_case(&format!(r"Microsoft:{id}\{part}"));
    if !whole {
        return fault(WmiFault::NOT_FOUND, "four keys lead to a component");
    }
    if machine.power == Power::Paused {
        return stop(INVALID_STATE, "it is paused");
    }
    if !machine.up || machine.guest.services == Services::Absent {
        return stop(NOT_READY, "the guest's service does not answer");
    }
    if machine.going_down {
        return stop(IN_PROGRESS, "it is going down already");
    }
    let force = input.get("Force").as_boolean() == Some(true);
    if machine.guest.asked == OnShutdown::Locked && !force {
        return stop(LOCKED, "somebody is logged in");
    }
    go_down(state, &id, again);
    Ok(answer(0))
}

/// The guest was asked, and does what it does. Meanwhile nothing of it is to be seen.
pub(crate) fn go_down(state: &mut State, id: &str, again: bool) {
    let after = state.setup.pace.shutdown;
    let Some(machine) = state
        .machine_mut(id)
        .filter(|machine| machine.guest.asked != OnShutdown::Ignores)
    else {
        return;
    };
    machine.going_down = true;
    state.later_in_run(id, after, move |state, id| {
        let now = state.now;
        let Some(machine) = state.machine_mut(id) else {
            return;
        };
        machine.going_down = false;
        machine.up = false;
        if again {
            boot(state, id);
            return;
        }
        machine.power = Power::Off;
        machine.changed = now;
        machine.run += 1;
        let files = state.disks_of(&format!("Microsoft:{id}"));
        state.hold(files);
    });
}
