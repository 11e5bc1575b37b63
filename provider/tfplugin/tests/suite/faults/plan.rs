//! Faults of PlanResourceChange.

use super::{After, Case, FULL, MINIMAL};
use crate::support::terraform::KEPT;

const OURS: &str = "Error: Provider broke a rule of Terraform";
const CORES: &str = "Error: Provider produced invalid plan";

#[test]
fn a_plan_that_changes_what_is_configured_is_refused() {
    let case = Case::create("plan_changes_configured");
    case.ours()
        .fails(&[OURS, "name: configured \"a\", but \"other\" is planned"])
        .leaves(After::Nothing);
    case.cores()
        .fails(&[CORES, "does not match config value"])
        .leaves(After::Nothing);
}

#[test]
fn a_plan_that_sets_what_only_the_user_sets_is_refused() {
    let case = Case::create("plan_sets_unconfigured").config(MINIMAL);
    case.ours().fails(&[
        OURS,
        "size: nothing is configured and only the configuration may set this",
    ]);
    case.cores()
        .fails(&[CORES, "for a non-computed attribute"])
        .leaves(After::Nothing);
}

#[test]
fn a_plan_that_makes_an_empty_list_of_none_is_refused() {
    let case = Case::create("plan_makes_null_empty").config(MINIMAL);
    case.ours().fails(&[OURS, "hosts: nothing is configured"]);
    case.cores().fails(&[CORES, "for a non-computed attribute"]);
}

#[test]
fn a_plan_that_overrides_a_default_is_refused() {
    // Terraform knows nothing of defaults: for it the attribute is computed and may be anything.
    let case = Case::create("plan_ignores_default");
    case.ours()
        .fails(&[OURS, "mode: nothing is configured and the default is \"auto\""]);
    case.cores().succeeds().leaves(After::Sound { size: Some(3) });
}

#[test]
fn replacement_by_an_attribute_that_does_not_exist_is_refused() {
    let case = Case::update("plan_replaces_nowhere");
    case.ours().fails(&[
        OURS,
        "replacement is required by an attribute that does not exist",
    ]);
    case.cores().fails(&[
        CORES,
        "has indicated \"requires replacement\"",
        "non-existent attribute path",
    ]);
}

#[test]
fn replacement_by_one_attribute_twice_is_refused() {
    Case::update("plan_replaces_twice")
        .ours()
        .fails(&[OURS, "replacement is required twice"]);
}

#[test]
fn replacement_by_what_does_not_change_is_refused() {
    // Terraform alone takes it for nothing and updates in place.
    let case = Case::update("plan_replaces_unchanged");
    case.ours().fails(&[
        OURS,
        "replacement is required by an attribute that does not change",
    ]);
    case.cores().succeeds().says(&["1 changed"]);
}

#[test]
fn a_plan_that_never_settles_shows_a_change_every_time() {
    // Not a broken rule, so nobody refuses it; it is here to show what it does.
    let case = Case {
        command: &["plan", "-no-color"],
        ..Case::update("plan_never_settles")
    };
    case.ours()
        .succeeds()
        .says(&["(known after apply)", "1 to change"]);
}

#[test]
fn a_plan_that_tells_a_secret_is_refused() {
    let case = Case::create("plan_keeps_write_only");
    case.ours()
        .fails(&[OURS, "secret_wo: a write-only attribute holds a value"]);
    case.cores()
        .fails(&["returned a value for the write-only attribute"])
        .leaves(After::Nothing);
}

#[test]
fn a_plan_of_nothing_for_something_is_refused() {
    let case = Case::create("plan_is_null");
    case.ours().fails(&[OURS]).leaves(After::Nothing);
    case.cores().fails(&["Error: "]).leaves(After::Nothing);
}

#[test]
fn a_destroy_that_plans_to_keep_the_object_is_refused() {
    let case = Case::destroy("plan_of_destroy_is_not_null");
    case.ours()
        .fails(&[OURS, "should be gone"])
        .leaves(After::Sound { size: Some(1) });
    case.cores()
        .fails(&["planned a non-null destroy value"])
        .leaves(After::Sound { size: Some(1) });
}

#[test]
fn a_plan_of_the_wrong_type_is_refused() {
    let case = Case::create("plan_has_wrong_type");
    case.ours()
        .fails(&[OURS, "does not fit the schema"])
        .leaves(After::Nothing);
    // What does not fit cannot even be put on the wire.
    case.cores()
        .fails(&[OURS, "does not fit the schema"])
        .leaves(After::Nothing);
}

#[test]
fn a_plan_without_one_of_the_attributes_is_refused() {
    let case = Case::create("plan_lacks_an_attribute");
    case.ours()
        .fails(&[OURS, "does not fit the schema"])
        .leaves(After::Nothing);
}

#[test]
fn a_plan_that_differs_each_time_is_refused_by_terraform() {
    // No check of one answer can see it.
    let case = Case::create("plan_is_random");
    case.ours()
        .fails(&["Provider produced inconsistent final plan"])
        .leaves(After::Nothing);
}

#[test]
fn an_error_at_plan_points_at_its_attribute() {
    let seen = Case::update("plan_fails").ours();
    let seen = seen.fails(&[
        "Error: Name is taken",
        "with faulty_thing.a,",
        "Another thing has it.",
    ]);
    seen.says(&["name = \"a\""])
        .leaves(After::Sound { size: Some(1) })
        .keeps_private(KEPT);
}

#[test]
fn a_panic_at_plan_is_an_error_and_changes_nothing() {
    let seen = Case::update("plan_panics").ours();
    seen.fails(&["Error: The provider panicked", "plan fell over", "at_plan.rs"])
        .leaves(After::Sound { size: Some(1) });
}

#[test]
fn without_a_fault_a_plan_after_apply_is_empty() {
    let terraform = crate::support::terraform::Terraform::with_thing(FULL);
    assert_eq!(terraform.run(super::APPLY, &[]).code, 0);
    let plan = terraform.run(&["plan", "-no-color", "-detailed-exitcode"], &[]);
    assert_eq!(plan.code, 0, "{}", plan.text);
}
