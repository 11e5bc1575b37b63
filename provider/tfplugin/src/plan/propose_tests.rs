//! What the schema alone plans, rule by rule.

use super::*;
use crate::schema::Attribute;
use crate::value::Type;

fn schema() -> Schema {
    let disk = [
        Attribute::required("size", Type::Number),
        Attribute::defaulted("bus", Type::String, "virtio"),
        Attribute::optional("pool", Type::String).replaces(),
        Attribute::computed("serial", Type::String),
        Attribute::optional("key_wo", Type::String).write_only(),
    ];
    Schema::new([
        Attribute::required("name", Type::String).replaces(),
        Attribute::optional("cpus", Type::Number),
        Attribute::defaulted("autostart", Type::Bool, false),
        Attribute::optional_computed("host", Type::String).replaces(),
        Attribute::computed("id", Type::String),
        Attribute::computed("macs", Type::map(Type::String)),
        Attribute::optional("password_wo", Type::String).write_only(),
        Attribute::optional("disks", Kind::map(disk.clone())),
        Attribute::optional("boot", Kind::single(disk.clone())),
        Attribute::optional("parts", Kind::list(disk)),
        Attribute::optional(
            "rules",
            Kind::set([
                Attribute::required("port", Type::Number),
                Attribute::computed("handle", Type::String),
            ]),
        ),
    ])
}

/// An object of the schema in which only these attributes are not null.
fn with(entries: &[(&str, Value)]) -> Value {
    let mut value = schema().empty_value();
    for (name, entry) in entries {
        value.set(&Path::attribute(*name), entry.clone());
    }
    value
}

fn disk(entries: &[(&str, Value)]) -> Value {
    let mut value =
        Value::object(["size", "bus", "pool", "serial", "key_wo"].map(|name| (name, Value::Null)));
    for (name, entry) in entries {
        value.set(&Path::attribute(*name), entry.clone());
    }
    value
}

fn sized(size: i64) -> Value {
    disk(&[("size", size.into())])
}

fn made(size: i64, serial: &str) -> Value {
    disk(&[
        ("size", size.into()),
        ("bus", "virtio".into()),
        ("serial", serial.into()),
    ])
}

fn planned(prior: &Value, config: &Value) -> Value {
    propose(&schema(), prior, config, config).planned
}

fn replaced(prior: &Value, config: &Value) -> Vec<String> {
    propose(&schema(), prior, config, config)
        .requires_replace
        .iter()
        .map(Path::to_string)
        .collect()
}

/// A state of the smallest machine, changed in these attributes.
fn state(entries: &[(&str, Value)]) -> Value {
    let mut all = vec![
        ("name", Value::from("web")),
        ("autostart", Value::from(false)),
        ("host", Value::from("lab1")),
        ("id", Value::from("42")),
        ("macs", Value::object([("lan", Value::from("52:54"))])),
    ];
    all.extend(entries.iter().cloned());
    with(&all)
}

#[test]
fn on_create_what_the_provider_computes_is_unknown_and_the_rest_as_configured() {
    let planned = planned(
        &Value::Null,
        &with(&[("name", "web".into()), ("password_wo", "secret".into())]),
    );
    let expected = with(&[
        ("name", "web".into()),
        ("autostart", false.into()),
        ("host", Value::Unknown),
        ("id", Value::Unknown),
        ("macs", Value::Unknown),
    ]);
    assert_eq!(planned, expected);
}

#[test]
fn a_live_change_leaves_what_was_computed_known() {
    let planned = planned(&state(&[]), &with(&[("name", "web".into()), ("cpus", 4.into())]));
    assert_eq!(planned, state(&[("cpus", 4.into())]));
}

#[test]
fn a_default_is_planned_again_when_the_configured_value_goes() {
    let prior = state(&[
        ("autostart", true.into()),
        (
            "disks",
            Value::object([("root", disk(&[("bus", "scsi".into())]))]),
        ),
    ]);
    let config = with(&[
        ("name", "web".into()),
        ("disks", Value::object([("root", sized(20))])),
    ]);
    let planned = planned(&prior, &config);
    assert_eq!(planned.field("autostart"), &Value::from(false));
    assert_eq!(
        planned.field("disks").field("root").field("bus"),
        &Value::from("virtio")
    );
}

#[test]
fn an_unknown_configured_value_of_a_default_stays_unknown() {
    let planned = planned(
        &state(&[]),
        &with(&[("name", "web".into()), ("autostart", Value::Unknown)]),
    );
    assert_eq!(planned.field("autostart"), &Value::Unknown);
}

#[test]
fn an_optional_value_that_is_removed_becomes_null_and_a_computed_one_stays() {
    let planned = planned(&state(&[("cpus", 4.into())]), &with(&[("name", "web".into())]));
    assert_eq!(planned.field("cpus"), &Value::Null);
    assert_eq!(planned.field("host"), &Value::from("lab1"));
}

#[test]
fn a_new_map_element_is_planned_as_on_create_and_an_old_one_keeps_what_was_computed() {
    let prior = state(&[("disks", Value::object([("root", made(20, "r1"))]))]);
    let config = with(&[
        ("name", "web".into()),
        ("disks", Value::object([("data", sized(5)), ("root", sized(30))])),
    ]);
    let disks = planned(&prior, &config).field("disks").clone();
    let new = disk(&[
        ("size", 5.into()),
        ("bus", "virtio".into()),
        ("serial", Value::Unknown),
    ]);
    assert_eq!(disks, Value::object([("data", new), ("root", made(30, "r1"))]));
}

