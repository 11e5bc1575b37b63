//! Opening: connect, authenticate, start keep-alive, open the driver.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::Instant;

use super::gate::Gated;
use super::link::Link;
use super::{Connection, Task, Width, pump};
use crate::calls::Feature;
use crate::error::{Error, Result};
use crate::model::wire_enum;
use crate::procedure::{AUTH_LIST, AUTH_POLKIT, CONNECT_OPEN, CONNECT_REGISTER_CLOSE_CALLBACK};
use crate::transport::{ConnectError, Duplex, Transport, transport};
use crate::uri::{Access, ConnectUri};

/// How to open a connection, and how it behaves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConnectOptions {
    /// How long opening may take.
    pub connect_timeout: Duration,
    /// The deadline of each call; see [`Connection::within`]. The longest waits of the daemon's own are 30 s
    /// for the lock of a busy domain.
    pub deadline: Duration,
    /// When to look for signs of life.
    pub keep_alive: KeepAlive,
}

/// When to look for signs of life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeepAlive {
    /// After so much silence a ping is sent.
    pub interval: Duration,
    /// After so many unanswered pings the connection is given up.
    pub count: u32,
}

impl Default for ConnectOptions {
    fn default() -> Self {
        Self {
            connect_timeout: Duration::from_secs(10),
            deadline: Duration::from_secs(60),
            keep_alive: KeepAlive {
                interval: Duration::from_secs(5),
                count: 5,
            },
        }
    }
}

wire_enum! {
    /// A way to authenticate.
    pub enum AuthType {
        /// None is needed.
        None = 0,
        /// SASL.
        Sasl = 1,
        /// polkit, by the identity of the socket's other end.
        Polkit = 2,
    }
}

const GRACE: Duration = Duration::from_millis(200);
/// How long the daemon has for its greeting, however long it took to reach it.
const LEAST: Duration = Duration::from_secs(1);

/// The word that opens a connection for reading only.
const READ_ONLY: u32 = 1;

impl Connection {
    /// Connects to the libvirt of a URI.
    pub async fn open(uri: &ConnectUri, options: &ConnectOptions) -> Result<Self> {
        Self::open_by(transport(uri).as_ref(), uri, options).await
    }

    /// Connects by a transport of the caller's.
    pub async fn open_by(
        transport: &dyn Transport,
        uri: &ConnectUri,
        options: &ConnectOptions,
    ) -> Result<Self> {
        let after = options.connect_timeout;
        let silent = |_| ConnectError::Silent { after };
        let deadline = Instant::now() + after;
        // A moment later, so that the transport can say which of its stages took too long.
        let connecting = tokio::time::timeout_at(deadline + GRACE, transport.connect(deadline));
        let stream = connecting.await.map_err(silent)??;
        tokio::time::timeout_at(
            deadline.max(Instant::now() + LEAST),
            Self::greet(stream, uri, options),
        )
        .await
        .map_err(silent)?
    }

    async fn greet(stream: Box<dyn Duplex>, uri: &ConnectUri, options: &ConnectOptions) -> Result<Self> {
        let connection = Self::over(stream, options);
        connection.authenticate().await?;
        let flags = match uri.access {
            Access::ReadWrite => 0,
            Access::ReadOnly => READ_ONLY,
        };
        let name = (Some(uri.daemon_name()), flags);
        let (asked, opened): (_, Result<()>) = tokio::join!(
            // Asking whether the daemon answers pings is also what makes it send its own.
            connection.supports_feature(Feature::KeepAlive),
            connection.call(&CONNECT_OPEN, &name),
        );
        asked?;
        opened?;
        // Where a proxy stands between, the daemon behind it can end alone; then the proxy tells. Daemons that are
        // their own proxy may not offer it; so nobody waits for the answer.
        connection.post(&CONNECT_REGISTER_CLOSE_CALLBACK, &())?;
        Ok(connection)
    }

    /// Starts the protocol on a stream, without any call yet.
    pub(crate) fn over(stream: Box<dyn Duplex>, options: &ConnectOptions) -> Self {
        let (sender, queue) = mpsc::unbounded_channel();
        let link = Arc::new(Link::new(sender));
        let handle = tokio::spawn(pump::run(stream, Arc::clone(&link), queue, options.keep_alive));
        Self {
            task: Arc::new(Task { link, handle }),
            deadline: options.deadline,
            width: Width::Narrow,
            gate: Gated::default(),
        }
    }

    async fn authenticate(&self) -> Result<()> {
        let offered: Vec<AuthType> = self.call(&AUTH_LIST, &()).await?;
        match offered.first() {
            None | Some(AuthType::None) => Ok(()),
            Some(AuthType::Polkit) => {
                let _complete: i32 = self.call(&AUTH_POLKIT, &()).await?;
                Ok(())
            }
            Some(_) => Err(Error::Connect(ConnectError::Auth { offered })),
        }
    }
}
