//! The crate against servers by other hands: Samba, and OpenSSH with its SFTP server.

mod conformance;
mod cuts;
mod machine;
mod protection;
mod proxy;
mod refusals;
mod samba;
mod sshd;
mod ways;
