//! An engine on a simulated host, as a test needs it: it can be killed, and its processes are seen to be gone.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use labyard_driver::Driver;
use labyard_driver::ids::{DiskKey, HostName, NicKey, UnixMillis};
use labyard_driver_sim::{SimDriver, SimHost};
use labyard_reconciler::EngineError;
use labyard_reconciler::desired::{DesiredMachine, DesiredNetwork};
use labyard_reconciler::engine::{Bounds, Clock, Deps, Embedded, Engine, ObjectRef, Run};
use labyard_reconciler::hooks::Hooks;
use labyard_reconciler::host::Host;
use labyard_reconciler::identity::{Identity, Random, derived_mac};
use labyard_reconciler::journal::Journal;
use labyard_reconciler::lease::{Process, Processes};
use labyard_reconciler::steps::Progress;
use labyard_reconciler::view::{MachineView, NetworkView};
use labyard_schema::{network, vm};
use tokio_util::sync::CancellationToken;

/// Alive or not, by process id: what every engine of a test sees of the others.
#[derive(Clone, Default)]
pub struct Table(Arc<Mutex<(u32, BTreeMap<u32, u64>)>>);

impl Table {
    fn start(&self) -> u32 {
        let mut table = self.0.lock().unwrap();
        table.0 += 1;
        let pid = table.0 + 100;
        table.1.insert(pid, u64::from(pid));
        pid
    }

    fn end(&self, pid: u32) {
        self.0.lock().unwrap().1.remove(&pid);
    }

    /// Every process is gone.
    pub fn end_all(&self) {
        self.0.lock().unwrap().1.clear();
    }

    fn started(&self, pid: u32) -> Option<u64> {
        self.0.lock().unwrap().1.get(&pid).copied()
    }
}

struct TestProcesses {
    own: u32,
    table: Table,
}

impl Processes for TestProcesses {
    fn own(&self) -> Process {
        Process {
            boot_id: "boot".into(),
            pid_namespace: 1,
            pid: self.own,
            started: u64::from(self.own),
        }
    }

    fn start_time(&self, pid: u32) -> Option<u64> {
        self.table.started(pid)
    }
}

/// Time as tokio has it, so that paused time is the engine's time; and what the computer slept.
struct TestClock(tokio::time::Instant, Arc<AtomicU64>);

impl Clock for TestClock {
    fn now(&self) -> UnixMillis {
        let slept = self.1.load(Ordering::SeqCst);
        UnixMillis(1_700_000_000_000 + slept + self.0.elapsed().as_millis() as u64)
    }
}

/// Different bytes each time, the same in every run.
struct TestRandom {
    engine: u32,
    count: AtomicU64,
}

impl Random for TestRandom {
    fn bytes(&self) -> [u8; 16] {
        let count = self.count.fetch_add(1, Ordering::SeqCst);
        let mut bytes = [0; 16];
        bytes[..4].copy_from_slice(&self.engine.to_be_bytes());
        bytes[8..].copy_from_slice(&count.to_be_bytes());
        bytes
    }
}

/// What a process of its own gives its engine.
pub fn deps(table: &Table) -> Deps {
    process(table, Hooks::default(), Journal::off()).2
}

/// The same with hooks and a journal.
pub fn deps_with(table: &Table, hooks: Hooks, journal: Journal) -> Deps {
    process(table, hooks, journal).2
}

fn process(table: &Table, hooks: Hooks, journal: Journal) -> (u32, Arc<AtomicU64>, Deps) {
    let pid = table.start();
    let slept = Arc::new(AtomicU64::new(0));
    let deps = Deps {
        engine: format!("engine-{pid}"),
        clock: Box::new(TestClock(tokio::time::Instant::now(), slept.clone())),
        random: Box::new(TestRandom {
            engine: pid,
            count: AtomicU64::new(0),
        }),
        processes: Box::new(TestProcesses {
            own: pid,
            table: table.clone(),
        }),
        hooks,
        journal,
        ..Deps::default()
    };
    (pid, slept, deps)
}

/// One engine, as one provider process has it.
pub struct Rig {
    pub engine: Arc<Embedded>,
    pub pid: u32,
    table: Table,
    pub host: HostName,
    slept: Arc<AtomicU64>,
}

impl Rig {
    /// A new process with its engine.
    pub fn start(sim: &SimHost, table: &Table) -> Self {
        Self::with(sim, table, Hooks::default(), Journal::off())
    }

