//! What the library's own examples measure in a process of their own: a claim against a bare commit, and a pass over
//! many machines where nothing is to be done.

use crate::subjects::Programs;
use labyard_acceptance_tests::HarnessError;
use labyard_acceptance_tests::command::end_of;
use labyard_acceptance_tests::error::Result;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use std::process::Command;

/// Claims on one store.
#[derive(Serialize, Deserialize)]
pub struct OnStore {
    /// The store.
    pub store: String,
    /// By number of claimers.
    pub crowds: Vec<Crowd>,
}

/// So many claimers at the same moment.
#[derive(Serialize, Deserialize)]
pub struct Crowd {
    /// How many.
    pub claimers: usize,
    /// A claim of a machine that is free.
    pub claim: Percentiles,
    /// A line of the log in a durable commit of its own.
    pub commit: Percentiles,
    /// A line of the log in a commit that it shares with those who wait beside it.
    pub line: Percentiles,
}

/// Seconds.
#[derive(Serialize, Deserialize)]
pub struct Percentiles {
    /// Half take no longer.
    pub p50: f64,
    /// All but one in a hundred take no longer.
    pub p99: f64,
}

/// A pass where nothing is to be done.
#[derive(Serialize, Deserialize)]
pub struct Pass {
    /// Machines of pools.
    pub machines: usize,
    /// On so many simulated hosts.
    pub hosts: usize,
    /// Seconds of each.
    pub passes: Vec<f64>,
    /// The most memory that the process had while it made the machines, in MiB.
    pub making_mib: f64,
    /// The most memory that it had during the passes, in MiB.
    pub passes_mib: f64,
}

/// Claims, on both databases.
pub fn claims(programs: &Programs, crowds: &[usize]) -> Result<Vec<OnStore>> {
    let stores = ["sqlite", "postgres"].into_iter().map(|store| {
        eprintln!("claims on {store}");
        let crowds: Vec<_> = crowds.iter().map(usize::to_string).collect();
        Ok(OnStore {
            store: store.to_owned(),
            crowds: answer(Command::new(programs.example("claims")).arg(store).args(crowds))?,
        })
    });
    stores.collect()
}

/// A pass over so many machines on so many hosts, in the environment of the daemon's unit (`examples/daemon/labyard.service`).
pub fn pass(programs: &Programs, (machines, hosts): (usize, usize)) -> Result<Pass> {
    let sizes = [machines.to_string(), hosts.to_string()];
    answer(
        Command::new(programs.example("pass"))
            .args(sizes)
            .env("MALLOC_ARENA_MAX", "2"),
    )
}

fn answer<T: DeserializeOwned>(command: &mut Command) -> Result<T> {
    let said = end_of(command)?.successful()?.stdout;
    serde_json::from_str(&said).map_err(|error| HarnessError::Unreadable {
        what: error.to_string(),
        text: said,
    })
}
