//! The little XML that this crate needs: a tree of what was read, by namespace and local name, and a writer that lets
//! through no character that XML has no room for.
//!
//! Prefixes mean nothing: Windows, OMI and openwsman each have their own.

use std::borrow::Cow;
use std::sync::Arc;

use quick_xml::NsReader;
use quick_xml::events::{BytesStart, Event};
use quick_xml::name::ResolveResult;

/// Deeper than any message.
const MAX_DEPTH: usize = 64;

/// Text that is no message.
#[derive(Debug, thiserror::Error)]
pub enum XmlError {
    /// Not well-formed.
    #[error("malformed XML: {0}")]
    Syntax(#[from] quick_xml::Error),
    /// A bad attribute.
    #[error("malformed XML attribute: {0}")]
    Attribute(#[from] quick_xml::events::attributes::AttrError),
    /// A reference that means nothing.
    #[error("malformed XML reference: {0}")]
    Reference(#[from] quick_xml::escape::EscapeError),
    /// A prefix that nobody declared.
    #[error("the prefix {0:?} is not declared")]
    Prefix(String),
    /// No element, more than one, or one that does not end.
    #[error("not one XML element")]
    NotOneElement,
    /// Nested too deeply.
    #[error("XML nested deeper than {MAX_DEPTH} elements")]
    TooDeep,
    /// What a message never holds.
    #[error("XML with a document type")]
    DocumentType,
}

/// A character that no XML can carry, however it is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the character U+{:04X} cannot be sent: XML has no room for it", u32::from(*.0))]
pub struct Unwritable(pub char);

/// An element as it was read.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Element {
    /// The URI of its namespace.
    pub(crate) space: Option<Arc<str>>,
    /// Its local name.
    pub(crate) name: String,
    /// Its attributes by local name, those that declare namespaces left out.
    pub(crate) attributes: Vec<(String, String)>,
    /// The elements in it.
    pub(crate) children: Vec<Element>,
    /// The text that stands directly in it.
    pub(crate) text: String,
}

impl Element {
    pub(crate) fn parse(text: &str) -> Result<Self, XmlError> {
        let mut reader = NsReader::from_str(text.trim_start_matches('\u{feff}'));
        let mut spaces: Vec<Arc<str>> = Vec::new();
        let mut open: Vec<Element> = Vec::new();
        let mut root = None;
        loop {
            let (space, event) = reader.read_resolved_event()?;
            let ended = match event {
                Event::Eof => break,
                Event::Start(tag) => {
                    if open.len() == MAX_DEPTH {
                        return Err(XmlError::TooDeep);
                    }
                    let space = known(&space, &mut spaces)?;
                    open.push(start(space, &tag)?);
                    continue;
                }
                Event::Empty(tag) => {
                    let space = known(&space, &mut spaces)?;
                    start(space, &tag)?
                }
                Event::End(_) => open.pop().ok_or(XmlError::NotOneElement)?,
                Event::Text(raw) => {
                    add_text(&mut open, &raw.into_inner());
                    continue;
                }
                Event::CData(raw) => {
                    add_text(&mut open, &raw.into_inner());
                    continue;
                }
                Event::GeneralRef(name) => {
                    let reference = format!("&{};", name.into_inner());
                    add_text(&mut open, &quick_xml::escape::unescape(&reference)?);
                    continue;
                }
                Event::Comment(_) | Event::PI(_) | Event::Decl(_) => continue,
                Event::DocType(_) => return Err(XmlError::DocumentType),
            };
            match open.last_mut() {
                Some(parent) => parent.children.push(ended),
                None if root.is_some() => return Err(XmlError::NotOneElement),
                None => root = Some(ended),
            }
        }
        root.filter(|_| open.is_empty()).ok_or(XmlError::NotOneElement)
    }

    pub(crate) fn is(&self, space: &str, name: &str) -> bool {
        self.name == name && self.space.as_deref() == Some(space)
    }

    pub(crate) fn child(&self, space: &str, name: &str) -> Option<&Element> {
        self.children.iter().find(|child| child.is(space, name))
    }

    /// The child of that local name, in whatever namespace.
    pub(crate) fn child_called(&self, name: &str) -> Option<&Element> {
        self.children.iter().find(|child| child.name == name)
    }

    /// What stands below these children of children.
    pub(crate) fn at(&self, path: &[(&str, &str)]) -> Option<&Element> {
        path.iter()
            .try_fold(self, |at, (space, name)| at.child(space, name))
    }

    pub(crate) fn attribute(&self, name: &str) -> Option<&str> {
        let found = self.attributes.iter().find(|(there, _)| there == name);
        found.map(|(_, value)| value.as_str())
    }

    /// `xsi:nil`.
    pub(crate) fn is_nil(&self) -> bool {
        self.attribute("nil")
            .is_some_and(|nil| nil.eq_ignore_ascii_case("true") || nil == "1")
    }
}

/// The namespace of an element: few differ, and every element has one.
fn known(found: &ResolveResult<'_>, spaces: &mut Vec<Arc<str>>) -> Result<Option<Arc<str>>, XmlError> {
    let uri = match found {
        ResolveResult::Unbound => return Ok(None),
        ResolveResult::Unknown(prefix) => return Err(XmlError::Prefix(prefix.to_string())),
        ResolveResult::Bound(uri) => uri.into_inner(),
    };
    if let Some(space) = spaces.iter().find(|space| ***space == *uri) {
        return Ok(Some(space.clone()));
    }
    let space: Arc<str> = uri.into();
    spaces.push(space.clone());
    Ok(Some(space))
}

fn start(space: Option<Arc<str>>, tag: &BytesStart<'_>) -> Result<Element, XmlError> {
    let mut attributes = Vec::new();
    for attribute in tag.attributes() {
        let attribute = attribute?;
        if attribute.key.as_namespace_binding().is_some() {
            continue;
        }
        let value = quick_xml::escape::unescape(&attribute.value)?.into_owned();
        attributes.push((attribute.key.local_name().into_inner().to_owned(), value));
    }
    Ok(Element {
        space,
        name: tag.local_name().into_inner().to_owned(),
        attributes,
        children: Vec::new(),
        text: String::new(),
    })
}

fn add_text(open: &mut [Element], text: &str) {
    if let Some(inner) = open.last_mut() {
        inner.text.push_str(text);
    }
}

/// A text as it stands in an element or, in quotation marks, in an attribute.
pub(crate) fn escaped(text: &str) -> Result<Cow<'_, str>, Unwritable> {
    escaped_by(text, |character| match character {
        '&' => Some("&amp;"),
        '<' => Some("&lt;"),
        '>' => Some("&gt;"),
        '"' => Some("&quot;"),
        '\r' => Some("&#13;"),
        '\n' => Some("&#10;"),
        '\t' => Some("&#9;"),
        _ => None,
    })
}

/// A text with these characters by reference, where all others can be written as they are.
pub(crate) fn escaped_by(
    text: &str,
    reference: impl Fn(char) -> Option<&'static str>,
) -> Result<Cow<'_, str>, Unwritable> {
    let mut written = String::new();
    let mut clean = 0;
    for (at, character) in text.char_indices() {
        if let Some(reference) = reference(character) {
            written.push_str(&text[clean..at]);
            written.push_str(reference);
            clean = at + character.len_utf8();
        } else if !is_writable(character) {
            return Err(Unwritable(character));
        }
    }
    if clean == 0 {
        return Ok(Cow::Borrowed(text));
    }
    written.push_str(&text[clean..]);
    Ok(Cow::Owned(written))
}

