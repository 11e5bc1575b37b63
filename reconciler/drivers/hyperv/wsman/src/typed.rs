//! CIM's types as Rust's: how each is called, read and written.

use crate::object::Raw;
use crate::reference::Reference;
use crate::time::{Interval, Moment};

/// A type of CIM, DSP0004 5.2.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "they are their names")]
pub enum CimType {
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
    Reference,
}

impl CimType {
    /// As CIM writes it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Boolean => "boolean",
            Self::Uint8 => "uint8",
            Self::Uint16 => "uint16",
            Self::Uint32 => "uint32",
            Self::Uint64 => "uint64",
            Self::Sint8 => "sint8",
            Self::Sint16 => "sint16",
            Self::Sint32 => "sint32",
            Self::Sint64 => "sint64",
            Self::Real32 => "real32",
            Self::Real64 => "real64",
            Self::String => "string",
            Self::Datetime => "datetime",
            Self::Reference => "reference",
        }
    }
}

/// Whether there may be several.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Arity {
    /// One value.
    Scalar,
    /// An array.
    Array,
}

/// A value as it is sent.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// Nothing is sent.
    Null,
    /// A scalar.
    One(String),
    /// An array, perhaps an empty one.
    Array(Vec<String>),
}

/// A value that its type has no room for.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{found} where {wanted} was expected")]
pub struct NoValue {
    /// What it should be.
    pub wanted: &'static str,
    /// What came.
    pub found: String,
}

/// What a property or parameter of a class can be.
pub trait Typed: Sized {
    /// Its type.
    const TYPE: CimType;
    /// Whether it is an array.
    const ARITY: Arity;

    /// Reads what is not null.
    ///
    /// # Errors
    /// If it is something else.
    fn read(raw: &Raw) -> Result<Self, NoValue>;

    /// As it is sent.
    fn write(&self) -> Value;
}

fn no_value(wanted: &'static str, raw: &Raw) -> NoValue {
    let found = match raw {
        Raw::Null => "nothing".to_owned(),
        Raw::Text(text) => format!("{text:?}"),
        Raw::Reference(to) => format!("a reference to {}", to.resource.0),
        Raw::Object(object) => format!("an object of {}", object.class.as_deref().unwrap_or("no class")),
        Raw::Many(all) => format!("{} values", all.len()),
    };
    NoValue { wanted, found }
}

macro_rules! typed {
    ($($type:ty: $cim:ident, |$text:ident| $read:expr, |$value:ident| $write:expr;)*) => {$(
        impl Typed for $type {
            const TYPE: CimType = CimType::$cim;
            const ARITY: Arity = Arity::Scalar;

            fn read(raw: &Raw) -> Result<Self, NoValue> {
                let read = match raw {
                    Raw::Text($text) => $read,
                    _ => None,
                };
                read.ok_or_else(|| no_value(Self::TYPE.name(), raw))
            }

            fn write(&self) -> Value {
                let $value = self;
                Value::One($write)
            }
        }

        impl Typed for Vec<$type> {
            const TYPE: CimType = CimType::$cim;
            const ARITY: Arity = Arity::Array;

            fn read(raw: &Raw) -> Result<Self, NoValue> {
                raw.each().iter().map(<$type as Typed>::read).collect()
            }

            fn write(&self) -> Value {
                let texts = self.iter().map(|$value| $write);
                Value::Array(texts.collect())
            }
        }
    )*};
}

typed! {
    String: String, |text| Some(text.clone()), |value| value.clone();
    bool: Boolean, |text| truth(text), |value| value.to_string();
    u8: Uint8, |text| text.trim().parse().ok(), |value| value.to_string();
    u16: Uint16, |text| text.trim().parse().ok(), |value| value.to_string();
    u32: Uint32, |text| text.trim().parse().ok(), |value| value.to_string();
    u64: Uint64, |text| text.trim().parse().ok(), |value| value.to_string();
    i8: Sint8, |text| text.trim().parse().ok(), |value| value.to_string();
    i16: Sint16, |text| text.trim().parse().ok(), |value| value.to_string();
    i32: Sint32, |text| text.trim().parse().ok(), |value| value.to_string();
    i64: Sint64, |text| text.trim().parse().ok(), |value| value.to_string();
    f32: Real32, |text| text.trim().parse().ok(), |value| value.to_string();
    f64: Real64, |text| text.trim().parse().ok(), |value| value.to_string();
    Moment: Datetime, |text| text.parse().ok(), |value| value.to_cim();
    Interval: Datetime, |text| text.parse().ok(), |value| value.to_cim();
}

/// Windows writes `true`, OMI `TRUE`.
fn truth(text: &str) -> Option<bool> {
    match text.trim() {
        text if text.eq_ignore_ascii_case("true") => Some(true),
        text if text.eq_ignore_ascii_case("false") => Some(false),
        _ => None,
    }
}

/// What points at another object; never in an instance, where a path in a string stands for it.
impl Typed for Reference {
    const TYPE: CimType = CimType::Reference;
    const ARITY: Arity = Arity::Scalar;

    fn read(raw: &Raw) -> Result<Self, NoValue> {
        match raw {
            Raw::Reference(to) => Ok(to.clone()),
            other => Err(no_value("reference", other)),
        }
    }

    fn write(&self) -> Value {
        self.path().map_or(Value::Null, Value::One)
    }
}

impl Typed for Vec<Reference> {
    const TYPE: CimType = CimType::Reference;
    const ARITY: Arity = Arity::Array;

    fn read(raw: &Raw) -> Result<Self, NoValue> {
        raw.each().iter().map(Reference::read_raw).collect()
    }

    fn write(&self) -> Value {
        Value::Array(self.iter().filter_map(Reference::path).collect())
    }
}

impl Reference {
    fn read_raw(raw: &Raw) -> Result<Self, NoValue> {
        <Self as Typed>::read(raw)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(text: &str) -> Raw {
        Raw::Text(text.to_owned())
    }

    #[test]
    fn a_scalar_where_an_array_is_expected_is_an_array_of_one() {
        assert_eq!(Vec::<u16>::read(&text("2")), Ok(vec![2]));
        assert_eq!(Vec::<u16>::read(&Raw::Null), Ok(vec![]));
        assert_eq!(
            Vec::<u16>::read(&Raw::Many(vec![text("2"), text("3")])),
            Ok(vec![2, 3])
        );
    }

    #[test]
    fn what_does_not_fit_its_type_is_an_error_that_says_so() {
        for (raw, said) in [
            (text("70000"), "\"70000\" where uint16 was expected"),
            (text("-1"), "\"-1\" where uint16 was expected"),
            (
                Raw::Many(vec![text("1"), text("2")]),
                "2 values where uint16 was expected",
            ),
            (Raw::Null, "nothing where uint16 was expected"),
        ] {
            assert_eq!(u16::read(&raw).unwrap_err().to_string(), said);
        }
        assert!(Vec::<u16>::read(&Raw::Many(vec![text("1"), text("x")])).is_err());
    }

    #[test]
    fn truth_has_no_case() {
        assert_eq!(bool::read(&text("TRUE")), Ok(true));
        assert_eq!(bool::read(&text("false")), Ok(false));
        assert!(bool::read(&text("1")).is_err());
    }
}
