//! References to objects: endpoint references on the wire, WMI paths inside embedded instances.

use crate::names::{ADDRESSING, ANONYMOUS, MANAGEMENT, Namespace, ResourceUri};
use crate::xml::{Element, Unwritable, Writer};

/// Which object: its class and keys.
///
/// ```
/// # use wsman::{Namespace, Reference};
/// const V2: Namespace = Namespace("root/virtualization/v2");
/// let drive = Reference::new(V2, "Msvm_ResourceAllocationSettingData", &[("InstanceID", r"Microsoft:5E0C\0\0\D")]);
/// assert_eq!(
///     drive.path().unwrap(),
///     r#"root/virtualization/v2:Msvm_ResourceAllocationSettingData.InstanceID="Microsoft:5E0C\\0\\0\\D""#
/// );
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Reference {
    /// Its class, with the namespace.
    pub resource: ResourceUri,
    /// The keys that tell it from others of its class, in the order in which they are sent.
    pub selectors: Vec<(String, String)>,
}

impl Reference {
    /// An object of a class.
    pub fn new(namespace: Namespace, class: &str, selectors: &[(&str, &str)]) -> Self {
        let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        Self {
            resource: ResourceUri::class(namespace, class),
            selectors: selectors.iter().map(owned).collect(),
        }
    }

    /// A service, of which a host has one: known by its class alone, and by nothing more.
    pub fn service(namespace: Namespace, class: &str) -> Self {
        Self::new(namespace, class, &[("CreationClassName", class)])
    }

    /// A key.
    pub fn selector(&self, name: &str) -> Option<&str> {
        let found = self
            .selectors
            .iter()
            .find(|(there, _)| there.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.as_str())
    }