#[test]
fn list_elements_keep_what_was_computed_by_their_index() {
    let prior = state(&[("parts", Value::list([made(1, "a"), made(2, "b")]))]);
    let config = with(&[("name", "web".into()), ("parts", Value::list([sized(9)]))]);
    assert_eq!(
        planned(&prior, &config).field("parts"),
        &Value::list([made(9, "a")])
    );
}

#[test]
fn set_elements_keep_what_was_computed_when_configured_alike() {
    let rule = |port: i64, handle: Value| Value::object([("port", Value::from(port)), ("handle", handle)]);
    let prior = state(&[("rules", Value::list([rule(22, "a".into()), rule(80, "b".into())]))]);
    let config = with(&[
        ("name", "web".into()),
        (
            "rules",
            Value::list([rule(80, Value::Null), rule(443, Value::Null)]),
        ),
    ]);
    let mut expected = vec![rule(80, "b".into()), rule(443, Value::Unknown)];
    expected.sort();
    assert_eq!(
        planned(&prior, &config).field("rules"),
        &Value::Sequence(expected)
    );
}

#[test]
fn an_object_that_appears_is_planned_as_on_create_and_one_that_goes_is_null() {
    let with_boot = with(&[("name", "web".into()), ("boot", sized(1))]);
    let appeared = planned(&state(&[]), &with_boot);
    assert_eq!(appeared.field("boot").field("serial"), &Value::Unknown);
    let gone = planned(
        &state(&[("boot", made(1, "a"))]),
        &with(&[("name", "web".into())]),
    );
    assert_eq!(gone.field("boot"), &Value::Null);
}

#[test]
fn unknown_collections_elements_and_objects_stay_unknown() {
    let config = with(&[
        ("name", "web".into()),
        ("disks", Value::object([("root", Value::Unknown)])),
        ("boot", Value::Unknown),
        ("parts", Value::Unknown),
    ]);
    let planned = planned(&Value::Null, &config);
    assert_eq!(planned.field("disks"), &Value::object([("root", Value::Unknown)]));
    assert_eq!(planned.field("boot"), &Value::Unknown);
    assert_eq!(planned.field("parts"), &Value::Unknown);
}

#[test]
fn write_only_values_are_never_planned_at_any_depth() {
    let secret = disk(&[("size", 1.into()), ("key_wo", "secret".into())]);
    let config = with(&[
        ("name", "web".into()),
        ("password_wo", Value::Unknown),
        ("disks", Value::object([("root", secret)])),
    ]);
    let planned = planned(&Value::Null, &config);
    assert_eq!(planned.field("password_wo"), &Value::Null);
    assert_eq!(planned.field("disks").field("root").field("key_wo"), &Value::Null);
}

#[test]
fn a_destroy_is_planned_as_null() {
    let expected = Proposal {
        planned: Value::Null,
        requires_replace: vec![],
    };
    assert_eq!(
        propose(&schema(), &state(&[]), &Value::Null, &Value::Null),
        expected
    );
    assert_eq!(
        propose(&schema(), &state(&[]), &with(&[]), &Value::Null),
        expected
    );
}

#[test]
fn a_changed_value_that_cannot_change_in_place_requires_replacement() {
    assert_eq!(replaced(&state(&[]), &with(&[("name", "db".into())])), ["name"]);
    assert_eq!(
        replaced(&state(&[]), &with(&[("name", Value::Unknown)])),
        ["name"]
    );
    assert_eq!(replaced(&state(&[]), &with(&[("name", "web".into())])), [""; 0]);
    assert_eq!(
        replaced(
            &state(&[]),
            &with(&[("name", "web".into()), ("host", "lab2".into())])
        ),
        ["host"]
    );
    assert_eq!(
        replaced(&Value::Null, &with(&[("name", "db".into())])),
        [""; 0],
        "nothing is there to replace"
    );
}

#[test]
fn replacement_is_required_by_elements_that_stay_not_by_those_that_come_or_go() {
    let pooled = |pool: &str| disk(&[("size", 20.into()), ("pool", pool.into())]);
    let disks = |entries: Vec<(&'static str, Value)>| {
        let disks: Value = Value::object(entries);
        disks
    };
    let prior = state(&[(
        "disks",
        disks(vec![("root", pooled("ssd")), ("old", pooled("ssd"))]),
    )]);
    let config = |entries| with(&[("name", "web".into()), ("disks", disks(entries))]);
    let changed = config(vec![("root", pooled("hdd")), ("new", pooled("hdd"))]);
    assert_eq!(replaced(&prior, &changed), [r#"disks["root"].pool"#]);
    assert_eq!(replaced(&prior, &config(vec![("root", pooled("ssd"))])), [""; 0]);
    assert_eq!(replaced(&prior, &with(&[("name", "web".into())])), [""; 0]);
}

#[test]
fn an_unknown_object_may_be_another_one_and_so_requires_replacement() {
    let prior = state(&[("boot", made(1, "a")), ("parts", Value::list([made(1, "b")]))]);
    let config = with(&[
        ("name", "web".into()),
        ("boot", Value::Unknown),
        ("parts", Value::Unknown),
    ]);
    assert_eq!(replaced(&prior, &config), ["boot.pool", "parts[0].pool"]);
}
