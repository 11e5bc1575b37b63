//! Why SSH did not come about, in words that say how to mend it.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

/// Why SSH did not come about.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The SSH configuration cannot be used.
    #[error("{reason}")]
    Config {
        /// Why.
        reason: String,
    },
    /// The host's name has no address.
    #[error("the host \"{host}\" cannot be found: {reason}. Check {name}, or put it into /etc/hosts")]
    Unresolved {
        /// The name.
        host: String,
        /// What the resolver says.
        reason: String,
        /// Where the name stands.
        name: &'static str,
    },
    /// No TCP connection could be made.
    #[error("cannot connect to the SSH server on {place}: {reason}. {advice}")]
    Dial {
        /// Host and port.
        place: String,
        /// The kind of the system's error.
        kind: io::ErrorKind,
        /// The system's error.
        reason: String,
        /// What to do.
        advice: String,
    },
    /// A stage of connecting took too long.
    #[error("{doing} did not end within {after:?}: the host hangs, or a firewall between drops the packets")]
    TimedOut {
        /// The stage.
        doing: String,
        /// How long it had.
        after: Duration,
    },
    /// A file of known host keys cannot be read.
    #[error("known host keys cannot be read: {reason}")]
    KnownHosts {
        /// Why.
        reason: String,
    },
    /// Nobody has told which key the host has.
    #[error(transparent)]
    UnknownHost(Box<UnknownHost>),
    /// The host has another key than before.
    #[error(transparent)]
    ChangedHost(Box<ChangedHost>),
    /// The host's key must not be used any more.
    #[error("the SSH server {place} shows the key {fingerprint}, which is marked as @revoked in known_hosts")]
    RevokedHost {
        /// Host and port.
        place: String,
        /// The key that it shows.
        fingerprint: String,
    },
    /// The server let none of the keys in.
    #[error("the SSH server {place} does not let {user} in: {reason}. Tried: {}. {advice}", tried.join("; "))]
    Authentication {
        /// Host and port.
        place: String,
        /// The account.
        user: String,
        /// What the server said.
        reason: String,
        /// Each key and what became of it.
        tried: Vec<String>,
        /// What to do.
        advice: String,
    },
    /// A jump host does not pass on to the next one.
    #[error(
        "the jump host {through} does not connect to {place}: {said}. Check the name as it is known there, and \
         `AllowTcpForwarding yes` in its /etc/ssh/sshd_config"
    )]
    Jump {
        /// The jump host.
        through: String,
        /// The next one.
        place: String,
        /// The server's word.
        said: String,
    },
    /// The server does not connect further for this account.
    #[error(
        "the SSH server {place} let {user} in and forwards no TCP for it, not to {to} ({said}): allow it there, {allow}"
    )]
    ForwardingForbidden {
        /// Host and port.
        place: String,
        /// The account.
        user: String,
        /// Where to.
        to: String,
        /// The server's word.
        said: String,
        /// What allows it.
        allow: &'static str,
    },
    /// Nobody answers the server where it was to connect to.
    #[error("the SSH server {place} cannot connect to {to}: {said}")]
    NotForwarded {
        /// Host and port.
        place: String,
        /// Where to.
        to: String,
        /// The server's word.
        said: String,
    },
    /// The server does not offer a subsystem.
    #[error(
        "the SSH server {place} does not start its subsystem {name}{said}: a line `Subsystem {name} …` has to be in its \
         sshd_config"
    )]
    Subsystem {
        /// Host and port.
        place: String,
        /// Its name.
        name: String,
        /// The server's word, where it has one.
        said: String,
    },
    /// The protocol broke off.
    #[error("SSH with {place} broke off: {reason}")]
    Protocol {
        /// Host and port.
        place: String,
        /// Why.
        reason: String,
    },
}

/// Nobody has told which key a host has.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "the SSH server {place} is not known: it shows the {kind} key {fingerprint}. Compare that with what `{shown_by}` says \
     on the host, then accept it: `{accept}`{advice}"
)]
pub struct UnknownHost {
    /// Host and port.
    pub place: String,
    /// The kind of the key.
    pub kind: String,
    /// The key that it shows.
    pub fingerprint: String,
    /// The command that shows it on the host.
    pub shown_by: String,
    /// The command that makes it known.
    pub accept: String,
    /// What else has to be done.
    pub advice: String,
}

/// A host has another key than before.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "the SSH server {place} shows another key than before: {fingerprint} now, {known} in {}:{line}. Either the host was \
     installed anew or somebody sits between. If its administrator confirms the new key: `{forget}`, then \
     `{accept}`{advice}",
    file.display()
)]
pub struct ChangedHost {
    /// Host and port.
    pub place: String,
    /// The key that it shows.
    pub fingerprint: String,
    /// The key that it is known by.
    pub known: String,
    /// The file where that stands.
    pub file: PathBuf,
    /// The line in it.
    pub line: usize,
    /// The command that forgets the old key.
    pub forget: String,
    /// The command that makes the new one known.
    pub accept: String,
    /// What else has to be done.
    pub advice: String,
}

impl Error {
    /// Whether a session in which this happens is over, or as good as that.
    pub(crate) fn is_end(&self) -> bool {
        matches!(self, Self::TimedOut { .. } | Self::Protocol { .. })
    }
}
