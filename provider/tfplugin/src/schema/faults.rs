//! What is wrong with a schema in itself: Terraform would refuse it, or planning could not keep its promises.

use std::collections::BTreeSet;

use super::{Attribute, Kind, Presence, Schema};
use crate::value::{Path, Type, conform};

/// A fault of a schema.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SchemaFault {
    /// Not lower-case letters, digits and underscores beginning with a letter.
    #[error("{0}: not a name that Terraform accepts")]
    Name(Path),
    /// Terraform keeps the name for itself.
    #[error("{0}: Terraform uses this name itself")]
    Reserved(Path),
    /// Two attributes of one name.
    #[error("{0}: stands twice")]
    Duplicate(Path),
    /// An object that both the user and the provider set: no one could say who owns its leaves.
    #[error("{0}: nested attributes are either the user's or the provider's, not both")]
    SharedObject(Path),
    /// A default that does not have the attribute's type, or is null or unknown.
    #[error("{0}: the default is no known value of the attribute's type")]
    Default(Path),
    /// The user would set something inside what only the provider sets.
    #[error("{0}: lies in a computed object and so must be computed itself")]
    NotComputed(Path),
    /// What is never stored cannot be computed.
    #[error("{0}: write-only excludes computed and default")]
    ComputedWriteOnly(Path),
    /// Elements of a set are told apart by their values, which write-only ones lack.
    #[error("{0}: write-only cannot lie in a set")]
    WriteOnlyInSet(Path),
    /// What is never stored cannot be seen to change.
    #[error("{0}: a write-only attribute cannot require replacement")]
    WriteOnlyReplace(Path),
    /// An element of a set has no identity across a change.
    #[error("{0}: what requires replacement cannot lie in a set")]
    ReplaceInSet(Path),
    /// Terraform allows no dynamic type inside the elements of a collection of nested attributes.
    #[error("{0}: a dynamic type cannot lie in a collection")]
    DynamicInCollection(Path),
}

/// Names that mean something else at the top of every resource block.
const RESERVED: [&str; 8] = [
    "connection",
    "count",
    "depends_on",
    "for_each",
    "lifecycle",
    "locals",
    "provider",
    "provisioner",
];

/// What lies around an attribute.
#[derive(Clone, Copy, Default)]
struct Around {
    computed: bool,
    in_set: bool,
    in_collection: bool,
}

impl Schema {
    /// Everything that is wrong with the schema; empty if it is sound. Meant for a test of each schema.
    #[must_use]
    pub fn faults(&self) -> Vec<SchemaFault> {
        let mut faults = Vec::new();
        for attribute in self
            .attributes
            .iter()
            .filter(|a| RESERVED.contains(&a.name.as_str()))
        {
            faults.push(SchemaFault::Reserved(Path::attribute(&attribute.name)));
        }
        check_all(&self.attributes, &Path::root(), Around::default(), &mut faults);
        faults
    }
}

fn check_all(attributes: &[Attribute], parent: &Path, around: Around, faults: &mut Vec<SchemaFault>) {
    let mut seen = BTreeSet::new();
    for attribute in attributes {
        let path = parent.clone().then_attribute(&attribute.name);
        if !seen.insert(&attribute.name) {
            faults.push(SchemaFault::Duplicate(path.clone()));
        }
        check_one(attribute, &path, around, faults);
        if let Some(nested) = attribute.kind.nested() {
            let around = Around {
                computed: around.computed || attribute.presence == Presence::Computed,
                in_set: around.in_set || matches!(attribute.kind, Kind::Set(_)),
                in_collection: around.in_collection || !matches!(attribute.kind, Kind::Single(_)),
            };
            check_all(nested, &path, around, faults);
        }
    }
}

fn check_one(attribute: &Attribute, path: &Path, around: Around, faults: &mut Vec<SchemaFault>) {
    let mut report = |wrong: bool, fault: fn(Path) -> SchemaFault| {
        if wrong {
            faults.push(fault(path.clone()));
        }
    };
    let presence = &attribute.presence;
    let nested = attribute.kind.nested().is_some();
    report(!is_name(&attribute.name), SchemaFault::Name);
    report(
        nested && presence.is_optional() && presence.is_computed(),
        SchemaFault::SharedObject,
    );
    if let Presence::Default(default) = presence {
        let fits = conform(default, &attribute.implied_type()).is_ok();
        report(
            !fits || default.is_null() || !default.is_wholly_known(),
            SchemaFault::Default,
        );
    }
    report(
        around.computed && *presence != Presence::Computed,
        SchemaFault::NotComputed,
    );
    report(
        attribute.write_only && presence.is_computed(),
        SchemaFault::ComputedWriteOnly,
    );
    report(attribute.write_only && around.in_set, SchemaFault::WriteOnlyInSet);
    report(
        attribute.write_only && attribute.requires_replace,
        SchemaFault::WriteOnlyReplace,
    );
    report(
        attribute.requires_replace && around.in_set,
        SchemaFault::ReplaceInSet,
    );
    let dynamic = matches!(&attribute.kind, Kind::Plain(ty) if holds_dynamic(ty));
    report(dynamic && around.in_collection, SchemaFault::DynamicInCollection);
}

fn is_name(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_lowercase())
        && name
            .chars()
            .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
}

fn holds_dynamic(ty: &Type) -> bool {
    match ty {
        Type::Bool | Type::Number | Type::String => false,
        Type::Dynamic => true,
        Type::List(element) | Type::Set(element) | Type::Map(element) => holds_dynamic(element),
        Type::Tuple(types) => types.iter().any(holds_dynamic),
        Type::Object(types) => types.values().any(holds_dynamic),
    }
}

#[cfg(test)]
#[path = "faults_tests.rs"]
mod tests;
