//! What stands on the simulated host: plain data, changed only by the verbs of the modules below.
//!
//! Nothing here waits or knows of faults: a verb takes the time as an argument and answers at once.

mod console;
mod content;
mod copies;
mod desk;
mod files;
mod foreign;
mod guest;
mod inside;
mod live;
mod machines;
mod moments;
mod networks;
mod pools;
#[cfg(test)]
mod properties;
mod qcow2;
mod screens;
mod terminal;
mod variables;
mod view;
mod volumes;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use labyard_driver::ids::{Bytes, HostUuid, MacAddr, Mib, ObjectId, PoolName, ScreenName};
use labyard_driver::lan::{Lan, VlanId};
use labyard_driver::mark::Mark;
use labyard_driver::observed::{
    Activity, Attachment, Autostart, Cable, Ended, Hardware, MarkState, Reservation,
};
use labyard_driver::spec::{
    Accelerator, Dhcp, DirectBoot, DiskBus, DiskFormat, Firmware, Guards, Isolation, NetworkBoot,
    NetworkMode, NicModel,
};
use labyard_driver::{DriverError, HostEvent};
use serde::{Deserialize, Serialize};

pub(crate) use console::{ConsoleStep, Seat};
pub(crate) use content::Content;
pub use foreign::ForeignHand;
pub(crate) use volumes::Filling;

use crate::clock::Millis;
use crate::random::hash;
use crate::settings::{Ids, Settings};
use guest::Run;

/// A UUID made of bytes: the same bytes give the same one.
fn uuid_of(source: &[u8]) -> String {
    let (high, low) = (hash(source), hash(&[source, b"low"].concat()));
    format!(
        "{:08x}-{:04x}-4{:03x}-8{:03x}-{:012x}",
        high >> 32,
        high >> 16 & 0xffff,
        high & 0xfff,
        low >> 52,
        low & 0xffff_ffff_ffff
    )
}

