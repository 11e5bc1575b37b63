//! An async client of libvirt's RPC protocol in pure Rust.
//!
//! - [`Connection::open`] connects to the libvirt of a [`ConnectUri`]; a clone is another handle on it, and
//!   [`Connection::within`] gives one with another deadline.
//! - Each call is a method named after libvirt's own function: `connection.domain_get_xml_desc(&domain, flags)`.
//!   Calls are pipelined: make several at once and they share the round trips.
//! - [`Error`] tells apart what did not happen from what may have happened.
//! - [`Connection::subscribe`] gives events; [`Upload`], [`Download`] and [`Console`] are streams.
//!
//! Files, from the wire up: `xdr` (values), `connection/frame` (frames), `procedure` (numbers),
//! `connection/link` and `connection/pump` (who waits for what; the socket), `connection/open`, `stream`,
//! `event`, and `calls`, one file a noun. Facts come from libvirt's `virnetprotocol.x`, `remote_protocol.x`,
//! `qemu_protocol.x`, `virkeepaliveprotocol.x` and its public headers.

mod calls;
mod connection;
mod error;
mod event;
pub mod flags;
mod model;
mod procedure;
mod server_error;
mod stream;
#[cfg(test)]
mod testing;
mod transport;
mod uri;
pub mod xdr;

pub use calls::CapabilitiesOf;
pub use connection::{
    AuthType, CallCounts, ConnectOptions, Connection, FrameError, Gate, KeepAlive, LostReason,
};
pub use error::{Error, Result};
pub use event::{AgentReason, AgentState, DomainChange, Event, EventKind, NetworkChange, Subscription};
pub use model::*;
pub use server_error::{ErrorCode, ErrorDomain, ErrorLevel, ServerError};
pub use stream::console::{Console, Keyboard};
pub use stream::{Download, StreamError, Upload};
pub use transport::{ConnectError, Duplex, SshError, TlsError, Transport, transport};
pub use uri::{Access, ConnectUri, Reach, Scope, SshHost, TlsHost, UriError};
pub use uuid::Uuid;
