//! A machine's disks, drives and cards, put together from the rows of their parts.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;

use labyard_driver::ids::MacAddr;

use crate::classes::{Connection, Drive, Medium};
use crate::ids::{Generation, Guid, Owner, Resource, Target};
use crate::rows::Rows;
use crate::slots::{Device, Place};

/// A drive with what is in it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Plugged {
    /// The id of the drive.
    pub id: String,
    /// What it is.
    pub device: Device,
    /// Where it is.
    pub place: Place,
    /// The id of what is in it and the file.
    pub medium: Option<(String, String)>,
}

/// A card with its connection.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Card {
    /// The id of the card.
    pub id: String,
    /// Its address; `None` before the first start where the host is to choose one.
    pub mac: Option<MacAddr>,
    /// Whether it is the kind that labyard makes.
    pub kind: Resource,
    /// The id of its connection.
    pub connection: Option<String>,
    /// The switch that it is on.
    pub switch: Option<Guid>,
    /// The VLAN of its connection.
    pub vlan: Option<u16>,
    /// What its guest says that its addresses are.
    pub addresses: Vec<IpAddr>,
}

/// Rows by whose they are.
pub(crate) fn by_owner<'a, T>(
    rows: &'a [T],
    id: impl Fn(&T) -> Option<&String>,
) -> HashMap<Guid, Vec<&'a T>> {
    let mut all: HashMap<Guid, Vec<&'a T>> = HashMap::new();
    for row in rows {
        if let Some(Owner::One(guid)) = id(row).and_then(|id| Owner::of(id)) {
            all.entry(guid).or_default().push(row);
        }
    }
    all
}

/// The path by which others name a device.
fn target(class: &str, id: &str) -> Option<Target> {
    let path = wsman::Reference::new(crate::classes::V2, class, &[("InstanceID", id)]).path()?;
    Target::of(&path)
}

/// The controllers of a machine, by the path that drives name them by. SCSI controllers bear no number: they are told apart by the
/// order of their ids, which they keep.
fn controllers(drives: &[&Drive]) -> BTreeMap<Target, (Resource, u8)> {
    let mut scsi: Vec<&str> = Vec::new();
    let mut all = BTreeMap::new();
    for drive in drives {
        let Some(id) = drive.id.as_deref() else { continue };
        match Resource::of(drive.resource_type, drive.subtype.as_deref()) {
            Some(Resource::ScsiController) => scsi.push(id),
            Some(Resource::IdeController) => {
                let number = drive
                    .address
                    .as_deref()
                    .and_then(|address| address.trim().parse().ok());
                if let (Some(target), Some(number)) =
                    (target("Msvm_ResourceAllocationSettingData", id), number)
                {
                    all.insert(target, (Resource::IdeController, number));
                }
            }
            _ => {}
        }
    }
    scsi.sort_unstable();
    for (number, id) in (0_u8..).zip(scsi) {
        if let Some(target) = target("Msvm_ResourceAllocationSettingData", id) {
            all.insert(target, (Resource::ScsiController, number));
        }
    }
    all
}

/// The drives of a machine in the order of their places.
pub(crate) fn plugged(drives: &[&Drive], media: &[&Medium]) -> Vec<Plugged> {
    let controllers = controllers(drives);
    let mut inside: HashMap<Target, (&str, &str)> = HashMap::new();
    for medium in media {
        let drive = medium.parent.as_deref().and_then(Target::of);
        let file = medium.files.as_deref().and_then(<[String]>::first);
        if let (Some(drive), Some(file), Some(id)) = (drive, file, medium.id.as_deref()) {
            inside.insert(drive, (id, file));
        }
    }
    let mut all: Vec<Plugged> = drives
        .iter()
        .filter_map(|drive| {
            let id = drive.id.as_deref()?;
            let device = match Resource::of(drive.resource_type, drive.subtype.as_deref())? {
                Resource::DiskDrive | Resource::PhysicalDisk => Device::Disk,
                Resource::DvdDrive => Device::Drive,
                _ => return None,
            };
            let on = controllers.get(&drive.parent.as_deref().and_then(Target::of)?)?;
            let place: u8 = drive.place.as_deref()?.trim().parse().ok()?;
            let place = match on {
                (Resource::IdeController, controller) => Place::Ide {
                    controller: *controller,
                    place,
                },
                (_, controller) => Place::Scsi {
                    controller: *controller,
                    place,
                },
            };
            let found = inside.get(&target("Msvm_ResourceAllocationSettingData", id)?);
            let medium = found.map(|(id, file)| ((*id).to_owned(), (*file).to_owned()));
            // A disk of the host that is passed through names itself.
            let medium =
                medium.or_else(|| Some((id.to_owned(), drive.host_resource.as_ref()?.first()?.clone())));
            Some(Plugged {
                id: id.to_owned(),
                device,
                place,
                medium,
            })
        })
        .collect();
    all.sort_by_key(|plugged| plugged.place);
    all
}

