//! What Terraform is handed to store: of the right shape, wholly known, without write-only values.

use super::walk::{Walk, objects, objects_mut};
use super::{Rule, Violation};
use crate::schema::{Attribute, Schema};
use crate::value::{Step, Value, conform};

/// Checks a state that is about to be handed out by read, import or upgrade. Null, for an object that is gone,
/// is a state too.
#[must_use]
pub fn state(schema: &Schema, value: &Value) -> Vec<Violation> {
    let mut walk = Walk::default();
    if let Err(mismatch) = conform(value, &schema.implied_type()) {
        walk.report_shape(mismatch);
    } else if value.is_unknown() {
        walk.report(Rule::Unknown);
    } else if !value.is_null() {
        check_object(&schema.attributes, value, &mut walk);
    }
    walk.finish()
}

fn check_object(attributes: &[Attribute], object: &Value, walk: &mut Walk) {
    for attribute in attributes {
        let value = object.field(&attribute.name);
        if value.is_null() {
            continue;
        }
        walk.attribute(attribute, |walk| match attribute.kind.nested() {
            _ if attribute.write_only => walk.report(Rule::WriteOnly),
            None => report_unknown(value, walk),
            Some(_) if value.is_unknown() => walk.report(Rule::Unknown),
            Some(nested) => {
                for (step, object) in objects(&attribute.kind, value) {
                    let check = |walk: &mut Walk| match object {
                        Value::Unknown => walk.report(Rule::Unknown),
                        object => check_object(nested, object, walk),
                    };
                    match step {
                        Some(step) => walk.step(step, check),
                        None => check(walk),
                    }
                }
            }
        });
    }
}

fn report_unknown(value: &Value, walk: &mut Walk) {
    match value.inner() {
        Value::Unknown => walk.report(Rule::Unknown),
        Value::Sequence(items) => {
            for (i, item) in items.iter().enumerate() {
                walk.step(Step::index(i), |walk| report_unknown(item, walk));
            }
        }
        Value::Keyed(entries) => {
            for (key, item) in entries {
                walk.step(Step::Key(key.clone()), |walk| report_unknown(item, walk));
            }
        }
        _ => {}
    }
}

/// Makes every write-only value null.
pub fn clear_write_only(schema: &Schema, value: &mut Value) {
    clear(&schema.attributes, value);
}

fn clear(attributes: &[Attribute], object: &mut Value) {
    let Some(entries) = object.as_keyed_mut() else {
        return;
    };
    for attribute in attributes {
        let Some(value) = entries.get_mut(&attribute.name) else {
            continue;
        };
        if attribute.write_only {
            *value = Value::Null;
        } else if let Some(nested) = attribute.kind.nested() {
            for object in objects_mut(&attribute.kind, value) {
                clear(nested, object);
            }
        }
    }
}

#[cfg(test)]
#[path = "state_tests.rs"]
mod tests;
