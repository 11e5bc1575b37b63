//! How bytes reach the daemon: by a Unix socket of this machine, by SSH to one of another, or by TLS.

mod dial;
mod error;
mod ssh;
mod tls;
mod unix;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::Instant;

pub use error::ConnectError;
pub use ssh::SshError;
pub use tls::TlsError;

use crate::uri::{ConnectUri, Reach};
use ssh::SshTransport;
use tls::TlsTransport;
use unix::UnixTransport;

/// A byte stream in both directions.
pub trait Duplex: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Duplex for T {}

/// Makes byte streams to one daemon. One that is kept makes further streams cheaper: by SSH they share a session.
#[async_trait]
pub trait Transport: Send + Sync {
    /// Makes a new one, in time.
    async fn connect(&self, deadline: Instant) -> Result<Box<dyn Duplex>, ConnectError>;
}

/// The transport that a URI means. Nothing is connected or read yet.
pub fn transport(uri: &ConnectUri) -> Arc<dyn Transport> {
    match (&uri.reach, &uri.socket) {
        (Reach::Local, Some(path)) => Arc::new(UnixTransport::At(path.clone())),
        (Reach::Local, None) => Arc::new(UnixTransport::Usual(uri.scope, uri.access)),
        (Reach::Ssh(host), socket) => Arc::new(SshTransport::new(
            host.clone(),
            uri.scope,
            uri.access,
            socket.clone(),
        )),
        (Reach::Tls(host), _) => Arc::new(TlsTransport::new(host.clone())),
    }
}

/// A stage of connecting, with the deadline of all of them.
async fn stage<T>(
    deadline: Instant,
    doing: impl Into<String>,
    work: impl Future<Output = T>,
) -> Result<T, ConnectError> {
    let begun = Instant::now();
    let late = |_| ConnectError::TimedOut {
        doing: doing.into(),
        after: Duration::from_secs(begun.elapsed().as_secs().max(1)),
    };
    tokio::time::timeout_at(deadline, work).await.map_err(late)
}
