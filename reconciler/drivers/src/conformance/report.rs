//! What became of the cases.

use std::fmt;
use std::time::Duration;

/// What became of all cases.
#[derive(Clone, Debug, Default)]
#[must_use]
pub struct Report {
    ran: Vec<Ran>,
}

/// What became of one case.
#[derive(Clone, Debug)]
pub struct Ran {
    /// Its name.
    pub name: &'static str,
    /// What became of it.
    pub outcome: Outcome,
    /// How long it took, its clean-up included.
    pub took: Duration,
}

/// What became of a case.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// As it should be.
    Passed,
    /// Not as it should be.
    Failed(String),
    /// The fixture lacks what it needs.
    Skipped(&'static str),
}

impl Report {
    pub(super) fn add(&mut self, name: &'static str, outcome: Outcome, took: Duration) {
        self.ran.push(Ran { name, outcome, took });
    }

    /// All cases that were chosen.
    pub fn ran(&self) -> &[Ran] {
        &self.ran
    }

    /// The cases that failed.
    pub fn failed(&self) -> impl Iterator<Item = &Ran> {
        self.ran
            .iter()
            .filter(|ran| matches!(ran.outcome, Outcome::Failed(_)))
    }

    /// The cases that were skipped.
    pub fn skipped(&self) -> impl Iterator<Item = &Ran> {
        self.ran
            .iter()
            .filter(|ran| matches!(ran.outcome, Outcome::Skipped(_)))
    }

    /// Fails the test that ran the suite, unless some case ran and none failed.
    ///
    /// # Panics
    /// With the report, where one failed or none ran.
    #[track_caller]
    pub fn assert_passed(&self) {
        let passed = self.ran.iter().any(|ran| ran.outcome == Outcome::Passed);
        assert!(passed && self.failed().next().is_none(), "{self}");
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for Ran { name, outcome, took } in &self.ran {
            let millis = took.as_millis();
            match outcome {
                Outcome::Passed => writeln!(f, "ok      {name} ({millis} ms)")?,
                Outcome::Skipped(why) => writeln!(f, "skipped {name}: {why}")?,
                Outcome::Failed(why) => writeln!(f, "FAILED  {name} ({millis} ms): {why}")?,
            }
        }
        let (failed, skipped) = (self.failed().count(), self.skipped().count());
        let passed = self.ran.len() - failed - skipped;
        write!(f, "{passed} passed, {failed} failed, {skipped} skipped")
    }
}
