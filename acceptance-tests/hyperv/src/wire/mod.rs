//! WS-Management as Windows' WinRM speaks it, in front of a model.
//!
//! | file | what |
//! |---|---|
//! | `config` | what a server is told: users and their rights, listeners, limits |
//! | `control` | faults on demand, and the log of requests |
//! | `http`, `watched`, `tls` | connections, bodies, interleaved requests |
//! | `login/`, `sealed` | Basic, Negotiate by an acceptor of others, certificates; sealed bodies |
//! | `envelope`, `fault` | requests, answers, faults with their numbers |
//! | `service/` | what each verb does |
//! | `enumeration` | what was found and not yet fetched |
//! | `wql/` | queries |
//! | `object`, `cim_xml` | objects and embedded instances, both ways |
//! | `xml`, `names` | the XML of all this |
//!
//! `BEHAVIOUR.md` says of each behaviour from where it is known and which test shows it.
//!
//! ```no_run
//! # use labyard_hyperv_double::{contract::Model, wire::{Config, Rule, Server, Trouble, User}};
//! # async fn run(model: Box<dyn Model>) -> Result<(), Box<dyn std::error::Error>> {
//! let config = Config::new(vec![User::administrator("op", "secret")]);
//! let server = Server::start(config, model).await?;
//! server.fault(Rule::first("Invoke", Some("DefineSystem"), Trouble::DropAfter));
//! println!("{:?}: {} enumerations", server.http(), server.count("Enumerate"));
//! # Ok(()) }
//! ```

mod cim_xml;
mod config;
mod control;
#[cfg(test)]
mod drawn;
mod enumeration;
mod envelope;
mod fault;
mod http;
mod login;
mod names;
mod object;
mod sealed;
mod service;
mod tls;
mod watched;
mod wql;
mod xml;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Mutex as AsyncMutex, Semaphore};
use tokio::task::JoinHandle;

pub use config::{Certificate, Config, Hardening, Limits, Offers, Rights, Unencrypted, User};
pub use control::{Entry, Matching, Nth, Rule, Trouble};
pub use login::NoAcceptor;
pub use tls::BadCertificate;

use crate::contract::Model;
use http::{Connection, Shared};
use login::{Channel, Logins, State};
use service::Service;
use tls::Tls;
use watched::{Order, Watched};

