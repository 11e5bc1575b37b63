//! Writing a schema down: `Attribute::required("name", Type::String).describe("…").replaces()`.

use super::{Attribute, Kind, Presence, Schema};
use crate::value::{Type, Value};

impl Schema {
    /// A schema of version 0 with these attributes.
    pub fn new(attributes: impl Into<Vec<Attribute>>) -> Self {
        Self {
            attributes: attributes.into(),
            ..Self::default()
        }
    }

    /// Sets the version.
    #[must_use]
    pub fn version(mut self, version: i64) -> Self {
        self.version = version;
        self
    }

    /// Says what it is, in Markdown.
    #[must_use]
    pub fn describe(mut self, description: impl Into<String>) -> Self {
        self.description = description.into();
        self
    }
}

impl Attribute {
    /// The user must set it.
    pub fn required(name: impl Into<String>, kind: impl Into<Kind>) -> Self {
        Self::new(name, kind, Presence::Required)
    }

    /// The user may set it; null otherwise.
    pub fn optional(name: impl Into<String>, kind: impl Into<Kind>) -> Self {
        Self::new(name, kind, Presence::Optional)
    }

    /// The provider sets it.
    pub fn computed(name: impl Into<String>, kind: impl Into<Kind>) -> Self {
        Self::new(name, kind, Presence::Computed)
    }

    /// The user may set it; otherwise the provider does.
    pub fn optional_computed(name: impl Into<String>, kind: impl Into<Kind>) -> Self {
        Self::new(name, kind, Presence::OptionalComputed)
    }

    /// The user may set it; otherwise it is always this.
    pub fn defaulted(name: impl Into<String>, ty: Type, default: impl Into<Value>) -> Self {
        Self::new(name, ty, Presence::Default(default.into()))
    }

    /// An attribute of any presence.
    pub fn new(name: impl Into<String>, kind: impl Into<Kind>, presence: Presence) -> Self {
        Self {
            name: name.into(),
            description: String::new(),
            kind: kind.into(),
            presence,
            sensitive: false,
            write_only: false,
            requires_replace: false,
            deprecated: None,
        }
    }

    /// Says what it is, in Markdown.
    #[must_use]
    pub fn describe(mut self, description: impl Into<String>) -> Self {
        self.description = description.into();
        self
    }

    /// Hides it in Terraform's output.
    #[must_use]
    pub fn sensitive(mut self) -> Self {
        self.sensitive = true;
        self
    }

    /// Keeps it out of plan and state.
    #[must_use]
    pub fn write_only(mut self) -> Self {
        self.write_only = true;
        self
    }

    /// A change needs a replacement.
    #[must_use]
    pub fn replaces(mut self) -> Self {
        self.requires_replace = true;
        self
    }

    /// Shows it as deprecated, with the way out.
    #[must_use]
    pub fn deprecate(mut self, message: impl Into<String>) -> Self {
        self.deprecated = Some(message.into());
        self
    }
}

impl Kind {
    /// An object.
    pub fn single(attributes: impl Into<Vec<Attribute>>) -> Self {
        Self::Single(attributes.into())
    }

    /// A list of objects.
    pub fn list(attributes: impl Into<Vec<Attribute>>) -> Self {
        Self::List(attributes.into())
    }

    /// A set of objects.
    pub fn set(attributes: impl Into<Vec<Attribute>>) -> Self {
        Self::Set(attributes.into())
    }

    /// A map of objects.
    pub fn map(attributes: impl Into<Vec<Attribute>>) -> Self {
        Self::Map(attributes.into())
    }
}

impl From<Type> for Kind {
    fn from(ty: Type) -> Self {
        Self::Plain(ty)
    }
}
