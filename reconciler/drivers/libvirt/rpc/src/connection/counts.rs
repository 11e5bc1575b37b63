//! How often each procedure was called.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

/// Calls made, by procedure.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CallCounts {
    counts: BTreeMap<&'static str, u64>,
}

impl CallCounts {
    /// Calls of one procedure, by its name in the protocol, such as `DOMAIN_GET_XML_DESC`.
    pub fn get(&self, procedure: &str) -> u64 {
        self.counts.get(procedure).copied().unwrap_or(0)
    }

    /// All calls.
    pub fn total(&self) -> u64 {
        self.counts.values().sum()
    }

    /// The calls made after `earlier` was taken.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        let counts = self
            .counts
            .iter()
            .map(|(name, count)| (*name, count.saturating_sub(earlier.get(name))));
        Self {
            counts: counts.filter(|(_, count)| *count > 0).collect(),
        }
    }

    /// Each procedure with its count, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, u64)> + '_ {
        self.counts.iter().map(|(name, count)| (*name, *count))
    }
}

/// The counter behind a connection.
#[derive(Debug, Default)]
pub(crate) struct CallCounter(Mutex<CallCounts>);

impl CallCounter {
    pub(crate) fn count(&self, procedure: &'static str) {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *counts.counts.entry(procedure).or_default() += 1;
    }

    pub(crate) fn snapshot(&self) -> CallCounts {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