/// XML 1.0, production 2.
fn is_writable(character: char) -> bool {
    matches!(character, '\t' | '\n' | '\r' | '\u{20}'..='\u{fffd}' | '\u{10000}'..)
}

/// Writes elements one after the other.
#[derive(Debug, Default)]
pub(crate) struct Writer {
    out: String,
}

impl Writer {
    /// `attributes` are written as they are: nothing of a user's stands in one.
    pub(crate) fn start(&mut self, name: &str, attributes: &str) -> &mut Self {
        let blank = if attributes.is_empty() { "" } else { " " };
        for part in ["<", name, blank, attributes, ">"] {
            self.out.push_str(part);
        }
        self
    }

    pub(crate) fn end(&mut self, name: &str) -> &mut Self {
        for part in ["</", name, ">"] {
            self.out.push_str(part);
        }
        self
    }

    pub(crate) fn empty(&mut self, name: &str, attributes: &str) -> &mut Self {
        let blank = if attributes.is_empty() { "" } else { " " };
        for part in ["<", name, blank, attributes, "/>"] {
            self.out.push_str(part);
        }
        self
    }

    /// An element with a text in it.
    pub(crate) fn leaf(&mut self, name: &str, attributes: &str, text: &str) -> Result<&mut Self, Unwritable> {
        let text = escaped(text)?;
        self.start(name, attributes).out.push_str(&text);
        Ok(self.end(name))
    }

    /// What is XML already.
    pub(crate) fn raw(&mut self, xml: &str) -> &mut Self {
        self.out.push_str(xml);
        self
    }

    pub(crate) fn finish(self) -> String {
        self.out
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn prefixes_mean_nothing() {
        for text in [
            "<s:a xmlns:s='urn:one'><s:b>1</s:b></s:a>",
            "\u{feff}<?xml version='1.0'?><a xmlns='urn:one'><b>1</b></a>",
            "<a xmlns='urn:one'><q:b xmlns:q='urn:one'><![CDATA[1]]></q:b></a>",
        ] {
            let read = Element::parse(text).unwrap();
            assert!(read.is("urn:one", "a"), "{text}");
            assert_eq!(read.child("urn:one", "b").unwrap().text, "1", "{text}");
            assert_eq!(read.child("urn:two", "b"), None, "{text}");
        }
    }

    #[test]
    fn what_is_no_message_is_refused() {
        let deep = "<a>".repeat(100) + &"</a>".repeat(100);
        for text in [
            "",
            "<a>",
            "</a>",
            "<a/><b/>",
            "<a></b>",
            "<x:a/>",
            "<a b='&nope;'/>",
            "<a>&nope;</a>",
            "<!DOCTYPE a><a/>",
            &deep,
        ] {
            assert!(Element::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_character_without_room_in_xml_is_refused() {
        for character in ['\0', '\u{b}', '\u{1f}', '\u{fffe}', '\u{ffff}'] {
            assert_eq!(escaped(&format!("a{character}")), Err(Unwritable(character)));
        }
        assert_eq!(
            Unwritable('\u{b}').to_string(),
            "the character U+000B cannot be sent: XML has no room for it"
        );
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(text in "(?s)[^\\x00-\\x08\\x0b\\x0c\\x0e-\\x1f\\u{fffe}\\u{ffff}]*") {
            let mut writer = Writer::default();
            writer.leaf("a", "", &text).unwrap();
            prop_assert_eq!(Element::parse(&writer.finish()).unwrap().text, text);
        }

        #[test]
        fn nothing_that_is_read_ends_the_program(text in "(?s).*") {
            let _ = Element::parse(&text);
        }
    }
}
