//! CIM as the double holds it: typed values, instances, paths. The wire makes these of XML and XML of these; the model
//! knows nothing of XML.
//!
//! ```
//! use labyard_hyperv_double::cim::{Instance, Value};
//!
//! let mut machine = Instance::of("root/virtualization/v2", "Msvm_ComputerSystem");
//! machine.set("ElementName", Value::text("web-01"));
//! assert_eq!(machine.get("elementname"), &Value::text("web-01"), "names have no case");
//! assert!(machine.get("Caption").is_null(), "what was never set is null");
//! ```

use std::collections::BTreeMap;

/// A value of a property or a parameter.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// None.
    Null,
    /// `boolean`.
    Boolean(bool),
    /// `uint8` to `uint64`.
    Unsigned(u64),
    /// `sint8` to `sint64`.
    Signed(i64),
    /// `real32`, `real64`.
    Real(f64),
    /// `string`, and `datetime` in CIM's own form (25 characters).
    Text(String),
    /// `reference`.
    Reference(Path),
    /// An instance: of a parameter that is an object, and of a string that holds one.
    Instance(Box<Instance>),
    /// An array of one of the others.
    Array(Vec<Value>),
}

/// What a property that was never set is.
static NULL: Value = Value::Null;

impl Value {
    /// A `string`.
    pub fn text(text: impl Into<String>) -> Self {
        Self::Text(text.into())
    }

    /// An array of strings.
    pub fn texts<T: Into<String>>(all: impl IntoIterator<Item = T>) -> Self {
        Self::Array(all.into_iter().map(Self::text).collect())
    }

    /// Whether it is none.
    pub fn is_null(&self) -> bool {
        *self == Self::Null
    }

    /// The text, if it is one.
    pub fn as_text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            _ => None,
        }
    }

    /// The number, if it is one that has no sign.
    pub fn as_unsigned(&self) -> Option<u64> {
        match self {
            Self::Unsigned(number) => Some(*number),
            _ => None,
        }
    }

    /// The truth, if it is one.
    pub fn as_boolean(&self) -> Option<bool> {
        match self {
            Self::Boolean(truth) => Some(*truth),
            _ => None,
        }
    }

    /// The elements of an array; of null none, of a scalar the one.
    pub fn each(&self) -> &[Value] {
        match self {
            Self::Null => &[],
            Self::Array(all) => all,
            one => std::slice::from_ref(one),
        }
    }
}

/// Where an object is: a class of a namespace, and its keys. Namespace with slashes, without one at its beginning.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Path {
    /// `root/virtualization/v2`.
    pub namespace: String,
    /// Its class.
    pub class: String,
    /// Keys by name, as text.
    pub keys: BTreeMap<String, String>,
}

/// An object.
#[derive(Clone, Debug, PartialEq)]
pub struct Instance {
    /// The namespace that it is in.
    pub namespace: String,
    /// The class that it is of.
    pub class: String,
    properties: BTreeMap<String, Value>,
}

impl Instance {
    /// One without properties.
    pub fn of(namespace: &str, class: &str) -> Self {
        Self {
            namespace: namespace.to_owned(),
            class: class.to_owned(),
            properties: BTreeMap::new(),
        }
    }

    /// A property; null where it was never set. Names have no case.
    pub fn get(&self, name: &str) -> &Value {
        let exact = self.properties.get(name);
        let found = exact.or_else(|| {
            self.properties
                .iter()
                .find(|(there, _)| there.eq_ignore_ascii_case(name))
                .map(|(_, value)| value)
        });
        found.unwrap_or(&NULL)
    }

    /// Sets a property, whatever the case of its name was before.
    pub fn set(&mut self, name: &str, value: Value) -> &mut Self {
        self.properties
            .retain(|there, _| !there.eq_ignore_ascii_case(name));
        self.properties.insert(name.to_owned(), value);
        self
    }

    /// The properties that were set, by name.
    pub fn properties(&self) -> &BTreeMap<String, Value> {
        &self.properties
    }
}
