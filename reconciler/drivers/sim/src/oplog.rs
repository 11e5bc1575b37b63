//! The record of every call that reached the host.

use labyard_driver::DriverError;
use serde::{Deserialize, Serialize};

use crate::clock::Millis;
use crate::request::Verb;

/// One call.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Operation {
    /// Counts from 1.
    pub number: u64,
    /// Which driver called.
    pub caller: u64,
    /// What.
    pub verb: Verb,
    /// On what: the id of a machine or network, the name of a volume or pool.
    pub subject: String,
    /// When, on the host's clock.
    pub at_ms: Millis,
    /// What the caller was told.
    pub outcome: Outcome,
}

/// What a caller was told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Outcome {
    /// Nothing (yet).
    Unanswered,
    /// That it was done, or what was asked.
    Answered,
    /// An error.
    Failed(String),
}

impl Outcome {
    pub(crate) fn of<T>(result: &Result<T, DriverError>) -> Self {
        match result {
            Ok(_) => Self::Answered,
            Err(error) => Self::Failed(error.to_string()),
        }
    }
}

/// All calls, in the order of their arrival.
#[derive(Debug, Default)]
pub(crate) struct Log {
    /// The number of the last call before those kept.
    cleared: u64,
    operations: Vec<Operation>,
}

impl Log {
    pub(crate) fn begin(&mut self, caller: u64, verb: Verb, subject: String, at_ms: Millis) -> u64 {
        let number = self.cleared + self.operations.len() as u64 + 1;
        self.operations.push(Operation {
            number,
            caller,
            verb,
            subject,
            at_ms,
            outcome: Outcome::Unanswered,
        });
        number
    }

    pub(crate) fn end(&mut self, number: u64, outcome: Outcome) {
        let index = number.checked_sub(self.cleared + 1);
        let operation = index.and_then(|index| self.operations.get_mut(usize::try_from(index).ok()?));
        if let Some(operation) = operation {
            operation.outcome = outcome;
        }
    }

    pub(crate) fn operations(&self) -> &[Operation] {
        &self.operations
    }

    pub(crate) fn clear(&mut self) {
        self.cleared += self.operations.len() as u64;
        self.operations.clear();
    }
}
