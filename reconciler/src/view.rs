//! An object of ours as it is, in the user's terms: what a state is made of and what a diff compares with.
//!
//! Devices are found again by what the mark says of them (a disk by its volume, a NIC by its MAC); what is on the
//! machine and not in the mark appears under a key of its own, so that a hand-made change is seen.

use std::collections::BTreeMap;
use std::net::IpAddr;

use labyard_driver::ids::{
    Bytes, DiskKey, HostUuid, MacAddr, MediaKey, Mib, Namespace, NicKey, ObjectId, ObjectName, PoolName,
};
use labyard_driver::lan::VlanId;
use labyard_driver::mark::{
    CloneMode, DiskMark, ImageMark, Made, Mark, MediumMark, NicMark, OnRemove, Ownership, SeedMark, Stage,
};
use labyard_driver::observed::{
    Attachment, Autostart, Cable, Capacity, Hardware, MachineDetail, MarkState, ObservedDisk,
    ObservedMachine, ObservedMedium, ObservedNetwork, ObservedNic, Power, Room, Snapshot, Standing,
};
use labyard_driver::spec::{DirectBoot, DiskBus, Firmware, Guards, NicModel};

use crate::boot_order::{self, Numbers};
use crate::desired::{FixedAddress, Wishes};
use crate::identity::{self, Identity};
use crate::takeover::{Obstacle, obstacles};
use serde::{Deserialize, Serialize};

mod network;

pub use network::{NetworkView, attached};

/// A machine as it is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MachineView {
    /// Its name: the user's, or the host's for a foreign one.
    pub name: ObjectName,
    /// The host's id of it.
    pub id: ObjectId,
    /// Whose it is.
    pub owner: Owner,
    /// What it does.
    pub power: Power,
    /// Processors of its definition.
    pub cpus: u32,
    /// Processors that it may have while it runs, by its definition.
    pub cpus_max: u32,
    /// Processors now, where it runs.
    pub live_cpus: Option<u32>,
    /// Memory of its definition.
    pub memory: Mib,
    /// Memory that it may have while it runs, by its definition.
    pub memory_max: Mib,
    /// Memory now, where it runs and its guest has set its mind on how much it keeps.
    pub live_memory: Option<Mib>,
    /// What it can take without a restart, where it runs.
    pub room: Option<Room>,
    /// Whether what runs differs from the definition in what only a start changes.
    pub pending: Pending,
    /// Firmware.
    pub firmware: Firmware,
    /// What its firmware guards its start with.
    pub guards: Guards,
    /// Certificates that its firmware trusts, in PEM, as far as labyard put them there.
    pub ca_certificate: Option<String>,
    /// Chipset, processor, display and serial number.
    pub hardware: Hardware,
    /// The port of its VNC display on the host, where it runs and has one.
    pub vnc_port: Option<u16>,
    /// Whether it starts with the host.
    pub autostart: Autostart,
    /// Direct kernel boot.
    pub direct_boot: Option<DirectBoot>,
    /// What keeps it, while it is foreign, from becoming ours.
    pub obstacles: Vec<Obstacle>,
    /// Disks that are there, by key.
    pub disks: BTreeMap<DiskKey, DiskView>,
    /// CD drives that are there, by key.
    pub media: BTreeMap<MediaKey, MediumView>,
    /// NICs that are there, by key.
    pub nics: BTreeMap<NicKey, NicView>,
    /// The seed.
    pub seed: SeedView,
    /// What the user wrote and the host cannot show.
    pub wishes: Wishes,
}

/// Whose an object is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Owner {
    /// It carries no mark.
    Foreign,
    /// It carries ours.
    Ours {
        /// Who it is.
        identity: Identity,
        /// Whether a state was told.
        ownership: Ownership,
        /// How far it has come.
        stage: Stage,
    },
}

/// Whether the running machine differs from its definition in what only a start changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Pending {
    /// It runs as defined, or not at all.
    Nothing,
    /// The definition takes effect at the next start.
    Restart,
}

/// A disk as it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DiskView {
    /// Its size, where the host told in time.
    pub size: Option<Bytes>,
    /// The image that it was made of.
    pub image: Option<ImageMark>,
    /// As written.
    pub clone: Option<CloneMode>,
    /// The pool of its volume.
    pub pool: Option<PoolName>,
    /// What it is attached to; `None` for something that labyard does not make.
    pub bus: Option<DiskBus>,
    /// As written.
    pub on_remove: Option<OnRemove>,
    /// Place in the boot order.
    pub boot: Option<u32>,
}

