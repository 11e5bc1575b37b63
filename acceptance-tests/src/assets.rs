//! The tiny guest and the provider under test: built once, then found.

use crate::command::output_of;
use crate::error::Result;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// A script or directory beside the tests, under `host/`.
pub fn script(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("host").join(name)
}

/// The files of the tiny guest.
#[derive(Debug, Clone)]
pub struct GuestFiles {
    directory: PathBuf,
}

impl GuestFiles {
    /// Builds the guest unless that was done; the same files for all who ask.
    pub fn get() -> &'static Self {
        static FILES: OnceLock<GuestFiles> = OnceLock::new();
        FILES.get_or_init(|| match output_of(&mut Command::new(script("build-guest"))) {
            Ok(directory) => Self {
                directory: PathBuf::from(directory.trim()),
            },
            Err(error) => panic!("the tiny guest cannot be built: {error}"),
        })
    }

    /// The kernel, for direct boot.
    pub fn kernel(&self) -> PathBuf {
        self.directory.join("vmlinuz")
    }

    /// The initramfs, for direct boot.
    pub fn initrd(&self) -> PathBuf {
        self.directory.join("initrd")
    }

    /// A small qcow2 disk, 64 MiB wide, that holds a file system but does not boot.
    pub fn disk(&self) -> PathBuf {
        self.directory.join("disk.qcow2")
    }

    /// A qcow2 disk, 96 MiB wide, that boots the guest by BIOS and by UEFI.
    pub fn bootable(&self) -> PathBuf {
        self.directory.join("boot.qcow2")
    }

    /// The guest as one EFI program, which nobody has signed.
    pub fn program(&self) -> PathBuf {
        self.directory.join("boot.efi")
    }

    /// A qcow2 disk, 96 MiB wide, that boots the guest under secure boot.
    pub fn secure(&self) -> PathBuf {
        self.directory.join("secure.qcow2")
    }
}

/// A disk image of a whole Debian that boots by UEFI: cloud-init, an SSH server and the agent are in it. Built unless that
/// was done, which takes minutes.
pub fn debian() -> Result<PathBuf> {
    let built = output_of(Command::new(script("build-debian")).arg("image"))?;
    Ok(PathBuf::from(built.trim()))
}

/// The provider's executable: `LABYARD_PROVIDER_BIN`, else built by this workspace, up to date.
pub fn provider() -> &'static Path {
    static PROVIDER: OnceLock<PathBuf> = OnceLock::new();
    PROVIDER.get_or_init(|| match std::env::var_os("LABYARD_PROVIDER_BIN") {
        Some(given) => PathBuf::from(given),
        None => build_provider().unwrap_or_else(|error| panic!("the provider cannot be built: {error}")),
    })
}

fn build_provider() -> Result<PathBuf> {
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .args(["build", "--quiet", "--package", "labyard-provider"]);
    output_of(cargo.arg("--target-dir").arg(target_directory()))?;
    Ok(target_directory().join("debug/terraform-provider-labyard"))
}

/// The target directory that this very test was built in: a test is `<target>/<profile>/deps/<name>`.
fn target_directory() -> PathBuf {
    let test = std::env::current_exe().unwrap_or_default();
    match test.ancestors().nth(3) {
        Some(target) if target.join("CACHEDIR.TAG").exists() => target.to_owned(),
        _ => Path::new(env!("CARGO_MANIFEST_DIR")).join("../target"),
    }
}

/// Terraform's executable: `LABYARD_TERRAFORM_BIN` (OpenTofu's will do), else `terraform` from the path.
pub fn terraform() -> PathBuf {
    std::env::var_os("LABYARD_TERRAFORM_BIN").map_or_else(|| PathBuf::from("terraform"), PathBuf::from)
}
