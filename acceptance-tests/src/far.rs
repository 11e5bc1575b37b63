//! A host on another machine: a private host with an SSH server and TLS in it, reached from outside over relays that can
//! make the way long.

use crate::command::end_of;
use crate::error::{HarnessError, Result};
use crate::host::{Host, HostOptions, TLS_PORT};
use crate::relay::Relay;
use crate::sshd::{self, Sshd};
use crate::tls::{Authority, For};
use serde::{Deserialize, Serialize};
use std::path::Path;
use std::time::Duration;
use tempfile::TempDir;

/// How it is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Way {
    /// libvirt's TLS.
    Tls,
    /// SSH, to the host's own socket.
    Ssh,
}

/// What makes the way long.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum RelayedBy {
    /// The kernel, by `netem`.
    Netem,
    /// The relay.
    Relay,
}

/// A host, and what lets a client in.
#[derive(Debug)]
pub struct Far {
    /// The host, also by its own socket.
    pub host: Host,
    /// Its SSH server.
    pub sshd: Sshd,
    /// Who signs certificates.
    pub authority: Authority,
    /// A client's certificate.
    pub pki: TempDir,
}

impl Far {
    /// Starts one.
    pub fn start() -> Result<Self> {
        let directory = || TempDir::new().map_err(HarnessError::file("make a directory for certificates"));
        let (server, pki) = (directory()?, directory()?);
        let authority = Authority::new("lab")?;
        authority.certify(For::Server, "DNS:localhost", server.path())?;
        authority.certify(For::Client, "client", pki.path())?;
        let options = HostOptions {
            tls: Some(server.path().to_owned()),
            ..HostOptions::default()
        };
        let host = Host::start_with(&options)?;
        Ok(Self {
            sshd: Sshd::start(&host, sshd::PORT, "")?,
            host,
            authority,
            pki,
        })
    }

    /// A new relay to it.
    pub fn relay(&self, way: Way) -> Result<Relay> {
        let port = match way {
            Way::Tls => TLS_PORT,
            Way::Ssh => sshd::PORT,
        };
        Relay::to(&self.host, port)
    }

    /// The socket that SSH leads to.
    pub fn socket(&self) -> String {
        self.host.directory().join("libvirt-sock").display().to_string()
    }

    /// Its URI over a relay that listens on a port of 127.0.0.1.
    pub fn uri(&self, way: Way, port: u16) -> Result<String> {
        Ok(match way {
            Way::Tls => tls("localhost", port, self.pki.path()),
            Way::Ssh => {
                let known = self.sshd.known_hosts(port)?;
                ssh(port, &self.socket(), &self.sshd.key.private(), &known)
            }
        })
    }

    /// Makes the way by a relay long: by the kernel where it can, else by the relay.
    pub fn lengthen(&self, relay: &Relay, each_way: Duration) -> RelayedBy {
        let mut netem = self.host.command("tc");
        netem.args(["qdisc", "add", "dev", "lo", "root", "netem", "delay"]);
        netem.arg(format!("{}us", each_way.as_micros()));
        if end_of(&mut netem).is_ok_and(|ended| ended.status.success()) {
            return RelayedBy::Netem;
        }
        relay.delay(each_way);
        RelayedBy::Relay
    }

    /// Makes it short again.
    pub fn shorten(&self, relay: &Relay) {
        relay.delay(Duration::ZERO);
        let mut netem = self.host.command("tc");
        let _there_may_be_none = end_of(netem.args(["qdisc", "del", "dev", "lo", "root"]));
    }
}

/// A URI by SSH to a port of 127.0.0.1.
pub fn ssh(port: u16, socket: &str, key: &Path, known: &Path) -> String {
    format!(
        "qemu+ssh://root@127.0.0.1:{port}/system?socket={socket}&keyfile={}&known_hosts={}",
        key.display(),
        known.display()
    )
}

/// A URI by TLS.
pub fn tls(host: &str, port: u16, pki: &Path) -> String {
    format!("qemu+tls://{host}:{port}/system?pkipath={}", pki.display())
}
