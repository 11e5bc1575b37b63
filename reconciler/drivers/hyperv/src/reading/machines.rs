//! A host's machines, put together from the rows of their parts.

use std::collections::{BTreeMap, HashMap};

use labyard_driver::ids::{Mib, PoolName, VolumeName};
use labyard_driver::lan::VlanId;
use labyard_driver::observed::{
    Attachment, Autostart, Cable, Capacity, Detail, Hardware, MachineDetail, MachineSize, MarkState,
    ObservedDisk, ObservedMachine, ObservedMedium, ObservedNic, Power, Room, ScsiController, Standing,
};
use labyard_driver::spec::{
    Accelerator, DiskBus, DiskFormat, Firmware, Graphics, Guards, Isolation, Nested, NicModel, SecureBoot,
    Tpm,
};

use super::devices::{Card, CardRows, Plugged, by_owner, name, plugged};
use crate::classes::{
    Drive, EmulatedPort, Machine, Medium, Memory, Processor, Security, Settings, SyntheticPort,
};
use crate::ids::{Generation, Guid, Owner, REALIZED, Resource, Target};
use crate::notes;
use crate::places::{Content, Directory};
use crate::rows::Rows;
use crate::slots::{Device, Place};
use crate::state::State;

/// What is known besides the rows: whose files, what disks hold, what a machine may have.
#[derive(Clone, Debug)]
pub struct Reader {
    /// The name of the pool and its directory.
    pub pool: (PoolName, Directory),
    /// What is known of files by their paths in small letters.
    pub files: HashMap<String, KnownFile>,
}

/// What is known of a virtual disk's file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KnownFile {
    /// The disk's size.
    pub capacity: Capacity,
    /// The file that the disk was made as, where this one is a layer that a checkpoint has put upon it.
    pub base: Option<String>,
}

/// Everything of one machine.
pub(super) struct Parts<'a> {
    pub(super) guid: Guid,
    pub(super) machine: &'a Machine,
    pub(super) settings: &'a Settings,
    pub(super) memory: Option<&'a Memory>,
    pub(super) processor: Option<&'a Processor>,
    pub(super) security: Option<&'a Security>,
    pub(super) drives: Vec<Plugged>,
    pub(super) cards: Vec<Card>,
}

/// The parts of the only machine of these rows.
pub(super) fn parts(rows: &Rows) -> Option<Parts<'_>> {
    Sorted::new(rows).parts(rows.machines.first()?)
}

/// Rows sorted by whose they are.
struct Sorted<'a> {
    settings: HashMap<Guid, &'a Settings>,
    memory: HashMap<Guid, Vec<&'a Memory>>,
    processors: HashMap<Guid, Vec<&'a Processor>>,
    security: HashMap<Guid, Vec<&'a Security>>,
    drives: HashMap<Guid, Vec<&'a Drive>>,
    media: HashMap<Guid, Vec<&'a Medium>>,
    cards: HashMap<Guid, Vec<&'a SyntheticPort>>,
    older_cards: HashMap<Guid, Vec<&'a EmulatedPort>>,
    card_rows: CardRows<'a>,
    switches: HashMap<Guid, &'a str>,
}

impl<'a> Sorted<'a> {
    fn new(rows: &'a Rows) -> Self {
        let realized = rows.settings.iter().filter(|settings| {
            let kind = settings.kind.as_deref().unwrap_or_default();
            kind.eq_ignore_ascii_case(REALIZED)
        });
        let settings = realized.filter_map(|settings| match Owner::of(settings.id.as_deref()?)? {
            Owner::One(guid) => Some((guid, settings)),
            Owner::Definition => None,
        });
        let switches = rows.switches.iter().filter_map(|switch| {
            Some((
                switch.name.as_deref()?.parse().ok()?,
                switch.element_name.as_deref()?,
            ))
        });
        Self {
            settings: settings.collect(),
            memory: by_owner(&rows.memory, |row| row.id.as_ref()),
            processors: by_owner(&rows.processors, |row| row.id.as_ref()),
            security: by_owner(&rows.security, |row| row.id.as_ref()),
            drives: by_owner(&rows.drives, |row| row.id.as_ref()),
            media: by_owner(&rows.media, |row| row.id.as_ref()),
            cards: by_owner(&rows.cards, |row| row.id.as_ref()),
            older_cards: by_owner(&rows.older_cards, |row| row.id.as_ref()),
            card_rows: CardRows::new(rows),
            switches: switches.collect(),
        }
    }

