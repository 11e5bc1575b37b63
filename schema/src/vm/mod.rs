//! `labyard_vm`: a machine.

mod boot_rules;
mod guest;
mod os_family;
mod rules;

use std::collections::BTreeMap;

use crate::attribute::attributes;
use crate::check;
use crate::text::{Secret, Span};

pub use guest::{DomainJoin, Guest, GuestUser, OS_FAMILIES};
pub use os_family::OsFamily;

/// What `power` may be set to; a read also yields `paused`, `saved`, `crashed` and `absent`.
pub const POWERS: &[&str] = &["running", "stopped"];
/// How a disk is made of its image.
pub const CLONES: &[&str] = &["linked", "full"];
/// What becomes of a disk that leaves the configuration.
pub const ON_REMOVE: &[&str] = &["refuse", "delete", "detach"];
/// What a disk is attached to.
pub const BUSES: &[&str] = &["virtio", "scsi", "sata", "usb"];
/// What a network card is for the guest.
pub const NIC_MODELS: &[&str] = &["virtio", "e1000e", "e1000", "rtl8139"];
/// Firmwares.
pub const FIRMWARES: &[&str] = &["bios", "uefi"];
/// How a machine is stopped.
pub const SHUTDOWNS: &[&str] = &["graceful", "force"];
/// Chipsets.
pub const MACHINE_TYPES: &[&str] = &["q35", "pc"];
/// Displays.
pub const GRAPHICS: &[&str] = &["none", "vnc"];

