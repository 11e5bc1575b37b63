//! Digits, spellings, types in the text, older schemas.

use proptest::prelude::*;

use serde::de::IgnoredAny;

use super::{decode, decode_stored, drop_unknown_attributes, encode};
use crate::value::arbitrary::{Unknowns, any_typed_value};
use crate::value::{Type, Value};

fn read(text: &str, ty: &Type) -> Result<Value, String> {
    decode(text.as_bytes(), ty).map_err(|e| e.to_string())
}

proptest! {
    #[test]
    fn every_known_value_survives_its_json((ty, value) in any_typed_value(Unknowns::None)) {
        let text = encode(&value, &ty);
        prop_assert!(serde_json::from_slice::<IgnoredAny>(&text).is_ok());
        prop_assert_eq!(decode(&text, &ty), Ok(value));
    }
}

#[test]
fn numbers_lose_no_digits() {
    let read_number = |text: &str| read(text, &Type::Number).map(|value| value.to_string());
    for text in [
        "0.1",
        "18446744073709551616",
        "123456789012345678901234567890.125",
        "-7",
    ] {
        assert_eq!(read_number(text), Ok(text.to_owned()));
    }
    assert_eq!(read_number("1e3"), Ok("1000".to_owned()));
    assert_eq!(read_number("1e+3"), Ok("1000".to_owned()));
}

#[test]
fn primitives_are_converted_as_terraform_converts_them() {
    assert_eq!(read("\"12\"", &Type::Number), Ok(Value::from(12)));
    assert_eq!(read("\"true\"", &Type::Bool), Ok(Value::from(true)));
    assert_eq!(read("12.50", &Type::String), Ok(Value::from("12.50")));
    assert_eq!(read("false", &Type::String), Ok(Value::from("false")));
    assert_eq!(read("null", &Type::String), Ok(Value::Null));
    assert!(read("true", &Type::Number).is_err());
    assert!(read("1", &Type::Bool).is_err());
    assert!(read("\"x\"", &Type::Number).is_err());
    assert!(read("[]", &Type::String).is_err());
}

#[test]
fn a_missing_attribute_is_null_and_a_foreign_one_an_error_or_dropped() {
    let ty = Type::object([("a", Type::Bool), ("b", Type::String)]);
    let expected = Value::object([("a", Value::from(true)), ("b", Value::Null)]);
    assert_eq!(read(r#"{"a":true}"#, &ty), Ok(expected.clone()));
    let text = r#"{"old":{"x":[1,2]},"a":true}"#;
    assert!(
        read(text, &ty)
            .unwrap_err()
            .starts_with("there is no attribute old")
    );
    assert_eq!(decode_stored(text.as_bytes(), &ty), Ok(expected));
}

#[test]
fn dynamic_values_carry_their_type_before_or_after() {
    let expected = Value::Dynamic(
        Box::new(Type::list(Type::Number)),
        Box::new(Value::from(vec![1, 2])),
    );
    for text in [
        r#"{"value":[1,2],"type":["list","number"]}"#,
        r#"{"type":["list","number"],"value":[1,2]}"#,
    ] {
        assert_eq!(read(text, &Type::Dynamic), Ok(expected.clone()));
    }
    assert_eq!(
        encode(&expected, &Type::Dynamic),
        br#"{"value":[1,2],"type":["list","number"]}"#
    );
    for text in [
        r#"{"value":1}"#,
        r#"{"value":1,"type":"dynamic"}"#,
        r#"{"value":1,"type":"number","x":1}"#,
        "1",
    ] {
        assert!(read(text, &Type::Dynamic).is_err(), "{text}");
    }
}

#[test]
fn a_type_that_comes_with_the_text_fills_nothing_in() {
    let ty = r#"["list",["object",{"a":"bool","b":"bool"}]]"#;
    let text = format!(r#"{{"type":{ty},"value":[{{"a":true}}]}}"#);
    assert!(
        read(&text, &Type::Dynamic)
            .unwrap_err()
            .contains("attribute b is missing")
    );
}

#[test]
fn an_error_says_where_it_is() {
    let ty = Type::object([("disks", Type::map(Type::list(Type::Number)))]);
    let error = read(r#"{"disks":{"root":[1,"x"]}}"#, &ty).unwrap_err();
    assert!(
        error.starts_with(r#"disks["root"][1]: not a decimal number"#),
        "{error}"
    );
}

#[test]
fn an_error_does_not_repeat_what_may_be_a_secret() {
    let list = Type::list(Type::Number);
    for text in [
        r#""hunter2""#,
        r#"["hunter2"]"#,
        r#"{"hunter2":1}"#,
        r#"["hunter2","#,
    ] {
        let error = read(text, &list).unwrap_err();
        assert!(!error.contains("hunter2"), "{error}");
    }
    assert!(
        read("7", &list)
            .unwrap_err()
            .starts_with("a number where list(number) belongs")
    );
}

#[test]
fn nesting_ends_at_the_limit() {
    let mut text = "null".to_owned();
    for _ in 0..100 {
        text = format!(r#"{{"type":["list","dynamic"],"value":[{text}]}}"#);
    }
    assert!(read(&text, &Type::Dynamic).is_err());
    let open = "[".repeat(100_000);
    assert!(read(&open, &Type::list(Type::Bool)).is_err());
    assert!(read(&open, &Type::String).is_err());
    assert!(read(&format!(r#"{{"value":{open}"#), &Type::Dynamic).is_err());
    let closed = format!("{open}{}", "]".repeat(100_000));
    assert!(
        read(
            &format!(r#"{{"value":{closed},"type":"string"}}"#),
            &Type::Dynamic
        )
        .is_err()
    );
    assert!(
        decode_stored(
            format!(r#"{{"old":{closed}}}"#).as_bytes(),
            &Type::object::<&str>([])
        )
        .is_ok()
    );
}

#[test]
fn what_an_older_schema_stored_is_dropped_at_every_depth() {
    let disk = Type::object([("size", Type::Number)]);
    let ty = Type::object([
        ("disks", Type::map(disk.clone())),
        ("list", Type::list(disk.clone())),
        ("pair", Type::Tuple(vec![disk, Type::Dynamic])),
    ]);
    let stored = serde_json::json!({
        "gone": 1,
        "disks": {"root": {"size": 1, "gone": 2}},
        "list": [{"size": 1, "gone": 2}, null],
        "pair": [{"gone": 1}, {"type": "bool", "value": true}],
    });
    let expected = serde_json::json!({
        "disks": {"root": {"size": 1}},
        "list": [{"size": 1}, null],
        "pair": [{}, {"type": "bool", "value": true}],
    });
    assert_eq!(drop_unknown_attributes(stored, &ty), expected);
}
