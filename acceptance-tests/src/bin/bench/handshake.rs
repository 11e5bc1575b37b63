//! From the start of a provider's process to its first line, as Terraform waits for it.

use crate::figures::Figures;
use crate::subjects::{Programs, Subject};
use labyard_acceptance_tests::HarnessError;
use labyard_acceptance_tests::error::Result;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// A client's certificate of the kind that Terraform makes for each process (ECDSA on P-521). Nobody holds its key:
/// the handshake ends before anybody connects.
const CLIENT_CERTIFICATE: &str = include_str!("client.pem");
const COOKIE: (&str, &str) = (
    "TF_PLUGIN_MAGIC_COOKIE",
    "d602bf8f470bc67ca7faa0386276bbdd4330efaf76d1a219cb4d6991ca9872b2",
);

/// What was measured, by program.
#[derive(Serialize, Deserialize)]
pub struct Handshakes(BTreeMap<Subject, Figures>);

impl Handshakes {
    /// The median, in seconds.
    pub fn median(&self, subject: Subject) -> f64 {
        self.0[&subject].median()
    }
}

/// Starts each program so many times, in turn.
pub fn measure(programs: &Programs, times: usize) -> Result<Handshakes> {
    let mut figures = BTreeMap::new();
    for round in 0..=times {
        for subject in [Subject::Hello, Subject::InMemory, Subject::Labyard] {
            let took = once(&programs.of(subject))?;
            // The first of each reads the program from the disk.
            if round > 0 {
                figures.entry(subject).or_insert_with(Figures::default).add(took);
            }
        }
    }
    Ok(Handshakes(figures))
}

fn once(program: &Path) -> Result<Duration> {
    let mut command = Command::new(program);
    command
        .env(COOKIE.0, COOKIE.1)
        .env("PLUGIN_PROTOCOL_VERSIONS", "6")
        .env("PLUGIN_CLIENT_CERT", CLIENT_CERTIFICATE)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null());
    let failed = |source| HarnessError::NotStarted {
        command: program.display().to_string(),
        source,
    };
    let begun = Instant::now();
    let mut child = command.spawn().map_err(failed)?;
    let mut line = String::new();
    let read = child
        .stdout
        .take()
        .map(|stdout| BufReader::new(stdout).read_line(&mut line));
    let took = begun.elapsed();
    // It is one of ours and has nothing to lose.
    child.kill().and_then(|()| child.wait()).map_err(failed)?;
    if let Some(Err(source)) = read {
        return Err(failed(source));
    }
    if line.starts_with("1|6|")
        && line
            .split('|')
            .nth(5)
            .is_some_and(|certificate| certificate.len() > 100)
    {
        return Ok(took);
    }
    Err(HarnessError::Unreadable {
        what: program.display().to_string(),
        text: line,
    })
}
