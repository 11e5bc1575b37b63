//! Paths of objects as WMI writes them into strings (`Parent`, `HostResource`, `BootSourceOrder`):
//! `\\HV01\root\virtualization\v2:Class.Key="value",Key2="value"`, each backslash in a value doubled.

use crate::cim::{Path, Value};

/// The namespace of Hyper-V.
pub(crate) const V2: &str = "root/virtualization/v2";
/// The namespace of networks.
pub(crate) const STANDARD: &str = "root/standardcimv2";
/// The namespace of the computer.
pub(crate) const CIMV2: &str = "root/cimv2";
/// The namespace of host guardians.
pub(crate) const HGS: &str = "root/microsoft/windows/hgs";
/// The namespace of the cluster.
pub(crate) const CLUSTER: &str = "root/mscluster";

/// A path of a class of Hyper-V by these keys.
pub(crate) fn path(class: &str, keys: &[(&str, &str)]) -> Path {
    Path {
        namespace: V2.to_owned(),
        class: class.to_owned(),
        keys: keys
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect(),
    }
}

/// A path of a setting: `InstanceID` alone is its key.
pub(crate) fn setting(class: &str, id: &str) -> Path {
    path(class, &[("InstanceID", id)])
}

/// A path of a system: a machine, a switch, the host.
pub(crate) fn system(class: &str, name: &str) -> Path {
    path(class, &[("CreationClassName", class), ("Name", name)])
}

/// A key of a path. Names of keys have no case.
pub(crate) fn key<'a>(path: &'a Path, name: &str) -> Option<&'a str> {
    path.keys
        .iter()
        .find(|(there, _)| there.eq_ignore_ascii_case(name))
        .map(|(_, value)| value.as_str())
}

/// The text of a path, with the computer's name, as Windows gives it out.
pub(crate) fn write(computer: &str, path: &Path) -> String {
    let keys: Vec<String> = path
        .keys
        .iter()
        .map(|(name, value)| format!("{name}=\"{}\"", value.replace('\\', r"\\").replace('"', "\\\"")))
        .collect();
    let namespace = path.namespace.replace('/', "\\");
    format!(r"\\{computer}\{namespace}:{}.{}", path.class, keys.join(","))
}

/// The same as a value.
pub(crate) fn value(computer: &str, path: &Path) -> Value {
    Value::Text(write(computer, path))
}

/// Reads the text of a path into this computer's namespace of Hyper-V; with the computer's name or without. None where it is
/// not one: a backslash in a value that is not doubled, another computer, an XML text.
pub(crate) fn read(text: &str, computer: &str) -> Option<Path> {
    let local = match text.strip_prefix(r"\\") {
        Some(rest) => {
            let (host, local) = rest.split_once('\\')?;
            if !host.eq_ignore_ascii_case(computer) && host != "." {
                return None;
            }
            local
        }
        None => text,
    };
    let (namespace, object) = local.split_once(':')?;
    if !namespace.replace('\\', "/").eq_ignore_ascii_case(V2) {
        return None;
    }
    let (class, mut rest) = object.split_once('.')?;
    let mut found = path(class, &[]);
    loop {
        let (name, quoted) = rest.split_once("=\"")?;
        let (value, after) = unquote(quoted)?;
        if name.is_empty() || found.keys.insert(name.to_owned(), value).is_some() {
            return None;
        }
        match after.strip_prefix(',') {
            Some(more) => rest = more,
            None if after.is_empty() => return Some(found),
            None => return None,
        }
    }
}

/// A value up to its closing quote, and what follows.
fn unquote(text: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut letters = text.char_indices();
    while let Some((at, letter)) = letters.next() {
        match letter {
            '"' => return Some((value, &text[at + 1..])),
            '\\' => match letters.next() {
                Some((_, escaped @ ('\\' | '"'))) => value.push(escaped),
                _ => return None,
            },
            other => value.push(other),
        }
    }
    None
}

/// What comes before the first backslash of an InstanceID: the setting of the machine or checkpoint that it belongs to.
pub(crate) fn owner(id: &str) -> &str {
    id.split('\\').next().unwrap_or(id)
}

/// The part after `Microsoft:`, of an owner.
pub(crate) fn guid(owner: &str) -> &str {
    const PREFIX: &str = "Microsoft:";
    match owner.split_at_checked(PREFIX.len()) {
        Some((prefix, rest)) if prefix.eq_ignore_ascii_case(PREFIX) => rest,
        _ => owner,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_read_with_the_computer_and_without() {
        let wanted = setting("Msvm_ResourceAllocationSettingData", r"Microsoft:A\B\0");
        let with = write("HV01", &wanted);
        assert_eq!(
            with,
            r#"\\HV01\root\virtualization\v2:Msvm_ResourceAllocationSettingData.InstanceID="Microsoft:A\\B\\0""#
        );
        assert_eq!(read(&with, "hv01"), Some(wanted.clone()));
        let without =
            r#"root/virtualization/v2:Msvm_ResourceAllocationSettingData.InstanceID="Microsoft:A\\B\\0""#;
        assert_eq!(read(without, "HV01"), Some(wanted));
    }

    #[test]
    fn a_backslash_that_is_not_doubled_is_no_path() {
        let once = r#"root/virtualization/v2:Msvm_X.InstanceID="Microsoft:A\B\0""#;
        assert_eq!(read(once, "HV01"), None);
    }

    #[test]
    fn what_is_no_path_of_this_computer_is_refused() {
        for text in [
            "",
            "Microsoft:A",
            r#"\\OTHER\root\virtualization\v2:Msvm_X.InstanceID="a""#,
            r#"root/cimv2:Msvm_X.InstanceID="a""#,
            r#"root/virtualization/v2:Msvm_X.InstanceID="a" "#,
            "<EndpointReference/>",
            r#"root/virtualization/v2:Msvm_X.InstanceID="a"#,
        ] {
            assert_eq!(read(text, "HV01"), None, "{text}");
        }
    }

    #[test]
    fn several_keys_are_read() {
        let wanted = system("Msvm_VirtualEthernetSwitch", "GUID");
        assert_eq!(read(&write("HV01", &wanted), "HV01"), Some(wanted));
    }
}
