//! Both sides and what is between them, in memory.

use std::convert::Infallible;
use std::time::Duration;

use labyard_exchange::config::{FixedIpv4, Nic, User};
use labyard_exchange::guest::Seen;
use labyard_exchange::host::Status;
use labyard_exchange::rand_core::{TryCryptoRng, TryRng};
use labyard_exchange::{
    Action, Configuration, Deadlines, Exchange, Guest, Host, Illegal, Items, Outcome, Report, Secret,
    Session, VmId,
};

/// The password in the configuration.
pub(crate) const SENTINEL: &str = "sentinel-Pa55word";

/// Chance that is the same in each run (splitmix64).
#[derive(Clone)]
pub(crate) struct Chance(pub(crate) u64);

impl Chance {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub(crate) fn below(&mut self, limit: usize) -> usize {
        (self.next() % limit.max(1) as u64) as usize
    }
}

impl TryRng for Chance {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        Ok(self.next() as u32)
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        Ok(self.next())
    }

    fn try_fill_bytes(&mut self, to: &mut [u8]) -> Result<(), Infallible> {
        for chunk in to.chunks_mut(8) {
            let bytes = self.next().to_le_bytes();
            chunk.copy_from_slice(&bytes[..chunk.len()]);
        }
        Ok(())
    }
}

impl TryCryptoRng for Chance {}

pub(crate) fn machine() -> VmId {
    "7D0D9A2C-6F3B-4E6B-8C52-0F1E2D3C4B5A".parse().unwrap()
}

/// One whose sealed text has several pieces.
pub(crate) fn configuration() -> Configuration {
    Configuration {
        admin_username: Some("ops".into()),
        admin_password: Some(Secret::new(SENTINEL)),
        ssh_authorized_keys: (0..4)
            .map(|n| format!("ssh-rsa {} key-{n}", "QUJD".repeat(100)))
            .collect(),
        users: [("ansible".to_owned(), User::default())].into(),
        nics: vec![Nic {
            mac: "00:15:5d:00:00:01".parse().unwrap(),
            ipv4: Some(FixedIpv4 {
                address: "10.77.0.10/24".parse().unwrap(),
                gateway: Some("10.77.0.1".parse().unwrap()),
            }),
        }],
        ..Configuration::named("web-01")
    }
}

/// A guest that does whatever it is told, or says that it cannot.
pub(crate) struct Bus {
    pub(crate) rng: Chance,
    pub(crate) now: Duration,
    pub(crate) host: Option<Host>,
    pub(crate) guest: Option<Guest>,
    /// What the host wrote.
    pub(crate) to_guest: Items,
    /// What the guest wrote.
    pub(crate) to_host: Items,
    pub(crate) machine: Option<VmId>,
    pub(crate) outcome: Outcome,
    pub(crate) applied: Vec<Configuration>,
    pub(crate) remembered: Vec<Session>,
    pub(crate) refused_by_guest: Vec<Illegal>,
    pub(crate) refused_by_host: Vec<Illegal>,
}

impl Bus {
    pub(crate) fn new(seed: u64) -> Self {
        let mut bus = Self {
            rng: Chance(seed),
            now: Duration::ZERO,
            host: None,
            guest: Some(Guest::new([])),
            to_guest: Items::default(),
            to_host: Items::default(),
            machine: Some(machine()),
            outcome: Outcome::Ok,
            applied: Vec::new(),
            remembered: Vec::new(),
            refused_by_guest: Vec::new(),
            refused_by_host: Vec::new(),
        };
        bus.ask(machine());
        bus
    }

    /// A new exchange; whatever was before is forgotten by our side, and stays where it is.
    pub(crate) fn ask(&mut self, vm: VmId) {
        let exchange = Exchange::draw(vm, &mut self.rng);
        let (host, actions) =
            Host::begin(exchange, &configuration(), Deadlines::default(), self.now).unwrap();
        self.host = Some(host);
        self.to_guest.apply(&actions);
    }

    pub(crate) fn step_guest(&mut self) -> Vec<Action> {
        let seen = Seen {
            host: &self.to_guest,
            own: &self.to_host,
            machine: self.machine,
        };
        let (mut guest, mut actions) = self.guest.take().unwrap().step(&seen, &mut self.rng);
        let mut further = Vec::new();
        for action in &actions {
            match action {
                Action::Apply(configuration) => {
                    self.applied.push(configuration.as_ref().clone());
                    let report = Report {
                        outcome: self.outcome,
                        stage: None,
                        message: "said so".into(),
                    };
                    let (finished, said) = guest.finish(&report);
                    guest = finished;
                    further.extend(said);
                }
                Action::Refused(illegal) => self.refused_by_guest.push(illegal.clone()),
                _ => {}
            }
        }
        actions.extend(further);
        for action in &actions {
            if let Action::Remember(session) = action {
                self.remembered.push(*session);
            }
        }
        self.guest = Some(guest);
        self.to_host.apply(&actions);
        actions
    }

    pub(crate) fn step_host(&mut self) -> Vec<Action> {
        let host = self.host.take().unwrap();
        let (host, actions) = host.step(self.now, &self.to_host, &mut self.rng);
        for action in &actions {
            if let Action::Refused(illegal) = action {
                self.refused_by_host.push(illegal.clone());
            }
        }
        self.host = Some(host);
        self.to_guest.apply(&actions);
        actions
    }

    pub(crate) fn status(&self) -> Status<'_> {
        self.host.as_ref().unwrap().status()
    }

    /// Both sides in turn, until neither wants anything more.
    pub(crate) fn run(&mut self) {
        for _ in 0..20 {
            self.step_guest();
            self.step_host();
        }
    }

    /// A program that was killed and is started again.
    pub(crate) fn restart_guest(&mut self) {
        self.guest = Some(Guest::new(self.remembered.iter().copied()));
    }
}

/// All pairs of one direction that are texts.
pub(crate) fn pairs(items: &Items) -> Vec<(String, String)> {
    let text = |key: &str| Some((key.to_owned(), items.text(key).ok()??.to_owned()));
    items.keys().filter_map(text).collect()
}