/// A CD drive as it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MediumView {
    /// The image that was inserted last.
    pub image: Option<ImageMark>,
    /// What is in it now.
    pub content: Content,
    /// Place in the boot order.
    pub boot: Option<u32>,
}

/// What is in a CD drive.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Content {
    /// The image that was inserted, or nothing where there was none.
    AsRecorded,
    /// Nothing: somebody ejected it.
    Empty,
    /// Another file of the host, put there by somebody else.
    Other(String),
}

impl MediumView {
    /// The source of what is in it, as it would be written; a file that somebody put there is one of the host.
    pub fn source(&self) -> Option<String> {
        match &self.content {
            Content::AsRecorded => self.image.as_ref().map(|image| image.source.clone()),
            Content::Empty => None,
            Content::Other(path) => Some(format!("host:{path}")),
        }
    }
}

/// A NIC as it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NicView {
    /// The network, in the user's spelling where it is the one that the mark names, or what it was unplugged from.
    pub network: String,
    /// Its address.
    pub mac: MacAddr,
    /// What it is for the guest; `None` for something that labyard does not make.
    pub model: Option<NicModel>,
    /// The IP address reserved for it.
    pub reserved: Option<IpAddr>,
    /// Its fixed address, where it is kept as it shall be.
    pub fixed: Option<FixedAddress>,
    /// Its VLAN; `None`: the network's.
    pub vlan: Option<VlanId>,
    /// IP addresses that it has at present.
    pub addresses: Vec<IpAddr>,
    /// Place in the boot order.
    pub boot: Option<u32>,
}

/// The seed as it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum SeedView {
    /// There never was one.
    None,
    /// Inserted, as made.
    Inserted(SeedMark),
    /// Made, but no longer as it was: ejected, another in its place, its file gone or of another size.
    Broken,
}

impl MachineView {
    /// A machine in the user's terms; `None` where its definition cannot be told at present.
    pub fn new(machine: &ObservedMachine, snapshot: &Snapshot) -> Option<Self> {
        let detail = machine.detail.known()?;
        let mark = machine.mark.ours();
        let namespace = mark.map(|m| &m.namespace);
        let order = boot_order::numbers(detail, mark, |mac| nic_key(mark, mac));
        Some(Self {
            name: shown_name(machine),
            id: machine.id.clone(),
            owner: owner(mark, &machine.id, Some(&snapshot.host.uuid)),
            hardware: detail.hardware.clone(),
            vnc_port: detail.vnc_port,
            autostart: machine.autostart,
            media: media(detail, mark, &order),
            power: machine.power,
            cpus: detail.cpus,
            cpus_max: detail.cpus_max,
            live_cpus: detail.live_cpus,
            memory: detail.memory,
            memory_max: detail.memory_max,
            live_memory: settled_memory(detail),
            room: detail.room,
            pending: pending(detail),
            firmware: detail.firmware,
            guards: detail.guards,
            ca_certificate: ca_certificate(detail, mark, snapshot),
            direct_boot: detail.direct_boot.clone(),
            obstacles: match mark {
                Some(_) => Vec::new(),
                None => obstacles(&detail.disks),
            },
            disks: disks(detail, mark, &order),
            nics: nics(detail, mark, &Networks { snapshot, namespace }, &order),
            seed: seed(detail, mark),
            wishes: mark.map(Wishes::from_mark).unwrap_or(Wishes {
                allow_restart: true,
                ..Wishes::default()
            }),
        })
    }

    /// Its identity, if it is ours.
    pub fn identity(&self) -> Option<&Identity> {
        match &self.owner {
            Owner::Ours { identity, .. } => Some(identity),
            Owner::Foreign => None,
        }
    }

    /// The addresses that it has by its first NIC, IPv4 first, never link-local.
    pub fn first_addresses(&self) -> Vec<IpAddr> {
        self.nics
            .values()
            .next()
            .map(|nic| presentable(&nic.addresses))
            .unwrap_or_default()
    }

    /// The address reserved for its first NIC.
    pub fn first_reserved(&self) -> Option<IpAddr> {
        self.nics.values().next().and_then(|nic| nic.reserved)
    }
}

/// The name of a machine: the user's, unless the host calls it by another than follows from that one.
pub fn shown_name(machine: &ObservedMachine) -> ObjectName {
    shown_as(machine.mark.ours(), &machine.host_name)
}

