//! One machine with the ids of its parts, for who changes it.

use std::collections::HashMap;

use super::devices::{Card, Plugged};
use crate::classes::{Memory, Processor, Settings};
use crate::ids::{Generation, Guid, Resource};
use crate::rows::Rows;

/// One machine.
#[derive(Clone, Debug)]
pub(crate) struct Inside {
    pub generation: Generation,
    pub settings: Settings,
    pub memory: Memory,
    pub processor: Processor,
    /// The id of its first SCSI controller.
    pub scsi: Option<String>,
    /// The ids of its IDE controllers by their numbers.
    pub ide: HashMap<u8, String>,
    pub drives: Vec<Plugged>,
    pub cards: Vec<Card>,
    /// The switches of the host by name; of namesakes none.
    pub switches: HashMap<String, Option<Guid>>,
    /// The boot sources that it has, by the ids of their devices in small letters.
    pub boot_sources: HashMap<String, String>,
}

impl Inside {
    /// Of the rows of one machine.
    pub(crate) fn of(rows: &Rows) -> Option<Self> {
        let parts = super::machines::parts(rows)?;
        let settings = parts.settings.clone();
        let of_kind = |kind: Resource| {
            rows.drives.iter().filter(move |drive| {
                Resource::of(drive.resource_type, drive.subtype.as_deref()) == Some(kind)
            })
        };
        let scsi = of_kind(Resource::ScsiController).filter_map(|drive| drive.id.clone());
        let ide = of_kind(Resource::IdeController).filter_map(|drive| {
            let number = drive.address.as_deref()?.trim().parse().ok()?;
            Some((number, drive.id.clone()?))
        });
        let mut switches: HashMap<String, Option<Guid>> = HashMap::new();
        for switch in &rows.switches {
            let (Some(name), Some(guid)) = (&switch.element_name, &switch.name) else {
                continue;
            };
            let guid = guid.parse().ok();
            switches
                .entry(name.clone())
                .and_modify(|there| *there = None)
                .or_insert(guid);
        }
        let boot_sources = rows.boot_sources.iter().filter_map(|source| {
            let id = source.id.clone()?;
            let device = id.to_lowercase();
            let device = device.strip_suffix(r"\b")?;
            Some((device.to_owned(), id))
        });
        Some(Self {
            generation: Generation::of(settings.subtype.as_deref().unwrap_or_default())?,
            memory: parts.memory?.clone(),
            processor: parts.processor?.clone(),
            scsi: scsi.min(),
            ide: ide.collect(),
            drives: parts.drives,
            cards: parts.cards,
            switches,
            boot_sources: boot_sources.collect(),
            settings,
        })
    }
}