    /// The same with hooks and a journal.
    pub fn with(sim: &SimHost, table: &Table, hooks: Hooks, journal: Journal) -> Self {
        let (pid, slept, deps) = process(table, hooks, journal);
        let driver = || Arc::new(SimDriver::in_memory(sim)) as Arc<dyn Driver>;
        let host = HostName::from("lab1");
        let engine = Embedded::new([Host::new(host.clone(), driver(), driver())], deps);
        Self {
            engine: Arc::new(engine),
            pid,
            table: table.clone(),
            host,
            slept,
        }
    }

    /// The computer slept: nothing ran, and its clock is ahead.
    pub fn sleeps(&self, time: Duration) {
        self.slept.fetch_add(time.as_millis() as u64, Ordering::SeqCst);
    }

    /// The process is gone: others see it, and nothing of it goes on.
    pub fn kill(self) {
        self.table.end(self.pid);
    }

    /// The run ends well: what Terraform was told of is confirmed.
    pub async fn end(self) {
        self.engine.finish(Run::Through).await;
        self.table.end(self.pid);
    }

    pub async fn network(&self) -> Result<NetworkView, EngineError> {
        self.engine
            .create_network(&self.host, &network_wish(), bounds())
            .await
    }

    pub async fn create(
        &self,
        wish: &DesiredMachine,
    ) -> (Result<MachineView, EngineError>, Option<Identity>) {
        let told = Mutex::new(None);
        let report = |progress: &Progress| *told.lock().unwrap() = Some(progress.identity.clone());
        let result = self
            .engine
            .create_machine(&self.host, wish, bounds(), &report)
            .await;
        (result, told.into_inner().unwrap())
    }

    pub async fn update(
        &self,
        identity: &Identity,
        known: &DesiredMachine,
        wish: &DesiredMachine,
    ) -> Result<MachineView, EngineError> {
        self.engine
            .update_machine(&self.object(wish, Some(identity)), known, wish, bounds(), &|_| {})
            .await
    }
    pub async fn destroy(&self, identity: &Identity, wish: &DesiredMachine) -> Result<(), EngineError> {
        self.engine
            .destroy_machine(&self.object(wish, Some(identity)), wish, bounds())
            .await
    }

    pub fn object(&self, wish: &DesiredMachine, identity: Option<&Identity>) -> ObjectRef {
        ObjectRef {
            host: self.host.clone(),
            namespace: wish.namespace.clone(),
            name: wish.name.clone(),
            identity: identity.cloned(),
            id: identity.map(|identity| identity.id.clone()),
            pools: Default::default(),
        }
    }
}

pub fn bounds() -> Bounds {
    Bounds {
        reserve: Default::default(),
        fence: None,
        cancel: CancellationToken::new(),
        limit: Duration::from_secs(1800),
    }
}

/// What a user writes of a small network with addresses for its guests.
pub fn network_config() -> network::Network {
    network::Network {
        name: "lab".into(),
        mode: "nat".into(),
        ipv4: Some(network::Ipv4 {
            cidr: "10.77.0.0/24".into(),
            dhcp: Some(network::DhcpRange {
                start: "10.77.0.100".into(),
                end: "10.77.0.200".into(),
                options: None,
            }),
        }),
        ..network::Network::default()
    }
}

pub fn network_wish() -> DesiredNetwork {
    let config = network::Network {
        autostart: true,
        ..network_config()
    };
    DesiredNetwork::from_config(&"default".into(), &config).unwrap()
}

/// An image of some pieces, the same for all tests.
pub fn image() -> PathBuf {
    static IMAGE: std::sync::OnceLock<tempfile::TempPath> = std::sync::OnceLock::new();
    let path = IMAGE.get_or_init(|| {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), vec![7_u8; 192 << 10]).unwrap();
        file.into_temp_path()
    });
    path.to_path_buf()
}

/// A raw image of four KiB that begins with a text, the same for all tests.
pub fn raw(text: &'static str) -> PathBuf {
    static IMAGES: Mutex<BTreeMap<&str, tempfile::TempPath>> = Mutex::new(BTreeMap::new());
    let mut images = IMAGES.lock().unwrap();
    let path = images.entry(text).or_insert_with(|| {
        let file = tempfile::NamedTempFile::new().unwrap();
        let mut bytes = text.as_bytes().to_vec();
        bytes.resize(4096, 0);
        std::fs::write(file.path(), bytes).unwrap();
        file.into_temp_path()
    });
    path.to_path_buf()
}

