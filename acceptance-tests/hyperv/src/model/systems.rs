//! Machines come and go: DefineSystem, ModifySystemSettings, DestroySystem.

use crate::cim::{Instance, Value};
use crate::contract::Parameters;

use super::codes::{
    FAILED, FILE_NOT_FOUND, Failure, INVALID_PARAMETER, INVALID_STATE, Input, NOT_SUPPORTED, Stop, fail, stop,
};
use super::jobs::Plan;
use super::machine::{Condition, Machine};
use super::paths::{self, key};
use super::row::Row;
use super::settings::{self, Purpose, TEMPLATES};
use super::setup::Edition;
use super::state::State;
use super::store::{self, text};
use super::time::{interval, stamp};
use super::{processors, snapshots};

/// VSMS.DefineSystem.
pub(crate) fn define(state: &mut State, input: &Input<'_>) -> Result<Parameters, Stop> {
    let sent = input
        .instance("SystemSettings", "Msvm_VirtualSystemSettingData")?
        .clone();
    if !input.get("ReferenceConfiguration").is_null() {
        return stop(NOT_SUPPORTED, "this host defines nothing after another machine");
    }
    let generation = settings::generation(&sent)?;
    let changes = settings::judge(state, &sent, Purpose::Define(generation))?;
    let resources: Vec<Instance> = match input.get("ResourceSettings") {
        Value::Null => Vec::new(),
        Value::Array(all) if all.is_empty() => Vec::new(),
        _ => input
            .instances("ResourceSettings")?
            .into_iter()
            .cloned()
            .collect(),
    };
    for one in &resources {
        if one.class != "Msvm_MemorySettingData" && one.class != "Msvm_ProcessorSettingData" {
            return stop(INVALID_PARAMETER, format!("{} has no parent yet", one.class));
        }
    }
    let id = state.setup.ids.next_guid();
    let mut plan = Plan::of(state, "DefineSystem", Some(&id), {
        let id = id.clone();
        move |state| {
            let changes = changes?;
            create(state, &id, generation, changes)?;
            for resource in &resources {
                if let Err(failure) = processors::apply_to_new(state, &id, resource) {
                    remove(state, &id);
                    return Err(failure);
                }
            }
            state.affects(paths::system("Msvm_ComputerSystem", &id), 5);
            Ok(())
        }
    });
    plan.output.insert(
        "ResultingSystem".to_owned(),
        Value::Reference(paths::system("Msvm_ComputerSystem", &id)),
    );
    state.begin(plan)
}

/// Makes a machine of these properties.
pub(crate) fn create(
    state: &mut State,
    id: &str,
    generation: u8,
    changes: Vec<(String, Value)>,
) -> Result<(), Failure> {
    let mut row = fresh(state, id, generation);
    let said_root = changes.iter().any(|(name, _)| name == "ConfigurationDataRoot");
    for (name, value) in changes {
        row.set(&name, value);
    }
    let root = text(&row, "ConfigurationDataRoot").to_owned();
    for name in [
        "SnapshotDataRoot",
        "SwapFileDataRoot",
        "LogDataRoot",
        "SuspendDataRoot",
        "GuestStateDataRoot",
    ] {
        if text(&row, name).is_empty() {
            row.set(name, Value::text(root.as_str()));
        }
    }
    let folder = format!(r"{}\Virtual Machines", root.trim_end_matches('\\'));
    let kinds: &[&str] = if generation == 2 {
        &["vmcx", "VMRS", "vmgs"]
    } else {
        &["vmcx", "VMRS"]
    };
    match state.make_folder(&folder) {
        Ok(()) => {
            for kind in kinds {
                let file = format!(r"{folder}\{id}.{kind}");
                if let Err(error) = state.write_file(&file, b"") {
                    return fail(FAILED, format!("{file}: {error}"));
                }
            }
        }
        Err(error) if said_root => return fail(FILE_NOT_FOUND, format!("{folder}: {error}")),
        Err(_) => {}
    }
    row.set(
        "ConfigurationFile",
        Value::text(format!(r"Virtual Machines\{id}.vmcx")),
    );
    if generation == 2 {
        row.set(
            "GuestStateFile",
            Value::text(format!(r"Virtual Machines\{id}.vmgs")),
        );
    }
    state.store.put(row);
    for row in state.contents(id, generation) {
        state.store.put(row);
    }
    let machine = Machine::new(id, state.default_guest.clone(), state.now);
    state.machines.insert(id.to_uppercase(), machine);
    Ok(())
}

