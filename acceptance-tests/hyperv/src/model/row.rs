//! Writes a row, property after property.

use crate::cim::{Instance, Path, Value};

use super::paths::V2;

/// A row being written.
pub(crate) struct Row(Instance);

impl Row {
    /// A row of a class of Hyper-V.
    pub(crate) fn of(class: &str) -> Self {
        Self(Instance::of(V2, class))
    }

    /// A row of a class elsewhere.
    pub(crate) fn elsewhere(namespace: &str, class: &str) -> Self {
        Self(Instance::of(namespace, class))
    }

    /// A text.
    pub(crate) fn text(self, name: &str, text: impl Into<String>) -> Self {
        self.value(name, Value::text(text))
    }

    /// Texts.
    pub(crate) fn texts<T: Into<String>>(self, name: &str, all: impl IntoIterator<Item = T>) -> Self {
        self.value(name, Value::texts(all))
    }

    /// A number.
    pub(crate) fn number(self, name: &str, number: u64) -> Self {
        self.value(name, Value::Unsigned(number))
    }

    /// Numbers.
    pub(crate) fn numbers(self, name: &str, all: &[u64]) -> Self {
        self.value(
            name,
            Value::Array(all.iter().copied().map(Value::Unsigned).collect()),
        )
    }

    /// True or false.
    pub(crate) fn flag(self, name: &str, truth: bool) -> Self {
        self.value(name, Value::Boolean(truth))
    }

    /// A reference.
    pub(crate) fn reference(self, name: &str, to: Path) -> Self {
        self.value(name, Value::Reference(to))
    }

    /// Any value.
    pub(crate) fn value(mut self, name: &str, value: Value) -> Self {
        self.0.set(name, value);
        self
    }

    /// The row.
    pub(crate) fn done(self) -> Instance {
        self.0
    }
}

/// Bytes as an array of numbers.
pub(crate) fn octets(bytes: &[u8]) -> Value {
    Value::Array(
        bytes
            .iter()
            .map(|byte| Value::Unsigned(u64::from(*byte)))
            .collect(),
    )
}

/// An array of numbers as bytes; none where it is not one.
pub(crate) fn bytes(value: &Value) -> Option<Vec<u8>> {
    value
        .each()
        .iter()
        .map(|one| one.as_unsigned().and_then(|number| u8::try_from(number).ok()))
        .collect()
}
