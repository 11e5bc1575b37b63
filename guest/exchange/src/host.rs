//! Our side of an exchange: it asks, seals once the guest has shown a key, and takes everything away at the end.

use std::collections::BTreeSet;
use std::time::Duration;

use hpke::rand_core::CryptoRng;
use zeroize::Zeroizing;

use crate::ATTEMPTS_MAX;
use crate::action::{Action, Item};
use crate::chunks::{self, Sealing};
use crate::config::{ConfigError, Configuration};
use crate::identity::{Exchange, Nonce};
use crate::illegal::Illegal;
use crate::items::Items;
use crate::message::{self, Ack, Answers, Key, Outcome, Progress, Report};
use crate::seal::{self, PublicKey};

/// How long is waited for what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Deadlines {
    /// For a key: the guest has to boot and its program to start.
    pub key: Duration,
    /// For what was sent to be taken.
    pub taken: Duration,
    /// For the guest's work to be done.
    pub done: Duration,
}

impl Default for Deadlines {
    /// 10, 2 and 30 minutes.
    fn default() -> Self {
        Self {
            key: Duration::from_mins(10),
            taken: Duration::from_mins(2),
            done: Duration::from_mins(30),
        }
    }
}

/// What is waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Waiting {
    /// For the guest to show a key.
    ForKey,
    /// For it to take what was sent.
    ForTaking,
    /// For its work to be done.
    ForWork,
}

/// How an exchange ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ended {
    /// The guest is as it was told.
    Done,
    /// It said that it is not.
    Failed(Report),
    /// It did something that is not done.
    Refused(Illegal),
    /// It did not do what was waited for; and what was refused last, if anything was.
    TimedOut(Waiting, Option<Illegal>),
}

/// Where an exchange is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Status<'a> {
    /// Something is waited for; and how far the guest says it is.
    Waiting(Waiting, Option<Progress>),
    /// It is over.
    Ended(&'a Ended),
}

/// Our side of an exchange.
pub struct Host {
    exchange: Exchange,
    /// Kept to the end: a guest that is killed and starts again gets it once more.
    text: Zeroizing<Vec<u8>>,
    deadlines: Deadlines,
    phase: Phase,
    since: Duration,
    put: BTreeSet<String>,
    progress: Option<Progress>,
    refused: Option<Illegal>,
}

enum Phase {
    Asked,
    Sealed(Sent),
    Taken(Sent),
    Over(Ended),
}

/// What was sent.
struct Sent {
    attempt: u32,
    public: PublicKey,
    sha256: Nonce,
}

impl Host {
    /// Begins an exchange. `now` is time since any moment that stays the same.
    ///
    /// # Errors
    /// If the configuration is longer than an exchange carries.
    pub fn begin(
        exchange: Exchange,
        configuration: &Configuration,
        deadlines: Deadlines,
        now: Duration,
    ) -> Result<(Self, Vec<Action>), ConfigError> {
        let mut host = Self {
            exchange,
            text: configuration.to_json()?,
            deadlines,
            phase: Phase::Asked,
            since: now,
            put: BTreeSet::new(),
            progress: None,
            refused: None,
        };
        let action = host.put(vec![message::request(&exchange)]);
        Ok((host, vec![action]))
    }

