//! Values as the JSON in which Terraform stores state.
//!
//! A value of dynamic type is `{"value": …, "type": …}`. Nothing unknown is ever stored. Numbers are read from
//! their text, so that none loses digits.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

use serde::de::{DeserializeSeed, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use super::{CodecError, CodecProblem, MAX_DEPTH};
use crate::value::{Number, Path, Type, Value};

/// Reads one value of a type; an attribute that the type lacks is an error, one that the text lacks is null.
pub fn decode(text: &[u8], ty: &Type) -> Result<Value, CodecError> {
    read_text(text, ty, Extra::Refused)
}

/// Reads one value of a type as [`decode`] does, passing over attributes that the type lacks.
pub fn decode_stored(text: &[u8], ty: &Type) -> Result<Value, CodecError> {
    read_text(text, ty, Extra::Dropped)
}

/// Removes what an older schema stored and the current one lacks.
#[must_use]
pub fn drop_unknown_attributes(json: serde_json::Value, ty: &Type) -> serde_json::Value {
    use serde_json::Value as Json;
    match (json, ty) {
        (Json::Object(entries), Type::Object(types)) => {
            let known = entries.into_iter().filter_map(|(name, item)| {
                let ty = types.get(&name)?;
                Some((name, drop_unknown_attributes(item, ty)))
            });
            Json::Object(known.collect())
        }
        (Json::Object(entries), Type::Map(element)) => {
            let kept = entries
                .into_iter()
                .map(|(key, item)| (key, drop_unknown_attributes(item, element)));
            Json::Object(kept.collect())
        }
        (Json::Array(items), Type::List(element) | Type::Set(element)) => items
            .into_iter()
            .map(|item| drop_unknown_attributes(item, element))
            .collect(),
        (Json::Array(items), Type::Tuple(types)) if items.len() == types.len() => items
            .into_iter()
            .zip(types)
            .map(|(item, ty)| drop_unknown_attributes(item, ty))
            .collect(),
        (json, _) => json,
    }
}

/// What happens to an attribute that the type lacks.
#[derive(Clone, Copy)]
enum Extra {
    Refused,
    Dropped,
}

fn read_text(text: &[u8], ty: &Type, extra: Extra) -> Result<Value, CodecError> {
    let mut source = serde_json::Deserializer::from_slice(text);
    let seed = Seed { ty, extra, depth: 0 };
    let value = seed
        .deserialize(&mut source)
        .and_then(|value| source.end().map(|()| value));
    value.map_err(|e| CodecError {
        path: Path::root(),
        problem: CodecProblem::Json(e.to_string()),
    })
}

#[derive(Clone, Copy)]
struct Seed<'t> {
    ty: &'t Type,
    extra: Extra,
    depth: usize,
}

impl<'t> Seed<'t> {
    fn below(self, ty: &'t Type) -> Self {
        Self {
            ty,
            depth: self.depth + 1,
            ..self
        }
    }
}

impl<'de> DeserializeSeed<'de> for Seed<'_> {
    type Value = Value;

    fn deserialize<D: serde::Deserializer<'de>>(self, source: D) -> Result<Value, D::Error> {
        if self.depth > MAX_DEPTH {
            return Err(D::Error::custom(CodecProblem::TooDeep));
        }
        match self.ty {
            Type::Bool | Type::Number | Type::String => {
                let raw = <&RawValue as serde::Deserialize>::deserialize(source)?;
                read_primitive(raw.get(), self.ty).map_err(D::Error::custom)
            }
            _ => source.deserialize_any(self),
        }
    }
}

/// Terraform converts between primitives as HCL does, because older states may hold the other form.
fn read_primitive(raw: &str, ty: &Type) -> Result<Value, CodecProblem> {
    let wrong = |found: &str| CodecProblem::Kind {
        expected: ty.to_string(),
        found: found.to_owned(),
    };
    let text = match raw.as_bytes().first() {
        Some(b'n') => return Ok(Value::Null),
        Some(b'{') => return Err(wrong("an object")),
        Some(b'[') => return Err(wrong("an array")),
        Some(b'"') => {
            let text: String = serde_json::from_str(raw).map_err(|e| CodecProblem::Json(e.to_string()))?;
            Cow::Owned(text)
        }
        _ => Cow::Borrowed(raw),
    };
    match ty {
        Type::Bool => match text.as_ref() {
            "true" => Ok(Value::Bool(true)),
            "false" => Ok(Value::Bool(false)),
            _ => Err(wrong(if raw.starts_with('"') {
                "a string"
            } else {
                "a number"
            })),
        },
        Type::Number if matches!(raw, "true" | "false") => Err(wrong("a bool")),
        Type::Number => Ok(Value::Number(text.parse::<Number>()?)),
        _ => Ok(Value::String(text.into_owned())),
    }
}

