//! What is compared: as many objects of Terraform itself, of the smallest provider, of labyard's schema without a
//! host, and of labyard.

use labyard_acceptance_tests::Terraform;
use labyard_acceptance_tests::assets::GuestFiles;
use labyard_acceptance_tests::error::Result;
use labyard_acceptance_tests::terraform::Install;
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

/// Who makes the objects.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Subject {
    /// `terraform_data`: Terraform alone, without a provider's process.
    TerraformData,
    /// The smallest provider on the same protocol crate.
    Hello,
    /// Labyard's schema on the same protocol crate, answering from memory.
    InMemory,
    /// Labyard on libvirt.
    Labyard,
}

impl Subject {
    /// All, in the order of the page.
    pub const ALL: [Self; 4] = [Self::TerraformData, Self::Hello, Self::InMemory, Self::Labyard];

    /// Those whose growth is compared.
    pub const FLEET: [Self; 3] = [Self::TerraformData, Self::InMemory, Self::Labyard];

    /// As the page calls it.
    pub fn title(self) -> &'static str {
        match self {
            Self::TerraformData => "`terraform_data`",
            Self::Hello => "hello world",
            Self::InMemory => "same schema, in memory",
            Self::Labyard => "labyard",
        }
    }
}

/// The executables.
pub struct Programs {
    directory: PathBuf,
}

impl Programs {
    /// As cargo puts them.
    pub fn in_directory(directory: &Path) -> Self {
        Self {
            directory: directory.to_owned(),
        }
    }

    /// The provider's program of a subject; of Terraform's own objects it is never started.
    pub fn of(&self, subject: Subject) -> PathBuf {
        let name = match subject {
            Subject::Hello => "examples/hello",
            Subject::InMemory => "examples/in_memory",
            Subject::TerraformData | Subject::Labyard => "terraform-provider-labyard",
        };
        self.directory.join(name)
    }

    /// An example of a library, by its name.
    pub fn example(&self, name: &str) -> PathBuf {
        self.directory.join("examples").join(name)
    }

    /// The program that reports drift, and serves.
    pub fn labyard(&self) -> PathBuf {
        self.directory.join("labyard")
    }

    /// A working directory in which this subject's program is the provider.
    pub fn terraform(&self, subject: Subject) -> Result<Terraform<'static>> {
        Terraform::installed(&Install::OverrideBy(self.of(subject)))
    }
}

const REQUIRED: &str = r#"
terraform {
  required_providers { NAME = { source = "labyard/labyard" } }
}
"#;

/// The configuration of a subject: a network and so many machines, or as many other objects.
pub fn configuration(subject: Subject, machines: usize, uri: &str) -> String {
    let objects = machines + 1;
    match subject {
        Subject::TerraformData => format!("resource \"terraform_data\" \"o\" {{\n  count = {objects}\n}}\n"),
        Subject::Hello => format!(
            "{}resource \"hello_greeting\" \"o\" {{\n  count = {objects}\n  name  = \"o-${{count.index}}\"\n}}\n",
            REQUIRED.replace("NAME", "hello")
        ),
        Subject::InMemory | Subject::Labyard => format!("{}{}", provider(uri), fleet(machines)),
    }
}

/// The provider block for a host; guests run by emulation, which every machine can.
pub fn provider(uri: &str) -> String {
    provider_with("", uri)
}

/// The same with more attributes of its own.
pub fn provider_with(more: &str, uri: &str) -> String {
    format!(
        "{}provider \"labyard\" {{\n{more}  hosts = {{ lab = {{ libvirt = {{ uri = {uri:?}, accelerator = \"qemu\" }} }} }}\n}}\n",
        REQUIRED.replace("NAME", "labyard")
    )
}

/// The network and so many machines, without the provider block.
pub fn fleet(machines: usize) -> String {
    format!(
        "{}{}",
        network(),
        stopped_machines(machines, &GuestFiles::get().disk())
    )
}

/// A network of ours with room for all.
pub fn network() -> &'static str {
    r#"
resource "labyard_network" "lab" {
  name = "lab"
  mode = "nat"
  ipv4 = { cidr = "10.77.0.0/16", dhcp = { start = "10.77.1.1", end = "10.77.9.250" } }
}
"#
}

fn stopped_machines(count: usize, image: &Path) -> String {
    format!(
        r#"
resource "labyard_vm" "m" {{
  count      = {count}
  name       = "m-${{count.index}}"
  memory_mib = 128
  power      = "stopped"
  disks      = {{ root = {{ image = {{ source = "file:{}" }} }} }}
  nics       = {{ lan = {{ network = labyard_network.lab.name }} }}
}}
"#,
        image.display()
    )
}
