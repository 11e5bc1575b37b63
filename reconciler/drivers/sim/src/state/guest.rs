//! What a started machine does as time passes: boots, gets its address, answers by its agent, crashes, goes down.
//!
//! A run's course is fixed when it starts; [`State::advance`] takes every step that has become due.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr};

use labyard_driver::driver::AgentState;
use labyard_driver::ids::{MacAddr, ObjectId};
use labyard_driver::moment::Resume;
use labyard_driver::observed::{Activity, Attachment, Ended, ScsiController};
use labyard_driver::spec::NetworkMode;
use labyard_driver::{DriverError, HostEvent};
use serde::{Deserialize, Serialize};

use super::copies::Job;
use super::desk::Desk;
use super::inside::Inside;
use super::terminal::{LOGIN, Terminal};
use super::{Definition, Lease, Machine, MachineActivity, Network, State};
use crate::clock::Millis;
use crate::random::hash;
use crate::settings::{GuestFault, GuestSettings};

/// Ports that every machine has to spare when it starts.
const SPARE_PORTS: usize = 8;
/// How long a lease stays listed after its guest has gone.
const LEASE_MS: Millis = 3_600_000;

/// A machine from its start to its stop.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Run {
    /// Tells one run of a machine from the next.
    pub(super) number: u64,
    pub(super) started: Millis,
    /// The definition it was started with; devices change in it live.
    pub(super) definition: Definition,
    pub(super) course: Course,
    pub(super) paused_at: Option<Millis>,
    pub(super) shutdown_due: Option<Millis>,
    pub(super) process: Process,
    /// Ports for devices that come while it runs, taken ones included.
    pub(super) ports: usize,
    pub(super) scsi: ScsiController,
    #[serde(default)]
    pub(super) vnc_port: Option<u16>,
    /// Devices that the guest was asked to let go: targets and MACs.
    pub(super) unplugging: BTreeSet<String>,
    #[serde(default)]
    pub(super) inside: Inside,
    /// The copy of one of its disks that was begun last.
    #[serde(default)]
    pub(super) copy: Option<Job>,
    #[serde(default)]
    pub(super) desk: Desk,
    #[serde(default)]
    terminal: Terminal,
    reached: Reached,
}

/// Whether the process that runs the machine still answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Process {
    Answers,
    Hangs,
}

/// How far a guest has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
enum Reached {
    Nothing,
    Address,
    Agent,
}

/// What a guest is going to do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Course {
    boots: Boots,
    boot_ms: Millis,
    agent_ms: Millis,
    shutdown_ms: Millis,
    fault: GuestFault,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Boots {
    Yes,
    NothingToBoot,
}

impl Course {
    /// The host's settings, overridden by words on the kernel's command line.
    pub(super) fn new(settings: &GuestSettings, cmdline: Option<&str>, boots: Boots) -> Self {
        let mut course = Self {
            boots,
            boot_ms: millis(settings.boot),
            agent_ms: millis(settings.agent),
            shutdown_ms: millis(settings.shutdown),
            fault: settings.fault,
        };
        for word in cmdline.unwrap_or_default().split_ascii_whitespace() {
            match word.strip_prefix("sim.") {
                Some("no_address") => course.fault = GuestFault::NoAddress,
                Some("no_agent") => course.fault = GuestFault::NoAgent,
                Some("crash") => course.fault = GuestFault::Crash,
                Some("ignore_shutdown") => course.fault = GuestFault::IgnoreShutdown,
                Some("ignore_unplug") => course.fault = GuestFault::IgnoreUnplug,
                Some("no_balloon") => course.fault = GuestFault::NoBalloon,
                Some("hang") => course.fault = GuestFault::Hang,
                Some(other) => {
                    let time = other.strip_prefix("boot_ms=").and_then(|ms| ms.parse().ok());
                    course.boot_ms = time.unwrap_or(course.boot_ms);
                }
                None => {}
            }
        }
        course
    }

    /// When its kernel panics, counted from the start.
    fn crash_ms(&self) -> Option<Millis> {
        (self.boots == Boots::Yes && self.fault == GuestFault::Crash).then_some(self.boot_ms / 2)
    }

