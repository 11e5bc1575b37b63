//! Streams of bytes to a host: by TCP, or by whatever else somebody brings, say a channel through SSH.

use std::time::Duration;

use async_trait::async_trait;
use labyard_resolve::Resolver;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::error::Trouble;

/// A stream in both directions.
pub trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// Makes streams to one service of one host: a connection to its SMB server, or a channel of the subsystem `sftp` on an
/// SSH connection that somebody is logged in on. It is asked anew after a stream broke.
#[async_trait]
pub trait Dial: Send + Sync {
    /// What is dialled, for messages: host and port.
    fn place(&self) -> String;

    /// Makes a stream.
    ///
    /// # Errors
    /// If nobody takes it.
    async fn dial(&self) -> Result<Box<dyn Stream>, Trouble>;
}

/// TCP to a port of a host.
#[derive(Clone, Debug)]
pub struct Tcp {
    /// Its name or address.
    pub host: String,
    /// The port; SMB's is 445.
    pub port: u16,
}

/// How long one of several addresses may take.
const EACH: Duration = Duration::from_secs(5);

#[async_trait]
impl Dial for Tcp {
    fn place(&self) -> String {
        match self.host.contains(':') {
            true => format!("[{}]:{}", self.host, self.port),
            false => format!("{}:{}", self.host, self.port),
        }
    }

    async fn dial(&self) -> Result<Box<dyn Stream>, Trouble> {
        // Made anew each time: it belongs to the runtime in which it was made.
        let addresses = Resolver::default().lookup(&self.host, self.port).await;
        let addresses = addresses.map_err(|reason| Trouble::Unresolved {
            host: self.host.clone(),
            reason,
        })?;
        let mut last = "it has no address".to_owned();
        for address in addresses {
            match timeout(EACH, TcpStream::connect(address)).await {
                Ok(Ok(stream)) => {
                    // A request that waits for an answer may not wait to be filled up.
                    let _only_slower = stream.set_nodelay(true);
                    return Ok(Box::new(stream));
                }
                Ok(Err(error)) => last = error.to_string(),
                Err(_) => last = format!("{address} does not answer"),
            }
        }
        Err(Trouble::Unreachable {
            place: self.place(),
            reason: last,
        })
    }
}