/// A server cannot be started.
#[derive(Debug, thiserror::Error)]
pub enum NotStarted {
    /// It cannot listen.
    #[error("cannot listen on {address}: {why}")]
    Listen {
        /// Where.
        address: SocketAddr,
        /// Why.
        why: std::io::Error,
    },
    /// Its certificate.
    #[error(transparent)]
    Certificate(#[from] BadCertificate),
    /// Its threads.
    #[error("cannot start threads: {0}")]
    Runtime(std::io::Error),
    /// Its logins.
    #[error(transparent)]
    Acceptor(#[from] NoAcceptor),
}

/// A running server. It ends when it is dropped.
pub struct Server {
    shared: Arc<Shared>,
    http: Option<SocketAddr>,
    https: Option<SocketAddr>,
    certificate: Option<String>,
    listeners: Vec<JoinHandle<()>>,
}

impl Drop for Server {
    fn drop(&mut self) {
        for listener in &self.listeners {
            listener.abort();
        }
        self.shared.restart();
    }
}

impl Server {
    /// Starts one in front of a model.
    ///
    /// # Errors
    /// If it cannot listen, its certificate is of no use, or nothing takes its logins.
    pub async fn start(config: Config, model: Box<dyn Model>) -> Result<Self, NotStarted> {
        let logins = Logins::start(&config).await?;
        let (http, https) = (config.http, config.https);
        let room = Arc::new(Semaphore::new(config.limits.connections));
        let tls = https
            .map(|_| Tls::new(&config.name, config.certificate.as_ref()))
            .transpose()?;
        let shared = Arc::new(Shared::new(Arc::new(Service::new(config, model)), logins));
        let mut server = Self {
            shared,
            http: None,
            https: None,
            certificate: tls.as_ref().map(|tls| tls.pem.clone()),
            listeners: Vec::new(),
        };
        if let Some(address) = http {
            let (listener, address) = listen(address).await?;
            server.http = Some(address);
            let accepting = accept(listener, server.shared.clone(), None, room.clone());
            server.listeners.push(tokio::spawn(accepting));
        }
        if let (Some(address), Some(tls)) = (https, tls) {
            let (listener, address) = listen(address).await?;
            server.https = Some(address);
            let accepting = accept(listener, server.shared.clone(), Some(Arc::new(tls)), room);
            server.listeners.push(tokio::spawn(accepting));
        }
        Ok(server)
    }

    /// Where HTTP is served.
    pub fn http(&self) -> Option<SocketAddr> {
        self.http
    }

    /// Where HTTPS is served.
    pub fn https(&self) -> Option<SocketAddr> {
        self.https
    }

    /// The certificate of HTTPS, PEM: its own authority, unless one was given.
    pub fn certificate(&self) -> Option<&str> {
        self.certificate.as_deref()
    }

    /// Has something go wrong.
    pub fn fault(&self, rule: Rule) {
        self.shared.service.control.add(rule);
    }

    /// Nothing is to go wrong any more.
    pub fn clear_faults(&self) {
        self.shared.service.control.clear();
    }

    /// Starts the service anew: every connection ends, every enumeration is forgotten. What the host holds stays.
    pub fn restart(&self) {
        self.shared.restart();
    }

    /// All requests, in the order of their answers.
    pub fn log(&self) -> Vec<Entry> {
        self.shared.service.control.log()
    }

    /// How many requests of a verb there were.
    pub fn count(&self, verb: &str) -> usize {
        self.log().iter().filter(|entry| entry.verb == verb).count()
    }

    /// Forgets all requests.
    pub fn forget_log(&self) {
        self.shared.service.control.forget();
    }

    /// The most requests that were ever under way at once.
    pub fn peak(&self) -> usize {
        self.shared.peak.load(Ordering::SeqCst)
    }

    /// What the model said that the schema does not have. A test ends with none.
    pub fn complaints(&self) -> Vec<String> {
        self.shared.service.control.complaints()
    }
}

/// A server with a runtime of its own, for callers that have none.
pub struct Standing {
    server: Option<Server>,
    runtime: Option<tokio::runtime::Runtime>,
}

impl Standing {
    /// Starts one in front of a model.
    ///
    /// # Errors
    /// If it cannot listen, its certificate is of no use, nothing takes its logins, or there are no threads.
    pub fn start(config: Config, model: Box<dyn Model>) -> Result<Self, NotStarted> {
        let runtime = tokio::runtime::Runtime::new().map_err(NotStarted::Runtime)?;
        let server = runtime.block_on(Server::start(config, model))?;
        Ok(Self {
            server: Some(server),
            runtime: Some(runtime),
        })
    }
}

impl std::ops::Deref for Standing {
    type Target = Server;

    fn deref(&self) -> &Server {
        self.server.as_ref().expect("it is there until it is dropped")
    }
}

impl Drop for Standing {
    fn drop(&mut self) {
        drop(self.server.take());
        if let Some(runtime) = self.runtime.take() {
            // Its ports are free after this; whoever still works on a request is not waited for any longer.
            runtime.shutdown_timeout(Duration::from_secs(1));
        }
    }
}

async fn listen(address: SocketAddr) -> Result<(TcpListener, SocketAddr), NotStarted> {
    let failed = |why| NotStarted::Listen { address, why };
    let listener = TcpListener::bind(address).await.map_err(failed)?;
    let address = listener.local_addr().map_err(failed)?;
    Ok((listener, address))
}

async fn accept(listener: TcpListener, shared: Arc<Shared>, tls: Option<Arc<Tls>>, room: Arc<Semaphore>) {
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            // Out of descriptors, say: those of others are given back in time.
            tokio::time::sleep(Duration::from_millis(20)).await;
            continue;
        };
        // One more than allowed is let go of.
        let Ok(place) = room.clone().try_acquire_owned() else {
            continue;
        };
        let (shared, tls) = (shared.clone(), tls.clone());
        tokio::spawn(async move {
            connection(stream, shared, tls).await;
            drop(place);
        });
    }
}

async fn connection(stream: TcpStream, shared: Arc<Shared>, tls: Option<Arc<Tls>>) {
    let _ = stream.set_nodelay(true);
    let Some(tls) = tls else {
        return converse(stream, shared, Channel::Plain).await;
    };
    let Ok(Ok(stream)) = tokio::time::timeout(Duration::from_secs(30), tls.acceptor.accept(stream)).await
    else {
        return;
    };
    let shown = stream.get_ref().1.peer_certificates();
    let channel = Channel::Tls {
        binding: tls.binding.clone(),
        client: shown
            .and_then(<[_]>::first)
            .map(|certificate| certificate.as_ref().to_vec()),
    };
    converse(stream, shared, channel).await;
}

/// Serves requests until either side ends or the service starts anew.
async fn converse<S>(stream: S, shared: Arc<Shared>, channel: Channel)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let mut restarts = shared.restarts.subscribe();
    let order = Arc::new(Order::default());
    let connection = Arc::new(Connection {
        id: shared.connections.fetch_add(1, Ordering::Relaxed) + 1,
        shared,
        channel,
        order: order.clone(),
        state: AsyncMutex::new(State::Fresh),
    });
    let io = TokioIo::new(Watched::new(stream, order));
    let serving = http1::Builder::new()
        .serve_connection(io, service_fn(move |request| connection.clone().serve(request)));
    tokio::select! {
        // How it ended is of no weight: the client sees it.
        _ = serving => {}
        _ = restarts.changed() => {}
    }
}
