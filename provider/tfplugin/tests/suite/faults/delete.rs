//! Faults of ApplyResourceChange, for delete.

use super::{After, Case};
use crate::support::terraform::KEPT;

#[test]
fn a_delete_that_fails_at_once_keeps_the_object() {
    let seen = Case::destroy("apply_fails_at_once").ours();
    seen.fails(&["Error: It is locked"])
        .leaves(After::Sound { size: Some(1) })
        .keeps_private(KEPT);
}

#[test]
fn a_delete_that_fails_halfway_keeps_what_is_left() {
    let seen = Case::destroy("apply_fails_halfway").ours();
    seen.fails(&["Error: It is locked"])
        .leaves(After::Sound { size: None })
        .keeps_private(KEPT);
}

#[test]
fn a_delete_that_panics_keeps_the_object() {
    let seen = Case::destroy("apply_panics_at_once").ours();
    seen.fails(&["The provider panicked", "delete fell over"])
        .leaves(After::Sound { size: Some(1) })
        .keeps_private(KEPT);
}

#[test]
fn what_a_successful_delete_saved_does_not_bring_the_object_back() {
    let case = Case::destroy("delete_keeps_object");
    case.ours().succeeds().leaves(After::Nothing);
    case.cores().fails(&["returned a non-null object"]);
}

#[test]
fn a_delete_without_a_fault_leaves_nothing() {
    Case::destroy("none").ours().succeeds().leaves(After::Nothing);
}
