//! Values to Rust structs.

use std::collections::btree_map;

use serde::de::{
    DeserializeOwned, DeserializeSeed, EnumAccess, Error as _, MapAccess, SeqAccess, VariantAccess, Visitor,
};
use serde::forward_to_deserialize_any;

use super::ConvertError;
use crate::value::{Number, Step, Value, kind};

/// Makes a Rust value of what is wholly known. Null attributes count as absent, so that `Option` and
/// `#[serde(default)]` take them; unknown is an error.
pub fn from_value<T: DeserializeOwned>(value: &Value) -> Result<T, ConvertError> {
    T::deserialize(Source {
        value,
        keyed: Keyed::Attributes,
    })
}

/// How the keys of an object are named in an error's path.
#[derive(Clone, Copy)]
enum Keyed {
    Attributes,
    Keys,
}

impl Keyed {
    fn step(self, key: &str) -> Step {
        match self {
            Self::Attributes => Step::Attribute(key.to_owned()),
            Self::Keys => Step::Key(key.to_owned()),
        }
    }
}

/// A value being read.
#[derive(Clone, Copy)]
struct Source<'v> {
    value: &'v Value,
    keyed: Keyed,
}

impl<'v> Source<'v> {
    fn below(value: &'v Value) -> Self {
        Self {
            value,
            keyed: Keyed::Attributes,
        }
    }

    fn known(self) -> Result<&'v Value, ConvertError> {
        match self.value.inner() {
            Value::Unknown => Err(ConvertError::new("the value is not known yet")),
            known => Ok(known),
        }
    }

    /// The variant that an enum's value names, and what it holds.
    fn variant(self) -> Result<(&'v str, Option<&'v Value>), ConvertError> {
        let entries = match self.known()? {
            Value::String(name) => return Ok((name, None)),
            Value::Keyed(entries) => entries,
            other => {
                return Err(ConvertError::new(format!(
                    "{} where one of several belongs",
                    kind(other)
                )));
            }
        };
        let mut set = entries.iter().filter(|(_, value)| !value.is_null());
        match (set.next(), set.next()) {
            (Some((name, value)), None) => Ok((name, Some(value))),
            (None, _) => Err(ConvertError::new(format!(
                "one of {} must be set",
                names(entries.keys())
            ))),
            (Some(_), Some(_)) => Err(ConvertError::new(format!(
                "only one of {} can be set",
                names(entries.keys())
            ))),
        }
    }
}

fn names<'k>(keys: impl Iterator<Item = &'k String>) -> String {
    keys.map(String::as_str).collect::<Vec<_>>().join(", ")
}

impl<'de> serde::Deserializer<'de> for Source<'_> {
    type Error = ConvertError;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ConvertError> {
        match self.known()? {
            Value::Bool(b) => visitor.visit_bool(*b),
            Value::Number(number) => visit_number(number, visitor),
            Value::String(text) => visitor.visit_str(text),
            Value::Sequence(items) => visitor.visit_seq(Elements {
                items: items.iter(),
                index: 0,
            }),
            Value::Keyed(entries) => visitor.visit_map(Entries::new(entries, self.keyed, Nulls::Kept)),
            Value::Null | Value::Unknown | Value::Dynamic(..) => visitor.visit_unit(),
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ConvertError> {
        if self.value.is_null() {
            visitor.visit_none()
        } else {
            visitor.visit_some(self)
        }
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ConvertError> {
        Self {
            keyed: Keyed::Keys,
            ..self
        }
        .deserialize_any(visitor)
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        _fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, ConvertError> {
        match self.known()? {
            Value::Keyed(entries) => {
                visitor.visit_map(Entries::new(entries, Keyed::Attributes, Nulls::Absent))
            }
            _ => self.deserialize_any(visitor),
        }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        visitor: V,
    ) -> Result<V::Value, ConvertError> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _name: &'static str,
        _variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, ConvertError> {
        let (name, held) = self.variant()?;
        visitor.visit_enum(Variant { name, held })
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ConvertError> {
        visitor.visit_unit()
    }

    fn deserialize_f32<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ConvertError> {
        self.deserialize_f64(visitor)
    }

    fn deserialize_f64<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ConvertError> {
        match self.known()? {
            Value::Number(number) => visitor.visit_f64(number.to_f64()),
            _ => self.deserialize_any(visitor),
        }
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 char str string bytes byte_buf unit unit_struct seq tuple
        tuple_struct identifier
    }
}

fn visit_number<'de, V: Visitor<'de>>(number: &Number, visitor: V) -> Result<V::Value, ConvertError> {
    if let Some(n) = number.as_i64() {
        visitor.visit_i64(n)
    } else if let Some(n) = number.as_u64() {
        visitor.visit_u64(n)
    } else {
        visitor.visit_f64(number.to_f64())
    }
}

struct Elements<'v> {
    items: std::slice::Iter<'v, Value>,
    index: usize,
}

impl<'de> SeqAccess<'de> for Elements<'_> {
    type Error = ConvertError;

    fn next_element_seed<T: DeserializeSeed<'de>>(
        &mut self,
        seed: T,
    ) -> Result<Option<T::Value>, ConvertError> {
        let Some(value) = self.items.next() else {
            return Ok(None);
        };
        let index = self.index;
        self.index += 1;
        seed.deserialize(Source::below(value))
            .map(Some)
            .map_err(|e| e.below(Step::index(index)))
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.items.len())
    }
}

