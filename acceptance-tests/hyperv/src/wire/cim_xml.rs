//! Instances in strings, as text of CIM-XML (DSP0201), both ways.
//!
//! As parameters they are held to what a real host was seen to want: exact types, arrays as `PROPERTY.ARRAY`, times in CIM's own
//! form, no named references (`&amp;`) but numeric ones. As answers they are compact, with what is inherited and null as
//! `PROPAGATED`.

use crate::cim::{Instance, Value};
use crate::schema::{Arity, Class, Kind, Member, Namespace, plain_text};

use super::xml::{Element, escaped};

/// A text that is taken for no instance.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Refusal {
    #[error("the named reference &{0}; where a numeric one is wanted")]
    NamedReference(String),
    #[error("no CIM-XML: {0}")]
    Malformed(String),
    #[error("there is no class {0}")]
    UnknownClass(String),
    #[error("{class} is no {wanted}")]
    OtherClass { class: String, wanted: String },
    #[error("{0} has no property {1}")]
    UnknownProperty(String, String),
    #[error("{0} is a {1}, not a {2}")]
    WrongType(String, &'static str, String),
    #[error("{0} is an array where it should be none, or the reverse")]
    WrongArity(String),
    #[error("{0} is no time in CIM's own form: {1:?}")]
    BadTime(String, String),
    #[error("{0}: {1}")]
    BadValue(String, String),
}

/// How a host says it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Said {
    /// What the method returns.
    Returned(u32),
    /// A fault, with a number of WMI.
    Faulted,
}

impl Refusal {
    /// What a method of that class makes of it. 32768 for `&amp;` and for times, 32773 for `&lt;`, scalars where arrays belong
    /// (of the switch service 32776) and other classes: seen on a real host. What the schema does not have is a fault here, so
    /// that no test passes with it.
    pub(crate) fn said(&self, by: &Class) -> Said {
        let switches = by
            .name
            .eq_ignore_ascii_case("Msvm_VirtualEthernetSwitchManagementService");
        match self {
            Self::NamedReference(name) if name == "amp" => Said::Returned(32768),
            Self::BadTime(..) => Said::Returned(32768),
            Self::WrongArity(_) if switches => Said::Returned(32776),
            Self::NamedReference(_) | Self::WrongArity(_) | Self::OtherClass { .. } | Self::Malformed(_) => {
                Said::Returned(32773)
            }
            Self::UnknownClass(_) | Self::UnknownProperty(..) | Self::WrongType(..) | Self::BadValue(..) => {
                Said::Faulted
            }
        }
    }
}

/// Reads an instance of a class or of one below it.
pub(crate) fn read(namespace: &Namespace, wanted: &str, text: &str) -> Result<Instance, Refusal> {
    if let Some(name) = named_reference(text) {
        return Err(Refusal::NamedReference(name.to_owned()));
    }
    let root = Element::parse(text.trim()).map_err(Refusal::Malformed)?;
    if !root.is("", "INSTANCE") {
        return Err(Refusal::Malformed(format!("{} and no INSTANCE", root.name)));
    }
    let name = root.attribute("", "CLASSNAME");
    let name = name.ok_or_else(|| Refusal::Malformed("an INSTANCE without CLASSNAME".to_owned()))?;
    let class = namespace
        .class(name)
        .ok_or_else(|| Refusal::UnknownClass(name.to_owned()))?;
    // The class of a parameter may be one that the schema left out.
    if namespace.class(wanted).is_some() && !class.is_a(wanted) {
        return Err(Refusal::OtherClass {
            class: class.name.clone(),
            wanted: wanted.to_owned(),
        });
    }
    let mut instance = Instance::of(&namespace.name, &class.name);
    for child in &root.children {
        if child.is("", "QUALIFIER") {
            continue;
        }
        let (member, value) = property(namespace, class, child)?;
        if instance.properties().contains_key(&member.name) {
            return Err(Refusal::Malformed(format!("{} stands there twice", member.name)));
        }
        if let Some(value) = value {
            instance.set(&member.name, value);
        }
    }
    Ok(instance)
}

