//! Chipset, processor, serial number and CD drives: from a machine as it is to the state, and back.

use std::collections::BTreeMap;

use labyard_driver::ids::{Digest, HostName, MediaKey};
use labyard_driver::mark::ImageMark;
use labyard_driver::observed::{Ability, Hardware};
use labyard_driver::spec::Nested;
use labyard_reconciler::desired::{desired_cpu, parse_graphics, parse_machine_type};
use labyard_reconciler::diff::kit::{cpu_model_text, machine_type_text};
use labyard_reconciler::view::{Content, MachineView, MediumView};
use labyard_schema::vm::{self, Vm};
use tfplugin::value::{Path, Value};
use tfplugin::{Diagnostics, Plan};

use crate::provider::Context;

use super::state::{some_map, stored};

/// `machine_type` as the state shows it.
pub fn machine_type(there: &Hardware) -> String {
    there.machine_type.map_or("other", machine_type_text).to_owned()
}

/// What was written of the processor, as it is now.
pub fn cpu(written: &vm::Cpu, there: &Hardware) -> vm::Cpu {
    let model = there.cpu_model.as_ref().map(cpu_model_text);
    vm::Cpu {
        model: written.model.as_ref().and(model),
        nested: written
            .nested
            .and(there.nested)
            .map(|nested| nested == Nested::On),
    }
}

/// Refuses an empty drive that would come to a machine which runs, where the host cannot do that.
pub async fn check_drives(plan: &Plan, context: &Context, host: &HostName, diags: &mut Diagnostics) {
    let runs = |value: &Value| value.field("power").as_str() == Some("running");
    if !runs(&plan.prior) || !runs(&plan.planned) {
        return;
    }
    let there = plan.prior.field("media");
    let comes = |(key, drive): &(&str, &Value)| drive.field("image").is_null() && there.field(key).is_null();
    let mut coming = plan.planned.field("media").entries().filter(comes).peekable();
    if coming.peek().is_none() {
        return;
    }
    let offers = match context.engine.offers(host).await {
        Ok(offers) => offers,
        Err(error) => return crate::errors::report(&error, "Host not readable", diags),
    };
    if offers.abilities.contains(&Ability::EmptyDrive) {
        return;
    }
    for (key, _) in coming {
        let detail = "The host's libvirt is older than 10.0 and plugs no empty drive into a running machine: name an image \
                      for it, or stop the machine first (power = \"stopped\").";
        let at = Path::attribute("media").then_key(key);
        diags.error(Some(at), "Empty drive while the machine runs", detail);
    }
}

/// The CD drives that are there, each with what is in it.
pub fn media(prior: &Vm, view: &MachineView) -> Option<BTreeMap<String, vm::Medium>> {
    let drives = view.media.iter().map(|(key, drive)| {
        let image = match (&drive.content, &drive.image) {
            (Content::AsRecorded, Some(image)) => Some(vm::MediumImage {
                source: image.source.clone(),
                sha256: image.sha256.as_ref().map(ToString::to_string),
            }),
            _ => drive
                .source()
                .map(|source| vm::MediumImage { source, sha256: None }),
        };
        let boot = drive.boot;
        (key.to_string(), vm::Medium { image, boot })
    });
    some_map(&prior.media, drives)
}

/// The digests of the images that were inserted.
pub fn media_digests(prior: &Vm, view: &MachineView) -> Option<BTreeMap<String, String>> {
    let digests = view.media.iter().filter_map(|(key, drive)| {
        let digest = drive.image.as_ref()?.digest.as_ref()?;
        Some((key.to_string(), digest.to_string()))
    });
    some_map(&prior.media_digests, digests)
}

/// The hardware as the state has it; what it does not say is not known.
pub fn hardware(state: &Vm) -> Hardware {
    let cpu = desired_cpu(state.cpu.as_ref());
    Hardware {
        machine_type: parse_machine_type(stored(state.machine_type.as_deref().unwrap_or_default(), "q35")),
        cpu_model: cpu.model,
        nested: cpu.nested,
        graphics: parse_graphics(&state.graphics),
        serial: state.serial.clone(),
    }
}

/// The CD drives as the state has them.
pub fn media_views(state: &Vm) -> BTreeMap<MediaKey, MediumView> {
    let digest = |key: &String| {
        let digests = state.media_digests.as_ref()?;
        digests.get(key).cloned().map(Digest)
    };
    let drives = state.media.iter().flatten().map(|(key, drive)| {
        let image = drive.image.as_ref().map(|image| ImageMark {
            source: image.source.clone(),
            sha256: image.sha256.clone().map(Digest),
            digest: digest(key),
            pool: None,
            volume: None,
            upload: None,
        });
        let content = Content::AsRecorded;
        let view = MediumView {
            image,
            content,
            boot: drive.boot,
        };
        (MediaKey(key.clone()), view)
    });
    drives.collect()
}
