//! Changes of machines that run, each kind of them, and disks in several pools.

use std::time::Duration;

use super::lab::{Failure, Lab, ensure, ensure_eq, ensure_error};
use super::sample;
use crate::ids::{Mib, ObjectId};
use crate::observed::{Attachment, Cable, MachineDetail, Standing};
use crate::spec::{LiveChange, MachineSpec, NetworkMode};

type Result<T = ()> = std::result::Result<T, Failure>;

/// How long a guest may take to boot, and to let a device go.
const PATIENCE: Duration = Duration::from_secs(120);

/// Asks for a change, again and again as a caller would, until it is seen.
async fn changed(
    lab: &Lab<'_>,
    spec: &MachineSpec,
    change: &LiveChange,
    seen: impl Fn(&MachineDetail) -> bool,
) -> Result {
    let is_so = async || {
        lab.driver.change_live(spec, change).await?;
        Ok(seen(&lab.detail(&spec.id).await?))
    };
    lab.until(&format!("{change:?} is seen"), PATIENCE, is_so).await?;
    // Done already is success, and changes nothing more.
    lab.driver.change_live(spec, change).await?;
    ensure!(
        seen(&lab.detail(&spec.id).await?),
        "{change:?} asked for twice is undone"
    );
    Ok(())
}

/// A guest that runs, with what a change needs.
async fn running(lab: &Lab<'_>, spec: &mut MachineSpec) -> Result {
    lab.define(spec).await?;
    Ok(lab.driver.start_machine(&spec.id).await?)
}

pub(super) async fn processors_are_given_to_a_running_machine_up_to_its_room(lab: &Lab<'_>) -> Result {
    let mut spec = lab.machine("cpus");
    spec.cpus_max = Some(2);
    running(lab, &mut spec).await?;
    ensure_eq!(
        lab.detail(&spec.id).await?.live_cpus,
        Some(1),
        "processors at first"
    );
    spec.cpus = 2;
    changed(lab, &spec, &LiveChange::Cpus, |detail| {
        detail.live_cpus == Some(2)
    })
    .await?;
    spec.cpus = 3;
    ensure!(
        lab.driver.change_live(&spec, &LiveChange::Cpus).await.is_err(),
        "more processors than there is room for"
    );
    ensure_eq!(
        lab.detail(&spec.id).await?.live_cpus,
        Some(2),
        "processors in the end"
    );
    Ok(())
}

pub(super) async fn memory_is_given_and_taken_while_the_guest_runs(lab: &Lab<'_>) -> Result {
    let (mut spec, guest) = lab.bootable("memory")?;
    spec.memory = guest.memory;
    spec.memory_max = Some(Mib(guest.memory.0 + 64));
    running(lab, &mut spec).await?;
    for more in [32, 0] {
        spec.memory = Mib(guest.memory.0 + more);
        changed(lab, &spec, &LiveChange::Memory, |detail| {
            detail.live_memory == Some(spec.memory)
        })
        .await?;
    }
    Ok(())
}

pub(super) async fn a_disk_is_plugged_in_and_taken_off_while_the_guest_runs(lab: &Lab<'_>) -> Result {
    let disk = lab.disk("plugged").await?;
    let (mut bare, _) = lab.bootable("disks")?;
    running(lab, &mut bare).await?;
    let spec = sample::with_disk(bare.clone(), &lab.pool, &disk);
    let key = spec.disks[0].key.clone();
    lab.driver.write_mark(&spec.id, &spec.mark).await?;
    let plugged = |detail: &MachineDetail| {
        detail
            .disks
            .iter()
            .any(|there| there.volume.as_ref() == Some(&disk) && there.standing.is_live())
    };
    changed(lab, &spec, &LiveChange::PlugDisk(key), plugged).await?;
    lab.driver.define_machine(&spec).await?;
    let standing = lab.detail(&spec.id).await?.disks[0].standing;
    ensure_eq!(standing, Standing::Whole, "where the disk is");
    let off = LiveChange::UnplugDisk(spec.disks[0].target.clone());
    changed(lab, &bare, &off, |detail| detail.disks.is_empty()).await?;
    lab.driver.volume(&lab.pool, &disk).await?;
    Ok(())
}

pub(super) async fn a_card_is_plugged_in_moved_and_taken_off_while_the_guest_runs(lab: &Lab<'_>) -> Result {
    let (mut one, mut two) = (lab.network("one")?, lab.network("two")?);
    lab.create(&mut one).await?;
    lab.create(&mut two).await?;
    let (mut bare, _) = lab.bootable("cards")?;
    running(lab, &mut bare).await?;
    let mut spec = sample::with_nic(bare.clone(), &one.host_name);
    let (key, mac) = (spec.nics[0].key.clone(), spec.nics[0].mac);
    let on = |detail: &MachineDetail, network: &str| {
        let wanted = Attachment::Network(network.to_owned());
        detail
            .nics
            .iter()
            .any(|nic| nic.mac == mac && nic.live_attachment.as_ref() == Some(&wanted))
    };
    changed(lab, &spec, &LiveChange::PlugNic(key.clone()), |detail| {
        on(detail, &one.host_name)
    })
    .await?;
    lab.driver.define_machine(&spec).await?;
    spec.nics[0].attachment = Attachment::Network(two.host_name.clone());
    changed(lab, &spec, &LiveChange::MoveNic(key), |detail| {
        on(detail, &two.host_name)
    })
    .await?;
    lab.driver.define_machine(&spec).await?;
    changed(lab, &bare, &LiveChange::UnplugNic(mac), |detail| {
        detail.nics.is_empty()
    })
    .await
}

