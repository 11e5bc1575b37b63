//! The variables of UEFI firmware as they lie in a file: read, changed, written again. Pure.
//!
//! The formats are those of the UEFI specification (signature lists, certificates) and of EDK2's firmware volume and
//! authenticated variable store, which OVMF uses; the numbers are theirs.

mod signatures;
mod store;

pub use signatures::{OWNER, signature_lists};
pub use store::{Guid, StoreError, Variable, Variables};

use crate::error::EngineError;

/// The longest file of variables that is read: those of OVMF have 528 KiB.
pub const MOST: u64 = 4 << 20;

/// `EFI_GLOBAL_VARIABLE`, under which boot entries stand.
const GLOBAL: Guid = Guid::new(
    0x8be4_df61,
    0x93ca,
    0x11d2,
    [0xaa, 0x0d, 0x00, 0xe0, 0x98, 0x03, 0x2b, 0x8c],
);
/// Under which EDK2 keeps the certificates that HTTPS boot trusts.
const TLS: Guid = Guid::new(
    0xfd23_40d0,
    0x3dab,
    0x4349,
    [0xa6, 0xc7, 0x3b, 0x4f, 0x12, 0xb4, 0x8e, 0xae],
);
const TLS_CERTIFICATES: &str = "TlsCaCertificate";
/// Kept over a restart; not for the guest.
const NON_VOLATILE_BOOT: u32 = 3;

/// What is made of a machine's variables.
#[derive(Clone, Copy, Debug)]
pub enum Source<'a> {
    /// The host's template: a machine that never ran.
    Template(&'a [u8]),
    /// The machine's own, of the same kind.
    Own(&'a [u8]),
    /// The host's template of another kind, with the boot entries of the machine's own.
    Changed {
        /// The template.
        template: &'a [u8],
        /// The machine's.
        own: &'a [u8],
    },
}

/// A file of variables that trusts these certificates (DER), and none where there are none.
///
/// # Errors
/// Where a file is none of its kind or has no room.
pub fn made_of(source: Source<'_>, certificates: &[Vec<u8>]) -> Result<Vec<u8>, StoreError> {
    let mut variables = match source {
        Source::Template(bytes) | Source::Own(bytes) => Variables::parse(bytes)?,
        Source::Changed { template, own } => {
            let mut new = Variables::parse(template)?;
            for entry in Variables::parse(own)?.live().filter(|v| is_boot_entry(v)) {
                new.set(entry.clone());
            }
            new
        }
    };
    if certificates.is_empty() {
        variables.remove(&TLS, TLS_CERTIFICATES);
    } else {
        variables.set(Variable {
            vendor: TLS,
            name: TLS_CERTIFICATES.to_owned(),
            attributes: NON_VOLATILE_BOOT,
            data: signature_lists(certificates),
            header_rest: Variable::NO_TIME,
        });
    }
    variables.to_bytes()
}

/// `BootOrder` and `Boot0001`: what the guest's installer wrote to be found again.
fn is_boot_entry(variable: &Variable) -> bool {
    let number = variable.name.strip_prefix("Boot");
    let is_entry =
        number.is_some_and(|n| n == "Order" || (n.len() == 4 && n.chars().all(|c| c.is_ascii_hexdigit())));
    variable.vendor == GLOBAL && is_entry
}

/// An error of a file of variables at its attribute.
pub(crate) fn unusable(attribute: &str, error: &StoreError) -> EngineError {
    EngineError::Attribute {
        attribute: attribute.to_owned(),
        message: format!("the firmware's variables cannot be made: {error}"),
    }
}

#[cfg(test)]
mod tests;
