//! Values and their bytes as Terraform itself writes them.
//!
//! The pairs are those that terraform-plugin-go publishes as its codec's expectations (`tftypes`, tests of
//! `ValueFromMsgPack`): facts of the wire, which both directions have to meet to the byte.

use super::{decode, encode};
use crate::value::{Number, Type, Value};

fn bytes(hex: &str) -> Vec<u8> {
    (0..hex.len())
        .step_by(2)
        .map(|i| u8::from_str_radix(&hex[i..i + 2], 16).unwrap())
        .collect()
}

fn expect(ty: &Type, cases: &[(&str, Value)]) {
    for (hex, value) in cases {
        assert_eq!(decode(&bytes(hex), ty).as_ref(), Ok(value), "reading {hex}");
        assert_eq!(encode(value, ty), Ok(bytes(hex)), "writing {value}");
    }
}

fn text(s: &str) -> Value {
    Value::from(s)
}

fn number(s: &str) -> Value {
    Value::Number(s.parse().unwrap())
}

fn one(item: Value) -> Value {
    Value::list([item])
}

fn greeting(item: Value) -> Value {
    Value::object([("greeting", item)])
}

fn dynamic(ty: Type, value: Value) -> Value {
    Value::Dynamic(Box::new(ty), Box::new(value))
}

const HELLO: &str = "a568656c6c6f";
const TYPED_HELLO: &str = "92c40822737472696e6722a568656c6c6f";

#[test]
fn strings_and_bools_are_as_terraform_writes_them() {
    expect(
        &Type::String,
        &[
            (HELLO, text("hello")),
            ("a0", text("")),
            ("c0", Value::Null),
            ("d40000", Value::Unknown),
        ],
    );
    expect(
        &Type::Bool,
        &[
            ("c3", Value::from(true)),
            ("c2", Value::from(false)),
            ("c0", Value::Null),
            ("d40000", Value::Unknown),
        ],
    );
}

#[test]
fn numbers_are_as_terraform_writes_them() {
    let big = "9".repeat(100);
    let big_hex = format!("d964{}", "39".repeat(100));
    let infinity = |float: f64| Value::Number(Number::try_from(float).unwrap());
    expect(
        &Type::Number,
        &[
            ("01", number("1")),
            ("cb3ff8000000000000", number("1.5")),
            (&big_hex, number(&big)),
            ("a3302e38", number("0.8")),
            ("cb7ff0000000000000", infinity(f64::INFINITY)),
            ("cbfff0000000000000", infinity(f64::NEG_INFINITY)),
        ],
    );
}

#[test]
fn lists_and_sets_are_as_terraform_writes_them() {
    for ty in [Type::list(Type::String), Type::set(Type::String)] {
        expect(
            &ty,
            &[
                ("91a568656c6c6f", one(text("hello"))),
                ("91d40000", one(Value::Unknown)),
                ("91c0", one(Value::Null)),
                ("c0", Value::Null),
                ("90", Value::list([])),
            ],
        );
    }
}

#[test]
fn maps_tuples_and_objects_are_as_terraform_writes_them() {
    let with_greeting = [
        ("81a86772656574696e67a568656c6c6f", greeting(text("hello"))),
        ("81a86772656574696e67d40000", greeting(Value::Unknown)),
        ("81a86772656574696e67c0", greeting(Value::Null)),
    ];
    expect(&Type::map(Type::String), &with_greeting);
    expect(&Type::object([("greeting", Type::String)]), &with_greeting);
    expect(&Type::map(Type::String), &[("80", Value::object::<&str>([]))]);
    expect(&Type::object::<&str>([]), &[("80", Value::object::<&str>([]))]);
    expect(
        &Type::object([("a", Type::String), ("b", Type::String)]),
        &[
            (
                "82a161c0a162c0",
                Value::object([("a", Value::Null), ("b", Value::Null)]),
            ),
            (
                "82a161d40000a162d40000",
                Value::object([("a", Value::Unknown), ("b", Value::Unknown)]),
            ),
        ],
    );
    expect(
        &Type::Tuple(vec![Type::String]),
        &[
            ("91a568656c6c6f", one(text("hello"))),
            ("91d40000", one(Value::Unknown)),
            ("91c0", one(Value::Null)),
        ],
    );
    expect(&Type::Tuple(vec![]), &[("90", Value::list([]))]);
}

#[test]
fn dynamic_values_are_as_terraform_writes_them() {
    let hello = || text("hello");
    expect(
        &Type::Dynamic,
        &[
            ("92c40622626f6f6c22c3", dynamic(Type::Bool, Value::from(true))),
            ("92c408226e756d6265722201", dynamic(Type::Number, number("1"))),
            (TYPED_HELLO, dynamic(Type::String, hello())),
            (
                "92c4115b226c697374222c22737472696e67225d91a568656c6c6f",
                dynamic(Type::list(Type::String), one(hello())),
            ),
            (
                "92c4105b22736574222c22737472696e67225d91a568656c6c6f",
                dynamic(Type::set(Type::String), one(hello())),
            ),
            (
                "92c4105b226d6170222c22737472696e67225d81a568656c6c6fa568656c6c6f",
                dynamic(Type::map(Type::String), Value::object([("hello", hello())])),
            ),
            ("92c40822737472696e6722c0", dynamic(Type::String, Value::Null)),
            ("c0", Value::Null),
            ("d40000", Value::Unknown),
        ],
    );
}

#[test]
fn collections_of_dynamic_values_are_as_terraform_writes_them() {
    let hello = || dynamic(Type::String, text("hello"));
    let list_hex = format!("91{TYPED_HELLO}");
    for ty in [Type::list(Type::Dynamic), Type::set(Type::Dynamic)] {
        expect(&ty, &[(&list_hex, one(hello()))]);
    }
    expect(
        &Type::list(Type::Dynamic),
        &[
            (
                "9192c40822737472696e6722c0",
                one(dynamic(Type::String, Value::Null)),
            ),
            ("91d40000", one(Value::Unknown)),
        ],
    );
    let keyed_hex = format!("81a86772656574696e67{TYPED_HELLO}");
    expect(&Type::map(Type::Dynamic), &[(&keyed_hex, greeting(hello()))]);
    expect(
        &Type::object([("greeting", Type::Dynamic)]),
        &[(&keyed_hex, greeting(hello()))],
    );
    expect(
        &Type::object([("a", Type::Dynamic)]),
        &[("81a161c0", Value::object([("a", Value::Null)]))],
    );
    let pair_hex = format!("92{TYPED_HELLO}92c40822737472696e6722a5776f726c64");
    expect(
        &Type::Tuple(vec![Type::Dynamic, Type::Dynamic]),
        &[(
            &pair_hex,
            Value::list([hello(), dynamic(Type::String, text("world"))]),
        )],
    );
}
