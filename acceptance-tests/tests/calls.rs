//! What a refresh costs a host: calls to libvirt, counted by the driver itself.

use labyard_acceptance_tests::hcl;
use labyard_acceptance_tests::host::Host;
use labyard_acceptance_tests::terraform::Terraform;
use labyard_acceptance_tests::whole::{machine, write_image};
use labyard_driver::Driver;
use labyard_driver::observed::{Power, Snapshot};
use labyard_driver_libvirt::{AcceleratorChoice, LibvirtConfig, LibvirtDriver};
use labyard_reconciler::observe::Observer;
use std::collections::BTreeSet;
use std::sync::Arc;
use tempfile::TempDir;

/// Four to connect; its capabilities, its machines' states, three lists of networks; its pools, and of the configured
/// one what it is and holds.
const HOST: u64 = 12;
/// As soon as there is a machine of ours: which start with the host, which are saved, and the sizes of all disks.
const FIRST: u64 = 3;
/// Its definition.
const STOPPED: u64 = 1;
/// Its definition, and what runs of it.
const RUNNING: u64 = 2;
/// Its definition, and what runs of it.
const NETWORK: u64 = 2;
/// Where machines of ours run: its leases, and the ports that they are plugged into.
const IN_USE: u64 = 2;
const READERS: usize = 50;

fn driver(host: &Host) -> Arc<LibvirtDriver> {
    let config = LibvirtConfig {
        uri: host.uri(),
        storage_pool: None,
        accelerator: AcceleratorChoice::Qemu,
    };
    Arc::new(LibvirtDriver::new(config).unwrap())
}

/// Three stopped machines, two running ones, three networks.
fn config(host: &Host, image: &str) -> String {
    let running = |name: &str| {
        let boot = hcl::boot("");
        hcl::machine(
            name,
            format!(
                "memory_mib = 128\n  disks = {{ root = {{ image = {} }} }}\n  ready = {{ wait = \"none\" }}\n  shutdown = {{ mode = \"force\" }}\n  \
                 nics = {{ lan = {{ network = labyard_network.lab.name }} }}\n  {boot}",
                hcl::image()
            ),
        )
    };
    let stopped = |name: &str| machine(name, image, "labyard_network.lab.name", "");
    [
        hcl::on(host),
        hcl::network("lab", 77),
        hcl::network("spare", 78),
        hcl::network("third", 79),
        stopped("one"),
        stopped("two"),
        stopped("three"),
        running("four"),
        running("five"),
    ]
    .concat()
}

fn bound(snapshot: &Snapshot) -> u64 {
    let running = snapshot
        .machines
        .iter()
        .filter(|m| m.power == Power::Running)
        .count() as u64;
    let (machines, networks) = (snapshot.machines.len() as u64, snapshot.networks.len() as u64);
    let in_use: BTreeSet<_> = snapshot
        .machines
        .iter()
        .filter(|m| m.power == Power::Running)
        .flat_map(|m| &m.detail.known().unwrap().nics)
        .map(|nic| format!("{:?}", nic.attachment))
        .collect();
    HOST + FIRST * machines.min(1)
        + STOPPED * (machines - running)
        + RUNNING * running
        + NETWORK * networks
        + IN_USE * in_use.len() as u64
}

#[tokio::test]
async fn a_refresh_costs_a_few_calls_a_machine_and_is_shared_by_all_who_read() {
    let host = Host::start().unwrap();
    let files = TempDir::new().unwrap();
    let image = write_image(&files.path().join("image.qcow2"), 100_000).unwrap();
    let terraform = Terraform::new().unwrap();
    terraform.write("main.tf", &config(&host, &image)).unwrap();
    terraform.apply(&[]).unwrap().expect_success();

    let driver = driver(&host);
    let snapshot = driver.snapshot().await.unwrap();
    let first = driver.calls().await;
    assert_eq!((snapshot.machines.len(), snapshot.networks.len()), (5, 3));
    assert_eq!(
        snapshot
            .machines
            .iter()
            .filter(|m| m.power == Power::Running)
            .count(),
        2
    );
    assert!(snapshot.machines.iter().all(|m| m.detail.known().is_some()));
    eprintln!("the first refresh: {first} calls, bound {}", bound(&snapshot));
    assert!(
        first <= bound(&snapshot),
        "{first} calls, bound {}",
        bound(&snapshot)
    );

    driver.snapshot().await.unwrap();
    let again = driver.calls().await - first;
    assert!(
        again <= first,
        "{again} calls on a connection that stands, {first} with connecting"
    );

    let before = driver.calls().await;
    let observer = Arc::new(Observer::new(driver.clone()));
    let readers: Vec<_> = (0..READERS)
        .map(|_| {
            let observer = observer.clone();
            tokio::spawn(async move { observer.fresh().await.unwrap().machines.len() })
        })
        .collect();
    for reader in readers {
        assert_eq!(reader.await.unwrap(), 5);
    }
    let shared = driver.calls().await - before;
    eprintln!("{READERS} readers: {shared} calls, one: {again}");
    assert_eq!(shared, again, "one snapshot for all");

    observer.invalidate();
    observer.fresh().await.unwrap();
    assert_eq!(
        driver.calls().await - before,
        2 * again,
        "a change makes what was read stale"
    );
    terraform.destroy(&[]).unwrap().expect_success();
}
