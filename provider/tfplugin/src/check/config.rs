//! What the user wrote: required attributes are there, computed ones are not.

use super::walk::{Walk, objects};
use super::{Rule, Violation};
use crate::schema::{Attribute, Presence, Schema};
use crate::value::{Value, conform};

/// Checks a configuration against its schema. Unknown values pass.
#[must_use]
pub fn config(schema: &Schema, value: &Value) -> Vec<Violation> {
    let mut walk = Walk::default();
    if let Err(mismatch) = conform(value, &schema.implied_type()) {
        walk.report_shape(mismatch);
    } else if let Value::Keyed(_) = value {
        check_object(&schema.attributes, value, &mut walk);
    }
    walk.finish()
}

fn check_object(attributes: &[Attribute], object: &Value, walk: &mut Walk) {
    for attribute in attributes {
        let value = object.field(&attribute.name);
        walk.attribute(attribute, |walk| match &attribute.presence {
            Presence::Required if value.is_null() => walk.report(Rule::Required),
            Presence::Computed if !value.is_null() => {
                let shown = walk.show(attribute, value);
                walk.report(Rule::Configured(shown));
            }
            _ => check_nested(attribute, value, walk),
        });
    }
}

fn check_nested(attribute: &Attribute, value: &Value, walk: &mut Walk) {
    let Some(nested) = attribute.kind.nested() else {
        return;
    };
    for (step, object) in objects(&attribute.kind, value) {
        if !matches!(object, Value::Keyed(_)) {
            continue;
        }
        match step {
            Some(step) => walk.step(step, |walk| check_object(nested, object, walk)),
            None => check_object(nested, object, walk),
        }
    }
}

#[cfg(test)]
#[path = "config_tests.rs"]
mod tests;
