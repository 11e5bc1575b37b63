//! What a libvirt host is configured with.

use labyard_driver::ids::PoolName;
use labyard_driver::spec::Accelerator;
use serde::{Deserialize, Serialize};

/// A libvirt host of the configuration.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LibvirtConfig {
    /// libvirt's connection URI, `qemu:///system`.
    pub uri: String,
    /// The storage pool for disks; left out: `default`.
    #[serde(default)]
    pub storage_pool: Option<String>,
    /// What runs guests.
    #[serde(default)]
    pub accelerator: AcceleratorChoice,
}

/// What runs guests.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AcceleratorChoice {
    /// KVM if it really runs guests on that host, else emulation.
    #[default]
    Auto,
    /// KVM.
    Kvm,
    /// Emulation.
    Qemu,
}

impl AcceleratorChoice {
    /// Whether guests may be run by it.
    pub(crate) fn allows(self, accelerator: Accelerator) -> bool {
        match self {
            Self::Auto => true,
            Self::Kvm => accelerator == Accelerator::Kvm,
            Self::Qemu => accelerator == Accelerator::Qemu,
        }
    }
}

impl LibvirtConfig {
    /// The pool for disks.
    pub fn pool(&self) -> PoolName {
        PoolName(self.storage_pool.clone().unwrap_or_else(|| "default".to_owned()))
    }
}
