//! `labyard sim`: a simulated host behind a socket.

use std::error::Error;
use std::io::{self, Write as _};
use std::path::PathBuf;
use std::time::Duration;

use labyard_driver_sim::{GuestSettings, Latency, ServeOptions, Server, Settings};
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::duration;

/// What `--help` says of guests.
const GUESTS: &str = "\
A guest boots from a kernel or from a disk that was made of an image. Words on the kernel's command line \
(`boot = { kernel, cmdline }` of labyard_vm; any path will do) let it go wrong: sim.no_address, sim.no_agent, \
sim.crash, sim.ignore_shutdown, sim.hang; sim.boot_ms=N sets its time to the address.";

/// Runs in the foreground until Ctrl-C. The provider reaches it by `sim = { socket = "PATH" }` in its `hosts`.
#[derive(clap::Args)]
#[command(after_help = GUESTS)]
pub(crate) struct Options {
    /// Socket to listen on; usable by your user alone.
    #[arg(long, value_name = "PATH")]
    socket: PathBuf,
    /// File that keeps the host's state [default: the socket's name with .json added]
    #[arg(long, value_name = "FILE")]
    state: Option<PathBuf>,
    /// Time that each call takes, or a span like 1ms..20ms.
    #[arg(long, value_name = "TIME", default_value = "0ms", value_parser = duration::latency)]
    latency: Latency,
    /// Time from a guest's start to its address.
    #[arg(long, value_name = "TIME", default_value = "400ms", value_parser = duration::time)]
    boot: Duration,
    /// Seed of all chance, the host's id included; a state file keeps the one it was made with.
    #[arg(long, value_name = "N", default_value_t = 0)]
    seed: u64,
}

/// Serves until Ctrl-C or SIGTERM.
pub(crate) fn run(options: &Options) -> Result<(), Box<dyn Error>> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        // Before the socket is there, so that whoever waits for it can end us.
        let (interrupt, terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
        let server = Server::bind(ServeOptions {
            socket: options.socket.clone(),
            state: options.state.clone(),
            settings: settings(options),
        })?;
        let (socket, state) = (options.socket.display(), server.state_file().display().to_string());
        let found = server.host().look();
        let (machines, networks) = (found.machines.len(), found.networks.len());
        say(&format!(
            "labyard sim: listening on {socket}; state in {state} ({machines} machines, {networks} networks); \
             end it with Ctrl-C"
        ));
        server.run(either(interrupt, terminate)).await?;
        say(&format!("labyard sim: stopped; the state stays in {state}"));
        Ok(())
    })
}

fn settings(options: &Options) -> Settings {
    Settings {
        seed: options.seed,
        latency: options.latency,
        guest: GuestSettings {
            boot: options.boot,
            ..GuestSettings::default()
        },
        ..Settings::default()
    }
}

async fn either(mut interrupt: Signal, mut terminate: Signal) {
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
}

/// A line for people; that nobody reads it is no reason to end.
fn say(line: &str) {
    let mut out = io::stdout();
    drop(writeln!(out, "{line}").and_then(|()| out.flush()));
}
