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
use russh::{ChannelMsg, ChannelStream, client};
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
        let sockets = self.sockets(session).await?;
        let mut last = String::new();
        for socket in &sockets {
            match session.socket(&socket.display().to_string()).await {
                Ok(channel) => {
                    return Ok(Box::new(Line {
                        channel: channel.into_stream(),
                        _session: Arc::clone(session),
                    }));
                }
                Err(Unopened::Refused(said)) => last = said,
                Err(Unopened::Over(reason)) => {
                    let place = session.place();
                    return Err(SshError::Protocol { place, reason }.into());
                }
            }
        }
        Err(diagnosis(session, &sockets, last).await.into())
    }

    async fn sockets(&self, session: &Session) -> Result<Vec<PathBuf>, ConnectError> {
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
        let is_dead = match &error {
            ConnectError::TimedOut { .. } => true,
            ConnectError::Ssh(error) => matches!(**error, SshError::Protocol { .. }),
            _ => false,
        };
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

/// Why none of the sockets could be reached. OpenSSH says the same of one that is missing and of one that it may not
/// connect to; so the shell over there is asked what is there, if it may be.
async fn diagnosis(session: &Session, sockets: &[PathBuf], said: String) -> SshError {
    let (place, user) = (session.place(), session.settings.user.clone());
    let beside = sockets.first().and_then(|socket| socket.parent());
    let modular = beside.map(|beside| beside.join("virtqemud-sock"));
    let quoted: Vec<String> = sockets
        .iter()
        .chain(&modular)
        .map(|socket| format!("'{}'", socket.display().to_string().replace('\'', "'\\''")))
        .collect();
    let command = format!(
        "for s in {}; do if test -w \"$s\"; then echo \"open $s\"; elif test -e \"$s\"; then echo \"closed $s\"; fi; \
         done; echo end",
        quoted.join(" ")
    );
    let told = shell(session, &command).await.unwrap_or_default();
    let is = |word: &str, socket: &PathBuf| {
        told.lines()
            .any(|line| line == format!("{word} {}", socket.display()))
    };
    let find = |word: &str| sockets.iter().find(|socket| is(word, socket)).cloned();
    if told.lines().last() != Some("end") {
        let socket = sockets.first().cloned().unwrap_or_default();
        return SshError::Socket { place, socket, said };
    }
    if let Some(socket) = find("open") {
        return SshError::ForwardingForbidden {
            place,
            user,
            socket,
            said,
        };
    }
    if let Some(socket) = find("closed") {
        return SshError::Permission { place, user, socket };
    }
    if let Some(found) = modular.filter(|socket| is("open", socket) || is("closed", socket)) {
        return SshError::OnlyModular { place, found };
    }
    let looked: Vec<String> = sockets
        .iter()
        .map(|socket| socket.display().to_string())
        .collect();
    let looked = looked.join(", ");
    SshError::NoSocket { place, looked }
}

/// Where the account over there has sockets of its own.
async fn own_directory(session: &Session) -> Result<PathBuf, ConnectError> {
    let told = shell(session, "echo \"${XDG_RUNTIME_DIR:-$HOME/.cache}\"").await;
    let reason = match told {
        Ok(told) => match told.lines().last().map(str::trim) {
            Some(line) if line.starts_with('/') => return Ok(PathBuf::from(line)),
            line => format!("the shell there says \"{}\"", line.unwrap_or_default()),
        },
        Err(reason) => reason,
    };
    Err(SshError::SessionPlace {
        place: session.place(),
        user: session.settings.user.clone(),
        reason,
    }
    .into())
}

/// What a command says over there.
async fn shell(session: &Session, command: &str) -> Result<String, String> {
    let mut channel = session.command().await.map_err(|unopened| match unopened {
        Unopened::Refused(said) => said,
        Unopened::Over(reason) => reason,
    })?;
    let asked = channel.exec(true, command).await;
    asked.map_err(|error| error.to_string())?;
    let mut said = Vec::new();
    while let Some(message) = channel.wait().await {
        match message {
            ChannelMsg::Data { data } if said.len() < 16 * 1024 => said.extend_from_slice(&data),
            ChannelMsg::Close => break,
            _ => {}
        }
    }
    Ok(String::from_utf8_lossy(&said).into_owned())
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
