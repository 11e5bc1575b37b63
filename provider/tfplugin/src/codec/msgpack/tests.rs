//! What the published vectors leave open: other spellings, damage, hostile input.

use proptest::prelude::*;

use super::super::{CodecProblem, MAX_DEPTH};
use super::{decode, encode};
use crate::value::arbitrary::{Unknowns, any_typed_value};
use crate::value::{Number, Type, Value};

fn problem(bytes: &[u8], ty: &Type) -> CodecProblem {
    decode(bytes, ty).unwrap_err().problem
}

fn number(bytes: &[u8]) -> String {
    decode(bytes, &Type::Number).unwrap().to_string()
}

proptest! {
    #[test]
    fn every_value_survives_the_wire((ty, value) in any_typed_value(Unknowns::Some)) {
        let bytes = encode(&value, &ty).unwrap();
        prop_assert_eq!(decode(&bytes, &ty), Ok(value));
    }

    #[test]
    fn a_message_cut_short_is_an_error((ty, value) in any_typed_value(Unknowns::Some), cut in any::<prop::sample::Index>()) {
        let bytes = encode(&value, &ty).unwrap();
        let cut = cut.index(bytes.len());
        prop_assert!(decode(&bytes[..cut], &ty).is_err());
    }
}

#[test]
fn every_width_of_number_is_read() {
    let cases: [(&[u8], &str); 13] = [
        (&[0x7f], "127"),
        (&[0xe0], "-32"),
        (&[0xcc, 0xff], "255"),
        (&[0xcd, 0xff, 0xff], "65535"),
        (&[0xce, 0xff, 0xff, 0xff, 0xff], "4294967295"),
        (
            &[0xcf, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff],
            "18446744073709551615",
        ),
        (&[0xd0, 0x80], "-128"),
        (&[0xd1, 0x80, 0x00], "-32768"),
        (&[0xd2, 0x80, 0, 0, 0], "-2147483648"),
        (&[0xd3, 0x80, 0, 0, 0, 0, 0, 0, 0], "-9223372036854775808"),
        (&[0xca, 0x3f, 0x00, 0x00, 0x00], "0.5"),
        (b"\xa41e30", "1000000000000000000000000000000"),
        (b"\xa5-1.50", "-1.5"),
    ];
    for (bytes, expected) in cases {
        assert_eq!(number(bytes), expected, "{bytes:02x?}");
    }
}

#[test]
fn an_integer_is_written_in_its_shortest_form() {
    let length = |n: i64| encode(&Value::from(n), &Type::Number).unwrap().len();
    for (n, expected) in [
        (0, 1),
        (127, 1),
        (128, 2),
        (255, 2),
        (256, 3),
        (65535, 3),
        (65536, 5),
        (4_294_967_295, 5),
        (4_294_967_296, 9),
        (i64::MAX, 9),
        (-32, 1),
        (-33, 2),
        (-128, 2),
        (-129, 3),
        (-32768, 3),
        (-32769, 5),
        (-2_147_483_648, 5),
        (-2_147_483_649, 9),
        (i64::MIN, 9),
    ] {
        assert_eq!(length(n), expected, "{n}");
        let bytes = encode(&Value::from(n), &Type::Number).unwrap();
        assert_eq!(decode(&bytes, &Type::Number), Ok(Value::from(n)));
    }
}

#[test]
fn a_float_is_written_only_where_it_is_exact() {
    let marker = |text: &str| encode(&Value::Number(text.parse().unwrap()), &Type::Number).unwrap()[0];
    assert_eq!(marker("0.25"), 0xcb);
    assert_eq!(marker("9223372036854775808"), 0xcb);
    assert_eq!(
        marker("18446744073709551615"),
        0xb4,
        "one more than a float holds"
    );
    assert_eq!(marker("0.1"), 0xa3);
    let tenth = Value::Number(Number::try_from(0.1).unwrap());
    assert_eq!(encode(&tenth, &Type::Number).unwrap()[0], 0xcb);
}

