//! Terraform's plugin protocol, version 6, for providers written in Rust.
//!
//! - A provider implements [`Provider`] and, per resource, [`Resource`] (or [`DataSource`], [`EphemeralResource`]), and its `main` is
//!   [`serve`]. `examples/hello.rs` is the smallest one.
//! - It sees whole values ([`value`]) by the types of its [`schema`]; [`convert`] turns them into plain structs.
//! - The server plans what the schema says ([`plan`]) before the resource refines it, and checks every answer
//!   against Terraform's rules ([`check`]) before it leaves.
//! - A create or update hands each state it reaches to its [`Saver`]; however it ends, that is what Terraform
//!   stores.
//!
//! On the way of a call: `serve` (the process and its end) → `handshake`, `tls`, `listener` → `connection` (gRPC)
//! → `rpc` (one file a call, in `rpc/mod.rs` the list) → [`codec`] → the traits.

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
pub use traits::{
    ApplyRequest, ConfigureRequest, Context, DataSource, EphemeralResource, Opened, Plan, Provider, Renewed,
    Resource, State,
};
