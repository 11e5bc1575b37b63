//! What one side sees of the other: pairs by name, ours alone, with what is wrong about them.

use std::collections::BTreeMap;

use crate::action::Action;
use crate::illegal::Illegal;
use crate::{PREFIX, VALUE_MAX};

/// The pairs of one direction, read at one moment. Names that do not begin with `labyard.` are left out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Items(BTreeMap<String, Value>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Value {
    Text(String),
    NotText,
    Twice,
}

impl Items {
    /// Of pairs as bytes, as the pool files of Linux have them.
    pub fn of_bytes<'a>(pairs: impl IntoIterator<Item = (&'a [u8], &'a [u8])>) -> Self {
        let mut items = Self::default();
        for (key, value) in pairs {
            let value = match (std::str::from_utf8(key), std::str::from_utf8(value)) {
                (Ok(_), Ok(text)) => Value::Text(text.to_owned()),
                _ => Value::NotText,
            };
            items.add(String::from_utf8_lossy(key).into_owned(), value);
        }
        items
    }

    /// Of pairs as texts, as WMI and the registry have them.
    pub fn of_texts<K: Into<String>, V: Into<String>>(pairs: impl IntoIterator<Item = (K, V)>) -> Self {
        let mut items = Self::default();
        for (key, text) in pairs {
            items.add(key.into(), Value::Text(text.into()));
        }
        items
    }

    fn add(&mut self, key: String, value: Value) {
        if key.starts_with(PREFIX) {
            self.0
                .entry(key)
                .and_modify(|there| *there = Value::Twice)
                .or_insert(value);
        }
    }

    /// The value of a name.
    ///
    /// # Errors
    /// If it is no text, too long, or there twice.
    pub fn text(&self, key: &str) -> Result<Option<&str>, Illegal> {
        match self.0.get(key) {
            None => Ok(None),
            Some(Value::NotText) => Err(Illegal::NotText(key.to_owned())),
            Some(Value::Twice) => Err(Illegal::Twice(key.to_owned())),
            Some(Value::Text(text)) if text.len() > VALUE_MAX => Err(Illegal::TooLong {
                key: key.to_owned(),
                length: text.len(),
                most: VALUE_MAX,
            }),
            Some(Value::Text(text)) => Ok(Some(text)),
        }
    }

    /// All names.
    pub fn keys(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }

    /// Does what a side wants done to its pairs, as the other side will see it.
    pub fn apply(&mut self, actions: &[Action]) {
        for action in actions {
            match action {
                Action::Put(items) => {
                    for item in items {
                        self.0.insert(item.key.clone(), Value::Text(item.text.clone()));
                    }
                }
                Action::Remove(keys) => self.0.retain(|key, _| !keys.contains(key)),
                Action::Apply(_) | Action::Remember(_) | Action::Refused(_) => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wrong_with_a_pair_is_said_when_it_is_asked_for() {
        let long = "x".repeat(VALUE_MAX + 1);
        let items = Items::of_bytes([
            (b"labyard.good".as_slice(), b"text".as_slice()),
            (b"labyard.bad", &[0xff]),
            (b"labyard.two", b"1"),
            (b"labyard.two", b"1"),
            (b"labyard.long", long.as_bytes()),
            (b"VirtualMachineName", &[0xff]),
            (b"labyard.k\xff", b"x"),
        ]);
        assert_eq!(items.text("labyard.good"), Ok(Some("text")));
        assert_eq!(items.text("labyard.none"), Ok(None));
        assert_eq!(
            items.text("labyard.bad"),
            Err(Illegal::NotText("labyard.bad".into()))
        );
        assert_eq!(
            items.text("labyard.two"),
            Err(Illegal::Twice("labyard.two".into()))
        );
        assert!(matches!(
            items.text("labyard.long"),
            Err(Illegal::TooLong { length: 901, .. })
        ));
        assert_eq!(items.keys().count(), 5, "a foreign name is left out");
    }
}
