//! What a host shows: one snapshot, read in bulk.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::ids::{Bytes, HostUuid, MacAddr, Mib, ObjectId, PoolName, VolumeName};
use crate::lan::{Lan, VlanId};
use crate::mark::Mark;
use crate::spec::{
    Accelerator, CpuModel, Dhcp, DirectBoot, DiskBus, DiskFormat, Firmware, Graphics, Guards, Isolation,
    MachineType, Nested, NetworkBoot, NetworkMode, NicModel, SecureBoot,
};

/// Everything of interest on one host at one time.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Snapshot {
    /// The host itself.
    pub host: HostFacts,
    /// All machines; of foreign ones only what the bulk read shows.
    pub machines: Vec<ObservedMachine>,
    /// All networks.
    pub networks: Vec<ObservedNetwork>,
    /// The volumes of the host's configured pool and of every pool that a mark names, as far as those are up.
    pub volumes: Vec<ObservedVolume>,
}

/// What a host has. What it could give a machine is asked for by itself: [`Offers`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostFacts {
    /// Its lasting id.
    pub uuid: HostUuid,
    /// The accelerators that it claims to have.
    pub accelerators: Vec<Accelerator>,
    /// The configured storage pool, if it exists and is active.
    pub pool: Option<PoolName>,
    /// Why there is no pool, and the way out.
    #[serde(default)]
    pub pool_fault: Option<String>,
    /// All storage pools of the host.
    #[serde(default)]
    pub pools: Vec<PoolFacts>,
    /// Logical processors.
    pub cpus: u32,
    /// Memory.
    pub memory: Mib,
}

/// What a host can give a machine. Few plans ask for it, and it is a hundred times as long as all that a refresh needs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Offers {
    /// The hypervisor with its version, as a person would write it.
    pub hypervisor: String,
    /// The firmwares.
    pub firmwares: Vec<Firmware>,
    /// The kinds of variables that UEFI can be given, with where the host keeps each, or why it has none.
    pub variables: BTreeMap<SecureBoot, Result<String, String>>,
    /// Whether it emulates a TPM.
    pub tpm: Offer,
    /// The processor models by name; `None` where it does not tell.
    pub cpu_models: Option<Vec<String>>,
    /// What not every host can.
    pub abilities: BTreeSet<Ability>,
}

/// What not every host can; asked for at plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ability {
    /// VLANs on a bridge of the host that filters them.
    BridgeVlan,
    /// CD drives without a medium that are plugged into running machines.
    EmptyDrive,
    /// Machines are put back to a moment, memory and disks.
    Moments,
}

/// Whether a host has something to offer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Offer {
    /// It has.
    #[default]
    Offered,
    /// It has not.
    Lacking,
}

/// A machine.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ObservedMachine {
    /// The host's id of it.
    pub id: ObjectId,
    /// The host's name of it.
    pub host_name: String,
    /// Ours if there.
    pub mark: MarkState,
    /// What it does.
    pub power: Power,
    /// How its last run came to its end, where it is off and the host knows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended: Option<Ended>,
    /// What it takes of the host, where its definition could be read; of foreign machines too.
    #[serde(default)]
    pub size: Option<MachineSize>,
    /// Whether it starts with the host.
    #[serde(default)]
    pub autostart: Autostart,
    /// What it is made of.
    pub detail: Detail,
}

/// What a machine takes of its host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MachineSize {
    /// Processors.
    pub cpus: u32,
    /// Memory.
    pub memory: Mib,
}

/// The mark of an object as it was found.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum MarkState {
    /// None: foreign.
    None,
    /// Ours.
    Ours(Box<Mark>),
    /// There, but unreadable: not foreign, and not touched.
    Unreadable(String),
}

impl MarkState {
    /// The mark if it is readable.
    pub fn ours(&self) -> Option<&Mark> {
        match self {
            Self::Ours(mark) => Some(mark),
            Self::None | Self::Unreadable(_) => None,
        }
    }
}

/// What a machine does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Power {
    /// Runs.
    Running,
    /// Does not.
    Stopped,
    /// Is suspended.
    Paused,
    /// Is stopped with its memory saved.
    Saved,
    /// Has crashed.
    Crashed,
}

/// How a machine's run came to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ended {
    /// Its guest shut it down.
    ByGuest,
    /// Somebody took its power away.
    ByForce,
    /// The host's process that ran it ended by itself.
    Crashed,
    /// The host could not start it, or did not get it back when it came up itself.
    Failed,
}

/// The definition of a machine, or why it cannot be told at present.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Detail {
    /// Read.
    Known(Box<MachineDetail>),
    /// Not read (foreign and not asked for, or the machine stalls): try again, never "gone".
    Unknown(String),
}

impl Detail {
    /// The detail if it was read.
    pub fn known(&self) -> Option<&MachineDetail> {
        match self {
            Self::Known(detail) => Some(detail),
            Self::Unknown(_) => None,
        }
    }
}

