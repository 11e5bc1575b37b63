//! Changes of a tree.

use super::write::escape_text;
use super::{Element, Node};

impl Element {
    /// With an attribute.
    #[must_use]
    pub(crate) fn with(mut self, name: &str, value: &str) -> Self {
        self.set_attribute(name, value);
        self
    }

    /// With an element in it.
    #[must_use]
    pub(crate) fn holding(mut self, child: Element) -> Self {
        self.push(child);
        self
    }

    /// With this text in it.
    #[must_use]
    pub(crate) fn saying(mut self, text: &str) -> Self {
        self.set_text(text);
        self
    }

    /// Sets an attribute; the same value again changes nothing.
    pub(crate) fn set_attribute(&mut self, name: &str, value: &str) {
        match self.attributes.iter_mut().find(|(n, _)| n == name) {
            Some((_, old)) if old == value => return,
            Some((_, old)) => value.clone_into(old),
            None => self.attributes.push((name.to_owned(), value.to_owned())),
        }
        self.as_read = None;
    }

    /// Removes an attribute.
    pub(crate) fn remove_attribute(&mut self, name: &str) {
        if self.attribute(name).is_some() {
            self.attributes.retain(|(n, _)| n != name);
            self.as_read = None;
        }
    }

    /// Replaces all that is in it by a text; the same text again changes nothing.
    pub(crate) fn set_text(&mut self, text: &str) {
        let only_text = self.elements().next().is_none();
        if only_text && !self.children.is_empty() && self.text() == text {
            return;
        }
        self.children = vec![Node::Text(escape_text(text))];
    }

    /// Adds an element at the end.
    pub(crate) fn push(&mut self, child: Element) {
        self.children.push(Node::Element(child));
    }

    /// Adds an element before all others.
    pub(crate) fn push_front(&mut self, child: Element) {
        self.children.insert(0, Node::Element(child));
    }

    /// The elements in it, to change.
    pub(crate) fn elements_mut(&mut self) -> impl Iterator<Item = &mut Element> {
        self.children.iter_mut().filter_map(|node| match node {
            Node::Element(element) => Some(element),
            Node::Text(_) | Node::Verbatim(_) => None,
        })
    }

    /// The first element of this name, to change.
    pub(crate) fn child_mut(&mut self, name: &str) -> Option<&mut Element> {
        self.elements_mut().find(|element| element.name == name)
    }

    /// The first element of this name, made where there is none.
    pub(crate) fn ensure(&mut self, name: &str) -> &mut Element {
        let found = self
            .children
            .iter()
            .position(|node| matches!(node, Node::Element(e) if e.name == name));
        let index = found.unwrap_or_else(|| {
            self.push(Element::new(name));
            self.children.len() - 1
        });
        match &mut self.children[index] {
            Node::Element(element) => element,
            // The position was found, or pushed, as an element.
            Node::Text(_) | Node::Verbatim(_) => unreachable!("a position of an element"),
        }
    }

    /// Puts an element in the place of the first that carries its name, or at the end.
    pub(crate) fn replace(&mut self, child: Element) {
        let name = child.name.clone();
        *self.ensure(&name) = child;
    }

    /// Removes the elements of which this is true, with the space before each.
    pub(crate) fn remove_where(&mut self, mut remove: impl FnMut(&Element) -> bool) {
        let mut kept: Vec<Node> = Vec::with_capacity(self.children.len());
        for node in self.children.drain(..) {
            if matches!(&node, Node::Element(element) if remove(element)) {
                if matches!(kept.last(), Some(Node::Text(text)) if text.trim().is_empty()) {
                    kept.pop();
                }
            } else {
                kept.push(node);
            }
        }
        self.children = kept;
    }

    /// Removes all elements of this name.
    pub(crate) fn remove_named(&mut self, name: &str) {
        self.remove_where(|element| element.name == name);
    }

    /// Sets the text of a child, made where there is none.
    pub(crate) fn set_child_text(&mut self, name: &str, text: &str) {
        self.ensure(name).set_text(text);
    }

    /// Its name as written.
    pub(crate) fn is(&self, name: &str) -> bool {
        self.name == name
    }
}
