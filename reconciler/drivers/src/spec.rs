//! What a driver is asked for: everything is decided, nothing means "later".

use std::net::Ipv4Addr;

use serde::{Deserialize, Serialize};

use crate::ids::{Bytes, DiskKey, MacAddr, MediaKey, Mib, NicKey, ObjectId, PoolName, VolumeName};
use crate::lan::{Lan, VlanId};
use crate::mark::Mark;
use crate::observed::{Attachment, Autostart};

/// A machine's whole definition.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MachineSpec {
    /// The id that the host keeps for it. Of one that is recorded: the one that it shall keep, where hosts let callers
    /// choose; otherwise what comes back says which one it has.
    pub id: ObjectId,
    /// The name that the host shall know it by.
    pub host_name: String,
    /// Its mark.
    pub mark: Mark,
    /// Processors.
    pub cpus: u32,
    /// Processors that it may have while it runs; `None` keeps the room that is there and makes none.
    #[serde(default)]
    pub cpus_max: Option<u32>,
    /// Memory.
    pub memory: Mib,
    /// Memory that it may have while it runs; `None` keeps the room that is there and makes none.
    #[serde(default)]
    pub memory_max: Option<Mib>,
    /// What runs it.
    pub accelerator: Accelerator,
    /// Its firmware.
    pub firmware: Firmware,
    /// What its firmware guards its start with.
    pub guards: Guards,
    /// The file of its firmware's variables; `None` leaves that to the host.
    pub nvram: Option<NvramSpec>,
    /// The devices that it boots from, in their order; none: its disks in theirs.
    pub boot_order: Vec<BootDevice>,
    /// Its chipset, for a machine that is made; it is never changed.
    pub machine_type: MachineType,
    /// Its processor.
    pub cpu: CpuSpec,
    /// Its display.
    pub graphics: Graphics,
    /// Its serial number in SMBIOS; `None` leaves what is there.
    pub serial: Option<String>,
    /// Direct kernel boot.
    pub direct_boot: Option<DirectBoot>,
    /// Its disks, in boot order.
    pub disks: Vec<DiskSpec>,
    /// Its seed, on a CD drive.
    pub seed: Option<MediumSpec>,
    /// Its other CD drives, in order of their keys.
    pub media: Vec<DriveSpec>,
    /// Its NICs, in order of their keys.
    pub nics: Vec<NicSpec>,
}

/// What runs a machine's processors.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Accelerator {
    /// The kernel's hypervisor.
    Kvm,
    /// QEMU's emulation.
    Qemu,
}

impl Accelerator {
    /// The processor that a machine has where nothing else is asked for: the host's own where the hardware runs it;
    /// elsewhere all that emulation can do, since current distributions are built for more than QEMU's usual model.
    pub fn usual_cpu(self) -> CpuModel {
        match self {
            Self::Kvm => CpuModel::HostPassthrough,
            Self::Qemu => CpuModel::Maximum,
        }
    }
}

/// A machine's firmware.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Firmware {
    /// BIOS.
    Bios,
    /// UEFI.
    Uefi,
}

/// What a machine's firmware guards its start with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Guards {
    /// Secure boot.
    pub secure_boot: SecureBoot,
    /// Trusted platform module.
    pub tpm: Tpm,
}

/// Whether UEFI starts only what is signed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SecureBoot {
    /// It starts anything.
    #[default]
    Off,
    /// What is signed by Microsoft's keys, which are enrolled.
    Microsoft,
}

/// A trusted platform module.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Tpm {
    /// None.
    #[default]
    Absent,
    /// An emulated one, version 2.0.
    Emulated,
}

/// The volume that holds the variables of a machine's firmware.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NvramSpec {
    /// The pool of its volume.
    pub pool: PoolName,
    /// Its volume.
    pub volume: VolumeName,
}

/// A device that a machine boots from.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BootDevice {
    /// A disk.
    Disk(DiskKey),
    /// A NIC: from the network.
    Nic(NicKey),
    /// A CD drive.
    Drive(MediaKey),
}

impl MachineSpec {
    /// Whether its firmware is UEFI and asks the network for what it boots.
    pub fn boots_from_network(&self) -> bool {
        let nic = |device: &BootDevice| matches!(device, BootDevice::Nic(_));
        self.firmware == Firmware::Uefi && self.boot_order.iter().any(nic)
    }
}

/// A machine's chipset.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MachineType {
    /// PCI Express.
    #[default]
    Q35,
    /// The older one with PCI alone (i440FX).
    Pc,
}