/// The names of the places of a machine's drives.
pub(crate) fn name(generation: Generation, plugged: &Plugged) -> String {
    plugged.place.name(generation, plugged.device)
}

/// The rows that cards are made of, by whose they are.
pub(crate) struct CardRows<'a> {
    connections: HashMap<Target, &'a Connection>,
    vlans: Vec<(String, u16)>,
    addresses: HashMap<(Guid, String), Vec<IpAddr>>,
}

impl<'a> CardRows<'a> {
    /// Sorts the rows.
    pub(crate) fn new(rows: &'a Rows) -> Self {
        let connections = rows.connections.iter().filter_map(|connection| {
            let card = connection.parent.as_deref().and_then(Target::of)?;
            Some((card, connection))
        });
        let vlans = rows.vlans.iter().filter_map(|vlan| {
            let access = vlan.access.filter(|id| *id != 0 && vlan.mode == Some(1))?;
            Some((vlan.id.as_deref()?.to_lowercase(), access))
        });
        let addresses = rows.guest_networks.iter().filter_map(|network| {
            let rest = network.id.as_deref()?.strip_prefix(r"Microsoft:GuestNetwork\")?;
            let (machine, card) = rest.split_once('\\')?;
            let known = network.addresses.iter().flatten();
            let known = known.filter_map(|address| address.trim().parse().ok());
            Some(((machine.parse().ok()?, card.to_lowercase()), known.collect()))
        });
        Self {
            connections: connections.collect(),
            vlans: vlans.collect(),
            addresses: addresses.collect(),
        }
    }

    /// A card of a machine.
    pub(crate) fn card(&self, machine: Guid, kind: Resource, id: &str, mac: Option<&str>) -> Card {
        let class = match kind {
            Resource::EmulatedPort => "Msvm_EmulatedEthernetPortSettingData",
            _ => "Msvm_SyntheticEthernetPortSettingData",
        };
        let connection = target(class, id).and_then(|card| self.connections.get(&card).copied());
        let connected = connection.filter(|connection| connection.enabled != Some(3));
        let switch = connected.and_then(|connection| {
            let path = connection.to.as_ref()?.first()?;
            Target::of(path)?.key("name")?.parse().ok()
        });
        let connection_id = connection.and_then(|connection| connection.id.clone());
        let vlan = connection_id.as_deref().and_then(|id| {
            let below = format!("{}\\", id.to_lowercase());
            let found = self.vlans.iter().find(|(vlan, _)| vlan.starts_with(&below));
            found.map(|(_, id)| *id)
        });
        let own = id.rsplit('\\').next().unwrap_or_default().to_lowercase();
        Card {
            id: id.to_owned(),
            mac: mac.and_then(read_mac),
            kind,
            connection: connection_id,
            switch,
            vlan,
            addresses: self.addresses.get(&(machine, own)).cloned().unwrap_or_default(),
        }
    }
}

/// Twelve hex digits; zeros are none yet.
pub(crate) fn read_mac(text: &str) -> Option<MacAddr> {
    let digits: String = text.chars().filter(|digit| !matches!(digit, '-' | ':')).collect();
    if digits.len() != 12 || !digits.is_ascii() {
        return None;
    }
    let mut mac = [0; 6];
    for (at, byte) in mac.iter_mut().enumerate() {
        *byte = u8::from_str_radix(digits.get(2 * at..2 * at + 2)?, 16).ok()?;
    }
    (mac != [0; 6]).then_some(MacAddr(mac))
}

/// As Hyper-V takes it.
pub(crate) fn write_mac(mac: MacAddr) -> String {
    mac.0.iter().map(|byte| format!("{byte:02X}")).collect()
}
