//! What shall be: everything about a machine or network decided, ready to be compared with what is.
//!
//! Built from the schema's structs by [`DesiredMachine::from_config`] and [`DesiredNetwork::from_config`] once
//! all values are known.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Duration;

use labyard_driver::ids::{Bytes, Digest, DiskKey, MediaKey, Mib, Namespace, NicKey, ObjectName, PoolName};
use labyard_driver::lan::{Lan, VlanId};
use labyard_driver::mark::{CloneMode, MemberMark, OnRemove};
use labyard_driver::observed::Autostart;
use labyard_driver::spec::{
    CpuModel, Dhcp, DirectBoot, DiskBus, Firmware, Graphics, Guards, MachineType, Nested, NetworkBoot,
    NetworkMode, SecureBoot, Tpm,
};
use labyard_schema::text::Span;
use labyard_schema::{network, vm};
use serde::{Deserialize, Serialize};

use crate::desired_drives::desired_media;
use crate::desired_nics::desired_nics;
use crate::desired_seed::desired_seed;

pub use crate::desired_drives::DesiredDrive;
pub use crate::desired_nics::{DesiredNic, FixedAddress, fixed_address};
pub use crate::desired_seed::{DesiredSeed, SeedVersion, seed_version};

/// A machine as it shall be.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DesiredMachine {
    /// The state it belongs to.
    pub namespace: Namespace,
    /// Its name.
    pub name: ObjectName,
    /// Processors.
    pub cpus: u32,
    /// Processors that it may have while it runs, where written.
    pub cpus_max: Option<u32>,
    /// Memory.
    pub memory: Mib,
    /// Memory that it may have while it runs, where written.
    pub memory_max: Option<Mib>,
    /// Firmware.
    pub firmware: Firmware,
    /// What its firmware guards its start with.
    pub guards: Guards,
    /// Certificates that its firmware trusts, in PEM.
    pub ca_certificate: Option<String>,
    /// Chipset; `None` is one that labyard does not make and leaves as it is.
    pub machine_type: Option<MachineType>,
    /// Processor, as written.
    pub cpu: DesiredCpu,
    /// Display.
    pub graphics: Graphics,
    /// Serial number, as written or derived; `None` leaves what is there.
    pub serial: Option<String>,
    /// Whether it starts with the host.
    pub autostart: Autostart,
    /// Direct kernel boot.
    pub direct_boot: Option<DirectBoot>,
    /// Disks by key.
    pub disks: BTreeMap<DiskKey, DesiredDisk>,
    /// CD drives by key, each with the image in it.
    pub media: BTreeMap<MediaKey, DesiredDrive>,
    /// NICs by key.
    pub nics: BTreeMap<NicKey, DesiredNic>,
    /// Seed for cloud-init.
    pub seed: Option<DesiredSeed>,
    /// Power.
    pub power: DesiredPower,
    /// What a start waits for.
    pub ready: DesiredReady,
    /// How it is stopped.
    pub shutdown: DesiredShutdown,
    /// What the user wrote and the host cannot show.
    pub wishes: Wishes,
    /// What its plan has promised and what it left to hooks.
    pub planned: Planned,
    /// Which machine of a pool it is.
    pub member: Option<MemberMark>,
}

/// What a machine's plan has promised and what it left to hooks.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Planned {
    /// NICs whose MAC a hook may still supply.
    pub open_macs: BTreeSet<NicKey>,
    /// The address that the plan has promised for the first NIC.
    pub ip: Option<IpAddr>,
}

/// A disk as it shall be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DesiredDisk {
    /// Size; `None` is the image's own.
    pub size: Option<Bytes>,
    /// Image it is made of.
    pub image: Option<DesiredImage>,
    /// As written.
    pub clone: Option<CloneMode>,
    /// The pool of its volume, as written.
    pub pool: Option<PoolName>,
    /// What it is attached to.
    pub bus: DiskBus,
    /// As written.
    pub on_remove: Option<OnRemove>,
    /// Place in the boot order, as written.
    pub boot: Option<u32>,
}