fn property<'a>(
    namespace: &Namespace,
    class: &'a Class,
    said: &Element,
) -> Result<(&'a Member, Option<Value>), Refusal> {
    let arity = match said.name.as_str() {
        "PROPERTY" => Arity::One,
        "PROPERTY.ARRAY" => Arity::Array,
        other => return Err(Refusal::Malformed(format!("{other} in an INSTANCE"))),
    };
    let name = said.attribute("", "NAME");
    let name = name.ok_or_else(|| Refusal::Malformed("a property without NAME".to_owned()))?;
    let unknown = || Refusal::UnknownProperty(class.name.clone(), name.to_owned());
    let member = class.property(name).ok_or_else(unknown)?;
    let kind = said.attribute("", "TYPE").unwrap_or("of no TYPE");
    if arity != member.arity {
        return Err(Refusal::WrongArity(member.name.clone()));
    }
    if kind != member.type_name() {
        // A time that is called a string gave the same number as one in another form.
        return Err(match member.type_name() {
            "datetime" if kind == "string" => Refusal::BadTime(member.name.clone(), kind.to_owned()),
            is => Refusal::WrongType(member.name.clone(), is, kind.to_owned()),
        });
    }
    let values = match arity {
        Arity::One => said,
        Arity::Array => match said.child("", "VALUE.ARRAY") {
            None => return Ok((member, None)),
            Some(values) => values,
        },
    };
    let mut read = Vec::new();
    for value in &values.children {
        match value.name.as_str() {
            "VALUE" => read.push(one(namespace, member, &value.text)?),
            "VALUE.NULL" if arity == Arity::Array => read.push(Value::Null),
            "QUALIFIER" => {}
            other => return Err(Refusal::Malformed(format!("{other} in a value"))),
        }
    }
    let value = match (arity, read.len()) {
        (Arity::Array, _) => Some(Value::Array(read)),
        (Arity::One, 0) => None,
        (Arity::One, 1) => read.pop(),
        (Arity::One, _) => return Err(Refusal::Malformed(format!("{} has many values", member.name))),
    };
    Ok((member, value))
}

fn one(namespace: &Namespace, member: &Member, text: &str) -> Result<Value, Refusal> {
    match &member.kind {
        Kind::Plain(scalar) => scalar.parse(text).map_err(|unfit| match member.type_name() {
            "datetime" => Refusal::BadTime(member.name.clone(), text.to_owned()),
            _ => Refusal::BadValue(member.name.clone(), unfit.to_string()),
        }),
        Kind::Embedded(class) => Ok(Value::Instance(Box::new(read(namespace, class, text)?))),
        Kind::Reference | Kind::Object(_) => Err(Refusal::WrongType(
            member.name.clone(),
            "reference",
            "value".to_owned(),
        )),
    }
}

/// The first named reference outside of CDATA.
fn named_reference(text: &str) -> Option<&str> {
    let mut rest = text;
    loop {
        let at = rest.find(['&', '<'])?;
        rest = &rest[at..];
        if let Some(inside) = rest.strip_prefix("<![CDATA[") {
            rest = inside.split_once("]]>").map_or("", |(_, after)| after);
        } else if let Some(reference) = rest.strip_prefix('&')
            && !reference.starts_with('#')
        {
            return Some(reference.split(';').next().unwrap_or_default());
        } else {
            rest = &rest[1..];
        }
    }
}

/// An instance as text: all properties of its class, in the order of the alphabet.
pub(crate) fn write(namespace: &Namespace, instance: &Instance) -> String {
    let mut out = format!("<INSTANCE CLASSNAME=\"{}\">", escaped(&instance.class));
    let class = namespace.class(&instance.class);
    for member in class.into_iter().flat_map(Class::properties) {
        let propagated = match class.is_some_and(|class| class.inherits(member)) {
            true => " PROPAGATED=\"true\"",
            false => "",
        };
        let element = match member.arity {
            Arity::One => "PROPERTY",
            Arity::Array => "PROPERTY.ARRAY",
        };
        let head = format!(
            "<{element} NAME=\"{}\" TYPE=\"{}\"",
            member.name,
            member.type_name()
        );
        match instance.get(&member.name) {
            Value::Null => out.push_str(&format!("{head}{propagated}></{element}>")),
            Value::Array(all) => {
                let all: String = all.iter().map(|value| written(namespace, value)).collect();
                out.push_str(&format!("{head}><VALUE.ARRAY>{all}</VALUE.ARRAY></{element}>"));
            }
            value => out.push_str(&format!("{head}>{}</{element}>", written(namespace, value))),
        }
    }
    out.push_str("</INSTANCE>");
    out
}

