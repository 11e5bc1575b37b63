//! Terraform's rules for what a provider answers, checked before the answer leaves.
//!
//! Terraform punishes a broken rule late and hard: an object created but answered with a wrong type is lost
//! from the state. So what can be mended is mended here, and the rest is said where it arose.

mod applied;
mod config;
mod state;
mod violation;
mod walk;

pub use applied::applied;
pub use config::config;
pub use state::{clear_write_only, state};
pub use violation::{Rule, Violation};
pub(crate) use walk::Walk;
