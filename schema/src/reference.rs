//! The reference pages, in the layout of the registry, made of the tables of attributes and of the examples.
//!
//! `make docs` writes them, and `make lint` holds what is committed against what would be written.
//! ```
//! use labyard_schema::reference::{Examples, pages};
//! let pages = pages(&Examples::default());
//! assert!(pages.iter().any(|page| page.path == "resources/vm.md" && page.text.contains("`memory_mib`")));
//! ```

use std::collections::BTreeMap;
use std::fmt::Write as _;

use crate::attribute::{Attribute, Change, Described, Presence, Shape};
use crate::{access_code, data, network, provider, vm, vm_pool};

/// A page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page {
    /// Below `docs/`.
    pub path: String,
    /// In Markdown.
    pub text: String,
}

/// The files below `examples/` that pages show, by their path there.
pub type Examples = BTreeMap<String, String>;

/// What a page is about.
struct Subject {
    /// `index`, `resources/vm`.
    path: &'static str,
    /// As Terraform names it.
    name: &'static str,
    kind: Kind,
    doc: &'static str,
    attributes: Vec<Attribute>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Provider,
    Resource,
    DataSource,
    Ephemeral,
}

impl Kind {
    fn word(self) -> &'static str {
        match self {
            Self::Provider => "Provider",
            Self::Resource => "Resource",
            Self::DataSource => "Data source",
            Self::Ephemeral => "Ephemeral resource",
        }
    }
}

fn subject<T: Described>(path: &'static str, name: &'static str, kind: Kind) -> Subject {
    Subject {
        path,
        name,
        kind,
        doc: T::doc(),
        attributes: T::attributes(),
    }
}

fn subjects() -> Vec<Subject> {
    vec![
        subject::<provider::ProviderConfig>("index", "labyard", Kind::Provider),
        subject::<vm::Vm>("resources/vm", "labyard_vm", Kind::Resource),
        subject::<network::Network>("resources/network", "labyard_network", Kind::Resource),
        subject::<vm_pool::VmPool>("resources/vm_pool", "labyard_vm_pool", Kind::Resource),
        subject::<access_code::AccessCode>("resources/access_code", "labyard_access_code", Kind::Resource),
        subject::<data::HostData>("data-sources/host", "labyard_host", Kind::DataSource),
        subject::<data::VmData>("data-sources/vm", "labyard_vm", Kind::DataSource),
        subject::<data::NetworkData>("data-sources/network", "labyard_network", Kind::DataSource),
        subject::<data::VmPoolData>("data-sources/vm_pool", "labyard_vm_pool", Kind::DataSource),
        subject::<data::AccessCodeData>(
            "data-sources/access_code",
            "labyard_access_code",
            Kind::DataSource,
        ),
        subject::<data::AccessCodeEphemeral>(
            "ephemeral-resources/access_code",
            "labyard_access_code",
            Kind::Ephemeral,
        ),
    ]
}

/// All pages.
pub fn pages(examples: &Examples) -> Vec<Page> {
    let page = |subject: Subject| Page {
        path: format!("{}.md", subject.path),
        text: text(&subject, examples),
    };
    subjects().into_iter().map(page).collect()
}

fn text(subject: &Subject, examples: &Examples) -> String {
    let (word, name) = (subject.kind.word(), subject.name);
    let mut out = format!(
        "---\npage_title: \"{name} ({word})\"\ndescription: |-\n  {}\n---\n\n<!-- Made of schema/ and examples/ by `make docs`. -->\n\n# {name} ({word})\n\n{}\n",
        subject.doc, subject.doc
    );
    let folder = match subject.kind {
        Kind::Provider => "provider/provider.tf".to_owned(),
        Kind::Resource => format!("resources/{name}/resource.tf"),
        Kind::DataSource => format!("data-sources/{name}/data-source.tf"),
        Kind::Ephemeral => format!("ephemeral-resources/{name}/ephemeral-resource.tf"),
    };
    if let Some(example) = examples.get(&folder) {
        let _ = write!(
            out,
            "\n## Example usage\n\n```terraform\n{}\n```\n",
            example.trim_end()
        );
    }
    if subject.kind == Kind::Provider {
        out += &environment();
    }
    out += &attributes(subject);
    let import = examples.get(&format!("resources/{name}/import.sh"));
    if let Some(import) = import.filter(|_| subject.kind == Kind::Resource) {
        let _ = write!(out, "\n## Import\n\n```shell\n{}\n```\n", import.trim_end());
    }
    out
}

fn environment() -> String {
    let mut out = "\n## Environment variables\n\n| variable | means |\n|---|---|\n".to_owned();
    for (name, means) in provider::VARIABLES {
        let _ = writeln!(out, "| `{name}` | {means} |");
    }
    out
}