/// The simulated host.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct State {
    pub(crate) settings: Settings,
    uuid: HostUuid,
    machines: BTreeMap<ObjectId, Machine>,
    /// Machines by name: names are as unique as ids.
    names: BTreeMap<String, ObjectId>,
    networks: BTreeMap<ObjectId, Network>,
    /// Screens before machines.
    #[serde(default)]
    screens: BTreeMap<ScreenName, screens::Kept>,
    /// By their paths.
    volumes: BTreeMap<String, Volume>,
    /// Files that lie beside the pools, by their paths.
    #[serde(default)]
    files: BTreeMap<String, files::File>,
    /// Pools that somebody stopped.
    #[serde(default)]
    stopped_pools: BTreeSet<PoolName>,
    /// Who writes to which disk: QEMU's image lock.
    locks: BTreeMap<String, ObjectId>,
    /// When which guest takes its next step.
    due: BTreeSet<(Millis, ObjectId)>,
    runs: u64,
    bridges: u32,
    /// How many ids it has chosen.
    #[serde(default)]
    ids: u64,
    #[serde(skip)]
    events: Vec<HostEvent>,
    #[serde(skip)]
    touched: bool,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Machine {
    id: ObjectId,
    host_name: String,
    mark: MarkState,
    #[serde(default)]
    autostart: Autostart,
    definition: Definition,
    activity: MachineActivity,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
enum MachineActivity {
    Off(Option<Ended>),
    Saved,
    Crashed,
    On(Box<Run>),
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Definition {
    cpus: u32,
    cpus_max: u32,
    memory: Mib,
    memory_max: Mib,
    firmware: Firmware,
    accelerator: Accelerator,
    #[serde(default)]
    guards: Guards,
    /// The path of the variables' file.
    #[serde(default)]
    nvram: Option<String>,
    direct_boot: Option<DirectBoot>,
    disks: Vec<Disk>,
    #[serde(default)]
    hardware: Hardware,
    cdroms: BTreeMap<String, Option<String>>,
    #[serde(default)]
    drive_boot: BTreeMap<String, u32>,
    nics: Vec<Nic>,
}

/// Who put a device into a machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum Origin {
    Ours,
    Foreign,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Disk {
    target: String,
    path: String,
    #[serde(default)]
    boot: Option<u32>,
    bus: DiskBus,
    /// What the definition takes its content for.
    format: DiskFormat,
    origin: Origin,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Nic {
    mac: MacAddr,
    attachment: Attachment,
    #[serde(default)]
    vlan: Option<VlanId>,
    #[serde(default)]
    isolation: Isolation,
    /// What it stands behind.
    #[serde(default)]
    screen: Option<ScreenName>,
    #[serde(default)]
    cable: Cable,
    boot: Option<u32>,
    model: NicModel,
    origin: Origin,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Network {
    id: ObjectId,
    host_name: String,
    mark: MarkState,
    active: Activity,
    autostart: Autostart,
    mode: NetworkMode,
    bridge: Option<String>,
    address: Option<ipnet::Ipv4Net>,
    dhcp: Option<Dhcp>,
    domain: Option<String>,
    #[serde(default)]
    lan: Lan,
    boot: Option<NetworkBoot>,
    reservations: BTreeMap<MacAddr, Reservation>,
    leases: BTreeMap<MacAddr, Lease>,
    /// NICs of running machines that a restart has cut off.
    #[serde(default)]
    cut: BTreeSet<MacAddr>,
    /// Whether it runs otherwise than it is defined.
    #[serde(default)]
    lags: bool,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Lease {
    address: IpAddr,
    hostname: Option<String>,
    /// `None` while its guest runs and renews it.
    expires: Option<Millis>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Volume {
    capacity: Bytes,
    format: DiskFormat,
    backing: Option<String>,
    allocated: Bytes,
    content: Content,
    /// What guests wrote on it, as far as anybody reads it.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    files: inside::Files,
    /// The memory of a machine that was kept in it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    memory: Option<moments::Kept>,
    #[serde(skip)]
    uploads: u32,
}

impl State {
    pub(crate) fn new(settings: Settings) -> Self {
        let uuid = uuid_of(&settings.seed.to_le_bytes());
        Self {
            settings,
            uuid: HostUuid(uuid),
            machines: BTreeMap::new(),
            names: BTreeMap::new(),
            networks: BTreeMap::new(),
            screens: BTreeMap::new(),
            volumes: BTreeMap::new(),
            files: BTreeMap::new(),
            stopped_pools: BTreeSet::new(),
            locks: BTreeMap::new(),
            due: BTreeSet::new(),
            runs: 0,
            bridges: 0,
            ids: 0,
            events: Vec::new(),
            touched: false,
        }
    }

    /// The id of something new for which a caller has chosen this one.
    fn id(&mut self, chosen: &ObjectId) -> ObjectId {
        if self.settings.ids == Ids::ByCaller {
            return chosen.clone();
        }
        self.ids += 1;
        let source = [
            &self.settings.seed.to_le_bytes()[..],
            b"id",
            &self.ids.to_le_bytes(),
        ]
        .concat();
        ObjectId(uuid_of(&source))
    }

    /// The events since they were last taken.
    pub(crate) fn take_events(&mut self) -> Vec<HostEvent> {
        std::mem::take(&mut self.events)
    }

    /// Notes that the state is about to change.
    pub(crate) fn touch(&mut self) {
        self.touched = true;
    }

    /// Whether the state may have changed since this was last asked.
    pub(crate) fn take_touched(&mut self) -> bool {
        std::mem::take(&mut self.touched)
    }

    fn machine_ref(&self, id: &ObjectId) -> Result<&Machine, DriverError> {
        self.machines.get(id).ok_or_else(|| missing("machine", id))
    }

    fn machine_mut(&mut self, id: &ObjectId) -> Result<&mut Machine, DriverError> {
        self.machines.get_mut(id).ok_or_else(|| missing("machine", id))
    }

    fn network_ref(&self, id: &ObjectId) -> Result<&Network, DriverError> {
        self.networks.get(id).ok_or_else(|| missing("network", id))
    }

    fn network_mut(&mut self, id: &ObjectId) -> Result<&mut Network, DriverError> {
        self.networks.get_mut(id).ok_or_else(|| missing("network", id))
    }

    fn network_named(&self, name: &str) -> Option<&Network> {
        self.networks.values().find(|network| network.host_name == name)
    }

    fn event(&mut self, event: HostEvent) {
        self.events.push(event);
    }
}

impl Machine {
    fn run(&self) -> Option<&Run> {
        match &self.activity {
            MachineActivity::On(run) => Some(run),
            _ => None,
        }
    }

    fn run_mut(&mut self) -> Option<&mut Run> {
        match &mut self.activity {
            MachineActivity::On(run) => Some(run),
            _ => None,
        }
    }
}

/// A mark as it comes back from where it is kept as text.
fn stored(mark: &Mark) -> MarkState {
    match Mark::parse(&mark.to_text()) {
        Ok(mark) => MarkState::Ours(Box::new(mark)),
        Err(error) => MarkState::Unreadable(error.to_string()),
    }
}

fn missing(kind: &str, name: impl std::fmt::Display) -> DriverError {
    DriverError::Missing {
        what: format!("{kind} {name}"),
    }
}

fn exists(kind: &str, name: impl std::fmt::Display) -> DriverError {
    DriverError::Exists {
        what: format!("{kind} {name}"),
    }
}

fn refused(doing: impl Into<String>, message: impl Into<String>) -> DriverError {
    DriverError::Refused {
        doing: doing.into(),
        message: message.into(),
    }
}

fn busy(doing: impl Into<String>, message: impl Into<String>) -> DriverError {
    DriverError::Busy {
        doing: doing.into(),
        message: message.into(),
    }
}