attributes! {
    /// A virtual machine.
    pub struct Vm {
        /// Name of the machine, unique in its namespace on the host. Another name renames it in place, which needs it stopped; its MACs, serial number and volumes stay as they are.
        name: String = required().restart().check(check::object_name);
        /// Host it runs on, a key of the provider's `hosts`. Left out: the least loaded one that has room, and there it stays.
        host: Option<String> = optional_computed().replace();
        /// Number of virtual processors. A running machine is given more of them up to `cpus_max` (its guest takes them into use); fewer need a restart.
        cpus: u32 = default(1).live_or_restart().range(1, 512);
        /// Processors that the machine may have while it runs: room for `cpus` to grow without a restart. Left out: no room is made; what an imported machine has stays.
        cpus_max: Option<u32> = optional().restart().range(1, 512);
        /// Memory in MiB. Within `memory_max_mib` a running machine is given more, or gives memory back, by its balloon; that needs the guest's driver (virtio_balloon), without which the guest keeps `memory_max_mib`.
        memory_mib: u64 = required().live_or_restart().range(16, 16_777_216);
        /// Memory in MiB that the machine may have while it runs: room for `memory_mib` to grow without a restart. Left out: no room is made; what an imported machine has stays.
        memory_max_mib: Option<u64> = optional().restart().range(16, 16_777_216);
        /// Disks by a key of your own. Where no device has a `boot` number, the machine boots from the one with the first key that has an image. Disks on virtio, scsi and usb come and go while the machine runs.
        disks: Option<BTreeMap<String, Disk>> = optional().live_or_restart();
        /// CD drives by a key of your own, besides the one of `cloud_init` and `guest`. Drives and what is in them change while the machine runs.
        media: Option<BTreeMap<String, Medium>> = optional();
        /// Network cards by a key of your own. They come and go while the machine runs, up to eight more than it was started with.
        nics: Option<BTreeMap<String, Nic>> = optional().live_or_restart();
        /// Firmware; left out: BIOS.
        firmware: Option<Firmware> = optional();
        /// What is booted, where it is not what the boot order leads to, and whom the firmware trusts.
        boot: Option<Boot> = optional().restart();
        /// Chipset. Left out: `q35` for a new machine, and what is there for one that stands.
        machine_type: Option<String> = optional_computed().replace().choice(MACHINE_TYPES);
        /// Processor as the guest sees it. Left out: the host's own under KVM, all that emulation can do under QEMU; of an imported machine what is there.
        cpu: Option<Cpu> = optional().restart();
        /// Display: none, or VNC on the host's loopback address at a free port.
        graphics: String = default("none").restart().choice(GRAPHICS);
        /// Serial number that the guest reads by SMBIOS (`/sys/class/dmi/id/product_serial`). Left out: derived from the host, the namespace and the name it is made under, so that a machine made anew under the same name has the same.
        serial: Option<String> = optional_computed().restart().check(check::serial);
        /// Configuration of the guest by cloud-init (NoCloud, on a CD drive). A change renews the seed of a running machine too; the guest reads it at its next first boot.
        cloud_init: Option<CloudInit> = optional();
        /// What the operating system inside is told, in words that mean the same on every hypervisor: by cloud-init on Linux, by cloudbase-init on Windows. A change renews the seed of a running machine too; the guest reads it at its next first boot.
        guest: Option<Guest> = optional();
        /// Whether the machine runs; enforced. `running` or `stopped`; a read also shows `paused`, `saved`, `crashed`, `absent`.
        power: String = default("running").choice(POWERS);
        /// Whether the machine starts with the host.
        autostart: bool = default(false);
        /// Whether a change may restart the machine. If not, a change that needs it is an error of the plan.
        allow_restart: bool = default(true);
        /// What a create or start waits for. Left out: an address where the machine has a NIC and something to boot, else nothing.
        ready: Option<Ready> = optional();
        /// How the machine is stopped.
        shutdown: Option<Shutdown> = optional();
        /// Labels of your own, kept with the machine.
        labels: Option<BTreeMap<String, String>> = optional().check(check::label_value);
        /// Whether destroying and replacing the machine is refused. It does not bind a machine whose creation never came to its end.
        deletion_protection: bool = default(false);
        /// How long its operations may take.
        timeouts: Option<Timeouts> = optional();
        /// Id that the host keeps for it.
        id: Option<String> = computed();
        /// Address of the first NIC by key: the reserved one on networks of labyard's, else what was seen when the machine became ready.
        ip: Option<String> = computed();
        /// MAC addresses by NIC.
        macs: Option<BTreeMap<String, String>> = computed();
        /// SHA-256 digests of the images by disk, as they were when the disks were made.
        image_digests: Option<BTreeMap<String, String>> = computed();
        /// SHA-256 digests of the images in the CD drives by drive, as they were when they were inserted.
        media_digests: Option<BTreeMap<String, String>> = computed();
        /// Whether it carries the provider's mark. An imported foreign machine gets it at the next apply.
        owned: Option<bool> = computed();
    }

    /// A disk.
    pub struct Disk {
        /// Size in GiB; may grow (live), never shrink. Left out: the image's own.
        size_gib: Option<u64> = optional().range(1, 65_536);
        /// Image that the disk is made of; left out: blank.
        image: Option<Image> = optional().replace();
        /// Overlay on the image (`linked`) or a copy of it (`full`). Left out: `linked`, in a pool of logical volumes `full`.
        clone: Option<String> = optional().replace().choice(CLONES);
        /// Storage pool of the host for its volume: of files (`dir`, `fs`, `netfs`) or of logical volumes (`logical`: fully allocated, never linked, does not grow). Left out: the host's own for a new disk, and where it is for one that is there.
        storage_pool: Option<String> = optional().replace().check(check::pool_name);
        /// What the disk is attached to. `virtio` is the fastest; `scsi` is virtio-scsi; `sata` and `usb` serve guests without drivers for these.
        bus: String = default("virtio").restart().choice(BUSES);
        /// What becomes of the disk when it leaves the configuration: `refuse` fails the plan, `delete` deletes it, `detach` leaves the volume alone. A replacement of the machine is refused unless all its disks say `delete`. Left out: `delete` for a disk with an image, `refuse` for one without. Destroying the machine destroys its disks.
        on_remove: Option<String> = optional().choice(ON_REMOVE);
        /// Place in the order in which the machine tries to boot, the lowest number first, unique among its devices. Disks without a number follow those with one; a machine without any number boots from its disks.
        boot: Option<u32> = optional().restart().range(1, 999);
    }

    /// An image: qcow2 or raw.
    pub struct Image {
        /// `https://…`, `http://…`, `file:` and a path on the computer that runs Terraform, `host:` and a path on the hypervisor, which copies the file into its storage pool and leaves it as it is, or `image:` and the name of an image that was captured from a machine of this namespace, the newest revision (`image:golden`) or a certain one (`image:golden@3`).
        source: String = required().replace().check(check::image_source);
        /// SHA-256 digest of the image. Left out: pinned by what is seen at create. Writing that one down later changes nothing; another one is another image.
        sha256: Option<String> = optional().replace().check(check::sha256);
    }

    /// A CD drive.
    pub struct Medium {
        /// Image in the drive; left out: the drive is empty.
        image: Option<MediumImage> = optional();
        /// Place in the order in which the machine tries to boot, the lowest number first, unique among its devices. Left out: the machine does not boot from this drive.
        boot: Option<u32> = optional().restart().range(1, 999);
    }

    /// An image of a CD, raw (ISO 9660).
    pub struct MediumImage {
        /// `https://…`, `http://…`, `file:` and a path on the computer that runs Terraform, or `host:` and a path on the hypervisor, which copies the file into its storage pool and leaves it as it is.
        source: String = required().check(check::medium_source);
        /// SHA-256 digest of the image. Left out: pinned by what is seen when it is inserted.
        sha256: Option<String> = optional().check(check::sha256);
    }

    /// A network card.
    pub struct Nic {
        /// Network: a `labyard_network` of this namespace, else a network of the host. A running machine is moved to another by its cable: the link goes down and up, so that the guest asks for an address again.
        network: String = required().check(check::network_name);
        /// MAC address. Left out: derived from the host, the namespace, the machine's name and the key. A running machine gets another card in place of this one.
        mac: Option<String> = optional().live_or_restart().check(check::mac);
        /// What the card is for the guest; `virtio` is the fastest. `e1000` and `rtl8139` serve old guests and are not plugged in while the machine runs.
        model: String = default("virtio").live_or_restart().choice(NIC_MODELS);
        /// IPv4 address of its own choosing. Left out: on networks of labyard's with DHCP one of the range is reserved, elsewhere it is DHCP's.
        ipv4: Option<NicIpv4> = optional();
        /// VLAN on a bridge of the host, for networks of mode `bridge`: the bridge must filter VLANs, and the host needs libvirt 11.0 or later. Left out: the network's.
        vlan: Option<u32> = optional().restart().range(1, 4094);
        /// Place in the order in which the machine tries to boot, the lowest number first, unique among its devices. Left out: the machine does not boot from this card. With UEFI the card boots by HTTP alone (no PXE, no IPv6): see the network's `boot`.
        boot: Option<u32> = optional().restart().range(1, 999);
    }

    /// A fixed IPv4 address. On networks of labyard's with DHCP it is reserved for the card, and DHCP tells it to the guest, at its next request; elsewhere the seed tells it, which the guest reads at its first boot.
    pub struct NicIpv4 {
        /// Address with the prefix of its network, like `10.77.0.10/24`.
        address: String = required().check(check::ipv4_host);
        /// Gateway that the guest is told by its seed. Left out: none, and on networks of labyard's the network's own by DHCP.
        gateway: Option<String> = optional().check(check::ipv4);
    }

    /// Firmware.
    pub struct Firmware {
        /// Kind of firmware.
        r#type: String = required().replace().choice(FIRMWARES);
        /// Whether UEFI starts only what is signed, with Microsoft's keys enrolled. A change gives the machine the firmware's variables of the other kind; the boot entries that the guest wrote are kept.
        secure_boot: bool = default(false).restart();
        /// Whether the machine has an emulated TPM 2.0. Taken out, its state is kept on the host and comes back with it; it goes with the machine.
        tpm: bool = default(false).restart();
    }

    /// Processor as the guest sees it.
    pub struct Cpu {
        /// `host-passthrough` (the host's own; under KVM only), `host-model` (the closest that can be described), `maximum` (all that the accelerator offers), or a model's name, like `Haswell-noTSX`.
        model: Option<String> = optional().restart().check(check::cpu_model);
        /// Whether the guest may run guests of its own with hardware support (VMX or SVM). Left out: as the model says.
        nested: Option<bool> = optional().restart();
    }

    /// What a machine boots and whom its firmware trusts.
    pub struct Boot {
        /// Path of a kernel on the host, started without a boot loader.
        kernel: Option<String> = optional().restart().check(check::host_path);
        /// Path of its initial file system on the host.
        initrd: Option<String> = optional().restart().check(check::host_path);
        /// Command line of the kernel.
        cmdline: Option<String> = optional().restart().check(check::cmdline);
        /// Certificates in PEM, one or several, that UEFI trusts when it boots by HTTPS, and no others: certificate authorities, or the server's own certificate. They are put into the machine's own variables. Left out: no server is trusted.
        ca_certificate: Option<String> = optional().restart().check(check::ca_certificates);
    }

    /// Seed for cloud-init. What is written plainly here stands in Terraform's state; `user_data_wo` does not.
    pub struct CloudInit {
        /// User data. Kept in the state; for secrets use `user_data_wo`.
        user_data: Option<String> = optional();
        /// Network configuration.
        network_config: Option<String> = optional();
        /// Meta data. Left out: instance-id and local-hostname of the machine.
        meta_data: Option<String> = optional();
        /// User data that Terraform does not store. It is sent again when `user_data_wo_version` changes.
        user_data_wo: Option<Secret> = optional().write_only().sensitive();
        /// Version of `user_data_wo`: raise it when the secret changes.
        user_data_wo_version: Option<u64> = optional();
    }

    /// What a machine is waited for.
    pub struct Ready {
        /// `none`, `address`, `agent` (the guest's agent answers; where the network can give an address, one is looked for up to 10 seconds more) or `tcp:PORT`.
        wait: String = default("address").check(check::ready_wait);
        /// How long; default 10m.
        timeout: Option<Span> = optional().check(check::duration);
    }

    /// How a machine is stopped.
    pub struct Shutdown {
        /// Ask the guest and take the power away after `timeout` (`graceful`), or take it at once (`force`).
        mode: String = default("graceful").choice(SHUTDOWNS);
        /// How long the guest may take; default 60s.
        timeout: Option<Span> = optional().check(check::duration);
    }

    /// How long operations on a machine may take.
    pub struct Timeouts {
        /// Creation; default 30m.
        create: Option<Span> = optional().check(check::duration);
        /// Change in place; default 30m.
        update: Option<Span> = optional().check(check::duration);
        /// Removal; default 10m.
        delete: Option<Span> = optional().check(check::duration);
    }
}
