//! The Terraform provider `labyard/labyard`: each resource a thin translation between Terraform and the
//! reconciler.
//!
//! - [`provider`]: the provider block, its hosts, the end of a run.
//! - [`vm`], [`network`], [`pool`], [`code`]: a resource each, in the same files: `resource` (what Terraform calls), `plan`,
//!   `state`.
//! - [`lab`]: pools and codes, in a store of this process's own or with a daemon; [`daemon`]: the way to one.
//! - [`data`]: the data sources; [`ephemeral`]: what Terraform does not store.
//! - [`shape`]: Terraform's schema and the checks of values, read off `labyard_schema`.

#![expect(
    unreachable_pub,
    reason = "in a program `pub` marks what a module offers to the others"
)]

mod code;
mod daemon;
mod data;
mod ephemeral;
mod errors;
mod lab;
mod network;
mod planned;
mod pool;
mod private;
mod provider;
mod shape;
#[cfg(test)]
mod stored;
mod values;
mod vm;

use std::process::ExitCode;
use std::time::{SystemTime, UNIX_EPOCH};

use labyard_store::event::Moment;

/// The provider's address in the registry.
const ADDRESS: &str = "registry.terraform.io/labyard/labyard";

/// Who changes the store, as its log says it.
const ACTOR: &str = "terraform";

/// Now, for the store.
fn now() -> Moment {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Moment(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}

fn main() -> ExitCode {
    tfplugin::serve(ADDRESS, provider::Labyard::new())
}
