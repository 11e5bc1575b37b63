//! Faults of ReadResource. What Terraform knew must never be dropped for one.

use super::{After, Case};
use crate::support::terraform::KEPT;

const OURS: &str = "Error: Provider broke a rule of Terraform";

fn refresh(fault: &'static str) -> Case {
    Case {
        command: &["apply", "-refresh-only", "-auto-approve", "-no-color"],
        ..Case::update(fault)
    }
}

#[test]
fn a_read_that_yields_something_unknown_is_refused() {
    let case = refresh("read_leaves_unknown");
    case.ours()
        .fails(&[OURS, "id: the value is still unknown"])
        .leaves(After::Sound { size: Some(1) });
    case.cores()
        .fails(&["The returned state contains unknown values"])
        .leaves(After::Sound { size: Some(1) });
}

#[test]
fn a_read_that_finds_nothing_drops_the_object() {
    // The one way in which an object may go: the provider is certain.
    refresh("read_finds_nothing")
        .ours()
        .succeeds()
        .leaves(After::Nothing);
}

#[test]
fn a_secret_that_was_read_never_leaves_the_provider() {
    let case = refresh("read_keeps_write_only");
    case.ours().succeeds().leaves(After::Sound { size: Some(1) });
    case.cores()
        .fails(&["returned a value for the write-only attribute"]);
}

#[test]
fn a_read_of_the_wrong_type_is_refused() {
    let case = refresh("read_has_wrong_type");
    case.ours()
        .fails(&[OURS, "name: the value does not fit"])
        .leaves(After::Sound { size: Some(1) });
}

#[test]
fn a_read_that_fails_keeps_what_was_known() {
    let seen = refresh("read_fails").ours();
    seen.fails(&["Error: No connection"])
        .leaves(After::Sound { size: Some(1) })
        .keeps_private(KEPT);
}

#[test]
fn a_read_that_panics_keeps_what_was_known() {
    let seen = refresh("read_panics").ours();
    seen.fails(&["The provider panicked", "read fell over"])
        .leaves(After::Sound { size: Some(1) })
        .keeps_private(KEPT);
}

#[test]
fn private_data_survives_a_read() {
    refresh("none")
        .ours()
        .succeeds()
        .leaves(After::Sound { size: Some(1) })
        .keeps_private(KEPT);
}
