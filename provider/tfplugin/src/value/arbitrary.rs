//! Any type and any value of it, for property tests.

use std::collections::BTreeMap;

use proptest::collection::{btree_map, vec};
use proptest::prelude::*;

use super::{Number, Type, Value};

/// Whether a value may hold what is not known yet.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Unknowns {
    Some,
    None,
}

/// Any type, a few levels deep.
pub(crate) fn any_type() -> BoxedStrategy<Type> {
    let leaf = prop_oneof![
        Just(Type::Bool),
        Just(Type::Number),
        Just(Type::String),
        Just(Type::Dynamic)
    ];
    leaf.prop_recursive(3, 16, 4, |inner| {
        prop_oneof![
            inner.clone().prop_map(Type::list),
            inner.clone().prop_map(Type::set),
            inner.clone().prop_map(Type::map),
            vec(inner.clone(), 0..4).prop_map(Type::Tuple),
            btree_map("[a-z]{1,3}", inner, 0..4).prop_map(Type::Object),
        ]
    })
    .boxed()
}

/// Any type but the dynamic one itself.
fn concrete_type() -> BoxedStrategy<Type> {
    any_type()
        .prop_filter("dynamic is no type of a value", |ty| *ty != Type::Dynamic)
        .boxed()
}

/// Any finite number: small, large, fractional.
pub(crate) fn any_number() -> BoxedStrategy<Number> {
    prop_oneof![
        any::<i64>().prop_map(Number::from),
        any::<u64>().prop_map(Number::from),
        (-200_i64..200).prop_map(Number::from),
        any::<f64>().prop_filter_map("not finite", |f| Number::try_from(f)
            .ok()
            .filter(Number::is_finite)),
        "-?[0-9]{1,60}(\\.[0-9]{1,40})?(e-?[0-9]{1,3})?"
            .prop_filter_map("a number", |text| text.parse().ok()),
    ]
    .boxed()
}

/// Any value of a type, with sets sorted as a decoder sorts them.
pub(crate) fn any_value(ty: &Type, unknowns: Unknowns) -> BoxedStrategy<Value> {
    let known = known_value(ty, unknowns);
    match unknowns {
        Unknowns::None => prop_oneof![1 => Just(Value::Null), 8 => known].boxed(),
        Unknowns::Some => prop_oneof![1 => Just(Value::Null), 1 => Just(Value::Unknown), 8 => known].boxed(),
    }
}

fn known_value(ty: &Type, unknowns: Unknowns) -> BoxedStrategy<Value> {
    match ty {
        Type::Bool => any::<bool>().prop_map(Value::Bool).boxed(),
        Type::Number => any_number().prop_map(Value::Number).boxed(),
        Type::String => prop_oneof![".{0,40}", "[a-z]{200,300}"]
            .prop_map(Value::String)
            .boxed(),
        Type::Dynamic => concrete_type()
            .prop_flat_map(move |ty| {
                let value = any_value(&ty, unknowns);
                value.prop_map(move |value| Value::Dynamic(Box::new(ty.clone()), Box::new(value)))
            })
            .boxed(),
        Type::List(element) => vec(any_value(element, unknowns), 0..5)
            .prop_map(Value::Sequence)
            .boxed(),
        Type::Set(element) => {
            let items = vec(any_value(element, unknowns), 0..5);
            items
                .prop_map(|mut items| {
                    items.sort();
                    Value::Sequence(items)
                })
                .boxed()
        }
        Type::Map(element) => btree_map(".{0,8}", any_value(element, unknowns), 0..5)
            .prop_map(Value::Keyed)
            .boxed(),
        Type::Tuple(types) => {
            let items: Vec<_> = types.iter().map(|ty| any_value(ty, unknowns)).collect();
            items.prop_map(Value::Sequence).boxed()
        }
        Type::Object(types) => {
            let names: Vec<String> = types.keys().cloned().collect();
            let items: Vec<_> = types.values().map(|ty| any_value(ty, unknowns)).collect();
            let object = move |items: Vec<Value>| {
                Value::Keyed(names.iter().cloned().zip(items).collect::<BTreeMap<_, _>>())
            };
            items.prop_map(object).boxed()
        }
    }
}

/// Any type with any value of it.
pub(crate) fn any_typed_value(unknowns: Unknowns) -> BoxedStrategy<(Type, Value)> {
    any_type()
        .prop_flat_map(move |ty| any_value(&ty, unknowns).prop_map(move |value| (ty.clone(), value)))
        .boxed()
}
