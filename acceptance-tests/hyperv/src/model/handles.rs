//! What a test does to a host behind its caller's back, and what it looks at.

use std::collections::BTreeMap;

use crate::cim::{Instance, Value};
use crate::contract::Parameters;

use super::add::{RASD, SASD};
use super::faults::How;
use super::machine::{Guest, Machine, Power};
use super::paths::{self, STANDARD};
use super::row::Row;
use super::setup::Rights;
use super::state::{Part, State};
use super::store::{first_text, text};
use super::{Host, guest, power, snapshots, switches, systems};

/// A machine as a test looks at it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MachineView {
    /// Its GUID.
    pub id: String,
    /// Its name.
    pub name: String,
    /// Its Notes.
    pub notes: String,
    /// Its state at rest.
    pub power: Power,
    /// Files in its drives.
    pub files: Vec<String>,
}

/// A kind of switch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SwitchKind {
    /// Without the host.
    Private,
    /// With the host.
    Internal,
    /// With the first card of the host that is free, and with the host.
    External,
}

impl Host {
    /// The `nth` call of a method from now on, counted from 1, fails so. Instances that are created, changed and deleted go by
    /// `MSFT_NetNat.Create`, `….Put`, `….Delete`.
    pub fn fail(&self, method: &str, nth: usize, how: How) {
        self.state().faults.add(method, nth, how);
    }

    /// Why calls and jobs were refused so far, the newest last. Windows says less.
    #[must_use]
    pub fn refusals(&self) -> Vec<String> {
        self.state().refused.clone()
    }

    /// Methods that were called so far, as `class.method`.
    #[must_use]
    pub fn calls(&self) -> Vec<String> {
        self.state().called.clone()
    }

    /// What the caller may do from now on.
    pub fn set_rights(&self, rights: Rights) {
        self.state().rights = rights;
    }

    /// Whether Hyper-V is installed.
    pub fn set_role(&self, part: Part) {
        self.state().role = part;
    }

    /// Whether the service of Hyper-V runs.
    pub fn set_service(&self, part: Part) {
        self.state().service = part;
    }

    /// The service restarts: its jobs are gone, with what they had not done. Machines run on.
    pub fn restart_service(&self) {
        let mut state = self.state();
        state.jobs.forget_all();
        for machine in state.machines.values_mut() {
            machine.way = None;
        }
    }