    fn parts(&self, machine: &'a Machine) -> Option<Parts<'a>> {
        let guid = machine.name.as_deref()?.parse().ok()?;
        let settings = self.settings.get(&guid)?;
        let newer = self.cards.get(&guid).into_iter().flatten().filter_map(|card| {
            let id = card.id.as_deref()?;
            Some(
                self.card_rows
                    .card(guid, Resource::SyntheticPort, id, card.mac.as_deref()),
            )
        });
        let older = self
            .older_cards
            .get(&guid)
            .into_iter()
            .flatten()
            .filter_map(|card| {
                let id = card.id.as_deref()?;
                Some(
                    self.card_rows
                        .card(guid, Resource::EmulatedPort, id, card.mac.as_deref()),
                )
            });
        let of = |rows: &HashMap<Guid, Vec<&'a Drive>>| rows.get(&guid).cloned().unwrap_or_default();
        Some(Parts {
            guid,
            machine,
            settings,
            memory: self.memory.get(&guid).and_then(|rows| rows.first().copied()),
            processor: self.processors.get(&guid).and_then(|rows| rows.first().copied()),
            security: self.security.get(&guid).and_then(|rows| rows.first().copied()),
            drives: plugged(
                &of(&self.drives),
                self.media.get(&guid).map_or(&[], Vec::as_slice),
            ),
            cards: newer.chain(older).collect(),
        })
    }
}

/// The machines of a host. One that has no settings (yet, or any more) is being made or taken away and is left out; the host itself
/// is none.
pub fn machines(rows: &Rows, reader: &Reader) -> Vec<ObservedMachine> {
    let sorted = Sorted::new(rows);
    let parts = rows.machines.iter().filter_map(|machine| sorted.parts(machine));
    parts.map(|parts| observed(&parts, &sorted, reader)).collect()
}

/// The files of the disks and drives of these machines: what sizes are asked for.
pub fn files(rows: &Rows, of: impl Fn(Guid) -> bool) -> Vec<String> {
    let sorted = Sorted::new(rows);
    let parts = rows.machines.iter().filter_map(|machine| sorted.parts(machine));
    let drives = parts
        .filter(|parts| of(parts.guid))
        .flat_map(|parts| parts.drives);
    drives.filter_map(|drive| Some(drive.medium?.1)).collect()
}

fn observed(parts: &Parts<'_>, sorted: &Sorted<'_>, reader: &Reader) -> ObservedMachine {
    let settings = parts.settings;
    let text = settings.notes.as_deref().and_then(<[String]>::first);
    let state = State::of(parts.machine.enabled_state.unwrap_or_default());
    let name = settings
        .element_name
        .clone()
        .or(parts.machine.element_name.clone());
    ObservedMachine {
        id: parts.guid.into(),
        host_name: name.unwrap_or_default(),
        mark: text.map_or(MarkState::None, |text| notes::read(text).mark),
        power: state.power(),
        ended: None,
        size: size(parts),
        autostart: match settings.startup_action {
            Some(4) => Autostart::On,
            _ => Autostart::Off,
        },
        detail: match detail(parts, sorted, reader) {
            Some(detail) => Detail::Known(Box::new(detail)),
            None => Detail::Unknown("the host shows neither its processors nor its memory".to_owned()),
        },
    }
}

fn size(parts: &Parts<'_>) -> Option<MachineSize> {
    Some(MachineSize {
        cpus: u32::try_from(parts.processor?.count?).ok()?,
        memory: Mib(parts.memory?.startup?),
    })
}

fn detail(parts: &Parts<'_>, sorted: &Sorted<'_>, reader: &Reader) -> Option<MachineDetail> {
    let MachineSize { cpus, memory } = size(parts)?;
    let settings = parts.settings;
    let generation = Generation::of(settings.subtype.as_deref().unwrap_or_default());
    let generation = generation.unwrap_or(Generation::One);
    let power = State::of(parts.machine.enabled_state.unwrap_or_default()).power();
    let runs = matches!(power, Power::Running | Power::Paused);
    let dynamic = parts.memory.is_some_and(|memory| memory.dynamic == Some(true));
    let most = parts.memory.and_then(|memory| memory.maximum).filter(|_| dynamic);
    let boot = BootOrder::of(settings);
    let disks = parts.drives.iter().filter(|drive| drive.device == Device::Disk);
    let drives = parts.drives.iter().filter(|drive| drive.device == Device::Drive);
    let cdroms: BTreeMap<_, _> = drives
        .clone()
        .map(|drive| (name(generation, drive), medium(drive, reader)))
        .collect();
    let drive_boot = drives.filter_map(|drive| Some((name(generation, drive), boot.place(&drive.id)?)));
    let hardware = Hardware {
        machine_type: None,
        cpu_model: None,
        nested: match parts.processor.and_then(|processor| processor.nested) {
            Some(true) => Some(Nested::On),
            Some(false) => Some(Nested::Off),
            None => None,
        },
        graphics: Graphics::None,
        serial: settings.serial.clone().filter(|serial| !serial.is_empty()),
    };
    Some(MachineDetail {
        cpus,
        cpus_max: cpus,
        live_cpus: runs.then_some(cpus),
        memory,
        memory_max: most.map_or(memory, Mib),
        live_memory: runs.then_some(memory),
        room: runs.then_some(Room {
            cpus,
            memory: most.map_or(memory, Mib),
            ports: free_places(&parts.drives),
            scsi: ScsiController::There,
        }),
        firmware: match generation {
            Generation::One => Firmware::Bios,
            Generation::Two => Firmware::Uefi,
        },
        accelerator: Accelerator::Kvm,
        guards: Guards {
            secure_boot: match settings.secure_boot {
                Some(true) => SecureBoot::Microsoft,
                _ => SecureBoot::Off,
            },
            tpm: match parts.security.and_then(|security| security.tpm) {
                Some(true) => Tpm::Emulated,
                _ => Tpm::Absent,
            },
        },
        nvram: None,
        direct_boot: None,
        disks: disks
            .map(|drive| disk(drive, generation, &boot, reader))
            .collect(),
        live_hardware: runs.then(|| hardware.clone()),
        hardware,
        vnc_port: None,
        live_cdroms: runs.then(|| {
            let path = |medium: &Option<ObservedMedium>| {
                medium.as_ref().map_or(String::new(), |found| found.path.clone())
            };
            cdroms
                .iter()
                .map(|(target, medium)| (target.clone(), path(medium)))
                .collect()
        }),
        cdroms,
        drive_boot: drive_boot.collect(),
        nics: parts
            .cards
            .iter()
            .filter_map(|card| nic(card, sorted, &boot, runs))
            .collect(),
    })
}

/// Where nothing is plugged in on the first controller, disks' half.
fn free_places(drives: &[Plugged]) -> u32 {
    let taken = drives.iter().filter(|drive| {
        matches!(
            drive.place,
            Place::Scsi {
                controller: 0,
                place: 0..32
            }
        )
    });
    u32::try_from(32_usize.saturating_sub(taken.count())).unwrap_or(0)
}

/// The places of devices in what firmware starts from. Of what guests have entered by themselves only that it stands between others
/// is of weight, so it counts and is not told.
struct BootOrder(Vec<Option<Target>>);

impl BootOrder {
    fn of(settings: &Settings) -> Self {
        let paths = settings.boot_sources.iter().flatten();
        Self(paths.map(|path| Target::of(path)).collect())
    }

