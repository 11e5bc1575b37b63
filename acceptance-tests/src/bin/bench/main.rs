//! Measures the provider against what it stands on, in one run, and writes what it found as a page.
//!
//! - [`subjects`]: what is compared, each as a working directory of Terraform.
//! - [`cycles`]: plan, apply, no-op plan and destroy of all of them in turn, so that a machine that is busy for a
//!   while is so for everybody.
//! - [`handshake`], [`calls`], [`boot`], [`schema`]: the rest of what is measured.
//! - [`report`]: the page. [`figures`], [`machine`]: medians, and what they were taken on.

#![expect(
    unreachable_pub,
    reason = "in a program `pub` marks what a module offers to the others"
)]

mod boot;
mod calls;
mod cycles;
mod figures;
mod handshake;
mod machine;
mod report;
mod schema;
mod subjects;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use labyard_acceptance_tests::{HarnessError, Host};
use subjects::Programs;

/// How much is measured.
pub struct Extent {
    /// Processes started for the handshake, of each program.
    pub handshakes: usize,
    /// Machines, and how often their whole cycle is gone through.
    pub sizes: Vec<(usize, usize)>,
    /// No-op plans in each cycle.
    pub noops: usize,
    /// Guests started, on each network in each way.
    pub boots: usize,
}

impl Extent {
    fn whole() -> Self {
        Self {
            handshakes: 41,
            sizes: vec![(1, 7), (50, 3), (200, 3)],
            noops: 3,
            boots: 3,
        }
    }

    /// To see that the tool works; its medians are worth nothing.
    fn quick() -> Self {
        Self {
            handshakes: 5,
            sizes: vec![(1, 1), (5, 1)],
            noops: 1,
            boots: 1,
        }
    }
}

/// All that was measured.
pub struct Results {
    /// Process start to first line.
    pub handshakes: handshake::Handshakes,
    /// Terraform's commands, by number of machines.
    pub cycles: Vec<cycles::Cycles>,
    /// Calls to libvirt.
    pub calls: Vec<calls::Counted>,
    /// Guests that came up.
    pub boots: boot::Boots,
    /// What Terraform reads first.
    pub schemas: schema::Schemas,
}

fn main() -> ExitCode {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    let (extent, programs, page) = match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [programs, page] => (Extent::whole(), programs, page),
        ["--quick", programs, page] => (Extent::quick(), programs, page),
        _ => {
            eprintln!("usage: bench [--quick] DIRECTORY-OF-PROGRAMS PAGE");
            return ExitCode::from(64);
        }
    };
    match run(&extent, Path::new(programs), &PathBuf::from(page)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(extent: &Extent, programs: &Path, page: &Path) -> Result<(), HarnessError> {
    let programs = Programs::in_directory(programs);
    eprintln!("handshake");
    let handshakes = handshake::measure(&programs, extent.handshakes)?;
    let schemas = schema::measure(&programs)?;
    let host = Host::start()?;
    let sizes: Vec<_> = extent.sizes.iter().map(|(size, _)| *size).collect();
    let calls = calls::measure(&programs, &host, &sizes[..2])?;
    let cycles = extent
        .sizes
        .iter()
        .map(|(size, rounds)| cycles::measure(&programs, &host, *size, *rounds, extent.noops))
        .collect::<Result<_, _>>()?;
    let boots = boot::measure(&programs, &host, extent.boots)?;
    let results = Results {
        handshakes,
        cycles,
        calls,
        boots,
        schemas,
    };
    let text = report::page(&machine::describe(&host)?, &results);
    std::fs::write(page, text).map_err(|source| HarnessError::File {
        what: format!("write {}", page.display()),
        source,
    })?;
    eprintln!("written to {}", page.display());
    Ok(())
}
