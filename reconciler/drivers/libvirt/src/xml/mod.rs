//! A small document tree for libvirt's XML: what is not edited is written as it was read, byte for byte.
//!
//! A definition found on a host carries more than labyard knows. So start tags and texts keep their spelling
//! (quotes, references, order of attributes, namespace prefixes) until somebody changes them.

mod edit;
mod parse;
mod write;

#[cfg(test)]
mod tests;

use std::borrow::Cow;

/// Text that is no XML that libvirt would write.
#[derive(Debug, thiserror::Error)]
pub(crate) enum XmlError {
    /// Not well-formed.
    #[error("malformed XML: {0}")]
    Syntax(#[from] quick_xml::Error),
    /// A bad attribute.
    #[error("malformed XML attribute: {0}")]
    Attribute(#[from] quick_xml::events::attributes::AttrError),
    /// A reference that means nothing.
    #[error("malformed XML reference: {0}")]
    Reference(#[from] quick_xml::escape::EscapeError),
    /// No element, more than one, or one that does not end.
    #[error("not one XML element")]
    NotOneElement,
    /// Deeper than any definition.
    #[error("XML nested deeper than {} elements", parse::MAX_DEPTH)]
    TooDeep,
    /// Something that a definition never holds.
    #[error("XML with a document type")]
    DocumentType,
}

/// An element.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Element {
    /// Its name as written, prefix included.
    name: String,
    /// Its attributes with their values, references resolved.
    attributes: Vec<(String, String)>,
    /// The inside of its start tag as it was read, while its attributes are unchanged.
    as_read: Option<String>,
    /// What is in it.
    children: Vec<Node>,
}

/// What an element holds.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Node {
    /// Another element.
    Element(Element),
    /// Text as written, with its references.
    Text(String),
    /// A comment, CDATA section or instruction as written, with its delimiters.
    Verbatim(String),
}

impl Element {
    /// An empty element.
    pub(crate) fn new(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            attributes: Vec::new(),
            as_read: None,
            children: Vec::new(),
        }
    }

    /// Its name without a prefix.
    pub(crate) fn local_name(&self) -> &str {
        self.name
            .split_once(':')
            .map_or(self.name.as_str(), |(_, local)| local)
    }

    /// The value of an attribute.
    pub(crate) fn attribute(&self, name: &str) -> Option<&str> {
        self.attributes
            .iter()
            .find(|(n, _)| n == name)
            .map(|(_, value)| value.as_str())
    }

    /// Its attributes in order.
    pub(crate) fn attributes(&self) -> impl Iterator<Item = (&str, &str)> {
        self.attributes
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// The elements in it.
    pub(crate) fn elements(&self) -> impl Iterator<Item = &Element> {
        self.children.iter().filter_map(|node| match node {
            Node::Element(element) => Some(element),
            Node::Text(_) | Node::Verbatim(_) => None,
        })
    }

    /// The elements in it that carry this name.
    pub(crate) fn named<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a Element> {
        self.elements().filter(move |element| element.name == name)
    }

    /// The first element in it that carries this name.
    pub(crate) fn child(&self, name: &str) -> Option<&Element> {
        self.elements().find(|element| element.name == name)
    }

    /// The element at the end of a path of names, the first of each name.
    pub(crate) fn at(&self, path: &[&str]) -> Option<&Element> {
        path.iter().try_fold(self, |element, name| element.child(name))
    }

    /// The attribute of the element at the end of a path.
    pub(crate) fn attribute_at(&self, path: &[&str], name: &str) -> Option<&str> {
        self.at(path)?.attribute(name)
    }

    /// The text of the element at the end of a path.
    pub(crate) fn text_at(&self, path: &[&str]) -> Option<String> {
        self.at(path).map(Element::text)
    }

    /// Its text, references resolved, space at both ends removed.
    pub(crate) fn text(&self) -> String {
        self.whole_text().trim().to_owned()
    }

    /// Its text, references resolved, with all space in it.
    pub(crate) fn whole_text(&self) -> String {
        let mut text = String::new();
        for node in &self.children {
            match node {
                // Parsing has resolved every text once, so that the fallback is never taken.
                Node::Text(raw) => {
                    text.push_str(&quick_xml::escape::unescape(raw).unwrap_or(Cow::Borrowed(raw)));
                }
                Node::Verbatim(raw) => text.push_str(cdata(raw).unwrap_or_default()),
                Node::Element(_) => {}
            }
        }
        text
    }

    /// What a prefix means in its own declarations; `""` asks for the default namespace.
    pub(crate) fn declared(&self, prefix: &str) -> Option<&str> {
        match prefix {
            "" => self.attribute("xmlns"),
            prefix => self.attribute(&format!("xmlns:{prefix}")),
        }
    }

    /// The prefix of its name, `""` without one.
    pub(crate) fn prefix(&self) -> &str {
        self.name.split_once(':').map_or("", |(prefix, _)| prefix)
    }
}

fn cdata(raw: &str) -> Option<&str> {
    raw.strip_prefix("<![CDATA[")?.strip_suffix("]]>")
}
