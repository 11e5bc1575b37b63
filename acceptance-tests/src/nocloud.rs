//! The seed of a machine as others read it: the CD's files by `xorriso`, their meaning by cloud-init's own code.

use crate::assets::script;
use crate::command::{end_of, output_of};
use crate::error::{HarnessError, Result};
use crate::host::Host;
use serde_json::Value;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use tempfile::TempDir;

/// The files of a seed, taken out of its volume.
#[derive(Debug)]
pub struct SeedFiles {
    directory: TempDir,
    volume: PathBuf,
}

impl SeedFiles {
    /// The one seed that a machine has on a host.
    pub fn of(host: &Host, machine: &str) -> Result<Self> {
        let prefix = format!("{machine}.seed.");
        let volumes = host.observer()?.volumes("default")?;
        let paths: Vec<_> = volumes
            .iter()
            .filter(|volume| volume.name.starts_with(&prefix))
            .map(|volume| PathBuf::from(&volume.path))
            .collect();
        let [volume] = paths.as_slice() else {
            return Err(HarnessError::Unreadable {
                what: format!("the one seed of {machine}"),
                text: format!("{paths:?}"),
            });
        };
        let directory = TempDir::new().map_err(HarnessError::file("make a directory for a seed"))?;
        let mut xorriso = Command::new("xorriso");
        xorriso.args(["-osirrox", "on", "-indev"]).arg(volume);
        output_of(xorriso.args(["-extract", "/"]).arg(directory.path().join("seed")))?;
        Ok(Self {
            directory,
            volume: volume.clone(),
        })
    }

    /// Where its volume lies on the host.
    pub fn volume(&self) -> &Path {
        &self.volume
    }

    /// The volume's permissions.
    pub fn mode(&self) -> u32 {
        let found = std::fs::metadata(&self.volume);
        found.map_or(0, |found| found.permissions().mode() & 0o7777)
    }

    /// A file's text; `None` where there is no such file.
    pub fn text(&self, name: &str) -> Option<String> {
        std::fs::read_to_string(self.directory.path().join("seed").join(name)).ok()
    }

    /// What cloud-init makes of it: `config` (user-data over vendor-data), `users`, `names`, `meta_data`, `network`.
    pub fn as_cloud_init_reads_it(&self) -> Result<Value> {
        let scratch = self.directory.path().join("scratch");
        // The system's own interpreter: another one may come first in the path and not know cloud-init.
        let mut read = Command::new("/usr/bin/python3");
        read.arg(script("read-seed"))
            .arg(self.directory.path().join("seed"));
        let said = output_of(read.arg(&scratch))?;
        std::fs::remove_dir_all(&scratch).ok();
        serde_json::from_str(&said).map_err(|_| HarnessError::Unreadable {
            what: "what cloud-init reads".into(),
            text: said,
        })
    }

    /// What cloud-init's schema has against one of its files; empty where it is valid.
    pub fn schema_faults(&self, name: &str) -> Result<String> {
        let mut check = Command::new("cloud-init");
        check.args(["schema", "--config-file"]);
        let ended = end_of(check.arg(self.directory.path().join("seed").join(name)))?;
        let said = format!("{}{}", ended.stdout, ended.stderr);
        let valid = ended.status.success() && !said.to_lowercase().contains("deprecat");
        Ok(if valid { String::new() } else { said })
    }
}
