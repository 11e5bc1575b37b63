//! What is wrong with a configuration, by key and line.

use labyard_schema::problem::At;
use std::{fmt, ops::Range, path::PathBuf};
use toml::de::{DeTable, DeValue};

/// Why a configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConfigError {
    /// The file cannot be read.
    #[error("{}: {why}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What happened.
        why: String,
    },
    /// Something in it is wrong.
    #[error("{}", lines(path, wrong))]
    Wrong {
        /// The file.
        path: PathBuf,
        /// What.
        wrong: Vec<Wrong>,
    },
}

fn lines(path: &std::path::Path, wrong: &[Wrong]) -> String {
    let lines = wrong.iter().map(|wrong| format!("{}: {wrong}", path.display()));
    lines.collect::<Vec<_>>().join("\n")
}

/// Something wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Wrong {
    line: Option<usize>,
    key: String,
    why: String,
}

impl fmt::Display for Wrong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(line) = self.line {
            write!(f, "line {line}: ")?;
        }
        if !self.key.is_empty() {
            write!(f, "{}: ", self.key)?;
        }
        f.write_str(&self.why)
    }
}

/// A step of a path to an attribute, as a key.
pub(crate) fn step(at: &At) -> String {
    match at {
        At::Attribute(name) => (*name).to_owned(),
        At::Key(key) => key.clone(),
    }
}

/// A text with where everything stands in it.
pub(crate) struct Source<'a> {
    text: &'a str,
    table: DeTable<'a>,
}

impl<'a> Source<'a> {
    /// Takes a text apart.
    pub(crate) fn parse(text: &'a str) -> Result<Self, Vec<Wrong>> {
        match DeTable::parse(text) {
            Ok(table) => Ok(Self {
                text,
                table: table.into_inner(),
            }),
            Err(error) => Err(vec![Wrong {
                line: error.span().map(|span| line_of(text, span.start)),
                key: String::new(),
                why: error.message().trim_end().to_owned(),
            }]),
        }
    }

    /// A value of the top as JSON.
    pub(crate) fn json(&self, key: &str) -> Option<serde_json::Value> {
        let table: toml::Table = toml::from_str(self.text).ok()?;
        serde_json::to_value(table.get(key)?).ok()
    }

    /// Something wrong at a path, or as near to it as there is something.
    pub(crate) fn at(&self, path: &[&str], why: &str) -> Wrong {
        let mut found: Option<Range<usize>> = None;
        let mut table = Some(&self.table);
        for part in path {
            let Some((key, value)) =
                table.and_then(|table| table.iter().find(|(key, _)| key.get_ref() == part))
            else {
                break;
            };
            found = Some(key.span());
            table = match value.get_ref() {
                DeValue::Table(inner) => Some(inner),
                _ => None,
            };
        }
        Wrong {
            line: found.map(|span| line_of(self.text, span.start)),
            key: path.join("."),
            why: why.to_owned(),
        }
    }

    /// What reading the text into the configuration met.
    pub(crate) fn said(&self, error: &toml::de::Error) -> Wrong {
        let span = error.span();
        let key = span
            .as_ref()
            .map(|span| path_to(&self.table, span))
            .unwrap_or_default();
        Wrong {
            line: span.map(|span| line_of(self.text, span.start)),
            key: key.join("."),
            why: error.message().trim_end().to_owned(),
        }
    }
}

/// The keys that lead to a place.
fn path_to(table: &DeTable<'_>, place: &Range<usize>) -> Vec<String> {
    let holds = |span: Range<usize>| span.start <= place.start && place.end <= span.end;
    for (key, value) in table {
        let name = key.get_ref().to_string();
        if holds(key.span()) {
            return vec![name];
        }
        let inner = match value.get_ref() {
            DeValue::Table(inner) => path_to(inner, place),
            _ => Vec::new(),
        };
        if !inner.is_empty() || holds(value.span()) {
            return [vec![name], inner].concat();
        }
    }
    Vec::new()
}

fn line_of(text: &str, at: usize) -> usize {
    text.bytes().take(at).filter(|byte| *byte == b'\n').count() + 1
}