    /// As it stands in an embedded instance: a path of WMI, without the host. `None` of what is no class of WMI.
    pub fn path(&self) -> Option<String> {
        let (namespace, class) = self.resource.0.split_once("/wmi/")?.1.rsplit_once('/')?;
        let key = |(name, value): &(String, String)| {
            let value = value.replace('\\', r"\\").replace('"', r#"\""#);
            format!("{name}=\"{value}\"")
        };
        let keys: Vec<_> = self.selectors.iter().map(key).collect();
        Some(format!("{namespace}:{class}.{}", keys.join(",")))
    }

    /// What a path of WMI points at. Namespace and host are spelt differently by each who writes one, so they are left
    /// out: class and keys with their values.
    pub fn parse_path(path: &str) -> Option<(String, Vec<(String, String)>)> {
        // The class follows the last colon before its keys; a namespace has no dot.
        let (before, mut rest) = path.split_once('.')?;
        // `\\HOST.domain\root…` has dots of its own.
        let mut head = before.to_owned();
        while !head.contains(':') {
            let (more, after) = rest.split_once('.')?;
            head.push('.');
            head.push_str(more);
            rest = after;
        }
        let class = head.rsplit_once(':')?.1.to_owned();
        let mut keys = Vec::new();
        while !rest.is_empty() {
            let (name, after) = rest.split_once('=')?;
            let after = after.strip_prefix('"')?;
            let mut value = String::new();
            let mut characters = after.char_indices();
            let end = loop {
                match characters.next()? {
                    (_, '\\') => value.push(characters.next()?.1),
                    (at, '"') => break at,
                    (_, other) => value.push(other),
                }
            };
            keys.push((name.to_owned(), value));
            rest = &after[end + 1..];
            rest = match rest.strip_prefix(',') {
                Some("") => return None,
                Some(more) => more,
                None if rest.is_empty() => rest,
                None => return None,
            };
        }
        (!class.is_empty() && !keys.is_empty()).then_some((class, keys))
    }

    /// The address and the reference parameters of an endpoint reference: what a REF property or parameter holds
    /// directly, without a wrapper of its own.
    pub(crate) fn read(element: &Element) -> Option<Self> {
        let parameters = element.child(ADDRESSING, "ReferenceParameters")?;
        let resource = parameters.child(MANAGEMENT, "ResourceURI")?;
        let selectors = parameters.child(MANAGEMENT, "SelectorSet");
        let selectors = selectors.map_or(&[][..], |set| &set.children);
        Some(Self {
            resource: ResourceUri(resource.text.trim().to_owned()),
            selectors: selectors
                .iter()
                .filter_map(|selector| Some((selector.attribute("Name")?.to_owned(), selector.text.clone())))
                // Beside a URI of WMI it is refused, and it says nothing that the URI does not.
                .filter(|(name, _)| name != "__cimnamespace")
                .collect(),
        })
    }

    /// Writes what [`Reference::read`] reads.
    pub(crate) fn write(&self, writer: &mut Writer) -> Result<(), Unwritable> {
        writer.leaf("a:Address", "", ANONYMOUS)?;
        writer.start("a:ReferenceParameters", "");
        writer.leaf("w:ResourceURI", "", &self.resource.0)?;
        self.write_selectors(writer)?;
        writer.end("a:ReferenceParameters");
        Ok(())
    }

    /// The selectors alone, as the header of a request has them; nothing where there are none.
    pub(crate) fn write_selectors(&self, writer: &mut Writer) -> Result<(), Unwritable> {
        if self.selectors.is_empty() {
            return Ok(());
        }
        writer.start("w:SelectorSet", "");
        for (name, value) in &self.selectors {
            let name = crate::xml::escaped(name)?;
            writer.leaf("w:Selector", &format!("Name=\"{name}\""), value)?;
        }
        writer.end("w:SelectorSet");
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const V2: Namespace = Namespace("root/virtualization/v2");

    #[test]
    fn paths_of_all_hands_point_at_the_same() {
        let expected = (
            "Msvm_VirtualEthernetSwitch".to_owned(),
            vec![
                (
                    "CreationClassName".to_owned(),
                    "Msvm_VirtualEthernetSwitch".to_owned(),
                ),
                ("Name".to_owned(), "7A\"\\B".to_owned()),
            ],
        );
        let keys =
            r#"Msvm_VirtualEthernetSwitch.CreationClassName="Msvm_VirtualEthernetSwitch",Name="7A\"\\B""#;
        for before in [
            "",
            r"root/virtualization/v2:",
            r"\\HV7\Root\Virtualization\V2:",
            r"\\hv7.example.org\root\virtualization\v2:",
        ] {
            let path = match before {
                "" => format!(":{keys}"),
                before => format!("{before}{keys}"),
            };
            assert_eq!(Reference::parse_path(&path).as_ref(), Some(&expected), "{path}");
        }
    }

    #[test]
    fn what_is_no_path_points_at_nothing() {
        for path in [
            "",
            "x",
            "a:b",
            "a:b.",
            "a:b.c",
            "a:b.c=d",
            r#"a:b.c="d"#,
            r#"a:b.c="d","#,
            r#"a:b.c="d"e"#,
            r#"b.c="d""#,
        ] {
            assert_eq!(Reference::parse_path(path), None, "{path}");
        }
    }

    #[test]
    fn the_namespace_among_selectors_is_left_out() {
        let text = format!(
            "<p xmlns:a='{ADDRESSING}' xmlns:w='{MANAGEMENT}'><a:ReferenceParameters><w:ResourceURI> u/C </w:ResourceURI>\
             <w:SelectorSet><w:Selector Name='Name'>x</w:Selector><w:Selector Name='__cimnamespace'>root</w:Selector>\
             </w:SelectorSet></a:ReferenceParameters></p>"
        );
        let read = Reference::read(&Element::parse(&text).unwrap()).unwrap();
        assert_eq!(read.resource.0, "u/C");
        assert_eq!(read.selectors, [("Name".to_owned(), "x".to_owned())]);
    }

    proptest! {
        #[test]
        fn a_reference_is_read_back_from_both_of_its_forms(value in "[^\\x00-\\x1f\\u{fffe}\\u{ffff}]*") {
            let reference = Reference::new(V2, "Msvm_ComputerSystem", &[("Name", &value)]);
            let (class, keys) = Reference::parse_path(&reference.path().unwrap()).unwrap();
            prop_assert_eq!(class, "Msvm_ComputerSystem");
            prop_assert_eq!(&keys, &reference.selectors);
            let mut writer = Writer::default();
            writer.start("p", &format!("xmlns:a=\"{ADDRESSING}\" xmlns:w=\"{MANAGEMENT}\""));
            reference.write(&mut writer).unwrap();
            writer.end("p");
            let read = Reference::read(&Element::parse(&writer.finish()).unwrap());
            prop_assert_eq!(read, Some(reference));
        }
    }
}
