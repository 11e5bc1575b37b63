//! The settings of Terraform's command line: where the provider under test is.

use crate::assets::provider;
use crate::error::{HarnessError, Result};
use std::path::{Path, PathBuf};
use tempfile::TempDir;

/// How Terraform finds the provider.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Install {
    /// By `dev_overrides`: no `init`, no lock file, no checksum.
    Override,
    /// By `dev_overrides`, another program as `labyard/labyard`.
    OverrideBy(PathBuf),
    /// By `terraform init` from a filesystem mirror that holds this version.
    Mirror {
        /// As Terraform writes versions.
        version: String,
    },
}

/// A settings file, and what it points at.
#[derive(Debug)]
pub(super) struct Settings {
    directory: TempDir,
}

impl Settings {
    pub(super) fn write(install: &Install) -> Result<Self> {
        let directory = TempDir::new().map_err(HarnessError::file("make a directory for settings"))?;
        let text = match install {
            Install::Override => overrides(directory.path(), provider())?,
            Install::OverrideBy(program) => overrides(directory.path(), program)?,
            Install::Mirror { version } => mirror(directory.path(), version)?,
        };
        let settings = Self { directory };
        std::fs::write(settings.file(), text).map_err(HarnessError::file("write Terraform's settings"))?;
        Ok(settings)
    }

    pub(super) fn directory(&self) -> &Path {
        self.directory.path()
    }

    pub(super) fn file(&self) -> PathBuf {
        self.directory.path().join("settings.tfrc")
    }
}

/// Terraform wants a directory that holds nothing but the provider under its own name.
fn overrides(directory: &Path, program: &Path) -> Result<String> {
    let place = directory.join("provider");
    put(program, &place, "terraform-provider-labyard")?;
    Ok(format!(
        "provider_installation {{\n  dev_overrides {{\n    \"labyard/labyard\" = {:?}\n  }}\n  direct {{}}\n}}\n",
        place.display().to_string()
    ))
}

fn mirror(directory: &Path, version: &str) -> Result<String> {
    let root = directory.join("mirror");
    // OpenTofu looks under its own registry's name; both hold the same.
    for registry in ["registry.terraform.io", "registry.opentofu.org"] {
        let place = root
            .join(registry)
            .join("labyard/labyard")
            .join(version)
            .join(platform());
        put(
            provider(),
            &place,
            &format!("terraform-provider-labyard_v{version}"),
        )?;
    }
    Ok(format!(
        "provider_installation {{\n  filesystem_mirror {{\n    path = {:?}\n  }}\n}}\n",
        root.display().to_string()
    ))
}

fn put(program: &Path, place: &Path, name: &str) -> Result<()> {
    let what = format!("put {} into {}", program.display(), place.display());
    let program = program.canonicalize().map_err(HarnessError::file(what.clone()))?;
    std::fs::create_dir_all(place).map_err(HarnessError::file(what.clone()))?;
    std::os::unix::fs::symlink(program, place.join(name)).map_err(HarnessError::file(what))
}

fn platform() -> String {
    let system = if cfg!(target_os = "macos") {
        "darwin"
    } else {
        std::env::consts::OS
    };
    let machine = match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    };
    format!("{system}_{machine}")
}
