//! From a machine as it is to the state, the user's spelling kept; and back, to compare a plan with.

use std::collections::BTreeMap;
use std::net::IpAddr;

use labyard_driver::ids::{Bytes, Digest, DiskKey, Mib, NicKey, ObjectId, ObjectName, PoolName};
use labyard_driver::mark::{CloneMode, ImageMark, OnRemove, SeedMark};
use labyard_driver::observed::{Autostart, Power};
use labyard_driver::spec::{DiskBus, Firmware, NicModel, SecureBoot, Tpm};
use labyard_reconciler::desired::{
    Wishes, desired_boot, desired_guards, fixed_address, parse_on_remove, seed_version, vlan,
};
use labyard_reconciler::diff::kit::graphics_text;
use labyard_reconciler::identity::Identity;
use labyard_reconciler::view::{DiskView, MachineView, NicView, Owner, Pending, SeedView};
use labyard_schema::vm::{self, Vm};

use super::kit;

/// A disk of the state whose definition is gone and whose disks are there has this power.
pub const ABSENT: &str = "absent";

/// The state of a machine as it is, `prior` brought up to it.
pub fn refreshed(prior: &Vm, view: &MachineView) -> Vm {
    let owned = matches!(view.owner, Owner::Ours { .. });
    let mut state = Vm {
        name: view.name.to_string(),
        machine_type: Some(kit::machine_type(&view.hardware)),
        cpu: prior.cpu.as_ref().map(|cpu| kit::cpu(cpu, &view.hardware)),
        graphics: graphics_text(view.hardware.graphics).to_owned(),
        serial: view.hardware.serial.clone(),
        autostart: view.autostart == Autostart::On,
        labels: view.wishes.labels.clone(),
        deletion_protection: view.wishes.deletion_protection,
        media: kit::media(prior, view),
        media_digests: kit::media_digests(prior, view),
        cpus: whichever_differs(&prior.cpus, view.cpus, view.live_cpus),
        cpus_max: written(prior.cpus_max, view.wishes.cpus_max, view.cpus_max),
        memory_mib: whichever_differs(&prior.memory_mib, view.memory.0, view.live_memory.map(|m| m.0)),
        memory_max_mib: written(
            prior.memory_max_mib,
            view.wishes.memory_max_mib,
            view.memory_max.0,
        ),
        disks: disks(prior, view),
        nics: nics(prior, view),
        firmware: firmware(prior, view),
        boot: boot(view),
        cloud_init: cloud_init(prior, view),
        guest: guest(prior, view),
        power: power_text(view.power).to_owned(),
        id: Some(view.id.to_string()),
        ip: ip(prior, view),
        owned: Some(owned),
        ..prior.clone()
    };
    state.macs = some_map(
        &prior.macs,
        view.nics
            .iter()
            .map(|(key, nic)| (key.to_string(), nic.mac.to_string())),
    );
    state.image_digests = digests(prior, view);
    state
}

/// Of a definition and what runs, the one that is not as it was left.
fn whichever_differs<T: PartialEq>(before: &T, defined: T, live: Option<T>) -> T {
    match live {
        Some(live) if defined == *before => live,
        _ => defined,
    }
}

/// What is there of something that was written; left out it stays so.
fn written<T>(before: Option<T>, wished: Option<T>, there: T) -> Option<T> {
    before.or(wished).map(|_| there)
}

/// `power` as it is written.
pub fn power_text(power: Power) -> &'static str {
    match power {
        Power::Running => "running",
        Power::Stopped => "stopped",
        Power::Paused => "paused",
        Power::Saved => "saved",
        Power::Crashed => "crashed",
    }
}

/// A map that stays null where it was null and nothing is there.
pub(super) fn some_map<V>(
    prior: &Option<BTreeMap<String, V>>,
    entries: impl Iterator<Item = (String, V)>,
) -> Option<BTreeMap<String, V>> {
    let entries: BTreeMap<_, _> = entries.collect();
    (prior.is_some() || !entries.is_empty()).then_some(entries)
}

fn disks(prior: &Vm, view: &MachineView) -> Option<BTreeMap<String, vm::Disk>> {
    let entries = view.disks.iter().map(|(key, there)| {
        let before = prior.disks.as_ref().and_then(|disks| disks.get(key.as_str()));
        (
            key.to_string(),
            before.map_or_else(|| new_disk(key, there, &view.wishes), |b| known_disk(b, there)),
        )
    });
    some_map(&prior.disks, entries)
}

