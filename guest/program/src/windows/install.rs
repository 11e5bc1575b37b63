//! The program and what starts it at boot, put into the system: a scheduled task that runs as the system itself.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use super::doing::system;
use crate::perform::{ProgramFailed, perform};
use crate::run::say;

const LIMIT: Duration = Duration::from_secs(60);
const TASK: &str = "labyard-guest";

/// A task without a limit of time: one that the command line alone makes is ended after three days.
const DESCRIPTION: &str = r#"<?xml version="1.0" encoding="UTF-16"?>
<Task version="1.2" xmlns="http://schemas.microsoft.com/windows/2004/02/mit/task">
  <Triggers><BootTrigger><Enabled>true</Enabled></BootTrigger></Triggers>
  <Principals><Principal id="Author"><UserId>S-1-5-18</UserId><RunLevel>HighestAvailable</RunLevel></Principal></Principals>
  <Settings>
    <MultipleInstancesPolicy>IgnoreNew</MultipleInstancesPolicy>
    <DisallowStartIfOnBatteries>false</DisallowStartIfOnBatteries>
    <StopIfGoingOnBatteries>false</StopIfGoingOnBatteries>
    <ExecutionTimeLimit>PT0S</ExecutionTimeLimit>
    <RestartOnFailure><Interval>PT1M</Interval><Count>999</Count></RestartOnFailure>
  </Settings>
  <Actions Context="Author"><Exec><Command>PROGRAM</Command><Arguments>run</Arguments></Exec></Actions>
</Task>
"#;

/// Why it cannot be put there.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NotInstalled {
    /// A file.
    #[error("{path}: {error}")]
    File {
        /// Which.
        path: String,
        /// How.
        error: io::Error,
    },
    /// A program.
    #[error(transparent)]
    Program(#[from] ProgramFailed),
}

/// Puts it there.
pub(crate) fn install(now: bool) -> Result<(), NotInstalled> {
    let programs =
        std::env::var_os("ProgramFiles").map_or_else(|| PathBuf::from("C:\\Program Files"), PathBuf::from);
    let folder = programs.join("labyard");
    let program = folder.join("labyard-guest.exe");
    let failed = |path: &Path| {
        let path = path.display().to_string();
        move |error| NotInstalled::File { path, error }
    };
    fs::create_dir_all(&folder).map_err(failed(&folder))?;
    let itself = std::env::current_exe().map_err(failed(&program))?;
    if itself != program {
        fs::copy(&itself, &program).map_err(failed(&program))?;
    }
    let description = folder.join("task.xml");
    let escaped = program.display().to_string().replace('&', "&amp;");
    let text = DESCRIPTION.replace("PROGRAM", &escaped);
    let bytes: Vec<u8> = std::iter::once(0xfeff)
        .chain(text.encode_utf16())
        .flat_map(u16::to_le_bytes)
        .collect();
    fs::write(&description, bytes).map_err(failed(&description))?;
    let mut create = Command::new(system("schtasks.exe"));
    create
        .args(["/Create", "/F", "/TN", TASK, "/XML"])
        .arg(&description);
    perform("schtasks.exe", create, None, LIMIT)?;
    say(&format!(
        "{} is there, and is started at each boot",
        program.display()
    ));
    if now {
        let mut run = Command::new(system("schtasks.exe"));
        run.args(["/Run", "/TN", TASK]);
        perform("schtasks.exe", run, None, LIMIT)?;
    }
    Ok(())
}
