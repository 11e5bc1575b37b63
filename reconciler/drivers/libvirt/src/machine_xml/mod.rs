//! Machines as libvirt's domain XML: a bare record, edits of what is there, and reading.
//!
//! Every device of ours carries an alias of ours (`ua-labyard-…`), so that an edit knows it from one that somebody
//! else attached, whatever has become of its address or path since. A machine that was not made here has none: there
//! the previous mark tells which disks and NICs are ours.

mod bare;
mod devices;
pub(crate) mod drives;
mod edit;
mod firmware;
mod footing;
mod furnish;
pub(crate) mod hardware;
mod nics;
mod read;
mod room;

#[cfg(test)]
mod foreign_tests;
#[cfg(test)]
mod tests;

pub(crate) use bare::bare;
pub(crate) use devices::disk_element;
pub(crate) use edit::{edit, keep_addresses};
pub(crate) use footing::stand;
pub(crate) use nics::{nic_element, with_attachment, with_isolation, with_link};
pub(crate) use read::{
    Link, Sizes, attachment, detail, disk_path, interfaces, isolation, link, mac, networks_of, size,
};

use labyard_driver::ids::PoolName;
use labyard_driver::spec::Accelerator;

use crate::xml::Element;

/// A specification that cannot be put into a definition.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub(crate) enum EditError {
    /// The pool's directory is not known.
    #[error("storage pool '{0}' is not known on this host")]
    UnknownPool(PoolName),
    /// A moment speaks of a disk that the definition has not.
    #[error("it has no disk on {0}")]
    NoDisk(String),
    /// A specification never asks for this.
    #[error("a network interface of kind '{0}' cannot be made")]
    UnknownAttachment(String),
}

const ALIAS: &str = "ua-labyard-";
const SEED_ALIAS: &str = "ua-labyard-seed";
const AGENT_ALIAS: &str = "ua-labyard-agent";

/// The alias of a device of ours. libvirt allows letters, digits, `-` and `_` in it.
fn alias(kind: &str, key: &str) -> String {
    let mut alias = format!("{ALIAS}{kind}-");
    for char in key.chars() {
        if char.is_ascii_alphanumeric() || char == '-' {
            alias.push(char);
        } else {
            alias.push_str(&format!("_{:x}_", u32::from(char)));
        }
    }
    alias
}

fn alias_of(device: &Element) -> Option<&str> {
    device.attribute_at(&["alias"], "name")
}

fn is_ours(device: &Element) -> bool {
    alias_of(device).is_some_and(|name| name.starts_with(ALIAS))
}

pub(crate) fn is_drive(device: &Element, kind: &str) -> bool {
    device.is("disk") && device.attribute("device").unwrap_or("disk") == kind
}

pub(crate) fn domain_type(accelerator: Accelerator) -> &'static str {
    match accelerator {
        Accelerator::Kvm => "kvm",
        Accelerator::Qemu => "qemu",
    }
}

/// The host's own processor where it is used; all that emulation can do where it is not, since current distributions
/// are built for more than QEMU's default model offers.
pub(crate) fn cpu(accelerator: Accelerator) -> Element {
    let mode = match accelerator {
        Accelerator::Kvm => "host-passthrough",
        Accelerator::Qemu => "maximum",
    };
    Element::new("cpu").with("mode", mode)
}