impl DesiredDisk {
    /// How the disk is made of its image.
    pub fn clone_mode(&self) -> CloneMode {
        self.clone.unwrap_or(CloneMode::Linked)
    }
}

/// What becomes of a disk that leaves the configuration, where nothing was written: an image can be fetched
/// again, what was written to a blank disk cannot.
pub fn default_on_remove(made_of_image: Option<&impl Sized>) -> OnRemove {
    if made_of_image.is_some() {
        OnRemove::Delete
    } else {
        OnRemove::Refuse
    }
}

/// An image as it is asked for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DesiredImage {
    /// Where from.
    pub source: String,
    /// Its digest, as written or pinned at create.
    pub digest: Option<Digest>,
    /// Its digest, as written.
    pub sha256: Option<Digest>,
}

/// A processor as it is written.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DesiredCpu {
    /// Its model.
    pub model: Option<CpuModel>,
    /// Whether guests may run guests of their own.
    pub nested: Option<Nested>,
}

/// Power as it shall be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum DesiredPower {
    /// On.
    Running,
    /// Off.
    Stopped,
}

/// A condition that a started machine is waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Wait {
    /// None.
    None,
    /// It has an address.
    Address,
    /// Its agent answers.
    Agent,
    /// A TCP port of its address accepts connections.
    Tcp(u16),
}

/// What a start waits for, and how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DesiredReady {
    /// The condition.
    pub wait: Wait,
    /// How long.
    pub timeout: Duration,
}

/// How a machine is stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum DesiredShutdown {
    /// Ask, and force after this long.
    Graceful(Duration),
    /// Force.
    Force,
}

/// What the user wrote and the host cannot show; kept in the mark, so that an import restores it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Wishes {
    /// As written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ready: Option<vm::Ready>,
    /// As written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shutdown: Option<vm::Shutdown>,
    /// As written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeouts: Option<vm::Timeouts>,
    /// As written.
    #[serde(default = "yes")]
    pub allow_restart: bool,
    /// Whether the firmware was written (left out, it stays so after an import).
    #[serde(default)]
    pub firmware_written: bool,
    /// Sizes as written, by disk; a disk whose size was left out is not here.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub sizes_gib: BTreeMap<String, u64>,
    /// Storage pools as written, by disk.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub storage_pools: BTreeMap<String, String>,
    /// As written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpus_max: Option<u32>,
    /// As written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_max_mib: Option<u64>,
    /// MACs as written, by NIC.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub macs: BTreeMap<String, String>,
    /// Fixed addresses, by NIC.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub fixed: BTreeMap<String, FixedAddress>,
    /// The seed's version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seed: Option<SeedVersion>,
    /// Whether plain user data were written.
    #[serde(default)]
    pub user_data_written: bool,
    /// As written, without its secrets.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub guest: Option<vm::Guest>,
    /// Whether a seed that `guest` asks for was asked for by `cloud_init` too.
    #[serde(default)]
    pub cloud_init_written: bool,
    /// Processor, as written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu: Option<vm::Cpu>,
    /// The serial number that the machine was given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub serial: Option<String>,
    /// As written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub labels: Option<BTreeMap<String, String>>,
    /// As written.
    #[serde(default, skip_serializing_if = "is_no")]
    pub deletion_protection: bool,
    /// Timeouts of a network, as written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub network_timeouts: Option<network::NetworkTimeouts>,
    /// Whether a network's `dns` object was written though it says nothing.
    #[serde(default)]
    pub dns_written: bool,
    /// What of a network was written though it says nothing.
    #[serde(default, skip_serializing_if = "crate::lan::Written::is_empty")]
    pub network_written: crate::lan::Written,
    /// The power as it shall be, `running` or `stopped`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub power: Option<String>,
}

fn is_no(value: &bool) -> bool {
    !value
}

fn yes() -> bool {
    true
}

impl Wishes {
    /// The wishes in a mark; what cannot be read is as if nothing had been written.
    pub fn from_mark(mark: &labyard_driver::mark::Mark) -> Self {
        Self::deserialize(&mark.wishes).unwrap_or(Self {
            allow_restart: true,
            ..Self::default()
        })
    }

