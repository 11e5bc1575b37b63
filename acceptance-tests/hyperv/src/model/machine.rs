//! A machine beside its settings: in which state it is, since when, on its way whereto; and the guest in it. Its row, and the
//! host's own, which stands in the same class.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::cim::Instance;

use super::row::Row;
use super::setup::{Moment, States};
use super::state::State;
use super::time::stamp;

/// A machine at rest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Power {
    /// Off.
    Off,
    /// Running.
    Running,
    /// Paused: in memory, and stands still.
    Paused,
    /// Saved: its memory is in a file.
    Saved,
}

/// A machine between two states.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    Starting,
    Stopping,
    Saving,
    Pausing,
    Resuming,
}

/// What a machine's state allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Condition {
    /// Everything.
    Off,
    /// What goes while it runs or is paused.
    Live,
    /// Next to nothing: its devices have to be what they were.
    Saved,
    /// Nothing yet.
    Moving,
}

/// Whether something is in the guest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Services {
    /// It is.
    Present,
    /// It is not.
    Absent,
}

/// What a guest does that is asked to go down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnShutdown {
    /// It goes down.
    GoesDown,
    /// It says yes and stays.
    Ignores,
    /// Somebody is logged in and has locked it: it goes down only by force.
    Locked,
}

/// Whether a guest lets go of what is asked of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Consent {
    /// It does.
    Given,
    /// It does not.
    Refused,
}

/// What a guest says of one of its adapters.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GuestNetwork {
    /// Whether it asks for an address.
    pub dhcp: bool,
    /// Its addresses.
    pub addresses: Vec<String>,
    /// A mask or length of prefix for each.
    pub subnets: Vec<String>,
    /// Its gateways.
    pub gateways: Vec<String>,
    /// Its name servers.
    pub dns: Vec<String>,
}

/// How a guest behaves.
#[derive(Clone, Debug)]
pub struct Guest {
    /// Drivers for heartbeat and shutdown.
    pub services: Services,
    /// The daemon that exchanges keys and values, and tells addresses.
    pub kvp: Services,
    /// What makes production checkpoints possible.
    pub vss: Services,
    /// What it does when it is asked to go down.
    pub asked: OnShutdown,
    /// Whether memory may be changed while it runs.
    pub memory: Consent,
    /// Whether it lets a DVD go.
    pub tray: Consent,
    /// Its full name.
    pub name: String,
    /// Its system, and that system's version.
    pub system: (String, String),
    /// Its adapters, by the name of the adapter.
    pub networks: BTreeMap<String, GuestNetwork>,
    /// What it tells the host.
    pub says: Vec<(String, String)>,
}

impl Default for Guest {
    fn default() -> Self {
        Self {
            services: Services::Present,
            kvp: Services::Present,
            vss: Services::Present,
            asked: OnShutdown::GoesDown,
            memory: Consent::Given,
            tray: Consent::Given,
            name: "guest".to_owned(),
            system: ("Debian GNU/Linux".to_owned(), "12".to_owned()),
            networks: BTreeMap::new(),
            says: Vec::new(),
        }
    }
}

/// A machine.
#[derive(Clone, Debug)]
pub(crate) struct Machine {
    pub(crate) id: String,
    pub(crate) power: Power,
    pub(crate) way: Option<Way>,
    pub(crate) requested: u64,
    pub(crate) changed: Moment,
    pub(crate) on_since: Moment,
    /// Counted up at each start and end: what was planned for an older run does not happen to a newer one.
    pub(crate) run: u64,
    pub(crate) up: bool,
    pub(crate) going_down: bool,
    pub(crate) guest: Guest,
    pub(crate) protector: Vec<u8>,
    /// The protector that the state of its TPM is sealed with, once it has one.
    pub(crate) tpm: Option<Vec<u8>>,
    pub(crate) merges: u32,
    pub(crate) critical: Option<u64>,
}

impl Machine {
    /// One that has just been defined.
    pub(crate) fn new(id: &str, guest: Guest, now: Moment) -> Self {
        Self {
            id: id.to_owned(),
            power: Power::Off,
            way: None,
            requested: 12,
            changed: now,
            on_since: now,
            run: 0,
            up: false,
            going_down: false,
            guest,
            protector: vec![0; 4],
            tpm: None,
            merges: 0,
            critical: None,
        }
    }

    /// What its state allows.
    pub(crate) fn condition(&self) -> Condition {
        match (self.way, self.power) {
            (Some(_), _) => Condition::Moving,
            (None, Power::Off) => Condition::Off,
            (None, Power::Running | Power::Paused) => Condition::Live,
            (None, Power::Saved) => Condition::Saved,
        }
    }

    /// Whether it holds its disks open and has devices.
    pub(crate) fn is_on(&self) -> bool {
        matches!(self.power, Power::Running | Power::Paused)
    }

