//! Why libvirt is not reached by SSH, in words that say how to mend it.

use std::path::PathBuf;

/// Why libvirt is not reached by SSH.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum SshError {
    /// There is no session with the host, or it broke off.
    #[error(transparent)]
    Session(#[from] labyard_ssh::Error),
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
}
