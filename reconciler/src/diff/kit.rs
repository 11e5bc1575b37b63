//! What a machine has besides processors, memory, disks and NICs: chipset, display, serial number, CD drives, and
//! what is kept with it.

use std::collections::BTreeMap;

use labyard_driver::ids::MediaKey;
use labyard_driver::spec::{CpuModel, Graphics, MachineType, Nested};

use super::machine::{attribute, place};
use super::{Change, Disturbance, MediumChange, What};
use crate::desired::{DesiredDrive, DesiredImage, DesiredMachine, desired_cpu};
use crate::room::Need;
use crate::view::{Content, MachineView, MediumView};

const NEXT_START: &str = "a running machine takes it at its next start";

/// Chipset, processor, display and serial number.
pub(super) fn hardware(
    desired: &DesiredMachine,
    current: &MachineView,
    restart: Disturbance,
    changes: &mut Vec<Change>,
) {
    let there = &current.hardware;
    if let Some(wanted) = desired.machine_type
        && there.machine_type != Some(wanted)
    {
        let why = "another chipset is another machine to the guest: its devices have other addresses";
        let from = there.machine_type.map_or("other", machine_type_text);
        let to = machine_type_text(wanted);
        changes.push(attribute("machine_type", from, to, Disturbance::Replace, why));
    }
    cpu(desired, current, restart, changes);
    if desired.graphics != there.graphics {
        let (from, to) = (graphics_text(there.graphics), graphics_text(desired.graphics));
        changes.push(attribute("graphics", from, to, restart, NEXT_START));
    }
    if let Some(wanted) = &desired.serial
        && there.serial.as_ref() != Some(wanted)
    {
        let from = there.serial.as_deref().unwrap_or("none");
        changes.push(attribute("serial", from, wanted.as_str(), restart, NEXT_START));
    }
}

/// What was asked for before and no longer is goes back to what a new machine has.
fn cpu(desired: &DesiredMachine, current: &MachineView, restart: Disturbance, changes: &mut Vec<Change>) {
    let there = &current.hardware;
    let asked = desired_cpu(current.wishes.cpu.as_ref());
    let mut push = |name, from: String, to: String| {
        if from != to {
            changes.push(attribute(name, from, to, restart, NEXT_START));
        }
    };
    let model = |model: &Option<CpuModel>| model.as_ref().map_or("default".to_owned(), cpu_model_text);
    match &desired.cpu.model {
        Some(_) => push("cpu.model", model(&there.cpu_model), model(&desired.cpu.model)),
        None if asked.model.is_some() => push("cpu.model", model(&asked.model), model(&None)),
        None => {}
    }
    let nested = |nested: Option<Nested>| nested.map_or("as the model says", nested_text).to_owned();
    match desired.cpu.nested {
        Some(_) => push("cpu.nested", nested(there.nested), nested(desired.cpu.nested)),
        None if asked.nested.is_some() => push("cpu.nested", nested(asked.nested), nested(None)),
        None => {}
    }
}

/// `machine_type` as it is written.
pub fn machine_type_text(of: MachineType) -> &'static str {
    match of {
        MachineType::Q35 => "q35",
        MachineType::Pc => "pc",
    }
}

/// `graphics` as it is written.
pub fn graphics_text(of: Graphics) -> &'static str {
    match of {
        Graphics::None => "none",
        Graphics::Vnc => "vnc",
    }
}

/// `cpu.model` as it is written.
pub fn cpu_model_text(of: &CpuModel) -> String {
    match of {
        CpuModel::HostPassthrough => "host-passthrough".to_owned(),
        CpuModel::HostModel => "host-model".to_owned(),
        CpuModel::Maximum => "maximum".to_owned(),
        CpuModel::Named(name) => name.clone(),
    }
}

fn nested_text(of: Nested) -> &'static str {
    match of {
        Nested::On => "true",
        Nested::Off => "false",
    }
}

/// CD drives: they come and go, and what is in them changes, while the machine runs. Another place in the boot order
/// is what it is for other devices.
pub(super) fn media(
    desired: &BTreeMap<MediaKey, DesiredDrive>,
    current: &BTreeMap<MediaKey, MediumView>,
    reordered: Need,
    changes: &mut Vec<Change>,
) {
    const WHY: &str = "CD drives change while the machine runs";
    let mut push = |key: &MediaKey, change, from: String, to: String| {
        let what = What::Medium(key.to_string(), change);
        let (disturbance, why) = match change {
            MediumChange::Reordered => (reordered.disturbance(), reordered.why()),
            MediumChange::Added | MediumChange::Removed | MediumChange::Exchanged => (Disturbance::Live, WHY),
        };
        changes.push(Change {
            what,
            from,
            to,
            disturbance,
            why,
        });
    };
    let source = |image: &Option<DesiredImage>| {
        let source = image.as_ref().map(|image| image.source.clone());
        source.unwrap_or_else(|| "empty".to_owned())
    };
    for (key, drive) in current {
        if !desired.contains_key(key) {
            let from = drive.source().unwrap_or_else(|| "empty".to_owned());
            push(key, MediumChange::Removed, from, "absent".to_owned());
        }
    }
    for (key, DesiredDrive { image, boot }) in desired {
        let Some(there) = current.get(key) else {
            push(key, MediumChange::Added, "absent".to_owned(), source(image));
            continue;
        };
        if !same(image.as_ref(), there) {
            let from = there.source().unwrap_or_else(|| "empty".to_owned());
            push(key, MediumChange::Exchanged, from, source(image));
        }
        if there.boot != *boot {
            push(key, MediumChange::Reordered, place(there.boot), place(*boot));
        }
    }
}

fn same(desired: Option<&DesiredImage>, there: &MediumView) -> bool {
    let recorded = there.image.as_ref();
    let same_image = match (desired, recorded) {
        (None, None) => true,
        (Some(wanted), Some(image)) => {
            let pinned = wanted.sha256.is_none() || wanted.sha256 == image.digest;
            wanted.source == image.source && pinned
        }
        _ => false,
    };
    same_image && there.content == Content::AsRecorded
}

/// What is kept with the machine and disturbs nothing.
pub(super) fn kept(desired: &DesiredMachine, current: &MachineView, changes: &mut Vec<Change>) {
    let live = Disturbance::Live;
    if desired.autostart != current.autostart {
        let text = |autostart| format!("{autostart:?}").to_lowercase();
        let (from, to) = (text(current.autostart), text(desired.autostart));
        changes.push(attribute("autostart", from, to, live, "asked for"));
    }
    let (wanted, there) = (&desired.wishes, &current.wishes);
    if wanted.labels != there.labels {
        let count = |labels: &Option<BTreeMap<String, String>>| {
            let count = labels.as_ref().map_or(0, BTreeMap::len);
            format!("{count} of them")
        };
        let (from, to) = (count(&there.labels), count(&wanted.labels));
        changes.push(attribute("labels", from, to, live, "asked for"));
    }
    if wanted.deletion_protection != there.deletion_protection {
        let (from, to) = (there.deletion_protection, wanted.deletion_protection);
        let (from, to) = (from.to_string(), to.to_string());
        changes.push(attribute("deletion_protection", from, to, live, "asked for"));
    }
}
