//! What a provider, resource or data source accepts: attributes, nested attributes, their rules.

#[cfg(test)]
pub(crate) mod arbitrary;
mod build;
mod faults;

pub use faults::SchemaFault;

use std::collections::BTreeMap;

use crate::value::{Path, Step, Type, Value};

/// The attributes of a resource, data source or provider.
#[derive(Clone, Debug, Default)]
pub struct Schema {
    /// Raised whenever the stored form changes; see [`crate::Resource::upgrade`].
    pub version: i64,
    /// What it is, in Markdown.
    pub description: String,
    /// The attributes by name.
    pub attributes: Vec<Attribute>,
}

/// One attribute.
#[derive(Clone, Debug)]
pub struct Attribute {
    /// Name in HCL.
    pub name: String,
    /// What it is, in Markdown.
    pub description: String,
    /// Plain type or nested attributes.
    pub kind: Kind,
    /// Who may set it.
    pub presence: Presence,
    /// Hidden in Terraform's output.
    pub sensitive: bool,
    /// Never stored by Terraform (protocol 6.8).
    pub write_only: bool,
    /// A changed value (prior known and not equal) needs a replacement.
    pub requires_replace: bool,
    /// Shown as deprecated, with the way out.
    pub deprecated: Option<String>,
}

/// The shape of an attribute's value.
#[derive(Clone, Debug)]
pub enum Kind {
    /// A plain type.
    Plain(Type),
    /// An object.
    Single(Vec<Attribute>),
    /// A list of objects.
    List(Vec<Attribute>),
    /// A set of objects.
    Set(Vec<Attribute>),
    /// A map of objects.
    Map(Vec<Attribute>),
}

/// Who may set an attribute, and what stands there if nobody does.
#[derive(Clone, Debug, PartialEq)]
pub enum Presence {
    /// The user must set it.
    Required,
    /// The user may set it; null otherwise.
    Optional,
    /// The provider sets it.
    Computed,
    /// The user may set it; otherwise the provider does.
    OptionalComputed,
    /// The user may set it; otherwise always this constant. Optional and computed on the wire.
    Default(Value),
}

impl Schema {
    /// The type of a whole value: an object of all attributes.
    #[must_use]
    pub fn implied_type(&self) -> Type {
        object_type(&self.attributes)
    }

    /// The attribute that a path leads to: itself, not an element or a part of its value.
    #[must_use]
    pub fn find(&self, path: &Path) -> Option<&Attribute> {
        let mut attributes = self.attributes.as_slice();
        let mut found = None;
        for step in &path.0 {
            if let Step::Attribute(name) = step {
                let attribute = attributes.iter().find(|attribute| attribute.name == *name)?;
                attributes = attribute.kind.nested().unwrap_or_default();
                found = Some(attribute);
            }
        }
        found
    }

    /// A value with every attribute null.
    #[must_use]
    pub fn empty_value(&self) -> Value {
        null_object(&self.attributes)
    }
}

impl Attribute {
    /// The type of the attribute's value.
    #[must_use]
    pub fn implied_type(&self) -> Type {
        self.kind.implied_type()
    }
}

impl Kind {
    /// The type of such a value.
    #[must_use]
    pub fn implied_type(&self) -> Type {
        match self {
            Self::Plain(ty) => ty.clone(),
            Self::Single(attributes) => object_type(attributes),
            Self::List(attributes) => Type::list(object_type(attributes)),
            Self::Set(attributes) => Type::set(object_type(attributes)),
            Self::Map(attributes) => Type::map(object_type(attributes)),
        }
    }

    /// The attributes inside, unless it is of a plain type.
    #[must_use]
    pub fn nested(&self) -> Option<&[Attribute]> {
        match self {
            Self::Plain(_) => None,
            Self::Single(nested) | Self::List(nested) | Self::Set(nested) | Self::Map(nested) => Some(nested),
        }
    }
}

impl Presence {
    /// Required on the wire.
    #[must_use]
    pub fn is_required(&self) -> bool {
        matches!(self, Self::Required)
    }

    /// Optional on the wire.
    #[must_use]
    pub fn is_optional(&self) -> bool {
        matches!(self, Self::Optional | Self::OptionalComputed | Self::Default(_))
    }

    /// Computed on the wire: the provider may put a value where the configuration has none.
    #[must_use]
    pub fn is_computed(&self) -> bool {
        matches!(self, Self::Computed | Self::OptionalComputed | Self::Default(_))
    }
}

pub(crate) fn object_type(attributes: &[Attribute]) -> Type {
    Type::object(
        attributes
            .iter()
            .map(|attribute| (attribute.name.as_str(), attribute.implied_type())),
    )
}

/// An object of these attributes, all null.
pub(crate) fn null_object(attributes: &[Attribute]) -> Value {
    let entries = attributes
        .iter()
        .map(|attribute| (attribute.name.clone(), Value::Null));
    Value::Keyed(entries.collect::<BTreeMap<_, _>>())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn schema() -> Schema {
        let disk = vec![Attribute::required("size", Type::Number)];
        Schema::new([
            Attribute::required("name", Type::String),
            Attribute::optional("single", Kind::single(disk.clone())),
            Attribute::optional("list", Kind::list(disk.clone())),
            Attribute::optional("set", Kind::set(disk.clone())),
            Attribute::optional("map", Kind::map(disk)),
        ])
    }

    #[test]
    fn the_implied_type_is_an_object_of_all_attributes() {
        let expected = "object({list=list(object({size=number})), map=map(object({size=number})), name=string, \
                        set=set(object({size=number})), single=object({size=number})})";
        assert_eq!(schema().implied_type().to_string(), expected);
    }

    #[test]
    fn an_attribute_is_found_through_elements() {
        let size = Path::attribute("map").then_key("x").then_attribute("size");
        assert_eq!(
            schema().find(&size).map(|a| a.name.clone()),
            Some("size".to_owned())
        );
        assert!(
            schema()
                .find(&Path::attribute("name").then_attribute("size"))
                .is_none()
        );
        assert!(schema().find(&Path::root()).is_none());
    }

    #[test]
    fn a_default_is_optional_and_computed_on_the_wire() {
        let default = Presence::Default(Value::from(1));
        assert!(default.is_optional() && default.is_computed() && !default.is_required());
        assert!(!Presence::Optional.is_computed() && !Presence::Computed.is_optional());
    }
}