    /// The serial number in a mark, without reading the rest: each plan of a machine asks for those of all others.
    pub fn serial_in(mark: &labyard_driver::mark::Mark) -> Option<&str> {
        mark.wishes.get("serial")?.as_str()
    }

    /// The form that stands in the mark.
    pub fn to_json(&self) -> serde_json::Value {
        serde_json::to_value(self).unwrap_or_default()
    }
}

/// A value that passed the schema's checks and still cannot be used; names the attribute.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{attribute}: {message}")]
pub struct Unusable {
    /// The attribute.
    pub attribute: &'static str,
    /// What is wrong.
    pub message: String,
}

impl DesiredMachine {
    /// Decides everything that the configuration leaves open. `macs` are the planned addresses by NIC,
    /// `digests` the pinned digests by disk.
    ///
    /// # Errors
    /// Where a planned value is none of its kind; the schema's checks leave none such.
    pub fn from_config(
        namespace: &Namespace,
        vm: &vm::Vm,
        macs: &BTreeMap<String, String>,
        digests: &BTreeMap<String, String>,
    ) -> Result<Self, Unusable> {
        let disks: BTreeMap<_, _> = vm
            .disks
            .iter()
            .flatten()
            .map(|(key, disk)| (DiskKey(key.clone()), desired_disk(disk, digests.get(key))))
            .collect();
        let nics = desired_nics(vm, macs)?;
        let direct_boot = vm.boot.as_ref().and_then(desired_boot);
        let from_network = nics.values().any(|nic| nic.boot.is_some());
        let media = desired_media(vm);
        let from_cd = media.values().any(|d| d.boot.is_some() && d.image.is_some());
        let from_device = disks.values().any(|d| d.image.is_some()) || from_network || from_cd;
        let bootable = from_device || direct_boot.is_some();
        Ok(Self {
            namespace: namespace.clone(),
            name: ObjectName(vm.name.clone()),
            cpus: vm.cpus,
            cpus_max: vm.cpus_max,
            memory: Mib(vm.memory_mib),
            memory_max: vm.memory_max_mib.map(Mib),
            firmware: desired_firmware(vm.firmware.as_ref()),
            guards: vm.firmware.as_ref().map(desired_guards).unwrap_or_default(),
            ca_certificate: vm.boot.as_ref().and_then(|boot| boot.ca_certificate.clone()),
            machine_type: vm.machine_type.as_deref().and_then(parse_machine_type),
            cpu: desired_cpu(vm.cpu.as_ref()),
            graphics: parse_graphics(&vm.graphics),
            serial: vm.serial.clone(),
            autostart: if vm.autostart {
                Autostart::On
            } else {
                Autostart::Off
            },
            media,
            direct_boot,
            ready: desired_ready(vm.ready.as_ref(), bootable && !nics.is_empty()),
            shutdown: desired_shutdown(vm.shutdown.as_ref()),
            seed: desired_seed(vm),
            power: if vm.power == "stopped" {
                DesiredPower::Stopped
            } else {
                DesiredPower::Running
            },
            wishes: machine_wishes(vm),
            planned: Planned::default(),
            member: None,
            disks,
            nics,
        })
    }
}

pub(crate) fn desired_image(source: &str, sha256: Option<&String>, pinned: Option<&String>) -> DesiredImage {
    DesiredImage {
        source: source.to_owned(),
        digest: sha256.or(pinned).cloned().map(Digest),
        sha256: sha256.cloned().map(Digest),
    }
}

/// Reads `machine_type` as it is written.
pub fn parse_machine_type(text: &str) -> Option<MachineType> {
    match text {
        "q35" => Some(MachineType::Q35),
        "pc" => Some(MachineType::Pc),
        _ => None,
    }
}

/// Reads `graphics` as it is written.
pub fn parse_graphics(text: &str) -> Graphics {
    match text {
        "vnc" => Graphics::Vnc,
        _ => Graphics::None,
    }
}

