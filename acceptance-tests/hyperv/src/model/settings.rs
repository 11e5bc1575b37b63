//! What may be said of a machine's own setting (Msvm_VirtualSystemSettingData): which properties, in which state, with which
//! values.

use crate::cim::{Instance, Value};

use super::codes::{FAILED, Failure, INVALID_PARAMETER, INVALID_STATE, NOT_SUPPORTED, Stop, stop};
use super::paths;
use super::setup::Build;
use super::state::State;
use super::store;
use super::time::is_interval;

/// Properties that change in any state.
const ANY_STATE: [&str; 14] = [
    "ElementName",
    "Notes",
    "AutomaticStartupAction",
    "AutomaticStartupActionDelay",
    "AutomaticStartupActionSequenceNumber",
    "AutomaticShutdownAction",
    "AutomaticRecoveryAction",
    "AutomaticCriticalErrorAction",
    "AutomaticCriticalErrorActionTimeout",
    "UserSnapshotType",
    "AutomaticSnapshotsEnabled",
    "LockOnDisconnect",
    "EnhancedSessionTransportType",
    "TurnOffOnGuestRestart",
];

/// Properties that change while the machine is off.
const NEEDS_OFF: [&str; 22] = [
    "SecureBootEnabled",
    "SecureBootTemplateId",
    "BootOrder",
    "BootSourceOrder",
    "VirtualNumaEnabled",
    "NetworkBootPreferredProtocol",
    "PauseAfterBootFailure",
    "ConsoleMode",
    "BIOSNumLock",
    "BIOSGUID",
    "BIOSSerialNumber",
    "BaseBoardSerialNumber",
    "ChassisSerialNumber",
    "ChassisAssetTag",
    "SnapshotDataRoot",
    "SwapFileDataRoot",
    "LowMmioGapSize",
    "HighMmioGapSize",
    "GuestControlledCacheTypes",
    "IncrementalBackupEnabled",
    "AllowFullSCSICommandSet",
    "EnableHibernation",
];

/// Properties that are said when the machine is defined, and never again.
const ONCE: [&str; 6] = [
    "VirtualSystemSubType",
    "ConfigurationDataRoot",
    "LogDataRoot",
    "SuspendDataRoot",
    "GuestStateDataRoot",
    "Version",
];

/// The templates of secure boot: Windows, UEFI certificate authority, open source shielded.
pub(crate) const TEMPLATES: [&str; 3] = [
    "1734C6E8-3154-4DDA-BA5F-A874CC483422",
    "272E7447-90A4-4563-A4B9-8E4AB00526CE",
    "4292AE2B-EE2C-42B5-A969-DD8F8689F6F3",
];

/// What is to become of a setting: properties, or the failure that its job ends with.
pub(crate) type Changes = Result<Vec<(String, Value)>, Failure>;

/// For what properties are said.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose<'a> {
    /// A new machine of this generation.
    Define(u8),
    /// A machine that is there.
    Modify(&'a str),
}

