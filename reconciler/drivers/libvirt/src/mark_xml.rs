//! Marks inside libvirt's `<metadata>`.

use labyard_driver::mark::{Mark, XML_NAMESPACE};
use labyard_driver::observed::MarkState;

use crate::xml::Element;

/// The prefix under which libvirt is asked to keep the mark.
pub(crate) const PREFIX: &str = "labyard";

/// The mark as the content of libvirt's set-metadata call, which adds namespace and prefix by itself.
pub(crate) fn bare(mark: &Mark) -> Element {
    Element::new("mark").saying(&storable(&mark.to_text()))
}

/// Puts the mark into a definition in place of the one there, leaving other metadata as found.
pub(crate) fn put(definition: &mut Element, mark: &Mark) {
    let text = storable(&mark.to_text());
    let inherited = definition.clone_declarations();
    let metadata = definition.ensure("metadata");
    let outer = [metadata.clone_declarations(), inherited];
    if let Some(found) = metadata.elements_mut().find(|element| is_mark(element, &outer)) {
        found.set_text(&text);
        return;
    }
    let name = format!("{PREFIX}:mark");
    metadata.push(
        Element::new(&name)
            .with(&format!("xmlns:{PREFIX}"), XML_NAMESPACE)
            .saying(&text),
    );
}

/// The mark of a definition.
pub(crate) fn of_definition(definition: &Element) -> MarkState {
    let Some(metadata) = definition.child("metadata") else {
        return MarkState::None;
    };
    let outer = [metadata.clone_declarations(), definition.clone_declarations()];
    metadata
        .elements()
        .find(|element| is_mark(element, &outer))
        .map_or(MarkState::None, |element| parse(&element.text()))
}

/// The mark in the answer of libvirt's get-metadata call.
pub(crate) fn of_metadata(xml: &str) -> MarkState {
    match Element::parse(xml) {
        Ok(element) => parse(&element.text()),
        Err(error) => MarkState::Unreadable(error.to_string()),
    }
}

fn parse(text: &str) -> MarkState {
    match Mark::parse(text) {
        Ok(mark) => MarkState::Ours(Box::new(mark)),
        Err(error) => MarkState::Unreadable(error.to_string()),
    }
}

fn is_mark(element: &Element, outer: &[Element]) -> bool {
    let prefix = element.prefix();
    let namespace = std::iter::once(element)
        .chain(outer)
        .find_map(|scope| scope.declared(prefix));
    namespace == Some(XML_NAMESPACE)
}

impl Element {
    /// An empty element with the same attributes: a scope of namespace declarations.
    fn clone_declarations(&self) -> Element {
        self.attributes()
            .fold(Element::new("scope"), |scope, (name, value)| {
                scope.with(name, value)
            })
    }
}

/// JSON that XML 1.0 can carry: the few characters that it forbids stand only inside JSON strings, where they can be
/// written as escapes.
fn storable(json: &str) -> String {
    let mut text = String::with_capacity(json.len());
    for char in json.chars() {
        match char {
            '\u{fffe}' => text.push_str("\\ufffe"),
            '\u{ffff}' => text.push_str("\\uffff"),
            other => text.push(other),
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::mark;

    #[test]
    fn a_mark_survives_the_way_into_a_definition_and_back() {
        let mut mark = mark("web");
        mark.wishes = serde_json::json!({ "labels": { "a<b>&'\"": "\u{ffff}\u{fffe}\u{1}\r\n\u{7f} ü" } });
        let mut definition = Element::parse("<domain><name>x</name></domain>").unwrap();
        put(&mut definition, &mark);
        let read = Element::parse(&definition.to_string()).unwrap();
        assert_eq!(of_definition(&read), MarkState::Ours(Box::new(mark.clone())));
        assert_eq!(
            of_metadata(&bare(&mark).to_string()),
            MarkState::Ours(Box::new(mark))
        );
    }

    #[test]
    fn putting_a_mark_replaces_the_old_one_and_keeps_what_others_store() {
        let text = format!(
            "<domain xmlns:l='{XML_NAMESPACE}'><metadata><o:os xmlns:o='urn:o' id=\"1\"/><l:mark>old</l:mark></metadata></domain>"
        );
        let mut definition = Element::parse(&text).unwrap();
        assert!(matches!(of_definition(&definition), MarkState::Unreadable(_)));
        put(&mut definition, &mark("web"));
        let written = definition.to_string();
        assert!(
            written.contains("<metadata><o:os xmlns:o='urn:o' id=\"1\"/><l:mark>{"),
            "{written}"
        );
        assert_eq!(written.matches("mark>").count(), 2);
    }

    #[test]
    fn a_definition_without_our_element_is_foreign_and_a_newer_mark_is_not() {
        let foreign =
            Element::parse("<domain><metadata><mark xmlns='urn:x'>{}</mark></metadata></domain>").unwrap();
        assert_eq!(of_definition(&foreign), MarkState::None);
        let newer = of_metadata("<mark>{\"version\": 99}</mark>");
        assert!(matches!(newer, MarkState::Unreadable(why) if why.contains("upgrade")));
    }
}
