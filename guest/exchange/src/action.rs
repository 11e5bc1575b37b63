//! What a side wants done.

use std::fmt;

use crate::config::Configuration;
use crate::identity::Session;
use crate::illegal::Illegal;

/// A pair to be written. Both are ASCII and within the limits of KVP.
#[derive(Clone, PartialEq, Eq)]
pub struct Item {
    /// Its name.
    pub key: String,
    /// Its value. Nothing in it is readable that is secret.
    pub text: String,
}

impl fmt::Debug for Item {
    /// Names alone: a trace needs no ciphertext.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({} characters)", self.key, self.text.len())
    }
}

/// What a side wants done, in this order, each before the next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Write these pairs, in any order; one that is there already gets the new value.
    Put(Vec<Item>),
    /// Take these pairs away; it is no error if one is gone.
    Remove(Vec<String>),
    /// Make the guest so, tell of it ([`crate::Guest::progress`], [`crate::Guest::finish`]). For the guest alone.
    Apply(Box<Configuration>),
    /// Remember over restarts that this exchange is over. For the guest alone.
    Remember(Session),
    /// Say that something was refused. It comes again with every step for as long as it is there.
    Refused(Illegal),
}