fn shown_as(mark: Option<&Mark>, host_name: &str) -> ObjectName {
    let by_host = || ObjectName(host_name.to_owned());
    let Some(mark) = mark else {
        return by_host();
    };
    if host_name.is_empty() || host_name == identity::host_name(&mark.namespace, &mark.name) {
        return mark.name.clone();
    }
    let prefix = format!("{}.", mark.namespace);
    host_name
        .strip_prefix(&prefix)
        .map_or_else(by_host, |name| ObjectName(name.to_owned()))
}

/// Addresses worth showing: IPv4 first, link-local ones left out.
pub fn presentable(addresses: &[IpAddr]) -> Vec<IpAddr> {
    let local = |a: &IpAddr| match a {
        IpAddr::V4(a) => a.is_link_local() || a.is_loopback(),
        IpAddr::V6(a) => a.is_unicast_link_local() || a.is_loopback(),
    };
    let mut shown: Vec<_> = addresses.iter().copied().filter(|a| !local(a)).collect();
    shown.sort_by_key(|a| (a.is_ipv6(), *a));
    shown.dedup();
    shown
}

fn owner(mark: Option<&Mark>, id: &ObjectId, host: Option<&HostUuid>) -> Owner {
    mark.map_or(Owner::Foreign, |mark| Owner::Ours {
        identity: Identity {
            token: mark.token.clone(),
            origin: mark.origin.clone(),
            id: id.clone(),
            host: host.cloned(),
        },
        ownership: mark.ownership,
        stage: mark.stage,
    })
}

/// Whether processor, display or serial number wait for the next start.
fn pending(detail: &MachineDetail) -> Pending {
    let hardware = detail.live_hardware.as_ref().is_some_and(|live| {
        let defined = &detail.hardware;
        (live.graphics, &live.serial, &live.cpu_model)
            != (defined.graphics, &defined.serial, &defined.cpu_model)
    });
    if hardware {
        Pending::Restart
    } else {
        Pending::Nothing
    }
}

/// The memory that a running machine has now. A guest that has all of what it may have is one whose balloon is not
/// at work, for want of a driver or because it is still booting: that says nothing.
pub fn settled_memory(detail: &MachineDetail) -> Option<Mib> {
    let (live, room) = (detail.live_memory?, detail.room?);
    Some(if live >= room.memory && detail.memory < room.memory {
        detail.memory
    } else {
        live
    })
}

/// Disks by key. One of the mark's is there where both the definition and, if it runs, the machine have it; one that
/// is on its way out, or that somebody attached by hand, as long as either has it. A file outside of all pools that somebody
/// attached to a machine of labyard's is theirs: it stays, and is nothing of the machine's that could differ.
fn disks(detail: &MachineDetail, mark: Option<&Mark>, order: &Numbers) -> BTreeMap<DiskKey, DiskView> {
    let of_volume = |disks: &BTreeMap<DiskKey, DiskMark>, there: &ObservedDisk| {
        let found = disks.iter().find(|(_, disk)| {
            there.volume.as_ref() == Some(&disk.volume) && there.pool.as_ref() == Some(&disk.pool)
        });
        found.map(|(key, disk)| (key.clone(), disk.clone()))
    };
    let there = detail.disks.iter().filter(|d| d.capacity != Capacity::Missing);
    let (mut views, mut others) = (BTreeMap::new(), Vec::new());
    for disk in there {
        match mark.and_then(|mark| of_volume(&mark.disks, disk)) {
            Some((key, known)) if disk.standing == Standing::Whole => {
                let boot = order.disks.get(&key).copied();
                views.insert(key, known_disk(disk, known, boot));
            }
            Some(_) => {}
            None if mark.is_some() && disk.volume.is_none() => {}
            None => others.push(disk),
        }
    }
    for disk in others {
        let leaving = mark.and_then(|mark| of_volume(&mark.leaving.disks, disk));
        match leaving.filter(|(key, _)| !views.contains_key(key)) {
            Some((key, known)) => views.insert(key, known_disk(disk, known, disk.boot)),
            None => {
                let key = DiskKey(disk.target.clone());
                let boot = order.disks.get(&key).copied();
                views.insert(key, unknown_disk(disk, boot))
            }
        };
    }
    views
}

fn size_of(disk: &ObservedDisk) -> Option<Bytes> {
    match disk.capacity {
        Capacity::Known(size) => Some(size),
        Capacity::Unknown | Capacity::Missing => None,
    }
}

