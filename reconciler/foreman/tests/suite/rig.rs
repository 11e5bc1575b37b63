//! Simulated hosts, a store, and foremen on them that can be killed: each has a process, an engine and a clock as a
//! process of its own would.

use labyard_driver::{
    Driver,
    ids::{HostName, UnixMillis},
};
use labyard_driver_sim::{BootMedium, GuestSettings, Settings, SimDriver, SimHost};
use labyard_foreman::{Foreman, Setting};
use labyard_labs::{
    Refusal,
    claim::lease::Limits,
    ids::Namespace,
    member::{self, Member, State},
    pool::{self, OnDestroy, Pool, Recycle, Spec, Strategy, work::Worker},
};
use labyard_reconciler::{
    desired::DesiredNetwork,
    engine::{Bounds, Clock, Deps, Embedded, Engine},
    host::Host,
    lease::{Process, Processes},
};
use labyard_schema::network;
use labyard_store::{Store, StoreError, event::Moment, testing::Database};
use serde_json::{Value, json};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc, Condvar, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};
use tokio_util::sync::CancellationToken;

pub(crate) const LEASE_MS: i64 = 60_000;
pub(crate) const LIMITS: Limits = Limits {
    length_ms: 7_200_000,
    max_ms: 28_800_000,
    idle_ms: None,
    pause_ms: 0,
};

/// The time of a whole test, moved by hand and by the clock.
#[derive(Clone)]
pub(crate) struct Time {
    began: std::time::Instant,
    skipped: Arc<AtomicU64>,
}

impl Time {
    fn new() -> Self {
        Self {
            began: std::time::Instant::now(),
            skipped: Arc::default(),
        }
    }

    /// The same time as a foreman sees it that dies when it looks for the nth time.
    pub(crate) fn dying_at(of: &Self, nth: u64) -> Mortal {
        Mortal {
            time: of.clone(),
            left: AtomicU64::new(nth),
        }
    }

    /// So much later, for everybody.
    pub(crate) fn skip(&self, ms: i64) {
        self.skipped
            .fetch_add(u64::try_from(ms).unwrap(), Ordering::SeqCst);
    }

    pub(crate) fn moment(&self) -> Moment {
        Moment(i64::try_from(Clock::now(self).0).unwrap())
    }
}

impl Clock for Time {
    fn now(&self) -> UnixMillis {
        let ran = u64::try_from(self.began.elapsed().as_millis()).unwrap();
        UnixMillis(1_700_000_000_000 + self.skipped.load(Ordering::SeqCst) + ran)
    }
}

/// A clock that kills who looks at it too often.
pub(crate) struct Mortal {
    time: Time,
    left: AtomicU64,
}

impl Clock for Mortal {
    fn now(&self) -> UnixMillis {
        let left = self
            .left
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1));
        if left == Ok(1) || left == Err(0) && self.left.load(Ordering::SeqCst) == 0 {
            // No message: it is meant.
            std::panic::resume_unwind(Box::new(crate::kills::Killed));
        }
        self.time.now()
    }
}

/// A clock that stops who looks at it the nth time, as SIGSTOP would, until it is let go on.
pub(crate) struct Stopping {
    time: Time,
    left: AtomicU64,
    stop: Stop,
}

/// Where a process is stopped.
#[derive(Clone, Default)]
pub(crate) struct Stop(Arc<(Mutex<(bool, bool)>, Condvar)>);

impl Stop {
    pub(crate) fn is_stopped(&self) -> bool {
        self.0.0.lock().unwrap().0
    }

    pub(crate) fn goes_on(&self) {
        self.0.0.lock().unwrap().1 = true;
        self.0.1.notify_all();
    }
}

impl Stopping {
    pub(crate) fn at(time: &Time, nth: u64) -> (Self, Stop) {
        let stop = Stop::default();
        let clock = Self {
            time: time.clone(),
            left: AtomicU64::new(nth),
            stop: stop.clone(),
        };
        (clock, stop)
    }
}

impl Clock for Stopping {
    fn now(&self) -> UnixMillis {
        let left = self
            .left
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1));
        if left == Ok(1) {
            let mut state = self.stop.0.0.lock().unwrap();
            state.0 = true;
            drop(self.stop.0.1.wait_while(state, |state| !state.1).unwrap());
        }
        self.time.now()
    }
}

