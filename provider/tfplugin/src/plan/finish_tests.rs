//! What a finished plan may not do, rule by rule.

use super::*;
use crate::value::Type;

fn schema() -> Schema {
    let disk = || {
        vec![
            Attribute::required("size", Type::Number),
            Attribute::optional("key_wo", Type::String).write_only(),
        ]
    };
    Schema::new([
        Attribute::required("name", Type::String).replaces(),
        Attribute::optional("cpus", Type::Number),
        Attribute::defaulted("autostart", Type::Bool, false),
        Attribute::optional_computed("host", Type::String),
        Attribute::computed("id", Type::String),
        Attribute::optional("tags", Type::set(Type::String)),
        Attribute::optional("token", Type::String).sensitive(),
        Attribute::optional("password_wo", Type::String).write_only(),
        Attribute::optional("disks", Kind::map(disk())),
        Attribute::optional("parts", Kind::list(disk())),
        Attribute::optional("boot", Kind::single(disk())),
        Attribute::optional("rules", Kind::set([Attribute::required("port", Type::Number)])),
    ])
}

fn disk(size: i64) -> Value {
    Value::object([("size", Value::from(size)), ("key_wo", Value::Null)])
}

fn rule(port: i64) -> Value {
    Value::object([("port", Value::from(port))])
}

fn config() -> Value {
    let mut value = schema().empty_value();
    for (name, entry) in [
        ("name", Value::from("web")),
        ("tags", Value::from(vec!["a", "b"])),
        ("disks", Value::object([("root", disk(20))])),
        ("parts", Value::list([disk(1)])),
        ("rules", Value::list([rule(22), rule(80)])),
    ] {
        value.set(&Path::attribute(name), entry);
    }
    value
}

/// A good plan of an update.
fn plan() -> Plan {
    let mut prior = config();
    for (name, entry) in [
        ("autostart", Value::from(false)),
        ("host", Value::from("lab1")),
        ("id", Value::from("42")),
    ] {
        prior.set(&Path::attribute(name), entry);
    }
    Plan {
        planned: prior.clone(),
        prior,
        prior_private: vec![],
        config: config(),
        planned_private: vec![],
        requires_replace: vec![],
    }
}

fn violations(plan: &Plan) -> Vec<(String, Rule)> {
    let found = finish(&schema(), plan).err().unwrap_or_default();
    found
        .into_iter()
        .map(|violation| (violation.path.to_string(), violation.rule))
        .collect()
}

/// What is found when one planned value is another.
fn with_planned(path: &Path, value: impl Into<Value>) -> Vec<(String, Rule)> {
    let mut plan = plan();
    plan.planned.set(path, value).expect("a path of the plan");
    violations(&plan)
}

fn at(name: &str) -> Path {
    Path::attribute(name)
}

fn not_as_configured(path: &str, configured: &str, planned: &str) -> Vec<(String, Rule)> {
    let rule = Rule::NotAsConfigured {
        configured: configured.into(),
        planned: planned.into(),
    };
    vec![(path.into(), rule)]
}

#[test]
fn a_plan_that_keeps_to_configuration_and_prior_is_good() {
    assert_eq!(violations(&plan()), []);
    let mut unknown = plan();
    unknown.planned.set(&at("id"), Value::Unknown);
    unknown.planned.set(&at("host"), Value::Unknown);
    assert_eq!(violations(&unknown), []);
}

#[test]
fn a_configured_value_is_not_planned_otherwise() {
    assert_eq!(
        with_planned(&at("name"), "db"),
        not_as_configured("name", "\"web\"", "\"db\"")
    );
    assert_eq!(
        with_planned(&at("name"), Value::Null),
        not_as_configured("name", "\"web\"", "null")
    );
    let size = at("disks").then_key("root").then_attribute("size");
    assert_eq!(
        with_planned(&size, 30),
        not_as_configured("disks[\"root\"].size", "20", "30")
    );
    let size = at("parts").then_index(0).then_attribute("size");
    assert_eq!(
        with_planned(&size, Value::Unknown),
        not_as_configured("parts[0].size", "1", "(known after apply)")
    );
}

#[test]
fn the_prior_spelling_of_a_configured_value_may_stay() {
    let mut plan = plan();
    plan.prior.set(&at("name"), "WEB");
    plan.planned.set(&at("name"), "WEB");
    assert_eq!(violations(&plan), []);
}

#[test]
fn numbers_and_sets_are_compared_by_meaning() {
    let mut plan = plan();
    plan.config
        .set(&at("cpus"), Value::Number("2.0".parse().unwrap()));
    plan.planned.set(&at("cpus"), 2);
    plan.planned.set(&at("tags"), Value::from(vec!["b", "a"]));
    plan.planned.set(&at("rules"), Value::list([rule(80), rule(22)]));
    assert_eq!(violations(&plan), []);
}

#[test]
fn what_only_the_user_sets_stays_null_where_nothing_is_configured() {
    assert_eq!(
        with_planned(&at("cpus"), 2),
        [("cpus".into(), Rule::NotComputed("2".into()))]
    );
    let boot = Rule::NotComputed("{key_wo = null, size = 1}".into());
    let mut plan = plan();
    plan.planned.set(&at("boot"), disk(1));
    // A write-only attribute lies inside, so that nothing of it is shown.
    assert_ne!(violations(&plan), [("boot".to_owned(), boot)]);
    assert_eq!(
        violations(&plan),
        [("boot".into(), Rule::NotComputed("(sensitive value)".into()))]
    );
}