fn known(list: &[&'static str], name: &str) -> Option<&'static str> {
    list.iter()
        .find(|known| known.eq_ignore_ascii_case(name))
        .copied()
}

/// Judges what was sent.
pub(crate) fn judge(state: &State, sent: &Instance, purpose: Purpose<'_>) -> Result<Changes, Stop> {
    let mut changes = Vec::new();
    let mut failure = None;
    for (name, value) in sent.properties() {
        if value.is_null() || name.eq_ignore_ascii_case("InstanceID") {
            continue;
        }
        let found = known(&ANY_STATE, name).or_else(|| known(&NEEDS_OFF, name));
        let property = match (found, known(&ONCE, name), purpose) {
            (Some(name), ..) | (None, Some(name), Purpose::Define(_)) => name,
            // Over WS-Management a whole setting that is sent back ends its job so: what is read only is in it.
            (None, None, Purpose::Modify(_)) => {
                failure = Some(format!("{name} is read only"));
                continue;
            }
            (None, None, Purpose::Define(_)) => continue,
            (None, Some(name), Purpose::Modify(_)) => {
                if failure.is_none() && !is_whole(sent) {
                    return stop(
                        INVALID_PARAMETER,
                        format!("{name} is said once, when the machine is defined"),
                    );
                }
                continue;
            }
        };
        if let Err(text) = acceptable(state, property, value, purpose)? {
            failure = Some(text);
        }
        match (property, value) {
            ("Notes", Value::Array(all)) if all.is_empty() => {}
            ("Notes", Value::Array(all)) => {
                changes.push((property.to_owned(), Value::Array(all[..1].to_vec())));
            }
            _ => changes.push((property.to_owned(), value.clone())),
        }
    }
    if let Some(text) = failure {
        return Ok(Err(Failure { code: FAILED, text }));
    }
    if let Purpose::Modify(machine) = purpose {
        let condition = state.machine(machine).map(super::machine::Machine::condition);
        let blocked = changes.iter().find(|(name, _)| known(&NEEDS_OFF, name).is_some());
        if let (Some((name, _)), false) = (blocked, condition == Some(super::machine::Condition::Off)) {
            return stop(INVALID_STATE, format!("{name} needs the machine off"));
        }
    }
    Ok(Ok(changes))
}

/// Whether somebody sent back what they had read.
fn is_whole(sent: &Instance) -> bool {
    [
        "VirtualSystemIdentifier",
        "VirtualSystemType",
        "CreationTime",
        "ConfigurationID",
    ]
    .iter()
    .any(|name| !sent.get(name).is_null())
}

/// Whether a value is one that the property takes. What only the job finds out is the inner error.
fn acceptable(
    state: &State,
    property: &str,
    value: &Value,
    purpose: Purpose<'_>,
) -> Result<Result<(), String>, Stop> {
    let refuse = |why: &str| stop(INVALID_PARAMETER, format!("{property}: {why}"));
    let generation = match purpose {
        Purpose::Define(generation) => generation,
        Purpose::Modify(machine) => state.generation(machine),
    };
    let number = value.as_unsigned();
    let text = value.as_text();
    let among = |allowed: std::ops::RangeInclusive<u64>| match number {
        Some(number) if allowed.contains(&number) => Ok(Ok(())),
        _ => refuse("not one of its values"),
    };
    match property {
        "AutomaticSnapshotsEnabled" if !state.setup.build.has_automatic_snapshots() => {
            refuse("this build has no such property")
        }
        "SecureBootTemplateId" if state.setup.build < Build::SERVER_2016 => {
            refuse("this build has no such property")
        }
        "ElementName" if text.is_none_or(str::is_empty) => refuse("a machine has a name"),
        "Notes" => match value {
            Value::Array(all) if all.iter().all(|one| one.as_text().is_some()) => Ok(Ok(())),
            _ => refuse("an array of texts"),
        },
        "AutomaticStartupAction" | "AutomaticShutdownAction" | "AutomaticRecoveryAction" => among(2..=4),
        "UserSnapshotType" => among(2..=5),
        "ConsoleMode" => among(0..=3),
        "NetworkBootPreferredProtocol" => among(4096..=4097),
        "AutomaticStartupActionDelay" | "AutomaticCriticalErrorActionTimeout" => match text {
            Some(text) if is_interval(text) => Ok(Ok(())),
            _ => Ok(Err(format!("{property} is no interval of CIM"))),
        },
        "SecureBootEnabled" if generation == 1 && value.as_boolean() == Some(true) => {
            refuse("the first generation has no secure boot")
        }
        "SecureBootTemplateId" => {
            let template =
                text.is_some_and(|text| TEMPLATES.iter().any(|known| known.eq_ignore_ascii_case(text)));
            if generation == 1 || !template {
                refuse("no such template here")
            } else {
                Ok(Ok(()))
            }
        }
        "Version" => match text {
            Some(text) if state.setup.build.versions().contains(&text) => Ok(Ok(())),
            _ => refuse("this build has no such version"),
        },
        "BootOrder" => {
            let mut order: Vec<u64> = value.each().iter().filter_map(Value::as_unsigned).collect();
            order.sort_unstable();
            if generation == 1 && order != [0, 1, 2, 3] {
                refuse("all four, once each")
            } else {
                Ok(Ok(()))
            }
        }
        "BootSourceOrder" => boot_sources(state, value, purpose),
        _ => Ok(Ok(())),
    }
}

/// Paths of boot sources of this machine, each once.
fn boot_sources(state: &State, value: &Value, purpose: Purpose<'_>) -> Result<Result<(), String>, Stop> {
    let Purpose::Modify(machine) = purpose else {
        return stop(
            INVALID_PARAMETER,
            "BootSourceOrder: a new machine has nothing to boot from",
        );
    };
    if state.generation(machine) == 1 {
        return stop(
            INVALID_PARAMETER,
            "BootSourceOrder: the first generation has none",
        );
    }
    let Value::Array(paths) = value else {
        return stop(INVALID_PARAMETER, "BootSourceOrder is an array");
    };
    let mut seen = Vec::new();
    for path in paths {
        let row = state.setting_by_text(path.as_text().unwrap_or_default())?;
        let id = store::id(row).to_uppercase();
        let own = paths::guid(paths::owner(&id)).eq_ignore_ascii_case(machine);
        if row.class != "Msvm_BootSourceSettingData" || !own || seen.contains(&id) {
            return stop(
                INVALID_PARAMETER,
                format!("BootSourceOrder: {id} is none of this machine, or twice"),
            );
        }
        seen.push(id);
    }
    Ok(Ok(()))
}

/// Writes changes into a row, paths in the form of the host.
pub(crate) fn apply(state: &mut State, id: &str, changes: Vec<(String, Value)>) -> Result<(), Failure> {
    let computer = state.computer().to_owned();
    let Some(row) = state.store.get_mut(id) else {
        return super::codes::fail(FAILED, format!("{id} has gone"));
    };
    for (name, value) in changes {
        let value = if name == "BootSourceOrder" {
            normal(&computer, &value)
        } else {
            value
        };
        row.set(&name, value);
    }
    Ok(())
}

/// Paths as the host writes them.
pub(crate) fn normal(computer: &str, value: &Value) -> Value {
    let one = |value: &Value| {
        let path = value.as_text().and_then(|text| paths::read(text, computer));
        path.map_or_else(|| value.clone(), |path| paths::value(computer, &path))
    };
    match value {
        Value::Array(all) => Value::Array(all.iter().map(one).collect()),
        other => one(other),
    }
}

/// What a generation is called, if it is one.
pub(crate) fn generation(sent: &Instance) -> Result<u8, Stop> {
    match store::text(sent, "VirtualSystemSubType") {
        "" | "Microsoft:Hyper-V:SubType:1" => Ok(1),
        "Microsoft:Hyper-V:SubType:2" => Ok(2),
        other => stop(NOT_SUPPORTED, format!("no generation {other}")),
    }
}