/// A size that was left out stays so; one that was written is what is there.
fn known_disk(before: &vm::Disk, there: &DiskView) -> vm::Disk {
    let size_gib = match (before.size_gib, there.size) {
        (Some(gib), Some(size)) if size != Bytes::from_gib(gib) => Some(size.0 >> 30),
        (written, _) => written,
    };
    let storage_pool = match (&before.storage_pool, &there.pool) {
        (Some(_), Some(pool)) => Some(pool.to_string()),
        (written, _) => written.clone(),
    };
    let bus = there
        .bus
        .map_or_else(|| before.bus.clone(), |bus| bus.word().to_owned());
    vm::Disk {
        size_gib,
        storage_pool,
        boot: there.boot,
        bus,
        ..before.clone()
    }
}

fn new_disk(key: &DiskKey, there: &DiskView, wishes: &Wishes) -> vm::Disk {
    let whole = there.size.map(|size| size.0 >> 30);
    let size_gib = match &there.image {
        // The size of a disk with an image may have been left out.
        Some(_) => wishes.sizes_gib.get(key.as_str()).and(whole),
        None => whole,
    };
    vm::Disk {
        size_gib,
        image: there.image.as_ref().map(|i| vm::Image {
            source: i.source.clone(),
            sha256: i.sha256.as_ref().map(ToString::to_string),
        }),
        clone: there.clone.map(|clone| clone_text(clone).to_owned()),
        storage_pool: wishes
            .storage_pools
            .get(key.as_str())
            .and(there.pool.as_ref())
            .map(ToString::to_string),
        bus: there.bus.unwrap_or_default().word().to_owned(),
        on_remove: there
            .on_remove
            .map(|on_remove| on_remove_text(on_remove).to_owned()),
        boot: there.boot,
    }
}

fn clone_text(clone: CloneMode) -> &'static str {
    match clone {
        CloneMode::Linked => "linked",
        CloneMode::Full => "full",
    }
}

fn on_remove_text(on_remove: OnRemove) -> &'static str {
    match on_remove {
        OnRemove::Refuse => "refuse",
        OnRemove::Delete => "delete",
        OnRemove::Detach => "detach",
    }
}

fn nics(prior: &Vm, view: &MachineView) -> Option<BTreeMap<String, vm::Nic>> {
    let entries = view.nics.iter().map(|(key, there)| {
        let before = prior.nics.as_ref().and_then(|nics| nics.get(key.as_str()));
        let written = match before {
            Some(nic) => nic.mac.is_some(),
            None => view.wishes.macs.contains_key(key.as_str()),
        };
        let mac = written.then(|| there.mac.to_string());
        (
            key.to_string(),
            vm::Nic {
                network: there.network.clone(),
                mac,
                ipv4: nic_ipv4(before, there),
                vlan: there.vlan.map(|vlan| u32::from(vlan.0)),
                boot: there.boot,
                model: there.model.unwrap_or_default().word().to_owned(),
            },
        )
    });
    some_map(&prior.nics, entries)
}

/// A fixed address as it was written, while it is kept so.
fn nic_ipv4(before: Option<&vm::Nic>, there: &NicView) -> Option<vm::NicIpv4> {
    let fixed = there.fixed?;
    match before.and_then(|nic| nic.ipv4.as_ref()) {
        Some(written) if fixed_address(written) == Some(fixed) => Some(written.clone()),
        _ => Some(vm::NicIpv4 {
            address: fixed.address.to_string(),
            gateway: fixed.gateway.map(|gateway| gateway.to_string()),
        }),
    }
}

fn firmware(prior: &Vm, view: &MachineView) -> Option<vm::Firmware> {
    let written = prior.firmware.is_some() || view.wishes.firmware_written;
    let r#type = match view.firmware {
        Firmware::Uefi => "uefi",
        Firmware::Bios if written => "bios",
        Firmware::Bios => return None,
    };
    Some(vm::Firmware {
        r#type: r#type.to_owned(),
        secure_boot: view.guards.secure_boot == SecureBoot::Microsoft,
        tpm: view.guards.tpm == Tpm::Emulated,
    })
}

