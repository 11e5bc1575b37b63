//! What may be asked of labyard: one file a resource, each attribute said once.
//!
//! - [`vm::Vm`], [`network::Network`], [`vm_pool::VmPool`], [`access_code::AccessCode`], [`provider::ProviderConfig`]
//!   are plain serde structs.
//! - The same lines that make a struct make its table of [`attribute::Attribute`]s ([`attribute::Described`]):
//!   type, presence, default, description, what a change disturbs, the check of a value. Terraform's schema and
//!   the reference pages are read off that table.
//! - [`check`] holds the checks of single values; rules between attributes stand beside their resource.
//!
//! No I/O happens here.
//!
//! ```
//! use labyard_schema::{attribute::Described, vm::Vm};
//! let cpus = Vm::attributes().into_iter().find(|a| a.name == "cpus").unwrap();
//! assert!(cpus.description().contains("restart"));
//! ```

pub mod access_code;
pub mod attribute;
pub mod check;
pub mod data;
pub mod hooks;
pub mod network;
pub mod pem;
pub mod problem;
pub mod provider;
pub mod reference;
pub mod text;
pub mod vm;
pub mod vm_pool;

pub use attribute::{Attribute, Change, Described, Presence, Shape};
pub use problem::Problem;
