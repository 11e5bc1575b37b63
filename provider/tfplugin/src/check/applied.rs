//! The result of an apply against its plan.
//!
//! The result is mended wherever Terraform would otherwise drop it: an object that exists must reach the state,
//! whatever else is wrong.

use super::walk::Walk;
use super::{Rule, Violation};
use crate::schema::{Attribute, Kind, Schema};
use crate::value::{Mismatch, Step, Type, Value, conform, same};

/// Checks and mends what an apply yielded: what has the wrong shape becomes what was planned, what is unknown
/// becomes null, what is write-only becomes null without further ado. A known value that differs from the plan
/// stays, for it is the truth. After an operation that failed the plan cannot have been kept: there the mending
/// alone is of use.
pub fn applied(schema: &Schema, planned: &Value, new: &mut Value) -> Vec<Violation> {
    let mut walk = Walk::default();
    match (planned.is_null(), new.is_null()) {
        (true, true) => {}
        (true, false) => {
            walk.report(Rule::StillThere);
            // A delete that failed leaves something, which has to reach the state all the same.
            mend_object(&schema.attributes, &Value::Unknown, new, &mut walk);
        }
        (false, true) => walk.report(Rule::Gone),
        (false, false) => mend_object(&schema.attributes, planned, new, &mut walk),
    }
    walk.finish()
}

fn mend_object(attributes: &[Attribute], planned: &Value, new: &mut Value, walk: &mut Walk) {
    if !matches!(new, Value::Keyed(_)) {
        report_shape(walk, new, "an object");
        *new = Value::Keyed(attributes.iter().map(|a| (a.name.clone(), Value::Null)).collect());
        for attribute in attributes {
            if let Some(slot) = new
                .as_keyed_mut()
                .and_then(|entries| entries.get_mut(&attribute.name))
            {
                *slot = fallback(planned.field(&attribute.name));
            }
        }
        return;
    }
    let Some(entries) = new.as_keyed_mut() else { return };
    entries.retain(|name, _| {
        let known = attributes.iter().any(|attribute| attribute.name == *name);
        if !known {
            walk.report(Rule::Shape(format!("there is no attribute {name}")));
        }
        known
    });
    for attribute in attributes {
        let planned = planned.field(&attribute.name);
        if let Some(value) = entries.get_mut(&attribute.name) {
            walk.attribute(attribute, |walk| mend_attribute(attribute, planned, value, walk));
        } else {
            walk.report(Rule::Shape(format!("attribute {} is missing", attribute.name)));
            entries.insert(attribute.name.clone(), fallback(planned));
        }
    }
}

fn mend_attribute(attribute: &Attribute, planned: &Value, new: &mut Value, walk: &mut Walk) {
    if attribute.write_only {
        *new = Value::Null;
    } else if new.is_unknown() {
        walk.report(Rule::Unknown);
        *new = Value::Null;
    } else if let Kind::Plain(ty) = &attribute.kind {
        mend_plain(attribute, ty, planned, new, walk);
    } else if new.is_null() || planned.is_null() {
        if new.is_null() != planned.is_null() && !planned.is_unknown() {
            report_broken(attribute, planned, new, walk);
        }
        if planned.is_null() && !new.is_null() {
            mend_nested(attribute, &Value::Unknown, new, walk);
        }
    } else {
        mend_nested(attribute, planned, new, walk);
    }
}

fn mend_plain(attribute: &Attribute, ty: &Type, planned: &Value, new: &mut Value, walk: &mut Walk) {
    if let Err(mismatch) = conform(new, ty) {
        walk.report_shape(mismatch);
        *new = fallback(planned);
    } else if clear_unknown(new) {
        walk.report(Rule::Unknown);
    } else if !same(planned, new, ty) && !keeps(planned, new, ty) {
        report_broken(attribute, planned, new, walk);
    }
}

fn mend_nested(attribute: &Attribute, planned: &Value, new: &mut Value, walk: &mut Walk) {
    match (&attribute.kind, new) {
        (Kind::Single(nested), new) => mend_object(nested, planned, new, walk),
        (Kind::Map(nested), Value::Keyed(entries)) => {
            let same_keys = planned
                .as_keyed()
                .is_none_or(|planned| planned.keys().eq(entries.keys()));
            if !same_keys {
                walk.report(Rule::Elements);
            }
            for (key, new) in entries {
                let planned = planned
                    .as_keyed()
                    .and_then(|planned| planned.get(key))
                    .unwrap_or(&Value::Unknown);
                walk.step(Step::Key(key.clone()), |walk| {
                    mend_element(attribute, nested, planned, new, walk);
                });
            }
        }
        (Kind::List(nested), Value::Sequence(items)) => {
            if planned
                .as_sequence()
                .is_some_and(|planned| planned.len() != items.len())
            {
                walk.report(Rule::Elements);
            }
            for (i, new) in items.iter_mut().enumerate() {
                let planned = planned
                    .as_sequence()
                    .and_then(|planned| planned.get(i))
                    .unwrap_or(&Value::Unknown);
                walk.step(Step::index(i), |walk| {
                    mend_element(attribute, nested, planned, new, walk);
                });
            }
        }
        (Kind::Set(nested), Value::Sequence(items)) => mend_set(attribute, nested, planned, items, walk),
        (_, new) => {
            report_shape(walk, new, "a collection");
            *new = fallback(planned);
        }
    }
}