#[test]
fn a_number_that_is_none_is_refused() {
    assert!(matches!(
        problem(b"\xa3abc", &Type::Number),
        CodecProblem::Number(_)
    ));
    assert!(matches!(
        problem(b"\xa91e9999999", &Type::Number),
        CodecProblem::Number(_)
    ));
    let nan = [&[0xcb][..], &f64::NAN.to_be_bytes()].concat();
    assert!(matches!(problem(&nan, &Type::Number), CodecProblem::Number(_)));
    assert!(matches!(
        problem(&[0xc3], &Type::Number),
        CodecProblem::Kind { .. }
    ));
}

#[test]
fn an_unknown_with_hints_is_read_as_unknown_and_written_plain() {
    // Extension 12 with {1: false}, "not null", in the fixed and the counted form.
    for bytes in [
        &[0xd5, 12, 0x81, 0x01][..],
        &[0xc7, 3, 12, 0x81, 0x01, 0xc2],
        &[0xc8, 0, 3, 12, 0x81, 1, 0xc2],
    ] {
        for ty in [Type::String, Type::list(Type::Number), Type::Dynamic] {
            assert_eq!(decode(bytes, &ty), Ok(Value::Unknown));
        }
    }
    assert_eq!(encode(&Value::Unknown, &Type::String), Ok(vec![0xd4, 0, 0]));
    // Go's library writes an unknown of two bytes too.
    assert_eq!(decode(&[0xc7, 0, 0], &Type::Bool), Ok(Value::Unknown));
}

#[test]
fn an_extension_without_meaning_is_refused() {
    assert_eq!(problem(&[0xd4, 5, 0], &Type::String), CodecProblem::Extension(5));
    assert_eq!(
        problem(&[0xd6, 0xff, 0, 0, 0, 0], &Type::String),
        CodecProblem::Extension(-1)
    );
}

#[test]
fn an_error_says_where_it_is() {
    let ty = Type::object([(
        "disks",
        Type::map(Type::object([("parts", Type::list(Type::Bool))])),
    )]);
    let bytes = b"\x81\xa5disks\x81\xa4root\x81\xa5parts\x92\xc3\xa1x";
    let error = decode(bytes, &ty).unwrap_err();
    assert_eq!(
        error.to_string(),
        r#"disks["root"].parts[1]: a string where bool belongs"#
    );
    let wrong = Value::object([(
        "disks",
        Value::object([("root", Value::object([("parts", Value::list([Value::from(1)]))]))]),
    )]);
    let error = encode(&wrong, &ty).unwrap_err();
    assert_eq!(
        error.to_string(),
        r#"disks["root"].parts[0]: a number where bool belongs"#
    );
}

#[test]
fn an_object_has_exactly_the_attributes_of_its_type() {
    let ty = Type::object([("a", Type::Bool), ("b", Type::Bool)]);
    assert_eq!(problem(b"\x81\xa1a\xc3", &ty), CodecProblem::Missing("b".into()));
    assert_eq!(
        problem(b"\x82\xa1a\xc3\xa1c\xc3", &ty),
        CodecProblem::Unsupported("c".into())
    );
    assert_eq!(problem(b"\x82\xa1a\xc3\xa1a\xc3", &ty), CodecProblem::Repeated);
    assert_eq!(
        problem(b"\x83\xa1a\xc3\xa1b\xc3\xa1a\xc3", &ty),
        CodecProblem::Repeated
    );
    assert_eq!(
        decode(b"\x82\xa1b\xc3\xa1a\xc2", &ty),
        Ok(Value::object([
            ("a", Value::from(false)),
            ("b", Value::from(true))
        ])),
        "in any order"
    );
    let written = |names: &[&str]| {
        let value = Value::object(names.iter().map(|name| (*name, Value::Null)));
        encode(&value, &ty).unwrap_err().problem
    };
    assert_eq!(written(&["a"]), CodecProblem::Missing("b".into()));
    assert_eq!(written(&["b"]), CodecProblem::Missing("a".into()));
    assert_eq!(written(&["a", "b", "c"]), CodecProblem::Unsupported("c".into()));
    assert_eq!(written(&["A", "a", "b"]), CodecProblem::Unsupported("A".into()));
}

#[test]
fn a_map_has_each_key_once_and_only_text_for_keys() {
    let ty = Type::map(Type::Bool);
    assert_eq!(
        problem(b"\x82\xa1a\xc3\xa1a\xc3", &ty),
        CodecProblem::Duplicate("a".into())
    );
    assert!(matches!(
        problem(&[0x81, 0x01, 0xc3], &ty),
        CodecProblem::Kind { .. }
    ));
}

