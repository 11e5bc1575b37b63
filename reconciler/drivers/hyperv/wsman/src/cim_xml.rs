//! Instances as text: `INSTANCE`, `PROPERTY`, `VALUE` (DSP0201), which is how Hyper-V takes and gives what is embedded in
//! a string.
//!
//! Inside it `&` and `<` stand as numbers: a host was seen to refuse `&amp;` and `&lt;` there.

use std::borrow::Cow;

use crate::object::{Object, Raw};
use crate::typed::{CimType, Value};
use crate::xml::{Element, Unwritable, XmlError, escaped_by};

/// Writes an instance with these properties; a null one is not written, which leaves what is there.
pub(crate) fn write(class: &str, properties: &[(&str, CimType, Value)]) -> Result<String, Unwritable> {
    let mut out = format!("<INSTANCE CLASSNAME=\"{class}\">");
    for (name, cim, value) in properties {
        let kind = cim.name();
        match value {
            Value::Null => {}
            Value::One(text) => {
                let text = escaped(text)?;
                out.push_str(&format!(
                    "<PROPERTY NAME=\"{name}\" TYPE=\"{kind}\"><VALUE>{text}</VALUE></PROPERTY>"
                ));
            }
            Value::Array(all) => {
                out.push_str(&format!(
                    "<PROPERTY.ARRAY NAME=\"{name}\" TYPE=\"{kind}\"><VALUE.ARRAY>"
                ));
                for text in all {
                    let text = escaped(text)?;
                    out.push_str(&format!("<VALUE>{text}</VALUE>"));
                }
                out.push_str("</VALUE.ARRAY></PROPERTY.ARRAY>");
            }
        }
    }
    out.push_str("</INSTANCE>");
    Ok(out)
}

fn escaped(text: &str) -> Result<Cow<'_, str>, Unwritable> {
    escaped_by(text, |character| match character {
        '&' => Some("&#38;"),
        '<' => Some("&#60;"),
        '>' => Some("&#62;"),
        '"' => Some("&#34;"),
        '\r' => Some("&#13;"),
        '\n' => Some("&#10;"),
        '\t' => Some("&#9;"),
        _ => None,
    })
}

/// Text that is no embedded instance.
#[derive(Debug, thiserror::Error)]
pub enum NoInstance {
    /// It is no XML.
    #[error(transparent)]
    Xml(#[from] XmlError),
    /// It is something else.
    #[error("{0:?} where an instance was expected")]
    Other(String),
}

/// Reads an instance. What is in it is a property without a value, which is null, or one with a value, values, an object
/// or objects.
///
/// # Errors
/// If it is none.
pub fn read(text: &str) -> Result<Object, NoInstance> {
    let root = Element::parse(text)?;
    instance(&root)
}

fn instance(element: &Element) -> Result<Object, NoInstance> {
    let class = element.attribute("CLASSNAME");
    let (Some(class), "INSTANCE") = (class, element.name.as_str()) else {
        return Err(NoInstance::Other(element.name.clone()));
    };
    let mut object = Object::of(class);
    for property in &element.children {
        let Some(name) = property.attribute("NAME") else {
            continue;
        };
        let value = match property.name.as_str() {
            "PROPERTY" | "PROPERTY.OBJECT" => property.children.iter().find_map(one).unwrap_or(Raw::Null),
            "PROPERTY.ARRAY" | "PROPERTY.OBJECTARRAY" => {
                let arrays = ["VALUE.ARRAY", "VALUE.OBJECTARRAY"];
                let array = property
                    .children
                    .iter()
                    .find(|child| arrays.contains(&child.name.as_str()));
                array.map_or(Raw::Null, |array| {
                    Raw::Many(array.children.iter().filter_map(one).collect())
                })
            }
            // Of keys and qualifiers nothing is wanted.
            _ => continue,
        };
        object.set(name, value);
    }
    Ok(object)
}

fn one(element: &Element) -> Option<Raw> {
    match element.name.as_str() {
        "VALUE" => Some(Raw::Text(element.text.clone())),
        "VALUE.NULL" => Some(Raw::Null),
        "VALUE.OBJECT" => {
            let inner = element.children.iter().find_map(|child| instance(child).ok())?;
            Some(Raw::Object(Box::new(inner)))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn text(text: &str) -> Value {
        Value::One(text.to_owned())
    }

    #[test]
    fn an_instance_stands_as_hyper_v_takes_it() {
        let written = write(
            "Msvm_X",
            &[
                ("ElementName", CimType::String, text("R&D <1>")),
                ("Enabled", CimType::Boolean, text("false")),
                (
                    "Notes",
                    CimType::String,
                    Value::Array(vec!["a".into(), "b".into()]),
                ),
                ("Caption", CimType::String, Value::Null),
            ],
        );
        assert_eq!(
            written.unwrap(),
            "<INSTANCE CLASSNAME=\"Msvm_X\"><PROPERTY NAME=\"ElementName\" TYPE=\"string\"><VALUE>R&#38;D &#60;1&#62;</VALUE></PROPERTY>\
             <PROPERTY NAME=\"Enabled\" TYPE=\"boolean\"><VALUE>false</VALUE></PROPERTY>\
             <PROPERTY.ARRAY NAME=\"Notes\" TYPE=\"string\"><VALUE.ARRAY><VALUE>a</VALUE><VALUE>b</VALUE></VALUE.ARRAY></PROPERTY.ARRAY>\
             </INSTANCE>"
        );
    }

    #[test]
    fn an_instance_of_windows_is_read() {
        let read = read(
            "<INSTANCE CLASSNAME=\"Msvm_K\"><QUALIFIER NAME=\"q\" TYPE=\"string\"/><PROPERTY NAME=\"Caption\" PROPAGATED=\"true\" \
             TYPE=\"string\"></PROPERTY><PROPERTY NAME=\"Data\" TYPE=\"string\"><VALUE>x</VALUE></PROPERTY>\
             <PROPERTY.ARRAY NAME=\"A\" TYPE=\"uint16\"><VALUE.ARRAY><VALUE>1</VALUE><VALUE.NULL/></VALUE.ARRAY></PROPERTY.ARRAY>\
             <PROPERTY.ARRAY NAME=\"B\" TYPE=\"uint16\"/><PROPERTY.OBJECT NAME=\"C\"><VALUE.OBJECT><INSTANCE CLASSNAME=\"D\"/>\
             </VALUE.OBJECT></PROPERTY.OBJECT></INSTANCE>",
        )
        .unwrap();
        assert_eq!(read.class.as_deref(), Some("Msvm_K"));
        assert_eq!(read.get("Caption"), &Raw::Null);
        assert_eq!(read.get("Data"), &Raw::Text("x".into()));
        assert_eq!(read.get("A"), &Raw::Many(vec![Raw::Text("1".into()), Raw::Null]));
        assert_eq!(read.get("B"), &Raw::Null);
        assert!(matches!(read.get("C"), Raw::Object(inner) if inner.class.as_deref() == Some("D")));
        for other in ["", "<X/>", "<INSTANCE/>"] {
            assert!(super::read(other).is_err(), "{other}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(value in "[^\\x00-\\x08\\x0b\\x0c\\x0e-\\x1f\\u{fffe}\\u{ffff}]*") {
            let written = write("C", &[("P", CimType::String, text(&value))]).unwrap();
            let read = read(&written).unwrap();
            prop_assert_eq!(read.get("P"), &Raw::Text(value));
        }

        #[test]
        fn nothing_that_is_read_ends_the_program(text in "(?s).*") {
            let _ = read(&text);
        }
    }
}
