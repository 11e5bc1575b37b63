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
        mend(
            schema,
            ending.operation,
            ending.planned,
            failed,
            &mut state.value,
            diags,
        );
    }
    state
}

/// Makes a saved value fit to be stored. Of an operation that failed, only what would lose the object is told.
fn mend(
    schema: &Schema,
    operation: Operation,
    planned: &Value,
    failed: bool,
    value: &mut Value,
    diags: &mut Diagnostics,
) {
    if value.is_null() || conform(value, &schema.implied_type()).is_err() {
        let violations = check::applied(schema, planned, value);
        wire::report(diags, violations);
        if value.is_null() || conform(value, &schema.implied_type()).is_err() {
            *value = known_part(planned);
        }
        return;
    }
    if operation == Operation::Delete || failed {
        check::clear_write_only(schema, value);
        *value = known_part(value);
        return;
    }
    wire::report(diags, check::applied(schema, planned, value));
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
