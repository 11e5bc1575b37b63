//! Objects on the wire: rows, references, projections; and what stands in the bodies of Put, Create and Invoke, held against the
//! schema.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;

use crate::cim::{Instance, Path, Value};
use crate::schema::{
    Arity, Class, Clock, Kind as Holds, Member, Namespace, Scalar, Schema, from_iso, plain_text, to_iso,
};

use super::cim_xml::{self, Refusal};
use super::envelope::{Endpoint, Resource, Selector};
use super::fault::{Fault, Kind};
use super::names::{ADDRESSING, ANONYMOUS, CIM, WSMAN, XSI, class_uri};
use super::xml::{Element, escaped, leaf};

/// Where properties of a row stand.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Names {
    /// In the class's namespace, by `p`; in that of an object within an object by `p1`, and so on.
    Qualified(usize),
    /// In none: of fragments.
    Bare,
}

/// The prefix of an object's namespace that stands so deep in others.
fn prefix(depth: usize) -> String {
    match depth {
        0 => "p".to_owned(),
        some => format!("p{some}"),
    }
}

impl Names {
    fn of(self, name: &str) -> String {
        match self {
            Self::Qualified(depth) => format!("{}:{name}", prefix(depth)),
            Self::Bare => name.to_owned(),
        }
    }
}

/// An object with all its properties: in the order of the alphabet, nil where it has a scalar that is null, without the arrays
/// that are null or empty.
pub(crate) fn row(namespace: &Namespace, class: &Class, instance: &Instance) -> String {
    let uri = class_uri(&namespace.name, &class.name);
    let name = &class.name;
    let properties: String = class
        .properties()
        .map(|member| property(namespace, member, instance.get(&member.name), Names::Qualified(0)))
        .collect();
    format!(
        "<p:{name} xmlns:xsi=\"{XSI}\" xmlns:p=\"{uri}\" xmlns:cim=\"{CIM}\" xsi:type=\"p:{name}_Type\">{properties}</p:{name}>"
    )
}

/// Some properties of an object: no class, no namespace.
pub(crate) fn fragment(namespace: &Namespace, members: &[(Member, Value)]) -> String {
    let properties: String = members
        .iter()
        .map(|(member, value)| property(namespace, member, value, Names::Bare))
        .collect();
    format!("<w:XmlFragment xmlns:xsi=\"{XSI}\">{properties}</w:XmlFragment>")
}

/// One property of an object, as Get of a fragment has it.
pub(crate) fn one_property(namespace: &Namespace, class: &Class, member: &Member, value: &Value) -> String {
    let uri = class_uri(&namespace.name, &class.name);
    let property = property(namespace, member, value, Names::Qualified(0));
    format!(
        "<w:XmlFragment xmlns:p=\"{uri}\" xmlns:xsi=\"{XSI}\" xmlns:cim=\"{CIM}\">{property}</w:XmlFragment>"
    )
}

/// What a method gave.
pub(crate) fn output(
    namespace: &Namespace,
    class: &Class,
    method: &str,
    values: &[(Member, Value)],
) -> String {
    let uri = class_uri(&namespace.name, &class.name);
    let values: String = values
        .iter()
        .map(|(member, value)| property(namespace, member, value, Names::Qualified(0)))
        .collect();
    format!(
        "<p:{method}_OUTPUT xmlns:xsi=\"{XSI}\" xmlns:p=\"{uri}\" xmlns:cim=\"{CIM}\">{values}</p:{method}_OUTPUT>"
    )
}

fn property(namespace: &Namespace, member: &Member, value: &Value, names: Names) -> String {
    let name = names.of(&member.name);
    match (member.arity, value) {
        (Arity::One, Value::Null) => format!("<{name} xsi:nil=\"true\"/>"),
        (Arity::Array, Value::Null) => String::new(),
        (_, value) => value
            .each()
            .iter()
            .map(|one| single(namespace, member, one, &name, names))
            .collect(),
    }
}

fn single(namespace: &Namespace, member: &Member, value: &Value, name: &str, names: Names) -> String {
    match (&member.kind, value) {
        (_, Value::Null) => format!("<{name} xsi:nil=\"true\"/>"),
        (_, Value::Reference(path)) => {
            let inside = endpoint(path);
            format!("<{name} xmlns:a=\"{ADDRESSING}\" xmlns:w=\"{WSMAN}\">{inside}</{name}>")
        }
        (Holds::Object(_), Value::Instance(inner)) => tree(namespace, inner, name, names),
        (_, Value::Instance(inner)) => leaf(name, &cim_xml::write(namespace, inner)),
        (Holds::Plain(Scalar::Datetime), Value::Text(time)) => {
            let prefix = if names == Names::Bare { "" } else { "cim:" };
            match to_iso(time) {
                Ok(Clock::Moment(iso)) => {
                    format!("<{name}><{prefix}Datetime>{iso}</{prefix}Datetime></{name}>")
                }
                Ok(Clock::Interval(iso)) => {
                    format!("<{name}><{prefix}Interval>{iso}</{prefix}Interval></{name}>")
                }
                // Held against the schema before.
                Err(_) => leaf(name, time),
            }
        }
        (_, plain) => leaf(name, &plain_text(plain).unwrap_or_default()),
    }
}

