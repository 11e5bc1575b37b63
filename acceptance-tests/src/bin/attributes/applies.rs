//! Which cases have a meaning for an attribute, and why not.

use labyard_acceptance_tests::proof::Case;
use labyard_schema::attribute::Check;
use labyard_schema::{Attribute, Change, Presence, Shape};

/// Whether a case has a meaning.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Applies {
    Yes,
    /// Why not.
    No(&'static str),
}

/// Attributes that say how an operation goes or that only the mark keeps: nobody can change them on the host by hand.
const KEPT_IN_THE_MARK: &[&str] = &[
    "labyard_vm.allow_restart",
    "labyard_vm.ready.",
    "labyard_vm.shutdown.",
    "labyard_vm.timeouts.",
    "labyard_vm.labels",
    "labyard_vm.deletion_protection",
    "labyard_vm.disks.on_remove",
    "labyard_vm.disks.clone",
    "labyard_vm.disks.image.",
    "labyard_vm.disks.storage_pool",
    "labyard_vm.media.image.sha256",
    "labyard_vm.host",
    "labyard_network.host",
    "labyard_network.labels",
    "labyard_network.deletion_protection",
    "labyard_network.timeouts.",
    "labyard_vm_pool.timeouts.",
];

/// What an object of the store is found by.
const FOUND_BY: &[&str] = &["labyard_access_code.name", "labyard_vm_pool.name"];

/// What a seed says: a seed is not read back; that it was taken out is the drift of `cloud_init` as a whole.
const IN_THE_SEED: &[&str] = &[
    "labyard_vm.cloud_init.",
    "labyard_vm.guest.",
    "labyard_vm.nics.ipv4.gateway",
];

/// Whether a case has a meaning for the attribute at a path.
pub(crate) fn applies(path: &str, attribute: &Attribute, case: Case) -> Applies {
    let below = |list: &[&str]| {
        list.iter().any(|prefix| {
            path == prefix.trim_end_matches('.') || (prefix.ends_with('.') && path.starts_with(prefix))
        })
    };
    if is_container(&attribute.shape) {
        return Applies::No("what is in it is told on its own lines");
    }
    if path.starts_with("labyard_vm_pool.template.") {
        return Applies::No("it is a machine's, and shown of labyard_vm");
    }
    let told = attribute.presence == Presence::Computed;
    match case {
        Case::Create => Applies::Yes,
        Case::Import if attribute.write_only => Applies::No("it is not stored"),
        Case::Import => Applies::Yes,
        Case::Update if told || attribute.change == Change::None => Applies::No("the user does not set it"),
        Case::Update => Applies::Yes,
        Case::Drift if told => Applies::No("it tells what is there"),
        Case::Drift if attribute.write_only => Applies::No("it is not stored"),
        Case::Drift if below(KEPT_IN_THE_MARK) => Applies::No("only the mark keeps it"),
        Case::Drift if below(FOUND_BY) => Applies::No("the store finds it by that"),
        Case::Drift if below(IN_THE_SEED) => Applies::No("a seed is not read back"),
        Case::Drift => Applies::Yes,
        Case::Refused if told => Applies::No("the user does not set it"),
        Case::Refused if attribute.check == Check::Any && attribute.presence != Presence::Required => {
            Applies::No("every value of its type is good")
        }
        Case::Refused => Applies::Yes,
    }
}

fn is_container(shape: &Shape) -> bool {
    match shape {
        Shape::Object(_) => true,
        Shape::Map(of) | Shape::List(of) => is_container(of),
        Shape::Bool | Shape::Integer | Shape::Text => false,
    }
}
