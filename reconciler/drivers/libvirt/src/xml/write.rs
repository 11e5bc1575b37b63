//! Tree to text.

use std::fmt::{self, Write};

use super::{Element, Node};

impl fmt::Display for Element {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_char('<')?;
        match &self.as_read {
            Some(tag) => f.write_str(tag)?,
            None => {
                f.write_str(&self.name)?;
                for (name, value) in &self.attributes {
                    write!(f, " {name}='{}'", escape_attribute(value))?;
                }
            }
        }
        if self.children.is_empty() {
            return f.write_str("/>");
        }
        f.write_char('>')?;
        for child in &self.children {
            match child {
                Node::Element(element) => fmt::Display::fmt(element, f)?,
                Node::Text(raw) | Node::Verbatim(raw) => f.write_str(raw)?,
            }
        }
        write!(f, "</{}>", self.name)
    }
}

/// Line breaks in an attribute would be read back as blanks unless they are written as references.
fn escape_attribute(value: &str) -> String {
    let mut escaped = String::with_capacity(value.len());
    for char in value.chars() {
        match char {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '\'' => escaped.push_str("&apos;"),
            '"' => escaped.push_str("&quot;"),
            '\n' => escaped.push_str("&#10;"),
            '\r' => escaped.push_str("&#13;"),
            '\t' => escaped.push_str("&#9;"),
            other => escaped.push(other),
        }
    }
    escaped
}

/// Text as it stands between tags.
pub(super) fn escape_text(text: &str) -> String {
    quick_xml::escape::partial_escape(text).replace('\r', "&#13;")
}