pub(super) async fn a_card_moves_to_a_network_on_a_bridge_of_the_host_and_back(lab: &Lab<'_>) -> Result {
    let (mut own, mut trunk) = (lab.network("own")?, lab.network("trunk")?);
    // Any bridge that is there will do.
    let bridge = lab.create(&mut own).await?.bridge;
    (trunk.mode, trunk.bridge) = (NetworkMode::Bridge, bridge);
    (trunk.address, trunk.dhcp, trunk.domain) = (None, None, None);
    lab.create(&mut trunk).await?;
    let mut spec = sample::with_nic(lab.machine("mover"), &own.host_name);
    running(lab, &mut spec).await?;
    let (key, mac) = (spec.nics[0].key.clone(), spec.nics[0].mac);
    let is_on = |detail: &MachineDetail, network: &str| {
        let wanted = Attachment::Network(network.to_owned());
        detail.nics.iter().any(|nic| {
            nic.mac == mac && nic.live_attachment.as_ref() == Some(&wanted) && nic.cable == Cable::AsDefined
        })
    };
    for network in [&trunk.host_name, &own.host_name, &trunk.host_name] {
        spec.nics[0].attachment = Attachment::Network(network.clone());
        lab.driver.define_machine(&spec).await?;
        let change = LiveChange::MoveNic(key.clone());
        changed(lab, &spec, &change, |detail| is_on(detail, network)).await?;
    }
    if let Some(hands) = lab.fixture.hands() {
        hands.pull_cable(&spec.id, mac).await?;
        let network = &trunk.host_name;
        changed(lab, &spec, &LiveChange::MoveNic(key), |detail| {
            is_on(detail, network)
        })
        .await?;
    }
    Ok(())
}

async fn disks_of(lab: &Lab<'_>, id: &ObjectId) -> Result<usize> {
    Ok(lab.detail(id).await?.disks.len())
}

pub(super) async fn a_stopped_machine_loses_what_is_unplugged_and_is_otherwise_left_alone(
    lab: &Lab<'_>,
) -> Result {
    let disk = lab.disk("off").await?;
    let mut bare = lab.machine("off");
    lab.define(&mut bare).await?;
    let spec = sample::with_disk(bare.clone(), &lab.pool, &disk);
    let key = spec.disks[0].key.clone();
    for change in [LiveChange::PlugDisk(key), LiveChange::Cpus, LiveChange::Memory] {
        lab.driver.change_live(&spec, &change).await?;
    }
    ensure_eq!(
        disks_of(lab, &bare.id).await?,
        0,
        "disks of a machine that is off"
    );
    lab.driver.define_machine(&spec).await?;
    let off = LiveChange::UnplugDisk(spec.disks[0].target.clone());
    for _ in 0..2 {
        lab.driver.change_live(&bare, &off).await?;
        ensure_eq!(disks_of(lab, &bare.id).await?, 0, "disks that are left");
    }
    lab.driver.volume(&lab.pool, &disk).await?;
    Ok(())
}

pub(super) async fn disks_of_one_machine_lie_in_two_pools(lab: &Lab<'_>) -> Result {
    let other = lab.fixture.other_pool();
    let other = other.ok_or_else(|| Failure::new("the fixture has no other pool"))?;
    let here = lab.disk("same-name").await?;
    lab.adopt_volume(&other, &here);
    // A name is one volume in each pool.
    lab.driver.create_volume(&sample::blank(&other, &here)).await?;
    ensure_error!(
        lab.driver.create_volume(&sample::blank(&other, &here)).await,
        Exists
    );
    let mut spec = sample::with_disk(
        sample::with_disk(lab.machine("pools"), &lab.pool, &here),
        &other,
        &here,
    );
    lab.define(&mut spec).await?;
    let detail = lab.detail(&spec.id).await?;
    let pools: Vec<_> = detail.disks.iter().map(|disk| disk.pool.clone()).collect();
    ensure_eq!(
        pools,
        [Some(lab.pool.clone()), Some(other.clone())],
        "the pools of the disks"
    );
    let snapshot = lab.driver.snapshot().await?;
    let named = snapshot.volumes.iter().filter(|volume| volume.name == here);
    ensure_eq!(named.count(), 2, "volumes of that name in the snapshot");
    lab.driver.delete_volume(&lab.pool, &here).await?;
    ensure_error!(lab.driver.volume(&lab.pool, &here).await, Missing);
    lab.driver.volume(&other, &here).await?;
    Ok(())
}
