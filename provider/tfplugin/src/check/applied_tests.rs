//! What an apply may not answer, and how it is mended.

use super::*;
use crate::check::state;
use crate::value::Path;

fn schema() -> Schema {
    let disk = || {
        vec![
            Attribute::required("size", Type::Number),
            Attribute::computed("serial", Type::String),
            Attribute::optional("key_wo", Type::String).write_only(),
        ]
    };
    Schema::new([
        Attribute::required("name", Type::String),
        Attribute::optional("token", Type::String).sensitive(),
        Attribute::computed("id", Type::String),
        Attribute::computed("macs", Type::map(Type::String)),
        Attribute::optional("tags", Type::set(Type::String)),
        Attribute::optional("any", Type::Dynamic),
        Attribute::optional("password_wo", Type::String).write_only(),
        Attribute::optional("disks", Kind::map(disk())),
        Attribute::optional("parts", Kind::list(disk())),
        Attribute::optional("boot", Kind::single(disk())),
        Attribute::optional(
            "rules",
            Kind::set([
                Attribute::required("port", Type::Number),
                Attribute::computed("handle", Type::String),
            ]),
        ),
    ])
}

fn disk(size: i64, serial: Value) -> Value {
    Value::object([
        ("size", Value::from(size)),
        ("serial", serial),
        ("key_wo", Value::Null),
    ])
}

fn rule(port: i64, handle: Value) -> Value {
    Value::object([("port", Value::from(port)), ("handle", handle)])
}

fn at(name: &str) -> Path {
    Path::attribute(name)
}

fn object(disk_serial: &Value, handle: &Value, id: Value, macs: Value) -> Value {
    let mut value = schema().empty_value();
    for (name, entry) in [
        ("name", Value::from("web")),
        ("id", id),
        ("macs", macs),
        ("tags", Value::from(vec!["a", "b"])),
        ("disks", Value::object([("root", disk(20, disk_serial.clone()))])),
        ("parts", Value::list([disk(1, disk_serial.clone())])),
        (
            "rules",
            Value::list([rule(22, handle.clone()), rule(80, handle.clone())]),
        ),
    ] {
        value.set(&at(name), entry);
    }
    value
}

fn planned() -> Value {
    let macs = Value::object([("lan", Value::Unknown)]);
    object(&Value::Unknown, &Value::Unknown, Value::Unknown, macs)
}

/// What a provider that keeps the plan answers.
fn made() -> Value {
    object(
        &"s".into(),
        &"h".into(),
        "42".into(),
        Value::object([("lan", Value::from("52:54"))]),
    )
}

/// What is found in an answer, and the answer as it is sent. That it can be stored holds of every case.
fn check(planned: &Value, mut new: Value) -> (Vec<(String, Rule)>, Value) {
    let found = applied(&schema(), planned, &mut new);
    assert_eq!(state(&schema(), &new), [], "what is sent can be stored");
    (
        found
            .into_iter()
            .map(|violation| (violation.path.to_string(), violation.rule))
            .collect(),
        new,
    )
}

/// The same for a good answer but for one value.
fn check_with(path: &Path, value: impl Into<Value>) -> (Vec<(String, Rule)>, Value) {
    let mut new = made();
    new.set(path, value).expect("a path of the answer");
    check(&planned(), new)
}

fn broken(path: &str, planned: &str, found: &str) -> Vec<(String, Rule)> {
    vec![(
        path.into(),
        Rule::PlanBroken {
            planned: planned.into(),
            found: found.into(),
        },
    )]
}

#[test]
fn an_answer_that_keeps_the_plan_passes_unchanged() {
    assert_eq!(check(&planned(), made()), (vec![], made()));
}

#[test]
fn a_write_only_value_becomes_null_without_further_ado() {
    let (found, new) = check_with(&at("password_wo"), "secret");
    assert_eq!((found, new), (vec![], made()));
    let key = at("disks").then_key("root").then_attribute("key_wo");
    assert_eq!(check_with(&key, Value::Unknown), (vec![], made()));
    let key = at("parts").then_index(0).then_attribute("key_wo");
    assert_eq!(check_with(&key, "secret"), (vec![], made()));
}

#[test]
fn an_unknown_value_becomes_null_and_is_said() {
    let unknown = |path: &str| vec![(path.to_owned(), Rule::Unknown)];
    let (found, new) = check_with(&at("id"), Value::Unknown);
    assert_eq!((found, new.field("id")), (unknown("id"), &Value::Null));
    let (found, new) = check_with(&at("macs").then_key("lan"), Value::Unknown);
    assert_eq!(
        (found, new.field("macs").field("lan")),
        (unknown("macs"), &Value::Null)
    );
    let serial = at("disks").then_key("root").then_attribute("serial");
    let (found, new) = check_with(&serial, Value::Unknown);
    assert_eq!(
        (found, new.get(&serial)),
        (unknown("disks[\"root\"].serial"), Some(&Value::Null))
    );
    let (found, new) = check_with(&at("disks"), Value::Unknown);
    assert_eq!((found, new.field("disks")), (unknown("disks"), &Value::Null));
    let (found, _) = check_with(&at("disks").then_key("root"), Value::Unknown);
    assert_eq!(found, unknown("disks[\"root\"]"));
}

#[test]
fn what_was_planned_and_known_stays_and_the_truth_is_sent() {
    let (found, new) = check_with(&at("name"), "db");
    assert_eq!(found, broken("name", "\"web\"", "\"db\""));
    assert_eq!(new.field("name"), &Value::from("db"));
    let size = at("disks").then_key("root").then_attribute("size");
    assert_eq!(
        check_with(&size, 30).0,
        broken("disks[\"root\"].size", "20", "30")
    );
    let size = at("parts").then_index(0).then_attribute("size");
    assert_eq!(
        check_with(&size, Value::Null).0,
        broken("parts[0].size", "1", "null")
    );
    assert_eq!(
        check_with(&at("token"), "x").0,
        broken("token", "null", "(sensitive value)")
    );
}

