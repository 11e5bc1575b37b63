//! The driver's classes against those of real servers: a property that is misspelt or of another type fails here, not on
//! somebody's host.

use std::collections::BTreeMap;
use std::path::Path;

use labyard_driver_hyperv::classes::TABLES;
use serde::Deserialize;
use wsman::Arity;

#[derive(Deserialize)]
struct Schema {
    /// Build, namespace, class.
    classes: BTreeMap<String, BTreeMap<String, BTreeMap<String, Class>>>,
}

#[derive(Deserialize)]
struct Class {
    parent: Option<String>,
    properties: BTreeMap<String, Property>,
}

#[derive(Deserialize)]
struct Property {
    #[serde(rename = "type")]
    cim: String,
    #[serde(default)]
    array: bool,
}

fn schema() -> Schema {
    let file =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../acceptance-tests/hyperv/data/cim-schema.json");
    let text = std::fs::read_to_string(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    serde_json::from_str(&text).expect("the schema")
}

/// A property of a class or of one above it.
fn property<'s>(classes: &'s BTreeMap<String, Class>, class: &str, name: &str) -> Option<&'s Property> {
    let class = classes.get(class)?;
    let own = class.properties.get(name);
    own.or_else(|| property(classes, class.parent.as_ref()?, name))
}

#[test]
fn every_property_is_one_of_its_class_on_every_build() {
    let schema = schema();
    assert!(schema.classes.len() >= 2, "two builds");
    let mut wrong = Vec::new();
    for (build, namespaces) in &schema.classes {
        for table in TABLES {
            let Some(classes) = namespaces
                .get(table.namespace.0)
                .filter(|classes| classes.contains_key(table.name))
            else {
                wrong.push(format!("{build}: {} has no {}", table.namespace.0, table.name));
                continue;
            };
            for own in table.properties {
                let place = format!("{build}: {}.{}", table.name, own.name);
                match property(classes, table.name, own.name) {
                    None => wrong.push(format!("{place} does not exist")),
                    Some(real) => {
                        let array = own.arity == Arity::Array;
                        if (real.cim.as_str(), real.array) != (own.cim.name(), array) {
                            wrong.push(format!(
                                "{place} is {}{}",
                                real.cim,
                                if real.array { "[]" } else { "" }
                            ));
                        }
                    }
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn no_class_has_two_tables() {
    let mut names: Vec<_> = TABLES.iter().map(|table| table.name).collect();
    names.sort_unstable();
    let all = names.len();
    names.dedup();
    assert_eq!(names.len(), all);
}