/// An instance as elements, of properties and parameters that are objects.
fn tree(namespace: &Namespace, instance: &Instance, name: &str, names: Names) -> String {
    let Some(class) = namespace.class(&instance.class) else {
        return format!("<{name} xsi:nil=\"true\"/>");
    };
    let depth = match names {
        Names::Qualified(depth) => depth + 1,
        Names::Bare => 1,
    };
    let (prefix, uri) = (prefix(depth), class_uri(&namespace.name, &class.name));
    let properties: String = class
        .properties()
        .map(|member| {
            property(
                namespace,
                member,
                instance.get(&member.name),
                Names::Qualified(depth),
            )
        })
        .collect();
    format!(
        "<{name} xsi:type=\"{prefix}:{}_Type\" xmlns:{prefix}=\"{uri}\" xmlns:cim=\"{CIM}\">{properties}</{name}>",
        class.name
    )
}

/// `Address` and `ReferenceParameters` of an object, without a wrapper.
pub(crate) fn endpoint(path: &Path) -> String {
    let selectors: String = path
        .keys
        .iter()
        .map(|(name, value)| {
            format!(
                "<w:Selector Name=\"{}\">{}</w:Selector>",
                escaped(name),
                escaped(value)
            )
        })
        .collect();
    format!(
        "<a:Address>{ANONYMOUS}</a:Address><a:ReferenceParameters><w:ResourceURI>{}</w:ResourceURI>\
         <w:SelectorSet>{selectors}</w:SelectorSet></a:ReferenceParameters>",
        escaped(&class_uri(&path.namespace, &path.class))
    )
}

/// The path of an object, by the keys of its class. A key that is a reference is a WMI path.
pub(crate) fn path_of(class: &Class, instance: &Instance) -> Path {
    let keys = class.keys.iter().map(|key| {
        let text = match instance.get(key) {
            Value::Reference(to) => wmi_path(to),
            plain => plain_text(plain).unwrap_or_default(),
        };
        (key.clone(), text)
    });
    Path {
        namespace: instance.namespace.clone(),
        class: class.name.clone(),
        keys: keys.collect(),
    }
}

/// A path as WMI writes it: `root/virtualization/v2:Class.Key="value"`, backslashes doubled.
pub(crate) fn wmi_path(path: &Path) -> String {
    let keys: Vec<_> = path
        .keys
        .iter()
        .map(|(name, value)| format!("{name}=\"{}\"", value.replace('\\', "\\\\").replace('"', "\\\"")))
        .collect();
    format!("{}:{}.{}", path.namespace, path.class, keys.join(","))
}

/// The path that an endpoint says: its class has to be there, and its selectors have to be keys of it.
pub(crate) fn path_from(schema: &Schema, endpoint: &Endpoint) -> Result<Path, Fault> {
    let Resource::Class { namespace, class } = &endpoint.resource else {
        return Err(Fault::new(
            Kind::SchemaValidation,
            "a reference to something that is no class",
        ));
    };
    let found = schema.namespace(namespace).and_then(|space| space.class(class));
    let Some(found) = found else {
        return Err(Fault::new(
            Kind::SchemaValidation,
            format!("a reference to {class}, which is no class"),
        ));
    };
    keyed(schema, namespace, found, &endpoint.selectors)
}

/// A path by selectors: each the name of a key.
pub(crate) fn keyed(
    schema: &Schema,
    namespace: &str,
    class: &Class,
    selectors: &[(String, Selector)],
) -> Result<Path, Fault> {
    let mut keys = BTreeMap::new();
    for (name, value) in selectors {
        let Some(key) = class.key(name) else {
            return Err(Fault::new(
                Kind::InvalidSelectors,
                format!("{name} is no key of {}", class.name),
            ));
        };
        let text = match value {
            Selector::Text(text) => text.clone(),
            Selector::Object(endpoint) => wmi_path(&path_from(schema, endpoint)?),
        };
        keys.insert(key.to_owned(), text);
    }
    Ok(Path {
        namespace: namespace.to_owned(),
        class: class.name.clone(),
        keys,
    })
}