    /// By the id of a drive or a card.
    fn place(&self, id: &str) -> Option<u32> {
        let source = format!(r"{}\b", id.to_lowercase());
        let at = self.0.iter().position(|entry| {
            let entry = entry.as_ref().and_then(|entry| entry.key("instanceid"));
            entry == Some(source.as_str())
        })?;
        u32::try_from(at + 1).ok()
    }
}

fn volume(path: &str, reader: &Reader) -> Option<(PoolName, VolumeName)> {
    let (pool, directory) = &reader.pool;
    let known = reader.files.get(&path.to_lowercase());
    let path = known.and_then(|file| file.base.as_deref()).unwrap_or(path);
    let (volume, content) = directory.volume(path)?;
    matches!(content, Content::Disk | Content::Iso).then(|| (pool.clone(), volume))
}

fn capacity(path: &str, reader: &Reader) -> Capacity {
    let known = reader.files.get(&path.to_lowercase());
    known.map_or(Capacity::Unknown, |file| file.capacity)
}

fn disk(drive: &Plugged, generation: Generation, boot: &BootOrder, reader: &Reader) -> ObservedDisk {
    let path = drive.medium.as_ref().map_or("", |(_, path)| path);
    let (pool, volume) = volume(path, reader).unzip();
    ObservedDisk {
        target: name(generation, drive),
        path: path.to_owned(),
        pool,
        volume,
        capacity: capacity(path, reader),
        boot: boot.place(&drive.id),
        // Hyper-V's own bus is to its guests what virtio is to others'.
        bus: match drive.place {
            Place::Scsi { .. } => Some(DiskBus::Virtio),
            Place::Ide { .. } => Some(DiskBus::Sata),
        },
        format: path.to_lowercase().ends_with("vhdx").then_some(DiskFormat::Vhdx),
        standing: Standing::Whole,
    }
}

fn medium(drive: &Plugged, reader: &Reader) -> Option<ObservedMedium> {
    let (_, path) = drive.medium.as_ref()?;
    let (pool, volume) = volume(path, reader).unzip();
    Some(ObservedMedium {
        path: path.clone(),
        pool,
        volume,
        capacity: capacity(path, reader),
    })
}

fn nic(card: &Card, sorted: &Sorted<'_>, boot: &BootOrder, runs: bool) -> Option<ObservedNic> {
    let attachment = match card.switch {
        Some(guid) => match sorted.switches.get(&guid) {
            Some(name) => Attachment::Network((*name).to_owned()),
            None => Attachment::Other(format!("switch {guid}, which is gone")),
        },
        None => Attachment::Other("nothing".to_owned()),
    };
    Some(ObservedNic {
        mac: card.mac?,
        live_attachment: runs.then(|| attachment.clone()),
        attachment,
        vlan: card.vlan.map(VlanId),
        boot: boot.place(&card.id),
        cable: Cable::AsDefined,
        model: (card.kind == Resource::SyntheticPort).then_some(NicModel::Virtio),
        isolation: Isolation::Open,
        standing: Standing::Whole,
        addresses: card.addresses.clone(),
    })
}
