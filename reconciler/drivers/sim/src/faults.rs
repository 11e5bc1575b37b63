//! Faults to order: when, and what.

use std::time::Duration;

use labyard_driver::DriverError;
use labyard_driver::ids::Bytes;
use serde::{Deserialize, Serialize};

use crate::random::Chance;
use crate::request::Verb;

/// A fault to come.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fault {
    /// When.
    pub at: Trigger,
    /// What.
    pub kind: FaultKind,
}

/// Which calls a fault hits; counted from 1, from the time that the fault was ordered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Trigger {
    /// The nth call of all, once.
    Call(u64),
    /// The nth call that changes the host, once.
    Mutation(u64),
    /// The nth call of a verb, once.
    Nth(Verb, u64),
    /// Every call of a verb.
    Every(Verb),
    /// One call in so many, by chance from the host's seed.
    OneIn(u64),
    /// One mutation in so many, by chance from the host's seed.
    MutationOneIn(u64),
}

/// On which side of a call's effect a fault lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Edge {
    /// Nothing has happened.
    Before,
    /// It has happened.
    After,
}

/// What goes wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum FaultKind {
    /// The host answers with an error.
    Fail(Edge, Failure),
    /// The request never arrives; the caller sees [`DriverError::ReplyLost`].
    LoseRequest,
    /// It happens, and the caller sees [`DriverError::ReplyLost`].
    LoseReply,
    /// The request arrives twice; the answer is that to the second.
    Duplicate,
    /// No answer comes until the caller's deadline has passed.
    Hang(Edge),
    /// The caller dies: none of its calls, this one included, ever answers again.
    CrashCaller(Edge),
    /// The host's daemon restarts.
    RestartDaemon(Edge),
    /// The call takes longer.
    Delay(Duration),
    /// A network's change goes into its definition, and what runs of it stays as it was.
    Swallow,
    /// An upload breaks after so many bytes have been written.
    CutUpload(Bytes),
}

/// An error that a host answers with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Failure {
    /// [`DriverError::Refused`]
    Refused,
    /// [`DriverError::Busy`]
    Busy,
    /// [`DriverError::NoSpace`]
    NoSpace,
    /// [`DriverError::Unreachable`]
    Unreachable,
    /// [`DriverError::Unsupported`]
    Unsupported,
}

impl Failure {
    pub(crate) fn error(self, doing: &str) -> DriverError {
        let (doing, message) = (doing.to_owned(), "a fault to order".to_owned());
        match self {
            Self::Refused => DriverError::Refused { doing, message },
            Self::Busy => DriverError::Busy { doing, message },
            Self::NoSpace => DriverError::NoSpace { doing },
            Self::Unreachable => DriverError::Unreachable { message },
            Self::Unsupported => DriverError::Unsupported { what: doing, message },
        }
    }
}

impl Fault {
    /// The fault at the nth call of a verb.
    pub fn nth(verb: Verb, nth: u64, kind: FaultKind) -> Self {
        Self {
            at: Trigger::Nth(verb, nth),
            kind,
        }
    }

    /// The fault at the nth call that changes the host.
    pub fn mutation(nth: u64, kind: FaultKind) -> Self {
        Self {
            at: Trigger::Mutation(nth),
            kind,
        }
    }
}

/// The faults on order.
#[derive(Debug, Default)]
pub(crate) struct Orders(Vec<Fault>);

impl Orders {
    pub(crate) fn add(&mut self, fault: Fault) {
        self.0.push(fault);
    }

    pub(crate) fn clear(&mut self) {
        self.0.clear();
    }

    /// The fault that hits this call, if any: the first ordered wins, but all count the call.
    pub(crate) fn hit(&mut self, verb: Verb, chance: &mut Chance) -> Option<FaultKind> {
        let mut hit = None;
        self.0.retain_mut(|fault| match fault.at.meets(verb, chance) {
            Meeting::No => true,
            Meeting::Once => {
                hit.get_or_insert_with(|| fault.kind.clone());
                false
            }
            Meeting::Again => {
                hit.get_or_insert_with(|| fault.kind.clone());
                true
            }
        });
        hit
    }
}

enum Meeting {
    No,
    Once,
    Again,
}

impl Trigger {
    fn meets(&mut self, verb: Verb, chance: &mut Chance) -> Meeting {
        let one_in = |calls: u64, chance: &mut Chance| match chance.between(1, calls.max(1)) {
            1 => Meeting::Again,
            _ => Meeting::No,
        };
        let left = match self {
            Self::Call(left) => left,
            Self::Mutation(left) if verb.is_mutation() => left,
            Self::Nth(of, left) if *of == verb => left,
            Self::Every(of) if *of == verb => return Meeting::Again,
            Self::OneIn(calls) => return one_in(*calls, chance),
            Self::MutationOneIn(calls) if verb.is_mutation() => return one_in(*calls, chance),
            _ => return Meeting::No,
        };
        *left = left.saturating_sub(1);
        match *left {
            0 => Meeting::Once,
            _ => Meeting::No,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_hits_the_call_it_was_ordered_for_and_no_other() {
        let mut orders = Orders::default();
        let mut chance = Chance::new(1);
        orders.add(Fault::nth(Verb::StartMachine, 2, FaultKind::LoseReply));
        orders.add(Fault::mutation(4, FaultKind::LoseRequest));
        let calls = [
            Verb::StartMachine,
            Verb::Snapshot,
            Verb::PowerOff,
            Verb::StartMachine,
            Verb::StartMachine,
            Verb::StartMachine,
        ];
        let hits: Vec<_> = calls.map(|verb| orders.hit(verb, &mut chance)).into();
        let expected = [
            None,
            None,
            None,
            Some(FaultKind::LoseReply),
            Some(FaultKind::LoseRequest),
            None,
        ];
        assert_eq!(hits, expected);
    }
}
