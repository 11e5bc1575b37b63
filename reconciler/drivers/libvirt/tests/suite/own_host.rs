//! A host of a test's own, for what nobody else could bear: daemons killed and stopped, processes that hang.

use std::path::PathBuf;
use std::process::{Command, Output};

/// Ends with the value.
pub(crate) struct OwnHost {
    directory: PathBuf,
    /// Its connection URI.
    pub(crate) uri: String,
}

impl OwnHost {
    /// Starts one, where tests against libvirt are wanted.
    pub(crate) fn start(name: &str) -> Option<Self> {
        crate::host::uri()?;
        let directory = std::env::temp_dir().join(format!("labyard-{}-{name}", std::process::id()));
        let owner = std::process::id().to_string();
        let path = directory.to_string_lossy().into_owned();
        let mut start = vec!["start", &path, "--owner", &owner, "--tmpfs-pool", "small", "8M"];
        let programs = std::env::var("LABYARD_HOST_PROGRAMS");
        if let Ok(programs) = &programs {
            start.extend(["--programs", programs]);
        }
        let output = script(&start);
        let uri = String::from_utf8(output.stdout).unwrap().trim().to_owned();
        Some(Self { directory, uri })
    }

    fn path(&self) -> &str {
        self.directory.to_str().unwrap()
    }

    /// `kill`, `stop`, `cont` or `start` for the daemon alone.
    pub(crate) fn daemon(&self, what: &str) {
        script(&["daemon", self.path(), what]);
    }

    /// Runs a command inside and gives what it says.
    pub(crate) fn run(&self, command: &[&str]) -> String {
        let output = script(&[["exec", self.path(), "--"].as_slice(), command].concat());
        String::from_utf8(output.stdout).unwrap()
    }

    /// Sends a signal to the process of a machine.
    pub(crate) fn signal(&self, machine: &str, signal: &str) {
        let listed = script(&["processes", self.path()]);
        let listed = String::from_utf8(listed.stdout).unwrap();
        let suffix = format!(" qemu {machine}");
        let line = listed
            .lines()
            .find(|line| line.ends_with(&suffix))
            .unwrap_or_else(|| panic!("{listed}"));
        let pid = line.split(' ').next().unwrap();
        assert!(
            Command::new("kill")
                .args([signal, pid])
                .status()
                .unwrap()
                .success()
        );
    }
}

impl Drop for OwnHost {
    fn drop(&mut self) {
        script(&["stop", self.path()]);
    }
}

fn script(arguments: &[&str]) -> Output {
    let script = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../../acceptance-tests/host/private-host"
    );
    let output = Command::new(script).args(arguments).output().unwrap();
    assert!(
        output.status.success(),
        "{arguments:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    output
}