#[test]
fn what_does_not_fit_its_type_is_refused() {
    let tuple = Type::Tuple(vec![Type::Bool, Type::Bool]);
    assert_eq!(
        problem(&[0x91, 0xc3], &tuple),
        CodecProblem::Length {
            expected: 2,
            found: 1
        }
    );
    assert_eq!(
        encode(&Value::list([]), &tuple).unwrap_err().problem,
        CodecProblem::Length {
            expected: 2,
            found: 0
        }
    );
    for ty in [
        Type::Bool,
        Type::list(Type::Bool),
        Type::map(Type::Bool),
        Type::object([("a", Type::Bool)]),
        Type::Dynamic,
    ] {
        assert!(
            matches!(problem(b"\xa1x", &ty), CodecProblem::Kind { .. }),
            "{ty}"
        );
        assert!(encode(&Value::from("x"), &ty).is_err(), "{ty}");
    }
    assert_eq!(problem(&[0xa1, 0xff], &Type::String), CodecProblem::Utf8);
    assert_eq!(problem(&[0xc1], &Type::String), CodecProblem::Reserved(0xc1));
    assert_eq!(problem(&[0xc3, 0xc3], &Type::Bool), CodecProblem::Trailing(1));
    assert_eq!(problem(&[], &Type::Bool), CodecProblem::Truncated);
}

#[test]
fn a_dynamic_value_names_a_type_that_is_not_dynamic_again() {
    assert_eq!(
        problem(b"\x92\xc4\x09\"dynamic\"\xc3", &Type::Dynamic),
        CodecProblem::Untyped
    );
    assert_eq!(problem(b"\x92\x01\xc3", &Type::Dynamic), CodecProblem::Untyped);
    assert!(matches!(
        problem(b"\x92\xc4\x05\"int\"\xc3", &Type::Dynamic),
        CodecProblem::Type(_)
    ));
    let untyped = Value::Dynamic(Box::new(Type::Dynamic), Box::new(Value::from(true)));
    assert_eq!(
        encode(&untyped, &Type::Dynamic).unwrap_err().problem,
        CodecProblem::Untyped
    );
}

#[test]
fn sets_come_out_in_one_order() {
    let ty = Type::set(Type::String);
    assert_eq!(decode(b"\x92\xa1a\xa1b", &ty), decode(b"\x92\xa1b\xa1a", &ty));
}

#[test]
fn a_claimed_length_reserves_no_memory() {
    for bytes in [
        &[0xdd, 0xff, 0xff, 0xff, 0xff][..],
        &[0xdf, 0xff, 0xff, 0xff, 0xff],
        &[0xdb, 0xff, 0xff, 0xff, 0xff],
        &[0xc6, 0xff, 0xff, 0xff, 0xff],
        &[0xc9, 0xff, 0xff, 0xff, 0xff, 0],
    ] {
        for ty in [Type::String, Type::list(Type::Bool), Type::map(Type::Bool)] {
            let found = problem(bytes, &ty);
            assert!(
                matches!(found, CodecProblem::Truncated | CodecProblem::Kind { .. }),
                "{found}"
            );
        }
    }
}

#[test]
fn nesting_ends_at_the_limit() {
    // Lists of dynamic values can nest without end, for each brings its own type.
    let layer = b"\x92\xc4\x12[\"list\",\"dynamic\"]\x91";
    let nested = |layers: usize| [layer.repeat(layers), vec![0xc0]].concat();
    let fitting = nested(MAX_DEPTH / 2);
    let value = decode(&fitting, &Type::Dynamic).unwrap();
    assert_eq!(encode(&value, &Type::Dynamic), Ok(fitting));
    assert_eq!(problem(&nested(100_000), &Type::Dynamic), CodecProblem::TooDeep);

    let one_more = Value::Dynamic(
        Box::new(Type::list(Type::Dynamic)),
        Box::new(Value::list([value])),
    );
    assert_eq!(
        encode(&one_more, &Type::Dynamic).unwrap_err().problem,
        CodecProblem::TooDeep
    );
}
