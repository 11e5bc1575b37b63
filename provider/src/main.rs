//! The Terraform provider `labyard/labyard`: each resource a thin translation between Terraform and the
//! reconciler.
//!
//! - [`provider`]: the provider block, its hosts, the end of a run.
//! - [`vm`], [`network`]: a resource each, in the same files: `resource` (what Terraform calls), `plan`, `state`.
//! - [`data`]: the data sources.
//! - [`shape`]: Terraform's schema and the checks of values, read off `labyard_schema`.

#![expect(
    unreachable_pub,
    reason = "in a program `pub` marks what a module offers to the others"
)]

mod data;
mod errors;
mod network;
mod planned;
mod private;
mod provider;
mod shape;
#[cfg(test)]
mod stored;
mod values;
mod vm;

use std::process::ExitCode;

/// The provider's address in the registry.
const ADDRESS: &str = "registry.terraform.io/labyard/labyard";

fn main() -> ExitCode {
    tfplugin::serve(ADDRESS, provider::Labyard::new())
}
