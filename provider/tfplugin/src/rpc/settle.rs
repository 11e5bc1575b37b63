//! What Terraform is to store after an operation, however it ended.
//!
//! | operation | ended well | failed after a save | failed without a save |
//! |---|---|---|---|
//! | create | what was saved | what was saved (Terraform marks it tainted) | nothing: nothing was made |
//! | update | what was saved | what was saved | null, for which Terraform keeps prior state and private |
//! | delete | null | what was saved | the prior state |

use super::SelfCheck;
use super::wire::{self, fault};
use crate::check;
use crate::diag::Diagnostics;
use crate::schema::Schema;
use crate::traits::State;
use crate::value::{Value, conform};

const NOTHING_SAVED: &str = "The operation is said to have gone well, but it saved no result.\n\nThis is a fault \
    of the provider, not of the configuration. Please report it to the provider's developers.";

/// What an apply does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Operation {
    Create,
    Update,
    Delete,
}

impl Operation {
    /// Told by what is null.
    pub(super) fn of(prior: &Value, planned: &Value) -> Option<Self> {
        match (prior.is_null(), planned.is_null()) {
            (true, false) => Some(Self::Create),
            (false, false) => Some(Self::Update),
            (false, true) => Some(Self::Delete),
            (true, true) => None,
        }
    }
}

/// An operation that ended.
pub(super) struct Ending<'a> {
    pub(super) operation: Operation,
    pub(super) saved: Option<State>,
    pub(super) prior: &'a Value,
    pub(super) planned: &'a Value,
    pub(super) planned_private: &'a [u8],
}

/// Adds the error that an operation owes which was told to stop and came back short without a word. What it lacks
/// is then no fault of its own.
pub(super) fn own_up_to_interruption(schema: &Schema, ending: &Ending<'_>, diags: &mut Diagnostics) {
    let whole = match (&ending.saved, ending.operation) {
        (_, Operation::Delete) => true,
        (None, _) => false,
        (Some(saved), _) => check::applied(schema, ending.planned, &mut saved.value.clone()).is_empty(),
    };
    if !whole && !diags.has_errors() {
        diags.0.extend(
            fault(
                "Interrupted",
                "Terraform asked to stop. What was reached by then is kept.",
            )
            .0,
        );
    }
}

/// Decides what is stored, and adds what the operation did against the rules to `diags`.
pub(super) fn settle(
    schema: &Schema,
    self_check: SelfCheck,
    ending: Ending<'_>,
    diags: &mut Diagnostics,
) -> State {
    let failed = diags.has_errors();
    let nothing = State {
        value: Value::Null,
        private: Vec::new(),
    };
    let mut state = match (ending.operation, failed, ending.saved) {
        (Operation::Delete, false, saved) if self_check == SelfCheck::Off => return saved.unwrap_or(nothing),
        (Operation::Delete, false, _) => return nothing,
        (Operation::Delete, true, None) => {
            return State {
                value: ending.prior.clone(),
                private: ending.planned_private.to_vec(),
            };
        }
        (_, _, Some(saved)) => saved,
        (_, true, None) => return nothing,
        (operation, false, None) if self_check == SelfCheck::On => {
            diags
                .0
                .extend(fault("Provider broke a rule of Terraform", NOTHING_SAVED).0);
            // What was planned is the best guess of what a create made; of an update the prior state stands.
            return match operation {
                Operation::Create => State {
                    value: known_part(ending.planned),
                    private: ending.planned_private.to_vec(),
                },
                _ => nothing,
            };
        }
        (_, false, None) => return nothing,
    };
    if self_check == SelfCheck::On {
        if failed {
            mend_part(schema, ending.planned, &mut state.value, diags);
        } else {
            wire::report(diags, check::applied(schema, ending.planned, &mut state.value));
        }
        if !is_whole(schema, &state.value) {
            state.value = known_part(ending.planned);
        }
    }
    state
}

/// Makes what an operation had saved before it failed fit to be stored. That it is not all there is no news; only
/// what would lose the object is told.
fn mend_part(schema: &Schema, planned: &Value, value: &mut Value, diags: &mut Diagnostics) {
    if is_whole(schema, value) {
        check::clear_write_only(schema, value);
        *value = known_part(value);
    } else {
        wire::report(diags, check::applied(schema, planned, value));
    }
}

/// Whether it is an object of the schema's type.
fn is_whole(schema: &Schema, value: &Value) -> bool {
    value.as_keyed().is_some() && conform(value, &schema.implied_type()).is_ok()
}

