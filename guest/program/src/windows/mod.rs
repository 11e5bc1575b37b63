//! Windows: what is to be done (`plan`, pure) and the doing, by scripts of `PowerShell`.
//!
//! The scripts are constants: no value is ever pasted into one. Each reads what it wants as JSON from its input, where
//! secrets are in nobody's sight, and where no name or password can become code.
//!
//! Written after Microsoft's documents; not run on Windows.

#[cfg(windows)]
mod install;
mod plan;

#[cfg(windows)]
pub(crate) use doing::Windows;
#[cfg(windows)]
pub(crate) use install::install;

#[cfg(windows)]
mod doing {
    use std::path::PathBuf;
    use std::process::Command;
    use std::time::Duration;

    use labyard_exchange::{Configuration, Progress, Stage};

    use super::plan::{Script, plan};
    use crate::perform::{ProgramFailed, perform};
    use crate::run::{Failed, System, say};

    /// How long a script may take. Joining a domain is the slowest.
    const LIMIT: Duration = Duration::from_secs(300);

    /// The running system.
    #[derive(Debug, Default)]
    pub(crate) struct Windows {
        restart: bool,
    }

    impl System for Windows {
        fn apply(
            &mut self,
            configuration: &Configuration,
            tell: &mut dyn FnMut(Progress),
        ) -> Result<(), Failed> {
            let scripts = plan(configuration).map_err(|error| Failed {
                stage: Stage::Look,
                why: error.to_string(),
            })?;
            let all = scripts.len().max(1);
            for (number, script) in scripts.iter().enumerate() {
                tell(Progress {
                    stage: script.stage,
                    percent: u8::try_from(number * 100 / all).unwrap_or(100),
                });
                let output = run(script).map_err(|error| Failed {
                    stage: script.stage,
                    why: error.to_string(),
                })?;
                self.restart |= output.lines().any(|line| line.trim() == "restart");
            }
            Ok(())
        }

        fn afterwards(&mut self) {
            if std::mem::take(&mut self.restart) {
                say("restarting, so that the new name or domain counts");
                let mut shutdown = Command::new(system("shutdown.exe"));
                shutdown.args(["/r", "/t", "5"]);
                if let Err(error) = perform("shutdown.exe", shutdown, None, LIMIT) {
                    say(&error.to_string());
                }
            }
        }
    }

    /// A program of the system, by its full path: one of that name elsewhere is not taken.
    pub(super) fn system(name: &str) -> PathBuf {
        let windows =
            std::env::var_os("SystemRoot").map_or_else(|| PathBuf::from("C:\\Windows"), PathBuf::from);
        windows.join("System32").join(name)
    }

    fn run(script: &Script) -> Result<String, ProgramFailed> {
        let mut command = Command::new(system("WindowsPowerShell\\v1.0\\powershell.exe"));
        command.args([
            "-NoProfile",
            "-NonInteractive",
            // Else errors come as XML where they are not written to a console.
            "-OutputFormat",
            "Text",
            "-ExecutionPolicy",
            "Bypass",
            "-EncodedCommand",
        ]);
        command.arg(script.encoded());
        perform("powershell.exe", command, Some(&script.input), LIMIT)
    }
}
