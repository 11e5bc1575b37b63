//! The plan as far as the schema alone makes it.

use std::collections::BTreeMap;

use super::pairs::pair;
use super::replace;
use crate::schema::{Attribute, Kind, Presence, Schema};
use crate::value::{Path, Value, same};

/// What the schema says of a plan.
#[derive(Clone, Debug, PartialEq)]
pub struct Proposal {
    /// What will be; null on destroy.
    pub planned: Value,
    /// The attributes whose change needs a replacement.
    pub requires_replace: Vec<Path>,
}

/// Plans from configuration, prior state and schema. Terraform's own proposal is asked for one thing only:
/// whether the object is to be destroyed.
#[must_use]
pub fn propose(schema: &Schema, prior: &Value, config: &Value, proposed: &Value) -> Proposal {
    let Value::Keyed(entries) = config else {
        return Proposal {
            planned: Value::Null,
            requires_replace: Vec::new(),
        };
    };
    if proposed.is_null() {
        return Proposal {
            planned: Value::Null,
            requires_replace: Vec::new(),
        };
    }
    let planned = Value::Keyed(plan_object(&schema.attributes, prior.as_keyed(), entries));
    let requires_replace = replace::required(&schema.attributes, prior, &planned);
    Proposal {
        planned,
        requires_replace,
    }
}

type Entries = BTreeMap<String, Value>;

/// Plans one object; without a prior it is a new one.
fn plan_object(attributes: &[Attribute], prior: Option<&Entries>, config: &Entries) -> Entries {
    let plan = |attribute: &Attribute| {
        let prior = prior.map(|prior| prior.get(&attribute.name).unwrap_or(&Value::Null));
        let config = config.get(&attribute.name).unwrap_or(&Value::Null);
        (attribute.name.clone(), plan_attribute(attribute, prior, config))
    };
    attributes.iter().map(plan).collect()
}

fn plan_attribute(attribute: &Attribute, prior: Option<&Value>, config: &Value) -> Value {
    if attribute.write_only {
        return Value::Null;
    }
    if config.is_null() {
        return match &attribute.presence {
            // A null of dynamic type may carry a type, which the plan has to keep.
            Presence::Required | Presence::Optional => config.clone(),
            Presence::Default(default) => default.clone(),
            Presence::Computed | Presence::OptionalComputed => prior.unwrap_or(&Value::Unknown).clone(),
        };
    }
    plan_nested(&attribute.kind, prior.unwrap_or(&Value::Null), config)
}

fn plan_nested(kind: &Kind, prior: &Value, config: &Value) -> Value {
    match (kind, config) {
        (Kind::Single(nested), config) => plan_element(nested, Some(prior), config),
        (Kind::List(nested), Value::Sequence(items)) => {
            let prior = prior.as_sequence().unwrap_or_default();
            Value::list(
                items
                    .iter()
                    .enumerate()
                    .map(|(i, item)| plan_element(nested, prior.get(i), item)),
            )
        }
        (Kind::Map(nested), Value::Keyed(entries)) => {
            let prior = prior.as_keyed();
            let plan = |(key, item): (&String, &Value)| {
                (
                    key.clone(),
                    plan_element(nested, prior.and_then(|prior| prior.get(key)), item),
                )
            };
            Value::Keyed(entries.iter().map(plan).collect())
        }
        (Kind::Set(nested), Value::Sequence(items)) => plan_set(nested, prior, items),
        (_, config) => config.clone(),
    }
}

fn plan_element(nested: &[Attribute], prior: Option<&Value>, config: &Value) -> Value {
    match config {
        Value::Keyed(entries) => Value::Keyed(plan_object(nested, prior.and_then(Value::as_keyed), entries)),
        other => other.clone(),
    }
}

fn plan_set(nested: &[Attribute], prior: &Value, items: &[Value]) -> Value {
    let prior = prior.as_sequence().unwrap_or_default();
    let partners = pair(items.len(), prior.len(), |item, old| {
        is_alike(nested, &prior[old], &items[item])
    });
    let plan = |(item, old): (&Value, Option<usize>)| plan_element(nested, old.map(|old| &prior[old]), item);
    let mut planned: Vec<Value> = items.iter().zip(partners).map(plan).collect();
    planned.sort_unstable();
    Value::Sequence(planned)
}

/// Whether a prior element of a set is what this configuration made: everything that the user sets is equal.
fn is_alike(nested: &[Attribute], prior: &Value, config: &Value) -> bool {
    let (Some(prior), Some(config)) = (prior.as_keyed(), config.as_keyed()) else {
        return false;
    };
    let planned = plan_object(nested, Some(prior), config);
    nested.iter().all(|attribute| {
        let name = &attribute.name;
        match (planned.get(name), prior.get(name)) {
            (Some(planned), Some(prior)) => same(planned, prior, &attribute.implied_type()),
            _ => false,
        }
    })
}

#[cfg(test)]
#[path = "propose_tests.rs"]
mod tests;