/// A machine with everything: a disk of an image, a blank one, a seed, a NIC on a network of ours.
pub fn config(name: &str) -> vm::Vm {
    let source = format!("file:{}", image().display());
    let root = vm::Disk {
        size_gib: Some(1),
        image: Some(vm::Image { source, sha256: None }),
        ..vm::Disk::default()
    };
    let data = vm::Disk {
        size_gib: Some(2),
        on_remove: Some("delete".into()),
        ..vm::Disk::default()
    };
    vm::Vm {
        name: name.into(),
        cpus: 1,
        memory_mib: 128,
        disks: Some(BTreeMap::from([
            ("root".to_owned(), root),
            ("data".to_owned(), data),
        ])),
        nics: Some(BTreeMap::from([(
            "lan".to_owned(),
            vm::Nic {
                network: "lab".into(),
                ..vm::Nic::default()
            },
        )])),
        cloud_init: Some(vm::CloudInit {
            user_data: Some("#cloud-config\n".into()),
            ..vm::CloudInit::default()
        }),
        power: "running".into(),
        allow_restart: true,
        ..vm::Vm::default()
    }
}

pub fn wish(config: &vm::Vm) -> DesiredMachine {
    let namespace = "default".into();
    let macs = config.nics.iter().flatten().map(|(key, _)| {
        let mac = derived_mac(
            &"host".into(),
            &namespace,
            &config.name.as_str().into(),
            &NicKey(key.clone()),
        );
        (key.clone(), mac.to_string())
    });
    DesiredMachine::from_config(&namespace, config, &macs.collect(), &BTreeMap::new()).unwrap()
}

/// What a host holds, by name: machines, networks, volumes, reservations.
pub fn inventory(sim: &SimHost) -> Vec<String> {
    let snapshot = sim.look();
    let machines = snapshot
        .machines
        .iter()
        .map(|m| format!("machine {}", m.host_name));
    let networks = snapshot
        .networks
        .iter()
        .map(|n| format!("network {}", n.host_name));
    let volumes = snapshot.volumes.iter().map(|v| format!("volume {}", v.name));
    let reservations = snapshot.networks.iter().flat_map(|n| {
        n.reservations
            .iter()
            .map(|r| format!("reservation {}", r.address))
    });
    let mut all: Vec<_> = machines
        .chain(networks)
        .chain(volumes)
        .chain(reservations)
        .chain(sim.screens().iter().map(|screen| format!("screen {screen}")))
        .collect();
    all.sort();
    all
}

/// A whole machine: itself, its two disks, its seed, its image with marker, its reservation; nothing besides.
pub fn assert_whole(sim: &SimHost, names: &[&str]) {
    let snapshot = sim.look();
    let mut machines: Vec<_> = snapshot.machines.iter().map(|m| m.host_name.as_str()).collect();
    machines.sort_unstable();
    assert_eq!(machines, names);
    let of = |prefix: &str| {
        snapshot
            .volumes
            .iter()
            .filter(|v| v.name.as_str().starts_with(prefix))
            .count()
    };
    for name in names {
        assert_eq!(
            of(&format!("{name}.")),
            3,
            "volumes of {name}: {:?}",
            inventory(sim)
        );
    }
    assert_eq!(
        of("labyard-image."),
        2,
        "one image and its marker: {:?}",
        inventory(sim)
    );
    assert_eq!(
        snapshot.volumes.len(),
        3 * names.len() + 2,
        "{:?}",
        inventory(sim)
    );
    let reservations: usize = snapshot.networks.iter().map(|n| n.reservations.len()).sum();
    assert_eq!(reservations, names.len(), "{:?}", inventory(sim));
    for machine in &snapshot.machines {
        let detail = machine.detail.known().unwrap();
        assert_eq!(
            (detail.disks.len(), detail.nics.len(), detail.cdroms.len()),
            (2, 1, 1),
            "{}",
            machine.host_name
        );
        let mark = machine.mark.ours().unwrap();
        assert!(
            mark.disks
                .keys()
                .eq([&DiskKey::from("data"), &DiskKey::from("root")])
        );
    }
}
