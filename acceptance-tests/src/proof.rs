//! Says what a test has shown of an attribute, so that the table of attributes and cases is made by the tests.
//!
//! ```no_run
//! use labyard_acceptance_tests::proof::{Case, shows};
//! // … the size was raised, the plan said "live", the guest kept its boot id and sees the larger disk …
//! shows(&["labyard_vm.disks.size_gib"], Case::Update);
//! ```
//! Where `LABYARD_PROOF_DIR` is set, each call adds a line to a file there. A path is `RESOURCE.ATTRIBUTE`, nested ones
//! with further dots and without the keys of maps; one that the schema does not have is a failure of the test.

use std::io::Write;

use labyard_schema::attribute::{Attribute, Described, Shape};

/// What can be shown of an attribute.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Case {
    /// The object is made with it, and the host shows it.
    Create,
    /// An import reads it back, and the plan after it is empty.
    Import,
    /// It changes with the disturbance that the documents state.
    Update,
    /// A change by hand is seen by a plan and healed by an apply.
    Drift,
    /// A bad value is refused with the attribute's path.
    Refused,
}

impl Case {
    /// All of them, in the order of the table.
    pub const ALL: [Self; 5] = [
        Self::Create,
        Self::Import,
        Self::Update,
        Self::Drift,
        Self::Refused,
    ];

    /// Its word in files and in the table.
    pub fn word(self) -> &'static str {
        match self {
            Self::Create => "create",
            Self::Import => "import",
            Self::Update => "update",
            Self::Drift => "drift",
            Self::Refused => "refused",
        }
    }
}

/// The resources and their attributes.
pub fn resources() -> Vec<(&'static str, Vec<Attribute>)> {
    vec![
        ("labyard_vm", labyard_schema::vm::Vm::attributes()),
        ("labyard_network", labyard_schema::network::Network::attributes()),
        ("labyard_vm_pool", labyard_schema::vm_pool::VmPool::attributes()),
        (
            "labyard_access_code",
            labyard_schema::access_code::AccessCode::attributes(),
        ),
    ]
}

/// The paths of all attributes of a resource, objects before what is in them.
pub fn paths(resource: &str, attributes: &[Attribute]) -> Vec<(String, Attribute)> {
    let mut all = Vec::new();
    for attribute in attributes {
        let path = format!("{resource}.{}", attribute.name);
        all.push((path.clone(), attribute.clone()));
        if let Some(inner) = inner(&attribute.shape) {
            all.extend(paths(&path, inner));
        }
    }
    all
}

fn inner(shape: &Shape) -> Option<&[Attribute]> {
    match shape {
        Shape::Object(attributes) => Some(attributes),
        Shape::Map(of) | Shape::List(of) => inner(of),
        Shape::Bool | Shape::Integer | Shape::Text => None,
    }
}

/// Notes that the case was shown of these attributes.
///
/// # Panics
/// Where the schema has no such attribute, or the note cannot be written.
pub fn shows(attributes: &[&str], case: Case) {
    let known: Vec<_> = resources()
        .iter()
        .flat_map(|(resource, attributes)| paths(resource, attributes))
        .map(|(path, _)| path)
        .collect();
    for attribute in attributes {
        assert!(
            known.iter().any(|path| path == attribute),
            "the schema has no {attribute}"
        );
    }
    let Some(directory) = std::env::var_os("LABYARD_PROOF_DIR") else {
        return;
    };
    let test = std::thread::current().name().unwrap_or_default().to_owned();
    let file = std::path::Path::new(&directory).join(format!("{}.tsv", std::process::id()));
    let lines: String = attributes
        .iter()
        .map(|attribute| format!("{attribute}\t{}\t{test}\n", case.word()))
        .collect();
    std::fs::OpenOptions::new()
        .create(true)
        .append(true)
        .open(file)
        .and_then(|mut file| file.write_all(lines.as_bytes()))
        .expect("write what was shown");
}
