//! A value that cannot be accepted, with the attribute it stands at.

use std::fmt;

/// One step to an attribute.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum At {
    /// An attribute of an object.
    Attribute(&'static str),
    /// A key of a map.
    Key(String),
}

/// What is wrong with a configuration, where, and what to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The attribute.
    pub at: Vec<At>,
    /// One line.
    pub summary: &'static str,
    /// What was found and the way out.
    pub detail: String,
}

impl Problem {
    /// A problem at a path of attribute names and map keys.
    pub fn new(at: Vec<At>, summary: &'static str, detail: impl Into<String>) -> Self {
        Self {
            at,
            summary,
            detail: detail.into(),
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, step) in self.at.iter().enumerate() {
            match step {
                At::Attribute(name) if index == 0 => write!(f, "{name}")?,
                At::Attribute(name) => write!(f, ".{name}")?,
                At::Key(key) => write!(f, "[{key:?}]")?,
            }
        }
        write!(f, ": {}", self.detail)
    }
}