/// Alive or not, by process id.
#[derive(Clone, Default)]
struct Table(Arc<Mutex<BTreeMap<u32, u64>>>);

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
            started: 1,
        }
    }

    fn start_time(&self, pid: u32) -> Option<u64> {
        self.table.0.lock().unwrap().get(&pid).copied()
    }
}

/// Hosts, a store, and time.
pub(crate) struct Lab {
    pub(crate) sims: Vec<SimHost>,
    pub(crate) store: Store,
    pub(crate) time: Time,
    table: Table,
    processes: AtomicU64,
}

/// A process with its foreman.
pub(crate) struct Crew {
    pub(crate) foreman: Foreman,
    pub(crate) engine: Arc<Embedded>,
    pid: u32,
    table: Table,
}

impl Crew {
    /// The process is gone: others see it.
    pub(crate) fn kill(self) {
        self.table.0.lock().unwrap().remove(&self.pid);
    }
}

pub(crate) fn settings(seed: u64) -> Settings {
    Settings {
        seed,
        guest: GuestSettings {
            boot: Duration::from_millis(2),
            agent: Duration::from_millis(2),
            shutdown: Duration::from_millis(2),
            boot_medium: BootMedium::NotNeeded,
            ..GuestSettings::default()
        },
        memory: labyard_driver::ids::Mib(1 << 20),
        cpus: 512,
        ..Settings::default()
    }
}

impl Lab {
    /// So many hosts, each with a network.
    pub(crate) async fn with(database: &Database, hosts: u64) -> Self {
        let lab = Self {
            sims: (1..=hosts).map(|seed| SimHost::new(settings(seed))).collect(),
            store: database.open().await,
            time: Time::new(),
            table: Table::default(),
            processes: AtomicU64::new(100),
        };
        let builder = lab.crew();
        for name in builder.engine.hosts() {
            let wish = network_wish();
            builder
                .engine
                .create_network(&name, &wish, bounds())
                .await
                .unwrap();
        }
        builder
            .engine
            .finish(labyard_reconciler::engine::Run::Through)
            .await;
        builder.kill();
        lab
    }

    /// A new process.
    pub(crate) fn crew(&self) -> Crew {
        self.crew_on(self.store.clone())
    }

    /// A new process on another connection to the store.
    pub(crate) fn crew_on(&self, store: Store) -> Crew {
        self.crew_with(store, Arc::new(self.time.clone()))
    }

    /// A new process that is stopped by its clock.
    pub(crate) fn stopping_crew(&self, clock: Stopping) -> Crew {
        self.crew_with(self.store.clone(), Arc::new(clock))
    }

    /// A new process that dies by its clock.
    pub(crate) fn mortal_crew(&self, clock: Mortal) -> Crew {
        self.crew_with(self.store.clone(), Arc::new(clock))
    }

    fn crew_with(&self, store: Store, clock: Arc<dyn Clock>) -> Crew {
        let pid = u32::try_from(self.processes.fetch_add(1, Ordering::SeqCst)).unwrap();
        self.table.0.lock().unwrap().insert(pid, 1);
        let deps = Deps {
            engine: format!("engine-{pid}"),
            clock: Box::new(self.time.clone()),
            processes: Box::new(TestProcesses {
                own: pid,
                table: self.table.clone(),
            }),
            ..Deps::default()
        };
        let hosts = self.sims.iter().enumerate().map(|(at, sim)| {
            let driver = || Arc::new(SimDriver::in_memory(sim)) as Arc<dyn Driver>;
            Host::new(HostName(format!("lab{}", at + 1)), driver(), driver())
        });
        let engine = Arc::new(Embedded::new(hosts.collect::<Vec<_>>(), deps));
        let setting = Setting {
            worker: Worker {
                name: format!("worker-{pid}"),
                lease_ms: LEASE_MS,
            },
            clock,
            per_host: 4,
            meter: Arc::default(),
            retention: Default::default(),
        };
        Crew {
            foreman: Foreman::new(store, engine.clone(), setting),
            engine,
            pid,
            table: self.table.clone(),
        }
    }

    pub(crate) async fn put(&self, spec: Spec) -> Pool {
        let now = self.time.moment();
        let put: Result<Pool, Refusal> = self
            .store
            .write(move |write| pool::put(write, &namespace(), &"k8s".into(), &spec, None, now, "test"))
            .await;
        put.unwrap()
    }

    pub(crate) async fn pool(&self) -> Pool {
        let found: Result<Pool, Refusal> = self
            .store
            .read(|read| pool::find(read, &namespace(), &"k8s".into()))
            .await;
        found.unwrap()
    }

