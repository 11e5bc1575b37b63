//! Bounds: calls that a snapshot makes, and time, whatever hangs.

use std::time::{Duration, Instant};

use labyard_driver::conformance::sample;
use labyard_driver::ids::VolumeName;
use labyard_driver::mark::NicMark;
use labyard_driver::observed::{Capacity, NetworkStanding, Power};
use labyard_driver::spec::MachineSpec;
use labyard_driver::{Driver, DriverError};
use labyard_driver_libvirt::LibvirtDriver;

use crate::host;
use crate::own_host::OwnHost;

async fn with_disk(driver: &LibvirtDriver, hint: &str) -> MachineSpec {
    let volume = VolumeName(host::fresh("disk"));
    driver
        .create_volume(&sample::blank(&host::pool(), &volume))
        .await
        .unwrap();
    let spec = sample::with_disk(host::machine(hint), &host::pool(), &volume);
    driver.record_machine(&spec).await.unwrap();
    driver.define_machine(&spec).await.unwrap();
    spec
}

async fn capacity(driver: &LibvirtDriver, spec: &MachineSpec) -> Capacity {
    let snapshot = driver.snapshot().await.unwrap();
    let machine = snapshot
        .machines
        .iter()
        .find(|machine| machine.id == spec.id)
        .unwrap();
    machine.detail.known().unwrap().disks[0].capacity
}

