//! Requests over HTTP/1.1: a bounded set of connections, each with one request in flight, since a login belongs to the
//! connection that it was made on.
//!
//! ```no_run
//! # async fn f() -> Result<(), Box<dyn std::error::Error>> {
//! use std::sync::Arc;
//! use wsman::http::{Account, Http, Login, Settings};
//!
//! let settings = Settings::new("https://hv7.example.org:5986".parse()?, Login::Basic(Account::new("op", "secret")));
//! let client = wsman::Client::new(Arc::new(Http::new(settings)?), wsman::Settings::default());
//! println!("{}", client.identify().await?.version);
//! # Ok(())
//! # }
//! ```
//!
//! | file | what |
//! |---|---|
//! | `endpoint`, `login` | where, who |
//! | `dial`, `proxy`, `ssh` | streams to there: by TCP, through a proxy, through SSH |
//! | `walk` | the same part by part, to see where it ends |
//! | `tls`, `binding` | TLS, and what binds a login to it |
//! | `session`, `negotiate`, `kerberos/` | logins that belong to a connection: by NTLM, by a ticket |
//! | `sealed` | the form of what is sealed by them |
//! | `connection` | one connection, with one request on it |
//! | `gate` | who may try to log in, so that no account is locked |

mod binding;
mod connection;
mod dial;
mod endpoint;
mod gate;
mod kerberos;
mod login;
mod negotiate;
mod proxy;
mod sealed;
mod session;
mod ssh;
mod tls;
mod walk;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout_at};

pub use dial::{Dial, Direct, Stream};
pub use endpoint::{BadEndpoint, Endpoint, Scheme};
pub use login::{Account, Login, Principal};
pub use proxy::{BadProxy, Proxy, ProxyVariables};
pub use ssh::ThroughSsh;
pub use tls::{ClientCertificate, Fingerprint, NoFingerprint, Tls, Trust};
pub use walk::{Gone, Part, Walk};

use crate::client::{Answer, Carrier};
use crate::error::Error;
use crate::trouble::{TlsTrouble, Trouble};
use connection::{Connection, Line, Sent};
use gate::Gate;
use kerberos::Tickets;

const GRACE: Duration = Duration::from_millis(200);

/// How a service is reached.
#[derive(Clone)]
pub struct Settings {
    /// Where it is.
    pub endpoint: Endpoint,
    /// Who asks.
    pub login: Login,
    /// Whom to trust, over HTTPS.
    pub tls: Tls,
    /// How the connection to the host is made.
    pub dial: Arc<dyn Dial>,
    /// How many requests are under way at once.
    pub connections: usize,
    /// How long a connection may take to be there.
    pub connect: Duration,
    /// How long an answer may take; longer than the service works at one request.
    pub answer: Duration,
    /// The longest answer that is taken, in bytes.
    pub max_answer: usize,
}

impl Settings {
    /// As a host is set up that nobody has tuned.
    pub fn new(endpoint: Endpoint, login: Login) -> Self {
        Self {
            endpoint,
            login,
            tls: Tls::default(),
            dial: Arc::new(Direct),
            connections: 6,
            connect: Duration::from_secs(20),
            answer: Duration::from_secs(90),
            max_answer: 16 << 20,
        }
    }
}

/// What was asked for cannot be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BadSettings {
    /// A password in the clear.
    #[error(
        "the login `basic` sends the password as it is, and {0} is plain HTTP: use https, or the login `negotiate`"
    )]
    BasicInTheClear(String),
    /// A certificate without TLS.
    #[error("a client certificate needs https, and {0} is plain HTTP")]
    CertificateInTheClear(String),
    /// A login by certificate without one.
    #[error("the login `certificate` needs a client certificate and its key")]
    NoCertificate,
    /// What TLS was given.
    #[error(transparent)]
    Tls(#[from] TlsTrouble),
}

/// Carries requests over HTTP.
pub struct Http {
    settings: Settings,
    url: String,
    tls: Option<tokio_rustls::TlsConnector>,
    tickets: Tickets,
    gate: Gate,
    slots: Semaphore,
    idle: Mutex<Vec<Connection>>,
}

impl std::fmt::Debug for Http {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Http")
            .field("url", &self.url)
            .finish_non_exhaustive()
    }
}

impl Http {
    /// Nothing is connected yet.
    ///
    /// # Errors
    /// If the settings contradict themselves.
    pub fn new(settings: Settings) -> Result<Self, BadSettings> {
        let url = settings.endpoint.to_string();
        let tls = match (settings.endpoint.scheme, &settings.login) {
            (Scheme::Http, Login::Basic(_)) => return Err(BadSettings::BasicInTheClear(url)),
            (Scheme::Http, Login::Certificate) => return Err(BadSettings::CertificateInTheClear(url)),
            (Scheme::Https, Login::Certificate) if settings.tls.certificate.is_none() => {
                return Err(BadSettings::NoCertificate);
            }
            (Scheme::Https, _) => Some(settings.tls.connector()?),
            (Scheme::Http, Login::Negotiate(_) | Login::Kerberos(_)) => None,
        };
        Ok(Self {
            slots: Semaphore::new(settings.connections.max(1)),
            idle: Mutex::default(),
            tickets: Tickets::default(),
            gate: Gate::default(),
            settings,
            url,
            tls,
        })
    }

