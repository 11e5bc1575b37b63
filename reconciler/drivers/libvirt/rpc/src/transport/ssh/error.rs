//! Why SSH did not come about, in words that say how to mend it.

use std::path::PathBuf;

/// Why SSH did not come about.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum SshError {
    /// The SSH configuration cannot be used.
    #[error("{reason}")]
    Config {
        /// Why.
        reason: String,
    },
    /// A file of known host keys cannot be read.
    #[error("known host keys cannot be read: {reason}")]
    KnownHosts {
        /// Why.
        reason: String,
    },
    /// Nobody has told which key the host has.
    #[error(
        "the SSH server {place} is not known: it shows the {kind} key {fingerprint}. Compare that with what \
         `ssh-keygen -lf /etc/ssh/ssh_host_{short}_key.pub` says on the host, then accept it: `{accept}`{advice}"
    )]
    UnknownHost {
        /// Host and port.
        place: String,
        /// The kind of the key.
        kind: String,
        /// The kind, as files of host keys are named.
        short: String,
        /// The key that it shows.
        fingerprint: String,
        /// The command that makes it known.
        accept: String,
        /// What else has to be done.
        advice: &'static str,
    },
    /// The host has another key than before.
    #[error(
        "the SSH server {place} shows another key than before: {fingerprint} now, {known} in {}:{line}. Either the host \
         was installed anew or somebody sits between. If its administrator confirms the new key: `{forget}`, then \
         `{accept}`{advice}",
        file.display()
    )]
    ChangedHost {
        /// Host and port.
        place: String,
        /// The key that it shows.
        fingerprint: String,
        /// The key that it is known by.
        known: String,
        /// The file where that stands.
        file: PathBuf,
        /// The line in it.
        line: usize,
        /// The command that forgets the old key.
        forget: String,
        /// The command that makes the new one known.
        accept: String,
        /// What else has to be done.
        advice: &'static str,
    },
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
    /// The server does not connect to sockets for this account.
    #[error(
        "the SSH server {place} let {user} in and does not connect to the socket {} for it ({said}): allow it there, \
         `AllowStreamLocalForwarding yes` in /etc/ssh/sshd_config (no `DisableForwarding`, and no `restrict` or \
         `no-port-forwarding` before the key in authorized_keys), then `sudo systemctl reload ssh`; if it is allowed, nobody listens on that socket: `sudo systemctl \
         restart libvirtd`",
        socket.display()
    )]
    ForwardingForbidden {
        /// Host and port.
        place: String,
        /// The account.
        user: String,
        /// The socket.
        socket: PathBuf,
        /// The server's word.
        said: String,
    },
    /// libvirt does not listen on the host.
    #[error(
        "libvirt does not listen on {place} (looked at {looked}). Start it there: `sudo systemctl start libvirtd`, or \
         where its daemons are separate `sudo systemctl start virtqemud virtnetworkd virtstoraged virtproxyd`; if it is \
         not installed, on Debian and Ubuntu `sudo apt-get install libvirt-daemon-system qemu-system-x86`"
    )]
    NoSocket {
        /// Host and port.
        place: String,
        /// The places.
        looked: String,
    },
    /// Only the modular daemon of the QEMU driver listens, which has no networks and no storage.
    #[error(
        "libvirt runs as separate daemons on {place} ({} is there, libvirt-sock is not): start the one that offers them \
         together: `sudo systemctl enable --now virtproxyd.socket`",
        found.display()
    )]
    OnlyModular {
        /// Host and port.
        place: String,
        /// The socket that exists.
        found: PathBuf,
    },
    /// The account may not open the socket.
    #[error(
        "{user} may not open {} on {place}: let the account in there: `sudo usermod -aG libvirt {user}`",
        socket.display()
    )]
    Permission {
        /// Host and port.
        place: String,
        /// The account.
        user: String,
        /// The socket.
        socket: PathBuf,
    },
    /// The server could not connect to the socket.
    #[error(
        "the SSH server {place} does not connect to {} ({said}). Look there whether libvirt is started (`sudo systemctl \
         start libvirtd`), whether the account is in the group libvirt, and whether AllowStreamLocalForwarding in \
         /etc/ssh/sshd_config is on",
        socket.display()
    )]
    Socket {
        /// Host and port.
        place: String,
        /// The socket.
        socket: PathBuf,
        /// The server's word.
        said: String,
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
    /// The place of the account's own socket could not be learnt.
    #[error(
        "the place of {user}'s own libvirt on {place} could not be learnt: {reason}. Name it with ?socket="
    )]
    SessionPlace {
        /// Host and port.
        place: String,
        /// The account.
        user: String,
        /// Why.
        reason: String,
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
