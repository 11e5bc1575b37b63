//! Terraform's types, and their JSON form: `"string"`, `["list","number"]`, `["object",{"a":"bool"}]`.

use std::collections::BTreeMap;
use std::fmt;

use serde_json::Value as Json;

use super::Value;

/// A type nested deeper than this is refused.
pub(crate) const MAX_DEPTH: usize = 100;

/// A type of Terraform's type system.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Type {
    /// `bool`
    Bool,
    /// `number`
    Number,
    /// `string`
    String,
    /// Any type, decided by the value.
    Dynamic,
    /// `list(T)`
    List(Box<Type>),
    /// `set(T)`
    Set(Box<Type>),
    /// `map(T)`
    Map(Box<Type>),
    /// `tuple([T, …])`
    Tuple(Vec<Type>),
    /// `object({…})`
    Object(BTreeMap<String, Type>),
}

/// Text that is not the JSON form of a type.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TypeError {
    /// Not JSON at all.
    #[error("not JSON: {0}")]
    Syntax(String),
    /// JSON that names no type.
    #[error("not a type: {0}")]
    NotAType(String),
    /// Nested too deeply.
    #[error("the type is nested more than {MAX_DEPTH} deep")]
    TooDeep,
}

impl Type {
    /// `list(element)`
    #[must_use]
    pub fn list(element: Self) -> Self {
        Self::List(Box::new(element))
    }

    /// `set(element)`
    #[must_use]
    pub fn set(element: Self) -> Self {
        Self::Set(Box::new(element))
    }

    /// `map(element)`
    #[must_use]
    pub fn map(element: Self) -> Self {
        Self::Map(Box::new(element))
    }

    /// `object({…})`
    pub fn object<K: Into<String>>(attributes: impl IntoIterator<Item = (K, Self)>) -> Self {
        Self::Object(
            attributes
                .into_iter()
                .map(|(name, ty)| (name.into(), ty))
                .collect(),
        )
    }

    /// The type that a value has of itself: lists become tuples, maps become objects, null and unknown are
    /// dynamic.
    #[must_use]
    pub fn of(value: &Value) -> Self {
        match value {
            Value::Null | Value::Unknown | Value::Dynamic(..) => Self::Dynamic,
            Value::Bool(_) => Self::Bool,
            Value::Number(_) => Self::Number,
            Value::String(_) => Self::String,
            Value::Sequence(items) => Self::Tuple(items.iter().map(Self::of).collect()),
            Value::Keyed(entries) => Self::object(entries.iter().map(|(key, value)| (key, Self::of(value)))),
        }
    }

    /// The JSON form, as it stands in schemas and before dynamic values.
    #[must_use]
    pub fn to_json(&self) -> Vec<u8> {
        self.to_json_value().to_string().into_bytes()
    }

    fn to_json_value(&self) -> Json {
        let wrap = |kind: &str, inner: Json| Json::Array(vec![Json::from(kind), inner]);
        match self {
            Self::Bool => Json::from("bool"),
            Self::Number => Json::from("number"),
            Self::String => Json::from("string"),
            Self::Dynamic => Json::from("dynamic"),
            Self::List(element) => wrap("list", element.to_json_value()),
            Self::Set(element) => wrap("set", element.to_json_value()),
            Self::Map(element) => wrap("map", element.to_json_value()),
            Self::Tuple(elements) => wrap("tuple", elements.iter().map(Self::to_json_value).collect()),
            Self::Object(attributes) => {
                let attributes = attributes
                    .iter()
                    .map(|(name, ty)| (name.clone(), ty.to_json_value()));
                wrap("object", Json::Object(attributes.collect()))
            }
        }
    }

    /// Reads the JSON form.
    pub fn from_json(text: &[u8]) -> Result<Self, TypeError> {
        let json = serde_json::from_slice(text).map_err(|e| TypeError::Syntax(e.to_string()))?;
        Self::from_json_value(json, 0)
    }

    fn from_json_value(json: Json, depth: usize) -> Result<Self, TypeError> {
        if depth > MAX_DEPTH {
            return Err(TypeError::TooDeep);
        }
        match json {
            Json::String(name) => match name.as_str() {
                "bool" => Ok(Self::Bool),
                "number" => Ok(Self::Number),
                "string" => Ok(Self::String),
                "dynamic" => Ok(Self::Dynamic),
                _ => Err(TypeError::NotAType(name)),
            },
            Json::Array(parts) => Self::compound_from_json(parts, depth),
            other => Err(TypeError::NotAType(shorten(&other))),
        }
    }

