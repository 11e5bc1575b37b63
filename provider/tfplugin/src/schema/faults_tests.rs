//! Each fault of a schema, and a schema without any.

use super::*;
use crate::value::Value;

fn faults(attributes: impl Into<Vec<Attribute>>) -> Vec<SchemaFault> {
    Schema::new(attributes).faults()
}

fn at(name: &str) -> Path {
    Path::attribute(name)
}

fn text(name: &str) -> Attribute {
    Attribute::optional(name, Type::String)
}

#[test]
fn a_sound_schema_has_no_faults() {
    let disk = [
        Attribute::required("size", Type::Number),
        text("key_wo").write_only(),
        text("pool").replaces(),
    ];
    let sound = Schema::new([
        Attribute::required("name", Type::String)
            .describe("Its name.")
            .replaces(),
        Attribute::defaulted("autostart", Type::Bool, true),
        Attribute::defaulted("tags", Type::set(Type::String), Value::list([])),
        Attribute::optional("disks", Kind::map(disk)),
        Attribute::computed("nics", Kind::map([Attribute::computed("mac", Type::String)])),
        Attribute::optional("any", Type::Dynamic),
    ]);
    assert_eq!(sound.version(3).describe("A machine.").faults(), []);
}

#[test]
fn names_are_those_that_terraform_accepts() {
    for name in ["", "Name", "1st", "a-b", "_a", "ä"] {
        assert_eq!(faults([text(name)]), [SchemaFault::Name(at(name))]);
    }
    assert_eq!(faults([text("count")]), [SchemaFault::Reserved(at("count"))]);
    assert_eq!(
        faults([Attribute::optional("x", Kind::single([text("count")]))]),
        []
    );
    assert_eq!(faults([text("a"), text("a")]), [SchemaFault::Duplicate(at("a"))]);
}

#[test]
fn an_object_has_one_owner() {
    let shared = Attribute::optional_computed("x", Kind::single([text("a")]));
    assert_eq!(faults([shared]), [SchemaFault::SharedObject(at("x"))]);
    let mixed = Attribute::computed("x", Kind::list([text("a")]));
    assert_eq!(
        faults([mixed]),
        [SchemaFault::NotComputed(at("x").then_attribute("a"))]
    );
}

#[test]
fn a_default_is_a_known_value_of_its_type() {
    for default in [Value::from("x"), Value::Null, Value::Unknown] {
        assert_eq!(
            faults([Attribute::defaulted("x", Type::Bool, default)]),
            [SchemaFault::Default(at("x"))]
        );
    }
}

#[test]
fn write_only_values_are_the_users_outside_sets_and_never_replace() {
    let computed = Attribute::optional_computed("x", Type::String).write_only();
    assert_eq!(faults([computed]), [SchemaFault::ComputedWriteOnly(at("x"))]);
    assert_eq!(
        faults([text("x").write_only().replaces()]),
        [SchemaFault::WriteOnlyReplace(at("x"))]
    );
    let in_set = Attribute::optional("s", Kind::set([text("x").write_only()]));
    assert_eq!(
        faults([in_set]),
        [SchemaFault::WriteOnlyInSet(at("s").then_attribute("x"))]
    );
    let below_set = Attribute::optional(
        "s",
        Kind::set([Attribute::optional("o", Kind::single([text("x").replaces()]))]),
    );
    let path = at("s").then_attribute("o").then_attribute("x");
    assert_eq!(faults([below_set]), [SchemaFault::ReplaceInSet(path)]);
}

#[test]
fn a_collection_holds_no_dynamic_type() {
    let nested = Attribute::optional(
        "m",
        Kind::map([Attribute::optional("x", Type::map(Type::Dynamic))]),
    );
    assert_eq!(
        faults([nested]),
        [SchemaFault::DynamicInCollection(at("m").then_attribute("x"))]
    );
}
