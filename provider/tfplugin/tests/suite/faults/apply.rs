//! Faults of ApplyResourceChange, for create and update. The object exists by then: whatever the fault, it must
//! not be lost.

use super::{After, Case, Seen};
use crate::support::terraform::{KEPT, MADE};

const OURS: &str = "Error: Provider broke a rule of Terraform";
const INCONSISTENT: &str = "Error: Provider produced inconsistent result after apply";

fn is_lost(seen: Seen) {
    seen.leaves(After::Nothing);
}

#[test]
fn an_object_that_was_made_but_not_saved_is_kept_as_planned_and_tainted() {
    let case = Case::create("apply_saves_nothing");
    case.ours()
        .fails(&[OURS, "it saved no result"])
        .leaves(After::Tainted { size: Some(3) });
    is_lost(
        case.cores()
            .fails(&[INCONSISTENT, "Root object was present, but now absent"]),
    );
}

#[test]
fn an_object_saved_as_null_is_kept_as_planned_and_tainted() {
    let case = Case::create("apply_saves_null");
    case.ours()
        .fails(&[OURS])
        .leaves(After::Tainted { size: Some(3) });
    is_lost(case.cores().fails(&[INCONSISTENT]));
}

#[test]
fn an_object_saved_with_a_wrong_type_is_kept_as_planned_and_tainted() {
    let case = Case::create("apply_saves_wrong_type");
    case.ours()
        .fails(&[OURS, "name: the value does not fit"])
        .leaves(After::Tainted { size: Some(3) });
    is_lost(case.cores().fails(&["does not fit the schema"]));
}

#[test]
fn what_is_unknown_after_apply_becomes_null() {
    let case = Case::create("apply_leaves_unknown");
    case.ours()
        .fails(&[OURS, "id: the value is still unknown"])
        .leaves(After::Tainted { size: Some(3) });
    case.cores()
        .fails(&["Provider returned invalid result object after apply"])
        .leaves(After::Tainted { size: Some(3) });
}

#[test]
fn a_result_that_differs_from_the_plan_is_told_and_kept() {
    let case = Case::create("apply_changes_planned");
    case.ours()
        .fails(&[OURS, "name: planned \"a\", but \"changed\" came of it"])
        .leaves(After::Tainted { size: Some(3) });
    case.cores()
        .fails(&[INCONSISTENT, "changed"])
        .leaves(After::Tainted { size: Some(3) });
}

#[test]
fn a_result_without_the_planned_empty_list_is_told_and_kept() {
    let case = Case::create("apply_makes_empty_null");
    case.ours()
        .fails(&[OURS, "hosts"])
        .leaves(After::Tainted { size: Some(3) });
    case.cores()
        .fails(&[INCONSISTENT, ".hosts"])
        .leaves(After::Tainted { size: Some(3) });
}

#[test]
fn a_result_with_another_set_element_is_told_and_kept() {
    let case = Case::create("apply_changes_set_element");
    case.ours()
        .fails(&[OURS, "tags"])
        .leaves(After::Tainted { size: Some(3) });
    case.cores()
        .fails(&[INCONSISTENT, "does not correlate with any element in actual"]);
}

#[test]
fn a_secret_in_a_result_never_leaves_the_provider() {
    let case = Case::create("apply_keeps_write_only");
    case.ours().succeeds().leaves(After::Sound { size: Some(3) });
    is_lost(
        case.cores()
            .fails(&["returned a value for the write-only attribute"]),
    );
}

#[test]
fn a_create_that_fails_at_once_leaves_nothing() {
    Case::create("apply_fails_at_once")
        .ours()
        .fails(&["Error: No room", "The host is full."])
        .leaves(After::Nothing);
}

#[test]
fn a_create_that_fails_halfway_leaves_what_it_saved_tainted() {
    let seen = Case::create("apply_fails_halfway").ours();
    seen.fails(&["Error: No room"])
        .leaves(After::Tainted { size: None })
        .keeps_private(MADE);
}

#[test]
fn a_create_that_panics_at_once_leaves_nothing() {
    let seen = Case::create("apply_panics_at_once").ours();
    seen.fails(&["Error: The provider panicked", "apply fell over"])
        .leaves(After::Nothing);
}

#[test]
fn a_create_that_panics_halfway_leaves_what_it_saved_tainted() {
    let seen = Case::create("apply_panics_halfway").ours();
    seen.fails(&["Error: The provider panicked", "apply fell over"])
        .leaves(After::Tainted { size: None })
        .keeps_private(MADE);
}

#[test]
fn a_panic_shows_as_the_plugins_stack_trace() {
    let seen = Case::create("apply_panics_halfway").ours();
    seen.fails(&[
        "Stack trace from the terraform-provider-faulty plugin",
        "panic: apply fell over",
    ]);
}

#[test]
fn an_update_that_fails_at_once_leaves_the_object_as_it_was() {
    let seen = Case::update("apply_fails_at_once").ours();
    seen.fails(&["Error: No room"])
        .leaves(After::Sound { size: Some(1) })
        .keeps_private(KEPT);
}

#[test]
fn an_update_that_fails_halfway_leaves_what_it_saved() {
    let seen = Case::update("apply_fails_halfway").ours();
    seen.fails(&["Error: No room"])
        .leaves(After::Sound { size: None })
        .keeps_private(MADE);
}

#[test]
fn an_update_that_panics_at_once_leaves_the_object_as_it_was() {
    let seen = Case::update("apply_panics_at_once").ours();
    seen.fails(&["The provider panicked"])
        .leaves(After::Sound { size: Some(1) })
        .keeps_private(KEPT);
}

#[test]
fn an_update_that_panics_halfway_leaves_what_it_saved() {
    let seen = Case::update("apply_panics_halfway").ours();
    seen.fails(&["The provider panicked"])
        .leaves(After::Sound { size: None })
        .keeps_private(MADE);
}

#[test]
fn an_update_that_saves_nothing_is_told_and_keeps_the_object() {
    let case = Case::update("apply_saves_nothing");
    case.ours()
        .fails(&[OURS, "it saved no result"])
        .leaves(After::Sound { size: Some(1) })
        .keeps_private(KEPT);
    case.cores()
        .fails(&[INCONSISTENT])
        .leaves(After::Sound { size: Some(1) });
}
