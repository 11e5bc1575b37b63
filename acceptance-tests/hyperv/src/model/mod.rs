//! A Hyper-V host as its classes show it: machines and their devices, jobs, checkpoints, disks as real files, switches, the
//! host's network, guardians, a cluster. It knows nothing of XML and of HTTP; `BEHAVIOUR.md` says which behaviour is known
//! from where, and which test shows it.
//!
//! | file | what |
//! |---|---|
//! | `setup` | what a host is before anyone asks: build, clock, drives, and its ways to answer |
//! | `state`, `store`, `row`, `paths`, `time`, `codes` | what all the others stand on |
//! | `jobs`, `faults` | work that is done later, and failures on demand |
//! | `machine`, `content`, `defaults`, `settings`, `systems`, `power` | machines: their rows, how they come and go, their states |
//! | `add`, `change`, `features`, `processors` | devices and what may be said of them |
//! | `guest` | components of integration, keys and values, addresses, summaries |
//! | `files`, `disks`, `images`, `snapshots` | drives as directories, virtual disks, checkpoints |
//! | `switches`, `network` | switches; adapters, addresses and NAT of the host |
//! | `guardians`, `cluster` | key protectors and TPM; roles of a failover cluster |
//! | `language` | what is translated |
//! | `services`, `associations`, `calls` | rows of the host itself, ways from object to object, the table of methods |
//! | `handles` | what a test does to a host behind its caller's back, and what it looks at |
//!
//! ```
//! use labyard_hyperv_double::contract::Model;
//! use labyard_hyperv_double::model::{Host, Setup};
//!
//! let host = Host::new(Setup::server(std::env::temp_dir()));
//! let systems = host.instances("root/virtualization/v2", "Msvm_ComputerSystem").expect("the role is there");
//! assert_eq!(systems.len(), 1, "no machines, but the host itself");
//! ```

mod add;
mod associations;
mod calls;
mod change;
mod cluster;
pub mod codes;
mod content;
mod defaults;
mod disks;
mod faults;
mod features;
mod files;
mod guardians;
mod guest;
mod handles;
mod images;
mod jobs;
mod language;
mod machine;
mod network;
mod paths;
mod power;
mod processors;
mod row;
mod services;
mod settings;
mod setup;
mod snapshots;
mod state;
mod store;
mod switches;
mod systems;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
mod time;

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::cim::{Instance, Path};
use crate::contract::{Model, Parameters, WmiFault};

pub use self::cluster::{Cluster, Membership};
pub use self::faults::How;
pub use self::handles::{MachineView, SwitchKind};
pub use self::machine::{Consent, Guest, GuestNetwork, OnShutdown, Power, Services};
pub use self::setup::{
    Answers, Build, Card, Clock, DiskReads, Edition, Growth, Guardians, HandClock, Ids, Language, Moment,
    NatLimit, Pace, Resulting, Rights, Setup, States, SystemClock,
};
pub use self::state::Part;

use self::codes::Stop;
use self::state::State;

/// A host. Copies are the same host: one serves, others are what a test holds it by.
#[derive(Clone)]
pub struct Host(Arc<Mutex<State>>);

impl Host {
    /// A host without machines.
    #[must_use]
    pub fn new(setup: Setup) -> Self {
        let now = setup.clock.now();
        let cards = setup.cards.clone();
        let edition = setup.edition;
        let mut state = State {
            now,
            setup,
            store: store::Store::default(),
            machines: std::collections::BTreeMap::new(),
            snapshots: std::collections::BTreeMap::new(),
            switches: std::collections::BTreeMap::new(),
            network: network::Network::default(),
            guardianship: guardians::Guardianship::default(),
            jobs: jobs::Jobs::default(),
            faults: faults::Faults::default(),
            rights: Rights::Administrator,
            role: Part::There,
            service: Part::There,
            default_guest: Guest::default(),
            asked_disks: BTreeSet::new(),
            mounted: BTreeSet::new(),
            called: Vec::new(),
            refused: Vec::new(),
            macs: 0,
            held: Vec::new(),
            parents: files::Parents::default(),
        };
        for row in defaults::definitions(state.setup.build) {
            state.store.put(row);
        }
        for card in &cards {
            state.add_card(card);
        }
        if edition == Edition::Client {
            switches::put_default(&mut state);
        }
        Self(Arc::new(Mutex::new(state)))
    }

    /// The state, after all that has become due has happened.
    fn state(&self) -> MutexGuard<'_, State> {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let now = state.setup.clock.now();
        state.advance(now);
        state.take_in();
        state
    }
}

/// A refusal as a fault, where a call has no ReturnValue.
fn as_fault(state: &mut State, what: &str, why: &Stop) -> WmiFault {
    state.note(what, why);
    match why {
        Stop::Fault(fault, _) => *fault,
        Stop::Code(..) => WmiFault::FAILED,
    }
}

impl Model for Host {
    fn instances(&self, namespace: &str, class: &str) -> Result<Vec<Instance>, WmiFault> {
        let mut state = self.state();
        match state.rows(namespace, class) {
            Ok(rows) => Ok(rows),
            Err(why) => Err(as_fault(&mut state, class, &why)),
        }
    }

    fn associated(
        &self,
        of: &Path,
        association: Option<&str>,
        result: Option<&str>,
    ) -> Result<Vec<Instance>, WmiFault> {
        let mut state = self.state();
        match state.rows(&of.namespace, &of.class) {
            Ok(rows) if rows.is_empty() => Ok(Vec::new()),
            Ok(_) => Ok(state.associated(of, association, result)),
            Err(why) => Err(as_fault(&mut state, &of.class, &why)),
        }
    }

    fn invoke(&mut self, object: &Path, method: &str, input: &Parameters) -> Result<Parameters, WmiFault> {
        let mut state = self.state();
        state.called.push(format!("{}.{method}", object.class));
        match calls::invoke(&mut state, object, method, input) {
            Ok(output) => Ok(output),
            Err(Stop::Code(code, why)) => {
                state.note(method, &Stop::Code(code, why));
                Ok(codes::answer(code))
            }
            Err(why) => Err(as_fault(&mut state, method, &why)),
        }
    }

    fn create(&mut self, instance: Instance) -> Result<Path, WmiFault> {
        let mut state = self.state();
        state.called.push(format!("{}.Create", instance.class));
        let done = calls::injected(&mut state, &format!("{}.Create", instance.class))
            .and_then(|()| calls::changes(&state, &instance.namespace, paths::STANDARD))
            .and_then(|()| state.create_row(&instance));
        done.map_err(|why| as_fault(&mut state, &instance.class, &why))
    }

    fn put(&mut self, object: &Path, changes: &Instance) -> Result<Instance, WmiFault> {
        let mut state = self.state();
        state.called.push(format!("{}.Put", object.class));
        let done = calls::injected(&mut state, &format!("{}.Put", object.class))
            .and_then(|()| calls::changes(&state, &object.namespace, paths::CLUSTER))
            .and_then(|()| state.change_role(object, changes));
        done.map_err(|why| as_fault(&mut state, &object.class, &why))
    }

    fn delete(&mut self, object: &Path) -> Result<(), WmiFault> {
        let mut state = self.state();
        state.called.push(format!("{}.Delete", object.class));
        let done = calls::injected(&mut state, &format!("{}.Delete", object.class))
            .and_then(|()| calls::changes(&state, &object.namespace, paths::STANDARD))
            .and_then(|()| state.delete_row(object));
        done.map_err(|why| as_fault(&mut state, &object.class, &why))
    }
}
