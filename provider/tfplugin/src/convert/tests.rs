//! Structs as a provider writes them, there and back.

use std::collections::BTreeMap;

use proptest::prelude::*;
use serde::{Deserialize, Serialize};

use super::{from_value, to_value};
use crate::value::{Path, Type, Value};

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Machine {
    name: String,
    cpus: Option<u32>,
    #[serde(default)]
    disks: BTreeMap<String, Disk>,
    #[serde(default)]
    tags: Vec<String>,
    power: Option<Power>,
    host: Option<Host>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Disk {
    size_gib: u64,
    ratio: Option<f64>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Power {
    Running,
    Stopped,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Host {
    Libvirt { uri: String, pool: Option<String> },
    Sim(Sim),
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Sim {
    socket: String,
}

fn ty() -> Type {
    let libvirt = Type::object([("uri", Type::String), ("pool", Type::String)]);
    let sim = Type::object([("socket", Type::String)]);
    Type::object([
        ("name", Type::String),
        ("cpus", Type::Number),
        (
            "disks",
            Type::map(Type::object([
                ("size_gib", Type::Number),
                ("ratio", Type::Number),
            ])),
        ),
        ("tags", Type::set(Type::String)),
        ("power", Type::String),
        ("host", Type::object([("libvirt", libvirt), ("sim", sim)])),
    ])
}

fn machine() -> Machine {
    Machine {
        name: "web".into(),
        cpus: Some(2),
        disks: BTreeMap::from([(
            "root".into(),
            Disk {
                size_gib: u64::MAX,
                ratio: Some(0.1),
            },
        )]),
        tags: vec!["a".into(), "b".into()],
        power: Some(Power::Running),
        host: Some(Host::Libvirt {
            uri: "qemu:///system".into(),
            pool: None,
        }),
    }
}

fn value() -> Value {
    to_value(&machine(), &ty()).unwrap()
}

/// The error of reading a machine in which one value is another.
fn error_with(path: &Path, other: impl Into<Value>) -> String {
    let mut value = value();
    value.set(path, other).expect("a path of the machine");
    from_value::<Machine>(&value).unwrap_err().to_string()
}

fn at(name: &str) -> Path {
    Path::attribute(name)
}

#[test]
fn a_struct_survives_the_way_there_and_back() {
    assert_eq!(from_value::<Machine>(&value()), Ok(machine()));
    let least = Machine {
        cpus: None,
        disks: BTreeMap::new(),
        tags: vec![],
        power: None,
        host: None,
        ..machine()
    };
    assert_eq!(
        from_value::<Machine>(&to_value(&least, &ty()).unwrap()),
        Ok(least)
    );
    let simulated = Machine {
        host: Some(Host::Sim(Sim { socket: "/s".into() })),
        ..machine()
    };
    assert_eq!(
        from_value::<Machine>(&to_value(&simulated, &ty()).unwrap()),
        Ok(simulated)
    );
}

#[test]
fn what_a_struct_leaves_out_is_null() {
    let value = value();
    assert_eq!(value.field("host").field("sim"), &Value::Null);
    assert_eq!(value.field("host").field("libvirt").field("pool"), &Value::Null);
    crate::value::conform(&value, &ty()).unwrap();
}

#[test]
fn a_float_is_written_as_it_is_printed() {
    let ratio = at("disks").then_key("root").then_attribute("ratio");
    assert_eq!(value().get(&ratio).map(Value::to_string), Some("0.1".into()));
}

#[test]
fn null_attributes_count_as_absent() {
    let mut value = value();
    for name in ["cpus", "disks", "tags", "power", "host"] {
        value.set(&at(name), Value::Null);
    }
    let read = from_value::<Machine>(&value).unwrap();
    assert_eq!((read.disks.len(), read.tags.len(), read.power), (0, 0, None));
    // So does one that the struct does not know at all.
    value.set(&at("computed"), Value::Null);
    assert!(from_value::<Machine>(&value).is_ok());
    value.set(&at("computed"), "x");
    assert!(
        from_value::<Machine>(&value)
            .unwrap_err()
            .to_string()
            .contains("unknown field `computed`")
    );
}

#[test]
fn a_null_entry_of_a_map_is_an_entry() {
    let labels = Value::object([("a", Value::Null), ("b", Value::from("x"))]);
    let expected = BTreeMap::from([("a".to_owned(), None), ("b".to_owned(), Some("x".to_owned()))]);
    assert_eq!(
        from_value::<BTreeMap<String, Option<String>>>(&labels),
        Ok(expected)
    );
}

#[test]
fn an_error_says_where_it_is() {
    let size = at("disks").then_key("root").then_attribute("size_gib");
    assert!(error_with(&size, "x").starts_with("disks[\"root\"].size_gib: invalid type: string \"x\""));
    assert!(error_with(&size, -1).starts_with("disks[\"root\"].size_gib: invalid value: integer `-1`"));
    let half = Value::Number("1.5".parse().unwrap());
    assert!(error_with(&size, half).starts_with("disks[\"root\"].size_gib: invalid type: floating point"));
    assert!(error_with(&size, Value::Null).starts_with("disks[\"root\"]: missing field `size_gib`"));
    assert!(error_with(&at("tags").then_index(1), true).starts_with("tags[1]: invalid type: boolean"));
    assert!(error_with(&at("power"), "sleeping").starts_with("power: unknown variant `sleeping`"));
    let uri = at("host").then_attribute("libvirt").then_attribute("uri");
    assert!(error_with(&uri, 1).starts_with("host.libvirt.uri: invalid type"));
}

#[test]
fn the_unknown_is_an_error_where_it_stands() {
    assert_eq!(
        error_with(&at("name"), Value::Unknown),
        "name: the value is not known yet"
    );
    assert_eq!(
        error_with(&at("cpus"), Value::Unknown),
        "cpus: the value is not known yet"
    );
    assert_eq!(
        error_with(&at("host"), Value::Unknown),
        "host: the value is not known yet"
    );
    assert_eq!(
        error_with(&at("tags").then_index(0), Value::Unknown),
        "tags[0]: the value is not known yet"
    );
}

#[test]
fn one_of_several_is_exactly_one() {
    let sim = at("host").then_attribute("sim");
    let both = error_with(&sim, Value::object([("socket", Value::from("/s"))]));
    assert_eq!(both, "host: only one of libvirt, sim can be set");
    let none = Value::object([("libvirt", Value::Null), ("sim", Value::Null)]);
    assert_eq!(
        error_with(&at("host"), none),
        "host: one of libvirt, sim must be set"
    );
    assert_eq!(
        error_with(&at("host"), 1),
        "host: a number where one of several belongs"
    );
    assert_eq!(error_with(&at("host"), "sim"), "host: sim must hold a value");
}

#[test]
fn a_struct_that_does_not_fit_the_type_is_an_error() {
    let problem = |ty: Type| to_value(&machine(), &ty).unwrap_err().to_string();
    assert_eq!(problem(Type::Bool), "an object where bool belongs");
    assert_eq!(
        problem(Type::object([("name", Type::Number)])),
        "name: a string where number belongs"
    );
    assert_eq!(
        problem(Type::object([("name", Type::String)])),
        "there is no attribute cpus"
    );
    let list = to_value(&vec![1, 2], &Type::list(Type::String)).unwrap_err();
    assert_eq!(list.to_string(), "[0]: a number where string belongs");
    assert!(to_value(&f64::NAN, &Type::Number).is_err());
}

#[test]
fn a_set_is_sorted_and_each_element_stands_once() {
    let set = to_value(&["b", "a", "b"], &Type::set(Type::String)).unwrap();
    assert_eq!(set, Value::from(vec!["a", "b"]));
}

#[test]
fn a_value_of_dynamic_type_takes_the_type_it_has_of_itself() {
    let value = to_value(&(1, "x", None::<bool>), &Type::Dynamic).unwrap();
    crate::value::conform(&value, &Type::Dynamic).unwrap();
    assert_eq!(
        from_value::<(u8, String, Option<bool>)>(&value),
        Ok((1, "x".into(), None))
    );
}

proptest! {
    #[test]
    fn numbers_survive_the_way_there_and_back(signed in any::<i64>(), unsigned in any::<u64>(), float in -1e200..1e200) {
        let numbers = (signed, unsigned, float);
        let ty = Type::Tuple(vec![Type::Number; 3]);
        let read: (i64, u64, f64) = from_value(&to_value(&numbers, &ty).unwrap()).unwrap();
        prop_assert_eq!(read, numbers);
    }
}