/// The definition of a machine.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MachineDetail {
    /// Processors at the next start.
    pub cpus: u32,
    /// Processors that it may have while it runs, at the next start.
    pub cpus_max: u32,
    /// Processors now, where it runs.
    pub live_cpus: Option<u32>,
    /// Memory at the next start.
    pub memory: Mib,
    /// Memory that it may have while it runs, at the next start.
    pub memory_max: Mib,
    /// Memory now, where it runs.
    pub live_memory: Option<Mib>,
    /// What the running machine can take, where it runs.
    pub room: Option<Room>,
    /// Its firmware.
    pub firmware: Firmware,
    /// What runs it.
    pub accelerator: Accelerator,
    /// What its firmware guards its start with.
    pub guards: Guards,
    /// The file of its firmware's variables, if it has one of its own.
    pub nvram: Option<ObservedNvram>,
    /// Direct kernel boot.
    pub direct_boot: Option<DirectBoot>,
    /// Disks (not CD drives), in the definition's order; those that only the running machine has come last.
    pub disks: Vec<ObservedDisk>,
    /// Chipset, processor, display and serial number.
    #[serde(default)]
    pub hardware: Hardware,
    /// The same of the running machine, where it runs.
    #[serde(default)]
    pub live_hardware: Option<Hardware>,
    /// The port of its VNC display on the host, where it runs and has one.
    #[serde(default)]
    pub vnc_port: Option<u16>,
    /// CD drives by target, with the volume or path inserted at the next start.
    pub cdroms: BTreeMap<String, Option<ObservedMedium>>,
    /// The places in the boot order of CD drives that have one, by target.
    #[serde(default)]
    pub drive_boot: BTreeMap<String, u32>,
    /// The paths in the CD drives of the running machine by target, empty for a drive with nothing in it.
    #[serde(default)]
    pub live_cdroms: Option<BTreeMap<String, String>>,
    /// NICs in the definition's order; those that only the running machine has come last.
    pub nics: Vec<ObservedNic>,
}

/// What a machine shows of its chipset, processor, display and serial number.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hardware {
    /// Its chipset; `None` for one that labyard does not make.
    pub machine_type: Option<MachineType>,
    /// Its processor's model; `None` where the definition leaves it to the hypervisor.
    pub cpu_model: Option<CpuModel>,
    /// What the definition says of guests' guests; `None`: as the model has it.
    pub nested: Option<Nested>,
    /// Its display.
    pub graphics: Graphics,
    /// Its serial number.
    pub serial: Option<String>,
}

/// What a running machine can take without a restart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Room {
    /// Processors that it can have.
    pub cpus: u32,
    /// Memory that it can have.
    pub memory: Mib,
    /// Ports that nothing is plugged into.
    pub ports: u32,
    /// Where scsi disks would go.
    pub scsi: ScsiController,
}

/// Whether a machine has a controller that scsi disks can be plugged into.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ScsiController {
    /// It has.
    There,
    /// It has not.
    Missing,
}

/// A disk.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ObservedDisk {
    /// `vda`.
    pub target: String,
    /// Its file or device on the host.
    pub path: String,
    /// The pool that it lies in, where that is known.
    #[serde(default)]
    pub pool: Option<PoolName>,
    /// The volume's name in that pool.
    pub volume: Option<VolumeName>,
    /// Its size.
    pub capacity: Capacity,
    /// Its place in the boot order, the lowest first.
    pub boot: Option<u32>,
    /// What it is attached to; `None` for something that labyard does not make.
    pub bus: Option<DiskBus>,
    /// What the definition takes its content for; `None` for something that labyard does not make.
    #[serde(default)]
    pub format: Option<DiskFormat>,
    /// Where it is attached.
    pub standing: Standing,
}

/// Whether a device is in the running machine, in the definition, or in both.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Standing {
    /// In the definition, and in the running machine where it runs.
    Whole,
    /// In the definition alone, of a machine that runs.
    AtNextStart,
    /// In the running machine alone.
    UntilStop,
}

impl Standing {
    /// Whether the definition has it.
    pub fn is_defined(self) -> bool {
        self != Self::UntilStop
    }

    /// Whether the machine, where it runs, has it now.
    pub fn is_live(self) -> bool {
        self != Self::AtNextStart
    }
}

/// The file of a machine's firmware variables.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ObservedNvram {
    /// Its path on the host.
    pub path: String,
    /// The volume's name, where it lies in the configured pool.
    pub volume: Option<VolumeName>,
}

/// The size of a disk, if it can be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Capacity {
    /// Read.
    Known(Bytes),
    /// Its file is gone.
    Missing,
    /// The host did not say in time.
    Unknown,
}

/// What is in a CD drive.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ObservedMedium {
    /// Its path on the host.
    pub path: String,
    /// The pool that it lies in, where that is known.
    #[serde(default)]
    pub pool: Option<PoolName>,
    /// The volume's name in that pool.
    pub volume: Option<VolumeName>,
    /// Its size, or that its file is gone.
    pub capacity: Capacity,
}

