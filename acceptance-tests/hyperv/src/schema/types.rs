//! The types of CIM that are one value: their names, their ranges, their texts.

use std::str::FromStr;

use crate::cim::Value;

use super::time::is_cim;

/// A type of one value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "they are CIM's own names")]
pub enum Scalar {
    Boolean,
    Uint8,
    Uint16,
    Uint32,
    Uint64,
    Sint8,
    Sint16,
    Sint32,
    Sint64,
    Real32,
    Real64,
    String,
    Datetime,
}

const NAMES: [(&str, Scalar); 13] = [
    ("boolean", Scalar::Boolean),
    ("uint8", Scalar::Uint8),
    ("uint16", Scalar::Uint16),
    ("uint32", Scalar::Uint32),
    ("uint64", Scalar::Uint64),
    ("sint8", Scalar::Sint8),
    ("sint16", Scalar::Sint16),
    ("sint32", Scalar::Sint32),
    ("sint64", Scalar::Sint64),
    ("real32", Scalar::Real32),
    ("real64", Scalar::Real64),
    ("string", Scalar::String),
    ("datetime", Scalar::Datetime),
];

/// A text that is no value of a type.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is no {of}")]
pub struct Unfit {
    /// The text.
    pub text: String,
    /// The type's name.
    pub of: &'static str,
}

impl Scalar {
    /// The type of that name.
    pub fn named(name: &str) -> Option<Self> {
        NAMES
            .iter()
            .find(|(known, _)| *known == name)
            .map(|(_, scalar)| *scalar)
    }

    /// Its name.
    pub fn name(self) -> &'static str {
        NAMES
            .iter()
            .find(|(_, known)| *known == self)
            .map_or("string", |(name, _)| name)
    }

    /// The value that a text is. Of a datetime, CIM's own form alone is one: what else a place takes is for it to say.
    ///
    /// # Errors
    /// If it is none, or out of range.
    pub fn parse(self, text: &str) -> Result<Value, Unfit> {
        let trimmed = text.trim();
        let value = match self {
            Self::String => Some(Value::text(text)),
            Self::Boolean => match trimmed {
                _ if trimmed.eq_ignore_ascii_case("true") || trimmed == "1" => Some(Value::Boolean(true)),
                _ if trimmed.eq_ignore_ascii_case("false") || trimmed == "0" => Some(Value::Boolean(false)),
                _ => None,
            },
            Self::Datetime => is_cim(trimmed).then(|| Value::text(trimmed)),
            Self::Real32 | Self::Real64 => number::<f64>(trimmed).map(Value::Real),
            _ => number::<u64>(trimmed)
                .map(Value::Unsigned)
                .filter(|_| self.name().starts_with('u'))
                .or_else(|| number(trimmed).map(Value::Signed))
                .filter(|value| self.admits(value)),
        };
        value.ok_or_else(|| Unfit {
            text: text.to_owned(),
            of: self.name(),
        })
    }

    /// Whether a value is of it, and in its range.
    pub fn admits(self, value: &Value) -> bool {
        let up_to = |most: u64| matches!(value, Value::Unsigned(number) if *number <= most);
        let within =
            |most: i64| matches!(value, Value::Signed(number) if (-most - 1..=most).contains(number));
        match self {
            Self::Boolean => matches!(value, Value::Boolean(_)),
            Self::Uint8 => up_to(u8::MAX.into()),
            Self::Uint16 => up_to(u16::MAX.into()),
            Self::Uint32 => up_to(u32::MAX.into()),
            Self::Uint64 => up_to(u64::MAX),
            Self::Sint8 => within(i8::MAX.into()),
            Self::Sint16 => within(i16::MAX.into()),
            Self::Sint32 => within(i32::MAX.into()),
            Self::Sint64 => within(i64::MAX),
            Self::Real32 | Self::Real64 => matches!(value, Value::Real(_)),
            Self::String => matches!(value, Value::Text(_)),
            Self::Datetime => matches!(value, Value::Text(text) if is_cim(text)),
        }
    }
}

fn number<T: FromStr>(text: &str) -> Option<T> {
    text.parse().ok()
}

/// The text of a value that is one of CIM's scalars.
pub fn plain_text(value: &Value) -> Option<String> {
    Some(match value {
        Value::Boolean(truth) => truth.to_string(),
        Value::Unsigned(number) => number.to_string(),
        Value::Signed(number) => number.to_string(),
        Value::Real(number) => number.to_string(),
        Value::Text(text) => text.clone(),
        Value::Null | Value::Reference(_) | Value::Instance(_) | Value::Array(_) => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_held_to_their_range() {
        assert_eq!(Scalar::Uint8.parse("255"), Ok(Value::Unsigned(255)));
        assert_eq!(Scalar::Sint32.parse("-1"), Ok(Value::Signed(-1)));
        assert_eq!(Scalar::Sint32.parse("7"), Ok(Value::Signed(7)));
        for (scalar, text) in [
            (Scalar::Uint8, "256"),
            (Scalar::Uint16, "-1"),
            (Scalar::Sint8, "128"),
            (Scalar::Uint64, "18446744073709551616"),
            (Scalar::Uint32, ""),
            (Scalar::Boolean, "yes"),
        ] {
            assert!(scalar.parse(text).is_err(), "{text} is no {}", scalar.name());
        }
    }

    #[test]
    fn a_time_in_another_form_than_cims_is_none() {
        let interval = "00000000004500.000000:000";
        assert_eq!(Scalar::Datetime.parse(interval), Ok(Value::text(interval)));
        assert!(Scalar::Datetime.parse("P0DT0H45M0S").is_err());
    }
}
