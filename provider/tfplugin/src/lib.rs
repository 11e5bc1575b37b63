//! Terraform's plugin protocol, version 6, for providers written in Rust.

pub mod check;
pub mod codec;
pub mod convert;
pub mod diag;
pub mod plan;
pub mod saver;
pub mod schema;
pub mod traits;
pub mod value;

pub use diag::{Diagnostic, Diagnostics, Severity};
pub use saver::Saver;
pub use traits::{
    ApplyRequest, ConfigureRequest, Context, DataSource, Plan, Provider, Resource, State,
};
