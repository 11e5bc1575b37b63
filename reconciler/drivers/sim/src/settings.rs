//! What can be chosen about a simulated host: its size, how fast it answers, what its guests do.

use std::collections::BTreeMap;
use std::time::Duration;

use labyard_driver::ids::{Bytes, Mib, PoolName};
use labyard_driver::observed::PoolKind;
use labyard_driver::spec::Accelerator;
use serde::{Deserialize, Serialize};

/// A simulated host.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// Where all chance comes from, the host's id too.
    pub seed: u64,
    /// Who chooses the ids of machines and networks.
    pub ids: Ids,
    /// How long a call takes.
    pub latency: Latency,
    /// How long a caller waits for an answer before it takes the reply for lost.
    pub call_deadline: Duration,
    /// How long a disk of a running machine is copied.
    pub copy: Duration,
    /// The storage pool; `None`: the host has none.
    pub pool: Option<PoolName>,
    /// The pool's room in all.
    pub pool_capacity: Bytes,
    /// Other pools.
    pub other_pools: BTreeMap<PoolName, PoolSettings>,
    /// Logical processors.
    pub cpus: u32,
    /// Memory.
    pub memory: Mib,
    /// Bridges that the host has of its own.
    pub bridges: Vec<String>,
    /// What a probe finds to run guests really.
    pub accelerator: Accelerator,
    /// What guests do unless their kernel's command line says otherwise.
    pub guest: GuestSettings,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            seed: 0,
            ids: Ids::ByCaller,
            latency: Latency::default(),
            call_deadline: Duration::from_secs(30),
            copy: Duration::from_millis(600),
            pool: Some(PoolName::from("default")),
            pool_capacity: Bytes::from_gib(1 << 14),
            other_pools: BTreeMap::new(),
            cpus: 64,
            memory: Mib(256 << 10),
            bridges: vec!["br0".to_owned()],
            accelerator: Accelerator::Qemu,
            guest: GuestSettings::default(),
        }
    }
}

/// Who chooses the ids of machines and networks: on some hypervisors whoever makes them, on others they do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ids {
    /// Whoever makes them.
    #[default]
    ByCaller,
    /// The host.
    ByHost,
}

/// A storage pool beside the configured one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PoolSettings {
    /// Its room in all.
    pub capacity: Bytes,
    /// What its volumes are.
    pub kind: PoolKind,
}

impl Default for PoolSettings {
    fn default() -> Self {
        Self {
            capacity: Bytes::from_gib(1 << 10),
            kind: PoolKind::Directory,
        }
    }
}

/// How long a call takes: evenly spread between two ends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Latency {
    /// At least.
    pub least: Duration,
    /// At most.
    pub most: Duration,
}

impl Latency {
    /// Always the same.
    pub const fn constant(time: Duration) -> Self {
        Self {
            least: time,
            most: time,
        }
    }
}

/// What guests do.
///
/// A word on a guest's kernel command line overrides the setting for this guest: `sim.no_address`,
/// `sim.no_agent`, `sim.crash`, `sim.ignore_shutdown`, `sim.hang`, and `sim.boot_ms=N` for the time to the address.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct GuestSettings {
    /// From start to the address.
    pub boot: Duration,
    /// From the address to the agent's first answer.
    pub agent: Duration,
    /// From the request to power off.
    pub shutdown: Duration,
    /// How guests go wrong, if they do.
    pub fault: GuestFault,
    /// Whether a machine with nothing to boot from still boots.
    pub boot_medium: BootMedium,
}

impl Default for GuestSettings {
    fn default() -> Self {
        Self {
            boot: Duration::from_millis(400),
            agent: Duration::from_millis(200),
            shutdown: Duration::from_millis(300),
            fault: GuestFault::None,
            boot_medium: BootMedium::Needed,
        }
    }
}

/// How a guest goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GuestFault {
    /// It does not.
    None,
    /// It boots and never asks for an address.
    NoAddress,
    /// Its agent never answers.
    NoAgent,
    /// Its kernel panics in the middle of the boot and the machine is off, crashed.
    Crash,
    /// It takes no notice of a request to shut down.
    IgnoreShutdown,
    /// It keeps every device that it is asked to let go.
    IgnoreUnplug,
    /// It has no driver for its balloon.
    NoBalloon,
    /// Its hypervisor process hangs once it runs: the host cannot tell its detail nor change it.
    Hang,
}

/// What a guest needs to boot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BootMedium {
    /// A kernel, or a disk that was made of an image or filled by an upload.
    Needed,
    /// Nothing: every machine boots.
    NotNeeded,
}
