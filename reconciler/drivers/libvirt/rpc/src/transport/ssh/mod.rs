//! libvirt's Unix socket on another machine, by SSH: a channel straight to the socket, no program over there.
//!
//! `config` says how to get to a host, `known_hosts` whether it is the right one, `auth` lets the user in, `session`
//! puts them together. One session serves all connections to a host; a connection is a channel in it.

mod auth;
mod config;
mod error;
mod known_hosts;
mod pattern;
mod session;

use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use async_trait::async_trait;
use russh::{ChannelMsg, ChannelOpenFailure, ChannelStream, client};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::Mutex;
use tokio::time::Instant;

pub use error::SshError;

use super::{ConnectError, Duplex, Transport, stage};
use crate::uri::{Access, Scope, SshHost};
use config::Environment;
use session::{Session, Unopened};

/// A session that was good before is given so long for another channel; then a new one is made.
const OLD_SESSION: Duration = Duration::from_secs(4);

/// SSH to the socket of a daemon.
pub(super) struct SshTransport {
    host: SshHost,
    scope: Scope,
    access: Access,
    socket: Option<PathBuf>,
    session: Mutex<Option<Arc<Session>>>,
}

impl SshTransport {
    pub(super) fn new(host: SshHost, scope: Scope, access: Access, socket: Option<PathBuf>) -> Self {
        Self {
            host,
            scope,
            access,
            socket,
            session: Mutex::default(),
        }
    }

    /// The session: that one which is there, or a new one.
    async fn session(&self, deadline: Instant) -> Result<(Arc<Session>, Age), ConnectError> {
        let mut slot = self.session.lock().await;
        if let Some(session) = slot.as_ref().filter(|session| !session.is_over()) {
            return Ok((Arc::clone(session), Age::Old));
        }
        *slot = None;
        let environment = Environment::of_this_process();
        let session = Arc::new(Session::open(&self.host, &environment, deadline).await?);
        *slot = Some(Arc::clone(&session));
        Ok((session, Age::New))
    }

    async fn forget(&self, session: &Arc<Session>) {
        let mut slot = self.session.lock().await;
        if slot.as_ref().is_some_and(|current| Arc::ptr_eq(current, session)) {
            *slot = None;
        }
    }

    /// A stream to the first of the daemon's sockets that is there.
    async fn stream(&self, session: &Arc<Session>) -> Result<Box<dyn Duplex>, ConnectError> {
        let place = session.place();
        let user = session.settings.user.clone();
        let sockets = self.sockets(session).await?;
        let mut looked = Vec::new();
        for socket in &sockets {
            let path = socket.display().to_string();
            let (reason, said) = match session.socket(&path).await {
                Ok(channel) => {
                    return Ok(Box::new(Line {
                        channel: channel.into_stream(),
                        _session: Arc::clone(session),
                    }));
                }
                Err(Unopened::Refused(reason, said)) => (reason, said),
                Err(Unopened::Over(reason)) => return Err(SshError::Protocol { place, reason }.into()),
            };
            let socket = socket.clone();
            match Said::of(&reason, &said) {
                Said::Missing => looked.push(path),
                Said::Permission => {
                    return Err(SshError::Permission { place, user, socket }.into());
                }
                Said::Forbidden => {
                    return Err(SshError::ForwardingForbidden {
                        place,
                        user,
                        socket,
                        said,
                    }
                    .into());
                }
                Said::Other => return Err(SshError::Socket { place, socket, said }.into()),
            }
        }
        if let Some(found) = self.modular(session, &sockets).await {
            return Err(SshError::OnlyModular { place, found }.into());
        }
        let looked = looked.join(", ");
        Err(SshError::NoSocket { place, looked }.into())
    }

    async fn sockets(&self, session: &Session) -> Result<Vec<PathBuf>, SshError> {
        if let Some(socket) = &self.socket {
            return Ok(vec![socket.clone()]);
        }
        let name = match (self.scope, self.access) {
            (Scope::System, Access::ReadOnly) => "libvirt/libvirt-sock-ro",
            _ => "libvirt/libvirt-sock",
        };
        match self.scope {
            Scope::System => Ok(["/run", "/var/run"]
                .iter()
                .map(|run| PathBuf::from(run).join(name))
                .collect()),
            Scope::Session => Ok(vec![own_directory(session).await?.join(name)]),
        }
    }