/// The setting of a new machine of which nothing was said.
fn fresh(state: &mut State, id: &str, generation: u8) -> Instance {
    let build = state.setup.build;
    let serial = state.setup.ids.next_guid();
    let bios = state.setup.ids.next_guid();
    let mut row = Row::of("Msvm_VirtualSystemSettingData")
        .text("InstanceID", format!("Microsoft:{id}"))
        .text("Caption", "Virtual Machine Settings")
        .text("Description", "Active settings for the virtual machine")
        .text("ElementName", "New Virtual Machine")
        .text("VirtualSystemIdentifier", id)
        .text("VirtualSystemType", "Microsoft:Hyper-V:System:Realized")
        .text(
            "VirtualSystemSubType",
            format!("Microsoft:Hyper-V:SubType:{generation}"),
        )
        .text("ConfigurationID", id)
        .text("CreationTime", stamp(state.now))
        .text("Version", build.versions().last().copied().unwrap_or("9.0"))
        .texts("Notes", [""])
        .text("ConfigurationDataRoot", &state.setup.default_root)
        .number("AutomaticStartupAction", 3)
        .text("AutomaticStartupActionDelay", interval(std::time::Duration::ZERO))
        .number("AutomaticShutdownAction", 3)
        .number("AutomaticRecoveryAction", 3)
        .number("AutomaticCriticalErrorAction", 1)
        .number("UserSnapshotType", 3)
        .flag("VirtualNumaEnabled", true)
        .flag("IsSaved", false)
        .flag("LockOnDisconnect", false)
        .flag("IncrementalBackupEnabled", false)
        .flag("TurnOffOnGuestRestart", false)
        .flag("BIOSNumLock", false)
        .flag("GuestControlledCacheTypes", false)
        .number("LowMmioGapSize", 128)
        .number("HighMmioGapSize", 512)
        .number("EnhancedSessionTransportType", 0)
        .number("ConsoleMode", 0)
        .text("BIOSGUID", format!("{{{bios}}}"))
        .text("BIOSSerialNumber", &serial)
        .text("BaseBoardSerialNumber", &serial)
        .text("ChassisSerialNumber", &serial)
        .text("ChassisAssetTag", &serial);
    if build.has_automatic_snapshots() {
        row = row
            .flag(
                "AutomaticSnapshotsEnabled",
                state.setup.edition == Edition::Client,
            )
            .flag("IsAutomaticSnapshot", false);
    }
    if generation == 2 {
        row.flag("SecureBootEnabled", true)
            .text("SecureBootTemplateId", TEMPLATES[0].to_lowercase())
            .texts("BootSourceOrder", Vec::<String>::new())
            .number("NetworkBootPreferredProtocol", 4096)
            .flag("PauseAfterBootFailure", false)
            .done()
    } else {
        row.flag("SecureBootEnabled", false)
            .numbers("BootOrder", &[1, 2, 3, 0])
            .done()
    }
}

/// VSMS.ModifySystemSettings, of a machine and of a checkpoint.
pub(crate) fn modify(state: &mut State, input: &Input<'_>) -> Result<Parameters, Stop> {
    let sent = input
        .instance("SystemSettings", "Msvm_VirtualSystemSettingData")?
        .clone();
    let id = store::id(&sent).to_owned();
    let Some(row) = state
        .store
        .get(&id)
        .filter(|row| row.class == "Msvm_VirtualSystemSettingData")
    else {
        return stop(INVALID_PARAMETER, format!("no machine's setting {id:?}"));
    };
    let id = store::id(row).to_owned();
    let machine = text(row, "VirtualSystemIdentifier").to_owned();
    let of_checkpoint = !text(row, "VirtualSystemType").ends_with("System:Realized");
    let foreign = sent.properties().keys().find(|name| {
        !["InstanceID", "ElementName", "Notes"]
            .iter()
            .any(|free| free.eq_ignore_ascii_case(name))
    });
    if let (true, Some(name)) = (of_checkpoint, foreign) {
        return stop(INVALID_STATE, format!("{name} of a checkpoint does not change"));
    }
    let changes = settings::judge(state, &sent, Purpose::Modify(&machine))?;
    state.free(&machine)?;
    let plan = Plan::of(state, "ModifySystemSettings", Some(&machine), move |state| {
        settings::apply(state, &id, changes?)
    });
    state.begin(plan)
}

/// VSMS.DestroySystem.
pub(crate) fn destroy(state: &mut State, input: &Input<'_>) -> Result<Parameters, Stop> {
    let id = state.machine_at(input.reference("AffectedSystem")?)?;
    state.free(&id)?;
    let machine = state
        .machine(&id)
        .map(|machine| (machine.condition(), machine.merges));
    match machine {
        Some((Condition::Off | Condition::Saved, 0)) => {}
        Some((Condition::Off | Condition::Saved, _)) => {
            return stop(INVALID_STATE, "its disks are still being merged");
        }
        _ => return stop(INVALID_STATE, "it is neither off nor saved"),
    }
    let mut plan = Plan::of(state, "DestroySystem", Some(&id), {
        let id = id.clone();
        move |state| {
            snapshots::flatten(state, &id)?;
            remove(state, &id);
            Ok(())
        }
    });
    let count = u32::try_from(snapshots::of(state, &id).len()).unwrap_or(u32::MAX);
    plan.takes += state.setup.pace.merge * count;
    state.begin(plan)
}

/// Takes a machine away, with its settings and the files of its configuration; disks and folders stay.
pub(crate) fn remove(state: &mut State, id: &str) {
    let root = state
        .vssd(id)
        .map(|row| text(row, "ConfigurationDataRoot").to_owned());
    for kind in ["vmcx", "VMRS", "vmgs"] {
        let file = root
            .as_ref()
            .map(|root| format!(r"{}\Virtual Machines\{id}.{kind}", root.trim_end_matches('\\')));
        if let Some(real) = file.and_then(|file| state.real(&file)) {
            // One that somebody has taken away already is as gone as it should be.
            let _ = std::fs::remove_file(real);
        }
    }
    for snapshot in snapshots::of(state, id) {
        state.store.remove_owned(&format!("Microsoft:{snapshot}"));
        state.snapshots.remove(&snapshot);
    }
    state.store.remove_owned(&format!("Microsoft:{id}"));
    state.machines.remove(&id.to_uppercase());
    state.cluster_lost(id);
}

/// The machine that a reference to a setting belongs to, if that setting is a machine's own.
pub(crate) fn configuration(state: &State, path: &crate::cim::Path) -> Result<String, Stop> {
    let row = state.setting_at(path)?;
    let realised = text(row, "VirtualSystemType").ends_with("System:Realized");
    if row.class != "Msvm_VirtualSystemSettingData" || !realised {
        let id = key(path, "InstanceID").unwrap_or_default();
        return stop(INVALID_PARAMETER, format!("{id} is not the setting of a machine"));
    }
    Ok(text(row, "VirtualSystemIdentifier").to_owned())
}
