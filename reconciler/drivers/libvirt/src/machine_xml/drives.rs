//! CD drives: the seed's and the user's, on a virtio-scsi controller.
//!
//! On that bus drives come and go while the machine runs, both firmwares boot from them, and the kernels that clouds
//! run have a driver for it, which they lack for the chipset's own SATA controller.

use labyard_driver::spec::MachineSpec;

use super::devices::{Source, set_source, source};
use super::{EditError, SEED_ALIAS, alias, alias_of, is_drive};
use crate::places::{Places, Store};
use crate::xml::Element;

const MODEL: &str = "virtio-scsi";
const MEDIA_ALIAS: &str = "ua-labyard-media-";

/// A drive as it shall be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Drive {
    alias: String,
    target: String,
    /// The place on the bus: one target each, since firmware looks at the first unit of each alone.
    place: u32,
    /// What is in it.
    source: Option<Source>,
}

/// The drives of a specification.
pub(crate) fn wanted(spec: &MachineSpec, places: &Places) -> Result<Vec<Drive>, EditError> {
    let seed = spec.seed.iter().map(|seed| {
        Ok(Drive {
            alias: SEED_ALIAS.to_owned(),
            target: seed.target.clone(),
            place: 0,
            source: Some(source(places, &seed.pool, &seed.volume)?),
        })
    });
    let media = spec.media.iter().map(|drive| {
        let source = drive
            .medium
            .as_ref()
            .map(|(pool, volume)| source(places, pool, volume));
        Ok(Drive {
            alias: alias("media", drive.key.as_str()),
            target: drive.target.clone(),
            place: place(&drive.target),
            source: source.transpose()?,
        })
    });
    seed.chain(media).collect()
}

/// `sda` is the first, `sdaa` comes after `sdz`.
pub(super) fn place(target: &str) -> u32 {
    let letters = target.strip_prefix("sd").unwrap_or_default();
    let number = letters.bytes().fold(0, |number: u32, letter| {
        number * 26 + u32::from(letter.saturating_sub(b'a')) + 1
    });
    number.saturating_sub(1)
}

/// The drives of ours that nothing asks for.
pub(crate) fn surplus<'a>(devices: &'a Element, wanted: &[Drive]) -> Vec<&'a Element> {
    let is_surplus = |device: &&Element| {
        let alias = alias_of(device).unwrap_or_default();
        is_drive(device, "cdrom")
            && (alias == SEED_ALIAS || alias.starts_with(MEDIA_ALIAS))
            && wanted.iter().all(|drive| drive.alias != alias)
    };
    devices.elements().filter(is_surplus).collect()
}

/// Whether a drive can be taken out of a machine that runs.
pub(crate) fn comes_and_goes(drive: &Element) -> bool {
    matches!(drive.attribute_at(&["target"], "bus"), Some("scsi" | "usb"))
}

impl Drive {
    /// The device that is this drive. The seed of an imported machine may be in one that was there before.
    pub(crate) fn find<'a>(&self, devices: &'a Element) -> Option<&'a Element> {
        devices.elements().find(|device| self.is(device, devices))
    }

    fn is(&self, device: &Element, devices: &Element) -> bool {
        if !is_drive(device, "cdrom") {
            return false;
        }
        let named = |device: &Element| alias_of(device) == Some(self.alias.as_str());
        if devices.elements().any(|d| is_drive(d, "cdrom") && named(d)) {
            return named(device);
        }
        !super::is_ours(device) && device.attribute_at(&["target"], "dev") == Some(self.target.as_str())
    }

    /// The device with what shall be in it.
    pub(crate) fn filled(&self, device: &Element) -> Element {
        let mut device = device.clone();
        fill(&mut device, self.source.as_ref());
        device
    }

    /// Whether there shall be nothing in it.
    pub(crate) fn is_empty(&self) -> bool {
        self.source.is_none()
    }

    /// What the guest calls it.
    pub(crate) fn target(&self) -> &str {
        &self.target
    }

    /// A new device, on the controller of that index.
    pub(crate) fn made(&self, controller: &str) -> Element {
        let store = self.source.as_ref().map_or(Store::File, |(_, store)| *store);
        let mut drive = Element::new("disk")
            .with("type", store.disk_type())
            .with("device", "cdrom")
            .holding(Element::new("driver").with("name", "qemu").with("type", "raw"));
        if let Some((path, store)) = &self.source {
            drive.push(Element::new("source").with(store.source_attribute(), path));
        }
        drive
            .holding(
                Element::new("target")
                    .with("dev", &self.target)
                    .with("bus", "scsi"),
            )
            .holding(Element::new("readonly"))
            .holding(Element::new("alias").with("name", &self.alias))
            .holding(
                Element::new("address")
                    .with("type", "drive")
                    .with("controller", controller)
                    .with("bus", "0")
                    .with("target", &self.place.to_string())
                    .with("unit", "0"),
            )
    }
}

/// A device with nothing in it.
pub(crate) fn emptied(device: &Element) -> Element {
    let mut device = device.clone();
    fill(&mut device, None);
    device
}

fn fill(device: &mut Element, source: Option<&Source>) {
    match source {
        Some(source) => set_source(device, source),
        None => {
            device.set_attribute("type", "file");
            device.remove_named("backingStore");
            device.remove_named("source");
        }
    }
}

/// The controller for drives of ours: its index, and the controller itself where it is not there yet.
pub(crate) fn controller(devices: &Element) -> (String, Option<Element>) {
    let of = |device: &Element, name: &str| device.attribute(name).map(str::to_owned);
    let controllers: Vec<_> = devices
        .named("controller")
        .filter(|device| device.attribute("type") == Some("scsi"))
        .map(|device| {
            (
                of(device, "model"),
                of(device, "index").unwrap_or_else(|| "0".to_owned()),
            )
        })
        .collect();
    let there = controllers
        .iter()
        .find(|(model, _)| model.as_deref() == Some(MODEL));
    if let Some((_, index)) = there {
        return (index.clone(), None);
    }
    let free = (0..=controllers.len())
        .map(|index| index.to_string())
        .find(|index| controllers.iter().all(|(_, taken)| taken != index))
        .unwrap_or_default();
    let controller = Element::new("controller")
        .with("type", "scsi")
        .with("index", &free)
        .with("model", MODEL);
    (free, Some(controller))
}

/// Brings the drives of a definition to the specification.
pub(super) fn edit(devices: &mut Element, spec: &MachineSpec, places: &Places) -> Result<(), EditError> {
    let wanted = wanted(spec, places)?;
    let gone: Vec<_> = surplus(devices, &wanted).into_iter().cloned().collect();
    devices.remove_where(|device| gone.contains(device));
    for drive in &wanted {
        let Some(there) = drive.find(devices).cloned() else {
            let (index, missing) = controller(devices);
            missing
                .into_iter()
                .for_each(|controller| devices.push(controller));
            devices.push(drive.made(&index));
            continue;
        };
        if let Some(device) = devices.elements_mut().find(|device| **device == there) {
            fill(device, drive.source.as_ref());
            device.ensure("alias").set_attribute("name", &drive.alias);
        }
    }
    Ok(())
}