fn boot(view: &MachineView) -> Option<vm::Boot> {
    if view.direct_boot.is_none() && view.ca_certificate.is_none() {
        return None;
    }
    let direct = view.direct_boot.as_ref();
    Some(vm::Boot {
        kernel: direct.map(|b| b.kernel.clone()),
        initrd: direct.and_then(|b| b.initrd.clone()),
        cmdline: direct.and_then(|b| b.cmdline.clone()),
        ca_certificate: view.ca_certificate.clone(),
    })
}

/// A seed that is not as it was made reads as none, so that the next plan renews it.
fn cloud_init(prior: &Vm, view: &MachineView) -> Option<vm::CloudInit> {
    match seed(prior, view) {
        SeedState::AsWritten => prior.cloud_init.clone(),
        SeedState::Unasked if asked_by_cloud_init(&view.wishes) => Some(vm::CloudInit::default()),
        SeedState::Unasked | SeedState::Lost => None,
    }
}

fn guest(prior: &Vm, view: &MachineView) -> Option<vm::Guest> {
    match seed(prior, view) {
        SeedState::AsWritten => prior.guest.clone(),
        SeedState::Unasked => view.wishes.guest.clone(),
        SeedState::Lost => None,
    }
}

/// The seed on the host, measured by the state.
enum SeedState {
    /// The one that the state knows, or none where it knows of none.
    AsWritten,
    /// The state knows of none, and there is one.
    Unasked,
    /// Not the one that the state knows.
    Lost,
}

fn seed(prior: &Vm, view: &MachineView) -> SeedState {
    let there = match &view.seed {
        SeedView::Inserted(_) => view.wishes.seed.as_ref(),
        SeedView::None | SeedView::Broken => None,
    };
    match (seed_version(prior), there) {
        (known, there) if known.as_ref() == there => SeedState::AsWritten,
        (None, _) => SeedState::Unasked,
        (Some(_), _) => SeedState::Lost,
    }
}

/// Marks of before there was `guest` have seeds of `cloud_init` alone.
pub(super) fn asked_by_cloud_init(wishes: &Wishes) -> bool {
    wishes.seed.is_some() && (wishes.guest.is_none() || wishes.cloud_init_written)
}

/// The address stays as long as the machine has it, it is kept for it, or the machine shows none of its kind: one of
/// the other kind, which comes and goes by itself, is no reason to give it up.
fn ip(prior: &Vm, view: &MachineView) -> Option<String> {
    let before = prior.ip.clone()?;
    // A fixed one is the machine's, whatever the guest has at present.
    if let Some(fixed) = view.nics.values().next().and_then(|nic| nic.fixed) {
        return Some(fixed.address.addr().to_string());
    }
    let kind = before.parse::<IpAddr>().map(|address| address.is_ipv6());
    let mut shown = view.first_addresses();
    shown.retain(|address| kind.as_ref().is_ok_and(|v6| address.is_ipv6() == *v6) || kind.is_err());
    let mut held = shown.iter().copied().chain(view.first_reserved());
    let still = shown.is_empty() || held.any(|address| address.to_string() == before);
    if still {
        Some(before)
    } else {
        shown.first().map(ToString::to_string)
    }
}

fn digests(prior: &Vm, view: &MachineView) -> Option<BTreeMap<String, String>> {
    let entries = view.disks.iter().filter_map(|(key, disk)| {
        let seen = disk
            .image
            .as_ref()
            .and_then(|i| i.digest.as_ref())
            .map(ToString::to_string);
        let before = || {
            prior
                .image_digests
                .as_ref()
                .and_then(|d| d.get(key.as_str()))
                .cloned()
        };
        Some((key.to_string(), seen.or_else(before)?))
    });
    some_map(&prior.image_digests, entries)
}