/// A NIC.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ObservedNic {
    /// Its address.
    pub mac: MacAddr,
    /// Where it is attached, by its definition where that has it.
    pub attachment: Attachment,
    /// Its VLAN there; `None`: the network's.
    #[serde(default)]
    pub vlan: Option<VlanId>,
    /// Its place in the boot order, the lowest first.
    pub boot: Option<u32>,
    /// Where it is attached now, where the machine runs and has it.
    pub live_attachment: Option<Attachment>,
    /// Its cable, where the machine runs and has it.
    #[serde(default)]
    pub cable: Cable,
    /// What it is for the guest; `None` for something that labyard does not make.
    pub model: Option<NicModel>,
    /// Whom it reaches on its network, by its definition where that has it.
    #[serde(default)]
    pub isolation: Isolation,
    /// Where it stands.
    pub standing: Standing,
    /// Addresses that the host knows it by at present (leases), IPv4 first.
    pub addresses: Vec<IpAddr>,
}

/// Whether the cable of a running machine's NIC is where its definition has it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Cable {
    /// It is.
    #[default]
    AsDefined,
    /// It was pulled out, by a hand or by a move that was cut short.
    Out,
}

/// Where a NIC is attached.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Attachment {
    /// A network of the host, by the host's name for it.
    Network(String),
    /// A bridge of the host.
    Bridge(String),
    /// Something that labyard does not make.
    Other(String),
}

/// A network.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ObservedNetwork {
    /// The host's id of it.
    pub id: ObjectId,
    /// The host's name of it.
    pub host_name: String,
    /// Ours if there.
    pub mark: MarkState,
    /// Whether it is up.
    pub active: Activity,
    /// Whether it runs as it is defined, with its guests on it.
    #[serde(default)]
    pub standing: NetworkStanding,
    /// Whether it starts with the host.
    pub autostart: Autostart,
    /// What it does; `None` for a kind that labyard does not make.
    pub mode: Option<NetworkMode>,
    /// Its bridge.
    pub bridge: Option<String>,
    /// The host's own address on it with the prefix.
    pub address: Option<ipnet::Ipv4Net>,
    /// Its DHCP range.
    pub dhcp: Option<Dhcp>,
    /// Its DNS domain.
    pub domain: Option<String>,
    /// What else it offers.
    #[serde(default)]
    pub lan: Lan,
    /// What guests that boot from it load, as far as labyard says so.
    #[serde(default)]
    pub boot: Option<NetworkBoot>,
    /// Reserved addresses.
    pub reservations: Vec<Reservation>,
    /// Leases at present; in a bulk read only where machines of labyard run on it.
    pub leases: Vec<DhcpLease>,
}

/// Whether a network is up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Activity {
    /// Up.
    Active,
    /// Down.
    Inactive,
}

/// Whether a network of ours that is up runs as it is defined, with its guests on it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum NetworkStanding {
    /// It does.
    #[default]
    AsDefined,
    /// It does not: a change was cut short, or somebody restarted it or changed what runs.
    Behind,
}

/// Whether an object starts with the host.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Autostart {
    /// It does.
    On,
    /// It does not.
    #[default]
    Off,
}

/// An address kept for a MAC.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reservation {
    /// For whom.
    pub mac: MacAddr,
    /// What.
    pub address: IpAddr,
    /// The host name given with it.
    pub name: Option<String>,
}

/// An address in use by DHCP.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DhcpLease {
    /// By whom.
    pub mac: MacAddr,
    /// What.
    pub address: IpAddr,
    /// The host name that the guest sent.
    pub hostname: Option<String>,
    /// When it ends, in seconds since 1970; `None` where it does not, or the host does not tell. A guest that boots
    /// again gets another end.
    #[serde(default)]
    pub ends: Option<u64>,
}

/// A volume in the listing of a pool.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ObservedVolume {
    /// Its pool.
    pub pool: PoolName,
    /// Its name.
    pub name: VolumeName,
    /// Its path on the host (libvirt: its key).
    pub path: String,
}

/// One volume read on its own.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VolumeDetail {
    /// Its name.
    pub name: VolumeName,
    /// Its path on the host.
    pub path: String,
    /// Its size as a machine sees it.
    pub capacity: Bytes,
    /// Its format as the host sees it.
    pub format: Option<DiskFormat>,
    /// The path of what it is an overlay of.
    pub backing: Option<String>,
}

/// A file of the host that labyard does not keep.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostFile {
    /// How long it is.
    pub length: Bytes,
    /// Another one when the file has been written to.
    pub version: String,
}

/// The room in a pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PoolRoom {
    /// In all.
    pub capacity: Bytes,
    /// Not used.
    pub available: Bytes,
}

/// A storage pool of a host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PoolFacts {
    /// Its name.
    pub name: PoolName,
    /// What its volumes are.
    pub kind: PoolKind,
    /// Whether it is up.
    pub active: Activity,
    /// Its room as the host last saw it; `None` where it is not up.
    pub room: Option<PoolRoom>,
}

/// What the volumes of a pool are.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PoolKind {
    /// Files in a directory.
    Directory,
    /// Logical volumes: block devices without a format of their own.
    Logical,
    /// Something that labyard makes no disks in.
    Other(String),
}
