//! Plan, apply, no-op plan and destroy of every subject, in turn.

use crate::figures::Figures;
use crate::memory::{Peak, Watch};
use crate::subjects::{Programs, Subject, configuration};
use labyard_acceptance_tests::error::Result;
use labyard_acceptance_tests::{Host, Terraform};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::time::Duration;

/// A command of Terraform.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
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
        Ok(self.watched(terraform)?.0)
    }

    /// The same, with what was taken of memory.
    pub fn watched(self, terraform: &Terraform<'_>) -> Result<(Duration, Peak)> {
        let running = terraform.start(self.arguments())?;
        let watch = Watch::of(running.process());
        let took = running.end()?.expect_success().took();
        Ok((took, watch.end()))
    }
}

/// What was measured with so many machines.
#[derive(Serialize, Deserialize)]
pub struct Cycles {
    /// How many.
    pub machines: usize,
    of: BTreeMap<Subject, BTreeMap<Verb, Measured>>,
}

/// What was measured of one command of one subject.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Measured {
    seconds: Figures,
    terraform_kib: Figures,
    provider_kib: Figures,
}

impl Cycles {
    fn measured(&self, subject: Subject, verb: Verb) -> Option<&Measured> {
        self.of.get(&subject)?.get(&verb)
    }

    /// The median, in seconds; not a number of what was not measured.
    pub fn median(&self, subject: Subject, verb: Verb) -> f64 {
        let measured = self.measured(subject, verb);
        measured.map_or(f64::NAN, |measured| measured.seconds.median())
    }

    /// Terraform's memory at its most, in MiB.
    pub fn terraform_mib(&self, subject: Subject, verb: Verb) -> f64 {
        let measured = self.measured(subject, verb);
        measured.map_or(f64::NAN, |measured| measured.terraform_kib.median() / 1024.0)
    }

    /// The provider's.
    pub fn provider_mib(&self, subject: Subject, verb: Verb) -> f64 {
        let measured = self.measured(subject, verb);
        measured.map_or(f64::NAN, |measured| measured.provider_kib.median() / 1024.0)
    }
}

/// How much of it is measured.
#[derive(Clone, Copy)]
pub struct Rounds {
    /// How many machines.
    pub machines: usize,
    /// Whole cycles.
    pub rounds: usize,
    /// No-op plans in each cycle.
    pub noops: usize,
}

/// Goes through so many cycles.
pub fn measure(programs: &Programs, host: &Host, subjects: &[Subject], extent: Rounds) -> Result<Cycles> {
    let Rounds {
        machines,
        rounds,
        noops,
    } = extent;
    let mut directories = Vec::new();
    for subject in subjects {
        let terraform = programs.terraform(*subject)?;
        terraform.write("main.tf", &configuration(*subject, machines, &host.uri()))?;
        directories.push((*subject, terraform));
    }
    let mut of: BTreeMap<Subject, BTreeMap<Verb, Measured>> = BTreeMap::new();
    for round in 1..=rounds {
        eprintln!("{machines} machines, round {round} of {rounds}");
        for verb in Verb::ALL {
            for _ in 0..if verb == Verb::NoOp { noops } else { 1 } {
                for (subject, terraform) in &directories {
                    let (took, peak) = verb.watched(terraform)?;
                    let measured = of.entry(*subject).or_default().entry(verb).or_default();
                    measured.seconds.add(took);
                    measured.terraform_kib.add_number(peak.terraform as f64);
                    measured.provider_kib.add_number(peak.provider as f64);
                }
            }
        }
    }
    Ok(Cycles { machines, of })
}
