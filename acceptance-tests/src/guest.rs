//! A running guest, seen from inside: over SSH from within the host's namespace.

use crate::command::{output_of, output_of_fed};
use crate::error::{HarnessError, Result};
use crate::host::Host;
use crate::seed::KeyPair;
use crate::wait::{Look, until};
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

/// A guest that lets a key in, as root unless another is named.
#[derive(Debug)]
pub struct Guest<'a> {
    host: &'a Host,
    address: String,
    key: PathBuf,
    user: String,
}

impl<'a> Guest<'a> {
    /// The guest at an address; nothing is asked of it yet.
    pub fn at(host: &'a Host, address: impl Into<String>, key: &KeyPair) -> Self {
        Self {
            host,
            address: address.into(),
            key: key.private(),
            user: "root".to_owned(),
        }
    }

    /// The same, entered as another user.
    pub fn as_user(self, user: impl Into<String>) -> Self {
        let user = user.into();
        Self { user, ..self }
    }

    /// The guest with a MAC, once a network's DHCP has given it an address.
    pub fn by_lease(
        host: &'a Host,
        network: &str,
        mac: &str,
        key: &KeyPair,
        limit: Duration,
    ) -> Result<Self> {
        let address = until(&format!("lease of {mac} on {network}"), limit, || {
            Ok(match host.lease(network, mac)? {
                Some(address) => Look::Holds(address),
                None => Look::NotYet("no lease".to_owned()),
            })
        })?;
        Ok(Self::at(host, address, key))
    }

    /// Its address.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Runs a command in it.
    pub fn run(&self, command: &str) -> Result<String> {
        output_of(&mut self.ssh(command))
    }

    /// Runs a command in it that reads a file of ours.
    pub fn feed(&self, command: &str, file: &Path) -> Result<String> {
        let file = File::open(file).map_err(HarnessError::file("open a file"))?;
        output_of_fed(&mut self.ssh(command), file)
    }

    fn ssh(&self, command: &str) -> Command {
        let mut ssh = self.host.command("ssh");
        ssh.arg("-i").arg(&self.key);
        // Guests come and go with fresh host keys at addresses used before.
        for option in [
            "StrictHostKeyChecking=no",
            "UserKnownHostsFile=/dev/null",
            "LogLevel=ERROR",
            "IdentitiesOnly=yes",
            "BatchMode=yes",
            "ConnectTimeout=5",
            // A guest that restarts in the middle of a command never ends the connection.
            "ServerAliveInterval=15",
            "ServerAliveCountMax=4",
        ] {
            ssh.args(["-o", option]);
        }
        ssh.arg(format!("{}@{}", self.user, self.address)).arg(command);
        ssh
    }

    /// Waits until it lets us in.
    pub fn wait_for_ssh(&self, limit: Duration) -> Result<()> {
        until(&format!("SSH to {}", self.address), limit, || {
            Ok(match self.run("true") {
                Ok(_) => Look::Holds(()),
                Err(error) => Look::NotYet(error.to_string()),
            })
        })
    }

    /// Restarts it as a guest does that has done its work, and waits until it lets us in again.
    pub fn restart(&self, limit: Duration) -> Result<()> {
        let before = self.boot_id()?;
        // The line breaks with the guest.
        drop(self.run("(sleep 0.2; reboot -f) >/dev/null 2>&1 </dev/null &"));
        until("another boot of the guest", limit, || {
            Ok(match self.boot_id() {
                Ok(now) if now != before => Look::Holds(()),
                Ok(_) => Look::NotYet("the same boot".to_owned()),
                Err(error) => Look::NotYet(error.to_string()),
            })
        })
    }

    /// What changes with each boot and with nothing else.
    pub fn boot_id(&self) -> Result<String> {
        Ok(self.run("cat /proc/sys/kernel/random/boot_id")?.trim().to_owned())
    }

    /// Its own name for itself.
    pub fn host_name(&self) -> Result<String> {
        Ok(self.run("hostname")?.trim().to_owned())
    }

    /// The size of one of its disks, in bytes, as it sees it: `disk_bytes("vda")`.
    pub fn disk_bytes(&self, device: &str) -> Result<Option<u64>> {
        let sectors = self.run(&format!("cat /sys/block/{device}/size 2>/dev/null || true"))?;
        Ok(sectors.trim().parse::<u64>().ok().map(|sectors| sectors * 512))
    }

    /// How many processors it uses.
    pub fn cpus(&self) -> Result<u32> {
        Ok(self.run("nproc")?.trim().parse().unwrap_or_default())
    }
}