    /// Whether its guest speaks with the host.
    pub(crate) fn speaks(&self) -> bool {
        self.power == Power::Running && self.up && self.guest.kvp == Services::Present
    }

    fn enabled_state(&self, states: States) -> (u64, &'static str) {
        if let Some(critical) = self.critical {
            return (critical, "");
        }
        match (states, self.way) {
            (States::Shown, Some(Way::Starting)) => return (10, ""),
            (States::Shown, Some(Way::Stopping)) => return (4, ""),
            (States::Shown, Some(Way::Saving)) => return (1, "Saving"),
            (States::Shown, Some(Way::Pausing)) => return (1, "Pausing"),
            (States::Shown, Some(Way::Resuming)) => return (1, "Resuming"),
            (States::Old, Some(Way::Starting)) => return (32770, ""),
            (States::Old, Some(Way::Saving)) => return (32773, ""),
            (States::Old, Some(Way::Stopping)) => return (32774, ""),
            (States::Old, Some(Way::Pausing)) => return (32776, ""),
            (States::Old, Some(Way::Resuming)) => return (32777, ""),
            _ => {}
        }
        let number = match (self.power, states) {
            (Power::Off, _) => 3,
            (Power::Running, _) => 2,
            (Power::Paused, States::Old) => 32768,
            (Power::Saved, States::Old) => 32769,
            (Power::Paused, _) => 9,
            (Power::Saved, _) => 6,
        };
        (number, "")
    }
}

impl State {
    /// For how long a machine has been on, in milliseconds.
    pub(crate) fn uptime(&self, machine: &Machine) -> u64 {
        if machine.is_on() {
            self.now.0.saturating_sub(machine.on_since.0)
        } else {
            0
        }
    }

    /// The rows of Msvm_ComputerSystem: the host and its machines.
    pub(crate) fn systems(&self) -> Vec<Instance> {
        let host = Row::of("Msvm_ComputerSystem")
            .text("CreationClassName", "Msvm_ComputerSystem")
            .text("Name", self.computer())
            .text("ElementName", self.computer())
            .text("Caption", "Hosting Computer System")
            .text("Description", "Microsoft Hosting Computer System")
            .number("EnabledState", 2)
            .number("RequestedState", 12)
            .number("EnabledDefault", 2)
            .number("HealthState", 5)
            .numbers("OperationalStatus", &[2])
            .text("TimeOfLastStateChange", stamp(Moment(0)))
            .done();
        std::iter::once(host)
            .chain(self.machines.values().map(|machine| self.system_row(machine)))
            .collect()
    }

    /// The row of a machine.
    pub(crate) fn system_row(&self, machine: &Machine) -> Instance {
        let (state, words) = machine.enabled_state(self.setup.states);
        let status: &[u64] = match (machine.way, machine.critical) {
            (_, Some(_)) => &[6],
            (Some(_), _) => &[11],
            _ => &[2],
        };
        let created = self
            .vssd(&machine.id)
            .map(|row| row.get("CreationTime").clone())
            .unwrap_or(crate::cim::Value::Null);
        let mut row = Row::of("Msvm_ComputerSystem")
            .text("CreationClassName", "Msvm_ComputerSystem")
            .text("Name", &machine.id)
            .text("ElementName", self.name_of(&machine.id))
            .text("Caption", "Virtual Machine")
            .text("Description", "Microsoft Virtual Machine")
            .number("EnabledState", state)
            .number("EnabledDefault", 2)
            .number("RequestedState", machine.requested)
            .number("HealthState", if machine.critical.is_some() { 25 } else { 5 })
            .numbers("OperationalStatus", status)
            .texts(
                "StatusDescriptions",
                [if machine.way.is_some() {
                    "In service"
                } else {
                    "Operating normally"
                }],
            )
            .text("Status", "OK")
            .number("OnTimeInMilliseconds", self.uptime(machine))
            .number("NumberOfNumaNodes", 1)
            .number("EnhancedSessionModeState", 3)
            .number("ReplicationState", 0)
            .number("ReplicationHealth", 0)
            .number("ReplicationMode", 0)
            .text("TimeOfLastStateChange", stamp(machine.changed))
            .text("TimeOfLastConfigurationChange", stamp(machine.changed))
            .value("InstallDate", created);
        if machine.is_on() {
            row = row.number("ProcessID", 4000 + machine.run);
        }
        if !words.is_empty() {
            row = row.text("OtherEnabledState", words);
        }
        row.done()
    }

    /// Does something to a machine later, if it is still in the same run.
    pub(crate) fn later_in_run(
        &mut self,
        machine: &str,
        after: Duration,
        work: impl FnOnce(&mut State, &str) + Send + 'static,
    ) {
        let Some(run) = self.machine(machine).map(|machine| machine.run) else {
            return;
        };
        let machine = machine.to_owned();
        self.later(after, move |state| {
            if state.machine(&machine).is_some_and(|there| there.run == run) {
                work(state, &machine);
            }
        });
    }
}
