//! What can go wrong between asking and having.

use crate::class::Misread;
use crate::fault::{Fault, FaultKind};
use crate::trouble::Trouble;
use crate::xml::{Unwritable, XmlError};

/// Why there is no answer, or none that can be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It cannot be asked for.
    #[error(transparent)]
    Unwritable(#[from] Unwritable),
    /// The request did not reach the service: nothing was done.
    #[error("{0}")]
    NotSent(#[source] Trouble),
    /// It may have reached the service, and no answer came: what was asked for may have been done.
    #[error("{0}; whether the host did what it was asked is not known")]
    Lost(#[source] Trouble),
    /// The service says no.
    #[error(transparent)]
    Fault(Box<Fault>),
    /// The service's answer is no SOAP.
    #[error("HTTP status {status} {about}")]
    Status {
        /// The status.
        status: u16,
        /// What came with it.
        about: String,
    },
    /// The answer is no XML.
    #[error("an answer that cannot be read: {0}")]
    Malformed(#[source] XmlError),
    /// The answer is not to what was asked.
    #[error("the host sent {0}")]
    Unexpected(String),
    /// An object in the answer is not what its class says.
    #[error(transparent)]
    Misread(#[from] Misread),
}

impl std::error::Error for Fault {}

impl Error {
    /// What the service's fault comes to, if it is one.
    pub fn fault(&self) -> Option<FaultKind> {
        match self {
            Self::Fault(fault) => Some(fault.kind),
            _ => None,
        }
    }

    /// Whether what was asked for may have been done all the same. Such a request is not repeated: its object is read.
    pub fn may_be_done(&self) -> bool {
        match self {
            Self::Lost(_) | Self::Malformed(_) | Self::Unexpected(_) | Self::Misread(_) => true,
            Self::Fault(fault) => fault.kind == FaultKind::TimedOut,
            Self::Status { status, .. } => *status >= 500,
            Self::Unwritable(_) | Self::NotSent(_) => false,
        }
    }
}
