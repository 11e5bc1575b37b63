//! A simulated host as a process of its own: a socket, connections, and the state in a file.

mod connection;
mod socket;
mod store;

use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use tokio::net::UnixStream;
use tokio::sync::watch;

use crate::host::SimHost;
use crate::passage::Caller;
use crate::settings::Settings;
use socket::Socket;
use store::Store;

/// How long a failing accept (out of file descriptors) is left alone.
const ACCEPT_AGAIN: Duration = Duration::from_millis(100);

/// Where a server listens and keeps its state, and what it is like.
#[derive(Clone, Debug)]
pub struct ServeOptions {
    /// The socket.
    pub socket: PathBuf,
    /// The state's file; `None` is beside the socket, `.json` added to its name.
    pub state: Option<PathBuf>,
    /// The host. Of a host that the file holds already, the id and seed stay.
    pub settings: Settings,
}

/// Why a server does not start or had to end.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// Another server lives there.
    #[error("another simulator listens on {} already; stop it first, or choose another socket", path.display())]
    InUse {
        /// The socket.
        path: PathBuf,
    },
    /// The path is taken by something else.
    #[error("{} exists and is no socket; choose another path", path.display())]
    NoSocket {
        /// The path.
        path: PathBuf,
    },
    /// The socket cannot be made.
    #[error("cannot listen on {}", path.display())]
    Socket {
        /// The socket.
        path: PathBuf,
        /// Why.
        #[source]
        cause: io::Error,
    },
    /// Another server has the state.
    #[error("another simulator uses the state in {} already; stop it first, or choose another file", path.display())]
    StateInUse {
        /// The file.
        path: PathBuf,
    },
    /// The state cannot be read or kept.
    #[error("cannot keep the state in {}", path.display())]
    State {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        cause: io::Error,
    },
}

/// A server that listens.
#[derive(Debug)]
pub struct Server {
    host: SimHost,
    socket: Socket,
    store: Store,
    state: PathBuf,
}

/// What all connections share.
#[derive(Debug)]
struct Shared {
    host: SimHost,
    /// The last version of the host that is in the file.
    kept: watch::Sender<u64>,
    callers: Mutex<HashMap<String, Weak<Caller>>>,
}

impl Server {
    /// Takes the state and the socket.
    ///
    /// # Errors
    /// [`ServeError`]; nothing is changed then.
    pub fn bind(options: ServeOptions) -> Result<Self, ServeError> {
        let ServeOptions {
            socket,
            state,
            settings,
        } = options;
        let state = state.unwrap_or_else(|| store::beside(&socket, ".json"));
        let store = Store::open(&state)?;
        let host = store.host(settings)?;
        let socket = Socket::listen(&socket)?;
        Ok(Self {
            host,
            socket,
            store,
            state,
        })
    }

    /// The file that the state is kept in.
    pub fn state_file(&self) -> &Path {
        &self.state
    }

    /// The host that is served.
    pub fn host(&self) -> &SimHost {
        &self.host
    }

    /// Serves until `stop`, and keeps the state a last time.
    ///
    /// # Errors
    /// Where the state cannot be kept: nobody is answered for what is not in the file.
    pub async fn run(self, stop: impl Future<Output = ()>) -> Result<(), ServeError> {
        let shared = Arc::new(Shared {
            host: self.host.clone(),
            kept: watch::Sender::new(0),
            callers: Mutex::new(HashMap::new()),
        });
        let mut connections = tokio::task::JoinSet::new();
        let broken = {
            let keep = self.store.keep(&self.host, &shared.kept);
            tokio::pin!(stop, keep);
            loop {
                tokio::select! {
                    () = &mut stop => break None,
                    cause = &mut keep => break Some(cause),
                    accepted = self.socket.listener.accept() => match accepted {
                        Ok((stream, _)) => drop(connections.spawn(serve(Arc::clone(&shared), stream))),
                        Err(_) => tokio::time::sleep(ACCEPT_AGAIN).await,
                    },
                    Some(_) = connections.join_next() => {}
                }
            }
        };
        // Calls under way lose their answers, as with any daemon that ends.
        connections.shutdown().await;
        let result = match broken {
            Some(cause) => Err(cause),
            None => self.store.save(&self.host).await,
        };
        result.map_err(|cause| ServeError::State {
            path: self.state,
            cause,
        })
    }
}

/// Serves one connection to its end. How a client ends is its own affair.
async fn serve(shared: Arc<Shared>, stream: UnixStream) {
    drop(connection::serve(&shared, stream).await);
}

impl Shared {
    /// The caller of that name: one for all connections of a driver.
    fn caller(&self, name: String) -> Arc<Caller> {
        let mut callers = self.callers.lock().unwrap_or_else(PoisonError::into_inner);
        callers.retain(|_, caller| caller.strong_count() > 0);
        if let Some(caller) = callers.get(&name).and_then(Weak::upgrade) {
            return caller;
        }
        let caller = Arc::new(self.host.new_caller());
        callers.insert(name, Arc::downgrade(&caller));
        caller
    }

    /// Waits until everything that has happened is in the file.
    async fn everything_kept(&self) {
        let version = *self.host.version().borrow();
        let mut kept = self.kept.subscribe();
        if kept.wait_for(|kept| *kept >= version).await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}
