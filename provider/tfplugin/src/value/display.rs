//! Values as text for messages: HCL's notation, shortened where long.

use std::fmt;

use super::Value;

/// Longer strings are cut; a message is no place for a file.
const MAX_STRING: usize = 80;
/// Longer collections are cut.
const MAX_ITEMS: usize = 8;
/// Deeper nesting is cut.
const MAX_DEPTH: usize = 6;

/// A string in HCL's quotes.
pub(crate) struct Quoted<'a>(pub(crate) &'a str);

impl fmt::Display for Quoted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("\"")?;
        for (i, c) in self.0.chars().enumerate() {
            match c {
                _ if i == MAX_STRING => {
                    f.write_str("…")?;
                    break;
                }
                '"' | '\\' => write!(f, "\\{c}")?,
                '\n' => f.write_str("\\n")?,
                c if c.is_control() => write!(f, "\\u{:04x}", u32::from(c))?,
                c => write!(f, "{c}")?,
            }
        }
        f.write_str("\"")
    }
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_value(f, self, 0)
    }
}

fn write_value(f: &mut fmt::Formatter<'_>, value: &Value, depth: usize) -> fmt::Result {
    match value {
        Value::Null => f.write_str("null"),
        Value::Unknown => f.write_str("(known after apply)"),
        Value::Bool(b) => write!(f, "{b}"),
        Value::Number(n) => write!(f, "{n}"),
        Value::String(s) => write!(f, "{}", Quoted(s)),
        Value::Dynamic(_, inner) => write_value(f, inner, depth),
        Value::Sequence(_) | Value::Keyed(_) if depth == MAX_DEPTH => f.write_str("…"),
        Value::Sequence(items) => {
            f.write_str("[")?;
            write_items(f, items.iter(), |f, item| write_value(f, item, depth + 1))?;
            f.write_str("]")
        }
        Value::Keyed(entries) => {
            f.write_str("{")?;
            write_items(f, entries.iter(), |f, (key, item)| {
                write!(f, "{key} = ")?;
                write_value(f, item, depth + 1)
            })?;
            f.write_str("}")
        }
    }
}

fn write_items<T>(
    f: &mut fmt::Formatter<'_>,
    items: impl Iterator<Item = T>,
    mut write_one: impl FnMut(&mut fmt::Formatter<'_>, T) -> fmt::Result,
) -> fmt::Result {
    for (i, item) in items.enumerate() {
        if i > 0 {
            f.write_str(", ")?;
        }
        if i == MAX_ITEMS {
            return f.write_str("…");
        }
        write_one(f, item)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_read_as_in_hcl() {
        let value = Value::object([
            ("name", Value::from("a\n\"b\"")),
            ("sizes", Value::list([Value::from(1), Value::Null])),
            ("id", Value::Unknown),
        ]);
        assert_eq!(
            value.to_string(),
            r#"{id = (known after apply), name = "a\n\"b\"", sizes = [1, null]}"#
        );
    }

    #[test]
    fn long_values_are_cut() {
        let long = Value::list((0..1000).map(|_| Value::from("x".repeat(1000))));
        assert!(long.to_string().chars().count() < 1000);
        let mut deep = Value::Null;
        for _ in 0..50 {
            deep = Value::list([deep]);
        }
        assert_eq!(deep.to_string(), "[[[[[[…]]]]]]");
    }
}
