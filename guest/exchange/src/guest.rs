//! The guest's side of an exchange: it shows a key, opens what comes once, tells how far it is and how it ended.

use std::collections::BTreeSet;

use hpke::rand_core::CryptoRng;

use crate::action::{Action, Item};
use crate::chunks::{self, Sealing};
use crate::config::Configuration;
use crate::identity::{Exchange, Nonce, Session, VmId};
use crate::illegal::Illegal;
use crate::items::Items;
use crate::message::{self, Key, OF_GUEST, Outcome, Progress, REQUEST, Report};
use crate::seal::KeyPair;
use crate::{ATTEMPTS_MAX, PREFIX};

/// What the guest sees.
#[derive(Clone, Copy, Debug)]
pub struct Seen<'a> {
    /// What the host wrote.
    pub host: &'a Items,
    /// What this side wrote: now, before a restart, or before the disk was copied.
    pub own: &'a Items,
    /// Which machine the host says this is; nothing where it has not said it yet.
    pub machine: Option<VmId>,
}

/// The guest's side.
pub struct Guest {
    finished: BTreeSet<Session>,
    phase: Phase,
}

enum Phase {
    Waiting,
    Offered(Box<Offer>),
    Working(Exchange),
    Reported(Exchange, Outcome),
}

struct Offer {
    exchange: Exchange,
    attempt: u32,
    keys: KeyPair,
}

impl Guest {
    /// A guest that remembers these exchanges as over.
    pub fn new(finished: impl IntoIterator<Item = Session>) -> Self {
        Self {
            finished: finished.into_iter().collect(),
            phase: Phase::Waiting,
        }
    }

    /// Whether it is in the middle of an exchange: worth looking again soon.
    pub fn is_busy(&self) -> bool {
        !matches!(self.phase, Phase::Waiting)
    }

    /// How the exchange that is under way ended, once that is told.
    pub fn outcome(&self) -> Option<Outcome> {
        match &self.phase {
            Phase::Reported(_, outcome) => Some(*outcome),
            Phase::Waiting | Phase::Offered(_) | Phase::Working(_) => None,
        }
    }

    /// Goes on, by what the host shows now.
    #[must_use]
    pub fn step(mut self, seen: &Seen<'_>, rng: &mut impl CryptoRng) -> (Self, Vec<Action>) {
        let mut actions: Vec<_> = foreign(seen.host, self.current().map(|exchange| exchange.session))
            .map(Action::Refused)
            .collect();
        match asked(seen) {
            Ok(Some(exchange)) if self.current() == Some(exchange) => self.go_on(seen, &mut actions),
            Ok(Some(exchange)) => {
                self.phase = Phase::Waiting;
                self.begin(exchange, seen, rng, &mut actions);
            }
            // The host has taken it away: the exchange is over, or given up.
            Ok(None) => {
                self.phase = Phase::Waiting;
                actions.extend(withdraw(seen.own));
            }
            Err(Illegal::MachineUnknown) => actions.push(Action::Refused(Illegal::MachineUnknown)),
            Err(illegal) => {
                self.phase = Phase::Waiting;
                self.decline(&illegal, seen, &mut actions);
                actions.push(Action::Refused(illegal));
            }
        }
        (self, actions)
    }

    /// Tells how far it is.
    pub fn progress(&self, progress: Progress) -> Vec<Action> {
        match &self.phase {
            Phase::Working(exchange) => vec![Action::Put(vec![message::progress(exchange, progress)])],
            _ => Vec::new(),
        }
    }

    /// Tells how it ended.
    #[must_use]
    pub fn finish(mut self, report: &Report) -> (Self, Vec<Action>) {
        match self.phase {
            Phase::Working(exchange) => {
                let actions = self.report(exchange, report);
                (self, actions)
            }
            _ => (self, Vec::new()),
        }
    }

    fn current(&self) -> Option<Exchange> {
        match &self.phase {
            Phase::Waiting => None,
            Phase::Offered(offer) => Some(offer.exchange),
            Phase::Working(exchange) | Phase::Reported(exchange, _) => Some(*exchange),
        }
    }

    /// The result is written before the exchange is remembered as over: in between, a restart finds the result.
    fn report(&mut self, exchange: Exchange, report: &Report) -> Vec<Action> {
        self.phase = Phase::Reported(exchange, report.outcome);
        self.finished.insert(exchange.session);
        let item = message::report((exchange.session, exchange.nonce), report);
        vec![Action::Put(vec![item]), Action::Remember(exchange.session)]
    }

    fn begin(
        &mut self,
        exchange: Exchange,
        seen: &Seen<'_>,
        rng: &mut impl CryptoRng,
        actions: &mut Vec<Action>,
    ) {
        if let Some(outcome) = reported(&exchange, seen.own) {
            self.phase = Phase::Reported(exchange, outcome);
            if self.finished.insert(exchange.session) {
                actions.push(Action::Remember(exchange.session));
            }
            return;
        }
        actions.extend(withdraw(seen.own));
        if self.finished.contains(&exchange.session) {
            actions.push(Action::Refused(Illegal::Replayed(exchange.session)));
            return;
        }
        let attempt = attempts(&exchange, seen.own) + 1;
        if attempt > ATTEMPTS_MAX {
            let illegal = Illegal::TooManyAttempts(attempt - 1);
            actions.extend(self.report(exchange, &failed(&illegal)));
            actions.push(Action::Refused(illegal));
            return;
        }
        let keys = KeyPair::draw(rng);
        let item: Item = message::key(&exchange, attempt, keys.public());
        actions.push(Action::Put(vec![item]));
        self.phase = Phase::Offered(Box::new(Offer {
            exchange,
            attempt,
            keys,
        }));
    }

