//! Specifications to ask a driver for.

use crate::ids::{
    Bytes, DiskKey, MacAddr, MediaKey, Mib, Namespace, NicKey, ObjectId, ObjectName, PoolName, Token,
    VolumeName,
};
use crate::lan::Lan;
use crate::mark::{DiskMark, Kind, Made, Mark};
use crate::observed::{Attachment, Autostart};
use crate::spec::{
    Accelerator, CpuSpec, Dhcp, DiskBus, DiskFormat, DiskSpec, DriveSpec, Firmware, Graphics, Guards,
    Isolation, MachineSpec, MachineType, MediumSpec, NetworkMode, NetworkSpec, NicModel, NicSpec,
    VolumeContent, VolumeSpec,
};

/// A mark of an object that is being built; name and token tell it from others.
pub fn mark(kind: Kind, name: &str) -> Mark {
    let token = Token(format!("{:032x}", fold(name)));
    Mark::building(
        kind,
        Namespace::from("conformance"),
        ObjectName::from(name),
        token,
    )
}

/// An id made of a name: the same name gives the same UUID.
pub fn id(name: &str) -> ObjectId {
    let hash = fold(name);
    ObjectId(format!(
        "{:08x}-{:04x}-4{:03x}-8{:03x}-{:012x}",
        hash >> 96,
        hash >> 80 & 0xffff,
        hash >> 68 & 0xfff,
        hash >> 56 & 0xfff,
        hash & 0xffff_ffff_ffff
    ))
}

/// A MAC made of a name, of the range that QEMU uses.
pub fn mac(name: &str) -> MacAddr {
    let [.., a, b, c] = fold(name).to_be_bytes();
    MacAddr([0x52, 0x54, 0x00, a, b, c])
}

/// FNV-1a: enough to tell names apart.
fn fold(name: &str) -> u128 {
    name.bytes()
        .fold(0x6c62_272e_07bb_0142_62b8_2175_6295_c58d, |hash, byte| {
            (hash ^ u128::from(byte)).wrapping_mul(0x0000_0000_0100_0000_0000_0000_0000_013b)
        })
}

/// A small machine without devices.
pub fn machine(name: &str) -> MachineSpec {
    MachineSpec {
        id: id(name),
        host_name: name.to_owned(),
        mark: mark(Kind::Machine, name),
        cpus: 1,
        cpus_max: None,
        memory: Mib(128),
        memory_max: None,
        accelerator: Accelerator::Qemu,
        firmware: Firmware::Bios,
        guards: Guards::default(),
        nvram: None,
        boot_order: Vec::new(),
        machine_type: MachineType::Q35,
        cpu: CpuSpec::default(),
        graphics: Graphics::None,
        serial: None,
        direct_boot: None,
        disks: Vec::new(),
        seed: None,
        media: Vec::new(),
        nics: Vec::new(),
    }
}

/// The machine with one more disk, also in its mark.
pub fn with_disk(mut machine: MachineSpec, pool: &PoolName, volume: &VolumeName) -> MachineSpec {
    let target = format!(
        "vd{}",
        char::from(b'a' + u8::try_from(machine.disks.len()).unwrap_or(25))
    );
    let key = DiskKey(target.clone());
    let disk = DiskMark {
        made: Made::Whole,
        pool: pool.clone(),
        volume: volume.clone(),
        format: None,
        target: target.clone(),
        image: None,
        clone: None,
        on_remove: None,
        boot: None,
    };
    machine.mark.disks.insert(key.clone(), disk);
    machine.disks.push(DiskSpec {
        key,
        target,
        pool: pool.clone(),
        volume: volume.clone(),
        format: DiskFormat::Qcow2,
        bus: DiskBus::Virtio,
    });
    machine
}

/// The machine with a medium in its CD drive.
pub fn with_seed(mut machine: MachineSpec, pool: &PoolName, volume: &VolumeName) -> MachineSpec {
    machine.seed = Some(MediumSpec {
        target: "sda".to_owned(),
        pool: pool.clone(),
        volume: volume.clone(),
    });
    machine
}

/// The machine with one more CD drive, with that volume or nothing in it.
pub fn with_drive(
    mut machine: MachineSpec,
    key: &str,
    medium: Option<(&PoolName, &VolumeName)>,
) -> MachineSpec {
    let letter = u8::try_from(machine.media.len()).unwrap_or(20);
    machine.media.push(DriveSpec {
        key: MediaKey(key.to_owned()),
        target: format!("sd{}", char::from(b'b' + letter)),
        medium: medium.map(|(pool, volume)| (pool.clone(), volume.clone())),
    });
    machine
}

/// The machine with one more NIC, on a network of the host.
pub fn with_nic(mut machine: MachineSpec, network: &str) -> MachineSpec {
    let key = NicKey(format!("nic{}", machine.nics.len()));
    machine.nics.push(NicSpec {
        mac: mac(&format!("{}/{key}", machine.host_name)),
        key,
        attachment: Attachment::Network(network.to_owned()),
        vlan: None,
        model: NicModel::Virtio,
        isolation: Isolation::Open,
    });
    machine
}

/// A network with DHCP in `net`, the host on its first address, the range from the tenth to the hundredth.
pub fn network(name: &str, net: ipnet::Ipv4Net) -> NetworkSpec {
    let base = u32::from(net.network());
    let host = ipnet::Ipv4Net::new((base + 1).into(), net.prefix_len()).unwrap_or(net);
    NetworkSpec {
        id: id(name),
        host_name: name.to_owned(),
        mark: mark(Kind::Network, name),
        mode: NetworkMode::Isolated,
        bridge: None,
        address: Some(host),
        dhcp: Some(Dhcp {
            start: (base + 10).into(),
            end: (base + 100).into(),
        }),
        domain: None,
        lan: Lan::default(),
        boot: None,
        autostart: Autostart::Off,
    }
}

/// A volume.
pub fn volume(pool: &PoolName, name: &VolumeName, content: VolumeContent) -> VolumeSpec {
    VolumeSpec {
        pool: pool.clone(),
        name: name.clone(),
        content,
    }
}

/// A blank disk of 64 MiB.
pub fn blank(pool: &PoolName, name: &VolumeName) -> VolumeSpec {
    let capacity = Bytes::from_mib(64);
    volume(pool, name, VolumeContent::Blank { capacity })
}
