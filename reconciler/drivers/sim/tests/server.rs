//! A simulated host behind a socket: the same host, and one that outlives its clients and itself.
#![cfg(unix)]

mod common;

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::Duration;

use common::SimFixture;
use labyard_driver::conformance::{self, sample};
use labyard_driver::ids::{PoolName, VolumeName};
use labyard_driver::observed::Power;
use labyard_driver::spec::VolumeContent;
use labyard_driver::{Driver, DriverError, HostEvent};
use labyard_driver_sim::{
    Edge, Fault, FaultKind, ForeignHand, ServeError, ServeOptions, Server, Settings, SimAdmin, SimDriver,
    Verb,
};
use tokio::task::JoinHandle;

fn options(directory: &Path) -> ServeOptions {
    ServeOptions {
        socket: directory.join("sim.sock"),
        state: None,
        settings: Settings {
            seed: 7,
            ..Settings::default()
        },
    }
}

/// A server that can only be cut off, not asked to stop.
fn serve(directory: &Path) -> JoinHandle<Result<(), ServeError>> {
    let server = loop {
        match Server::bind(options(directory)) {
            // The last write of the one before may be under way still.
            Err(ServeError::StateInUse { .. }) => std::thread::yield_now(),
            bound => break bound.unwrap(),
        }
    };
    tokio::spawn(server.run(std::future::pending()))
}

async fn cut_off(server: JoinHandle<Result<(), ServeError>>) {
    server.abort();
    assert!(server.await.unwrap_err().is_cancelled());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_host_behind_a_socket_does_what_every_driver_must() {
    let directory = tempfile::tempdir().unwrap();
    let server = Server::bind(options(directory.path())).unwrap();
    let mut fixture = SimFixture::new(SimDriver::connect(&directory.path().join("sim.sock")));
    fixture.host = Some(server.host().clone());
    let serving = tokio::spawn(server.run(std::future::pending()));
    let report = conformance::run(&fixture, "").await;
    println!("{report}");
    report.assert_passed();
    cut_off(serving).await;
}

#[tokio::test]
async fn a_server_cut_off_has_kept_all_that_it_answered_for() {
    let directory = tempfile::tempdir().unwrap();
    let driver = SimDriver::connect(&directory.path().join("sim.sock"));
    let server = serve(directory.path());
    let (pool, seed) = (PoolName::from("default"), VolumeName::from("seed"));
    let length = labyard_driver::ids::Bytes(5);
    let volume = sample::volume(&pool, &seed, VolumeContent::Upload { length });
    driver.create_volume(&volume).await.unwrap();
    let chunks = futures::stream::iter([Ok(bytes::Bytes::from_static(b"hello"))]);
    let deadline = Duration::from_secs(5);
    driver
        .upload(&pool, &seed, length, Box::pin(chunks), deadline)
        .await
        .unwrap();
    let net = sample::network("lab", "10.1.0.0/24".parse().unwrap());
    driver.create_network(&net).await.unwrap();
    let mut spec = sample::with_nic(sample::with_disk(sample::machine("m"), &pool, &seed), "lab");
    spec.disks[0].format = labyard_driver::spec::DiskFormat::Raw;
    driver.record_machine(&spec).await.unwrap();
    driver.define_machine(&spec).await.unwrap();
    driver.start_machine(&spec.id).await.unwrap();
    let facts = driver.snapshot().await.unwrap().host;
    cut_off(server).await;

    let answer = driver.snapshot().await;
    assert!(
        matches!(answer, Err(DriverError::Unreachable { .. })),
        "{answer:?}"
    );
    let server = serve(directory.path());
    let found = driver.snapshot().await.unwrap();
    assert_eq!(found.host, facts);
    assert_eq!(found.machines[0].mark.ours(), Some(&spec.mark));
    assert_eq!(found.machines[0].power, Power::Running);
    assert_eq!(driver.download(&pool, &seed, length).await.unwrap(), b"hello");
    // The guest goes on booting where it was.
    let lease = async {
        while driver.leases(&net.id).await.unwrap().is_empty() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(5), lease).await.unwrap();
    cut_off(server).await;
}

#[tokio::test]
async fn the_socket_of_a_living_server_is_not_taken_and_a_dead_ones_is() {
    let directory = tempfile::tempdir().unwrap();
    let server = serve(directory.path());
    let driver = SimDriver::connect(&directory.path().join("sim.sock"));
    driver.snapshot().await.unwrap();
    let mut other = options(directory.path());
    let again = Server::bind(other.clone());
    assert!(matches!(again, Err(ServeError::StateInUse { .. })), "{again:?}");
    other.state = Some(directory.path().join("other.json"));
    let again = Server::bind(other);
    assert!(matches!(again, Err(ServeError::InUse { .. })), "{again:?}");
    driver.snapshot().await.unwrap();
    cut_off(server).await;
    // What `kill -9` leaves behind: a socket that nobody listens on.
    drop(std::os::unix::net::UnixListener::bind(directory.path().join("sim.sock")).unwrap());
    let server = serve(directory.path());
    driver.snapshot().await.unwrap();
    cut_off(server).await;
}

#[tokio::test]
async fn socket_and_state_are_the_owners_alone_and_another_file_is_not_replaced() {
    let directory = tempfile::tempdir().unwrap();
    let server = serve(directory.path());
    let driver = SimDriver::connect(&directory.path().join("sim.sock"));
    driver.record_machine(&sample::machine("m")).await.unwrap();
    for name in ["sim.sock", "sim.sock.json"] {
        let mode = fs::metadata(directory.path().join(name))
            .unwrap()
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o600, "{name}");
    }
    cut_off(server).await;
    fs::write(directory.path().join("sim.sock"), "precious").unwrap();
    let bound = Server::bind(options(directory.path()));
    assert!(matches!(bound, Err(ServeError::NoSocket { .. })), "{bound:?}");
    assert_eq!(fs::read(directory.path().join("sim.sock")).unwrap(), b"precious");
}