/// The drives that the mark names. A running machine's drive counts as what is in it now and at the next start.
fn media(detail: &MachineDetail, mark: Option<&Mark>, order: &Numbers) -> BTreeMap<MediaKey, MediumView> {
    let drives = mark.into_iter().flat_map(|mark| &mark.media);
    let seen = drives.filter_map(|(key, known)| {
        let defined = detail.cdroms.get(&known.target)?;
        let live = match &detail.live_cdroms {
            Some(live) => Some(live.get(&known.target)?),
            None => None,
        };
        let content = content(known, defined.as_ref(), live);
        let view = MediumView {
            image: known.image.clone(),
            content,
            boot: order.drives.get(key).copied(),
        };
        Some((key.clone(), view))
    });
    seen.collect()
}

fn content(known: &MediumMark, defined: Option<&ObservedMedium>, live: Option<&String>) -> Content {
    let path = defined.map(|medium| medium.path.as_str()).unwrap_or_default();
    let wanted = known.image.as_ref().and_then(|image| image.volume.as_ref());
    let as_recorded = match (wanted, defined) {
        (None, None) => true,
        (Some(wanted), Some(there)) => {
            there.volume.as_ref() == Some(wanted) && there.capacity != Capacity::Missing
        }
        _ => false,
    };
    let shown = live.map_or(path, String::as_str);
    match (as_recorded && shown == path, shown) {
        (true, _) => Content::AsRecorded,
        // Gone from what runs or from the next start alone: what is left is not what was asked for.
        (false, "") => Content::Empty,
        (false, shown) => Content::Other(shown.to_owned()),
    }
}

/// The key of a NIC: the mark's, else one made of its address.
fn nic_key(mark: Option<&Mark>, mac: MacAddr) -> NicKey {
    let known = mark.and_then(|m| m.nics.iter().find(|(_, nic)| nic.mac == mac));
    known.map_or_else(
        || NicKey(format!("nic-{}", mac.to_string().replace(':', ""))),
        |(key, _)| key.clone(),
    )
}

/// The certificates that labyard put into the variables of the machine's firmware, if these are still there.
fn ca_certificate(detail: &MachineDetail, mark: Option<&Mark>, snapshot: &Snapshot) -> Option<String> {
    let nvram = mark?.nvram.as_ref().filter(|nvram| nvram.made == Made::Whole)?;
    let used = detail.nvram.as_ref()?.volume.as_ref() == Some(&nvram.volume);
    let there = snapshot.volumes.iter().any(|volume| volume.name == nvram.volume);
    nvram.ca_certificate.clone().filter(|_| used && there)
}

fn known_disk(disk: &ObservedDisk, known: DiskMark, boot: Option<u32>) -> DiskView {
    DiskView {
        size: size_of(disk),
        image: known.image,
        clone: known.clone,
        pool: Some(known.pool),
        bus: disk.bus,
        on_remove: known.on_remove,
        boot,
    }
}

/// Somebody attached it by hand: taking it off again must not cost its data.
fn unknown_disk(disk: &ObservedDisk, boot: Option<u32>) -> DiskView {
    DiskView {
        size: size_of(disk),
        image: None,
        clone: None,
        pool: disk.pool.clone(),
        bus: disk.bus,
        on_remove: Some(OnRemove::Detach),
        boot,
    }
}

/// NICs by key, as disks are.
fn nics(
    detail: &MachineDetail,
    mark: Option<&Mark>,
    networks: &Networks<'_>,
    order: &Numbers,
) -> BTreeMap<NicKey, NicView> {
    let of_mac = |nics: &BTreeMap<NicKey, NicMark>, mac: MacAddr| {
        let found = nics.iter().find(|(_, nic)| nic.mac == mac);
        found.map(|(key, nic)| (key.clone(), nic.clone()))
    };
    let wished = mark.map(|mark| Wishes::from_mark(mark).fixed).unwrap_or_default();
    let (mut views, mut others) = (BTreeMap::new(), Vec::new());
    for nic in &detail.nics {
        match mark.and_then(|mark| of_mac(&mark.nics, nic.mac)) {
            Some((key, known)) if nic.standing == Standing::Whole => {
                let view = nic_view(nic, Some(&known), wished.get(key.as_str()), networks);
                let boot = order.nics.get(&key).copied();
                views.insert(key, NicView { boot, ..view });
            }
            Some(_) => {}
            None => others.push(nic),
        }
    }
    for nic in others {
        let leaving = mark.and_then(|mark| of_mac(&mark.leaving.nics, nic.mac));
        match leaving.filter(|(key, _)| !views.contains_key(key)) {
            Some((key, known)) => views.insert(key, nic_view(nic, Some(&known), None, networks)),
            None => {
                let key = nic_key(None, nic.mac);
                let boot = order.nics.get(&key).copied();
                let view = nic_view(nic, None, None, networks);
                views.insert(key, NicView { boot, ..view })
            }
        };
    }
    views
}

