//! Measures the provider against what it stands on, and writes what it found as a page.
//!
//! - [`parts`]: what is measured, part by part; each part's figures are of one run of it, and kept for the page.
//! - [`subjects`]: what is compared, each as a working directory of Terraform.
//! - [`cycles`]: plan, apply, no-op plan and destroy of all of them in turn, so that a machine that is busy for a
//!   while is so for everybody; [`memory`] watches what the processes take meanwhile.
//! - [`handshake`], [`schema`], [`calls`], [`link`], [`drift`], [`boot`], [`recycle`], [`events`], [`examples`]: the rest of what is measured.
//! - [`report`]: the page. [`figures`], [`machine`]: medians and lines, and what they were taken on.

#![expect(
    unreachable_pub,
    reason = "in a program `pub` marks what a module offers to the others"
)]

mod boot;
mod calls;
mod cycles;
mod drift;
mod events;
mod examples;
mod figures;
mod handshake;
mod link;
mod machine;
mod memory;
mod parts;
mod recycle;
mod report;
mod schema;
mod subjects;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use labyard_acceptance_tests::{HarnessError, Host};
use parts::{Extent, Part, Results};
use subjects::Programs;

const USAGE: &str = "usage: bench [--quick] [--part PART]... PROGRAMS KEPT PAGE";

/// What is asked for.
struct Asked {
    extent: Extent,
    parts: Vec<Part>,
    programs: Programs,
    /// Where the figures of each part are kept.
    kept: PathBuf,
    page: PathBuf,
}

fn asked(arguments: &[String]) -> Option<Asked> {
    let (mut extent, mut parts, mut rest) = (Extent::whole(), Vec::new(), Vec::new());
    let mut words = arguments.iter().map(String::as_str);
    while let Some(word) = words.next() {
        match word {
            "--quick" => extent = Extent::quick(),
            "--part" => parts.push(Part::parse(words.next()?)?),
            word => rest.push(word),
        }
    }
    let [programs, kept, page] = rest[..] else {
        return None;
    };
    if parts.is_empty() {
        parts = Part::ALL.to_vec();
    }
    Some(Asked {
        extent,
        parts,
        programs: Programs::in_directory(Path::new(programs)),
        kept: kept.into(),
        page: page.into(),
    })
}

fn main() -> ExitCode {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    let Some(asked) = asked(&arguments) else {
        eprintln!("{USAGE}");
        return ExitCode::from(64);
    };
    match run(&asked) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(asked: &Asked) -> Result<(), HarnessError> {
    let mut results = Results::kept(&asked.kept);
    for part in Part::ALL.into_iter().filter(|part| asked.parts.contains(part)) {
        let begun = std::time::Instant::now();
        parts::measure(part, &asked.programs, &asked.extent, &mut results)?;
        results.keep(&asked.kept)?;
        eprintln!("part {}: {:.0} s", part.name(), begun.elapsed().as_secs_f64());
    }
    let text = report::page(&machine::describe(&Host::start()?)?, &results);
    std::fs::write(&asked.page, text)
        .map_err(HarnessError::file(format!("write {}", asked.page.display())))?;
    eprintln!("written to {}", asked.page.display());
    Ok(())
}
