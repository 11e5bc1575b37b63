//! What `labyard-schema` describes, for programs that speak JSON: its JSON Schema ([`schema_of`]), and reading it with
//! defaults filled in and every single value checked ([`read`]). Nothing of an attribute is said again here.
//!
//! Programs of neighbouring releases understand one another: what one does not know is left away where it reads what was
//! asked for ([`known`]), and what is as it is by default is not sent ([`spared`]).
//!
//! ```
//! use labyard_api::attributes;
//! use labyard_schema::{attribute::Described, vm_pool::VmPool};
//! let asked = serde_json::json!({"ready": 1, "max": 2, "template": {"memory_mib": 64}, "strategy": "cold"});
//! let wrong = attributes::read(asked, &VmPool::attributes()).unwrap_err();
//! assert_eq!(wrong.iter().map(|wrong| wrong.at.as_str()).collect::<Vec<_>>(), ["/name", "/strategy"]);
//! ```

use crate::problem::Wrong;
use labyard_schema::{
    Attribute, Described, Presence, Shape,
    access_code::AccessCode,
    attribute::{Check, Constant},
    network::Network,
    vm::Vm,
    vm_pool::VmPool,
};
use schemars::{Schema, SchemaGenerator};
use serde_json::{Map, Value, json};

/// The schema of a pool that is asked for; its name may be left out, since the path has it.
pub fn pool(generator: &mut SchemaGenerator) -> Schema {
    named(generator, "VmPool", VmPool::doc(), &VmPool::attributes())
}

/// The schema of a code that is asked for; its name may be left out, since the path has it.
pub fn code(generator: &mut SchemaGenerator) -> Schema {
    named(
        generator,
        "AccessCode",
        AccessCode::doc(),
        &AccessCode::attributes(),
    )
}

/// The schema of a machine that is asked for; name and host may be left out, since the path has them.
pub fn vm(generator: &mut SchemaGenerator) -> Schema {
    named(generator, "LabyardVm", Vm::doc(), &Vm::attributes())
}

/// The schema of a network that is asked for; name and host may be left out, since the path has them.
pub fn network(generator: &mut SchemaGenerator) -> Schema {
    named(
        generator,
        "LabyardNetwork",
        Network::doc(),
        &Network::attributes(),
    )
}

/// The schema of a code as it is shown: without what is typed to redeem it.
pub fn code_shown(_: &mut SchemaGenerator) -> Schema {
    shown(AccessCode::doc(), AccessCode::attributes())
}

/// The schema of a pool as it is shown: without its secrets, which are write-only.
pub fn pool_shown(_: &mut SchemaGenerator) -> Schema {
    shown(VmPool::doc(), VmPool::attributes())
}

fn shown(doc: &str, attributes: Vec<Attribute>) -> Schema {
    let shown = attributes.into_iter().filter(|attribute| !attribute.sensitive);
    let mut schema = object(&shown.collect::<Vec<_>>(), doc);
    if let Some(fields) = schema.as_object_mut() {
        fields.remove("additionalProperties");
    }
    schema.try_into().unwrap_or_default()
}

fn named(generator: &mut SchemaGenerator, name: &str, doc: &str, attributes: &[Attribute]) -> Schema {
    let mut schema = object(attributes, doc);
    if let Some(required) = schema["required"].as_array_mut() {
        required.retain(|attribute| attribute != "name");
    }
    generator.definitions_mut().insert(name.to_owned(), schema);
    schemars::json_schema!({"$ref": format!("#/components/schemas/{name}")})
}

/// The JSON Schema of a shape.
#[must_use]
pub fn schema_of(shape: &Shape, check: Check) -> Value {
    match shape {
        Shape::Bool => json!({"type": "boolean"}),
        Shape::Integer => match check {
            Check::Range(least, most) => json!({"type": "integer", "minimum": least, "maximum": most}),
            _ => json!({"type": "integer", "minimum": 0}),
        },
        Shape::Text => match check {
            Check::Choice(choices) => json!({"type": "string", "enum": choices}),
            _ => json!({"type": "string"}),
        },
        Shape::Map(of) => json!({"type": "object", "additionalProperties": schema_of(of, check)}),
        Shape::List(of) => json!({"type": "array", "items": schema_of(of, check)}),
        Shape::Object(attributes) => object(attributes, ""),
    }
}

fn object(attributes: &[Attribute], doc: &str) -> Value {
    let mut properties = Map::new();
    let mut required = Vec::new();
    for attribute in attributes
        .iter()
        .filter(|attribute| attribute.presence != Presence::Computed)
    {
        let mut schema = schema_of(&attribute.shape, attribute.check);
        schema["description"] = attribute.description().into();
        if attribute.write_only {
            schema["writeOnly"] = true.into();
        }
        match &attribute.presence {
            Presence::Required => required.push(attribute.name),
            Presence::Default(constant) => schema["default"] = value_of(constant),
            _ => {}
        }
        properties.insert(attribute.name.to_owned(), schema);
    }
    let mut schema = json!({"type": "object", "properties": properties, "additionalProperties": false});
    if !required.is_empty() {
        schema["required"] = required.into();
    }
    if !doc.is_empty() {
        schema["description"] = doc.into();
    }
    schema
}

