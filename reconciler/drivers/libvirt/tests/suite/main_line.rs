//! The main line: a network, a machine with its volumes, its life, and nothing left.

use std::net::Ipv4Addr;
use std::time::Duration;

use futures::{StreamExt, stream};
use labyard_driver::Driver;
use labyard_driver::conformance::sample;
use labyard_driver::driver::AgentState;
use labyard_driver::ids::{Bytes, VolumeName};
use labyard_driver::observed::{Activity, Capacity, Power, Reservation, Standing};
use labyard_driver::spec::{DiskFormat, MachineSpec, NetworkSpec, VolumeContent};
use labyard_driver_libvirt::LibvirtDriver;

use crate::host::{self, fresh};

const DEADLINE: Duration = Duration::from_secs(60);

struct Line {
    driver: LibvirtDriver,
    network: NetworkSpec,
    spec: MachineSpec,
    reservation: Reservation,
    volumes: Vec<VolumeName>,
}

#[tokio::test(flavor = "multi_thread")]
async fn a_machine_is_made_runs_and_goes_without_a_trace() {
    let Some(uri) = host::uri() else { return };
    let line = make(host::driver(&uri)).await;
    line.driver.start_machine(&line.spec.id).await.unwrap();
    see_it_run(&line).await;
    if host::guest().is_some() {
        see_the_guest(&line).await;
    }
    take_down(&line).await;
}

/// Network, record, address, volumes, definition: in the order in which a machine comes to be.
async fn make(driver: LibvirtDriver) -> Line {
    let pool = host::pool();
    let network = host::network("line");
    assert_eq!(
        driver.create_network(&network).await.unwrap().active,
        Activity::Active
    );
    let mut spec = sample::with_nic(host::machine("line"), &network.host_name);
    let recorded = driver.record_machine(&spec).await.unwrap();
    assert_eq!(
        (recorded.power, recorded.mark.ours()),
        (Power::Stopped, Some(&spec.mark))
    );
    let gateway = network.address.unwrap().addr();
    let address = Ipv4Addr::from(u32::from(gateway) + 49).into();
    let reservation = Reservation {
        mac: spec.nics[0].mac,
        address,
        name: Some("line".to_owned()),
    };
    driver.reserve_address(&network.id, &reservation).await.unwrap();
    let (base, root, seed) = (volume("base"), volume("root"), volume("seed"));
    fill(&driver, &base, vec![7_u8; 3 << 20]).await;
    let content = VolumeContent::Overlay {
        base: base.clone(),
        base_format: DiskFormat::Raw,
        capacity: Bytes::from_mib(16),
    };
    driver
        .create_volume(&sample::volume(&pool, &root, content))
        .await
        .unwrap();
    fill(&driver, &seed, vec![1_u8; 376_832]).await;
    spec = sample::with_seed(sample::with_disk(spec, &pool, &root), &pool, &seed);
    if let Some(guest) = host::guest() {
        spec.direct_boot = Some(guest.direct_boot);
        spec.memory = guest.memory;
    }
    driver.define_machine(&spec).await.unwrap();
    Line {
        driver,
        network,
        spec,
        reservation,
        volumes: vec![root, seed, base],
    }
}

async fn see_it_run(line: &Line) {
    let snapshot = line.driver.snapshot().await.unwrap();
    let seen = snapshot
        .machines
        .iter()
        .find(|machine| machine.id == line.spec.id)
        .unwrap();
    let detail = seen.detail.known().unwrap();
    assert_eq!(seen.power, Power::Running);
    assert_eq!(detail.disks[0].capacity, Capacity::Known(Bytes::from_mib(16)));
    assert_eq!(
        (detail.disks[0].standing, detail.nics[0].standing),
        (Standing::Whole, Standing::Whole)
    );
    assert_eq!(
        detail.cdroms["sda"].as_ref().unwrap().volume.as_ref(),
        Some(&line.volumes[1])
    );
}

async fn see_the_guest(line: &Line) {
    let Line {
        driver,
        network,
        spec,
        reservation,
        ..
    } = line;
    until("the guest has its address", || async {
        driver
            .leases(&network.id)
            .await
            .unwrap()
            .iter()
            .any(|lease| lease.address == reservation.address)
    })
    .await;
    until("the agent answers", || async {
        driver.agent_answers(&spec.id).await.unwrap() == AgentState::Answers
    })
    .await;
    let addresses = driver.addresses(&spec.id).await.unwrap();
    assert!(
        addresses.contains(&(reservation.mac, reservation.address)),
        "{addresses:?}"
    );
    driver.request_shutdown(&spec.id).await.unwrap();
    until("the guest is off", || async {
        driver.machine(&spec.id).await.unwrap().power == Power::Stopped
    })
    .await;
}

async fn take_down(line: &Line) {
    let Line {
        driver,
        network,
        spec,
        reservation,
        volumes,
    } = line;
    driver.power_off(&spec.id).await.unwrap();
    driver.remove_machine(&spec.id).await.unwrap();
    for name in volumes {
        driver.delete_volume(&host::pool(), name).await.unwrap();
    }
    driver
        .release_address(&network.id, reservation.mac, reservation.address)
        .await
        .unwrap();
    driver.remove_network(&network.id).await.unwrap();
    let after = driver.snapshot().await.unwrap();
    assert!(after.machines.iter().all(|machine| machine.id != spec.id));
    assert!(after.networks.iter().all(|other| other.id != network.id));
    let left = driver.volumes(&host::pool()).await.unwrap();
    assert!(volumes.iter().all(|name| !left.contains(name)), "{left:?}");
}

fn volume(hint: &str) -> VolumeName {
    VolumeName(fresh(hint))
}

async fn fill(driver: &dyn Driver, name: &VolumeName, content: Vec<u8>) {
    let length = Bytes(content.len() as u64);
    let pool = host::pool();
    driver
        .create_volume(&sample::volume(&pool, name, VolumeContent::Upload { length }))
        .await
        .unwrap();
    let stream = stream::iter([Ok(content.into())]).boxed();
    driver
        .upload(&pool, name, length, stream, DEADLINE)
        .await
        .unwrap();
}

async fn until<F: Future<Output = bool>>(what: &str, mut holds: impl FnMut() -> F) {
    let end = tokio::time::Instant::now() + DEADLINE;
    while !holds().await {
        assert!(tokio::time::Instant::now() < end, "not in time: {what}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}
