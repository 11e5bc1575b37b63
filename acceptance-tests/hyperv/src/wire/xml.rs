//! XML as this server reads and writes it: an owned tree of elements with their namespaces, and texts.

/// How deep elements may stand in each other.
const DEEPEST: usize = 64;

/// An element.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Element {
    pub(crate) space: String,
    pub(crate) name: String,
    /// Namespace, name and value.
    attributes: Vec<(String, String, String)>,
    /// Its own text, of all its text nodes.
    pub(crate) text: String,
    pub(crate) children: Vec<Element>,
}

impl Element {
    /// Reads a document: well-formed, with every prefix declared, without a document type.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let document = roxmltree::Document::parse(text).map_err(|error| error.to_string())?;
        of(document.root_element(), 0).ok_or_else(|| "elements stand too deep in each other".to_owned())
    }

    pub(crate) fn is(&self, space: &str, name: &str) -> bool {
        self.space == space && self.name == name
    }

    pub(crate) fn child(&self, space: &str, name: &str) -> Option<&Element> {
        self.children.iter().find(|child| child.is(space, name))
    }

    /// An attribute; those without a prefix are in no namespace.
    pub(crate) fn attribute(&self, space: &str, name: &str) -> Option<&str> {
        let mut all = self.attributes.iter();
        all.find(|(its, called, _)| its == space && called == name)
            .map(|(_, _, value)| value.as_str())
    }

    /// Whether a truth is said in an attribute, as XML Schema writes truths.
    pub(crate) fn says(&self, space: &str, name: &str) -> bool {
        matches!(self.attribute(space, name).map(str::trim), Some("true" | "1"))
    }
}

fn of(node: roxmltree::Node<'_, '_>, depth: usize) -> Option<Element> {
    if depth > DEEPEST {
        return None;
    }
    let text = node.children().filter(roxmltree::Node::is_text);
    let attributes = node.attributes().map(|attribute| {
        let space = attribute.namespace().unwrap_or_default().to_owned();
        (space, attribute.name().to_owned(), attribute.value().to_owned())
    });
    let children = node.children().filter(roxmltree::Node::is_element);
    Some(Element {
        space: node.tag_name().namespace().unwrap_or_default().to_owned(),
        name: node.tag_name().name().to_owned(),
        attributes: attributes.collect(),
        text: text.filter_map(|text| text.text()).collect(),
        children: children
            .map(|child| of(child, depth + 1))
            .collect::<Option<_>>()?,
    })
}

/// A text as it stands in an element or an attribute. What XML 1.0 has no room for becomes U+FFFD.
pub(crate) fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\r' => out.push_str("&#13;"),
            '\t' | '\n' => out.push(character),
            '\u{0}'..='\u{1f}' | '\u{fffe}' | '\u{ffff}' => out.push('\u{fffd}'),
            other => out.push(other),
        }
    }
    out
}

/// An element with a text.
pub(crate) fn leaf(name: &str, text: &str) -> String {
    format!("<{name}>{}</{name}>", escaped(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefixes_mean_nothing_and_undeclared_ones_are_refused() {
        let read =
            Element::parse("<a:x xmlns:a='u'><b:y xmlns:b='u' n='1'>t<![CDATA[<]]></b:y></a:x>").unwrap();
        let inner = read.child("u", "y").unwrap();
        assert_eq!((inner.text.as_str(), inner.attribute("", "n")), ("t<", Some("1")));
        assert!(Element::parse("<x><w:y/></x>").is_err());
        assert!(Element::parse("<!DOCTYPE x [<!ENTITY e 'e'>]><x>&e;</x>").is_err());
        let deep = format!("{}{}", "<x>".repeat(100), "</x>".repeat(100));
        assert!(Element::parse(&deep).is_err());
    }

    #[test]
    fn what_is_escaped_is_read_back() {
        let text = "a<b>&\"c'\r\n]]>";
        let read = Element::parse(&leaf("x", text)).unwrap();
        assert_eq!(read.text, text);
    }
}
