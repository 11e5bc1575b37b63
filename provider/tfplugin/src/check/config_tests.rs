//! What a configuration must and may not set.

use super::*;
use crate::schema::Kind;
use crate::value::{Path, Type};

fn schema() -> Schema {
    let disk = [
        Attribute::required("size", Type::Number),
        Attribute::computed("serial", Type::String),
    ];
    Schema::new([
        Attribute::required("name", Type::String),
        Attribute::computed("id", Type::String).sensitive(),
        Attribute::optional("disks", Kind::map(disk)),
    ])
}

fn violations(entries: &[(&str, Value)]) -> Vec<(String, Rule)> {
    let mut value = schema().empty_value();
    for (name, entry) in entries {
        value.set(&Path::attribute(*name), entry.clone());
    }
    config(&schema(), &value)
        .into_iter()
        .map(|found| (found.path.to_string(), found.rule))
        .collect()
}

#[test]
fn required_values_are_set_or_unknown() {
    assert_eq!(violations(&[("name", "web".into())]), []);
    assert_eq!(violations(&[("name", Value::Unknown)]), []);
    assert_eq!(violations(&[]), [("name".into(), Rule::Required)]);
}

#[test]
fn what_the_provider_computes_is_not_set_nor_shown_when_sensitive() {
    let found = violations(&[("name", "web".into()), ("id", "x".into())]);
    assert_eq!(
        found,
        [("id".into(), Rule::Configured("(sensitive value)".into()))]
    );
}

#[test]
fn nested_attributes_are_checked_in_every_known_element() {
    let disk = Value::object([("size", Value::Null), ("serial", Value::from("s"))]);
    let disks = Value::object([("root", disk), ("data", Value::Unknown)]);
    let found = violations(&[("name", "web".into()), ("disks", disks)]);
    let expected = [
        ("disks[\"root\"].size", Rule::Required),
        ("disks[\"root\"].serial", Rule::Configured("\"s\"".into())),
    ];
    assert_eq!(found, expected.map(|(path, rule)| (path.to_owned(), rule)));
    assert_eq!(
        violations(&[("name", "web".into()), ("disks", Value::Unknown)]),
        []
    );
}

#[test]
fn a_wrong_configuration_is_the_users_not_the_providers() {
    let diagnostic = Violation::new(Path::attribute("name"), Rule::Required).into_diagnostic();
    assert_eq!(diagnostic.summary, "Invalid configuration");
    assert_eq!(
        diagnostic.detail,
        "name: the attribute is required, but nothing is configured."
    );
}