#[test]
fn an_empty_collection_is_not_null() {
    let mut plan = plan();
    plan.config.set(&at("tags"), Value::Null);
    plan.prior.set(&at("tags"), Value::Null);
    plan.planned.set(&at("tags"), Value::list([]));
    assert_eq!(
        violations(&plan),
        [("tags".into(), Rule::NotComputed("[]".into()))]
    );
}

#[test]
fn a_default_is_planned_as_such_never_unknown() {
    let not_default = |planned: &str| {
        vec![(
            "autostart".to_owned(),
            Rule::NotDefault {
                default: "false".into(),
                planned: planned.into(),
            },
        )]
    };
    assert_eq!(with_planned(&at("autostart"), true), not_default("true"));
    assert_eq!(
        with_planned(&at("autostart"), Value::Unknown),
        not_default("(known after apply)")
    );
}

#[test]
fn a_write_only_value_is_not_planned() {
    assert_eq!(
        with_planned(&at("password_wo"), "x"),
        [("password_wo".into(), Rule::WriteOnly)]
    );
    let key = at("disks").then_key("root").then_attribute("key_wo");
    assert_eq!(
        with_planned(&key, Value::Unknown),
        [("disks[\"root\"].key_wo".into(), Rule::WriteOnly)]
    );
}

#[test]
fn a_plan_has_the_configured_elements() {
    let mut more = plan();
    more.planned.set(&at("disks").then_key("data"), disk(1));
    assert!(matches!(&violations(&more)[..], [(path, Rule::NotAsConfigured { .. })] if path == "disks"));
    assert!(matches!(&with_planned(&at("parts"), Value::list([]))[..], [(path, _)] if path == "parts"));
    assert!(matches!(&with_planned(&at("parts"), Value::Unknown)[..], [(path, _)] if path == "parts"));
    assert_eq!(
        with_planned(&at("rules"), Value::list([rule(22), rule(443)])),
        [("rules".into(), Rule::Elements)]
    );
    assert_eq!(
        with_planned(&at("rules"), Value::list([rule(22), rule(22)])),
        [("rules".into(), Rule::Elements)]
    );
}

#[test]
fn an_unknown_configured_object_is_planned_unknown() {
    let mut plan = plan();
    plan.config.set(&at("boot"), Value::Unknown);
    plan.planned.set(&at("boot"), disk(1));
    assert!(matches!(&violations(&plan)[..], [(path, Rule::NotAsConfigured { .. })] if path == "boot"));
    plan.planned.set(&at("boot"), Value::Unknown);
    assert_eq!(violations(&plan), []);
}

#[test]
fn a_plan_has_the_shape_of_the_schema() {
    let found = with_planned(&at("id"), 7);
    assert_eq!(
        found,
        [("id".into(), Rule::Shape("a number where string belongs".into()))]
    );
    let mut plan = plan();
    plan.planned.as_keyed_mut().unwrap().remove("id");
    assert_eq!(
        violations(&plan),
        [(String::new(), Rule::Shape("attribute id is missing".into()))]
    );
}

#[test]
fn a_destroy_plans_null_and_nothing_else_does() {
    let destroy = |planned| Plan {
        config: Value::Null,
        planned,
        ..plan()
    };
    assert_eq!(violations(&destroy(Value::Null)), []);
    assert_eq!(
        violations(&destroy(plan().prior)),
        [(String::new(), Rule::StillThere)]
    );
    assert_eq!(
        violations(&Plan {
            planned: Value::Null,
            ..plan()
        }),
        [(String::new(), Rule::Gone)]
    );
    assert_eq!(
        violations(&Plan {
            planned: Value::Unknown,
            ..plan()
        }),
        [(String::new(), Rule::Unknown)]
    );
}

#[test]
fn replacement_is_required_once_by_what_is_there_and_changes() {
    let mut plan = plan();
    plan.config.set(&at("name"), "db");
    plan.planned.set(&at("name"), "db");
    plan.requires_replace = vec![at("name")];
    assert_eq!(violations(&plan), []);
    let nowhere = at("disks").then_key("none").then_attribute("size");
    let tag = at("tags");
    plan.planned.set(&tag, Value::from(vec!["b", "a"]));
    plan.requires_replace = vec![
        at("name"),
        at("name"),
        at("nothing"),
        nowhere,
        at("id"),
        tag,
        Path::root(),
    ];
    let expected = [
        ("name", Rule::ReplaceTwice),
        ("nothing", Rule::ReplaceNowhere),
        ("disks[\"none\"].size", Rule::ReplaceNowhere),
        ("id", Rule::ReplaceUnchanged),
        ("tags", Rule::ReplaceUnchanged),
        ("", Rule::ReplaceNowhere),
    ];
    assert_eq!(
        violations(&plan),
        expected.map(|(path, rule)| (path.to_owned(), rule))
    );
}

#[test]
fn sensitive_values_are_not_shown() {
    let mut plan = plan();
    plan.config.set(&at("token"), "hush");
    plan.planned.set(&at("token"), "hushed");
    let shown = format!("{:?}", finish(&schema(), &plan));
    assert!(
        shown.contains("(sensitive value)") && !shown.contains("hush\""),
        "{shown}"
    );
}
