//! Terraform's schema and the checks of single values, read off the tables of `labyard_schema`.

use labyard_schema::attribute::{Check, Constant};
use labyard_schema::problem::At;
use labyard_schema::{Attribute, Change, Described, Presence, Problem, Shape};
use tfplugin::Diagnostics;
use tfplugin::schema::{self, Kind, Schema};
use tfplugin::value::{Path, Type, Value};

/// The schema of a described struct.
pub fn schema<T: Described>(version: i64) -> Schema {
    let attributes: Vec<_> = T::attributes().iter().map(attribute).collect();
    Schema::new(attributes).version(version).describe(T::doc())
}

fn attribute(attribute: &Attribute) -> schema::Attribute {
    let presence = match &attribute.presence {
        Presence::Required => schema::Presence::Required,
        Presence::Optional => schema::Presence::Optional,
        Presence::Computed => schema::Presence::Computed,
        Presence::OptionalComputed => schema::Presence::OptionalComputed,
        Presence::Default(constant) => schema::Presence::Default(value(constant)),
    };
    let mut made = schema::Attribute::new(attribute.name, kind(&attribute.shape), presence)
        .describe(attribute.description());
    made.sensitive = attribute.sensitive;
    made.write_only = attribute.write_only;
    // Inside objects it depends on what was there before: those replacements come from the diff.
    made.requires_replace = attribute.change == Change::Replace && attribute.shape == Shape::Text;
    made
}

fn value(constant: &Constant) -> Value {
    match constant {
        Constant::Bool(value) => Value::from(*value),
        Constant::Integer(value) => Value::from(*value),
        Constant::Text(value) => Value::from(*value),
    }
}

fn kind(shape: &Shape) -> Kind {
    match shape {
        Shape::Object(attributes) => Kind::Single(inner(attributes)),
        Shape::Map(element) => match element.as_ref() {
            Shape::Object(attributes) => Kind::Map(inner(attributes)),
            plain => Kind::Plain(Type::map(plain_type(plain))),
        },
        Shape::List(element) => match element.as_ref() {
            Shape::Object(attributes) => Kind::List(inner(attributes)),
            plain => Kind::Plain(Type::list(plain_type(plain))),
        },
        plain => Kind::Plain(plain_type(plain)),
    }
}

/// Attributes inside an object never force a replacement by themselves.
fn inner(attributes: &[Attribute]) -> Vec<schema::Attribute> {
    let nested = |a: &Attribute| schema::Attribute {
        requires_replace: false,
        ..attribute(a)
    };
    attributes.iter().map(nested).collect()
}

fn plain_type(shape: &Shape) -> Type {
    match shape {
        Shape::Bool => Type::Bool,
        Shape::Integer => Type::Number,
        Shape::Text => Type::String,
        Shape::Map(element) => Type::map(plain_type(element)),
        Shape::List(element) => Type::list(plain_type(element)),
        Shape::Object(attributes) => Type::object(attributes.iter().map(|a| (a.name, plain_type(&a.shape)))),
    }
}

/// Checks every known value of a configuration by its attribute's check.
pub fn check<T: Described>(config: &Value, diags: &mut Diagnostics) {
    for attribute in T::attributes() {
        let path = Path::attribute(attribute.name);
        check_value(
            &attribute,
            &attribute.shape,
            config.field(attribute.name),
            path,
            diags,
        );
    }
}

fn check_value(attribute: &Attribute, shape: &Shape, value: &Value, path: Path, diags: &mut Diagnostics) {
    if value.is_null() || value.is_unknown() {
        return;
    }
    match shape {
        Shape::Object(attributes) => {
            for inner in attributes {
                let path = path.clone().then_attribute(inner.name);
                check_value(inner, &inner.shape, value.field(inner.name), path, diags);
            }
        }
        Shape::Map(element) => {
            for (key, value) in value.entries() {
                check_value(attribute, element, value, path.clone().then_key(key), diags);
            }
        }
        Shape::List(element) => {
            for (index, value) in value.items().enumerate() {
                check_value(attribute, element, value, path.clone().then_index(index), diags);
            }
        }
        Shape::Bool | Shape::Integer | Shape::Text => {
            if let Err(detail) = check_leaf(attribute.check, shape, value) {
                diags.error(Some(path), format!("Invalid {}", attribute.name), detail);
            }
        }
    }
}