fn attributes(subject: &Subject) -> String {
    let mut out = "\n## Schema\n".to_owned();
    if subject.kind == Kind::Resource {
        out += "\n\"Restarts\" and \"replaces\" say what a change of an attribute does to what stands; a change of any other is made while it runs.\n";
    }
    out += &groups(&subject.attributes, "");
    let mut nested = Vec::new();
    collect(&subject.attributes, "", &mut nested);
    for (path, holder) in nested {
        let _ = write!(
            out,
            "\n<a id=\"nestedatt--{}\"></a>\n### `{path}`\n\n{}\n",
            anchor(&path),
            holder.object_doc
        );
        out += &groups(inner(&holder.shape).unwrap_or_default(), &path);
    }
    out
}

/// The attributes of one object: those that must be set, those that may be, those that are told.
fn groups(attributes: &[Attribute], path: &str) -> String {
    let mut out = String::new();
    let group = |title: &str, wanted: fn(&Presence) -> bool| {
        let lines: String = attributes
            .iter()
            .filter(|attribute| wanted(&attribute.presence))
            .map(|attribute| line(attribute, path))
            .collect();
        if lines.is_empty() {
            String::new()
        } else {
            format!("\n{title}:\n\n{lines}")
        }
    };
    out += &group("Required", |presence| *presence == Presence::Required);
    out += &group("Optional", |presence| {
        matches!(
            presence,
            Presence::Optional | Presence::OptionalComputed | Presence::Default(_)
        )
    });
    out += &group("Read-only", |presence| *presence == Presence::Computed);
    out
}

fn line(attribute: &Attribute, path: &str) -> String {
    let mut notes = vec![type_name(&attribute.shape)];
    if attribute.sensitive {
        notes.push("sensitive".to_owned());
    }
    if attribute.write_only {
        notes.push("write-only".to_owned());
    }
    match attribute.change {
        Change::Restart => notes.push("**restarts**".to_owned()),
        Change::LiveOrRestart => notes.push("live or **restarts**".to_owned()),
        Change::RestartNetwork => notes.push("**restarts the network**".to_owned()),
        Change::LiveOrRestartNetwork => notes.push("live or **restarts the network**".to_owned()),
        Change::Replace => notes.push("**replaces**".to_owned()),
        Change::Live | Change::None => {}
    }
    let more = match inner(&attribute.shape) {
        Some(_) => {
            let path = joined(path, attribute);
            format!(" See [`{path}`](#nestedatt--{}).", anchor(&path))
        }
        None => String::new(),
    };
    format!(
        "- `{}` ({}) {}{more}\n",
        attribute.name,
        notes.join(", "),
        attribute.description()
    )
}

fn type_name(shape: &Shape) -> String {
    match shape {
        Shape::Bool => "boolean".to_owned(),
        Shape::Integer => "number".to_owned(),
        Shape::Text => "string".to_owned(),
        Shape::Object(_) => "object".to_owned(),
        Shape::Map(of) => format!("map of {}", plural(of)),
        Shape::List(of) => format!("list of {}", plural(of)),
    }
}

fn plural(shape: &Shape) -> String {
    match shape {
        Shape::Map(of) => format!("maps of {}", plural(of)),
        Shape::List(of) => format!("lists of {}", plural(of)),
        plain => format!("{}s", type_name(plain)),
    }
}

fn inner(shape: &Shape) -> Option<&[Attribute]> {
    match shape {
        Shape::Object(attributes) => Some(attributes),
        Shape::Map(of) | Shape::List(of) => inner(of),
        Shape::Bool | Shape::Integer | Shape::Text => None,
    }
}

/// `disks.KEY.image`
fn joined(path: &str, attribute: &Attribute) -> String {
    let mut path = match path {
        "" => attribute.name.to_owned(),
        path => format!("{path}.{}", attribute.name),
    };
    if matches!(attribute.shape, Shape::Map(_)) {
        path += ".KEY";
    }
    path
}

fn anchor(path: &str) -> String {
    path.replace(".KEY", "").replace('.', "--")
}

fn collect(attributes: &[Attribute], path: &str, nested: &mut Vec<(String, Attribute)>) {
    for attribute in attributes {
        if let Some(inner) = inner(&attribute.shape) {
            let path = joined(path, attribute);
            nested.push((path.clone(), attribute.clone()));
            collect(inner, &path, nested);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stands_above_an_object_of_the_schema_stands_above_it_on_its_page() {
        let page = pages(&Examples::default())
            .into_iter()
            .find(|page| page.path == "resources/network.md")
            .unwrap();
        for part in [
            "What is handed by DHCP to guests that boot from a network.",
            "`records` (map of lists of strings, live or",
        ] {
            assert!(page.text.contains(part), "{part} is not in\n{}", page.text);
        }
    }

    #[test]
    fn every_attribute_of_every_depth_has_its_line_with_what_a_change_disturbs() {
        let page = pages(&Examples::default())
            .into_iter()
            .find(|page| page.path == "resources/vm.md")
            .unwrap();
        for part in [
            "- `name` (string",
            "- `disks` (map of objects",
            "See [`disks.KEY.image`](#nestedatt--disks--image).",
            "### `disks.KEY.image`",
            "- `source` (string, **replaces**)",
            "- `user_data_wo` (string, sensitive, write-only)",
        ] {
            assert!(page.text.contains(part), "{part} is not in\n{}", page.text);
        }
    }
}