fn nic_view(
    nic: &ObservedNic,
    known: Option<&NicMark>,
    fixed: Option<&FixedAddress>,
    networks: &Networks<'_>,
) -> NicView {
    let wanted = known.and_then(|known| networks.attachment(&known.network));
    // Of the definition and what runs, the one that is not as it was left.
    let elsewhere = [Some(&nic.attachment), nic.live_attachment.as_ref()]
        .into_iter()
        .flatten()
        .find(|attachment| wanted.as_ref() != Some(attachment));
    let network = match (elsewhere, known) {
        (None, Some(known)) => known.network.clone(),
        (elsewhere, _) => match elsewhere.unwrap_or(&nic.attachment) {
            Attachment::Network(name) | Attachment::Bridge(name) | Attachment::Other(name) => name.clone(),
        },
    };
    let fixed = fixed
        .copied()
        .filter(|fixed| networks.keeps(&network, nic.mac, fixed));
    let network = match nic.cable {
        Cable::AsDefined => network,
        Cable::Out => format!("unplugged from {network}"),
    };
    NicView {
        fixed,
        vlan: nic.vlan,
        boot: nic.boot,
        network,
        mac: nic.mac,
        model: nic.model,
        reserved: known.and_then(|known| known.reserved),
        addresses: nic.addresses.clone(),
    }
}

fn seed(detail: &MachineDetail, mark: Option<&Mark>) -> SeedView {
    let Some(seed) = mark.and_then(|m| m.seed.as_ref()) else {
        return SeedView::None;
    };
    let inserted = detail.cdroms.values().flatten().any(|medium| {
        let whole = match medium.capacity {
            Capacity::Known(size) => size == Bytes(seed.length),
            Capacity::Unknown => true,
            Capacity::Missing => false,
        };
        whole && medium.volume.as_ref() == Some(&seed.volume)
    });
    if inserted {
        SeedView::Inserted(seed.clone())
    } else {
        SeedView::Broken
    }
}

/// The networks of a host, as a namespace sees them.
#[derive(Clone, Copy, Debug)]
pub struct Networks<'a> {
    /// Read from here.
    pub snapshot: &'a Snapshot,
    /// Of this namespace first.
    pub namespace: Option<&'a Namespace>,
}

impl<'a> Networks<'a> {
    /// The network that a name in a configuration means: ours of this namespace first, then the host's, of which those
    /// that another namespace has made are that one's alone; but what bears its plain name is for all.
    pub fn resolve(&self, name: &str) -> Option<&'a ObservedNetwork> {
        let networks = &self.snapshot.networks;
        let ours = self.namespace.and_then(|namespace| {
            networks.iter().find(|n| {
                n.mark
                    .ours()
                    .is_some_and(|m| &m.namespace == namespace && m.name.as_str() == name)
            })
        });
        let named = |n: &&ObservedNetwork| n.host_name == name && self.may_name(&n.mark);
        ours.or_else(|| networks.iter().find(named))
    }

    fn may_name(&self, mark: &MarkState) -> bool {
        let own = |of: &Namespace| of.as_str() == identity::PLAIN_NAMESPACE || self.namespace == Some(of);
        *mark == MarkState::None || mark.ours().is_some_and(|mark| own(&mark.namespace))
    }

    /// Whether a fixed address is kept for a MAC, where that is the network's to do.
    fn keeps(&self, name: &str, mac: MacAddr, fixed: &FixedAddress) -> bool {
        let Some(network) = self.resolve(name).filter(|n| hands_out(n)) else {
            return true;
        };
        let address = IpAddr::V4(fixed.address.addr());
        network
            .reservations
            .iter()
            .any(|r| r.mac == mac && r.address == address)
    }

    /// How a NIC is attached to it.
    pub fn attachment(&self, name: &str) -> Option<Attachment> {
        self.resolve(name)
            .map(|network| Attachment::Network(network.host_name.clone()))
    }
}

/// Whether a network is one of ours that hands out addresses by DHCP: there every NIC gets one reserved.
pub fn hands_out(network: &ObservedNetwork) -> bool {
    network.mark.ours().is_some() && network.dhcp.is_some()
}

#[cfg(test)]
mod tests;
