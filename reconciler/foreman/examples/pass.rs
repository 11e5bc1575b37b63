//! How long one pass over many machines takes where nothing is to be done, and how much memory.
//!
//! ```sh
//! cargo run --release -p labyard-foreman --example pass -- 10000 50
//! ```
//! So many machines of pools, five hundred each, are made on so many simulated hosts, which live in another process;
//! then every host is read anew and compared with the store, and every pool is planned. The answer is JSON: seconds of
//! each pass, and the most memory that the process had while it made the machines and during the passes, in MiB.

#![expect(clippy::unwrap_used, reason = "a tool that measures ends where it cannot")]

use labyard_driver::{
    Driver,
    ids::{HostName, Mib},
};
use labyard_driver_sim::{BootMedium, GuestSettings, ServeOptions, Server, Settings, SimDriver};
use labyard_foreman::{Foreman, Setting};
use labyard_labs::{
    Refusal,
    claim::lease::Limits,
    ids::PoolName,
    pool::{self, OnDestroy, Recycle, Spec, Strategy},
};
use labyard_reconciler::{
    desired::DesiredNetwork,
    engine::{Bounds, Deps, Embedded, Engine},
    host::Host,
};
use labyard_schema::network;
use labyard_store::{event::Moment, testing::Database};
use serde_json::json;
use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};
use tokio_util::sync::CancellationToken;

const POOL: u32 = 500;
const PASSES: usize = 7;
const LONG: Duration = Duration::from_secs(1800);

#[tokio::main]
async fn main() {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let (machines, hosts): (u32, u32) = match &words[..] {
        [directory, hosts] if directory.starts_with('/') => {
            return serve(directory, hosts.parse().unwrap()).await;
        }
        [machines, hosts] => (machines.parse().unwrap(), hosts.parse().unwrap()),
        _ => panic!("usage: pass MACHINES HOSTS"),
    };
    let directory = tempfile::tempdir().unwrap();
    let mut served = tokio::process::Command::new(std::env::current_exe().unwrap())
        .arg(directory.path())
        .arg(hosts.to_string())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    while !socket(directory.path(), hosts).exists() {
        assert!(served.try_wait().unwrap().is_none(), "the hosts are not served");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let engine = engine(directory.path(), hosts);
    for host in engine.hosts() {
        engine.create_network(&host, &network(), bounds()).await.unwrap();
    }
    let database = Database::sqlite();
    let store = database.open().await;
    let setting = Setting {
        per_host: 8,
        ..Setting::default()
    };
    let foreman = Foreman::new(store.clone(), engine, setting);
    let pools: Vec<PoolName> = (0..machines.div_ceil(POOL))
        .map(|nth| format!("p{nth}").as_str().into())
        .collect();
    for pool in &pools {
        let (name, spec) = (pool.clone(), spec(POOL.min(machines)));
        let put: Result<_, Refusal> = store
            .write(move |write| pool::put(write, &"default".into(), &name, &spec, None, Moment(0), "bench"))
            .await;
        put.unwrap();
    }
    let began = Instant::now();
    for pool in &pools {
        foreman
            .settle(&"default".into(), pool, LONG, &|_| {})
            .await
            .unwrap();
        eprintln!("{pool} after {:.0} s", began.elapsed().as_secs_f64());
    }
    let making = most_memory();
    // From now on the most is counted anew: proc(5), `clear_refs`.
    std::fs::write("/proc/self/clear_refs", "5").unwrap();
    let mut passes = Vec::new();
    for _ in 0..PASSES {
        let began = Instant::now();
        assert_eq!(foreman.resync().await.unwrap(), 0, "nothing is to be put right");
        let pass = foreman.pass().await.unwrap();
        assert!(pass.done.is_empty(), "nothing is to be done: {pass:?}");
        passes.push(began.elapsed().as_secs_f64());
    }
    let answer = json!({"machines": machines, "hosts": hosts, "passes": passes, "making_mib": making, "passes_mib": most_memory()});
    println!("{answer:#}");
}

fn socket(directory: &Path, host: u32) -> PathBuf {
    directory.join(format!("lab{host}"))
}

/// The hosts, for ever.
async fn serve(directory: &str, hosts: u32) {
    let servers = (1..=hosts).map(|host| {
        let server = Server::bind(ServeOptions {
            socket: socket(Path::new(directory), host),
            state: None,
            settings: Settings {
                seed: u64::from(host),
                guest: GuestSettings {
                    boot: Duration::from_millis(1),
                    boot_medium: BootMedium::NotNeeded,
                    ..GuestSettings::default()
                },
                memory: Mib(1 << 24),
                cpus: 1 << 20,
                ..Settings::default()
            },
        });
        server.unwrap().run(std::future::pending())
    });
    // They are the reason for which this process is there: it ends by its parent's hand.
    futures::future::try_join_all(servers).await.unwrap();
}

fn engine(directory: &Path, hosts: u32) -> Arc<Embedded> {
    let hosts = (1..=hosts).map(|host| {
        let driver = || Arc::new(SimDriver::connect(&socket(directory, host))) as Arc<dyn Driver>;
        Host::new(HostName(format!("lab{host}")), driver(), driver())
    });
    Arc::new(Embedded::new(hosts.collect::<Vec<_>>(), Deps::default()))
}

fn network() -> DesiredNetwork {
    let config = network::Network {
        name: "lab".into(),
        mode: "nat".into(),
        autostart: true,
        ipv4: Some(network::Ipv4 {
            cidr: "10.77.0.0/16".into(),
            dhcp: Some(network::DhcpRange {
                start: "10.77.0.100".into(),
                end: "10.77.99.200".into(),
                options: None,
            }),
        }),
        ..network::Network::default()
    };
    DesiredNetwork::from_config(&"default".into(), &config).unwrap()
}

fn bounds() -> Bounds {
    Bounds {
        cancel: CancellationToken::new(),
        limit: LONG,
        reserve: Default::default(),
        fence: None,
    }
}

fn spec(ready: u32) -> Spec {
    Spec {
        ready,
        max: ready,
        max_in_flight: 64,
        strategy: Strategy::Warm,
        recycle: Recycle::Recreate,
        isolation: Default::default(),
        access: Default::default(),
        on_destroy: OnDestroy::Refuse,
        together: Default::default(),
        network: None,
        on_pause: Default::default(),
        keep_failed: 0,
        lease: Limits {
            length_ms: 7_200_000,
            max_ms: 28_800_000,
            idle_ms: None,
            pause_ms: 0,
        },
        template: json!({
            "memory_mib": 128, "cpus": 1,
            "disks": {"root": {"size_gib": 1, "bus": "virtio"}},
            "nics": {"lan": {"network": "lab", "model": "virtio"}},
            "ready": {"wait": "none"},
            "shutdown": {"mode": "force"}
        }),
        hosts: None,
        schedule: BTreeMap::new(),
    }
}

/// The most memory that this process ever had (proc(5), `VmHWM`), in MiB.
fn most_memory() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))
        .unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() / 1024
}