/// Whether entries that are null are shown.
#[derive(Clone, Copy, PartialEq)]
enum Nulls {
    Kept,
    Absent,
}

struct Entries<'v> {
    entries: btree_map::Iter<'v, String, Value>,
    current: Option<(&'v str, &'v Value)>,
    keyed: Keyed,
    nulls: Nulls,
}

impl<'v> Entries<'v> {
    fn new(entries: &'v std::collections::BTreeMap<String, Value>, keyed: Keyed, nulls: Nulls) -> Self {
        Self {
            entries: entries.iter(),
            current: None,
            keyed,
            nulls,
        }
    }
}

impl<'de> MapAccess<'de> for Entries<'_> {
    type Error = ConvertError;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, ConvertError> {
        let nulls = self.nulls;
        let next = self
            .entries
            .find(|(_, value)| nulls == Nulls::Kept || !value.is_null());
        let Some((key, value)) = next else { return Ok(None) };
        self.current = Some((key, value));
        let key_source = serde::de::value::StrDeserializer::new(key);
        seed.deserialize(key_source)
            .map(Some)
            .map_err(|e: ConvertError| e.below(self.keyed.step(key)))
    }

    fn next_value_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<T::Value, ConvertError> {
        let (key, value) = self
            .current
            .take()
            .ok_or_else(|| ConvertError::custom("a value without its key"))?;
        seed.deserialize(Source::below(value))
            .map_err(|e| e.below(self.keyed.step(key)))
    }
}

struct Variant<'v> {
    name: &'v str,
    held: Option<&'v Value>,
}

impl<'de, 'v> EnumAccess<'de> for Variant<'v> {
    type Error = ConvertError;
    type Variant = Held<'v>;

    fn variant_seed<T: DeserializeSeed<'de>>(self, seed: T) -> Result<(T::Value, Held<'v>), ConvertError> {
        let variant = seed.deserialize(serde::de::value::StrDeserializer::<ConvertError>::new(self.name))?;
        Ok((
            variant,
            Held {
                name: self.name,
                held: self.held,
            },
        ))
    }
}

/// What the variant of an enum holds.
struct Held<'v> {
    name: &'v str,
    held: Option<&'v Value>,
}

impl<'v> Held<'v> {
    fn source(&self) -> Result<Source<'v>, ConvertError> {
        let missing = || ConvertError::new(format!("{} must hold a value", self.name));
        self.held.map(Source::below).ok_or_else(missing)
    }

    fn inside(&self, error: ConvertError) -> ConvertError {
        error.below(Step::Attribute(self.name.to_owned()))
    }
}

impl<'de> VariantAccess<'de> for Held<'_> {
    type Error = ConvertError;

    fn unit_variant(self) -> Result<(), ConvertError> {
        match self.held {
            // An empty object says no more than the name does.
            Some(Value::Keyed(entries)) if entries.is_empty() => Ok(()),
            Some(_) => Err(self.inside(ConvertError::new("nothing can be set inside"))),
            None => Ok(()),
        }
    }

    fn newtype_variant_seed<T: DeserializeSeed<'de>>(self, seed: T) -> Result<T::Value, ConvertError> {
        seed.deserialize(self.source()?).map_err(|e| self.inside(e))
    }

    fn tuple_variant<V: Visitor<'de>>(self, _len: usize, visitor: V) -> Result<V::Value, ConvertError> {
        serde::Deserializer::deserialize_any(self.source()?, visitor).map_err(|e| self.inside(e))
    }

    fn struct_variant<V: Visitor<'de>>(
        self,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, ConvertError> {
        serde::Deserializer::deserialize_struct(self.source()?, "", fields, visitor)
            .map_err(|e| self.inside(e))
    }
}
