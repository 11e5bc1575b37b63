//! Where a check is in a value, and what it has found so far.

use super::{Rule, Violation};
use crate::schema::{Attribute, Kind};
use crate::value::{Mismatch, Path, Step, Value};

/// The place of a check, with the violations found up to it.
#[derive(Default)]
pub(crate) struct Walk {
    path: Path,
    /// How many of the attributes around this place are not to be shown.
    secrets: usize,
    found: Vec<Violation>,
}

impl Walk {
    /// Goes into an attribute.
    pub(crate) fn attribute<T>(&mut self, attribute: &Attribute, body: impl FnOnce(&mut Self) -> T) -> T {
        let secret = usize::from(is_secret(attribute));
        self.secrets += secret;
        let result = self.step(Step::Attribute(attribute.name.clone()), body);
        self.secrets -= secret;
        result
    }

    /// Goes into an element.
    pub(crate) fn step<T>(&mut self, step: Step, body: impl FnOnce(&mut Self) -> T) -> T {
        self.path.0.push(step);
        let result = body(self);
        self.path.0.pop();
        result
    }

    /// Notes a violation here.
    pub(crate) fn report(&mut self, rule: Rule) {
        self.found.push(Violation::new(self.path.clone(), rule));
    }

    /// Notes a violation elsewhere.
    pub(crate) fn report_at(&mut self, path: Path, rule: Rule) {
        self.found.push(Violation::new(path, rule));
    }

    /// Notes a wrong shape here or below.
    pub(crate) fn report_shape(&mut self, mismatch: Mismatch) {
        let mut path = self.path.clone();
        path.0.extend(mismatch.path.0);
        self.found
            .push(Violation::new(path, Rule::Shape(mismatch.problem)));
    }

    /// A value of an attribute for a message.
    pub(crate) fn show(&self, attribute: &Attribute, value: &Value) -> String {
        let secret = self.secrets > 0 || attribute.kind.nested().is_some_and(any_secret);
        if secret && !value.is_null() && !value.is_unknown() {
            return "(sensitive value)".to_owned();
        }
        value.to_string()
    }

    /// How much has been found.
    pub(crate) fn count(&self) -> usize {
        self.found.len()
    }

    /// All that was found.
    pub(crate) fn finish(self) -> Vec<Violation> {
        self.found
    }
}

fn is_secret(attribute: &Attribute) -> bool {
    attribute.sensitive || attribute.write_only
}

fn any_secret(attributes: &[Attribute]) -> bool {
    attributes
        .iter()
        .any(|attribute| is_secret(attribute) || attribute.kind.nested().is_some_and(any_secret))
}

/// The objects inside a nested attribute's value, each with the step to it; the value itself, without a step,
/// of a single one.
pub(crate) fn objects<'v>(kind: &Kind, value: &'v Value) -> Vec<(Option<Step>, &'v Value)> {
    match (kind, value) {
        (Kind::Single(_), Value::Keyed(_)) => vec![(None, value)],
        (Kind::List(_), Value::Sequence(items)) => items
            .iter()
            .enumerate()
            .map(|(i, item)| (Some(Step::index(i)), item))
            .collect(),
        (Kind::Set(_), Value::Sequence(items)) => items
            .iter()
            .map(|item| (Some(Step::Element(item.clone())), item))
            .collect(),
        (Kind::Map(_), Value::Keyed(entries)) => entries
            .iter()
            .map(|(key, item)| (Some(Step::Key(key.clone())), item))
            .collect(),
        _ => Vec::new(),
    }
}

/// The objects inside a nested attribute's value, to change.
pub(crate) fn objects_mut<'v>(kind: &Kind, value: &'v mut Value) -> Vec<&'v mut Value> {
    match (kind, value) {
        (Kind::Single(_), value) => vec![value],
        (Kind::List(_) | Kind::Set(_), Value::Sequence(items)) => items.iter_mut().collect(),
        (Kind::Map(_), Value::Keyed(entries)) => entries.values_mut().collect(),
        _ => Vec::new(),
    }
}
