//! What can go wrong on a host, by what the caller must do about it.

use crate::mark::Mark;
use serde::{Deserialize, Serialize};

/// An error of a driver. The variants are what callers tell apart; the text is for people.
#[derive(Debug, thiserror::Error, Serialize, Deserialize)]
pub enum DriverError {
    /// The object does not exist. The only error that may drop something from a state.
    #[error("{what} does not exist")]
    Missing {
        /// The object.
        what: String,
    },
    /// An object of that name or id exists already.
    #[error("{what} exists already")]
    Exists {
        /// The object.
        what: String,
    },
    /// The host refused: asking again will not help.
    #[error("{doing}: {message}")]
    Refused {
        /// What was tried, on what.
        doing: String,
        /// The host's words, and the way out where one is known.
        message: String,
    },
    /// The pool has no room.
    #[error("{doing}: no space left in the storage pool")]
    NoSpace {
        /// What was tried.
        doing: String,
    },
    /// The host or machine is busy: asking again later may help.
    #[error("{doing}: busy: {message}")]
    Busy {
        /// What was tried.
        doing: String,
        /// By what.
        message: String,
    },
    /// The host could not be reached, nothing was done.
    #[error("cannot reach the host: {message}")]
    Unreachable {
        /// Why, and the way out where one is known.
        message: String,
    },
    /// The connection broke or the deadline passed in the middle of a call: it may have happened. Read before
    /// anything else.
    #[error("{doing}: no answer ({message}); it may have happened")]
    ReplyLost {
        /// What was tried.
        doing: String,
        /// What happened to the connection.
        message: String,
    },
    /// The host lacks the ability.
    #[error("{what} is not supported by this host: {message}")]
    Unsupported {
        /// The ability.
        what: String,
        /// Why, and the way out where one is known.
        message: String,
    },
    /// A stream that was being uploaded failed at its source.
    #[error("reading {what} failed")]
    Source {
        /// The source.
        what: String,
        /// Why.
        #[source]
        #[serde(with = "as_text")]
        cause: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The object carries another mark than the caller expects.
    #[error("{what} belongs to another builder now")]
    TakenOver {
        /// The object.
        what: String,
        /// Its mark.
        mark: Box<Mark>,
    },
}

impl DriverError {
    /// Whether the same call may succeed later without anybody changing anything.
    pub fn is_transient(&self) -> bool {
        matches!(
            self,
            Self::Busy { .. } | Self::Unreachable { .. } | Self::ReplyLost { .. }
        )
    }
}

/// A cause as the words that it says of itself; on the other side these are the cause.
mod as_text {
    use serde::{Deserialize, Deserializer, Serializer};

    type Cause = Box<dyn std::error::Error + Send + Sync>;

    pub(super) fn serialize<S: Serializer>(cause: &Cause, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(cause)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Cause, D::Error> {
        Ok(String::deserialize(deserializer)?.into())
    }
}
