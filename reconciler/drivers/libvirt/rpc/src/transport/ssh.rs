//! libvirt's Unix socket on another machine, by SSH: a channel straight to the socket, no program over there.
//!
//! One session serves all connections to a host; a connection is a channel in it.

mod error;

use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use labyard_ssh::{Session, Ssh, There, Unopened, Words};
use tokio::time::Instant;

pub use error::SshError;

use super::{ConnectError, Duplex, Transport};
use crate::uri::{Access, Scope, SshHost};

/// All of it stands in a URI.
const WORDS: Words = Words {
    host: "its name in the uri",
    user: "write it into the uri (qemu+ssh://name@HOST/system)",
    key_file: "?keyfile=",
    known_hosts: "known_hosts in the URI",
    there: There::Unix,
};

/// SSH to the socket of a daemon.
pub(super) struct SshTransport {
    ssh: Ssh,
    scope: Scope,
    access: Access,
    socket: Option<PathBuf>,
}

/// What came of a session that is alive: a stream, or why the daemon is not reached in it.
type Reached = Result<Box<dyn Duplex>, SshError>;

impl SshTransport {
    pub(super) fn new(host: SshHost, scope: Scope, access: Access, socket: Option<PathBuf>) -> Self {
        Self {
            ssh: Ssh::new(host, WORDS),
            scope,
            access,
            socket,
        }
    }

    /// A stream to the first of the daemon's sockets that is there.
    async fn stream(&self, session: &Arc<Session>) -> Result<Reached, labyard_ssh::Error> {
        let sockets = match self.sockets(session).await {
            Ok(sockets) => sockets,
            Err(error) => return Ok(Err(error)),
        };
        let mut last = String::new();
        for socket in &sockets {
            match session.socket(&socket.display().to_string()).await {
                Ok(stream) => return Ok(Ok(Box::new(stream))),
                Err(Unopened::Refused { said, .. }) => last = said,
                Err(Unopened::Over(reason)) => return Err(session.over_by(reason)),
            }
        }
        Ok(Err(diagnosis(session, &sockets, last).await))
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
}

#[async_trait]
impl Transport for SshTransport {
    async fn connect(&self, deadline: Instant) -> Result<Box<dyn Duplex>, ConnectError> {
        let stream = |session| async move { self.stream(&session).await };
        let opening = self.ssh.open(deadline, "opening libvirt's socket", stream);
        Ok(opening.await??)
    }
}

/// Why none of the sockets could be reached. OpenSSH says the same of one that is missing and of one that it may not
/// connect to; so the shell over there is asked what is there, if it may be.
async fn diagnosis(session: &Session, sockets: &[PathBuf], said: String) -> SshError {
    let (place, user) = (session.place(), session.user().to_owned());
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
    let told = session.shell(&command).await.unwrap_or_default();
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
async fn own_directory(session: &Session) -> Result<PathBuf, SshError> {
    let told = session.shell("echo \"${XDG_RUNTIME_DIR:-$HOME/.cache}\"").await;
    let reason = match told {
        Ok(told) => match told.lines().last().map(str::trim) {
            Some(line) if line.starts_with('/') => return Ok(PathBuf::from(line)),
            line => format!("the shell there says \"{}\"", line.unwrap_or_default()),
        },
        Err(reason) => reason,
    };
    Err(SshError::SessionPlace {
        place: session.place(),
        user: session.user().to_owned(),
        reason,
    })
}