    /// Whether every job has ended.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        !self.state().jobs.any_open()
    }

    /// All machines.
    #[must_use]
    pub fn machines(&self) -> Vec<MachineView> {
        let state = self.state();
        state
            .machines
            .values()
            .map(|machine| view(&state, machine))
            .collect()
    }

    /// The machine of this GUID.
    #[must_use]
    pub fn machine(&self, id: &str) -> Option<MachineView> {
        let state = self.state();
        state.machine(id).map(|machine| view(&state, machine))
    }

    /// Somebody makes a machine that is none of ours: its GUID.
    ///
    /// # Panics
    /// If its files cannot be written.
    #[must_use]
    pub fn add_machine(&self, name: &str, notes: &str, generation: u8) -> String {
        let mut state = self.state();
        let id = state.setup.ids.next_guid();
        let said = vec![
            ("ElementName".to_owned(), Value::text(name)),
            ("Notes".to_owned(), Value::texts([notes])),
        ];
        let made = systems::create(&mut state, &id, generation, said);
        assert_eq!(made, Ok(()), "a machine by hand");
        id
    }

    /// Somebody takes a machine away; its disks stay.
    pub fn delete_machine(&self, id: &str) {
        systems::remove(&mut self.state(), id);
    }

    /// Somebody writes into Notes.
    pub fn set_notes(&self, id: &str, notes: &str) {
        self.change(&format!("Microsoft:{id}"), "Notes", Value::texts([notes]));
    }

    /// Somebody changes a property of a setting.
    ///
    /// # Panics
    /// If there is no such setting.
    pub fn change(&self, setting: &str, property: &str, value: Value) {
        let mut state = self.state();
        let row = state.store.get_mut(setting);
        row.expect("a setting of that id").set(property, value);
    }

    /// Somebody takes a setting away, with what hangs below it.
    pub fn remove_setting(&self, setting: &str) {
        self.state().store.remove_below(setting);
    }

    /// All settings of a machine, a checkpoint or a switch, its own first.
    #[must_use]
    pub fn settings(&self, id: &str) -> Vec<Instance> {
        let state = self.state();
        state
            .store
            .owned(&format!("Microsoft:{id}"))
            .into_iter()
            .cloned()
            .collect()
    }

    /// Settings of a machine that are of one class.
    #[must_use]
    pub fn settings_of(&self, id: &str, class: &str) -> Vec<Instance> {
        let mut found = self.settings(id);
        found.retain(|row| row.class == class);
        found
    }

    /// Somebody puts a disk into a machine, on a SCSI controller of its own: the id of the disk's setting.
    #[must_use]
    pub fn plug_disk(&self, id: &str, file: &str) -> String {
        let mut state = self.state();
        let guid = state.setup.ids.next_guid();
        let controller = format!(r"Microsoft:{id}\{guid}\0");
        let (drive, medium) = (format!(r"{controller}\0\D"), format!(r"{controller}\0\L"));
        let link = |id: &str| state.path_text(RASD, id);
        let rows = [
            super::content::device(
                &controller,
                6,
                "Microsoft:Hyper-V:Synthetic SCSI Controller",
                "SCSI Controller",
            )
            .done(),
            super::content::device(&drive, 17, "Microsoft:Hyper-V:Synthetic Disk Drive", "Hard Drive")
                .value("Parent", link(&controller))
                .text("AddressOnParent", "0")
                .done(),
            Row::of(SASD)
                .text("InstanceID", &medium)
                .number("ResourceType", 31)
                .text("ResourceSubType", "Microsoft:Hyper-V:Virtual Hard Disk")
                .value("Parent", link(&drive))
                .texts("HostResource", [file])
                .done(),
        ];
        for row in rows {
            state.store.put(row);
        }
        medium
    }

    /// Somebody turns a machine on or off, or saves it, at once.
    ///
    /// # Panics
    /// If there is no such machine.
    pub fn set_power(&self, id: &str, to: Power) {
        let mut state = self.state();
        let now = state.now;
        let machine = state.machine_mut(id).expect("a machine of that id");
        machine.power = to;
        machine.way = None;
        machine.changed = now;
        machine.on_since = now;
        machine.run += 1;
        machine.up = to == Power::Running && machine.guest.services == super::machine::Services::Present;
        power::mark_saved(&mut state, id, to == Power::Saved);
    }

    /// The guest goes down by itself.
    pub fn guest_powers_off(&self, id: &str) {
        self.set_power(id, Power::Off);
    }

    /// A machine shows this EnabledState, whatever it does; none for the true one.
    pub fn set_critical(&self, id: &str, state: Option<u64>) {
        if let Some(machine) = self.state().machine_mut(id) {
            machine.critical = state;
        }
    }

    /// How the guest of a machine behaves.
    ///
    /// # Panics
    /// If there is no such machine.
    pub fn guest(&self, id: &str, change: impl FnOnce(&mut Guest)) {
        let mut state = self.state();
        change(&mut state.machine_mut(id).expect("a machine of that id").guest);
    }

    /// How guests of machines to come behave.
    pub fn guests_to_come(&self, change: impl FnOnce(&mut Guest)) {
        change(&mut self.state().default_guest);
    }

    /// Whether the guest's services have come.
    #[must_use]
    pub fn guest_is_up(&self, id: &str) -> bool {
        self.state()
            .machine(id)
            .is_some_and(|machine| machine.up && machine.is_on())
    }

    /// What the host has for the guest, as the guest reads it: nothing while its daemon does not run.
    #[must_use]
    pub fn guest_sees(&self, id: &str) -> Vec<(String, String)> {
        let state = self.state();
        let speaks = state.machine(id).is_some_and(Machine::speaks);
        let setting = guest::component_setting(id, "Msvm_KvpExchangeComponent");
        match state.store.get(&setting) {
            Some(row) if speaks => guest::pairs(row.get("HostExchangeItems")),
            _ => Vec::new(),
        }
    }

    /// What the host has for the guest, whether the guest reads it or not.
    #[must_use]
    pub fn items(&self, id: &str) -> Vec<(String, String)> {
        let state = self.state();
        let setting = guest::component_setting(id, "Msvm_KvpExchangeComponent");
        state
            .store
            .get(&setting)
            .map(|row| guest::pairs(row.get("HostExchangeItems")))
            .unwrap_or_default()
    }

    /// Checkpoints of a machine, the oldest first: GUID and name.
    #[must_use]
    pub fn checkpoints(&self, id: &str) -> Vec<(String, String)> {
        let state = self.state();
        let all = snapshots::of(&state, id).into_iter();
        all.map(|snapshot| {
            let name = state
                .store
                .get(&format!("Microsoft:{snapshot}"))
                .map(|row| text(row, "ElementName").to_owned());
            (snapshot, name.unwrap_or_default())
        })
        .collect()
    }

    /// Somebody makes a switch: its GUID.
    ///
    /// # Panics
    /// If the host has no card left for an external one.
    #[must_use]
    pub fn add_switch(&self, name: &str, kind: SwitchKind) -> String {
        let mut state = self.state();
        let mut ports = Vec::new();
        if kind != SwitchKind::Private {
            let host = paths::system("Msvm_ComputerSystem", state.computer());
            ports.push(paths::value(state.computer(), &host));
        }
        if kind == SwitchKind::External {
            let free = state
                .external_ports()
                .into_iter()
                .find(|row| row.get("IsBound").as_boolean() == Some(false));
            let card = free.expect("a card that is free");
            ports.push(paths::value(
                state.computer(),
                &super::associations::path_of(&card),
            ));
        }
        let port = |path: Value| {
            let row = Row::of(super::add::EPASD)
                .number("ResourceType", 33)
                .text("ResourceSubType", "Microsoft:Hyper-V:Ethernet Connection")
                .value("HostResource", Value::Array(vec![path]));
            Value::Instance(Box::new(row.done()))
        };
        let setting = Row::of(switches::SETTING).text("ElementName", name).done();
        let input = Parameters::from([
            ("SystemSettings".to_owned(), Value::Instance(Box::new(setting))),
            (
                "ResourceSettings".to_owned(),
                Value::Array(ports.into_iter().map(port).collect()),
            ),
        ]);
        let before: Vec<String> = state.switches.keys().cloned().collect();
        let answers = std::mem::replace(&mut state.setup.answers, super::setup::Answers::AtOnce);
        let done = switches::define(&mut state, &super::codes::Input(&input));
        state.setup.answers = answers;
        assert!(done.is_ok(), "a switch by hand: {done:?}");
        let new = state.switches.keys().find(|id| !before.contains(id)).cloned();
        new.expect("the switch that was made")
    }

    /// All switches: GUID and name.
    #[must_use]
    pub fn switches(&self) -> Vec<(String, String)> {
        let state = self.state();
        state
            .switches
            .values()
            .map(|switch| (switch.id.clone(), state.switch_name(&switch.id)))
            .collect()
    }

    /// The host has heard of somebody on one of its adapters.
    pub fn add_neighbour(&self, adapter: &str, mac: &str, address: &str) {
        self.state().add_neighbour(adapter, mac, address);
    }

    /// The private keys of a guardian are not on this host any more.
    pub fn forget_guardian(&self, name: &str) {
        let input = Parameters::from([("Name".to_owned(), Value::text(name))]);
        // One that is not known is as forgotten as it should be.
        let _ = self.state().remove_guardian(&super::codes::Input(&input));
    }

    /// The cluster takes a machine to another node, where the host that is that node has it from its next call on.
    pub fn move_to(&self, id: &str, node: &str) {
        self.state().send(id, node);
    }

    /// All that stands on the host, a line each, but for jobs, states and times: what was not touched reads the same.
    ///
    /// ```
    /// use labyard_hyperv_double::model::{Host, Setup};
    ///
    /// let drive = tempfile::tempdir().expect("a directory");
    /// let host = Host::new(Setup::server(drive.path()));
    /// let before = host.inventory();
    /// let id = host.add_machine("foreign", "somebody's", 2);
    /// assert_ne!(host.inventory(), before);
    /// host.delete_machine(&id);
    /// std::fs::remove_dir(drive.path().join("x")).ok();
    /// assert_eq!(host.inventory(), before);
    /// ```
    #[must_use]
    pub fn inventory(&self) -> Vec<String> {
        let state = self.state();
        let mut lines = Vec::new();
        let owners = state
            .machines
            .keys()
            .chain(state.snapshots.keys())
            .chain(state.switches.keys());
        for owner in owners {
            lines.extend(
                state
                    .store
                    .owned(&format!("Microsoft:{owner}"))
                    .into_iter()
                    .map(line),
            );
        }
        for class in [
            "MSFT_NetAdapter",
            "MSFT_NetIPAddress",
            "MSFT_NetNat",
            "MSFT_NetNatStaticMapping",
        ] {
            lines.extend(state.rows(STANDARD, class).unwrap_or_default().iter().map(line));
        }
        lines.extend(
            state
                .guardian_rows("MSFT_HgsGuardian")
                .unwrap_or_default()
                .iter()
                .map(line),
        );
        if let Some(membership) = &state.setup.cluster {
            lines.extend(
                membership
                    .cluster
                    .roles()
                    .into_iter()
                    .map(|role| format!("{role:?}")),
            );
        }
        lines.extend(state.data_files().iter().map(line));
        lines.sort();
        lines
    }
}

fn line(row: &Instance) -> String {
    let properties: BTreeMap<&String, &Value> = row
        .properties()
        .iter()
        .filter(|(name, _)| *name != "IsSaved")
        .collect();
    format!("{} {properties:?}", row.class)
}

fn view(state: &State, machine: &Machine) -> MachineView {
    let vssd = state.vssd(&machine.id);
    let owner = format!("Microsoft:{}", machine.id);
    MachineView {
        id: machine.id.clone(),
        name: state.name_of(&machine.id),
        notes: vssd
            .and_then(|row| first_text(row, "Notes"))
            .unwrap_or_default()
            .to_owned(),
        power: machine.power,
        files: state
            .store
            .owned_of(&owner, SASD)
            .into_iter()
            .filter_map(|row| first_text(row, "HostResource").map(str::to_owned))
            .collect(),
    }
}
