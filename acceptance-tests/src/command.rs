//! Runs programs and keeps what they said.

use crate::error::{HarnessError, Result};
use std::fs::File;
use std::process::{Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

/// A program that has ended.
#[derive(Debug, Clone)]
pub struct Ended {
    /// Program and arguments.
    pub command: String,
    /// How it ended.
    pub status: ExitStatus,
    /// Its standard output.
    pub stdout: String,
    /// Its standard error.
    pub stderr: String,
    /// How long it ran.
    pub took: Duration,
}

impl Ended {
    /// Itself if it ended well, else an error with all it said.
    pub fn successful(self) -> Result<Self> {
        if self.status.success() {
            Ok(self)
        } else {
            Err(self.into_error())
        }
    }

    fn into_error(self) -> HarnessError {
        let output = format!("{}{}", self.stdout, self.stderr);
        HarnessError::Failed {
            command: self.command,
            status: self.status,
            output,
        }
    }
}

/// Runs a program to its end, whatever that is.
pub fn end_of(command: &mut Command) -> Result<Ended> {
    end_of_fed(command, Stdio::null())
}

fn end_of_fed(command: &mut Command, input: Stdio) -> Result<Ended> {
    let name = shown(command);
    let begun = Instant::now();
    let output = command
        .stdin(input)
        .output()
        .map_err(|source| HarnessError::NotStarted {
            command: name.clone(),
            source,
        })?;
    Ok(Ended {
        command: name,
        status: output.status,
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        took: begun.elapsed(),
    })
}

/// Runs a program that has to succeed, and hands back its standard output.
pub fn output_of(command: &mut Command) -> Result<String> {
    Ok(end_of(command)?.successful()?.stdout)
}

/// The same for one that reads a file.
pub fn output_of_fed(command: &mut Command, input: File) -> Result<String> {
    Ok(end_of_fed(command, input.into())?.successful()?.stdout)
}

/// Program and arguments as one line.
pub fn shown(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words
        .map(|word| word.to_string_lossy())
        .collect::<Vec<_>>()
        .join(" ")
}
