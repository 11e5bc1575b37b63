//! The way to a daemon, and what is agreed with it before anything else: that both speak the same API, which store it is
//! on, which hosts it has.
//!
//! ```no_run
//! # async fn example() -> Result<(), labyard_remote::NotOpened> {
//! use labyard_remote::{Daemon, Reach};
//! let reach = Reach { endpoint: "https://labyard.example:7443".into(), token: None, authorities: None };
//! let daemon = Daemon::open(&reach).await?;
//! println!("{} on {}", daemon.server.release, daemon.server.store);
//! # Ok(()) }
//! ```

use labyard_api::client::http::Http;
use labyard_api::client::{Client, ClientError, Patience};
use labyard_api::host::Host;
use labyard_api::server::{Apart, Server, agreed};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// How long and how often a daemon is asked.
const PATIENCE: Patience = Patience {
    attempts: 4,
    pause: Duration::from_millis(250),
    answer: Duration::from_secs(60),
};

/// How a daemon is reached.
#[derive(Clone)]
pub struct Reach {
    /// Where.
    pub endpoint: String,
    /// By which token.
    pub token: Option<String>,
    /// Of which authorities its certificate is believed besides the system's, PEM.
    pub authorities: Option<Vec<u8>>,
}

impl fmt::Debug for Reach {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Reach({})", self.endpoint)
    }
}

/// A daemon that was reached.
#[derive(Clone, Debug)]
pub struct Daemon {
    /// Asks it.
    pub client: Client,
    /// Where it is.
    pub endpoint: String,
    /// What it is.
    pub server: Server,
    /// Its hosts.
    pub hosts: Vec<Host>,
}

/// Why a daemon is not used.
#[derive(Debug, thiserror::Error)]
pub enum NotOpened {
    /// The authorities are none.
    #[error("its certificate authorities cannot be read: {0}")]
    Authorities(String),
    /// It did not answer, or refused.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// It is of another time.
    #[error(
        "the daemon {endpoint} is labyard {release}: {source}. Install a provider and a daemon that are at most one release apart"
    )]
    Apart {
        /// Where it is.
        endpoint: String,
        /// Its release.
        release: String,
        /// How far it is.
        source: Apart,
    },
}

impl Daemon {
    /// Asks a daemon what it is.
    ///
    /// # Errors
    /// If it is not reached, refuses, or is of another time.
    pub async fn open(reach: &Reach) -> Result<Self, NotOpened> {
        let http = Http::new(&reach.endpoint)?;
        let http = match &reach.authorities {
            Some(pem) => http.trusting(pem).map_err(NotOpened::Authorities)?,
            None => http,
        };
        let client = Client::over(Arc::new(http), reach.token.clone())
            .patient(PATIENCE)
            .of_one_run();
        let server = client.server().await?;
        agreed(server.api).map_err(|source| NotOpened::Apart {
            endpoint: reach.endpoint.clone(),
            release: server.release.clone(),
            source,
        })?;
        Ok(Self {
            hosts: client.hosts().await?.items,
            endpoint: reach.endpoint.clone(),
            client,
            server,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use labyard_api::server::NUMBER;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;

    /// A server that says that it speaks that API, and has no hosts.
    async fn speaking(api: u32) -> Reach {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async move {
            for body in [
                format!(r#"{{"release": "9.9.9", "api": {api}, "store": "s"}}"#),
                r#"{"items": []}"#.to_owned(),
            ] {
                let (mut stream, _) = listener.accept().await.unwrap();
                let mut request = [0; 1024];
                let _ = stream.read(&mut request).await.unwrap();
                let answer = format!(
                    "HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
                    body.len()
                );
                stream.write_all(answer.as_bytes()).await.unwrap();
            }
        });
        Reach {
            endpoint,
            token: None,
            authorities: None,
        }
    }

    #[tokio::test]
    async fn a_daemon_of_the_next_release_is_used_and_one_after_that_is_not() {
        let next = Daemon::open(&speaking(NUMBER + 1).await).await.unwrap();
        assert_eq!(next.server.store, "s");
        let error = Daemon::open(&speaking(NUMBER + 2).await).await.unwrap_err();
        assert!(matches!(error, NotOpened::Apart { .. }));
        assert!(error.to_string().contains("labyard 9.9.9"), "{error}");
    }
}
