//! Terraform's plugin protocol, version 6, for providers written in Rust.

pub mod check;
pub mod codec;
mod connection;
pub mod convert;
mod debug;
pub mod diag;
mod handshake;
mod life;
mod listener;
mod log;
mod panic;
pub mod plan;
#[doc(hidden)]
pub mod proto;
mod rpc;
pub mod saver;
pub mod schema;
mod serve;
mod services;
mod tls;
pub mod traits;
pub mod value;

pub use diag::{Diagnostic, Diagnostics, Severity};
pub use saver::Saver;
#[doc(hidden)]
pub use serve::serve_with;
pub use serve::{ServeOptions, serve};
pub use traits::{ApplyRequest, ConfigureRequest, Context, DataSource, Plan, Provider, Resource, State};
