//! What can go wrong with a call, told apart by what the caller may conclude from it.
//!
//! The question that matters after a failure is whether the host was changed. [`Error::Server`] is an answer:
//! libvirt refused. [`Error::Closed`], [`Error::NotSent`] and [`Error::Encode`] mean that nothing was asked.
//! [`Error::ConnectionLost`], [`Error::Timeout`] and [`Error::Decode`] leave it open: read the state again.

use std::sync::Arc;
use std::time::Duration;

use crate::connection::LostReason;
use crate::server_error::{ErrorCode, ServerError};
use crate::stream::StreamError;
use crate::transport::ConnectError;
use crate::uri::UriError;
use crate::xdr::{DecodeError, EncodeError};

/// The result of a call.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why a call, a stream or the opening of a connection failed.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The connection URI is not one that can be used.
    #[error(transparent)]
    Uri(#[from] UriError),
    /// No connection could be made.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// libvirt answered with an error.
    #[error("{procedure}: {error}")]
    Server {
        /// The procedure that was called.
        procedure: &'static str,
        /// libvirt's own account of it.
        error: Box<ServerError>,
    },
    /// The connection ended after the call was handed over and before its answer came: it may have happened.
    #[error("{procedure}: the connection was lost before the answer came ({reason})")]
    ConnectionLost {
        /// The procedure that was called.
        procedure: &'static str,
        /// How the connection ended.
        reason: Arc<LostReason>,
    },
    /// The connection had already ended; nothing was sent.
    #[error("{procedure}: not called, the connection is gone ({reason})")]
    Closed {
        /// The procedure that was to be called.
        procedure: &'static str,
        /// How the connection ended.
        reason: Arc<LostReason>,
    },
    /// The call was sent and not answered in time: it may have happened, or may still happen.
    #[error("{procedure}: no answer within {after:?}")]
    Timeout {
        /// The procedure that was called.
        procedure: &'static str,
        /// The deadline that passed.
        after: Duration,
    },
    /// The deadline passed while the call waited for its turn; nothing was sent.
    #[error("{procedure}: not called, other calls kept the connection busy for {after:?}")]
    NotSent {
        /// The procedure that was to be called.
        procedure: &'static str,
        /// The deadline that passed.
        after: Duration,
    },
    /// The arguments do not fit the protocol; nothing was sent.
    #[error("{procedure}: {source}")]
    Encode {
        /// The procedure that was to be called.
        procedure: &'static str,
        /// What does not fit.
        source: EncodeError,
    },
    /// An answer came and could not be understood.
    #[error("{procedure}: {source}")]
    Decode {
        /// The procedure that was called.
        procedure: &'static str,
        /// What could not be understood.
        source: DecodeError,
    },
    /// A data stream broke a rule of ours.
    #[error("{procedure}: {source}")]
    Stream {
        /// The procedure that opened the stream.
        procedure: &'static str,
        /// What happened.
        source: StreamError,
    },
}

impl Error {
    /// libvirt's own error, where it gave one.
    pub fn server(&self) -> Option<&ServerError> {
        match self {
            Self::Server { error, .. } => Some(error),
            _ => None,
        }
    }

    /// The code of libvirt's own error, where it gave one.
    pub fn code(&self) -> Option<ErrorCode> {
        self.server().map(|error| error.code)
    }

    /// Whether the call may have taken effect although it failed here.
    pub fn outcome_unknown(&self) -> bool {
        matches!(
            self,
            Self::ConnectionLost { .. } | Self::Timeout { .. } | Self::Decode { .. }
        )
    }

    /// This libvirt or this driver does not offer the call or the change.
    pub fn is_unsupported(&self) -> bool {
        self.server().is_some_and(ServerError::is_unsupported)
    }

    /// Whether the connection is gone, so that a new one is needed.
    pub fn is_disconnect(&self) -> bool {
        matches!(self, Self::ConnectionLost { .. } | Self::Closed { .. })
    }
}

/// Questions about libvirt's own error that are asked of both error types.
macro_rules! questions {
    ($($(#[$doc:meta])* $name:ident => $($code:ident)|+;)*) => {
        impl Error {
            $($(#[$doc])* pub fn $name(&self) -> bool {
                self.server().is_some_and(ServerError::$name)
            })*
        }
        impl ServerError {
            $($(#[$doc])* pub fn $name(&self) -> bool {
                matches!(self.code, $(ErrorCode::$code)|+)
            })*
        }
    };
}

impl ServerError {
    /// This libvirt or this driver does not offer the call or the change.
    pub fn is_unsupported(&self) -> bool {
        use ErrorCode as C;
        let refused = matches!(
            self.code,
            C::NoSupport | C::OperationUnsupported | C::ArgumentUnsupported | C::ConfigUnsupported
        );
        refused || self.is_unknown_call()
    }

    /// This libvirt is older than the call: it does not know its number.
    pub fn is_unknown_call(&self) -> bool {
        self.code == ErrorCode::Rpc && self.message.starts_with("unknown procedure")
    }
}

questions! {
    /// There is no such domain.
    is_no_domain => NoDomain;
    /// There is no such network.
    is_no_network => NoNetwork;
    /// There is no such filter of network traffic.
    is_no_nwfilter => NoNwfilter;
    /// There is no such storage pool.
    is_no_storage_pool => NoStoragePool;
    /// There is no such volume.
    is_no_storage_vol => NoStorageVol;
    /// The domain or network carries no metadata element of that namespace.
    is_no_metadata => NoDomainMetadata | NoNetworkMetadata;
    /// The object holds a lock or a job of another call; trying again later may succeed.
    is_busy => OperationTimeout | ResourceBusy;
    /// The object is not in the state that the call needs: running, stopped, already there.
    is_invalid_state => OperationInvalid;
    /// The volume exists.
    is_vol_exists => StorageVolExist;
    /// The guest agent did not answer.
    is_agent_unavailable => AgentUnresponsive | AgentCommandTimeout | AgentUnsynced;
    /// The connection has not the right to do this.
    is_denied => OperationDenied | AccessDenied | AuthFailed | AuthCancelled | AuthUnavailable;
    /// The device is not there.
    is_device_missing => DeviceMissing;
}
