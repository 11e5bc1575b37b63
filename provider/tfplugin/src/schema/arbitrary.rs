//! Any sound schema and any configuration of it, for property tests.

use std::collections::BTreeMap;

use proptest::collection::{btree_map, vec};
use proptest::prelude::*;

use super::{Attribute, Kind, Presence, Schema};
use crate::value::arbitrary::{Unknowns, any_value};
use crate::value::{Type, Value};

/// Any sound schema, a few levels deep.
pub(crate) fn any_schema() -> BoxedStrategy<Schema> {
    any_attributes(2, Whose::Anyones, Inside::Object)
        .prop_map(Schema::new)
        .boxed()
}

/// Who may set the attributes of an object.
#[derive(Clone, Copy, PartialEq)]
enum Whose {
    Anyones,
    Providers,
}

/// What an attribute lies in.
#[derive(Clone, Copy, PartialEq)]
enum Inside {
    Object,
    Collection,
    Set,
}

fn any_attributes(depth: u32, whose: Whose, inside: Inside) -> BoxedStrategy<Vec<Attribute>> {
    let named = btree_map("[a-c]", any_attribute(depth, whose, inside), 1..4);
    named
        .prop_map(|named| {
            let name = |(name, attribute): (String, Attribute)| Attribute {
                name: format!("x{name}"),
                ..attribute
            };
            named.into_iter().map(name).collect()
        })
        .boxed()
}

fn any_attribute(depth: u32, whose: Whose, inside: Inside) -> BoxedStrategy<Attribute> {
    let leaf = any_leaf(whose, inside);
    if depth == 0 {
        return leaf;
    }
    prop_oneof![2 => leaf, 1 => any_nested(depth, whose, inside)].boxed()
}

fn plain_type() -> impl Strategy<Value = Type> {
    prop::sample::select(vec![
        Type::Bool,
        Type::Number,
        Type::String,
        Type::list(Type::String),
        Type::set(Type::Number),
        Type::map(Type::String),
    ])
}

fn any_leaf(whose: Whose, inside: Inside) -> BoxedStrategy<Attribute> {
    let flags = (
        any::<bool>(),
        prop::bool::weighted(0.2),
        prop::bool::weighted(0.3),
    );
    (plain_type(), 0..5_u8, flags)
        .prop_flat_map(|(ty, presence, flags)| {
            let default =
                any_value(&ty, Unknowns::None).prop_filter("no default", |default| !default.is_null());
            let default = default.prop_filter("known inside", |default| !holds_null(default));
            default.prop_map(move |default| (ty.clone(), presence, default, flags))
        })
        .prop_map(
            move |(ty, presence, default, (sensitive, write_only, replaces))| {
                let presence = match presence {
                    _ if whose == Whose::Providers => Presence::Computed,
                    0 => Presence::Required,
                    1 => Presence::Optional,
                    2 => Presence::Computed,
                    3 => Presence::OptionalComputed,
                    _ => Presence::Default(default),
                };
                let write_only = write_only && !presence.is_computed() && inside != Inside::Set;
                Attribute {
                    sensitive,
                    write_only,
                    requires_replace: replaces && !write_only && inside != Inside::Set,
                    ..Attribute::new("", ty, presence)
                }
            },
        )
        .boxed()
}

fn any_nested(depth: u32, whose: Whose, inside: Inside) -> BoxedStrategy<Attribute> {
    (0..4_u8, 0..3_u8)
        .prop_flat_map(move |(kind, presence)| {
            let presence = match presence {
                _ if whose == Whose::Providers => Presence::Computed,
                0 => Presence::Required,
                1 => Presence::Optional,
                _ => Presence::Computed,
            };
            let whose = if presence == Presence::Computed {
                Whose::Providers
            } else {
                Whose::Anyones
            };
            let (make, below): (fn(Vec<Attribute>) -> Kind, Inside) = match kind {
                0 => (Kind::Single, inside),
                1 => (Kind::List, Inside::Collection),
                2 => (Kind::Map, Inside::Collection),
                _ => (Kind::Set, Inside::Set),
            };
            let below = if inside == Inside::Set { Inside::Set } else { below };
            let nested = any_attributes(depth - 1, whose, below);
            nested.prop_map(move |nested| Attribute::new("", make(nested), presence.clone()))
        })
        .boxed()
}

fn holds_null(value: &Value) -> bool {
    value.is_null() || value.items().any(holds_null) || value.entries().any(|(_, item)| holds_null(item))
}

/// Any configuration that Terraform would let pass.
pub(crate) fn any_config(schema: &Schema, unknowns: Unknowns) -> BoxedStrategy<Value> {
    any_object(&schema.attributes, unknowns)
}

fn any_object(attributes: &[Attribute], unknowns: Unknowns) -> BoxedStrategy<Value> {
    let names: Vec<String> = attributes
        .iter()
        .map(|attribute| attribute.name.clone())
        .collect();
    let values: Vec<_> = attributes
        .iter()
        .map(|attribute| any_configured(attribute, unknowns))
        .collect();
    values
        .prop_map(move |values| Value::Keyed(names.iter().cloned().zip(values).collect::<BTreeMap<_, _>>()))
        .boxed()
}

fn any_configured(attribute: &Attribute, unknowns: Unknowns) -> BoxedStrategy<Value> {
    let set = match &attribute.kind {
        Kind::Plain(ty) => any_value(ty, unknowns).boxed(),
        Kind::Single(nested) => any_element(nested, unknowns),
        Kind::List(nested) => vec(any_element(nested, unknowns), 0..4)
            .prop_map(Value::Sequence)
            .boxed(),
        Kind::Map(nested) => btree_map("[a-z]", any_element(nested, unknowns), 0..4)
            .prop_map(Value::Keyed)
            .boxed(),
        Kind::Set(nested) => vec(any_object(nested, unknowns), 0..4)
            .prop_map(|mut items| {
                items.sort();
                items.dedup();
                Value::Sequence(items)
            })
            .boxed(),
    };
    match attribute.presence {
        Presence::Computed => Just(Value::Null).boxed(),
        Presence::Required => set.prop_filter("required", |value| !value.is_null()).boxed(),
        _ => prop_oneof![Just(Value::Null), set].boxed(),
    }
}

fn any_element(nested: &[Attribute], unknowns: Unknowns) -> BoxedStrategy<Value> {
    let object = any_object(nested, unknowns);
    match unknowns {
        Unknowns::None => object,
        Unknowns::Some => prop_oneof![1 => Just(Value::Unknown), 8 => object].boxed(),
    }
}
