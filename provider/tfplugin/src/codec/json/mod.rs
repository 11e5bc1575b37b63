//! Values as the JSON in which Terraform stores state.
//!
//! A value of dynamic type is `{"value": …, "type": …}`. Nothing unknown is ever stored. Numbers are read from
//! their text, so that none loses digits.

mod decode;
mod encode;
mod outdated;
#[cfg(test)]
mod tests;

pub use decode::{decode, decode_stored};
pub use encode::encode;
pub use outdated::drop_unknown_attributes;