/// The same value with null wherever something is unknown.
fn known_part(value: &Value) -> Value {
    match value {
        Value::Unknown => Value::Null,
        Value::Sequence(items) => Value::Sequence(items.iter().map(known_part).collect()),
        Value::Keyed(entries) => Value::Keyed(
            entries
                .iter()
                .map(|(key, value)| (key.clone(), known_part(value)))
                .collect(),
        ),
        Value::Dynamic(ty, value) => Value::Dynamic(ty.clone(), Box::new(known_part(value))),
        known => known.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::Attribute;
    use crate::value::Type;

    fn schema() -> Schema {
        Schema::new([
            Attribute::required("name", Type::String),
            Attribute::optional("secret", Type::String).write_only(),
            Attribute::computed("id", Type::String),
        ])
    }

    fn thing(name: &str, secret: Value, id: Value) -> Value {
        Value::object([("name", Value::from(name)), ("secret", secret), ("id", id)])
    }

    fn planned() -> Value {
        thing("a", Value::Null, Value::Unknown)
    }

    /// The state that comes of it, and how many errors are told.
    fn settled(operation: Operation, failed: bool, saved: Option<Value>) -> (State, usize) {
        let mut diags = Diagnostics::default();
        if failed {
            diags.error(None, "It failed", "On purpose.");
        }
        let (prior, planned) = (thing("a", Value::Null, Value::from("old")), planned());
        let ending = Ending {
            operation,
            saved: saved.map(|value| State {
                value,
                private: b"saved".to_vec(),
            }),
            prior: &prior,
            planned: &planned,
            planned_private: b"planned",
        };
        let state = settle(&schema(), SelfCheck::On, ending, &mut diags);
        (state, diags.0.len())
    }

    fn state(value: Value, private: &[u8]) -> State {
        State {
            value,
            private: private.to_vec(),
        }
    }

    #[test]
    fn what_was_saved_is_stored_whether_it_failed_or_not() {
        let whole = thing("a", Value::Null, Value::from("1"));
        for operation in [Operation::Create, Operation::Update] {
            for failed in [false, true] {
                let (stored, errors) = settled(operation, failed, Some(whole.clone()));
                assert_eq!(stored, state(whole.clone(), b"saved"));
                assert_eq!(errors, usize::from(failed));
            }
        }
    }

    #[test]
    fn a_failure_before_the_first_save_stores_nothing_new() {
        for operation in [Operation::Create, Operation::Update] {
            assert_eq!(settled(operation, true, None), (state(Value::Null, b""), 1));
        }
        let prior = thing("a", Value::Null, Value::from("old"));
        assert_eq!(
            settled(Operation::Delete, true, None),
            (state(prior, b"planned"), 1)
        );
    }

    #[test]
    fn success_without_a_save_is_an_error_and_a_created_object_is_kept_as_planned() {
        let kept = thing("a", Value::Null, Value::Null);
        assert_eq!(
            settled(Operation::Create, false, None),
            (state(kept, b"planned"), 1)
        );
        assert_eq!(
            settled(Operation::Update, false, None),
            (state(Value::Null, b""), 1)
        );
    }

    #[test]
    fn what_a_failed_operation_left_open_becomes_null_without_further_ado() {
        let half = thing("a", Value::from("hunter2"), Value::Unknown);
        let kept = thing("a", Value::Null, Value::Null);
        assert_eq!(
            settled(Operation::Create, true, Some(half)),
            (state(kept, b"saved"), 1)
        );
    }

    #[test]
    fn a_value_of_the_wrong_shape_never_costs_the_object() {
        for wrong in [
            Value::Null,
            Value::Unknown,
            Value::Bool(true),
            Value::object([("name", Value::Null)]),
        ] {
            for failed in [false, true] {
                let (stored, errors) = settled(Operation::Create, failed, Some(wrong.clone()));
                assert!(
                    conform(&stored.value, &schema().implied_type()).is_ok(),
                    "{wrong:?}: {stored:?}"
                );
                assert!(
                    !stored.value.is_null() && stored.value.is_wholly_known(),
                    "{wrong:?}: {stored:?}"
                );
                assert!(errors > usize::from(failed), "{wrong:?}");
            }
        }
    }

    #[test]
    fn a_delete_that_went_well_stores_nothing_whatever_it_saved() {
        let half = thing("a", Value::Null, Value::from("1"));
        assert_eq!(
            settled(Operation::Delete, false, Some(half)),
            (state(Value::Null, b""), 0)
        );
    }
}
