//! All that a host holds, in one place, and what every part of the model asks of it.

use std::collections::{BTreeMap, BTreeSet};

use crate::cim::{Instance, Path, Value};

use super::codes::{self, INVALID_PARAMETER, INVALID_STATE, Stop, stop};
use super::faults::Faults;
use super::files::Parents;
use super::guardians::Guardianship;
use super::jobs::Jobs;
use super::machine::{Condition, Guest, Machine};
use super::network::Network;
use super::paths::{self, key};
use super::setup::{Moment, Rights, Setup};
use super::snapshots::Snapshot;
use super::store::{self, Store};
use super::switches::Switch;

/// Whether a part of Windows is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// It is.
    There,
    /// It is not.
    Missing,
}

/// All that a host holds.
pub(crate) struct State {
    pub(crate) setup: Setup,
    pub(crate) now: Moment,
    pub(crate) store: Store,
    pub(crate) machines: BTreeMap<String, Machine>,
    pub(crate) snapshots: BTreeMap<String, Snapshot>,
    pub(crate) switches: BTreeMap<String, Switch>,
    pub(crate) network: Network,
    pub(crate) guardianship: Guardianship,
    pub(crate) jobs: Jobs,
    pub(crate) faults: Faults,
    pub(crate) rights: Rights,
    pub(crate) role: Part,
    pub(crate) service: Part,
    pub(crate) default_guest: Guest,
    pub(crate) asked_disks: BTreeSet<String>,
    pub(crate) mounted: BTreeSet<String>,
    pub(crate) called: Vec<String>,
    pub(crate) refused: Vec<String>,
    pub(crate) macs: u64,
    /// Files that are still open although nobody needs them any more, and until when.
    pub(crate) held: Vec<(String, Moment)>,
    pub(crate) parents: Parents,
}

impl State {
    /// The computer's name.
    pub(crate) fn computer(&self) -> &str {
        &self.setup.computer
    }

    /// The machine of this GUID.
    pub(crate) fn machine(&self, id: &str) -> Option<&Machine> {
        self.machines.get(&id.to_uppercase())
    }

    /// The machine of this GUID, to be changed.
    pub(crate) fn machine_mut(&mut self, id: &str) -> Option<&mut Machine> {
        self.machines.get_mut(&id.to_uppercase())
    }

    /// The machine that a reference leads to.
    pub(crate) fn machine_at(&self, path: &Path) -> Result<String, Stop> {
        let name = key(path, "Name").unwrap_or_default();
        match self.machine(name) {
            Some(machine) if path.class.eq_ignore_ascii_case("Msvm_ComputerSystem") => Ok(machine.id.clone()),
            _ => stop(
                INVALID_PARAMETER,
                format!("no machine at {}.Name={name}", path.class),
            ),
        }
    }

    /// The row that a reference to a setting leads to: of exactly its class.
    pub(crate) fn setting_at(&self, path: &Path) -> Result<&Instance, Stop> {
        let id = key(path, "InstanceID").unwrap_or_default();
        match self.store.get(id) {
            Some(row) if row.class.eq_ignore_ascii_case(&path.class) => Ok(row),
            Some(row) => stop(
                INVALID_PARAMETER,
                format!("{id} is of {}, not of {}", row.class, path.class),
            ),
            None => stop(INVALID_PARAMETER, format!("no setting {id}")),
        }
    }

    /// The setting that the text of a path leads to.
    pub(crate) fn setting_by_text(&self, text: &str) -> Result<&Instance, Stop> {
        match paths::read(text, self.computer()) {
            Some(path) => self.setting_at(&path),
            None => stop(INVALID_PARAMETER, format!("no path of an object: {text}")),
        }
    }

    /// The machine whose setting this is; of a checkpoint's none.
    pub(crate) fn owner_machine(&self, id: &str) -> Option<&Machine> {
        self.machine(paths::guid(paths::owner(id)))
    }

    /// The machine whose setting this is, if it is in a state that lets settings be changed.
    pub(crate) fn changeable(&self, id: &str) -> Result<(String, Condition), Stop> {
        let Some(machine) = self.owner_machine(id) else {
            return stop(INVALID_PARAMETER, format!("{id} belongs to no machine"));
        };
        Ok((machine.id.clone(), machine.condition()))
    }

    /// Refuses where a job works on the machine.
    pub(crate) fn free(&self, machine: &str) -> Result<(), Stop> {
        if self.jobs.busy(machine) {
            return stop(INVALID_STATE, format!("a job still works on {machine}"));
        }
        match self.machine(machine).map(Machine::condition) {
            Some(Condition::Moving) => {
                stop(INVALID_STATE, format!("{machine} is on its way to another state"))
            }
            _ => Ok(()),
        }
    }

    /// The setting of a machine itself.
    pub(crate) fn vssd(&self, machine: &str) -> Option<&Instance> {
        self.store.get(&format!("Microsoft:{machine}"))
    }

    /// The name of a machine.
    pub(crate) fn name_of(&self, machine: &str) -> String {
        self.vssd(machine)
            .map(|row| store::text(row, "ElementName").to_owned())
            .unwrap_or_default()
    }

    /// Which generation a machine is.
    pub(crate) fn generation(&self, machine: &str) -> u8 {
        let second = self
            .vssd(machine)
            .is_some_and(|row| store::text(row, "VirtualSystemSubType").ends_with(":2"));
        if second { 2 } else { 1 }
    }

    /// A path as text, as a value.
    pub(crate) fn path_text(&self, class: &str, id: &str) -> Value {
        paths::value(self.computer(), &paths::setting(class, id))
    }

    /// Writes down why something was refused.
    pub(crate) fn note(&mut self, method: &str, why: &Stop) {
        let text = match why {
            Stop::Code(code, why) => format!("{method} answered {code}: {why}"),
            Stop::Fault(fault, why) => format!("{method} failed with {:#010X}: {why}", fault.0),
        };
        self.refused.push(text);
    }

    /// The next address of the host's range that no adapter has.
    pub(crate) fn next_mac(&mut self) -> String {
        self.macs += 1;
        format!("00155D0A{:04X}", self.macs)
    }
}

/// Refuses unless the machine is off.
pub(crate) fn needs_off(condition: Condition, what: &str) -> Result<(), Stop> {
    match condition {
        Condition::Off => Ok(()),
        _ => stop(codes::INVALID_STATE, format!("{what} needs the machine off")),
    }
}
