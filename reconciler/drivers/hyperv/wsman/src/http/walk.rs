//! The way to a service, part by part: what each came to and how long it took.

use std::time::Duration;

use tokio::time::Instant;

use super::dial::Stream;
use crate::trouble::Trouble;

/// A part of the way.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Part {
    /// The name of the host.
    Name(String),
    /// TCP to host and port.
    Tcp(String),
    /// The proxy's address.
    Proxy(String),
    /// The tunnel through the proxy to host and port.
    Tunnel(String),
    /// The SSH session with a host.
    Ssh(String),
    /// The channel in it to host and port.
    Channel(String),
    /// TLS.
    Tls(String),
    /// The login.
    Login(&'static str),
}

impl std::fmt::Display for Part {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Name(host) => write!(f, "address of {host}"),
            Self::Tcp(place) => write!(f, "connection to {place}"),
            Self::Proxy(proxy) => write!(f, "connection to the proxy {proxy}"),
            Self::Tunnel(place) => write!(f, "tunnel to {place}"),
            Self::Ssh(host) => write!(f, "SSH login on {host}"),
            Self::Channel(place) => write!(f, "channel to {place}"),
            Self::Tls(place) => write!(f, "TLS with {place}"),
            Self::Login(scheme) => write!(f, "login by {scheme}"),
        }
    }
}

/// How far the way was gone.
#[derive(Default)]
pub struct Walk {
    /// The parts that were gone, in their order; the last may have failed.
    pub parts: Vec<Gone>,
    /// What is there at its end.
    pub stream: Option<Box<dyn Stream>>,
}

/// A part that was gone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gone {
    /// Which.
    pub part: Part,
    /// What was found there, or what stands in the way.
    pub outcome: Result<String, Trouble>,
    /// How long it took.
    pub took: Duration,
}

impl Walk {
    /// Goes a part; `found` says what was found there.
    pub async fn step<T>(
        &mut self,
        part: Part,
        go: impl Future<Output = Result<T, Trouble>>,
        found: impl FnOnce(&T) -> String,
    ) -> Option<T> {
        let begun = Instant::now();
        let (outcome, there) = match go.await {
            Ok(there) => (Ok(found(&there)), Some(there)),
            Err(trouble) => (Err(trouble), None),
        };
        self.parts.push(Gone {
            part,
            outcome,
            took: begun.elapsed(),
        });
        there
    }
}

impl std::fmt::Debug for Walk {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Walk")
            .field("parts", &self.parts)
            .finish_non_exhaustive()
    }
}