#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_makes_a_bounded_number_of_calls() {
    let Some(own) = OwnHost::start("calls") else {
        return;
    };
    let maker = host::driver(&own.uri);
    let fresh = || host::driver(&own.uri);
    for networks in 0..2_u64 {
        for machines in 0..3_u64 {
            // Of three machines one runs.
            let (stopped, running) = (machines, u64::from(machines > 0));
            let driver = fresh();
            let snapshot = driver.snapshot().await.unwrap();
            assert_eq!(snapshot.machines.len() as u64, stopped + running);
            // Opening the connection among them. Three are for all machines together, as soon as there is one; of a
            // machine and of a network the definition is read, and what runs of it. The host has a second pool.
            let most = 12 + 1 + 3 * u64::from(machines > 0) + stopped + 2 * running + 2 * networks;
            let calls = driver.calls().await;
            assert!(
                calls <= most,
                "{calls} calls, not {most}: {stopped} stopped, {running} running, {networks} networks"
            );
            driver.snapshot().await.unwrap();
            let again = driver.calls().await - calls;
            // Neither connecting nor what a host has is told twice.
            assert!(
                again + 5 <= most,
                "{again} calls the second time, {calls} the first"
            );
            let made = with_disk(&maker, "calls").await;
            if machines == 0 {
                maker.start_machine(&made.id).await.unwrap();
                with_disk(&maker, "calls").await;
            }
        }
        for machine in maker.snapshot().await.unwrap().machines {
            maker.power_off(&machine.id).await.unwrap();
            maker.remove_machine(&machine.id).await.unwrap();
        }
        maker.create_network(&host::network("calls")).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_machine_that_hangs_hides_only_the_size_of_its_own_disks() {
    let Some(own) = OwnHost::start("hangs") else {
        return;
    };
    let driver = host::driver(&own.uri);
    let (hung, other, stopped) = (
        with_disk(&driver, "hung").await,
        with_disk(&driver, "other").await,
        with_disk(&driver, "stopped").await,
    );
    driver.start_machine(&hung.id).await.unwrap();
    driver.start_machine(&other.id).await.unwrap();
    own.signal(&hung.host_name, "-STOP");
    for _ in 0..2 {
        let began = Instant::now();
        let snapshot = driver.snapshot().await.unwrap();
        assert!(began.elapsed() < Duration::from_secs(12), "{:?}", began.elapsed());
        let seen = |spec: &MachineSpec| {
            snapshot
                .machines
                .iter()
                .find(|machine| machine.id == spec.id)
                .unwrap()
        };
        assert_eq!(
            (seen(&hung).power, seen(&hung).mark.ours()),
            (Power::Running, Some(&hung.mark))
        );
        let size = |spec| seen(spec).detail.known().map(|detail| detail.disks[0].capacity);
        let there = Some(Capacity::Known(labyard_driver::ids::Bytes::from_mib(64)));
        assert!(
            matches!(size(&hung), None | Some(Capacity::Unknown)),
            "{:?}",
            size(&hung)
        );
        assert_eq!((size(&other), size(&stopped)), (there, there));
    }
    let began = Instant::now();
    assert_eq!(driver.machine(&hung.id).await.unwrap().power, Power::Running);
    assert!(began.elapsed() < Duration::from_secs(12), "{:?}", began.elapsed());
    // Other machines can be worked on, and the hung one can be ended.
    driver.write_mark(&other.id, &other.mark).await.unwrap();
    driver.power_off(&hung.id).await.unwrap();
    assert_eq!(driver.machine(&hung.id).await.unwrap().power, Power::Stopped);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_daemon_that_was_restarted_is_connected_to_anew_and_its_machines_are_still_there() {
    let Some(own) = OwnHost::start("restart") else {
        return;
    };
    let driver = host::driver(&own.uri);
    let spec = with_disk(&driver, "stays").await;
    driver.start_machine(&spec.id).await.unwrap();
    let mut events = driver.events().await.unwrap();
    own.daemon("kill");
    let gone = driver.snapshot().await.unwrap_err();
    assert!(
        matches!(
            gone,
            DriverError::Unreachable { .. } | DriverError::ReplyLost { .. }
        ),
        "{gone:?}"
    );
    let gone = driver.snapshot().await.unwrap_err().to_string();
    assert!(gone.contains("systemctl start libvirtd"), "{gone}");
    own.daemon("start");
    let snapshot = driver.snapshot().await.unwrap();
    assert_eq!(snapshot.machines[0].power, Power::Running);
    let lost = tokio::time::timeout(Duration::from_secs(10), events.recv())
        .await
        .unwrap()
        .unwrap();
    assert_eq!(lost, labyard_driver::HostEvent::Lost);
    // The feed is on its feet again.
    tokio::time::sleep(Duration::from_secs(3)).await;
    while events.try_recv().is_ok() {}
    driver.power_off(&spec.id).await.unwrap();
    let told = tokio::time::timeout(Duration::from_secs(10), events.recv())
        .await
        .unwrap()
        .unwrap();
    assert_eq!(told, labyard_driver::HostEvent::Machine(spec.id));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_daemon_that_hangs_is_an_error_in_time() {
    let Some(own) = OwnHost::start("silent") else {
        return;
    };
    let connected = host::driver(&own.uri);
    connected.snapshot().await.unwrap();
    own.daemon("stop");
    let began = Instant::now();
    let fresh = host::driver(&own.uri);
    let (fresh, connected) = futures::join!(fresh.snapshot(), connected.snapshot());
    let (fresh, connected) = (fresh.unwrap_err(), connected.unwrap_err());
    own.daemon("cont");
    assert!(
        fresh.to_string().contains("systemctl restart libvirtd"),
        "{fresh}"
    );
    assert!(connected.is_transient(), "{connected:?}");
    assert!(began.elapsed() < Duration::from_secs(45), "{:?}", began.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_may_only_read_sees_the_same() {
    let Some(own) = OwnHost::start("reads") else {
        return;
    };
    let driver = host::driver(&own.uri);
    let spec = with_disk(&driver, "seen").await;
    driver.start_machine(&spec.id).await.unwrap();
    let uri = own.uri.replace("libvirt-sock", "libvirt-sock-ro");
    let reader = host::driver(&format!("{uri}&mode=ro"));
    assert_eq!(capacity(&reader, &spec).await, capacity(&driver, &spec).await);
    assert_eq!(reader.machine(&spec.id).await.unwrap().power, Power::Running);
    assert_eq!(reader.marks().await.unwrap().len(), 1);
    assert!(!reader.volumes(&host::pool()).await.unwrap().is_empty());
    let refused = reader.power_off(&spec.id).await.unwrap_err();
    assert!(
        matches!(&refused, DriverError::Refused { message, .. } if message.contains("mode=ro")),
        "{refused:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pool_that_is_missing_or_stopped_is_told_with_the_command_that_mends_it() {
    let Some(uri) = host::uri() else { return };
    let driver = LibvirtDriver::new(labyard_driver_libvirt::LibvirtConfig {
        uri: uri.clone(),
        storage_pool: Some("nowhere".to_owned()),
        accelerator: Default::default(),
    })
    .unwrap();
    let facts = driver.snapshot().await.unwrap().host;
    assert_eq!(facts.pool, None);
    let fault = facts.pool_fault.unwrap_or_default();
    assert!(fault.contains("pool-define-as nowhere dir"), "{fault}");
    let missing = driver.pool_room(&"nowhere".into()).await.unwrap_err();
    assert!(matches!(missing, DriverError::Missing { .. }));
    assert!(
        missing.to_string().contains("pool-define-as nowhere dir"),
        "{missing}"
    );
    // That a pool is missing does not mean that what was in it is gone.
    let volume = driver.volume(&"nowhere".into(), &"a".into()).await.unwrap_err();
    assert!(matches!(volume, DriverError::Refused { .. }), "{volume:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clash_of_subnets_names_the_network_that_has_it() {
    let Some(uri) = host::uri() else { return };
    let driver = host::driver(&uri);
    let first = host::network("first");
    driver.create_network(&first).await.unwrap();
    let mut second = host::network("second");
    (second.address, second.dhcp) = (first.address, first.dhcp);
    let clash = driver.create_network(&second).await.unwrap_err();
    driver.remove_network(&first.id).await.unwrap();
    assert!(clash.to_string().contains(&first.host_name), "{clash}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_machine_that_hangs_keeps_no_other_off_a_network_that_was_restarted() {
    let Some(own) = OwnHost::start("wires") else {
        return;
    };
    let driver = host::driver(&own.uri);
    let network = host::network("wires");
    driver.create_network(&network).await.unwrap();
    let (hung, other) = (host::machine("hung"), host::machine("other"));
    for machine in [&hung, &other] {
        let mut spec = sample::with_nic(machine.clone(), &network.host_name);
        let nic = NicMark {
            network: network.host_name.clone(),
            mac: spec.nics[0].mac,
            reserved: None,
            boot: None,
        };
        spec.mark.nics.insert(spec.nics[0].key.clone(), nic);
        driver.record_machine(&spec).await.unwrap();
        driver.define_machine(&spec).await.unwrap();
        driver.start_machine(&spec.id).await.unwrap();
    }
    own.signal(&hung.host_name, "-STOP");
    // Asks it for something: from now on its definition cannot be read either.
    driver.snapshot().await.unwrap();
    let mut changed = network.clone();
    changed.domain = Some("changed.test".to_owned());
    driver.change_network(&changed).await.unwrap();
    let off = driver.reattach_guests(&network.id).await.unwrap_err();
    assert!(matches!(off, DriverError::Busy { .. }), "{off:?}");
    let (off, other_name) = (off.to_string(), other.host_name.as_str());
    assert!(
        off.contains(&hung.host_name) && !off.contains(other_name),
        "{off}"
    );
    let seen = driver.snapshot().await.unwrap();
    assert_eq!(seen.networks[0].standing, NetworkStanding::Behind);
    own.signal(&hung.host_name, "-CONT");
    let put_back = async || driver.reattach_guests(&network.id).await.is_ok();
    let deadline = Instant::now() + Duration::from_secs(60);
    while !put_back().await {
        assert!(Instant::now() < deadline);
    }
    let seen = driver.snapshot().await.unwrap();
    assert_eq!(seen.networks[0].standing, NetworkStanding::AsDefined);
    assert_eq!(seen.networks.len(), 1);
}