/// A machine's processor. What is left open stays as it is in a machine that stands.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CpuSpec {
    /// The model.
    pub model: Choice<CpuModel>,
    /// Whether guests may run guests of their own.
    pub nested: Choice<Nested>,
}

/// What is asked for of a part of a machine.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Choice<T> {
    /// Nothing: it stays as it is.
    #[default]
    AsFound,
    /// As a new machine has it.
    Default,
    /// This.
    Is(T),
}

/// A processor's model.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CpuModel {
    /// The host's own; only where the hardware runs the guest.
    HostPassthrough,
    /// The closest to the host's own that can be described.
    HostModel,
    /// All that the accelerator offers.
    Maximum,
    /// By its name.
    Named(String),
}

/// Whether guests may run guests of their own with the hardware's support.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Nested {
    /// They may.
    On,
    /// They may not.
    Off,
}

/// A machine's display.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Graphics {
    /// None.
    #[default]
    None,
    /// VNC on the host's loopback address, at a free port.
    Vnc,
}

/// A kernel started without a boot loader; paths on the host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DirectBoot {
    /// The kernel's path.
    pub kernel: String,
    /// The initial file system's path.
    pub initrd: Option<String>,
    /// The kernel's command line.
    pub cmdline: Option<String>,
}

/// A volume's format.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DiskFormat {
    /// Plain bytes.
    Raw,
    /// QEMU's copy-on-write format.
    Qcow2,
    /// Hyper-V's.
    Vhdx,
}

/// What a disk is attached to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DiskBus {
    /// A PCI device of its own.
    #[default]
    Virtio,
    /// A virtio-scsi controller.
    Scsi,
    /// The chipset's controller.
    Sata,
    /// USB.
    Usb,
}

impl DiskBus {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Virtio, Self::Scsi, Self::Sata, Self::Usb];

    /// Its word.
    pub fn word(self) -> &'static str {
        match self {
            Self::Virtio => "virtio",
            Self::Scsi => "scsi",
            Self::Sata => "sata",
            Self::Usb => "usb",
        }
    }

    /// The bus of that word.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|bus| bus.word() == word)
    }

    /// How the targets of its disks begin.
    pub fn target_prefix(self) -> &'static str {
        match self {
            Self::Virtio => "vd",
            Self::Scsi | Self::Sata | Self::Usb => "sd",
        }
    }
}

/// What a NIC is for the guest.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NicModel {
    /// Paravirtual.
    #[default]
    Virtio,
    /// Intel's, on PCI Express.
    E1000e,
    /// Intel's, on PCI.
    E1000,
    /// Realtek's, on PCI.
    Rtl8139,
}

impl NicModel {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Virtio, Self::E1000e, Self::E1000, Self::Rtl8139];

    /// Its word.
    pub fn word(self) -> &'static str {
        match self {
            Self::Virtio => "virtio",
            Self::E1000e => "e1000e",
            Self::E1000 => "e1000",
            Self::Rtl8139 => "rtl8139",
        }
    }

    /// The model of that word.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|model| model.word() == word)
    }

    /// Whether it can be plugged into a running machine: the ports for that are of PCI Express.
    pub fn plugs_in(self) -> bool {
        matches!(self, Self::Virtio | Self::E1000e)
    }
}

/// A disk of a machine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DiskSpec {
    /// The user's key.
    pub key: DiskKey,
    /// `vda`.
    pub target: String,
    /// The pool of its volume.
    pub pool: PoolName,
    /// Its volume.
    pub volume: VolumeName,
    /// The volume's format.
    pub format: DiskFormat,
    /// What it is attached to.
    #[serde(default)]
    pub bus: DiskBus,
}

/// A medium in a CD drive.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MediumSpec {
    /// `sda`.
    pub target: String,
    /// The pool of its volume.
    pub pool: PoolName,
    /// Its volume.
    pub volume: VolumeName,
}

/// A CD drive of a machine, besides the seed's.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DriveSpec {
    /// The user's key.
    pub key: MediaKey,
    /// `sdb`.
    pub target: String,
    /// What is in it; `None` for an empty one.
    pub medium: Option<(PoolName, VolumeName)>,
}

/// A NIC of a machine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NicSpec {
    /// The user's key.
    pub key: NicKey,
    /// Its address.
    pub mac: MacAddr,
    /// Where it is attached ([`Attachment::Other`] is never asked for).
    pub attachment: Attachment,
    /// Its VLAN there; `None`: the network's.
    pub vlan: Option<VlanId>,
    /// What it is for the guest.
    #[serde(default)]
    pub model: NicModel,
    /// Whom it reaches on its network.
    #[serde(default)]
    pub isolation: Isolation,
}