fn value_of(constant: &Constant) -> Value {
    match constant {
        Constant::Bool(value) => (*value).into(),
        Constant::Integer(value) => (*value).into(),
        Constant::Text(value) => (*value).into(),
    }
}

/// The object with its defaults filled in; null is as good as left out.
///
/// # Errors
/// Everything that is wrong with single values of it.
pub fn read(value: Value, attributes: &[Attribute]) -> Result<Value, Vec<Wrong>> {
    let mut wrong = Vec::new();
    let read = read_object(value, attributes, "", &mut wrong);
    match wrong.is_empty() {
        true => Ok(read),
        false => Err(wrong),
    }
}

fn read_object(value: Value, attributes: &[Attribute], at: &str, wrong: &mut Vec<Wrong>) -> Value {
    let Value::Object(mut given) = value else {
        wrong.push(amiss(at, "an object belongs here"));
        return Value::Null;
    };
    given.retain(|_, value| !value.is_null());
    let mut read = Map::new();
    for attribute in attributes {
        let name = attribute.name;
        let here = format!("{at}/{name}");
        match (given.remove(name), &attribute.presence) {
            (Some(_), Presence::Computed) => {
                wrong.push(amiss(&here, "it is decided by the server: leave it out"));
            }
            (Some(value), _) => {
                let value = read_shape(value, &attribute.shape, attribute.check, &here, wrong);
                read.insert(name.to_owned(), value);
            }
            (None, Presence::Required) => wrong.push(amiss(&here, "it is required")),
            (None, Presence::Default(constant)) => {
                read.insert(name.to_owned(), value_of(constant));
            }
            (None, _) => {}
        }
    }
    for name in given.keys() {
        wrong.push(amiss(
            &format!("{at}/{}", pointed(name)),
            "there is no such attribute",
        ));
    }
    Value::Object(read)
}

fn read_shape(value: Value, shape: &Shape, check: Check, at: &str, wrong: &mut Vec<Wrong>) -> Value {
    match (shape, value) {
        (Shape::Bool, Value::Bool(value)) => value.into(),
        (Shape::Integer, Value::Number(number)) => {
            let Some(whole) = whole(&number) else {
                wrong.push(amiss(at, "a whole number that is not negative belongs here"));
                return Value::Null;
            };
            if let Check::Range(least, most) = check
                && !i64::try_from(whole).is_ok_and(|whole| (least..=most).contains(&whole))
            {
                wrong.push(amiss(at, &format!("{whole} is not from {least} to {most}")));
            }
            whole.into()
        }
        (Shape::Text, Value::String(text)) => {
            match check {
                Check::Choice(choices) if !choices.contains(&text.as_str()) => {
                    wrong.push(amiss(at, &format!("it is none of {}", choices.join(", "))));
                }
                Check::Text(check) => {
                    if let Err(detail) = check(&text) {
                        wrong.push(amiss(at, &detail));
                    }
                }
                _ => {}
            }
            text.into()
        }
        (Shape::Map(of), Value::Object(map)) => map
            .into_iter()
            .map(|(key, value)| {
                let here = format!("{at}/{}", pointed(&key));
                let value = read_shape(value, of, check, &here, wrong);
                (key, value)
            })
            .collect(),
        (Shape::List(of), Value::Array(list)) => list
            .into_iter()
            .zip(0..)
            .map(|(value, index)| read_shape(value, of, check, &format!("{at}/{index}"), wrong))
            .collect(),
        (Shape::Object(attributes), value) => read_object(value, attributes, at, wrong),
        (shape, _) => {
            wrong.push(amiss(at, &format!("{} belongs here", told(shape))));
            Value::Null
        }
    }
}

/// What was asked for as these attributes know it: with their defaults, and without what another release has beside them.
#[must_use]
pub fn known(value: Value, attributes: &[Attribute]) -> Value {
    let Value::Object(mut given) = value else {
        return value;
    };
    let mut known = Map::new();
    for attribute in attributes {
        let name = attribute.name;
        match (given.remove(name), &attribute.presence) {
            (None | Some(Value::Null), Presence::Default(constant)) => {
                known.insert(name.to_owned(), value_of(constant));
            }
            (Some(value), _) => {
                known.insert(name.to_owned(), inside(value, &attribute.shape, self::known));
            }
            (None, _) => {}
        }
    }
    Value::Object(known)
}

/// The object without what is as it is by default: who reads it fills that in, or does not know it and does so anyway.
#[must_use]
pub fn spared(value: Value, attributes: &[Attribute]) -> Value {
    let Value::Object(mut given) = value else {
        return value;
    };
    for attribute in attributes {
        let Some(value) = given.remove(attribute.name) else {
            continue;
        };
        let is_default =
            matches!(&attribute.presence, Presence::Default(constant) if value_of(constant) == value);
        if !is_default {
            let value = inside(value, &attribute.shape, spared);
            given.insert(attribute.name.to_owned(), value);
        }
    }
    Value::Object(given)
}