    /// Goes the way to the service part by part, and logs in where that belongs to the connection; nothing is asked.
    pub async fn walk(&self) -> Vec<Gone> {
        let settings = &self.settings;
        let deadline = Instant::now() + settings.connect;
        let Endpoint { host, port, .. } = &settings.endpoint;
        let mut walk = settings.dial.walk(host, *port, deadline).await;
        let Some(stream) = walk.stream.take() else {
            return walk.parts;
        };
        let line = match &self.tls {
            None => Line::plain(stream),
            Some(connector) => {
                let part = Part::Tls(settings.endpoint.place());
                let handshake = self.in_time(deadline, Line::encrypted(settings, connector, stream));
                let shown = |line: &Line| match line.certificate {
                    Some(fingerprint) => format!("certificate with SHA-256 {fingerprint}"),
                    None => "no certificate".to_owned(),
                };
                match walk.step(part, handshake, shown).await {
                    Some(line) => line,
                    None => return walk.parts,
                }
            }
        };
        let login = self.in_time(deadline, Connection::over(settings, &self.tickets, line));
        let who = |_: &Connection| match &settings.login {
            Login::Negotiate(_) | Login::Kerberos(_) => settings.login.user(),
            // What lets in stands in each request, or in the handshake.
            other => format!("{}, with each request", other.user()),
        };
        let scheme = Part::Login(settings.login.kind());
        let _ends_here = walk.step(scheme, login, who).await;
        walk.parts
    }

    async fn in_time<T>(
        &self,
        deadline: Instant,
        work: impl Future<Output = Result<T, Trouble>>,
    ) -> Result<T, Trouble> {
        let silent = |_| Trouble::Silent {
            place: self.settings.endpoint.place(),
            after: self.settings.connect,
        };
        timeout_at(deadline, work).await.map_err(silent)?
    }

    fn take_idle(&self) -> Option<Connection> {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            let connection = idle.pop()?;
            if connection.is_usable() {
                return Some(connection);
            }
        }
    }

    fn put_back(&self, connection: Connection) {
        if connection.is_usable() {
            self.idle
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .push(connection);
        }
    }

    async fn connect(&self) -> Result<Connection, Trouble> {
        let opening = async {
            let deadline = Instant::now() + self.settings.connect;
            let opening = Connection::open(&self.settings, self.tls.as_ref(), &self.tickets, deadline);
            // A moment later, so that whoever makes the connection can say what took too long.
            self.in_time(deadline + GRACE, opening).await
        };
        self.gate.pass(opening).await
    }

    /// What a status means that comes with no SOAP.
    fn refused(&self, answer: &Answer, offered: Vec<String>) -> Option<Trouble> {
        let place = self.settings.endpoint.place();
        Some(match answer.status {
            401 => connection::refused(&self.settings, offered),
            403 => Trouble::Forbidden { place },
            500 if answer.body.is_empty() => Trouble::Unsealed { place },
            404 | 405 | 501 => Trouble::NoService {
                place,
                path: self.settings.endpoint.path.clone(),
                status: answer.status,
            },
            _ => return None,
        })
    }
}

#[async_trait]
impl Carrier for Http {
    fn to(&self) -> &str {
        &self.url
    }

    async fn carry(&self, envelope: String) -> Result<Answer, Error> {
        let _slot = self.slots.acquire().await.ok();
        let envelope = bytes::Bytes::from(envelope);
        let mut reused = self.take_idle();
        loop {
            let was_reused = reused.is_some();
            let mut connection = match reused.take() {
                Some(connection) => connection,
                None => self.connect().await.map_err(Error::NotSent)?,
            };
            match connection.send(&self.settings, envelope.clone()).await {
                // It had been let go of on the other side: nothing was sent.
                Sent::Not(_) if was_reused => continue,
                Sent::Not(trouble) => return Err(Error::NotSent(trouble)),
                Sent::Lost(trouble) => return Err(Error::Lost(trouble)),
                // A service that asks who it is in mid-session has done nothing.
                Sent::Answered { answer, .. } if answer.status == 401 && was_reused => continue,
                Sent::Answered { answer, offered } => {
                    if let Some(trouble) = self.refused(&answer, offered) {
                        self.gate.failed(&trouble);
                        return Err(Error::NotSent(trouble));
                    }
                    self.put_back(connection);
                    return Ok(answer);
                }
            }
        }
    }
}
