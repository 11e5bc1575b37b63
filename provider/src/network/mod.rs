//! `labyard_network`: what Terraform calls ([`resource`]), what is planned ([`plan`]), what is stored ([`state`]).

mod plan;
mod resource;
mod state;

pub use resource::Networks;
#[cfg(test)]
pub use state::as_view;
