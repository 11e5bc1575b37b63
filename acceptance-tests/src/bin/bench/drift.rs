//! Drift detection on a fleet: a plan with access that only reads, as JSON, and the report of `labyard drift`.

use crate::figures::Figures;
use crate::subjects::{Programs, Subject, configuration, fleet, provider, provider_with};
use labyard_acceptance_tests::command::end_of;
use labyard_acceptance_tests::error::Result;
use labyard_acceptance_tests::{HarnessError, Host, Terraform};
use serde::{Deserialize, Serialize};
use std::process::Command;
use std::time::Duration;

/// One in so many machines is changed by hand.
const ONE_IN: usize = 10;
const PLAN: [&str; 5] = [
    "plan",
    "-input=false",
    "-no-color",
    "-lock=false",
    "-out=plan.bin",
];

/// What was measured.
#[derive(Default, Serialize, Deserialize)]
pub struct Drifts {
    /// Machines.
    pub machines: usize,
    /// Of them changed by hand.
    pub changed: usize,
    /// As many `terraform_data`: what Terraform takes for itself.
    pub floor: Steps,
    /// Nothing has changed.
    pub quiet: Steps,
    /// Some have.
    pub drifted: Steps,
}

/// The commands of a CI job.
#[derive(Default, Serialize, Deserialize)]
pub struct Steps {
    /// `terraform plan -out`.
    pub plan: Figures,
    /// `terraform show -json`.
    pub show: Figures,
    /// `labyard drift`, all formats.
    pub report: Figures,
}

impl Steps {
    /// One run of all that this subject has.
    fn run(&mut self, terraform: &Terraform<'_>, programs: &Programs, expected: i32) -> Result<()> {
        self.plan.add(terraform.run(&PLAN)?.expect_success().took());
        let shown = end_of(terraform.command().args(["show", "-json", "plan.bin"]))?.successful()?;
        self.show.add(shown.took);
        terraform.write("plan.json", &shown.stdout)?;
        self.report.add(report(terraform, programs, expected)?);
        Ok(())
    }

    /// All of it, in seconds.
    pub fn all(&self) -> f64 {
        self.plan.median() + self.show.median() + self.report.median()
    }
}

/// Looks for drift in so many machines, so often, before and after some were changed.
pub fn measure(programs: &Programs, (machines, rounds): (usize, usize)) -> Result<Drifts> {
    let host = Host::start()?;
    let floor = programs.terraform(Subject::TerraformData)?;
    floor.write("main.tf", &configuration(Subject::TerraformData, machines, ""))?;
    let labyard = programs.terraform(Subject::Labyard)?;
    labyard.write("main.tf", &(provider(&host.uri()) + &fleet(machines)))?;
    for terraform in [&floor, &labyard] {
        terraform.apply(&[])?.expect_success();
    }
    let reader = provider_with("  read_only = true\n", &host.read_only_uri());
    labyard.write("main.tf", &(reader + &fleet(machines)))?;
    let mut drifts = Drifts {
        machines,
        changed: machines.div_ceil(ONE_IN),
        ..Drifts::default()
    };
    for round in 1..=rounds {
        eprintln!("drift of {machines} machines, round {round} of {rounds}");
        drifts.floor.run(&floor, programs, 0)?;
        drifts.quiet.run(&labyard, programs, 0)?;
    }
    for machine in (0..machines).step_by(ONE_IN) {
        let name = format!("m-{machine}");
        host.virsh(&["setmaxmem", &name, "160M", "--config"])?;
        host.virsh(&["setmem", &name, "160M", "--config"])?;
    }
    for round in 1..=rounds {
        eprintln!("drift of {machines} machines, changed, round {round} of {rounds}");
        drifts.floor.run(&floor, programs, 0)?;
        drifts.drifted.run(&labyard, programs, 2)?;
    }
    labyard.write("main.tf", &(provider(&host.uri()) + &fleet(machines)))?;
    labyard.destroy(&[])?.expect_success();
    Ok(drifts)
}

/// Every format at once, as the workflow files ask for them.
fn report(terraform: &Terraform<'_>, programs: &Programs, expected: i32) -> Result<Duration> {
    let mut command = Command::new(programs.labyard());
    command.args(["drift", "plan.json", "--markdown", "d.md"]);
    command.args(["--junit", "d.xml", "--sarif", "d.sarif"]);
    command.current_dir(terraform.directory());
    let ended = end_of(&mut command)?;
    if ended.status.code() == Some(expected) {
        return Ok(ended.took);
    }
    Err(HarnessError::Failed {
        command: ended.command,
        status: ended.status,
        output: ended.stdout + &ended.stderr,
    })
}
