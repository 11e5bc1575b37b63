//! What a hook is asked: the moment, and the machine in plain facts. Nothing secret is in it: no user data, no keys,
//! no queries of URLs.

use std::collections::BTreeMap;

use labyard_driver::ids::HostName;
use labyard_driver::mark::Mark;
use serde::Serialize;

use super::{Event, Moment};
use crate::desired::DesiredMachine;
use crate::image::ImageSource;

/// The version of the form; it is raised when a reader of the older one would misunderstand.
pub const VERSION: u32 = 1;

/// A request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Request {
    /// [`VERSION`].
    pub version: u32,
    /// `create`, `update` or `destroy`.
    pub event: &'static str,
    /// `before` or `after`.
    pub when: &'static str,
    /// The stage.
    pub stage: &'static str,
    /// Which time the hook is asked in this run, from 1.
    pub attempt: u32,
    /// The change that it belongs to, the same through every retry and after every crash.
    pub operation: String,
    /// Operation and moment: who has seen it before has done the work before.
    pub idempotency_key: String,
    /// The state's namespace.
    pub namespace: String,
    /// `labyard_vm`.
    pub kind: &'static str,
    /// The user's name for it.
    pub name: String,
    /// The host, by its key in the provider; null where none is chosen yet.
    pub host: Option<String>,
    /// Hosts that could take the machine, where one is being chosen.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub candidates: Vec<String>,
    /// The machine.
    pub machine: Machine,
}

/// A machine as it is planned, with what is known by now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Machine {
    /// Its identity: never another machine's, and the same for as long as it lives; null before it has one.
    pub id: Option<String>,
    /// Processors.
    pub cpus: u32,
    /// Memory in MiB.
    pub memory_mib: u64,
    /// Host name of the guest that a hook supplied.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hostname: Option<String>,
    /// What hooks asked before have told those after them.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub variables: BTreeMap<String, String>,
    /// Its labels.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// Disks by key.
    pub disks: BTreeMap<String, Disk>,
    /// NICs by key.
    pub nics: BTreeMap<String, Nic>,
}

/// A disk.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Disk {
    /// Size; null is the image's own.
    pub size_gib: Option<u64>,
    /// Its image, as written, without what grants access.
    pub image: Option<String>,
}

/// A NIC.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Nic {
    /// The network as written.
    pub network: String,
    /// Its MAC; null where it depends on the host, which is not chosen yet.
    pub mac: Option<String>,
    /// Its address, where it is reserved or was supplied.
    pub address: Option<String>,
}

/// What of a machine stands when its hook is asked.
#[derive(Clone, Copy, Debug)]
pub enum Of<'a> {
    /// Its mark, on its host.
    Recorded(&'a Mark, &'a HostName),
    /// Nothing; the host, once it is chosen.
    Planned(Option<&'a HostName>),
}

/// The request of a machine at a moment.
pub fn request(
    desired: &DesiredMachine,
    of: Of<'_>,
    event: Event,
    operation: &str,
    moment: Moment,
) -> Request {
    let (mark, host) = match of {
        Of::Recorded(mark, host) => (Some(mark), Some(host)),
        Of::Planned(host) => (None, host),
    };
    Request {
        version: VERSION,
        event: event.name(),
        when: moment.when.name(),
        stage: moment.stage,
        attempt: 1,
        operation: operation.to_owned(),
        idempotency_key: format!("{operation}/{moment}"),
        namespace: desired.namespace.to_string(),
        kind: "labyard_vm",
        name: desired.name.to_string(),
        host: host.map(ToString::to_string),
        candidates: Vec::new(),
        machine: Machine {
            id: mark.map(|mark| mark.origin.as_str().to_owned()),
            cpus: desired.cpus,
            memory_mib: desired.memory.0,
            hostname: mark.and_then(|mark| mark.hooks.hostname.clone()),
            variables: mark.map(|mark| mark.hooks.variables.clone()).unwrap_or_default(),
            labels: desired.wishes.labels.clone().unwrap_or_default(),
            disks: disks(desired),
            nics: nics(desired, of),
        },
    }
}

fn disks(desired: &DesiredMachine) -> BTreeMap<String, Disk> {
    let disks = desired.disks.iter().map(|(key, disk)| {
        let image = disk.image.as_ref().map(|image| plainly(&image.source));
        let size_gib = disk.size.map(|size| size.0 >> 30);
        (key.to_string(), Disk { size_gib, image })
    });
    disks.collect()
}

/// What signed URLs grant stands in their query, and never leaves.
fn plainly(source: &str) -> String {
    source
        .parse::<ImageSource>()
        .map_or_else(|_| String::new(), |source| source.to_string())
}

fn nics(desired: &DesiredMachine, of: Of<'_>) -> BTreeMap<String, Nic> {
    let nics = desired.nics.iter().map(|(key, nic)| {
        let (mac, address) = match of {
            Of::Recorded(mark, _) => {
                let known = mark.nics.get(key);
                let supplied = mark.hooks.addresses.get(key).copied();
                let address = supplied.or_else(|| known.and_then(|known| known.reserved));
                (Some(known.map_or(nic.mac, |known| known.mac)), address)
            }
            Of::Planned(host) => {
                let depends = host.is_none() && desired.planned.open_macs.contains(key);
                (Some(nic.mac).filter(|_| !depends), None)
            }
        };
        let nic = Nic {
            network: nic.network.clone(),
            mac: mac.map(|mac| mac.to_string()),
            address: address.map(|address| address.to_string()),
        };
        (key.to_string(), nic)
    });
    nics.collect()
}
