//! Faults of ImportResourceState.

use super::{After, Case};

const OURS: &str = "Error: Provider broke a rule of Terraform";

#[test]
fn an_import_of_nothing_is_an_error() {
    let case = Case::import("import_finds_nothing");
    case.ours()
        .fails(&["Error: Nothing to import", "no faulty_thing with the id \"id-7\""])
        .leaves(After::Nothing);
    // Terraform alone would say that it went well.
    case.cores()
        .succeeds()
        .says(&["Import successful!"])
        .leaves(After::Nothing);
}

#[test]
fn an_import_of_null_is_an_error() {
    let case = Case::import("import_is_null");
    case.ours()
        .fails(&["Error: Nothing to import"])
        .leaves(After::Nothing);
    case.cores()
        .fails(&["Cannot import non-existent remote object"])
        .leaves(After::Nothing);
}

#[test]
fn an_import_with_something_unknown_is_refused() {
    let case = Case::import("import_leaves_unknown");
    case.ours()
        .fails(&[OURS, "mode: the value is still unknown"])
        .leaves(After::Nothing);
    case.cores().fails(&["Error: "]).leaves(After::Nothing);
}

#[test]
fn a_secret_that_was_imported_never_leaves_the_provider() {
    let case = Case::import("import_keeps_write_only");
    case.ours().succeeds().leaves(After::Sound { size: None });
    case.cores()
        .fails(&["returned a value for the write-only attribute"])
        .leaves(After::Nothing);
}

#[test]
fn an_import_of_the_wrong_type_is_refused() {
    let case = Case::import("import_has_wrong_type");
    case.ours()
        .fails(&[OURS, "name: the value does not fit"])
        .leaves(After::Nothing);
}

#[test]
fn an_import_that_fails_or_panics_is_an_error() {
    Case::import("import_fails")
        .ours()
        .fails(&["Error: No connection"])
        .leaves(After::Nothing);
    let seen = Case::import("import_panics").ours();
    seen.fails(&["The provider panicked", "import fell over"])
        .leaves(After::Nothing);
}

#[test]
fn an_import_without_a_fault_is_whole_and_needs_no_change() {
    let seen = Case::import("none")
        .ours()
        .succeeds()
        .leaves(After::Sound { size: None });
    let plan = seen
        .terraform
        .run(&["plan", "-no-color", "-detailed-exitcode"], &[]);
    assert_eq!(plan.code, 0, "{}", plan.text);
}