    /// What machines of the pool are made of now.
    pub(crate) async fn stands(&self) -> Value {
        let pool = self.pool().await;
        let stands: Result<_, StoreError> = self
            .store
            .read(move |read| pool::template_of(read, &pool, pool.generation))
            .await;
        stands.unwrap().unwrap()
    }

    pub(crate) async fn members(&self) -> Vec<Member> {
        let found: Result<Vec<Member>, StoreError> = self
            .store
            .read(|read| member::of_pool(read, &namespace(), &"k8s".into()))
            .await;
        found.unwrap()
    }

    pub(crate) async fn in_state(&self, state: State) -> usize {
        let members = self.members().await;
        members.iter().filter(|member| member.state == state).count()
    }

    /// Names of machines on all hosts, each with its host.
    pub(crate) fn machines(&self) -> Vec<String> {
        let mut all: Vec<String> = self
            .sims
            .iter()
            .enumerate()
            .flat_map(|(at, sim)| {
                let machines = sim.look().machines;
                machines
                    .into_iter()
                    .map(move |machine| format!("lab{}/{}", at + 1, machine.host_name))
            })
            .collect();
        all.sort();
        all
    }

    /// What is on the hosts is what the store knows: no machine doubled, none orphaned, no volume or reservation that
    /// is nobody's.
    pub(crate) async fn assert_nothing_doubled_or_orphaned(&self) {
        let members = self.members().await;
        let mut known: Vec<String> = members
            .iter()
            .map(|member| format!("{}/{}", member.host.as_deref().unwrap_or("?"), member.name))
            .collect();
        known.sort();
        assert_eq!(self.machines(), known);
        for (at, sim) in self.sims.iter().enumerate() {
            let snapshot = sim.look();
            let origins: BTreeSet<String> = snapshot
                .machines
                .iter()
                .filter_map(|machine| Some(machine.mark.ours()?.origin.to_string()))
                .collect();
            for screen in sim.screens() {
                let owner = screen.as_str().trim_start_matches("labyard-");
                assert!(origins.contains(owner), "{screen} on lab{} is nobody's", at + 1);
            }
            let reserved: usize = snapshot.networks.iter().map(|n| n.reservations.len()).sum();
            assert_eq!(reserved, snapshot.machines.len(), "addresses on lab{}", at + 1);
            for volume in &snapshot.volumes {
                let name = volume.name.as_str();
                let owner = name.rsplit('.').next().unwrap();
                assert!(
                    name.starts_with("labyard-image.")
                        || name.starts_with("labyard-name.")
                        || origins.contains(owner),
                    "{name} on lab{} is nobody's",
                    at + 1
                );
            }
        }
    }
}

pub(crate) fn namespace() -> Namespace {
    "default".into()
}

pub(crate) fn bounds() -> Bounds {
    Bounds {
        reserve: Default::default(),
        fence: None,
        cancel: CancellationToken::new(),
        limit: Duration::from_secs(1800),
    }
}

pub(crate) fn template() -> Value {
    json!({
        "memory_mib": 128, "cpus": 1,
        "disks": {"root": {"size_gib": 1, "bus": "virtio"}},
        "nics": {"lan": {"network": "lab", "model": "virtio"}},
        "guest": {"hostname": "{name}", "admin_username": "learner"},
        "ready": {"wait": "address"},
        "shutdown": {"mode": "force"}
    })
}

pub(crate) fn spec(ready: u32, max: u32) -> Spec {
    Spec {
        ready,
        max,
        max_in_flight: 3,
        strategy: Strategy::Warm,
        recycle: Recycle::Recreate,
        isolation: Default::default(),
        access: Default::default(),
        on_destroy: OnDestroy::Refuse,
        together: Default::default(),
        network: None,
        on_pause: Default::default(),
        keep_failed: 0,
        lease: LIMITS,
        template: template(),
        hosts: None,
        schedule: BTreeMap::new(),
    }
}

fn network_wish() -> DesiredNetwork {
    let config = network::Network {
        name: "lab".into(),
        mode: "nat".into(),
        autostart: true,
        ipv4: Some(network::Ipv4 {
            cidr: "10.77.0.0/16".into(),
            dhcp: Some(network::DhcpRange {
                start: "10.77.0.100".into(),
                end: "10.77.9.200".into(),
                options: None,
            }),
        }),
        ..network::Network::default()
    };
    DesiredNetwork::from_config(&"default".into(), &config).unwrap()
}
