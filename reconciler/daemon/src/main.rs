//! The `labyard` program: one subcommand a file.

mod drift;
mod duration;
mod journal;
mod sim;
mod timestamp;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Machines for labs, classes and test rigs, on the hypervisors people already own.
#[derive(Parser)]
#[command(name = "labyard", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Report what a Terraform plan found to differ.
    Drift(drift::Options),
    /// Run a simulated host, for trying labyard without a hypervisor.
    Sim(sim::Options),
    /// Show what the stages of machines did, waited for and took.
    Journal(journal::Options),
}

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return complain_of_usage(&error),
    };
    let result = match cli.command {
        Command::Drift(options) => drift::run(&options).map(|found| match found {
            drift::Found::Nothing => ExitCode::SUCCESS,
            drift::Found::Drift => ExitCode::from(2),
        }),
        Command::Sim(options) => sim::run(&options).map(|()| ExitCode::SUCCESS),
        Command::Journal(options) => journal::run(&options).map(|()| ExitCode::SUCCESS),
    };
    match result {
        Ok(code) => code,
        Err(error) => {
            eprintln!("labyard: {}", with_causes(&*error));
            ExitCode::FAILURE
        }
    }
}

/// Exit code 2 says that something differs, so that bad usage is 1 like every other error.
fn complain_of_usage(error: &clap::Error) -> ExitCode {
    // Where nobody reads it there is nobody to tell.
    drop(error.print());
    match error.use_stderr() {
        true => ExitCode::FAILURE,
        false => ExitCode::SUCCESS,
    }
}

/// An error and all that led to it, in one line.
fn with_causes(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}
