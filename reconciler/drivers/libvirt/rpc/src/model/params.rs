//! Typed parameters: libvirt's open-ended lists of named figures.

use crate::xdr::{Decode, DecodeError, Decoder};
#[cfg(test)]
use crate::xdr::{Encode, EncodeError, Encoder};

use super::wire_struct;

wire_struct! {
    /// One named figure.
    pub struct TypedParam {
        /// Its name, such as `block.0.capacity`.
        pub field: String,
        /// Its value.
        pub value: TypedValue,
    }
}

/// The value of a figure.
#[derive(Debug, Clone, PartialEq)]
pub enum TypedValue {
    /// A signed number.
    Int(i32),
    /// An unsigned number.
    UInt(u32),
    /// A long signed number.
    Long(i64),
    /// A long unsigned number.
    ULong(u64),
    /// A fraction.
    Double(f64),
    /// A truth value.
    Bool(bool),
    /// A text.
    Text(String),
}

impl TypedValue {
    /// The value as an unsigned number, if it is a whole number that is not negative.
    pub fn as_u64(&self) -> Option<u64> {
        match *self {
            Self::Int(value) => u64::try_from(value).ok(),
            Self::UInt(value) => Some(u64::from(value)),
            Self::Long(value) => u64::try_from(value).ok(),
            Self::ULong(value) => Some(value),
            Self::Double(_) | Self::Bool(_) | Self::Text(_) => None,
        }
    }

    /// The value as text, if it is one.
    pub fn as_text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            _ => None,
        }
    }
}

impl Decode for TypedValue {
    const MIN_SIZE: usize = 8;

    fn decode(input: &mut Decoder<'_>) -> Result<Self, DecodeError> {
        match i32::decode(input)? {
            1 => Decode::decode(input).map(Self::Int),
            2 => Decode::decode(input).map(Self::UInt),
            3 => Decode::decode(input).map(Self::Long),
            4 => Decode::decode(input).map(Self::ULong),
            5 => Decode::decode(input).map(Self::Double),
            6 => Decode::decode(input).map(Self::Bool),
            7 => Decode::decode(input).map(Self::Text),
            value => Err(DecodeError::Invalid {
                what: "type of a parameter",
                value: i64::from(value),
            }),
        }
    }
}

#[cfg(test)]
impl Encode for TypedValue {
    fn encode(&self, out: &mut Encoder) -> Result<(), EncodeError> {
        match self {
            Self::Int(value) => (1i32, *value).encode(out),
            Self::UInt(value) => (2i32, *value).encode(out),
            Self::Long(value) => (3i32, *value).encode(out),
            Self::ULong(value) => (4i32, *value).encode(out),
            Self::Double(value) => (5i32, *value).encode(out),
            Self::Bool(value) => (6i32, *value).encode(out),
            Self::Text(value) => (7i32, value).encode(out),
        }
    }
}

impl super::DomainStats {
    /// The value of a figure by its name.
    pub fn get(&self, field: &str) -> Option<&TypedValue> {
        self.params
            .iter()
            .find(|param| param.field == field)
            .map(|param| &param.value)
    }
}
