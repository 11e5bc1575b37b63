//! Memory and processors: what they may be, and in which state that may change.

use crate::cim::{Instance, Value};

use super::codes::{FAILED, Failure, INVALID_PARAMETER, INVALID_STATE, Stop, fail, stop};
use super::content::{MEMORY_MAXIMUM, MEMORY_MINIMUM, MEMORY_STEP, PROCESSORS_MAXIMUM};
use super::machine::{Condition, Consent};
use super::setup::Build;
use super::state::{State, needs_off};
use super::store::number;

/// A row with what was sent written over it.
pub(crate) fn over(row: &Instance, sent: &Instance) -> Instance {
    let mut merged = row.clone();
    for (name, value) in sent.properties() {
        if !name.eq_ignore_ascii_case("InstanceID") && !value.is_null() {
            merged.set(name, value.clone());
        }
    }
    merged
}

/// Whether memory may become this, in this state.
pub(crate) fn memory(
    state: &State,
    row: &Instance,
    sent: &Instance,
    condition: Condition,
    machine: &str,
) -> Result<Option<Failure>, Stop> {
    let merged = over(row, sent);
    bounds(&merged)?;
    let dynamic = |row: &Instance| row.get("DynamicMemoryEnabled").as_boolean() == Some(true);
    let changes = |name: &str| merged.get(name) != row.get(name);
    match condition {
        Condition::Off => return Ok(None),
        Condition::Live => {}
        Condition::Saved | Condition::Moving => {
            return stop(INVALID_STATE, "memory needs the machine off or running");
        }
    }
    if changes("DynamicMemoryEnabled") {
        return stop(
            INVALID_STATE,
            "dynamic memory is switched while the machine is off",
        );
    }
    if dynamic(row) {
        let narrower = number(&merged, "Reservation") > number(row, "Reservation")
            || number(&merged, "Limit") < number(row, "Limit");
        if changes("VirtualQuantity") || narrower {
            return stop(
                INVALID_STATE,
                "while it runs, the minimum only falls and the maximum only rises",
            );
        }
        return Ok(None);
    }
    if changes("VirtualQuantity") {
        if state.setup.build < Build::SERVER_2016 {
            return stop(
                INVALID_STATE,
                "this build changes memory while the machine is off",
            );
        }
        if state
            .machine(machine)
            .is_some_and(|machine| machine.guest.memory == Consent::Refused)
        {
            return Ok(Some(Failure {
                code: FAILED,
                text: "the guest did not take the change of memory".to_owned(),
            }));
        }
    }
    Ok(None)
}

fn bounds(row: &Instance) -> Result<(), Stop> {
    let (startup, least, most) = (
        number(row, "VirtualQuantity"),
        number(row, "Reservation"),
        number(row, "Limit"),
    );
    let whole = [startup, least, most]
        .iter()
        .all(|size| size.is_multiple_of(MEMORY_STEP));
    if !whole || !(MEMORY_MINIMUM..=MEMORY_MAXIMUM).contains(&startup) || startup > most {
        return stop(
            INVALID_PARAMETER,
            format!("memory of {startup} MiB, at most {most}, in steps of {MEMORY_STEP}"),
        );
    }
    if row.get("DynamicMemoryEnabled").as_boolean() == Some(true) {
        let buffer = number(row, "TargetMemoryBuffer");
        if least < MEMORY_MINIMUM || least > startup || most > MEMORY_MAXIMUM || !(5..=2000).contains(&buffer)
        {
            return stop(
                INVALID_PARAMETER,
                format!("dynamic memory of {least} to {most} around {startup} MiB"),
            );
        }
    }
    if number(row, "Weight") > 10_000 {
        return stop(INVALID_PARAMETER, "Weight");
    }
    Ok(())
}

/// Whether processors may become this, in this state.
pub(crate) fn processor(
    state: &State,
    row: &Instance,
    sent: &Instance,
    condition: Condition,
) -> Result<Option<Failure>, Stop> {
    let merged = over(row, sent);
    let count = number(&merged, "VirtualQuantity");
    let shares = ["Reservation", "Limit"]
        .iter()
        .all(|name| number(&merged, name) <= 100_000);
    if count == 0 || count > PROCESSORS_MAXIMUM || !shares || number(&merged, "Weight") > 10_000 {
        return stop(INVALID_PARAMETER, format!("{count} processors"));
    }
    if !sent.get("ExposeVirtualizationExtensions").is_null() && state.setup.build < Build::SERVER_2016 {
        return stop(
            INVALID_PARAMETER,
            "this build has no ExposeVirtualizationExtensions",
        );
    }
    needs_off(condition, "a change of processors")?;
    Ok(None)
}

/// Writes memory or processors of a machine that is being defined.
pub(crate) fn apply_to_new(state: &mut State, machine: &str, sent: &Instance) -> Result<(), Failure> {
    let rows = state.store.owned_of(&format!("Microsoft:{machine}"), &sent.class);
    let Some(row) = rows.first().copied().cloned() else {
        return fail(FAILED, format!("a new machine has no {}", sent.class));
    };
    let judged = if sent.class == "Msvm_MemorySettingData" {
        memory(state, &row, sent, Condition::Off, machine)
    } else {
        processor(state, &row, sent, Condition::Off)
    };
    match judged {
        Ok(_) => {
            let mut merged = over(&row, sent);
            merged.set("InstanceID", Value::text(super::store::id(&row)));
            state.store.put(merged);
            Ok(())
        }
        Err(Stop::Code(code, text)) => fail(code, text),
        Err(Stop::Fault(_, text)) => fail(FAILED, text),
    }
}