/// Reads `cpu` as it is written.
pub fn desired_cpu(cpu: Option<&vm::Cpu>) -> DesiredCpu {
    let model = cpu.and_then(|cpu| cpu.model.as_deref()).map(|model| match model {
        "host-passthrough" => CpuModel::HostPassthrough,
        "host-model" => CpuModel::HostModel,
        "maximum" => CpuModel::Maximum,
        name => CpuModel::Named(name.to_owned()),
    });
    let nested = cpu
        .and_then(|cpu| cpu.nested)
        .map(|nested| if nested { Nested::On } else { Nested::Off });
    DesiredCpu { model, nested }
}

fn desired_disk(disk: &vm::Disk, pinned: Option<&String>) -> DesiredDisk {
    let image = disk
        .image
        .as_ref()
        .map(|image| desired_image(&image.source, image.sha256.as_ref(), pinned));
    DesiredDisk {
        size: disk.size_gib.map(Bytes::from_gib),
        image,
        clone: disk.clone.as_deref().map(|c| {
            if c == "full" {
                CloneMode::Full
            } else {
                CloneMode::Linked
            }
        }),
        pool: disk.storage_pool.clone().map(PoolName),
        bus: DiskBus::parse(&disk.bus).unwrap_or_default(),
        on_remove: disk.on_remove.as_deref().map(parse_on_remove),
        boot: disk.boot,
    }
}

/// Reads `on_remove` as it is written.
pub fn parse_on_remove(text: &str) -> OnRemove {
    match text {
        "delete" => OnRemove::Delete,
        "detach" => OnRemove::Detach,
        _ => OnRemove::Refuse,
    }
}

/// A VLAN as it is written.
pub fn vlan(number: u32) -> Option<VlanId> {
    u16::try_from(number).ok().map(VlanId)
}

fn desired_firmware(firmware: Option<&vm::Firmware>) -> Firmware {
    match firmware {
        Some(firmware) if firmware.r#type == "uefi" => Firmware::Uefi,
        _ => Firmware::Bios,
    }
}

/// The guards as they are written.
pub fn desired_guards(firmware: &vm::Firmware) -> Guards {
    Guards {
        secure_boot: if firmware.secure_boot {
            SecureBoot::Microsoft
        } else {
            SecureBoot::Off
        },
        tpm: if firmware.tpm { Tpm::Emulated } else { Tpm::Absent },
    }
}

/// Direct kernel boot as it is written.
pub fn desired_boot(boot: &vm::Boot) -> Option<DirectBoot> {
    Some(DirectBoot {
        kernel: boot.kernel.clone()?,
        initrd: boot.initrd.clone(),
        cmdline: boot.cmdline.clone(),
    })
}

fn desired_ready(ready: Option<&vm::Ready>, by_default: bool) -> DesiredReady {
    let timeout = Span::or(ready.and_then(|r| r.timeout.as_ref()), Duration::from_secs(600));
    let wait = match ready.map(|r| r.wait.as_str()) {
        None if by_default => Wait::Address,
        None | Some("none") => Wait::None,
        Some("agent") => Wait::Agent,
        Some(text) => text
            .strip_prefix("tcp:")
            .and_then(|port| port.parse().ok())
            .map_or(Wait::Address, Wait::Tcp),
    };
    DesiredReady { wait, timeout }
}

fn desired_shutdown(shutdown: Option<&vm::Shutdown>) -> DesiredShutdown {
    match shutdown {
        Some(shutdown) if shutdown.mode == "force" => DesiredShutdown::Force,
        other => DesiredShutdown::Graceful(Span::or(
            other.and_then(|s| s.timeout.as_ref()),
            Duration::from_secs(60),
        )),
    }
}

