//! Programs are run: with their input, within a time, and with what they said where they fail.

use std::io::{self, Read, Write};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use labyard_exchange::Secret;

/// How much of what a program says is kept.
const KEPT: usize = 16 * 1024;
/// More than the longest secret: what is left where a text was cut could else end with a part of one.
const BRINK: usize = 1024;

/// Why a program did not do what it was run for.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ProgramFailed {
    /// It is not there.
    #[error("{0} is not installed")]
    Missing(String),
    /// It cannot be run.
    #[error("{name} cannot be run: {error}")]
    Start {
        /// Its name.
        name: String,
        /// Why.
        error: io::Error,
    },
    /// It failed.
    #[error("{name} failed ({status}): {said}")]
    Failed {
        /// Its name.
        name: String,
        /// How it ended.
        status: ExitStatus,
        /// What it said: as it said it, so that secrets can be taken out before it is cut.
        said: String,
    },
    /// It did not end.
    #[error("{name} did not end within {} seconds", limit.as_secs())]
    Hung {
        /// Its name.
        name: String,
        /// How long was waited.
        limit: Duration,
    },
}

/// Runs a program, and gives back what it wrote to its output.
pub(crate) fn perform(
    name: &str,
    mut command: Command,
    input: Option<&Secret>,
    limit: Duration,
) -> Result<String, ProgramFailed> {
    let failed = |error: io::Error| match error.kind() {
        io::ErrorKind::NotFound => ProgramFailed::Missing(name.to_owned()),
        _ => ProgramFailed::Start {
            name: name.to_owned(),
            error,
        },
    };
    command
        .stdin(if input.is_some() {
            Stdio::piped()
        } else {
            Stdio::null()
        })
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = command.spawn().map_err(failed)?;
    let output = child.stdout.take().map(keep);
    let errors = child.stderr.take().map(keep);
    if let (Some(mut to), Some(input)) = (child.stdin.take(), input) {
        // Inputs are a few hundred bytes: less than a pipe holds. A program that ended already says why by itself.
        let _ = to.write_all(input.reveal().as_bytes());
    }
    let status = wait(&mut child, limit).map_err(failed)?;
    let Some(status) = status else {
        return Err(ProgramFailed::Hung {
            name: name.to_owned(),
            limit,
        });
    };
    let output = said(output);
    match status.success() {
        true => Ok(output),
        false => {
            let mut said = said(errors);
            if said.trim().is_empty() {
                said = output;
            }
            Err(ProgramFailed::Failed {
                name: name.to_owned(),
                status,
                said: said.trim().to_owned(),
            })
        }
    }
}

/// Waits; ends a program that takes too long.
fn wait(child: &mut Child, limit: Duration) -> io::Result<Option<ExitStatus>> {
    let began = Instant::now();
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status));
        }
        if began.elapsed() >= limit {
            child.kill()?;
            child.wait()?;
            return Ok(None);
        }
        thread::sleep(Duration::from_millis(5));
    }
}

/// Reads all, so that the program can go on, and keeps the begin.
fn keep(mut from: impl Read + Send + 'static) -> JoinHandle<Vec<u8>> {
    thread::spawn(move || {
        let mut kept = Vec::new();
        let _ = from.by_ref().take(KEPT as u64).read_to_end(&mut kept);
        if io::copy(&mut from, &mut io::sink()).is_ok_and(|more| more > 0) {
            kept.truncate(KEPT - BRINK);
        }
        kept
    })
}

fn said(reader: Option<JoinHandle<Vec<u8>>>) -> String {
    let bytes = reader.and_then(|reader| reader.join().ok()).unwrap_or_default();
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    const LONG: Duration = Duration::from_secs(20);

    fn shell(script: &str) -> Command {
        let mut command = Command::new("/bin/sh");
        command.args(["-c", script]);
        command
    }

    #[test]
    fn a_program_gets_its_input_and_its_output_comes_back() {
        let input = Secret::new("a secret");
        let output = perform("cat", shell("cat"), Some(&input), LONG).unwrap();
        assert_eq!(output, "a secret");
        assert_eq!(perform("cat", shell("cat"), None, LONG).unwrap(), "");
    }

    #[test]
    fn a_program_that_fails_says_why() {
        let failed = perform("it", shell("echo out; echo reason >&2; exit 3"), None, LONG).unwrap_err();
        assert!(failed.to_string().contains("reason"), "{failed}");
        assert!(failed.to_string().contains('3'), "{failed}");
        let missing = perform("it", Command::new("/nonexistent/it"), None, LONG).unwrap_err();
        assert_eq!(missing.to_string(), "it is not installed");
    }

    #[test]
    fn a_program_that_says_very_much_does_not_hang() {
        let much = "head -c 3000000 /dev/zero; head -c 3000000 /dev/zero >&2";
        assert_eq!(
            perform("it", shell(much), None, LONG).unwrap().len(),
            KEPT - BRINK
        );
    }

    #[test]
    fn a_program_that_does_not_end_is_ended() {
        let limit = Duration::from_millis(200);
        let began = Instant::now();
        let mut sleeping = Command::new("sleep");
        sleeping.arg("60");
        let hung = perform("sleep", sleeping, None, limit).unwrap_err();
        assert!(matches!(hung, ProgramFailed::Hung { .. }), "{hung}");
        assert!(began.elapsed() < Duration::from_secs(10));
    }
}
