//! Keeps what an operation has reached, so that a failure, a cancellation or a panic loses nothing.
//!
//! A create that makes a machine in five steps calls [`Saver::save`] after each; whatever happens then, the
//! last saved state is what Terraform stores.

use std::sync::Mutex;

use crate::traits::State;

/// Takes the state that an operation has reached.
#[derive(Debug, Default)]
pub struct Saver {
    last: Mutex<Option<State>>,
}

impl Saver {
    /// Replaces what Terraform will store if nothing further is saved.
    pub fn save(&self, state: State) {
        *self
            .last
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner) = Some(state);
    }

    /// What was saved last, if anything.
    pub fn last(&self) -> Option<State> {
        self.last
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
            .clone()
    }
}
