//! Objects as they arrive: rows of an enumeration, answers of Get, out parameters, embedded instances. On this wire a
//! property has no type; who knows the class gives it one ([`crate::Typed`]).

use crate::names::{CIM, MANAGEMENT};
use crate::reference::Reference;
use crate::xml::Element;

/// A property or parameter as it came.
#[derive(Clone, Debug, PartialEq)]
pub enum Raw {
    /// Nothing.
    Null,
    /// A scalar, a time or an embedded instance.
    Text(String),
    /// A REF.
    Reference(Reference),
    /// An instance as elements, as classes other than Hyper-V's have them.
    Object(Box<Object>),
    /// An array, or a scalar that came more than once.
    Many(Vec<Raw>),
}

impl Raw {
    /// Each of what is there: none of nothing, one of a scalar.
    pub fn each(&self) -> &[Raw] {
        match self {
            Self::Null => &[],
            Self::Many(all) => all,
            one => std::slice::from_ref(one),
        }
    }
}

/// An object: properties by name.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Object {
    /// Its class; a projection does not tell.
    pub class: Option<String>,
    properties: Vec<(String, Raw)>,
}

/// What a property that is not there is, too.
static NULL: Raw = Raw::Null;

impl Object {
    /// A property; null where it is not there. WMI's names have no case.
    pub fn get(&self, name: &str) -> &Raw {
        let found = self
            .properties
            .iter()
            .find(|(there, _)| there.eq_ignore_ascii_case(name));
        found.map_or(&NULL, |(_, value)| value)
    }

    /// The properties that are there, in the order in which they came.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.properties.iter().map(|(name, _)| name.as_str())
    }

    /// One without properties.
    pub(crate) fn of(class: &str) -> Self {
        Self {
            class: Some(class.to_owned()),
            properties: Vec::new(),
        }
    }

    /// Adds to a property; what is there already makes an array of it.
    pub(crate) fn add(&mut self, name: &str, value: Raw) {
        match self.properties.iter_mut().find(|(there, _)| there == name) {
            None => self.properties.push((name.to_owned(), value)),
            Some((_, Raw::Many(all))) => all.push(value),
            Some((_, there)) => {
                let before = std::mem::replace(there, Raw::Null);
                *there = Raw::Many(vec![before, value]);
            }
        }
    }

    /// Replaces or adds a property.
    pub(crate) fn set(&mut self, name: &str, value: Raw) {
        self.properties.retain(|(there, _)| there != name);
        self.properties.push((name.to_owned(), value));
    }

    /// A row, an answer or the output of a method: an element with one for each value in it.
    pub(crate) fn read(element: &Element) -> Self {
        let mut object = Self {
            class: (!element.is(MANAGEMENT, "XmlFragment")).then(|| element.name.clone()),
            properties: Vec::with_capacity(element.children.len()),
        };
        for child in &element.children {
            object.add(&child.name, raw(child));
        }
        object
    }
}

fn raw(element: &Element) -> Raw {
    if element.is_nil() {
        return Raw::Null;
    }
    if let Some(reference) = Reference::read(element) {
        return Raw::Reference(reference);
    }
    match &element.children[..] {
        [] => Raw::Text(element.text.clone()),
        [time] if is_time(time) => Raw::Text(time.text.clone()),
        _ => Raw::Object(Box::new(Object {
            class: element.attribute("type").map(class_of_type),
            ..Object::read(element)
        })),
    }
}

/// A time has an element around it, which a projection leaves without a namespace.
fn is_time(element: &Element) -> bool {
    let named = matches!(element.name.as_str(), "Datetime" | "Interval");
    named && element.space.as_deref().is_none_or(|space| space == CIM) && element.children.is_empty()
}

/// `p:Msvm_X_Type`.
fn class_of_type(name: &str) -> String {
    let local = name.rsplit_once(':').map_or(name, |(_, local)| local);
    local.strip_suffix("_Type").unwrap_or(local).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::names::{ADDRESSING, INSTANCE};

    fn object(text: &str) -> Object {
        let spaces =
            format!("xmlns:xsi='{INSTANCE}' xmlns:cim='{CIM}' xmlns:a='{ADDRESSING}' xmlns:w='{MANAGEMENT}'");
        Object::read(&Element::parse(&text.replace("SPACES", &spaces)).unwrap())
    }

    #[test]
    fn a_row_of_windows_is_read() {
        let row = object(
            "<p:Msvm_X SPACES xmlns:p='u/Msvm_X' xsi:type='p:Msvm_X_Type'><p:Caption xsi:nil='true'/>\
             <p:ElementName>a b</p:ElementName><p:OperationalStatus>2</p:OperationalStatus>\
             <p:OperationalStatus>32768</p:OperationalStatus><p:InstallDate><cim:Datetime>1601-01-01T00:00:00Z</cim:Datetime>\
             </p:InstallDate><p:Delay><cim:Interval>P0DT0H30M0S</cim:Interval></p:Delay><p:PoolID>\n</p:PoolID>\
             <p:Antecedent><a:Address>x</a:Address><a:ReferenceParameters><w:ResourceURI>u/C</w:ResourceURI>\
             </a:ReferenceParameters></p:Antecedent></p:Msvm_X>",
        );
        assert_eq!(row.class.as_deref(), Some("Msvm_X"));
        assert_eq!(row.get("Caption"), &Raw::Null);
        assert_eq!(row.get("Roles"), &Raw::Null, "what is not there is null");
        assert_eq!(row.get("elementname"), &Raw::Text("a b".into()));
        assert_eq!(row.get("OperationalStatus").each().len(), 2);
        assert_eq!(row.get("InstallDate"), &Raw::Text("1601-01-01T00:00:00Z".into()));
        assert_eq!(row.get("Delay"), &Raw::Text("P0DT0H30M0S".into()));
        assert_eq!(row.get("PoolID"), &Raw::Text("\n".into()), "blanks are no null");
        assert!(matches!(row.get("Antecedent"), Raw::Reference(to) if to.resource.0 == "u/C"));
    }

    #[test]
    fn a_projection_does_not_tell_its_class() {
        let row = object(
            "<w:XmlFragment SPACES><Name>x</Name><When><Datetime>2026-01-01T00:00:00Z</Datetime></When></w:XmlFragment>",
        );
        assert_eq!(row.class, None);
        assert_eq!(row.get("Name"), &Raw::Text("x".into()));
        assert_eq!(row.get("When"), &Raw::Text("2026-01-01T00:00:00Z".into()));
    }

    #[test]
    fn an_instance_as_elements_is_an_object() {
        let row = object(
            "<o SPACES><p xsi:type='q:MSFT_Person_Type' xmlns:q='u'><q:Last>x</q:Last><q:Key>1</q:Key></p></o>",
        );
        let Raw::Object(person) = row.get("p") else {
            panic!("{row:?}");
        };
        assert_eq!(person.class.as_deref(), Some("MSFT_Person"));
        assert_eq!(person.get("Key"), &Raw::Text("1".into()));
    }
}
