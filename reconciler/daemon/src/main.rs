//! The `labyard` program: one subcommand a file.

mod config;
mod drift;
mod duration;
mod failure;
mod journal;
mod keep;
mod lab;
mod open;
mod serve;
mod sign_in;
mod sim;
mod timestamp;

use std::process::ExitCode;

use clap::{CommandFactory as _, Parser, Subcommand};

/// Machines for labs, classes and test rigs, on the hypervisors people already own.
#[derive(Parser)]
#[command(name = "labyard", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Serve the HTTP API, and keep pools as they are asked to be.
    Serve(serve::Options),
    /// Redeem codes, and what was got for them.
    Claim(lab::claim::Options),
    /// Access codes.
    Code(lab::code::Options),
    /// Pools and their machines.
    Pool(lab::pool::Options),
    /// What namespaces may have, and hold of it.
    Quota(lab::quota::Options),
    /// Machines of all hosts.
    Vm(lab::vm::Options),
    /// Networks of all hosts.
    Network(lab::network::Options),
    /// Hosts: which there are, whether they answer, and what is wanted of them.
    Host(lab::host::Options),
    /// Sign in at a daemon, as it is configured, and print the token.
    Login(lab::login::Options),
    /// Captured images: disks of machines that others are made of.
    Image(lab::image::Options),
    /// What happened, and what happens.
    Events(lab::events::Options),
    /// What was asked for, how far it is, what became of it.
    Operation(lab::operation::Options),
    /// The store itself: what it holds, a backup, another key.
    Store(lab::store::Options),
    /// Who may ask the daemon for what.
    Token(lab::token::Options),
    /// The configuration of the daemon.
    Config(config::Options),
    /// Print what completes these commands in a shell.
    Completions {
        /// The shell.
        shell: clap_complete::Shell,
    },
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
    let done = |result: Result<(), Box<dyn std::error::Error>>| result.map(|()| ExitCode::SUCCESS);
    let result = match cli.command {
        Command::Claim(options) => done(lab::claim::execute(&options)),
        Command::Code(options) => done(lab::code::execute(&options)),
        Command::Pool(options) => done(lab::pool::execute(&options)),
        Command::Quota(options) => done(lab::quota::execute(&options)),
        Command::Vm(options) => done(lab::vm::execute(&options)),
        Command::Network(options) => done(lab::network::execute(&options)),
        Command::Host(options) => done(lab::host::execute(&options)),
        Command::Login(options) => done(lab::login::execute(&options)),
        Command::Image(options) => done(lab::image::execute(&options)),
        Command::Events(options) => done(lab::events::execute(&options)),
        Command::Operation(options) => done(lab::operation::execute(&options)),
        Command::Store(options) => done(lab::store::execute(&options)),
        Command::Token(options) => done(lab::token::execute(&options)),
        Command::Config(options) => done(config::execute(&options)),
        Command::Completions { shell } => {
            clap_complete::generate(shell, &mut Cli::command(), "labyard", &mut std::io::stdout());
            Ok(ExitCode::SUCCESS)
        }
        Command::Serve(options) => done(serve::run(&options)),
        Command::Drift(options) => drift::run(&options).map(|found| match found {
            drift::Found::Nothing => ExitCode::SUCCESS,
            drift::Found::Drift => ExitCode::from(2),
        }),
        Command::Sim(options) => done(sim::run(&options)),
        Command::Journal(options) => done(journal::run(&options)),
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
