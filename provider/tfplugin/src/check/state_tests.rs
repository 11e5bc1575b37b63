//! What a state may not hold.

use super::*;
use crate::schema::Kind;
use crate::value::{Path, Type};

fn schema() -> Schema {
    let key = || Attribute::optional("key_wo", Type::String).write_only();
    Schema::new([
        Attribute::computed("id", Type::String),
        Attribute::computed("macs", Type::map(Type::list(Type::String))),
        Attribute::optional("secret_wo", Type::String).write_only(),
        Attribute::optional(
            "disks",
            Kind::map([key(), Attribute::computed("serial", Type::String)]),
        ),
        Attribute::optional("parts", Kind::list([key()])),
        Attribute::optional("boot", Kind::single([key()])),
    ])
}

fn with(path: &Path, value: impl Into<Value>) -> Value {
    let key = || Value::object([("key_wo", Value::Null)]);
    let disk = Value::object([("key_wo", Value::Null), ("serial", Value::from("s"))]);
    let mut state = Value::object([
        ("id", Value::from("42")),
        ("macs", Value::object([("lan", Value::from(vec!["a", "b"]))])),
        ("secret_wo", Value::Null),
        ("disks", Value::object([("root", disk)])),
        ("parts", Value::list([key()])),
        ("boot", key()),
    ]);
    state.set(path, value).expect("a path of the state");
    state
}

fn at(name: &str) -> Path {
    Path::attribute(name)
}

fn violations(value: &Value) -> Vec<(String, Rule)> {
    state(&schema(), value)
        .into_iter()
        .map(|violation| (violation.path.to_string(), violation.rule))
        .collect()
}

#[test]
fn a_state_is_known_and_holds_nothing_write_only() {
    assert_eq!(violations(&with(&at("id"), "43")), []);
    assert_eq!(violations(&with(&at("id"), Value::Null)), []);
    assert_eq!(violations(&Value::Null), [], "an object that is gone");
}

#[test]
fn an_unknown_value_is_found_at_every_depth() {
    let places = [
        (at("id"), "id"),
        (at("macs"), "macs"),
        (at("macs").then_key("lan").then_index(1), "macs[\"lan\"][1]"),
        (at("disks"), "disks"),
        (at("disks").then_key("root"), "disks[\"root\"]"),
        (
            at("disks").then_key("root").then_attribute("serial"),
            "disks[\"root\"].serial",
        ),
        (at("boot"), "boot"),
        (Path::root(), ""),
    ];
    for (path, shown) in places {
        assert_eq!(
            violations(&with(&path, Value::Unknown)),
            [(shown.to_owned(), Rule::Unknown)]
        );
    }
}

#[test]
fn a_write_only_value_is_found_and_cleared_at_every_depth() {
    let good = with(&at("id"), "42");
    for path in [
        at("secret_wo"),
        at("disks").then_key("root").then_attribute("key_wo"),
        at("parts").then_index(0).then_attribute("key_wo"),
        at("boot").then_attribute("key_wo"),
    ] {
        let mut value = with(&path, "secret");
        assert_eq!(violations(&value), [(path.to_string(), Rule::WriteOnly)]);
        clear_write_only(&schema(), &mut value);
        assert_eq!(value, good);
    }
}

#[test]
fn a_wrong_shape_is_said_where_it_is() {
    let found = violations(&with(&at("macs").then_key("lan"), 7));
    assert_eq!(
        found,
        [(
            "macs[\"lan\"]".into(),
            Rule::Shape("a number where list(string) belongs".into())
        )]
    );
}

#[test]
fn a_violation_tells_the_user_whose_fault_it_is() {
    let violation = Violation::new(at("id"), Rule::Unknown);
    let diagnostic = violation.into_diagnostic();
    assert_eq!(diagnostic.attribute, Some(at("id")));
    assert_eq!(diagnostic.summary, "Provider broke a rule of Terraform");
    assert!(
        diagnostic
            .detail
            .starts_with("id: the value is still unknown.\n\nThis is a fault of the provider")
    );
    let whole = Violation::new(Path::root(), Rule::Gone).into_diagnostic();
    assert_eq!(whole.attribute, None);
}

#[test]
fn an_element_of_a_set_is_not_named_to_the_user() {
    let path = at("rules")
        .then(Step::Element(Value::from("secret")))
        .then_attribute("port");
    let diagnostic = Violation::new(path, Rule::Unknown).into_diagnostic();
    assert_eq!(diagnostic.attribute, Some(at("rules")));
    assert!(
        diagnostic
            .detail
            .starts_with("rules: the value is still unknown.")
    );
}