/// Why an input is not taken.
pub(crate) enum Bad {
    Fault(Fault),
    Instance(Refusal),
}

impl From<Fault> for Bad {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

/// Reads elements as values of these members: of a class's namespace, of no other name, scalars once.
pub(crate) fn values(
    schema: &Schema,
    namespace: &Namespace,
    uri: &str,
    members: &[&Member],
    elements: &[Element],
) -> Result<BTreeMap<String, Value>, Bad> {
    let invalid = |what: String| Fault::new(Kind::SchemaValidation, what);
    let mut read: BTreeMap<String, Value> = BTreeMap::new();
    for element in elements {
        if !element.space.eq_ignore_ascii_case(uri) {
            return Err(invalid(format!("{} is not in the class's namespace", element.name)).into());
        }
        let member = members
            .iter()
            .find(|member| member.name.eq_ignore_ascii_case(&element.name));
        let Some(member) = member else {
            return Err(invalid(format!("{} is not known there", element.name)).into());
        };
        let nil = element.says(XSI, "nil");
        let value = if nil {
            Value::Null
        } else {
            read_one(schema, namespace, member, element)?
        };
        let there = read.remove(&member.name);
        let value = match (member.arity, there, value) {
            (Arity::One, None, value) => value,
            (Arity::One, Some(_), _) => {
                return Err(invalid(format!("{} stands there twice", member.name)).into());
            }
            (Arity::Array, None, Value::Null) => Value::Null,
            // Octets may come as one text.
            (Arity::Array, None, Value::Array(octets)) => Value::Array(octets),
            (Arity::Array, None, value) => Value::Array(vec![value]),
            (Arity::Array, Some(Value::Array(mut all)), value) if !matches!(value, Value::Array(_)) => {
                all.push(value);
                Value::Array(all)
            }
            (Arity::Array, ..) => return Err(invalid(format!("{} is mixed", member.name)).into()),
        };
        read.insert(member.name.clone(), value);
    }
    Ok(read)
}

fn read_one(
    schema: &Schema,
    namespace: &Namespace,
    member: &Member,
    element: &Element,
) -> Result<Value, Bad> {
    let invalid = |what: String| {
        Bad::Fault(Fault::new(
            Kind::SchemaValidation,
            format!("{}: {what}", member.name),
        ))
    };
    match &member.kind {
        Holds::Reference => {
            let endpoint = Endpoint::read(element)?;
            Ok(Value::Reference(path_from(schema, &endpoint)?))
        }
        Holds::Embedded(_) if !element.children.is_empty() => Err(invalid(
            "an instance as elements, where its text belongs".to_owned(),
        )),
        Holds::Embedded(class) => cim_xml::read(namespace, class, &element.text)
            .map(|instance| Value::Instance(Box::new(instance)))
            .map_err(Bad::Instance),
        Holds::Object(class) => object(schema, namespace, class.as_deref(), element),
        Holds::Plain(Scalar::Datetime) => {
            let time = element
                .child(CIM, "Datetime")
                .or_else(|| element.child(CIM, "Interval"));
            let text = time.map_or(element.text.trim(), |time| time.text.trim());
            let read = from_iso(text).or_else(|_| to_iso(text).map(|_| text.to_owned()));
            read.map(Value::text).map_err(|error| invalid(error.to_string()))
        }
        Holds::Plain(_) if !element.children.is_empty() => {
            Err(invalid("elements where a text belongs".to_owned()))
        }
        Holds::Plain(Scalar::Uint8) if member.arity == Arity::Array => {
            let text = element.text.trim();
            if let Ok(number) = Scalar::Uint8.parse(text) {
                return Ok(number);
            }
            let octets = BASE64
                .decode(text)
                .map_err(|_| invalid("neither a number nor base64".to_owned()))?;
            Ok(Value::Array(
                octets
                    .into_iter()
                    .map(|octet| Value::Unsigned(octet.into()))
                    .collect(),
            ))
        }
        Holds::Plain(scalar) => scalar
            .parse(&element.text)
            .map_err(|unfit| invalid(unfit.to_string())),
    }
}

/// An instance as elements. Its class is that of its `xsi:type`, or the one that belongs there.
fn object(
    schema: &Schema,
    namespace: &Namespace,
    wanted: Option<&str>,
    element: &Element,
) -> Result<Value, Bad> {
    let invalid = |what: &str| {
        Bad::Fault(Fault::new(
            Kind::SchemaValidation,
            format!("{}: {what}", element.name),
        ))
    };
    let said = element.attribute(XSI, "type").map(|name| {
        let local = name.rsplit(':').next().unwrap_or_default();
        local.strip_suffix("_Type").unwrap_or(local)
    });
    let class = said.or(wanted).and_then(|name| namespace.class(name));
    let class = class.ok_or_else(|| invalid("an object of no known class"))?;
    if wanted.is_some_and(|wanted| !class.is_a(wanted)) {
        return Err(invalid("an object of another class"));
    }
    let members: Vec<_> = class.properties().collect();
    let uri = class_uri(&namespace.name, &class.name);
    let read = values(schema, namespace, &uri, &members, &element.children)?;
    let mut instance = Instance::of(&namespace.name, &class.name);
    for (name, value) in read {
        instance.set(&name, value);
    }
    Ok(Value::Instance(Box::new(instance)))
}

/// The instance in the body of a Put or Create.
pub(crate) fn instance(
    schema: &Schema,
    namespace: &Namespace,
    class: &Class,
    body: Option<&Element>,
) -> Result<Instance, Fault> {
    let uri = class_uri(&namespace.name, &class.name);
    let body = body
        .filter(|body| body.name.eq_ignore_ascii_case(&class.name) && body.space.eq_ignore_ascii_case(&uri));
    let body = body.ok_or_else(|| {
        Fault::new(
            Kind::SchemaValidation,
            format!("the body holds no {}", class.name),
        )
    })?;
    let members: Vec<_> = class.properties().collect();
    let read = values(schema, namespace, &uri, &members, &body.children).map_err(|bad| match bad {
        Bad::Fault(fault) => fault,
        Bad::Instance(refusal) => Fault::new(Kind::SchemaValidation, refusal.to_string()),
    })?;
    let mut instance = Instance::of(&namespace.name, &class.name);
    for (name, value) in read {
        instance.set(&name, value);
    }
    Ok(instance)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::{Build, Schema};

    const URI: &str = "u";

    fn octets(inside: &str) -> Option<Value> {
        let schema = Schema::of(Build::Server2019);
        let v2 = schema.namespace("root/virtualization/v2").unwrap();
        let class = v2.class("Msvm_SecurityService").unwrap();
        let protector = class.method("SetKeyProtector").unwrap().input.iter();
        let members: Vec<_> = protector.filter(|member| member.name == "KeyProtector").collect();
        let body = Element::parse(&format!("<i xmlns='{URI}'>{inside}</i>")).unwrap();
        let read = values(schema, v2, URI, &members, &body.children).ok()?;
        read.into_values().next()
    }

    #[test]
    fn octets_come_as_numbers_or_as_one_text() {
        let wanted = Value::Array([7, 0, 255].map(Value::Unsigned).to_vec());
        let numbers =
            "<KeyProtector>7</KeyProtector><KeyProtector>0</KeyProtector><KeyProtector>255</KeyProtector>";
        assert_eq!(octets(numbers), Some(wanted.clone()));
        assert_eq!(octets("<KeyProtector>BwD/</KeyProtector>"), Some(wanted));
        assert_eq!(octets("<KeyProtector>256</KeyProtector>"), None);
        assert_eq!(
            octets("<KeyProtector>7</KeyProtector><KeyProtector>BwD/</KeyProtector>"),
            None,
            "not both"
        );
    }

    #[test]
    fn an_object_is_a_tree_in_the_namespace_of_its_class() {
        let hgs = Schema::of(Build::Server2019)
            .namespace("root/microsoft/windows/hgs")
            .unwrap();
        let class = hgs.class("MSFT_HgsGuardian").unwrap();
        let method = class.method("NewByGenerateCertificates").unwrap();
        let member = method
            .output
            .iter()
            .find(|member| member.name == "cmdletOutput")
            .unwrap();
        let mut guardian = Instance::of(&hgs.name, &class.name);
        guardian.set("Name", Value::text("UntrustedGuardian"));
        let value = match member.arity {
            Arity::One => Value::Instance(Box::new(guardian)),
            Arity::Array => Value::Array(vec![Value::Instance(Box::new(guardian))]),
        };
        let text = output(
            hgs,
            class,
            "NewByGenerateCertificates",
            &[(member.clone(), value)],
        );
        let read = Element::parse(&text).unwrap();
        let object = &read.children[0];
        let uri = class_uri(&hgs.name, &class.name);
        assert_eq!(object.attribute(XSI, "type"), Some("p1:MSFT_HgsGuardian_Type"));
        assert_eq!(object.child(&uri, "Name").unwrap().text, "UntrustedGuardian");
    }
}
