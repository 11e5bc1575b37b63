//! `labyard-guest`: configures the guest it runs in, as it is told through Hyper-V's key-value pairs (KVP).
//!
//! | file | what |
//! |---|---|
//! | `run` | the loop: looks, steps, writes, applies |
//! | `pairs/` | the pairs: pool files on Linux, the registry on Windows |
//! | `ledger` | which exchanges are over, over restarts |
//! | `perform` | programs are run: with their input, within a time |
//! | `linux/` | facts of a system, plans (pure), and their execution |
//! | `windows/` | the same for Windows: constant scripts that read their values as JSON from their input |
//! | `redact` | messages without secrets |
//!
//! Secrets go to programs by their input alone; no argument, no file of ours and no message holds one.

mod ledger;
#[cfg(unix)]
mod linux;
mod pairs;
mod perform;
mod redact;
mod run;
#[cfg(any(windows, test))]
mod windows;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Configures the guest it runs in, as it is told through Hyper-V's key-value pairs.
#[derive(Parser)]
#[command(name = "labyard-guest", version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Wait for a request, do what it says, tell how it went.
    Run(Run),
    /// Put this program and what starts it at boot into the system.
    Install(Install),
}

#[derive(clap::Args)]
struct Run {
    /// End after one exchange: with 0 if the guest is as it was told, with 1 if it is not.
    #[arg(long)]
    once: bool,
    /// Apply to the tree below this directory instead of the running system; programs are run by chroot in it.
    #[cfg(unix)]
    #[arg(long, default_value = "/")]
    root: PathBuf,
    /// Directory of the pool files [default: /var/lib/hyperv].
    #[cfg(unix)]
    #[arg(long)]
    pools: Option<PathBuf>,
    /// Where to remember which exchanges are over.
    #[arg(long)]
    ledger: Option<PathBuf>,
}

#[derive(clap::Args)]
struct Install {
    /// Into the tree below this directory: an image, say.
    #[cfg(unix)]
    #[arg(long, default_value = "/")]
    root: PathBuf,
    /// Start it now too.
    #[arg(long)]
    now: bool,
}

fn main() -> ExitCode {
    let outcome = match Arguments::parse().command {
        Command::Run(arguments) => start(arguments),
        Command::Install(arguments) => install(&arguments),
    };
    match outcome {
        Ok(code) => code,
        Err(error) => {
            run::say(&error);
            ExitCode::FAILURE
        }
    }
}

#[cfg(unix)]
fn start(arguments: Run) -> Result<ExitCode, String> {
    let files = arguments
        .root
        .join(labyard_exchange::pool::DIRECTORY.trim_start_matches('/'));
    let pools = arguments.pools.unwrap_or(files);
    let ledger = arguments
        .ledger
        .unwrap_or_else(|| arguments.root.join("var/lib/labyard-guest/over"));
    let mut pairs = pairs::PoolFiles::new(pools);
    let mut system = linux::Linux::new(arguments.root);
    let ledger = ledger::Ledger::open(ledger).map_err(|error| error.to_string())?;
    run::run(&mut pairs, &mut system, ledger, until(arguments.once))
}

#[cfg(windows)]
fn start(arguments: Run) -> Result<ExitCode, String> {
    let data =
        std::env::var_os("ProgramData").map_or_else(|| PathBuf::from("C:\\ProgramData"), PathBuf::from);
    let ledger = arguments
        .ledger
        .unwrap_or_else(|| data.join("labyard-guest").join("over"));
    let mut pairs = pairs::Registry::open().map_err(|error| error.to_string())?;
    let mut system = windows::Windows::default();
    let ledger = ledger::Ledger::open(ledger).map_err(|error| error.to_string())?;
    run::run(&mut pairs, &mut system, ledger, until(arguments.once))
}

fn until(once: bool) -> run::Until {
    match once {
        true => run::Until::OneIsOver,
        false => run::Until::Killed,
    }
}

#[cfg(unix)]
fn install(arguments: &Install) -> Result<ExitCode, String> {
    linux::install(&arguments.root, arguments.now).map_err(|error| error.to_string())?;
    Ok(ExitCode::SUCCESS)
}

#[cfg(windows)]
fn install(arguments: &Install) -> Result<ExitCode, String> {
    windows::install(arguments.now).map_err(|error| error.to_string())?;
    Ok(ExitCode::SUCCESS)
}
