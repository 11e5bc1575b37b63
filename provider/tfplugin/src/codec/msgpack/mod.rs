//! Values as MessagePack, read and written by type.
//!
//! Unknown is extension 0; extension 12 is an unknown with hints about its later value, which are dropped.
//! A value of dynamic type is a pair: its type as JSON, then the value. A number is an integer, a float where
//! that is exact, or decimal text.

mod decode;
mod encode;
mod reader;

pub use decode::decode;
pub use encode::encode;

/// Extension of a plain unknown.
const UNKNOWN: i8 = 0;
/// Extension of an unknown with hints.
const REFINED_UNKNOWN: i8 = 12;

#[cfg(test)]
mod tests;
#[cfg(test)]
mod vectors;
