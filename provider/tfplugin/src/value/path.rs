//! Where in a value something is: `disks["root"].size_gib`.

use std::fmt;

use super::Value;

/// One step into a value.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Step {
    /// An attribute of an object.
    Attribute(String),
    /// A key of a map.
    Key(String),
    /// An index of a list or tuple.
    Index(i64),
    /// An element of a set, named by its value.
    Element(Value),
}

/// A path from the root of a value, printed in HCL's notation.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Path(pub Vec<Step>);

impl Path {
    /// The value itself.
    #[must_use]
    pub fn root() -> Self {
        Self::default()
    }

    /// An attribute of the outermost object.
    pub fn attribute(name: impl Into<String>) -> Self {
        Self::root().then_attribute(name)
    }

    /// One step further: an attribute of an object.
    #[must_use]
    pub fn then_attribute(self, name: impl Into<String>) -> Self {
        self.then(Step::Attribute(name.into()))
    }

    /// One step further: a key of a map.
    #[must_use]
    pub fn then_key(self, key: impl Into<String>) -> Self {
        self.then(Step::Key(key.into()))
    }

    /// One step further: an index of a list or tuple.
    #[must_use]
    pub fn then_index(self, index: usize) -> Self {
        self.then(Step::index(index))
    }

    /// One step further.
    #[must_use]
    pub fn then(mut self, step: Step) -> Self {
        self.0.push(step);
        self
    }

    /// Whether this is the value itself.
    #[must_use]
    pub fn is_root(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether `other` is here or below here.
    #[must_use]
    pub fn contains(&self, other: &Self) -> bool {
        other.0.starts_with(&self.0)
    }
}

impl Step {
    /// An index of a list or tuple.
    #[must_use]
    pub fn index(index: usize) -> Self {
        Self::Index(i64::try_from(index).unwrap_or(i64::MAX))
    }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, step) in self.0.iter().enumerate() {
            match step {
                Step::Attribute(name) if i == 0 => f.write_str(name)?,
                Step::Attribute(name) => write!(f, ".{name}")?,
                Step::Key(key) => write!(f, "[{}]", super::display::Quoted(key))?,
                Step::Index(index) => write!(f, "[{index}]")?,
                Step::Element(value) => write!(f, "[{value}]")?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_reads_as_in_hcl() {
        let path = Path::attribute("disks")
            .then_key("ro\"ot")
            .then_attribute("parts")
            .then_index(2);
        assert_eq!(path.to_string(), r#"disks["ro\"ot"].parts[2]"#);
        let element = Path::attribute("tags").then(Step::Element(Value::from("a")));
        assert_eq!(element.to_string(), r#"tags["a"]"#);
        assert_eq!(Path::root().to_string(), "");
    }

    #[test]
    fn a_path_contains_itself_and_what_is_below() {
        let disks = Path::attribute("disks");
        assert!(disks.contains(&disks));
        assert!(disks.contains(&disks.clone().then_key("root")));
        assert!(!disks.clone().then_key("root").contains(&disks));
    }
}