fn machine_wishes(vm: &vm::Vm) -> Wishes {
    let disks = vm.disks.iter().flatten();
    let pools = disks.clone();
    let nics = vm.nics.iter().flatten();
    let fixed = nics.clone().filter_map(|(key, nic)| {
        let fixed = nic.ipv4.as_ref().and_then(fixed_address)?;
        Some((key.clone(), fixed))
    });
    Wishes {
        fixed: fixed.collect(),
        ready: vm.ready.clone(),
        shutdown: vm.shutdown.clone(),
        timeouts: vm.timeouts.clone(),
        allow_restart: vm.allow_restart,
        firmware_written: vm.firmware.is_some(),
        cpus_max: vm.cpus_max,
        memory_max_mib: vm.memory_max_mib,
        sizes_gib: disks
            .filter_map(|(key, disk)| Some((key.clone(), disk.size_gib?)))
            .collect(),
        storage_pools: pools
            .filter_map(|(key, disk)| Some((key.clone(), disk.storage_pool.clone()?)))
            .collect(),
        macs: nics
            .filter_map(|(key, nic)| Some((key.clone(), nic.mac.clone()?)))
            .collect(),
        seed: seed_version(vm),
        guest: vm.guest.clone(),
        cloud_init_written: vm.cloud_init.is_some(),
        user_data_written: vm.cloud_init.as_ref().is_some_and(|c| c.user_data.is_some()),
        power: Some(vm.power.clone()),
        cpu: vm.cpu.clone(),
        serial: vm.serial.clone(),
        labels: vm.labels.clone(),
        deletion_protection: vm.deletion_protection,
        ..Wishes::default()
    }
}

/// A network as it shall be.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DesiredNetwork {
    /// The state it belongs to.
    pub namespace: Namespace,
    /// Its name.
    pub name: ObjectName,
    /// What it does.
    pub mode: NetworkMode,
    /// The host's bridge, for [`NetworkMode::Bridge`].
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
    /// What the user wrote and the host cannot show.
    pub wishes: Wishes,
}

/// What guests that boot from a network load, as written.
pub fn network_boot(boot: &network::NetworkBoot) -> NetworkBoot {
    NetworkBoot {
        url: boot.url.clone(),
        vendor_class: boot.vendor_class.clone(),
    }
}

impl DesiredNetwork {
    /// Decides everything that the configuration leaves open.
    ///
    /// # Errors
    /// Where a planned value is none of its kind; the schema's checks leave none such.
    pub fn from_config(namespace: &Namespace, config: &network::Network) -> Result<Self, Unusable> {
        let unusable = |text: &str| Unusable {
            attribute: "ipv4",
            message: format!("{text:?} cannot be read"),
        };
        let (mut address, mut dhcp) = (None, None);
        if let Some(ipv4) = &config.ipv4 {
            let net: ipnet::Ipv4Net = ipv4.cidr.parse().map_err(|_| unusable(&ipv4.cidr))?;
            address = ipnet::Ipv4Net::new(network::gateway(&net), net.prefix_len()).ok();
            if let Some(range) = &ipv4.dhcp {
                let start = range.start.parse().map_err(|_| unusable(&range.start))?;
                let end = range.end.parse().map_err(|_| unusable(&range.end))?;
                dhcp = Some(Dhcp { start, end });
            }
        }
        Ok(Self {
            namespace: namespace.clone(),
            name: ObjectName(config.name.clone()),
            mode: match config.mode.as_str() {
                "nat" => NetworkMode::Nat,
                "routed" => NetworkMode::Routed,
                "bridge" => NetworkMode::Bridge,
                _ => NetworkMode::Isolated,
            },
            bridge: config.bridge.clone(),
            address,
            dhcp,
            boot: config.boot.as_ref().map(network_boot),
            domain: config.dns.as_ref().and_then(|dns| dns.domain.clone()),
            lan: crate::lan::desired(config)?,
            autostart: if config.autostart {
                Autostart::On
            } else {
                Autostart::Off
            },
            wishes: Wishes {
                allow_restart: true,
                network_timeouts: config.timeouts.clone(),
                labels: config.labels.clone(),
                deletion_protection: config.deletion_protection,
                dns_written: config.dns.is_some(),
                network_written: crate::lan::written(config),
                ..Wishes::default()
            },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_machine_that_can_boot_and_has_a_card_is_waited_for_by_default() {
        assert_eq!(desired_ready(None, true).wait, Wait::Address);
        assert_eq!(desired_ready(None, false).wait, Wait::None);
        let tcp = vm::Ready {
            wait: "tcp:22".into(),
            timeout: None,
        };
        assert_eq!(desired_ready(Some(&tcp), false).wait, Wait::Tcp(22));
    }
}