    /// Where it is.
    pub fn status(&self) -> Status<'_> {
        match &self.phase {
            Phase::Over(ended) => Status::Ended(ended),
            _ => Status::Waiting(self.waiting(), self.progress),
        }
    }

    /// Goes on, by what the guest shows now.
    #[must_use]
    pub fn step(mut self, now: Duration, seen: &Items, rng: &mut impl CryptoRng) -> (Self, Vec<Action>) {
        let mut actions = Vec::new();
        if matches!(self.phase, Phase::Over(_)) {
            return (self, actions);
        }
        match self.advance(now, seen, rng, &mut actions) {
            Ok(None) => {}
            Ok(Some(ended)) => actions.push(self.end(ended)),
            Err(illegal) => {
                actions.push(Action::Refused(illegal.clone()));
                actions.push(self.end(Ended::Refused(illegal)));
            }
        }
        (self, actions)
    }

    /// Gives up, so that nothing of ours stays behind.
    #[must_use]
    pub fn abandon(mut self) -> Vec<Action> {
        let keys: Vec<_> = std::mem::take(&mut self.put).into_iter().collect();
        vec![Action::Remove(keys)]
    }

    fn advance(
        &mut self,
        now: Duration,
        seen: &Items,
        rng: &mut impl CryptoRng,
        actions: &mut Vec<Action>,
    ) -> Result<Option<Ended>, Illegal> {
        let answers = Answers::read(&self.exchange, seen)?;
        self.refused = answers.refused.last().cloned();
        actions.extend(answers.refused.into_iter().map(Action::Refused));
        // How it ended comes first: a guest that failed early shows no key, or an old one.
        if let Some(report) = &answers.report
            && report.outcome == Outcome::Error
        {
            return Ok(Some(Ended::Failed(report.clone())));
        }
        if let Some(key) = answers.key {
            self.shown(key, now, rng, actions)?;
        }
        if let Some(ack) = answers.ack {
            self.acknowledged(&ack, now, actions)?;
        }
        self.progress = answers.progress.or(self.progress);
        if answers.report.is_some() {
            return match self.phase {
                Phase::Taken(_) => Ok(Some(Ended::Done)),
                _ => Err(Illegal::DoneTooEarly),
            };
        }
        let (waiting, limit) = (self.waiting(), self.limit());
        let late = now.saturating_sub(self.since) >= limit;
        Ok(late.then(|| Ended::TimedOut(waiting, self.refused.clone())))
    }

    /// The guest shows a key: the first, the same as before, or after a restart the next.
    fn shown(
        &mut self,
        key: Key,
        now: Duration,
        rng: &mut impl CryptoRng,
        actions: &mut Vec<Action>,
    ) -> Result<(), Illegal> {
        let before = match &self.phase {
            Phase::Sealed(sent) | Phase::Taken(sent) => Some(sent),
            Phase::Asked | Phase::Over(_) => None,
        };
        let seen = before.map_or(0, |sent| sent.attempt);
        if let Some(sent) = before.filter(|sent| sent.attempt == key.attempt) {
            return match sent.public == key.public {
                true => Ok(()),
                false => Err(Illegal::KeyChanged(key.attempt)),
            };
        }
        if key.attempt < seen.max(1) {
            return Err(Illegal::WentBack {
                from: seen,
                to: key.attempt,
            });
        }
        if key.attempt > ATTEMPTS_MAX {
            return Err(Illegal::TooManyAttempts(key.attempt));
        }
        let bound_to = self.exchange.associated_data();
        let sealed = seal::seal(&key.public, &self.text, &bound_to, rng).map_err(|_| Illegal::PublicKey)?;
        let of = Sealing {
            session: self.exchange.session,
            attempt: key.attempt,
            public: &key.public,
        };
        let (pieces, manifest) = chunks::split(of, &sealed);
        actions.extend(self.take_back());
        actions.push(self.put(pieces));
        actions.push(self.put(vec![manifest]));
        self.since = now;
        self.phase = Phase::Sealed(Sent {
            attempt: key.attempt,
            public: key.public,
            sha256: Nonce::from_bytes(chunks::digest(&sealed)),
        });
        Ok(())
    }

    fn acknowledged(&mut self, ack: &Ack, now: Duration, actions: &mut Vec<Action>) -> Result<(), Illegal> {
        match std::mem::replace(&mut self.phase, Phase::Asked) {
            Phase::Sealed(sent) if ack.attempt == sent.attempt => {
                if ack.sha256 != sent.sha256 {
                    return Err(Illegal::ForeignAck);
                }
                actions.extend(self.take_back());
                self.since = now;
                self.phase = Phase::Taken(sent);
            }
            Phase::Asked => return Err(Illegal::ForeignAck),
            // Of before a restart of the guest program, or seen already.
            other => self.phase = other,
        }
        Ok(())
    }

    fn put(&mut self, items: Vec<Item>) -> Action {
        self.put.extend(items.iter().map(|item| item.key.clone()));
        Action::Put(items)
    }

    /// Takes away the pieces, not the request.
    fn take_back(&mut self) -> Option<Action> {
        let (pieces, rest) = std::mem::take(&mut self.put)
            .into_iter()
            .partition::<BTreeSet<_>, _>(|key| key.starts_with(message::DATA));
        self.put = rest;
        (!pieces.is_empty()).then(|| Action::Remove(pieces.into_iter().collect()))
    }

    fn end(&mut self, ended: Ended) -> Action {
        self.phase = Phase::Over(ended);
        self.text = Zeroizing::default();
        Action::Remove(std::mem::take(&mut self.put).into_iter().collect())
    }

    fn waiting(&self) -> Waiting {
        match self.phase {
            Phase::Asked => Waiting::ForKey,
            Phase::Sealed(_) => Waiting::ForTaking,
            Phase::Taken(_) | Phase::Over(_) => Waiting::ForWork,
        }
    }

    fn limit(&self) -> Duration {
        match self.waiting() {
            Waiting::ForKey => self.deadlines.key,
            Waiting::ForTaking => self.deadlines.taken,
            Waiting::ForWork => self.deadlines.done,
        }
    }
}