    fn agent_at(&self) -> Millis {
        self.boot_ms + self.agent_ms
    }

    fn reaches_address(&self) -> bool {
        self.boots == Boots::Yes && !matches!(self.fault, GuestFault::NoAddress | GuestFault::Crash)
    }

    pub(super) fn ignores_shutdown(&self) -> bool {
        self.fault == GuestFault::IgnoreShutdown || self.boots == Boots::NothingToBoot
    }

    pub(super) fn lets_go(&self) -> bool {
        self.boots == Boots::Yes && self.fault != GuestFault::IgnoreUnplug
    }

    pub(super) fn has_balloon(&self) -> bool {
        self.boots == Boots::Yes && self.fault != GuestFault::NoBalloon
    }

    /// From when on its drivers are there, counted from the start.
    pub(super) fn up_after(&self) -> Millis {
        self.boot_ms / 2
    }

    pub(super) fn shutdown_time(&self) -> Millis {
        self.shutdown_ms
    }

    fn reaches_agent(&self) -> bool {
        self.boots == Boots::Yes && !matches!(self.fault, GuestFault::NoAgent | GuestFault::Crash)
    }
}

fn millis(time: std::time::Duration) -> Millis {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

impl Run {
    pub(super) fn new(number: u64, now: Millis, definition: Definition, course: Course) -> Self {
        let process = match course.fault {
            GuestFault::Hang => Process::Hangs,
            _ => Process::Answers,
        };
        let ports = definition.plugged() + SPARE_PORTS;
        let scsi = match definition.needs_scsi() {
            true => ScsiController::There,
            false => ScsiController::Missing,
        };
        Self {
            number,
            started: now,
            definition,
            ports,
            scsi,
            vnc_port: None,
            unplugging: BTreeSet::new(),
            course,
            paused_at: None,
            shutdown_due: None,
            process,
            inside: Inside::default(),
            copy: None,
            desk: Desk::default(),
            terminal: Terminal::default(),
            reached: Reached::Nothing,
        }
    }

    /// Its memory was kept, and is brought back now: another run, which goes on where it was.
    pub(super) fn came_back(&mut self, number: u64, kept: Millis, now: Millis, resume: Resume) {
        let since = self.paused_at.unwrap_or(kept);
        self.number = number;
        self.started += now.saturating_sub(since);
        self.inside.stood_still(since, now);
        self.shutdown_due = None;
        self.copy = None;
        self.desk = Desk::default();
        self.paused_at = match resume {
            Resume::Running => None,
            Resume::Paused => Some(now),
        };
    }

    pub(super) fn agent(&self) -> AgentState {
        match (self.process, self.paused_at, self.reached) {
            (Process::Answers, None, Reached::Agent) => AgentState::Answers,
            _ => AgentState::Silent,
        }
    }

    pub(super) fn has_address(&self) -> bool {
        self.reached >= Reached::Address && self.course.reaches_address()
    }

    /// Whether its operating system is far enough to hear the power button.
    pub(super) fn is_up(&self, now: Millis) -> bool {
        self.paused_at.is_none() && now >= self.started + self.course.up_after()
    }

    /// When it takes its next step.
    pub(super) fn next_due(&self) -> Option<Millis> {
        if self.paused_at.is_some() {
            return None;
        }
        let boot = match self.reached {
            _ if self.course.boots == Boots::NothingToBoot => None,
            Reached::Nothing => Some(self.course.crash_ms().unwrap_or(self.course.boot_ms)),
            Reached::Address if self.course.reaches_agent() => Some(self.course.agent_at()),
            Reached::Address | Reached::Agent => None,
        };
        let boot = boot.map(|ms| self.started + ms);
        let others = self.shutdown_due.into_iter().chain(self.copy_due());
        boot.into_iter().chain(others).min()
    }

    /// What it writes to its serial port and when, counted from its start.
    fn script(&self) -> Vec<(Millis, String)> {
        let (course, boot) = (&self.course, self.course.boot_ms);
        let mut lines = vec![(0, "SimBIOS\r\n".to_owned())];
        let mut say = |at: Millis, text: String| lines.push((at, format!("{text}\r\n")));
        if course.boots == Boots::NothingToBoot {
            say(boot / 4, "No bootable device.".to_owned());
            return lines;
        }
        say(boot / 4, "Booting...".to_owned());
        say(
            boot / 3,
            format!("Linux version 6.1.0-sim, {} CPUs", self.definition.cpus),
        );
        if let Some(crash) = course.crash_ms() {
            say(
                crash,
                "Kernel panic - not syncing: Attempted to kill init!".to_owned(),
            );
            return lines;
        }
        match course.reaches_address() {
            true => say(boot, "dhcp: lease obtained".to_owned()),
            false => say(boot, "dhcp: no answer, trying again".to_owned()),
        }
        lines.push((course.agent_at(), LOGIN.to_owned()));
        // What it was typed into answered by then stands behind what it says by itself.
        lines.extend_from_slice(self.terminal.said());
        lines.sort_by_key(|(at, _)| *at);
        lines
    }

    /// Keys come in by its serial port. Before somebody asks for a name there, and while it stands still, nobody reads them.
    pub(super) fn press(&mut self, keys: &[u8], now: Millis) {
        let course = &self.course;
        let listens = course.boots == Boots::Yes
            && course.crash_ms().is_none()
            && self.process == Process::Answers
            && self.paused_at.is_none()
            && now >= self.started + course.agent_at();
        if listens {
            self.terminal.press(keys, now - self.started);
        }
    }

    pub(super) fn written_by(&self, position: usize, now: Millis) -> (String, usize) {
        let script = self.script();
        let until = self.paused_at.unwrap_or(now);
        let done = script
            .iter()
            .take_while(|(at, _)| self.started + at <= until)
            .count();
        let text = script
            .iter()
            .take(done)
            .skip(position)
            .map(|(_, text)| text.as_str())
            .collect();
        (text, done.max(position))
    }
}

impl State {
    /// When the next guest takes its next step.
    pub(crate) fn next_due(&self) -> Option<Millis> {
        self.due.first().map(|(at, _)| *at)
    }

    /// Lets guests do what they do until `now`.
    pub(crate) fn advance(&mut self, now: Millis) {
        while let Some((at, id)) = self.due.first().cloned().filter(|(at, _)| *at <= now) {
            self.due.pop_first();
            self.touch();
            self.step(&id, at);
        }
    }

    fn step(&mut self, id: &ObjectId, at: Millis) {
        let Some(run) = self.machines.get_mut(id).and_then(Machine::run_mut) else {
            return;
        };
        if run.next_due() != Some(at) {
            return;
        }
        if run.copy_due() == Some(at) {
            self.finish_copy(id);
            self.schedule(id);
            return;
        }
        if run.shutdown_due == Some(at) {
            self.end_run(id, at, MachineActivity::Off(Some(Ended::ByGuest)));
            return;
        }
        if run.course.crash_ms().is_some() {
            self.end_run(id, at, MachineActivity::Crashed);
            return;
        }
        match run.reached {
            Reached::Nothing => {
                run.reached = Reached::Address;
                self.let_go(id);
                self.hand_out_leases(id);
            }
            Reached::Address | Reached::Agent => {
                run.reached = Reached::Agent;
                self.event(HostEvent::Agent(id.clone()));
            }
        }
        self.schedule(id);
    }

    /// Notes when a machine is next due.
    pub(super) fn schedule(&mut self, id: &ObjectId) {
        let due = self
            .machines
            .get(id)
            .and_then(Machine::run)
            .and_then(Run::next_due);
        self.due.extend(due.map(|at| (at, id.clone())));
    }

    /// Ends a run, however it came to that.
    pub(super) fn end_run(&mut self, id: &ObjectId, now: Millis, into: MachineActivity) {
        let Some(machine) = self.machines.get_mut(id) else {
            return;
        };
        let MachineActivity::On(run) = std::mem::replace(&mut machine.activity, into) else {
            return;
        };
        self.locks.retain(|_, holder| holder != id);
        for nic in &run.definition.nics {
            self.end_lease(nic.mac, &nic.attachment, now);
        }
        self.event(HostEvent::Machine(id.clone()));
    }

    /// A guest's address is its own for an hour more.
    pub(super) fn end_lease(&mut self, mac: MacAddr, attachment: &Attachment, now: Millis) {
        let Attachment::Network(name) = attachment else {
            return;
        };
        let network = self
            .networks
            .values_mut()
            .find(|network| network.host_name == *name);
        if let Some(lease) = network.and_then(|network| network.leases.get_mut(&mac)) {
            lease.expires = Some(now + LEASE_MS);
        }
    }

    pub(super) fn hand_out_leases(&mut self, id: &ObjectId) {
        let Some(run) = self
            .machines
            .get(id)
            .and_then(Machine::run)
            .filter(|run| run.has_address())
        else {
            return;
        };
        let now = run.started + run.course.boot_ms;
        for nic in run.definition.nics.clone() {
            let Attachment::Network(name) = &nic.attachment else {
                continue;
            };
            let network = self
                .networks
                .values_mut()
                .find(|network| network.host_name == *name);
            if let Some(network) = network {
                network.lease_to(nic.mac, now);
            }
        }
    }

    /// Addresses that no lease shows: those from the outside, by the guest's agent.
    pub(crate) fn addresses(&self, id: &ObjectId) -> Result<Vec<(MacAddr, IpAddr)>, DriverError> {
        let Some(run) = self.machine_ref(id)?.run() else {
            return Ok(Vec::new());
        };
        if run.agent() == AgentState::Silent || !run.has_address() {
            return Ok(Vec::new());
        }
        let outside = |attachment: &Attachment| match attachment {
            Attachment::Network(name) => self
                .network_named(name)
                .is_some_and(|network| network.mode == NetworkMode::Bridge),
            Attachment::Bridge(_) | Attachment::Other(_) => true,
        };
        let nics = run.definition.nics.iter().filter(|nic| outside(&nic.attachment));
        Ok(nics.map(|nic| (nic.mac, outside_address(nic.mac))).collect())
    }

    pub(crate) fn agent(&self, id: &ObjectId) -> Result<AgentState, DriverError> {
        let run = self.machine_ref(id)?.run();
        Ok(run.map_or(AgentState::Silent, Run::agent))
    }
}

/// What the DHCP server of somebody's bridge would give.
fn outside_address(mac: MacAddr) -> IpAddr {
    let [.., low] = hash(&mac.0).to_be_bytes();
    IpAddr::V4(Ipv4Addr::new(203, 0, 113, low.clamp(1, 254)))
}

impl Network {
    /// Gives an address: the reserved one, the one it had, or one of the range.
    fn lease_to(&mut self, mac: MacAddr, now: Millis) {
        if self.active == Activity::Inactive || self.mode == NetworkMode::Bridge {
            return;
        }
        let reservation = self.reservations.get(&mac);
        let hostname = reservation.and_then(|reservation| reservation.name.clone());
        let reserved = reservation.map(|reservation| reservation.address);
        let before = self.leases.get(&mac).map(|lease| lease.address);
        let kept_for_others = |address: &IpAddr| {
            self.reservations
                .values()
                .any(|r| r.address == *address && r.mac != mac)
        };
        let before = before.filter(|address| !kept_for_others(address));
        if let Some(address) = reserved.or(before).or_else(|| self.free_address(mac, now)) {
            let lease = Lease {
                address,
                hostname,
                expires: None,
            };
            self.leases.insert(mac, lease);
        }
    }

    fn free_address(&self, mac: MacAddr, now: Millis) -> Option<IpAddr> {
        let dhcp = self.dhcp?;
        let (first, last) = (u32::from(dhcp.start), u32::from(dhcp.end));
        let width = u64::from(last.checked_sub(first)?) + 1;
        let taken = |address: IpAddr| {
            self.reservations.values().any(|r| r.address == address)
                || self
                    .leases
                    .values()
                    .any(|lease| lease.address == address && lease.is_valid(now))
        };
        (0..width)
            .map(|step| (hash(&mac.0) % width + step) % width)
            .filter_map(|offset| Some(IpAddr::V4(Ipv4Addr::from(first + u32::try_from(offset).ok()?))))
            .find(|address| !taken(*address))
    }
}

impl Lease {
    pub(super) fn is_valid(&self, now: Millis) -> bool {
        self.expires.is_none_or(|at| at > now)
    }
}
