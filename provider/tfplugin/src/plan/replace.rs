//! Which changes need a replacement, by the schema alone.

use crate::schema::{Attribute, Kind};
use crate::value::{Path, Step, Value, same};

/// The attributes that require replacement and change. Only what was there before can change: an attribute of a
/// new element, or of one that goes away, replaces nothing.
pub(super) fn required(attributes: &[Attribute], prior: &Value, planned: &Value) -> Vec<Path> {
    let mut found = Vec::new();
    if exists(prior) && may_exist(planned) {
        in_object(attributes, prior, planned, &Path::root(), &mut found);
    }
    found
}

fn in_object(attributes: &[Attribute], prior: &Value, planned: &Value, path: &Path, found: &mut Vec<Path>) {
    for attribute in attributes.iter().filter(|attribute| replaces(attribute)) {
        let (prior, planned) = (prior.field(&attribute.name), planned.field(&attribute.name));
        let whole = attribute.requires_replace || matches!(attribute.kind, Kind::Set(_));
        if !whole {
            let path = path.clone().then_attribute(&attribute.name);
            in_nested(&attribute.kind, prior, planned, &path, found);
        } else if !same(prior, planned, &attribute.implied_type()) {
            found.push(path.clone().then_attribute(&attribute.name));
        }
    }
}

fn in_nested(kind: &Kind, prior: &Value, planned: &Value, path: &Path, found: &mut Vec<Path>) {
    let Some(nested) = kind.nested() else { return };
    let mut pair = |step: Option<Step>, prior: &Value, planned: &Value| {
        if exists(prior) && may_exist(planned) {
            let path = step.map_or_else(|| path.clone(), |step| path.clone().then(step));
            in_object(nested, prior, planned, &path, found);
        }
    };
    match (kind, prior) {
        (Kind::Single(_), prior) => pair(None, prior, planned),
        (Kind::Map(_), Value::Keyed(entries)) => {
            for (key, prior) in entries {
                pair(Some(Step::Key(key.clone())), prior, planned.field(key));
            }
        }
        (Kind::List(_), Value::Sequence(items)) => {
            for (i, prior) in items.iter().enumerate() {
                let beyond = if planned.is_unknown() {
                    &Value::Unknown
                } else {
                    &Value::Null
                };
                let planned = planned
                    .as_sequence()
                    .and_then(|planned| planned.get(i))
                    .unwrap_or(beyond);
                pair(Some(Step::index(i)), prior, planned);
            }
        }
        _ => {}
    }
}

/// Whether a change of the attribute or of anything inside it needs a replacement.
fn replaces(attribute: &Attribute) -> bool {
    let inside = || {
        attribute
            .kind
            .nested()
            .is_some_and(|nested| nested.iter().any(replaces))
    };
    !attribute.write_only && (attribute.requires_replace || inside())
}

fn exists(value: &Value) -> bool {
    matches!(value, Value::Keyed(_))
}

/// An unknown object may turn out to be another one: its attributes count as changed.
fn may_exist(value: &Value) -> bool {
    matches!(value, Value::Keyed(_) | Value::Unknown)
}
