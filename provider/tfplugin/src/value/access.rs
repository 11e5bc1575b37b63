//! Making values, looking into them and changing them in place.

use std::collections::BTreeMap;

use super::{Number, Path, Step, Type, Value};

impl Value {
    /// A list, set or tuple.
    pub fn list(items: impl IntoIterator<Item = Self>) -> Self {
        Self::Sequence(items.into_iter().collect())
    }

    /// A map or object.
    pub fn object<K: Into<String>>(entries: impl IntoIterator<Item = (K, Self)>) -> Self {
        Self::Keyed(
            entries
                .into_iter()
                .map(|(key, value)| (key.into(), value))
                .collect(),
        )
    }

    /// Whether it is absent.
    #[must_use]
    pub fn is_null(&self) -> bool {
        match self {
            Self::Null => true,
            Self::Dynamic(_, inner) => inner.is_null(),
            _ => false,
        }
    }

    /// Whether it is not known before apply. Something inside may be unknown all the same.
    #[must_use]
    pub fn is_unknown(&self) -> bool {
        match self {
            Self::Unknown => true,
            Self::Dynamic(_, inner) => inner.is_unknown(),
            _ => false,
        }
    }

    /// Whether it and everything inside it is known.
    #[must_use]
    pub fn is_wholly_known(&self) -> bool {
        match self {
            Self::Unknown => false,
            Self::Sequence(items) => items.iter().all(Self::is_wholly_known),
            Self::Keyed(entries) => entries.values().all(Self::is_wholly_known),
            Self::Dynamic(_, inner) => inner.is_wholly_known(),
            _ => true,
        }
    }

    /// The value without the type it arrived with.
    #[must_use]
    pub fn inner(&self) -> &Self {
        match self {
            Self::Dynamic(_, inner) => inner.inner(),
            other => other,
        }
    }

    /// The boolean, if it is one.
    #[must_use]
    pub fn as_bool(&self) -> Option<bool> {
        match self.inner() {
            Self::Bool(b) => Some(*b),
            _ => None,
        }
    }

    /// The number, if it is one.
    #[must_use]
    pub fn as_number(&self) -> Option<&Number> {
        match self.inner() {
            Self::Number(n) => Some(n),
            _ => None,
        }
    }

    /// The whole number, if it is one and fits.
    #[must_use]
    pub fn as_i64(&self) -> Option<i64> {
        self.as_number()?.as_i64()
    }

    /// The whole number, if it is one and fits.
    #[must_use]
    pub fn as_u64(&self) -> Option<u64> {
        self.as_number()?.as_u64()
    }

    /// The string, if it is one.
    #[must_use]
    pub fn as_str(&self) -> Option<&str> {
        match self.inner() {
            Self::String(s) => Some(s),
            _ => None,
        }
    }

    /// The elements of a list, set or tuple.
    #[must_use]
    pub fn as_sequence(&self) -> Option<&[Self]> {
        match self.inner() {
            Self::Sequence(items) => Some(items),
            _ => None,
        }
    }

    /// The entries of a map or object.
    #[must_use]
    pub fn as_keyed(&self) -> Option<&BTreeMap<String, Self>> {
        match self.inner() {
            Self::Keyed(entries) => Some(entries),
            _ => None,
        }
    }

    /// The entries of a map or object, to change.
    pub fn as_keyed_mut(&mut self) -> Option<&mut BTreeMap<String, Self>> {
        match self {
            Self::Keyed(entries) => Some(entries),
            Self::Dynamic(_, inner) => inner.as_keyed_mut(),
            _ => None,
        }
    }

    /// What stands at an attribute of an object or a key of a map; null where nothing does, unknown where the
    /// whole is.
    #[must_use]
    pub fn field(&self, name: &str) -> &Self {
        match self.inner() {
            Self::Keyed(entries) => entries.get(name).unwrap_or(&Self::Null),
            Self::Unknown => &Self::Unknown,
            _ => &Self::Null,
        }
    }

    /// The elements of a list, set or tuple; none of anything else.
    pub fn items(&self) -> impl Iterator<Item = &Self> {
        self.as_sequence().unwrap_or_default().iter()
    }

    /// The entries of a map or object in the order of their keys; none of anything else.
    pub fn entries(&self) -> impl Iterator<Item = (&str, &Self)> {
        self.as_keyed()
            .into_iter()
            .flatten()
            .map(|(key, value)| (key.as_str(), value))
    }

    /// What stands at a path, if the path exists.
    #[must_use]
    pub fn get(&self, path: &Path) -> Option<&Self> {
        path.0.iter().try_fold(self, |value, step| value.step(step))
    }

    fn step(&self, step: &Step) -> Option<&Self> {
        match (self.inner(), step) {
            (Self::Keyed(entries), Step::Attribute(key) | Step::Key(key)) => entries.get(key),
            (Self::Sequence(items), Step::Index(index)) => items.get(usize::try_from(*index).ok()?),
            (Self::Sequence(items), Step::Element(element)) => items.iter().find(|item| *item == element),
            _ => None,
        }
    }

    /// What stands at a path, to change, if the path exists.
    pub fn get_mut(&mut self, path: &Path) -> Option<&mut Self> {
        path.0.iter().try_fold(self, |value, step| value.step_mut(step))
    }

    fn step_mut(&mut self, step: &Step) -> Option<&mut Self> {
        match (self, step) {
            (Self::Dynamic(_, inner), step) => inner.step_mut(step),
            (Self::Keyed(entries), Step::Attribute(key) | Step::Key(key)) => entries.get_mut(key),
            (Self::Sequence(items), Step::Index(index)) => items.get_mut(usize::try_from(*index).ok()?),
            (Self::Sequence(items), Step::Element(element)) => items.iter_mut().find(|item| *item == element),
            _ => None,
        }
    }

