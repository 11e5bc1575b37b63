//! Plan, apply, no-op plan and destroy of every subject, in turn.

use crate::figures::Figures;
use crate::subjects::{Programs, Subject, configuration};
use labyard_acceptance_tests::error::Result;
use labyard_acceptance_tests::{Host, Terraform};
use std::collections::BTreeMap;
use std::time::Duration;

/// A command of Terraform.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verb {
    /// Of what is not there yet.
    Plan,
    /// Of what is not there yet.
    Apply,
    /// Of what is there, as it should be.
    NoOp,
    /// Of all.
    Destroy,
}

impl Verb {
    /// All, in the order of a cycle.
    pub const ALL: [Self; 4] = [Self::Plan, Self::Apply, Self::NoOp, Self::Destroy];

    /// As the page calls it.
    pub fn title(self) -> &'static str {
        match self {
            Self::Plan => "plan",
            Self::Apply => "apply",
            Self::NoOp => "no-op plan",
            Self::Destroy => "destroy",
        }
    }

    fn arguments(self) -> &'static [&'static str] {
        match self {
            Self::Plan => &["plan", "-input=false", "-no-color"],
            Self::Apply => &["apply", "-input=false", "-no-color", "-auto-approve"],
            // Ends with another status where anything would change.
            Self::NoOp => &["plan", "-input=false", "-no-color", "-detailed-exitcode"],
            Self::Destroy => &["destroy", "-input=false", "-no-color", "-auto-approve"],
        }
    }

    /// Runs it; anything but success ends the whole run, since its time would mean nothing.
    pub fn run(self, terraform: &Terraform<'_>) -> Result<Duration> {
        Ok(terraform.run(self.arguments())?.expect_success().took())
    }
}

/// What was measured with so many machines.
pub struct Cycles {
    /// How many.
    pub machines: usize,
    figures: BTreeMap<(Subject, Verb), Figures>,
}

impl Cycles {
    /// The median, in seconds.
    pub fn median(&self, subject: Subject, verb: Verb) -> f64 {
        self.figures[&(subject, verb)].median()
    }
}

/// Goes through so many cycles.
pub fn measure(
    programs: &Programs,
    host: &Host,
    machines: usize,
    rounds: usize,
    noops: usize,
) -> Result<Cycles> {
    let mut directories = Vec::new();
    for subject in Subject::ALL {
        let terraform = programs.terraform(subject)?;
        terraform.write("main.tf", &configuration(subject, machines, &host.uri()))?;
        directories.push((subject, terraform));
    }
    let mut figures: BTreeMap<_, Figures> = BTreeMap::new();
    for round in 1..=rounds {
        eprintln!("{machines} machines, round {round} of {rounds}");
        for verb in Verb::ALL {
            for _ in 0..if verb == Verb::NoOp { noops } else { 1 } {
                for (subject, terraform) in &directories {
                    let took = verb.run(terraform)?;
                    figures.entry((*subject, verb)).or_default().add(took);
                }
            }
        }
    }
    Ok(Cycles { machines, figures })
}