fn written(namespace: &Namespace, value: &Value) -> String {
    let text = match value {
        Value::Null => return "<VALUE.NULL/>".to_owned(),
        Value::Instance(inner) => write(namespace, inner),
        plain => plain_text(plain).unwrap_or_default(),
    };
    format!("<VALUE>{}</VALUE>", escaped(&text))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::{Build, Schema};

    fn v2() -> &'static Namespace {
        Schema::of(Build::Server2019)
            .namespace("root/virtualization/v2")
            .unwrap()
    }

    fn refused(wanted: &str, text: &str) -> Refusal {
        read(v2(), wanted, text).unwrap_err()
    }

    fn settings(inside: &str) -> Refusal {
        refused(
            "CIM_VirtualSystemSettingData",
            &format!("<INSTANCE CLASSNAME=\"Msvm_VirtualSystemSettingData\">{inside}</INSTANCE>"),
        )
    }

    #[test]
    fn an_instance_is_read_with_its_types() {
        let text = "<?xml version=\"1.0\"?>\n<INSTANCE CLASSNAME=\"Msvm_VirtualSystemSettingData\">\n \
                    <PROPERTY NAME=\"ElementName\" TYPE=\"string\"><VALUE>R&#38;D</VALUE></PROPERTY>\
                    <PROPERTY NAME=\"SecureBootEnabled\" TYPE=\"boolean\"><VALUE>false</VALUE></PROPERTY>\
                    <PROPERTY NAME=\"AutomaticStartupActionDelay\" TYPE=\"datetime\">\
                    <VALUE>00000000004500.000000:000</VALUE></PROPERTY>\
                    <PROPERTY NAME=\"Caption\" TYPE=\"string\"/>\
                    <PROPERTY.ARRAY NAME=\"notes\" TYPE=\"string\"><VALUE.ARRAY><VALUE>a</VALUE><VALUE.NULL/></VALUE.ARRAY>\
                    </PROPERTY.ARRAY></INSTANCE>";
        let instance = read(v2(), "CIM_VirtualSystemSettingData", text).unwrap();
        assert_eq!(instance.get("ElementName"), &Value::text("R&D"));
        assert_eq!(instance.get("SecureBootEnabled"), &Value::Boolean(false));
        assert_eq!(
            instance.get("Notes"),
            &Value::Array(vec![Value::text("a"), Value::Null])
        );
        assert!(instance.get("Caption").is_null());
    }

    #[test]
    fn what_a_real_host_refused_is_refused_with_its_number() {
        let machines = v2().class("Msvm_VirtualSystemManagementService").unwrap();
        let switches = v2().class("Msvm_VirtualEthernetSwitchManagementService").unwrap();
        let name = |value: &str| {
            format!("<PROPERTY NAME=\"ElementName\" TYPE=\"string\"><VALUE>{value}</VALUE></PROPERTY>")
        };
        assert_eq!(settings(&name("R&amp;D")).said(machines), Said::Returned(32768));
        assert_eq!(settings(&name("a&lt;b")).said(machines), Said::Returned(32773));
        let scalar = "<PROPERTY NAME=\"Notes\" TYPE=\"string\"><VALUE>a</VALUE></PROPERTY>";
        assert_eq!(settings(scalar).said(machines), Said::Returned(32773));
        assert_eq!(settings(scalar).said(switches), Said::Returned(32776));
        for (kind, text) in [
            ("datetime", "PT45M"),
            ("string", "PT45M"),
            ("string", "00000000004500.000000:000"),
        ] {
            let delay = format!(
                "<PROPERTY NAME=\"AutomaticStartupActionDelay\" TYPE=\"{kind}\"><VALUE>{text}</VALUE></PROPERTY>"
            );
            assert_eq!(
                settings(&delay).said(machines),
                Said::Returned(32768),
                "{kind} {text}"
            );
        }
    }

    #[test]
    fn what_the_schema_does_not_have_is_a_fault() {
        let machines = v2().class("Msvm_VirtualSystemManagementService").unwrap();
        for inside in [
            "<PROPERTY NAME=\"Colour\" TYPE=\"string\"><VALUE>a</VALUE></PROPERTY>",
            "<PROPERTY NAME=\"ElementName\" TYPE=\"uint8\"><VALUE>1</VALUE></PROPERTY>",
            "<PROPERTY NAME=\"ElementName\"><VALUE>1</VALUE></PROPERTY>",
            "<PROPERTY NAME=\"SecureBootEnabled\" TYPE=\"boolean\"><VALUE>perhaps</VALUE></PROPERTY>",
        ] {
            assert_eq!(settings(inside).said(machines), Said::Faulted, "{inside}");
        }
        let unknown = refused("CIM_SettingData", "<INSTANCE CLASSNAME=\"Msvm_Teapot\"/>");
        assert_eq!(unknown.said(machines), Said::Faulted);
        let other = refused(
            "CIM_VirtualSystemSettingData",
            "<INSTANCE CLASSNAME=\"Msvm_ComputerSystem\"/>",
        );
        assert_eq!(other.said(machines), Said::Returned(32773));
    }

    #[test]
    fn what_is_written_is_read_back_and_names_its_nulls() {
        let mut item = Instance::of("root/virtualization/v2", "Msvm_KvpExchangeDataItem");
        item.set("Name", Value::text("k"))
            .set("Data", Value::text("a \"b\""));
        let text = write(v2(), &item);
        assert!(
            text.contains("<PROPERTY NAME=\"Caption\" TYPE=\"string\" PROPAGATED=\"true\"></PROPERTY>"),
            "{text}"
        );
        let numeric = text.replace("&quot;", "&#34;");
        assert_eq!(read(v2(), "Msvm_KvpExchangeDataItem", &numeric).unwrap(), item);
    }
}