    fn compound_from_json(parts: Vec<Json>, depth: usize) -> Result<Self, TypeError> {
        // A third part names an object's optional attributes; a value's type never has any.
        let [kind, inner]: [Json; 2] = parts
            .try_into()
            .map_err(|parts: Vec<Json>| TypeError::NotAType(shorten(&Json::from(parts))))?;
        let element = |inner| Self::from_json_value(inner, depth + 1).map(Box::new);
        match (kind.as_str(), inner) {
            (Some("list"), inner) => element(inner).map(Self::List),
            (Some("set"), inner) => element(inner).map(Self::Set),
            (Some("map"), inner) => element(inner).map(Self::Map),
            (Some("tuple"), Json::Array(elements)) => {
                let elements = elements.into_iter().map(|e| Self::from_json_value(e, depth + 1));
                elements.collect::<Result<_, _>>().map(Self::Tuple)
            }
            (Some("object"), Json::Object(attributes)) => {
                let attributes = attributes.into_iter();
                let attributes =
                    attributes.map(|(name, ty)| Ok((name, Self::from_json_value(ty, depth + 1)?)));
                attributes.collect::<Result<_, _>>().map(Self::Object)
            }
            (_, inner) => Err(TypeError::NotAType(format!("[{kind},{}]", shorten(&inner)))),
        }
    }
}

fn shorten(json: &Json) -> String {
    json.to_string().chars().take(60).collect()
}

/// HCL's notation: `list(string)`, `object({a=bool})`.
impl fmt::Display for Type {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bool => f.write_str("bool"),
            Self::Number => f.write_str("number"),
            Self::String => f.write_str("string"),
            Self::Dynamic => f.write_str("dynamic"),
            Self::List(element) => write!(f, "list({element})"),
            Self::Set(element) => write!(f, "set({element})"),
            Self::Map(element) => write!(f, "map({element})"),
            Self::Tuple(elements) => {
                f.write_str("tuple([")?;
                for (i, element) in elements.iter().enumerate() {
                    write!(f, "{}{element}", if i == 0 { "" } else { ", " })?;
                }
                f.write_str("])")
            }
            Self::Object(attributes) => {
                f.write_str("object({")?;
                for (i, (name, ty)) in attributes.iter().enumerate() {
                    write!(f, "{}{name}={ty}", if i == 0 { "" } else { ", " })?;
                }
                f.write_str("})")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_type_survives_its_json_form() {
        let ty = Type::object([
            ("flag", Type::Bool),
            ("names", Type::list(Type::set(Type::String))),
            ("any", Type::map(Type::Dynamic)),
            (
                "pair",
                Type::Tuple(vec![Type::Number, Type::object::<String>([])]),
            ),
        ]);
        let json = ty.to_json();
        assert_eq!(Type::from_json(&json), Ok(ty.clone()));
        assert_eq!(
            String::from_utf8(json).unwrap(),
            r#"["object",{"any":["map","dynamic"],"flag":"bool","names":["list",["set","string"]],"pair":["tuple",["number",["object",{}]]]}]"#
        );
        assert_eq!(
            ty.to_string(),
            "object({any=map(dynamic), flag=bool, names=list(set(string)), pair=tuple([number, object({})])})"
        );
    }

    #[test]
    fn text_that_names_no_type_is_refused() {
        for text in [
            r#""int""#,
            "7",
            r#"["list"]"#,
            r#"["tuple","string"]"#,
            r#"["object",[]]"#,
            r#"["ring","string"]"#,
        ] {
            assert!(
                matches!(Type::from_json(text.as_bytes()), Err(TypeError::NotAType(_))),
                "{text}"
            );
        }
        assert!(matches!(Type::from_json(b"["), Err(TypeError::Syntax(_))));
        let deep = format!("{}\"bool\"{}", r#"["list","#.repeat(110), "]".repeat(110));
        assert_eq!(Type::from_json(deep.as_bytes()), Err(TypeError::TooDeep));
        let deeper = format!("{}\"bool\"{}", r#"["list","#.repeat(100_000), "]".repeat(100_000));
        assert!(matches!(
            Type::from_json(deeper.as_bytes()),
            Err(TypeError::Syntax(_))
        ));
    }
}
