//! Values to and from plain Rust structs, by serde.
//!
//! An object is a struct or a map, null is `None`, an enum is its variant's name or an object in which one
//! attribute alone is not null. Unknown has no counterpart: plain structs are for where all is known.

mod de;
mod error;
mod ser;

pub use de::from_value;
pub use error::ConvertError;
pub use ser::to_value;

#[cfg(test)]
mod tests;