fn check_leaf(check: Check, shape: &Shape, value: &Value) -> Result<(), String> {
    if *shape == Shape::Integer && value.as_i64().is_none() {
        return Err("A whole number is needed.".to_owned());
    }
    match check {
        Check::Any => Ok(()),
        Check::Text(check) => value.as_str().map_or(Ok(()), check),
        Check::Range(least, most) => match value.as_i64() {
            Some(number) if (least..=most).contains(&number) => Ok(()),
            Some(number) => Err(format!(
                "{number} is out of range: give a number from {least} to {most}."
            )),
            None => Ok(()),
        },
        Check::Choice(choices) => match value.as_str() {
            Some(text) if !choices.contains(&text) => Err(format!(
                "{text:?} is not known here: write one of {}.",
                choices.join(", ")
            )),
            _ => Ok(()),
        },
    }
}

/// Problems of rules between attributes as diagnostics.
pub fn report(problems: impl IntoIterator<Item = Problem>, diags: &mut Diagnostics) {
    for problem in problems {
        diags.error(Some(path(&problem.at)), problem.summary, problem.detail);
    }
}

fn path(at: &[At]) -> Path {
    at.iter().fold(Path::root(), |path, step| match step {
        At::Attribute(name) => path.then_attribute(*name),
        At::Key(key) => path.then_key(key.clone()),
    })
}

/// The path of an attribute written as in HCL: `disks["root"].size_gib`.
pub fn parse_path(text: &str) -> Path {
    let mut path = Path::root();
    let mut rest = text;
    while !rest.is_empty() {
        if let Some(after) = rest.strip_prefix("[\"") {
            let Some((key, after)) = after.split_once("\"]") else {
                break;
            };
            path = path.then_key(key);
            rest = after;
        } else {
            let from = rest.strip_prefix('.').unwrap_or(rest);
            let end = from.find(['.', '[']).unwrap_or(from.len());
            path = path.then_attribute(&from[..end]);
            rest = &from[end..];
        }
    }
    path
}

#[cfg(test)]
mod tests {
    use super::*;
    use labyard_schema::network::Network;
    use labyard_schema::provider::ProviderConfig;
    use labyard_schema::vm::Vm;

    #[test]
    fn every_schema_obeys_terraforms_rules() {
        for schema in [
            schema::<Vm>(0),
            schema::<Network>(0),
            schema::<ProviderConfig>(0),
            schema::<labyard_schema::access_code::AccessCode>(0),
            schema::<labyard_schema::vm_pool::VmPool>(0),
            schema::<labyard_schema::data::VmPoolData>(0),
            schema::<labyard_schema::data::AccessCodeData>(0),
            schema::<labyard_schema::data::AccessCodeEphemeral>(0),
            schema::<labyard_schema::data::HostData>(0),
            schema::<labyard_schema::data::VmData>(0),
            schema::<labyard_schema::data::NetworkData>(0),
        ] {
            assert_eq!(schema.faults(), []);
        }
    }

    #[test]
    fn a_path_written_as_in_hcl_is_read_back() {
        for text in ["cpus", "disks[\"root\"].size_gib", "nics[\"lan\"].network"] {
            assert_eq!(parse_path(text).to_string(), text);
        }
    }

    #[test]
    fn a_bad_leaf_in_a_map_is_reported_at_its_path() {
        let disk = Value::object([("size_gib", Value::from(0))]);
        let config = Value::object([("disks", Value::object([("root", disk)]))]);
        let mut diags = Diagnostics::default();
        check::<Vm>(&config, &mut diags);
        assert_eq!(
            diags.0[0].attribute.as_ref().map(ToString::to_string).unwrap(),
            "disks[\"root\"].size_gib"
        );
    }
}
