//! `labyard_vm`: what Terraform calls ([`resource`]), what is planned ([`plan`]), what is stored ([`state`]).

mod addressing;
mod advice;
mod host_files;
mod import;
mod kit;
mod plan;
mod resource;
mod room;
mod state;
mod takeover;

pub use addressing::NO_VLAN;
pub use import::parse_id;
pub use plan::{host as plan_host, refuse_protected};
pub use resource::Machines;
#[cfg(test)]
pub use state::as_view;
pub use state::power_text;
