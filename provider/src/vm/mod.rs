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
pub use advice::advise;
pub use host_files::check as check_files;
pub use import::parse_id;
pub use plan::{asks_offers, check_host, host as plan_host, refuse_protected};
pub use resource::Machines;
#[cfg(test)]
pub use state::as_view;
pub use state::power_text;