    /// The socket of the QEMU driver alone, where it is there and the one for all is not.
    async fn modular(&self, session: &Session, sockets: &[PathBuf]) -> Option<PathBuf> {
        let beside = sockets.first()?.parent()?.join("virtqemud-sock");
        let opened = session.socket(beside.to_str()?).await;
        opened.is_ok().then_some(beside)
    }
}

#[async_trait]
impl Transport for SshTransport {
    async fn connect(&self, deadline: Instant) -> Result<Box<dyn Duplex>, ConnectError> {
        let (session, age) = self.session(deadline).await?;
        let doing = format!("opening libvirt's socket on {}", session.place());
        let until = match age {
            Age::New => deadline,
            Age::Old => deadline.min(Instant::now() + OLD_SESSION),
        };
        let opened = stage(until, &doing, self.stream(&session)).await;
        let error = match opened {
            Ok(Ok(stream)) => return Ok(stream),
            Ok(Err(error)) | Err(error) => error,
        };
        let is_dead = matches!(
            error,
            ConnectError::TimedOut { .. } | ConnectError::Ssh(SshError::Protocol { .. })
        );
        if !is_dead {
            return Err(error);
        }
        self.forget(&session).await;
        match age {
            Age::New => Err(error),
            // It died unseen since it was last used.
            Age::Old => {
                let (session, _) = self.session(deadline).await?;
                stage(deadline, doing, self.stream(&session)).await?
            }
        }
    }
}

#[derive(Clone, Copy)]
enum Age {
    Old,
    New,
}

/// What a server means by refusing a channel to a socket.
enum Said {
    Missing,
    Permission,
    Forbidden,
    Other,
}

impl Said {
    fn of(reason: &ChannelOpenFailure, said: &str) -> Self {
        match reason {
            ChannelOpenFailure::AdministrativelyProhibited | ChannelOpenFailure::UnknownChannelType => {
                Self::Forbidden
            }
            // OpenSSH passes on why its connect failed, and says only this where it did not try.
            ChannelOpenFailure::ConnectFailed if said == "open failed" => Self::Forbidden,
            _ if said.contains("No such file") || said.contains("refused") => Self::Missing,
            _ if said.contains("Permission denied") => Self::Permission,
            _ => Self::Other,
        }
    }
}

/// Where the account over there has sockets of its own.
async fn own_directory(session: &Session) -> Result<PathBuf, SshError> {
    let failed = |reason: String| SshError::SessionPlace {
        place: session.place(),
        user: session.settings.user.clone(),
        reason,
    };
    let mut channel = session.command().await.map_err(|unopened| match unopened {
        Unopened::Refused(_, said) => failed(said),
        Unopened::Over(reason) => failed(reason),
    })?;
    let asked = channel
        .exec(true, "echo \"${XDG_RUNTIME_DIR:-$HOME/.cache}\"")
        .await;
    asked.map_err(|error| failed(error.to_string()))?;
    let mut said = Vec::new();
    while let Some(message) = channel.wait().await {
        match message {
            ChannelMsg::Data { data } if said.len() < 4096 => said.extend_from_slice(&data),
            ChannelMsg::Close => break,
            _ => {}
        }
    }
    let text = String::from_utf8_lossy(&said);
    let line = text.lines().last().unwrap_or_default().trim();
    match line.starts_with('/') {
        true => Ok(PathBuf::from(line)),
        false => Err(failed(format!("the shell there says \"{line}\""))),
    }
}

/// A channel, which keeps its session alive.
struct Line {
    channel: ChannelStream<client::Msg>,
    _session: Arc<Session>,
}

impl AsyncRead for Line {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.channel).poll_read(context, buffer)
    }
}

impl AsyncWrite for Line {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        Pin::new(&mut self.channel).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.channel).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.channel).poll_shutdown(context)
    }
}