/// A machine as its state has it: what a plan compares with.
pub fn as_view(state: &Vm, identity: Option<&Identity>) -> MachineView {
    let id = ObjectId(state.id.clone().unwrap_or_default());
    let owner = match identity {
        Some(identity) => Owner::Ours {
            identity: identity.clone(),
            ownership: labyard_driver::mark::Ownership::Confirmed,
            stage: labyard_driver::mark::Stage::Finished,
        },
        None => Owner::Foreign,
    };
    let disks = state
        .disks
        .iter()
        .flatten()
        .map(|(key, disk)| (DiskKey(key.clone()), disk_view(key, disk, state)));
    MachineView {
        name: ObjectName(state.name.clone()),
        id,
        owner,
        power: parse_power(&state.power),
        cpus: state.cpus,
        cpus_max: state.cpus_max.unwrap_or(state.cpus),
        live_cpus: None,
        memory: Mib(state.memory_mib),
        pending: Pending::Nothing,
        hardware: kit::hardware(state),
        vnc_port: None,
        autostart: if state.autostart {
            Autostart::On
        } else {
            Autostart::Off
        },
        media: kit::media_views(state),
        memory_max: Mib(state.memory_max_mib.unwrap_or(state.memory_mib)),
        live_memory: None,
        room: None,
        firmware: match &state.firmware {
            Some(firmware) if firmware.r#type == "uefi" => Firmware::Uefi,
            _ => Firmware::Bios,
        },
        guards: state.firmware.as_ref().map(desired_guards).unwrap_or_default(),
        ca_certificate: state.boot.as_ref().and_then(|b| b.ca_certificate.clone()),
        direct_boot: state.boot.as_ref().and_then(desired_boot),
        obstacles: Vec::new(),
        disks: disks.collect(),
        nics: nic_views(state),
        seed: match seed_version(state) {
            Some(_) => SeedView::Inserted(SeedMark {
                pool: "".into(),
                volume: "".into(),
                length: 0,
                revision: 0,
            }),
            None => SeedView::None,
        },
        wishes: Wishes {
            seed: seed_version(state),
            allow_restart: state.allow_restart,
            cpu: state.cpu.clone(),
            labels: state.labels.clone(),
            deletion_protection: state.deletion_protection,
            ..Wishes::default()
        },
    }
}

fn parse_power(text: &str) -> Power {
    match text {
        "running" => Power::Running,
        "paused" => Power::Paused,
        "saved" => Power::Saved,
        "crashed" => Power::Crashed,
        _ => Power::Stopped,
    }
}

/// An attribute that a state of an earlier release does not have was what it is by default.
pub(super) fn stored<'a>(text: &'a str, default: &'a str) -> &'a str {
    if text.is_empty() { default } else { text }
}

fn disk_view(key: &str, disk: &vm::Disk, state: &Vm) -> DiskView {
    let digest = state
        .image_digests
        .as_ref()
        .and_then(|d| d.get(key))
        .cloned()
        .map(Digest);
    let image = disk.image.as_ref().map(|image| ImageMark {
        source: image.source.clone(),
        sha256: image.sha256.clone().map(Digest),
        digest,
        pool: None,
        volume: None,
        upload: None,
    });
    DiskView {
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
        bus: DiskBus::parse(stored(&disk.bus, "virtio")),
        on_remove: disk.on_remove.as_deref().map(parse_on_remove),
        boot: disk.boot,
    }
}

fn nic_views(state: &Vm) -> BTreeMap<NicKey, NicView> {
    let mac_of = |key: &str| {
        state
            .macs
            .as_ref()
            .and_then(|macs| macs.get(key))
            .and_then(|mac| mac.parse().ok())
    };
    state
        .nics
        .iter()
        .flatten()
        .filter_map(|(key, nic)| {
            let mac = mac_of(key).or_else(|| nic.mac.as_ref().and_then(|mac| mac.parse().ok()))?;
            let view = NicView {
                network: nic.network.clone(),
                mac,
                model: NicModel::parse(stored(&nic.model, "virtio")),
                reserved: None,
                fixed: nic.ipv4.as_ref().and_then(fixed_address),
                vlan: nic.vlan.and_then(vlan),
                addresses: Vec::new(),
                boot: nic.boot,
            };
            Some((NicKey(key.clone()), view))
        })
        .collect()
}

/// The address of a machine's `ip` attribute: the reserved one, else what `ready` saw.
pub fn first_ip(seen: &[IpAddr], reserved: Option<IpAddr>) -> Option<String> {
    reserved
        .or_else(|| seen.first().copied())
        .map(|address| address.to_string())
}

#[cfg(test)]
mod tests;
