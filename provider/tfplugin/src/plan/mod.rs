//! Planning over the tree of values: what the schema alone says of a plan, and whether a finished plan keeps
//! Terraform's rules.
//!
//! The rules, for each attribute:
//! - a configured value is planned as configured;
//! - with nothing configured, a default is planned as the default, whatever stood there before;
//! - with nothing configured, what the provider computes is unknown on create and stays as it was on update:
//!   only the resource knows which change alters it, and marks it unknown itself;
//! - a write-only value is planned null;
//! - an element of a collection keeps what was computed for the element of the same key or index, of a set for
//!   the element that is configured alike; a new element is planned as on create.

mod finish;
mod pairs;
mod propose;
mod replace;

pub use finish::finish;
pub use propose::{Proposal, propose};

#[cfg(test)]
mod properties;