/// The value with each object in it made another.
fn inside(value: Value, shape: &Shape, made: fn(Value, &[Attribute]) -> Value) -> Value {
    match (shape, value) {
        (Shape::Object(attributes), value) => made(value, attributes),
        (Shape::Map(of), Value::Object(map)) => map
            .into_iter()
            .map(|(key, value)| (key, inside(value, of, made)))
            .collect(),
        (Shape::List(of), Value::Array(list)) => {
            list.into_iter().map(|value| inside(value, of, made)).collect()
        }
        (_, value) => value,
    }
}

/// JSON does not tell 1 from 1.0.
fn whole(number: &serde_json::Number) -> Option<u64> {
    let exact = |value: f64| value.fract() == 0.0 && (0.0..=9_007_199_254_740_992.0).contains(&value);
    number.as_u64().or_else(|| {
        number
            .as_f64()
            .filter(|value| exact(*value))
            .map(|value| value as u64)
    })
}

fn told(shape: &Shape) -> &'static str {
    match shape {
        Shape::Bool => "true or false",
        Shape::Integer => "a whole number",
        Shape::Text => "a text",
        Shape::Map(_) | Shape::Object(_) => "an object",
        Shape::List(_) => "a list",
    }
}

fn amiss(at: &str, detail: &str) -> Wrong {
    Wrong {
        at: at.to_owned(),
        detail: detail.to_owned(),
    }
}

/// A key as a part of a JSON pointer (RFC 6901).
#[must_use]
pub fn pointed(key: &str) -> String {
    key.replace('~', "~0").replace('/', "~1")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(value: Value) -> Result<VmPool, Vec<Wrong>> {
        read(value, &VmPool::attributes()).map(|value| serde_json::from_value(value).unwrap())
    }

    #[test]
    fn defaults_are_filled_in_at_any_depth_and_null_is_left_out() {
        let pool = asked(json!({
            "name": "k8s", "ready": 1, "max": 2.0, "lease": null,
            "template": {"memory_mib": 64, "disks": {"root": {"size_gib": 1}}},
            "schedule": {"term": {"timezone": "UTC"}},
        }));
        let pool = pool.unwrap();
        assert_eq!((pool.strategy.as_str(), pool.recycle.as_str()), ("warm", "reset"));
        assert_eq!((pool.max, pool.lease), (2, None));
        assert_eq!(pool.schedule.unwrap()["term"].at_end, "soft");
        let disk = &pool.template.as_machine().disks.as_ref().unwrap()["root"];
        assert_eq!(disk.bus, "virtio");
    }

    #[test]
    fn each_value_that_is_wrong_is_named_where_it_stands() {
        let wrong = asked(json!({
            "name": "k8s", "ready": "many", "max": 0, "id": "x", "a/b": 1,
            "template": {"memory_mib": 64, "disks": {"root": {"size_gib": 1, "bus": "floppy"}}},
        }));
        let wrong = wrong.unwrap_err();
        let at: Vec<_> = wrong.iter().map(|wrong| wrong.at.as_str()).collect();
        for expected in ["/ready", "/max", "/id", "/a~1b", "/template/disks/root/bus"] {
            assert!(at.contains(&expected), "{expected}: {wrong:?}");
        }
    }

    #[test]
    fn what_another_release_has_is_left_away_and_what_it_lacks_is_as_it_is_by_default() {
        let theirs = json!({
            "name": "k8s", "ready": 1, "max": 2, "of_tomorrow": {"a": 1}, "together": null,
            "template": {"memory_mib": 64, "of_tomorrow": true, "disks": {"root": {"size_gib": 1, "of_tomorrow": 1}}},
        });
        let ours: VmPool = serde_json::from_value(known(theirs, &VmPool::attributes())).unwrap();
        assert_eq!((ours.name.as_str(), ours.strategy.as_str()), ("k8s", "warm"));
        assert_eq!(
            ours.template.as_machine().disks.as_ref().unwrap()["root"].bus,
            "virtio"
        );
        assert_eq!(known(Value::Null, &VmPool::attributes()), Value::Null);
    }

    #[test]
    fn what_is_as_it_is_by_default_is_not_sent_and_read_all_the_same() {
        let plain = json!({
            "name": "k8s", "ready": 1, "max": 2, "recycle": "recreate",
            "template": {"memory_mib": 64, "disks": {"root": {"size_gib": 1}}},
            "schedule": {"term": {"timezone": "UTC"}},
        });
        let whole = read(plain.clone(), &VmPool::attributes()).unwrap();
        assert_ne!(whole, plain);
        let sent = spared(whole.clone(), &VmPool::attributes());
        assert_eq!(sent, plain);
        assert_eq!(read(sent, &VmPool::attributes()).unwrap(), whole);
    }

    #[test]
    fn the_schema_asks_for_what_reading_asks_for() {
        let schema = object(&VmPool::attributes(), "");
        assert_eq!(schema["additionalProperties"], false);
        assert!(
            schema["required"]
                .as_array()
                .unwrap()
                .contains(&json!("template"))
        );
        assert_eq!(schema["properties"]["strategy"]["default"], "warm");
        assert!(schema["properties"].get("id").is_none());
    }
}
