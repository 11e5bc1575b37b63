//! Drawn input: whatever comes, it is answered, and nothing panics.

use proptest::prelude::*;

use super::cim_xml;
use super::control::Rule;
use super::envelope::{Request, envelope};
use super::object;
use super::sealed;
use super::wql;
use super::xml::{Element, escaped};
use crate::cim::{Instance, Value};
use crate::schema::{Build, Namespace, Schema, from_iso, to_iso};

fn v2() -> &'static Namespace {
    Schema::of(Build::Server2019)
        .namespace("root/virtualization/v2")
        .unwrap()
}

/// Pieces that queries, instances and envelopes are made of, in any order.
fn pieces(of: &'static [&'static str]) -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        4 => proptest::sample::select(of).prop_map(str::to_owned),
        1 => any::<String>(),
    ];
    proptest::collection::vec(piece, 0..20).prop_map(|pieces| pieces.concat())
}

const QUERY: &[&str] = &[
    "SELECT ",
    "* ",
    "FROM ",
    "C ",
    "WHERE ",
    "NOT ",
    "(",
    ")",
    " AND ",
    " OR ",
    "A",
    "=",
    "'x'",
    "\"",
    "\\",
    "LIKE ",
    "'%_[a-'",
    "IS ",
    "NULL",
    "ASSOCIATORS OF ",
    "{",
    "}",
    ".",
    "1",
    "-",
    "ISA ",
    ",",
    "\u{e9}",
];
const INSTANCE: &[&str] = &[
    "<INSTANCE CLASSNAME=\"Msvm_VirtualSystemSettingData\">",
    "</INSTANCE>",
    "<PROPERTY NAME=\"ElementName\" TYPE=\"string\">",
    "</PROPERTY>",
    "<PROPERTY.ARRAY NAME=\"Notes\" TYPE=\"string\">",
    "</PROPERTY.ARRAY>",
    "<VALUE.ARRAY>",
    "</VALUE.ARRAY>",
    "<VALUE>",
    "</VALUE>",
    "<VALUE.NULL/>",
    "&#38;",
    "&amp;",
    "<![CDATA[",
    "]]>",
    "<?xml version=\"1.0\"?>",
    "x",
];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn queries_are_read_or_refused(text in pieces(QUERY)) {
        let _ = wql::parse(&text);
    }

    #[test]
    fn instances_are_read_or_refused(text in pieces(INSTANCE)) {
        let _ = cim_xml::read(v2(), "CIM_SettingData", &text);
    }

    #[test]
    fn envelopes_and_sealed_bodies_are_read_or_refused(text in any::<String>(), bytes in any::<Vec<u8>>()) {
        let _ = Request::read(&text);
        let _ = Request::read(&envelope("a", "b", Some("c"), &escaped(&text)));
        let _ = sealed::read(&bytes);
        let _ = sealed::read(&sealed::write(&bytes, 3));
        let _ = serde_json::from_str::<Rule>(&text);
    }

    #[test]
    fn times_are_read_or_refused_and_come_back(text in "[0-9T:.ZPDHMS+-]{0,30}") {
        if let Ok(cim) = from_iso(&text) {
            prop_assert!(to_iso(&cim).is_ok(), "{text} became {cim}");
        }
        let _ = to_iso(&text);
    }

    #[test]
    fn any_text_is_written_as_it_is_read(text in "[^\u{0}-\u{8}\u{b}\u{c}\u{e}-\u{1f}\u{fffe}\u{ffff}]*") {
        let mut item = Instance::of("root/virtualization/v2", "Msvm_KvpExchangeDataItem");
        item.set("Data", Value::text(&text));
        let written = cim_xml::write(v2(), &item);
        let root = Element::parse(&written).unwrap();
        let data = root.children.iter().find(|child| child.attribute("", "NAME") == Some("Data")).unwrap();
        prop_assert_eq!(&data.children[0].text, &text);
        let class = v2().class("Msvm_KvpExchangeDataItem").unwrap();
        let row = format!("<r xmlns:w=\"w\">{}</r>", object::row(v2(), class, &item));
        let row = Element::parse(&row).unwrap();
        let data = row.children[0].children.iter().find(|child| child.name == "Data").unwrap();
        prop_assert_eq!(&data.text, &text);
    }

    #[test]
    fn a_literal_finds_the_text_that_it_says(text in any::<String>()) {
        let literal = text.replace('\\', "\\\\").replace('\'', "\\'");
        let query = wql::parse(&format!("SELECT * FROM C WHERE A = '{literal}'"));
        let Ok(wql::Query::Select(select)) = query else {
            return Err(TestCaseError::fail(format!("{query:?}")));
        };
        let wanted = wql::Operand::Text(text);
        prop_assert!(matches!(select.condition, Some(wql::Condition::Compare(_, _, found)) if found == wanted));
    }
}
