//! Seeds and keys made by other people's tools, for checks that are independent of ours.

use crate::command::output_of;
use crate::error::{HarnessError, Result};
use std::path::{Path, PathBuf};
use std::process::Command;
use tempfile::TempDir;

/// An SSH key made for one test.
#[derive(Debug)]
pub struct KeyPair {
    directory: TempDir,
    /// The public half, as it stands in `authorized_keys`.
    pub public: String,
}

impl KeyPair {
    /// Makes a key.
    pub fn generate() -> Result<Self> {
        let directory = TempDir::new().map_err(HarnessError::file("make a directory for a key"))?;
        let file = directory.path().join("key");
        output_of(
            Command::new("ssh-keygen")
                .args(["-q", "-t", "ed25519", "-N", "", "-C", "test", "-f"])
                .arg(&file),
        )?;
        let public = std::fs::read_to_string(file.with_extension("pub"));
        let public = public
            .map_err(HarnessError::file("read a public key"))?
            .trim()
            .to_owned();
        Ok(Self { directory, public })
    }

    /// Of a private half in OpenSSH's format, as a claim is given one.
    pub fn of(private: &str) -> Result<Self> {
        let directory = TempDir::new().map_err(HarnessError::file("make a directory for a key"))?;
        let file = directory.path().join("key");
        std::fs::write(&file, private).map_err(HarnessError::file("write a key"))?;
        // Others may not read it, or it is no key.
        output_of(Command::new("chmod").arg("600").arg(&file))?;
        let public = output_of(Command::new("ssh-keygen").arg("-y").arg("-f").arg(&file))?;
        let public = public.trim().to_owned();
        Ok(Self { directory, public })
    }

    /// The file of the private half.
    pub fn private(&self) -> PathBuf {
        self.directory.path().join("key")
    }
}

/// Writes a NoCloud seed as ISO 9660, with `xorriso`. `files` are names and contents.
pub fn write_seed(image: &Path, files: &[(&str, &str)]) -> Result<()> {
    let directory = TempDir::new().map_err(HarnessError::file("make a directory for a seed"))?;
    for (name, content) in files {
        std::fs::write(directory.path().join(name), content)
            .map_err(HarnessError::file(format!("write {name}")))?;
    }
    let mut command = Command::new("xorriso");
    command.args(["-as", "genisoimage", "-quiet", "-V", "cidata", "-J", "-r", "-o"]);
    output_of(command.arg(image).arg(directory.path())).map(drop)
}
