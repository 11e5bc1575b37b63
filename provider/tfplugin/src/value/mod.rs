//! Values as Terraform sees them: a tree whose every node may be null or not yet known.
//!
//! A [`Value`] carries no type of its own; a [`crate::value::Type`] from the schema says how to read it.
//! Lists and tuples are both sequences here, maps and objects both keyed.

mod access;
#[cfg(test)]
pub(crate) mod arbitrary;
mod conform;
mod display;
mod number;
mod path;
mod same;
pub(crate) mod types;

use std::collections::BTreeMap;

pub(crate) use conform::kind;
pub use conform::{Mismatch, conform};
pub use number::{Number, NumberError};
pub use path::{Path, Step};
pub use same::{same, sort_sets};
pub use types::{Type, TypeError};

/// One value of Terraform's type system.
///
/// Equality is structural and numbers compare by value; sets decoded from the wire are sorted, so that they
/// compare too. [`same`] compares by type where a set's order is not to be trusted.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Value {
    /// Absent.
    #[default]
    Null,
    /// Not known before apply.
    Unknown,
    /// A boolean.
    Bool(bool),
    /// A number of any size.
    Number(Number),
    /// A string.
    String(String),
    /// A list, set or tuple; of a set the order has no meaning.
    Sequence(Vec<Value>),
    /// A map or an object; an object has exactly the keys of its type.
    Keyed(BTreeMap<String, Value>),
    /// A value of dynamic type with the type it arrived with.
    Dynamic(Box<Type>, Box<Value>),
}
