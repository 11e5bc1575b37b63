//! Streams of bytes to a host: by TCP, or by whatever else somebody brings, say a channel through SSH.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use async_trait::async_trait;
use labyard_resolve::{Resolver, connect, place};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout_at};

use super::walk::{Part, Walk};
use crate::trouble::Trouble;

/// A stream in both directions.
pub trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// Makes connections to a host.
#[async_trait]
pub trait Dial: Send + Sync {
    /// Connects to a port of a host, in time.
    ///
    /// # Errors
    /// If nobody takes it.
    async fn dial(&self, host: &str, port: u16, deadline: Instant) -> Result<Box<dyn Stream>, Trouble>;

    /// The same, part by part, to see where it ends.
    async fn walk(&self, host: &str, port: u16, deadline: Instant) -> Walk {
        let mut walk = Walk::default();
        let place = Part::Tcp(place(host, port));
        walk.stream = walk
            .step(place, self.dial(host, port, deadline), |_| String::new())
            .await;
        walk
    }
}

/// TCP.
#[derive(Clone, Copy, Debug, Default)]
pub struct Direct;

#[async_trait]
impl Dial for Direct {
    async fn dial(&self, host: &str, port: u16, deadline: Instant) -> Result<Box<dyn Stream>, Trouble> {
        let place = place(host, port);
        let addresses = lookup(host, port, deadline).await;
        let addresses = addresses.map_err(|reason| unresolved(host, reason))?;
        let stream = first(addresses, deadline).await;
        Ok(Box::new(stream.map_err(|untaken| untaken.at(place, port))?))
    }

    async fn walk(&self, host: &str, port: u16, deadline: Instant) -> Walk {
        let (mut walk, place) = (Walk::default(), place(host, port));
        let name = Part::Name(host.to_owned());
        let looked = async {
            let found = lookup(host, port, deadline).await;
            found.map_err(|reason| unresolved(host, reason))
        };
        let told = |addresses: &Vec<SocketAddr>| {
            let each: Vec<String> = addresses.iter().map(|one| one.ip().to_string()).collect();
            each.join(", ")
        };
        let Some(addresses) = walk.step(name, looked, told).await else {
            return walk;
        };
        let taken = async {
            let stream = first(addresses, deadline).await;
            stream.map_err(|untaken| untaken.at(place.clone(), port))
        };
        let peer = |stream: &TcpStream| stream.peer_addr().map_or(String::new(), |peer| peer.to_string());
        let stream = walk.step(Part::Tcp(place.clone()), taken, peer).await;
        walk.stream = stream.map(|stream| Box::new(stream) as Box<dyn Stream>);
        walk
    }
}

/// The addresses of a name, or why there are none.
pub(super) async fn lookup(host: &str, port: u16, deadline: Instant) -> Result<Vec<SocketAddr>, String> {
    // Made anew each time: it belongs to the runtime in which it was made.
    let resolver = Resolver::default();
    match timeout_at(deadline, resolver.lookup(host, port)).await {
        Ok(found) => found,
        Err(_) => Err("the servers that know of names do not answer".to_owned()),
    }
}

fn unresolved(host: &str, reason: String) -> Trouble {
    Trouble::Unresolved {
        host: host.to_owned(),
        reason,
    }
}

/// Why no address took a connection.
pub(super) enum Untaken {
    /// Each said no, the last one so.
    Refused(io::Error),
    /// None said anything.
    Silent(Duration),
}

impl Untaken {
    fn at(self, place: String, port: u16) -> Trouble {
        match self {
            Self::Refused(error) => Trouble::Unreachable {
                place,
                reason: error.to_string(),
            },
            Self::Silent(after) => Trouble::Dropped { place, port, after },
        }
    }
}

/// TCP to the first address that answers.
pub(super) async fn first(addresses: Vec<SocketAddr>, deadline: Instant) -> Result<TcpStream, Untaken> {
    let begun = Instant::now();
    match timeout_at(deadline, connect(addresses)).await {
        Ok(Ok(stream)) => Ok(stream),
        // The system gave up before we did.
        Ok(Err(error)) if error.kind() == io::ErrorKind::TimedOut => Err(Untaken::Silent(begun.elapsed())),
        Ok(Err(error)) => Err(Untaken::Refused(error)),
        Err(_) => Err(Untaken::Silent(begun.elapsed())),
    }
}
