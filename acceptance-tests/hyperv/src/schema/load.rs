//! Reads `data/cim-schema.json` and hands parents' members down to their children.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::{Arity, Class, Kind, Member, Method, Namespace, Receiver, Scalar, Schema};

const FILE: &str = include_str!("../../data/cim-schema.json");

type ByBuild<T> = BTreeMap<String, BTreeMap<String, BTreeMap<String, T>>>;

#[derive(Deserialize)]
struct File {
    classes: ByBuild<RawClass>,
    keys: ByBuild<RawKeys>,
}

#[derive(Deserialize)]
struct RawClass {
    parent: Option<String>,
    #[serde(default)]
    properties: BTreeMap<String, RawMember>,
    #[serde(default)]
    methods: BTreeMap<String, RawMethod>,
}

#[derive(Deserialize)]
struct RawMember {
    r#type: String,
    #[serde(default)]
    array: bool,
    embedded: Option<String>,
}

#[derive(Deserialize)]
struct RawMethod {
    #[serde(default)]
    r#in: Ordered,
    #[serde(default)]
    out: Ordered,
    returns: Option<String>,
    r#static: Option<serde::de::IgnoredAny>,
}

/// Parameters in the order of the signature.
#[derive(Default)]
struct Ordered(Vec<(String, RawMember)>);

impl<'de> Deserialize<'de> for Ordered {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Entries;
        impl<'de> serde::de::Visitor<'de> for Entries {
            type Value = Ordered;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("parameters by name")
            }

            fn visit_map<M: serde::de::MapAccess<'de>>(self, mut map: M) -> Result<Ordered, M::Error> {
                let mut all = Vec::new();
                while let Some(entry) = map.next_entry()? {
                    all.push(entry);
                }
                Ok(Ordered(all))
            }
        }
        deserializer.deserialize_map(Entries)
    }
}

#[derive(Deserialize)]
struct RawKeys {
    keys: Vec<String>,
}

/// The classes of a build.
///
/// # Panics
/// If the file is not what its README says: it is a part of this crate.
pub(super) fn load(build: &str) -> Schema {
    let mut file: File = serde_json::from_str(FILE).expect("the schema's file is read whole by the tests");
    let classes = file.classes.remove(build).expect("the file has this build");
    let mut keys = file.keys.remove(build).unwrap_or_default();
    let namespaces = classes.into_iter().map(|(name, classes)| {
        let keys = keys.remove(&name).unwrap_or_default();
        let loaded = Namespace {
            classes: classes
                .keys()
                .map(|class| (class.to_lowercase(), whole(class, &classes, &keys)))
                .collect(),
            name: name.clone(),
        };
        (name.to_lowercase(), loaded)
    });
    Schema {
        namespaces: namespaces.collect(),
    }
}

/// A class with what it inherits.
fn whole(name: &str, classes: &BTreeMap<String, RawClass>, keys: &BTreeMap<String, RawKeys>) -> Class {
    let mut class = Class {
        name: name.to_owned(),
        parents: Vec::new(),
        keys: Vec::new(),
        own: classes[name].properties.keys().cloned().collect(),
        properties: BTreeMap::new(),
        methods: BTreeMap::new(),
    };
    let mut next = Some(name);
    while let Some(current) = next {
        let Some(raw) = classes.get(current) else { break };
        for (property, raw) in &raw.properties {
            // What is nearer stands.
            let member = || member(property, raw);
            class
                .properties
                .entry(property.to_lowercase())
                .or_insert_with(member);
        }
        for (name, raw) in &raw.methods {
            class
                .methods
                .entry(name.to_lowercase())
                .or_insert_with(|| method(name, raw));
        }
        if class.keys.is_empty()
            && let Some(keys) = keys.get(current)
        {
            class.keys.clone_from(&keys.keys);
        }
        next = raw.parent.as_deref();
        class.parents.extend(next.map(str::to_owned));
    }
    class
}

fn member(name: &str, raw: &RawMember) -> Member {
    let kind = match (raw.r#type.as_str(), &raw.embedded) {
        ("reference", _) => Kind::Reference,
        ("object", class) => Kind::Object(class.clone()),
        ("string", Some(class)) => Kind::Embedded(class.clone()),
        (plain, _) => Kind::Plain(scalar(plain)),
    };
    Member {
        name: name.to_owned(),
        kind,
        arity: if raw.array { Arity::Array } else { Arity::One },
    }
}

fn method(name: &str, raw: &RawMethod) -> Method {
    let members = |all: &Ordered| {
        let all = all.0.iter();
        all.map(|(name, raw)| member(name, raw)).collect()
    };
    Method {
        name: name.to_owned(),
        input: members(&raw.r#in),
        output: members(&raw.out),
        returns: raw.returns.as_deref().map(scalar),
        of: if raw.r#static.is_some() {
            Receiver::Class
        } else {
            Receiver::Instance
        },
    }
}

fn scalar(name: &str) -> Scalar {
    Scalar::named(name).unwrap_or_else(|| panic!("the schema's file has the type {name}"))
}
