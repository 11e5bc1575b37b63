//! Text to tree.

use quick_xml::Reader;
use quick_xml::events::{BytesStart, Event};

use super::{Element, Node, XmlError};

/// libvirt's own definitions stay below ten.
pub(super) const MAX_DEPTH: usize = 64;

impl Element {
    /// Reads one element with what is in it; what stands before and after it is dropped.
    pub(crate) fn parse(text: &str) -> Result<Self, XmlError> {
        let mut reader = Reader::from_str(text);
        let mut open: Vec<Element> = Vec::new();
        let mut root = None;
        loop {
            let node = match reader.read_event()? {
                Event::Eof => break,
                Event::Start(tag) => {
                    if open.len() == MAX_DEPTH {
                        return Err(XmlError::TooDeep);
                    }
                    open.push(start(&tag)?);
                    continue;
                }
                Event::Empty(tag) => Node::Element(start(&tag)?),
                Event::End(_) => Node::Element(open.pop().ok_or(XmlError::NotOneElement)?),
                Event::Text(raw) => checked_text(raw.into_inner().into_owned())?,
                Event::GeneralRef(name) => checked_text(format!("&{};", name.into_inner()))?,
                Event::CData(raw) => Node::Verbatim(format!("<![CDATA[{}]]>", raw.into_inner())),
                Event::Comment(raw) => Node::Verbatim(format!("<!--{}-->", raw.into_inner())),
                Event::PI(raw) => Node::Verbatim(format!("<?{}?>", raw.into_inner())),
                Event::Decl(_) => continue,
                Event::DocType(_) => return Err(XmlError::DocumentType),
            };
            match (open.last_mut(), node) {
                (Some(parent), node) => parent.children.push(node),
                (None, Node::Element(_)) if root.is_some() => return Err(XmlError::NotOneElement),
                (None, Node::Element(element)) => root = Some(element),
                (None, Node::Text(_) | Node::Verbatim(_)) => {}
            }
        }
        root.filter(|_| open.is_empty()).ok_or(XmlError::NotOneElement)
    }
}

fn start(tag: &BytesStart<'_>) -> Result<Element, XmlError> {
    let name = tag.name().into_inner().to_owned();
    let attributes = tag
        .attributes()
        .map(|attribute| {
            let attribute = attribute?;
            let value = quick_xml::escape::unescape(&attribute.value)?.into_owned();
            Ok((attribute.key.into_inner().to_owned(), value))
        })
        .collect::<Result<Vec<_>, XmlError>>()?;
    let as_read = format!("{name}{}", tag.attributes_raw().trim_end());
    Ok(Element {
        name,
        attributes,
        as_read: Some(as_read),
        children: Vec::new(),
    })
}

fn checked_text(raw: String) -> Result<Node, XmlError> {
    quick_xml::escape::unescape(&raw)?;
    Ok(Node::Text(raw))
}