    /// Puts a value at a path and returns what stood there. Adds the last key where it is missing; `None`, and
    /// nothing changed, where the path leads nowhere.
    pub fn set(&mut self, path: &Path, value: impl Into<Self>) -> Option<Self> {
        let value = value.into();
        let Some((last, parents)) = path.0.split_last() else {
            return Some(std::mem::replace(self, value));
        };
        let parent = parents
            .iter()
            .try_fold(self, |value, step| value.step_mut(step))?;
        match (parent, last) {
            (Self::Keyed(entries), Step::Attribute(key) | Step::Key(key)) => {
                Some(entries.insert(key.clone(), value).unwrap_or_default())
            }
            (parent, last) => Some(std::mem::replace(parent.step_mut(last)?, value)),
        }
    }

    /// Wraps the value in the type it has of itself, for an attribute of dynamic type.
    #[must_use]
    pub fn into_dynamic(self) -> Self {
        match self {
            Self::Null | Self::Unknown | Self::Dynamic(..) => self,
            other => Self::Dynamic(Box::new(Type::of(&other)), Box::new(other)),
        }
    }
}

impl From<bool> for Value {
    fn from(b: bool) -> Self {
        Self::Bool(b)
    }
}

impl From<&str> for Value {
    fn from(s: &str) -> Self {
        Self::String(s.to_owned())
    }
}

impl From<String> for Value {
    fn from(s: String) -> Self {
        Self::String(s)
    }
}

impl From<Number> for Value {
    fn from(n: Number) -> Self {
        Self::Number(n)
    }
}

impl From<i32> for Value {
    fn from(n: i32) -> Self {
        Self::Number(n.into())
    }
}

impl From<i64> for Value {
    fn from(n: i64) -> Self {
        Self::Number(n.into())
    }
}

impl From<u32> for Value {
    fn from(n: u32) -> Self {
        Self::Number(n.into())
    }
}

impl From<u64> for Value {
    fn from(n: u64) -> Self {
        Self::Number(n.into())
    }
}

impl<T: Into<Self>> From<Option<T>> for Value {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Null, Into::into)
    }
}

impl<T: Into<Self>> From<Vec<T>> for Value {
    fn from(items: Vec<T>) -> Self {
        Self::list(items.into_iter().map(Into::into))
    }
}

impl<T: Into<Self>> From<BTreeMap<String, T>> for Value {
    fn from(entries: BTreeMap<String, T>) -> Self {
        Self::object(entries.into_iter().map(|(key, value)| (key, value.into())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn machine() -> Value {
        let root = Value::object([("size_gib", Value::from(20)), ("bus", Value::Null)]);
        Value::object([
            ("name", Value::from("web")),
            ("disks", Value::object([("root", root)])),
            ("tags", Value::from(vec!["a", "b"])),
            ("id", Value::Unknown),
        ])
    }

    #[test]
    fn a_value_is_found_by_its_path() {
        let value = machine();
        let size = Path::attribute("disks")
            .then_key("root")
            .then_attribute("size_gib");
        assert_eq!(value.get(&size).and_then(Value::as_i64), Some(20));
        assert_eq!(
            value
                .get(&Path::attribute("tags").then_index(1))
                .and_then(Value::as_str),
            Some("b")
        );
        let element = Path::attribute("tags").then(Step::Element(Value::from("a")));
        assert_eq!(value.get(&element), Some(&Value::from("a")));
        assert_eq!(value.get(&Path::attribute("tags").then_index(2)), None);
        assert_eq!(value.get(&Path::attribute("tags").then(Step::Index(-1))), None);
        assert_eq!(value.get(&Path::attribute("name").then_attribute("x")), None);
    }

    #[test]
    fn set_replaces_a_value_and_adds_a_missing_key_but_no_missing_parent() {
        let mut value = machine();
        let bus = Path::attribute("disks").then_key("root").then_attribute("bus");
        assert_eq!(value.set(&bus, "scsi"), Some(Value::Null));
        assert_eq!(value.get(&bus), Some(&Value::from("scsi")));
        assert_eq!(
            value.set(&Path::attribute("disks").then_key("data"), Value::Null),
            Some(Value::Null)
        );
        assert_eq!(
            value
                .field("disks")
                .entries()
                .map(|(key, _)| key)
                .collect::<Vec<_>>(),
            ["data", "root"]
        );
        assert_eq!(value.set(&Path::attribute("nics").then_key("lan"), "x"), None);
        assert_eq!(value.set(&Path::attribute("tags").then_index(7), "x"), None);
    }

    #[test]
    fn a_field_of_the_unknown_is_unknown_and_of_anything_else_null() {
        assert_eq!(machine().field("id").field("x"), &Value::Unknown);
        assert_eq!(machine().field("name").field("x"), &Value::Null);
        assert_eq!(machine().field("nothing"), &Value::Null);
    }

    #[test]
    fn one_unknown_leaf_makes_the_whole_not_wholly_known() {
        let mut value = machine();
        assert!(!value.is_wholly_known());
        value.set(&Path::attribute("id"), "x");
        assert!(value.is_wholly_known());
    }

    #[test]
    fn a_dynamic_value_is_seen_through() {
        let value = Value::from(true).into_dynamic();
        assert_eq!(value.as_bool(), Some(true));
        assert!(!value.is_null());
        assert_eq!(Value::Null.into_dynamic(), Value::Null);
    }
}
