//! JSON to values.

use std::borrow::Cow;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt;

use serde::de::{DeserializeSeed, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use super::super::{CodecError, CodecProblem, MAX_DEPTH};
use crate::value::{Number, Path, Step, Type, Value};

/// Reads one value of a type; an attribute that the type lacks is an error, one that the text lacks is null.
pub fn decode(text: &[u8], ty: &Type) -> Result<Value, CodecError> {
    read_text(text, ty, Fit::Filled)
}

/// Reads one value of a type as [`decode`] does, passing over attributes that the type lacks.
pub fn decode_stored(text: &[u8], ty: &Type) -> Result<Value, CodecError> {
    read_text(text, ty, Fit::Stored)
}

/// How well an object must fit its type.
#[derive(Clone, Copy, PartialEq)]
enum Fit {
    /// Missing attributes are null, others are dropped.
    Stored,
    /// Missing attributes are null, others are refused.
    Filled,
    /// Both are refused. So it is inside a dynamic value, for there the type comes with the text, and a short
    /// text of many empty objects of a large type would grow without bound if it were filled.
    Exact,
}

fn read_text(text: &[u8], ty: &Type, fit: Fit) -> Result<Value, CodecError> {
    let steps = RefCell::default();
    let mut source = serde_json::Deserializer::from_slice(text);
    let seed = Seed {
        ty,
        fit,
        depth: 0,
        steps: &steps,
    };
    let value = seed
        .deserialize(&mut source)
        .and_then(|value| source.end().map(|()| value));
    value.map_err(|e| {
        let mut steps = steps.take();
        steps.reverse();
        CodecError {
            path: Path(steps),
            problem: CodecProblem::Json(e.to_string()),
        }
    })
}

/// Reads what stands at one place of a value.
#[derive(Clone, Copy)]
struct Seed<'t> {
    ty: &'t Type,
    fit: Fit,
    depth: usize,
    /// On an error, the way to it, innermost first: the error itself has no room for it.
    steps: &'t RefCell<Vec<Step>>,
}

impl<'t> Seed<'t> {
    fn below(self, ty: &'t Type) -> Self {
        Self {
            ty,
            depth: self.depth + 1,
            ..self
        }
    }

    fn wrong<E: serde::de::Error>(self, found: &str) -> E {
        E::custom(format_args!("{found} where {} belongs", self.ty))
    }

    /// Adds a step to an error that comes from below it.
    fn at<T, E>(self, result: Result<T, E>, step: impl FnOnce() -> Step) -> Result<T, E> {
        result.inspect_err(|_| self.steps.borrow_mut().push(step()))
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

    // A value in the wrong place is not repeated in the error: it may be a secret.
    fn visit_bool<E: serde::de::Error>(self, _: bool) -> Result<Value, E> {
        Err(self.wrong("a bool"))
    }

    fn visit_i64<E: serde::de::Error>(self, _: i64) -> Result<Value, E> {
        Err(self.wrong("a number"))
    }

    fn visit_u64<E: serde::de::Error>(self, _: u64) -> Result<Value, E> {
        Err(self.wrong("a number"))
    }

    fn visit_f64<E: serde::de::Error>(self, _: f64) -> Result<Value, E> {
        Err(self.wrong("a number"))
    }

    fn visit_str<E: serde::de::Error>(self, _: &str) -> Result<Value, E> {
        Err(self.wrong("a string"))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut source: A) -> Result<Value, A::Error> {
        let mut items = Vec::new();
        match self.ty {
            Type::List(element) | Type::Set(element) => loop {
                let item = source.next_element_seed(self.below(element));
                let Some(item) = self.at(item, || Step::index(items.len()))? else {
                    break;
                };
                items.push(item);
            },
            Type::Tuple(types) => {
                for ty in types {
                    let item = source.next_element_seed(self.below(ty));
                    let Some(item) = self.at(item, || Step::index(items.len()))? else {
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
            _ => return Err(self.wrong("an array")),
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
            _ => Err(self.wrong("an object")),
        }
    }
}

impl Seed<'_> {
    fn read_map<'de, A: MapAccess<'de>>(self, mut source: A, element: &Type) -> Result<Value, A::Error> {
        let mut entries = BTreeMap::new();
        while let Some(key) = source.next_key::<String>()? {
            let item = self.at(source.next_value_seed(self.below(element)), || {
                Step::Key(key.clone())
            })?;
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
            match types.get(&name) {
                Some(ty) => {
                    let item = source.next_value_seed(self.below(ty));
                    let item = self.at(item, || Step::Attribute(name.clone()))?;
                    entries.insert(name, item);
                }
                None if self.fit == Fit::Stored => {
                    source.next_value::<IgnoredAny>()?;
                }
                None => return Err(A::Error::custom(CodecProblem::Unsupported(name))),
            }
        }
        if entries.len() < types.len() {
            for name in types.keys() {
                if self.fit == Fit::Exact && !entries.contains_key(name) {
                    return Err(A::Error::custom(CodecProblem::Missing(name.clone())));
                }
                entries.entry(name.clone()).or_default();
            }
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
        let seed = Seed {
            ty: &ty,
            fit: Fit::Exact,
            depth: self.depth + 1,
            steps: self.steps,
        };
        let value = seed.deserialize(&mut source).map_err(A::Error::custom)?;
        Ok(Value::Dynamic(Box::new(ty), Box::new(value)))
    }
}
