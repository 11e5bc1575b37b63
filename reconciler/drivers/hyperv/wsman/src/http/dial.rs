//! Streams of bytes to a host: by TCP, or by whatever else somebody brings, say a channel through SSH.

use std::time::Duration;

use async_trait::async_trait;
use labyard_resolve::Resolver;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::trouble::Trouble;

/// A stream in both directions.
pub trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// Makes connections to a host.
#[async_trait]
pub trait Dial: Send + Sync {
    /// Connects to a port of a host.
    ///
    /// # Errors
    /// If nobody takes it.
    async fn dial(&self, host: &str, port: u16) -> Result<Box<dyn Stream>, Trouble>;
}

/// TCP.
#[derive(Clone, Copy, Debug, Default)]
pub struct Direct;

/// How long one of several addresses may take.
const EACH: Duration = Duration::from_secs(5);

#[async_trait]
impl Dial for Direct {
    async fn dial(&self, host: &str, port: u16) -> Result<Box<dyn Stream>, Trouble> {
        let place = match host.contains(':') {
            true => format!("[{host}]:{port}"),
            false => format!("{host}:{port}"),
        };
        // Made anew each time: it belongs to the runtime in which it was made.
        let addresses = Resolver::default().lookup(host, port).await;
        let addresses = addresses.map_err(|reason| Trouble::Unresolved {
            host: host.to_owned(),
            reason,
        })?;
        let mut last = "it has no address".to_owned();
        for address in addresses {
            match timeout(EACH, TcpStream::connect(address)).await {
                Ok(Ok(stream)) => {
                    // Requests are small and wait for answers: none may wait to be filled up.
                    let _only_slower = stream.set_nodelay(true);
                    return Ok(Box::new(stream));
                }
                Ok(Err(error)) => last = error.to_string(),
                Err(_) => last = format!("{address} does not answer"),
            }
        }
        Err(Trouble::Unreachable { place, reason: last })
    }
}