/// Whom a NIC reaches on its network.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Isolation {
    /// Everybody. Asked for, it leaves a NIC as it is.
    #[default]
    Open,
    /// The host, and those who are open; none that is kept apart too.
    Apart,
}

/// One change of a running machine; its definition is brought along by [`crate::Driver::define_machine`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LiveChange {
    /// Takes a disk off, by its target; from the definition too, once it is gone from what runs.
    UnplugDisk(String),
    /// Takes a NIC off, by its address; from the definition too, once it is gone from what runs.
    UnplugNic(MacAddr),
    /// Plugs in the specification's disk of this key.
    PlugDisk(DiskKey),
    /// Plugs in the specification's NIC of this key.
    PlugNic(NicKey),
    /// Attaches the NIC of this key where the specification says; its link goes down and up.
    MoveNic(NicKey),
    /// Gives it as many processors as the specification says; never fewer.
    Cpus,
    /// Sets its balloon so that it has as much memory as the specification says.
    Memory,
}

/// A volume to make.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VolumeSpec {
    /// Its pool.
    pub pool: PoolName,
    /// Its name.
    pub name: VolumeName,
    /// What is in it.
    pub content: VolumeContent,
}

/// What a new volume starts as.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum VolumeContent {
    /// A blank qcow2 disk.
    Blank {
        /// Its size.
        capacity: Bytes,
    },
    /// An overlay in qcow2.
    Overlay {
        /// The volume below it, in the same pool.
        base: VolumeName,
        /// That volume's format.
        base_format: DiskFormat,
        /// Its size, at least the base's.
        capacity: Bytes,
    },
    /// A copy of another volume, made by the host, as qcow2.
    Copy {
        /// The volume to copy, in the same pool.
        base: VolumeName,
        /// That volume's format.
        base_format: DiskFormat,
        /// Its size, at least the base's.
        capacity: Bytes,
    },
    /// A block device of its own, for a pool of such.
    Block {
        /// Its size.
        capacity: Bytes,
    },
    /// A block device with the contents of a volume of another pool, made by the host.
    BlockCopy {
        /// The pool of the volume to copy.
        base_pool: PoolName,
        /// The volume to copy.
        base: VolumeName,
        /// That volume's format.
        base_format: DiskFormat,
        /// Its size, at least the base's.
        capacity: Bytes,
    },
    /// The contents of a file of the host, copied by the host: the file itself stays as it is.
    OfFile {
        /// Its path.
        path: String,
        /// Its format, which the copy has too.
        format: DiskFormat,
        /// Its size as a machine sees it.
        capacity: Bytes,
    },
    /// Raw, fully allocated, for an upload of exactly this length; readable by the hypervisor's owner alone.
    Upload {
        /// Exact length.
        length: Bytes,
    },
}

/// What a network does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NetworkMode {
    /// Guests reach the outside through the host's address.
    Nat,
    /// Guests reach the outside by their own addresses, others them where they have a route.
    Routed,
    /// Guests reach each other and the host alone.
    Isolated,
    /// Guests are on a bridge that the host has already.
    Bridge,
}

/// A network's whole definition.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct NetworkSpec {
    /// The id that the host keeps for it. Of one that is made: the one that it shall keep, where hosts let callers choose;
    /// otherwise what comes back says which one it has.
    pub id: ObjectId,
    /// The name that the host shall know it by.
    pub host_name: String,
    /// Its mark.
    pub mark: Mark,
    /// What it does.
    pub mode: NetworkMode,
    /// The bridge: for [`NetworkMode::Bridge`] the host's own; else `None` lets the host name one.
    pub bridge: Option<String>,
    /// The host's own address on it with the prefix.
    pub address: Option<ipnet::Ipv4Net>,
    /// DHCP.
    pub dhcp: Option<Dhcp>,
    /// DNS domain.
    pub domain: Option<String>,
    /// What else it offers.
    pub lan: Lan,
    /// What guests that boot from it load.
    pub boot: Option<NetworkBoot>,
    /// Whether it starts with the host.
    pub autostart: Autostart,
}

/// What guests that boot from a network load.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NetworkBoot {
    /// The boot file's address.
    pub url: String,
    /// The vendor class of the clients that are told of it, and of the answer.
    pub vendor_class: String,
}

/// A DHCP range, ends included.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Dhcp {
    /// First address.
    pub start: Ipv4Addr,
    /// Last address.
    pub end: Ipv4Addr,
}

/// A program that tells whether an accelerator really runs guests.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProbePayload {
    /// A raw disk image that BIOS boots.
    pub image: Vec<u8>,
    /// What it writes to the first serial port once it is past the firmware.
    pub magic: Vec<u8>,
}
