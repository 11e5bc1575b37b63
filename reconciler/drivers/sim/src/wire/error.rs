//! A driver's error in JSON.

use labyard_driver::DriverError;
use labyard_driver::mark::Mark;
use serde::{Deserialize, Serialize};

/// [`DriverError`], the cause of a source's failure as its text.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum WireError {
    Missing { what: String },
    Exists { what: String },
    Refused { doing: String, message: String },
    NoSpace { doing: String },
    Busy { doing: String, message: String },
    Unreachable { message: String },
    ReplyLost { doing: String, message: String },
    Unsupported { what: String, message: String },
    Source { what: String, cause: String },
    TakenOver { what: String, mark: Box<Mark> },
}

impl From<DriverError> for WireError {
    fn from(error: DriverError) -> Self {
        match error {
            DriverError::Missing { what } => Self::Missing { what },
            DriverError::Exists { what } => Self::Exists { what },
            DriverError::Refused { doing, message } => Self::Refused { doing, message },
            DriverError::NoSpace { doing } => Self::NoSpace { doing },
            DriverError::Busy { doing, message } => Self::Busy { doing, message },
            DriverError::Unreachable { message } => Self::Unreachable { message },
            DriverError::ReplyLost { doing, message } => Self::ReplyLost { doing, message },
            DriverError::Unsupported { what, message } => Self::Unsupported { what, message },
            DriverError::Source { what, cause } => Self::Source {
                what,
                cause: cause.to_string(),
            },
            DriverError::TakenOver { what, mark } => Self::TakenOver { what, mark },
        }
    }
}

impl From<WireError> for DriverError {
    fn from(error: WireError) -> Self {
        match error {
            WireError::Missing { what } => Self::Missing { what },
            WireError::Exists { what } => Self::Exists { what },
            WireError::Refused { doing, message } => Self::Refused { doing, message },
            WireError::NoSpace { doing } => Self::NoSpace { doing },
            WireError::Busy { doing, message } => Self::Busy { doing, message },
            WireError::Unreachable { message } => Self::Unreachable { message },
            WireError::ReplyLost { doing, message } => Self::ReplyLost { doing, message },
            WireError::Unsupported { what, message } => Self::Unsupported { what, message },
            WireError::Source { what, cause } => Self::Source {
                what,
                cause: cause.into(),
            },
            WireError::TakenOver { what, mark } => Self::TakenOver { what, mark },
        }
    }
}
