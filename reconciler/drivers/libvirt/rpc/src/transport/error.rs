//! Why no connection could be made, in words that say how to mend it.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use super::ssh::SshError;
use super::tls::TlsError;
use crate::connection::AuthType;

/// Why no connection could be made.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// There is no socket at any of the usual places.
    #[error(
        "libvirt does not listen on this machine (looked at {looked}): \
         is it installed, and is libvirtd.socket started?"
    )]
    NoSocket {
        /// The places.
        looked: String,
    },
    /// Only the modular daemon of the QEMU driver listens, which has no networks and no storage.
    #[error(
        "libvirt runs as separate daemons here ({found} exists, libvirt-sock does not): \
         start virtproxyd.socket, which offers them as one"
    )]
    OnlyModular {
        /// The socket that exists.
        found: PathBuf,
    },
    /// The place of the user's own socket cannot be told.
    #[error("neither XDG_RUNTIME_DIR nor HOME is set, so the session's socket cannot be found")]
    NoHome,
    /// The user may not open the socket.
    #[error("no permission to open {path}{}", whose(.group))]
    Permission {
        /// The socket.
        path: PathBuf,
        /// The group that may open it, where it can be told and is not root's.
        group: Option<String>,
    },
    /// The socket cannot be connected to.
    #[error("cannot connect to {path}: {source}")]
    Socket {
        /// The socket.
        path: PathBuf,
        /// The system's error.
        source: Arc<io::Error>,
    },
    /// Unix sockets do not exist on this system.
    #[error("this system has no Unix sockets to reach libvirt by")]
    NoUnixSockets,
    /// The daemon did not finish its greeting in time.
    #[error("libvirt took the connection and did not answer within {after:?}")]
    Silent {
        /// How long it had.
        after: std::time::Duration,
    },
    /// The host's name has no address.
    #[error(
        "the host \"{host}\" cannot be found: {reason}. Check its name in the uri, or put it into /etc/hosts"
    )]
    Unresolved {
        /// The name.
        host: String,
        /// What the resolver says.
        reason: String,
    },
    /// No TCP connection to the daemon could be made.
    #[error("cannot connect to libvirt's TLS port on {place}: {source}. {}", dial_advice(.source))]
    Dial {
        /// Host and port.
        place: String,
        /// The system's error.
        source: Arc<io::Error>,
    },
    /// A stage of connecting took too long.
    #[error("{doing} did not end within {after:?}: the host hangs, or a firewall between drops the packets")]
    TimedOut {
        /// The stage.
        doing: String,
        /// How long it had.
        after: std::time::Duration,
    },
    /// SSH did not come about.
    #[error(transparent)]
    Ssh(Box<SshError>),
    /// TLS did not come about.
    #[error(transparent)]
    Tls(Box<TlsError>),
    /// The daemon wants an authentication that is not offered.
    #[error(
        "libvirt asks for authentication of kind {offered:?}; supported are none and polkit (auth_unix_rw, auth_tls in \
             /etc/libvirt/libvirtd.conf)"
    )]
    Auth {
        /// What it offered.
        offered: Vec<AuthType>,
    },
}

impl From<SshError> for ConnectError {
    fn from(error: SshError) -> Self {
        Self::Ssh(Box::new(error))
    }
}

impl From<labyard_ssh::Error> for ConnectError {
    fn from(error: labyard_ssh::Error) -> Self {
        SshError::Session(error).into()
    }
}

impl From<TlsError> for ConnectError {
    fn from(error: TlsError) -> Self {
        Self::Tls(Box::new(error))
    }
}

fn dial_advice(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => {
            "Nothing listens there: start it on the host: `sudo systemctl enable --now libvirtd-tls.socket`, or where \
             its daemons are separate `sudo systemctl enable --now virtproxyd-tls.socket`"
        }
        _ => "Check the host's address, its network and the firewall between",
    }
}

fn whose(group: &Option<String>) -> String {
    match group {
        Some(group) => format!(", which belongs to the group {group}"),
        None => ", which is root's alone".to_owned(),
    }
}