    fn go_on(&mut self, seen: &Seen<'_>, actions: &mut Vec<Action>) {
        let Phase::Offered(offer) = &self.phase else {
            return;
        };
        let Offer {
            exchange, attempt, ..
        } = **offer;
        match open(offer, seen.host) {
            Ok(None) => {}
            Ok(Some((sha256, configuration))) => {
                // With the phase the private key goes: nothing opens a second time.
                self.phase = Phase::Working(exchange);
                actions.push(Action::Put(vec![message::ack(&exchange, attempt, sha256)]));
                actions.push(Action::Apply(Box::new(configuration)));
            }
            Err(illegal) => {
                actions.extend(self.report(exchange, &failed(&illegal)));
                actions.push(Action::Refused(illegal));
            }
        }
    }

    /// Answers a request of another version, if it can be told whose it is: the host shall not wait in vain.
    fn decline(&self, illegal: &Illegal, seen: &Seen<'_>, actions: &mut Vec<Action>) {
        let sender = match illegal {
            Illegal::Version { .. } => seen.host.text(REQUEST).ok().flatten(),
            _ => None,
        };
        match sender.and_then(message::sender_of_any_version) {
            Some(sender) => {
                let item = message::report(sender, &failed(illegal));
                if seen.own.text(&item.key) != Ok(Some(&item.text)) {
                    actions.push(Action::Put(vec![item]));
                }
            }
            None => actions.extend(withdraw(seen.own)),
        }
    }
}

/// What the host asks for, if it asks this machine.
fn asked(seen: &Seen<'_>) -> Result<Option<Exchange>, Illegal> {
    let Some(text) = seen.host.text(REQUEST)? else {
        return Ok(None);
    };
    let exchange = message::read_request(text)?;
    match seen.machine {
        None => Err(Illegal::MachineUnknown),
        Some(is) if is != exchange.vm => Err(Illegal::OtherMachine {
            asked: exchange.vm,
            is,
        }),
        Some(_) => Ok(Some(exchange)),
    }
}

fn open(offer: &Offer, seen: &Items) -> Result<Option<([u8; 32], Configuration)>, Illegal> {
    let of = Sealing {
        session: offer.exchange.session,
        attempt: offer.attempt,
        public: offer.keys.public(),
    };
    let Some(sealed) = chunks::join(of, seen)? else {
        return Ok(None);
    };
    let text = offer
        .keys
        .open(&sealed, &offer.exchange.associated_data())
        .map_err(|_| Illegal::Open)?;
    let configuration = Configuration::from_json(&text)?;
    Ok(Some((chunks::digest(&sealed), configuration)))
}

fn failed(illegal: &Illegal) -> Report {
    Report {
        outcome: Outcome::Error,
        stage: None,
        message: illegal.to_string(),
    }
}

/// Takes away whatever this side wrote, ever.
fn withdraw(own: &Items) -> Option<Action> {
    let there: Vec<_> = own
        .keys()
        .filter(|key| OF_GUEST.contains(key))
        .map(str::to_owned)
        .collect();
    (!there.is_empty()).then_some(Action::Remove(there))
}

/// How often a program of this guest has begun this exchange already.
fn attempts(exchange: &Exchange, own: &Items) -> u32 {
    let before: Option<Key> = own
        .text(message::KEY)
        .ok()
        .flatten()
        .and_then(|text| message::read(message::KEY, text).ok());
    match before {
        Some(key) if key.is_of(exchange) => key.attempt,
        _ => 0,
    }
}

fn reported(exchange: &Exchange, own: &Items) -> Option<Outcome> {
    let answers = message::Answers::read(exchange, own).ok()?;
    answers.report.map(|report| report.outcome)
}

/// Pieces of other exchanges, one a session.
fn foreign(host: &Items, current: Option<Session>) -> impl Iterator<Item = Illegal> {
    let asked = host
        .text(REQUEST)
        .ok()
        .flatten()
        .and_then(|text| message::read_request(text).ok())
        .map(|exchange| exchange.session);
    let mut said: BTreeSet<Session> = asked.into_iter().chain(current).collect();
    host.keys()
        .filter(|key| key.starts_with(PREFIX))
        .filter_map(|key| Some((key, chunks::session_of(key)?)))
        .filter(|(_, session)| said.insert(*session))
        .map(|(key, session)| Illegal::ForeignSession {
            key: key.to_owned(),
            session,
        })
        .collect::<Vec<_>>()
        .into_iter()
}

impl Key {
    fn is_of(&self, exchange: &Exchange) -> bool {
        let (session, nonce): (Session, Nonce) = message::Belongs::belongs(self);
        (session, nonce) == (exchange.session, exchange.nonce)
    }
}