#[tokio::test]
async fn a_state_that_cannot_be_read_is_an_error_and_stays() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("sim.sock.json");
    for damaged in [
        "",
        "{",
        "{\"labyard_sim_state\":99,\"clock_ms\":0,\"world_ms\":0,\"state\":{}}",
    ] {
        fs::write(&file, damaged).unwrap();
        let bound = Server::bind(options(directory.path()));
        assert!(matches!(bound, Err(ServeError::State { .. })), "{bound:?}");
        assert_eq!(fs::read_to_string(&file).unwrap(), damaged);
    }
}

#[tokio::test]
async fn events_come_over_the_socket_and_a_lost_server_says_so() {
    let directory = tempfile::tempdir().unwrap();
    let server = serve(directory.path());
    let socket = directory.path().join("sim.sock");
    let (driver, admin) = (SimDriver::connect(&socket), SimAdmin::connect(&socket));
    let spec = sample::machine("m");
    driver.record_machine(&spec).await.unwrap();
    let mut events = driver.events().await.unwrap();
    driver.start_machine(&spec.id).await.unwrap();
    assert_eq!(events.recv().await.unwrap(), HostEvent::Machine(spec.id.clone()));
    admin
        .by_other_hand(ForeignHand::Crash(spec.id.clone()))
        .await
        .unwrap();
    assert_eq!(events.recv().await.unwrap(), HostEvent::Machine(spec.id.clone()));
    assert_eq!(admin.look().await.unwrap().machines[0].power, Power::Crashed);
    cut_off(server).await;
    assert_eq!(events.recv().await.unwrap(), HostEvent::Lost);
}

#[tokio::test]
async fn faults_are_ordered_and_calls_counted_over_the_socket() {
    let directory = tempfile::tempdir().unwrap();
    let server = serve(directory.path());
    let socket = directory.path().join("sim.sock");
    let (driver, admin) = (SimDriver::connect(&socket), SimAdmin::connect(&socket));
    admin
        .order(Fault::nth(Verb::RecordMachine, 1, FaultKind::LoseReply))
        .await
        .unwrap();
    let answer = driver.record_machine(&sample::machine("m")).await;
    assert!(matches!(answer, Err(DriverError::ReplyLost { .. })), "{answer:?}");
    assert_eq!(driver.snapshot().await.unwrap().machines.len(), 1);
    let crash = FaultKind::CrashCaller(Edge::After);
    admin
        .order(Fault::nth(Verb::RecordMachine, 1, crash))
        .await
        .unwrap();
    let next = sample::machine("n");
    let late = driver.record_machine(&next);
    assert!(
        tokio::time::timeout(Duration::from_millis(300), late)
            .await
            .is_err()
    );
    let late = tokio::time::timeout(Duration::from_millis(300), driver.snapshot()).await;
    assert!(late.is_err(), "a dead caller got an answer on another connection");
    let verbs: Vec<_> = admin
        .operations()
        .await
        .unwrap()
        .iter()
        .map(|operation| operation.verb)
        .collect();
    assert_eq!(verbs, [Verb::RecordMachine, Verb::Snapshot, Verb::RecordMachine]);
    assert_eq!(
        SimDriver::connect(&socket)
            .snapshot()
            .await
            .unwrap()
            .machines
            .len(),
        2
    );
    cut_off(server).await;
}

#[tokio::test]
async fn garbage_on_the_socket_harms_nobody_else() {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let directory = tempfile::tempdir().unwrap();
    let server = serve(directory.path());
    let socket = directory.path().join("sim.sock");
    for garbage in [
        &b"GET / HTTP/1.1\r\n\r\n"[..],
        b"\0\0\0\x02{}",
        b"\xff\xff\xff\xff",
    ] {
        let mut connection = tokio::net::UnixStream::connect(&socket).await.unwrap();
        connection.write_all(garbage).await.unwrap();
        connection.shutdown().await.unwrap();
        drop(connection.read(&mut [0]).await);
    }
    SimDriver::connect(&socket).snapshot().await.unwrap();
    cut_off(server).await;
}