#[test]
fn null_and_empty_are_not_the_same() {
    assert_eq!(
        check_with(&at("tags"), Value::list([])).0,
        broken("tags", "[\"a\", \"b\"]", "[]")
    );
    assert_eq!(
        check_with(&at("boot"), disk(1, Value::Null)).0,
        broken("boot", "null", "(sensitive value)")
    );
    assert_eq!(
        check_with(&at("disks"), Value::Null).0,
        broken("disks", "(sensitive value)", "null")
    );
}

#[test]
fn the_order_of_a_set_breaks_nothing() {
    assert_eq!(check_with(&at("tags"), Value::from(vec!["b", "a"])).0, []);
    let rules = Value::list([rule(80, "x".into()), rule(22, "y".into())]);
    assert_eq!(check_with(&at("rules"), rules).0, []);
}

#[test]
fn the_elements_are_those_that_were_planned() {
    let elements = |path: &str| vec![(path.to_owned(), Rule::Elements)];
    let disks = |keys: &[&str]| Value::object(keys.iter().map(|key| (*key, disk(20, "s".into()))));
    assert_eq!(check_with(&at("disks"), disks(&["data"])).0, elements("disks"));
    assert_eq!(
        check_with(&at("disks"), disks(&["data", "root"])).0,
        elements("disks")
    );
    let part = || disk(1, "s".into());
    assert_eq!(
        check_with(&at("parts"), Value::list([part(), part()])).0,
        elements("parts")
    );
    let rules = |ports: [i64; 2]| Value::list(ports.map(|port| rule(port, "h".into())));
    assert_eq!(check_with(&at("rules"), rules([22, 443])).0, elements("rules"));
    assert!(matches!(
        &check_with(&at("macs"), Value::object::<&str>([])).0[..],
        [(_, Rule::PlanBroken { .. })]
    ));
}

#[test]
fn a_planned_type_of_a_dynamic_value_stays() {
    let plan = |value: Value| {
        let mut planned = planned();
        planned.set(&at("any"), value);
        planned
    };
    let answer = |value: Value| {
        let mut new = made();
        new.set(&at("any"), value.into_dynamic());
        new
    };
    let unknown_text = Value::Dynamic(Box::new(Type::String), Box::new(Value::Unknown));
    assert_eq!(check(&plan(unknown_text.clone()), answer("x".into())).0, []);
    assert!(!check(&plan(unknown_text), answer(1.into())).0.is_empty());
    assert_eq!(check(&plan(Value::Unknown), answer(1.into())).0, []);
}

#[test]
fn what_has_the_wrong_shape_becomes_what_was_planned_so_that_the_object_is_not_lost() {
    let (found, new) = check_with(&at("name"), 7);
    assert_eq!(
        found,
        [("name".into(), Rule::Shape("a number where string belongs".into()))]
    );
    assert_eq!(new, made());

    let (found, new) = check_with(&at("macs"), Value::list([]));
    assert_eq!(found[0].0, "macs");
    assert_eq!(new.field("macs"), &Value::object([("lan", Value::Null)]));

    let (found, new) = check_with(&at("disks").then_key("root"), "x");
    assert_eq!(
        found,
        [(
            "disks[\"root\"]".into(),
            Rule::Shape("a string where an object belongs".into())
        )]
    );
    assert_eq!(new.field("disks").field("root"), &disk(20, Value::Null));

    let (found, new) = check_with(&at("parts"), true);
    assert_eq!(
        found,
        [(
            "parts".into(),
            Rule::Shape("a bool where a collection belongs".into())
        )]
    );
    assert_eq!(new.field("parts"), &Value::list([disk(1, Value::Null)]));

    let (found, new) = check(&planned(), Value::from("x"));
    assert_eq!(
        found[0],
        (
            String::new(),
            Rule::Shape("a string where an object belongs".into())
        )
    );
    assert_eq!(new.field("name"), &Value::from("web"));
}

#[test]
fn missing_and_foreign_attributes_are_put_right() {
    let mut new = made();
    let entries = new.as_keyed_mut().unwrap();
    entries.remove("name");
    entries.insert("nonsense".into(), Value::from(1));
    let (found, new) = check(&planned(), new);
    let shape = |problem: &str| (String::new(), Rule::Shape(problem.to_owned()));
    assert_eq!(
        found,
        [
            shape("there is no attribute nonsense"),
            shape("attribute name is missing")
        ]
    );
    assert_eq!(new, made());
}

#[test]
fn an_object_that_was_made_is_there_and_one_that_was_destroyed_is_gone() {
    assert_eq!(
        check(&planned(), Value::Null),
        (vec![(String::new(), Rule::Gone)], Value::Null)
    );
    assert_eq!(check(&Value::Null, Value::Null), (vec![], Value::Null));
    assert_eq!(check(&Value::Null, made()).0, [(String::new(), Rule::StillThere)]);
}

#[test]
fn what_a_failed_delete_leaves_can_be_stored() {
    let mut left = made();
    left.set(&at("id"), Value::Unknown);
    left.set(&at("password_wo"), "secret");
    let (found, left) = check(&Value::Null, left);
    assert_eq!(
        found,
        [(String::new(), Rule::StillThere), ("id".into(), Rule::Unknown)]
    );
    assert_eq!(
        (left.field("id"), left.field("password_wo")),
        (&Value::Null, &Value::Null)
    );
}