fn mend_element(
    attribute: &Attribute,
    nested: &[Attribute],
    planned: &Value,
    new: &mut Value,
    walk: &mut Walk,
) {
    if new.is_unknown() {
        walk.report(Rule::Unknown);
        *new = Value::Null;
    } else if new.is_null() || planned.is_null() {
        if new.is_null() != planned.is_null() && !planned.is_unknown() {
            report_broken(attribute, planned, new, walk);
        }
    } else {
        mend_object(nested, planned, new, walk);
    }
}

fn mend_set(
    attribute: &Attribute,
    nested: &[Attribute],
    planned: &Value,
    items: &mut [Value],
    walk: &mut Walk,
) {
    let before = walk.count();
    for item in &mut *items {
        let step = Step::Element(item.clone());
        walk.step(step, |walk| {
            mend_element(attribute, nested, &Value::Unknown, item, walk);
        });
    }
    let element = crate::schema::object_type(nested);
    if walk.count() == before
        && planned
            .as_sequence()
            .is_some_and(|planned| !keeps_set(planned, items, &element))
    {
        walk.report(Rule::Elements);
    }
}

/// Whether everything that was planned and known is there, and nothing beside it.
fn keeps(planned: &Value, new: &Value, ty: &Type) -> bool {
    match (planned, new, ty) {
        (Value::Unknown, _, _) => true,
        (Value::Dynamic(ty, planned), Value::Dynamic(new_ty, new), _) => {
            ty == new_ty && keeps(planned, new, ty)
        }
        (Value::Sequence(planned), Value::Sequence(new), Type::Set(element)) => {
            keeps_set(planned, new, element)
        }
        (Value::Sequence(planned), Value::Sequence(new), Type::List(element)) => {
            planned.len() == new.len()
                && planned
                    .iter()
                    .zip(new)
                    .all(|(planned, new)| keeps(planned, new, element))
        }
        (Value::Sequence(planned), Value::Sequence(new), Type::Tuple(types)) => {
            let mut triples = planned.iter().zip(new).zip(types);
            planned.len() == new.len() && triples.all(|((planned, new), ty)| keeps(planned, new, ty))
        }
        (Value::Keyed(planned), Value::Keyed(new), ty) => {
            planned.len() == new.len()
                && planned.iter().zip(new).all(|((key, planned), (new_key, new))| {
                    let ty = match ty {
                        Type::Map(element) => element,
                        Type::Object(types) => types.get(key).unwrap_or(&Type::Dynamic),
                        _ => &Type::Dynamic,
                    };
                    key == new_key && keeps(planned, new, ty)
                })
        }
        (planned, new, _) => planned == new,
    }
}

/// Elements planned with unknown parts may turn out equal, so that the set may shrink by those.
fn keeps_set(planned: &[Value], new: &[Value], element: &Type) -> bool {
    let kept = |planned: &Value| new.iter().any(|new| keeps(planned, new, element));
    let foreseen = |new: &Value| planned.iter().any(|planned| keeps(planned, new, element));
    new.len() <= planned.len() && planned.iter().all(kept) && new.iter().all(foreseen)
}

/// What stands in for a value that cannot be sent: the plan, as far as it is known.
fn fallback(planned: &Value) -> Value {
    let mut value = planned.clone();
    clear_unknown(&mut value);
    value
}

/// Makes what is unknown null; whether there was any.
fn clear_unknown(value: &mut Value) -> bool {
    match value {
        Value::Unknown => {
            *value = Value::Null;
            true
        }
        Value::Sequence(items) => items
            .iter_mut()
            .fold(false, |any, item| clear_unknown(item) | any),
        Value::Keyed(entries) => entries
            .values_mut()
            .fold(false, |any, item| clear_unknown(item) | any),
        Value::Dynamic(_, inner) => clear_unknown(inner),
        _ => false,
    }
}

fn report_shape(walk: &mut Walk, found: &Value, expected: &str) {
    let problem = format!("{} where {expected} belongs", crate::value::kind(found));
    walk.report_shape(Mismatch {
        path: crate::value::Path::root(),
        problem,
    });
}

fn report_broken(attribute: &Attribute, planned: &Value, new: &Value, walk: &mut Walk) {
    let (planned, found) = (walk.show(attribute, planned), walk.show(attribute, new));
    walk.report(Rule::PlanBroken { planned, found });
}

#[cfg(test)]
#[path = "applied_tests.rs"]
mod tests;