impl<'de> Visitor<'de> for Seed<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.ty {
            Type::Object(_) => f.write_str("an object"),
            Type::Dynamic => f.write_str("an object of type and value"),
            other => write!(f, "{other}"),
        }
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut source: A) -> Result<Value, A::Error> {
        let mut items = Vec::new();
        match self.ty {
            Type::List(element) | Type::Set(element) => {
                while let Some(item) = source.next_element_seed(self.below(element))? {
                    items.push(item);
                }
            }
            Type::Tuple(types) => {
                for ty in types {
                    let Some(item) = source.next_element_seed(self.below(ty))? else {
                        break;
                    };
                    items.push(item);
                }
                let more = source.next_element::<IgnoredAny>()?.is_some();
                if more || items.len() != types.len() {
                    return Err(A::Error::custom(format_args!(
                        "a tuple of {} elements was expected",
                        types.len()
                    )));
                }
            }
            _ => return Err(A::Error::invalid_type(serde::de::Unexpected::Seq, &self)),
        }
        if matches!(self.ty, Type::Set(_)) {
            items.sort_unstable();
        }
        Ok(Value::Sequence(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, source: A) -> Result<Value, A::Error> {
        match self.ty {
            Type::Map(element) => self.read_map(source, element),
            Type::Object(types) => self.read_object(source, types),
            Type::Dynamic => self.read_dynamic(source),
            _ => Err(A::Error::invalid_type(serde::de::Unexpected::Map, &self)),
        }
    }
}

impl Seed<'_> {
    fn read_map<'de, A: MapAccess<'de>>(self, mut source: A, element: &Type) -> Result<Value, A::Error> {
        let mut entries = BTreeMap::new();
        while let Some(key) = source.next_key::<String>()? {
            let item = source.next_value_seed(self.below(element))?;
            entries.insert(key, item);
        }
        Ok(Value::Keyed(entries))
    }

    fn read_object<'de, A: MapAccess<'de>>(
        self,
        mut source: A,
        types: &BTreeMap<String, Type>,
    ) -> Result<Value, A::Error> {
        let mut entries = BTreeMap::new();
        while let Some(name) = source.next_key::<String>()? {
            match (types.get(&name), self.extra) {
                (Some(ty), _) => {
                    let item = source.next_value_seed(self.below(ty))?;
                    entries.insert(name, item);
                }
                (None, Extra::Dropped) => {
                    source.next_value::<IgnoredAny>()?;
                }
                (None, Extra::Refused) => return Err(A::Error::custom(CodecProblem::Unsupported(name))),
            }
        }
        for name in types
            .keys()
            .filter(|_| entries.len() < types.len())
            .collect::<Vec<_>>()
        {
            entries.entry(name.clone()).or_default();
        }
        Ok(Value::Keyed(entries))
    }

    /// The value may stand before its type, so that it is kept as text until the type is known.
    fn read_dynamic<'de, A: MapAccess<'de>>(self, mut source: A) -> Result<Value, A::Error> {
        let (mut ty, mut value): (Option<&RawValue>, Option<&RawValue>) = (None, None);
        while let Some(name) = source.next_key::<String>()? {
            match name.as_str() {
                "type" => ty = Some(source.next_value()?),
                "value" => value = Some(source.next_value()?),
                _ => return Err(A::Error::custom(CodecProblem::Unsupported(name))),
            }
        }
        let (Some(ty), Some(value)) = (ty, value) else {
            return Err(A::Error::custom(CodecProblem::Untyped));
        };
        let ty = Type::from_json(ty.get().as_bytes()).map_err(A::Error::custom)?;
        if ty == Type::Dynamic {
            return Err(A::Error::custom(CodecProblem::Untyped));
        }
        let mut source = serde_json::Deserializer::from_str(value.get());
        let value = self
            .below(&ty)
            .deserialize(&mut source)
            .map_err(A::Error::custom)?;
        Ok(Value::Dynamic(Box::new(ty), Box::new(value)))
    }
}

/// Writes one value. JSON has no unknown and no infinity: both are written as null.
#[must_use]
pub fn encode(value: &Value, ty: &Type) -> Vec<u8> {
    let mut out = Vec::with_capacity(512);
    write(&mut out, value, ty);
    out
}

fn write(out: &mut Vec<u8>, value: &Value, ty: &Type) {
    match (value, ty) {
        (Value::Null | Value::Unknown, _) => out.extend_from_slice(b"null"),
        (Value::Bool(b), _) => out.extend_from_slice(if *b { b"true" } else { b"false" }),
        (Value::Number(n), _) if n.is_finite() => out.extend_from_slice(n.to_string().as_bytes()),
        (Value::Number(_), _) => out.extend_from_slice(b"null"),
        (Value::String(s), _) => write_text(out, s),
        (Value::Dynamic(ty, inner), _) => {
            out.extend_from_slice(b"{\"value\":");
            write(out, inner, ty);
            out.extend_from_slice(b",\"type\":");
            out.extend_from_slice(&ty.to_json());
            out.push(b'}');
        }
        (Value::Sequence(items), ty) => write_all(out, *b"[]", items.iter().enumerate(), |out, (i, item)| {
            write(out, item, element_type(ty, i));
        }),
        (Value::Keyed(entries), ty) => write_all(out, *b"{}", entries.iter(), |out, (key, item)| {
            write_text(out, key);
            out.push(b':');
            write(out, item, field_type(ty, key));
        }),
    }
}

fn write_all<T>(
    out: &mut Vec<u8>,
    [open, close]: [u8; 2],
    items: impl Iterator<Item = T>,
    write_one: impl Fn(&mut Vec<u8>, T),
) {
    out.push(open);
    for (i, item) in items.enumerate() {
        if i > 0 {
            out.push(b',');
        }
        write_one(out, item);
    }
    out.push(close);
}

fn element_type(ty: &Type, index: usize) -> &Type {
    match ty {
        Type::List(element) | Type::Set(element) => element,
        Type::Tuple(types) => types.get(index).unwrap_or(&Type::Dynamic),
        _ => &Type::Dynamic,
    }
}

fn field_type<'t>(ty: &'t Type, key: &str) -> &'t Type {
    match ty {
        Type::Map(element) => element,
        Type::Object(types) => types.get(key).unwrap_or(&Type::Dynamic),
        _ => &Type::Dynamic,
    }
}

fn write_text(out: &mut Vec<u8>, text: &str) {
    out.extend_from_slice(serde_json::Value::from(text).to_string().as_bytes());
}
