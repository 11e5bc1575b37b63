//! An SSH server inside of a host, with keys of its own; and what a client needs to get in.

use crate::command::{end_of, output_of};
use crate::error::{HarnessError, Result};
use crate::host::Host;
use crate::seed::KeyPair;
use crate::wait::{Look, until};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;
use tempfile::TempDir;

/// Where it listens inside of the host.
pub const PORT: u16 = 2222;

/// A running server. It lets `root` in by one key.
#[derive(Debug)]
pub struct Sshd {
    process: Child,
    directory: TempDir,
    /// The key that is let in.
    pub key: KeyPair,
}

impl Sshd {
    /// Starts one, with more lines of configuration.
    pub fn start(host: &Host, port: u16, more: &str) -> Result<Self> {
        let directory = TempDir::new().map_err(HarnessError::file("make a directory for sshd"))?;
        let file = |name: &str| directory.path().join(name);
        for kind in ["ed25519", "ecdsa"] {
            let mut make = Command::new("ssh-keygen");
            make.args(["-q", "-t", kind, "-N", "", "-C", "", "-f"]);
            output_of(make.arg(file(kind)))?;
        }
        let key = KeyPair::generate()?;
        write(&file("authorized"), &(key.public.clone() + "\n"))?;
        let config = format!(
            "Port {port}\nListenAddress 127.0.0.1\nHostKey {0}/ed25519\nHostKey {0}/ecdsa\nPidFile none\n\
             AuthorizedKeysFile {0}/authorized\nStrictModes no\nUsePAM no\nPermitRootLogin prohibit-password\n\
             PasswordAuthentication no\nKbdInteractiveAuthentication no\nLogLevel ERROR\n{more}\n",
            directory.path().display()
        );
        write(&file("config"), &config)?;
        // The server locks itself up in an empty directory of this name.
        output_of(host.command("mkdir").args(["-p", "/run/sshd"]))?;
        let program = output_of(
            host.command("sh")
                .args(["-c", "PATH=$PATH:/usr/sbin command -v sshd"]),
        )?;
        let mut command = host.command(program.trim());
        command.args(["-D", "-e", "-f"]).arg(file("config"));
        let process = command
            .stdin(Stdio::null())
            .spawn()
            .map_err(|source| HarnessError::NotStarted {
                command: "sshd".into(),
                source,
            })?;
        let server = Self {
            process,
            directory,
            key,
        };
        until("the SSH server", Duration::from_secs(20), || {
            let probe = format!("exec 3<>/dev/tcp/127.0.0.1/{port}");
            let probed = end_of(host.command("bash").args(["-c", &probe]))?;
            Ok(match probed.status.success() {
                true => Look::Holds(()),
                false => Look::NotYet(probed.stderr),
            })
        })?;
        Ok(server)
    }

    /// The line of `known_hosts` for a name.
    pub fn known(&self, name: &str, kind: &str) -> Result<String> {
        let public = self.directory.path().join(kind).with_extension("pub");
        let public = std::fs::read_to_string(public).map_err(HarnessError::file("read a host key"))?;
        Ok(format!("{name} {public}"))
    }

    /// A file of known hosts for a client that reaches it on a port of 127.0.0.1.
    pub fn known_hosts(&self, port: u16) -> Result<PathBuf> {
        let path = self.directory.path().join(format!("known-{port}"));
        write(&path, &self.known(&format!("[127.0.0.1]:{port}"), "ed25519")?)?;
        Ok(path)
    }

    /// A place for more files of a test.
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }
}

impl Drop for Sshd {
    fn drop(&mut self) {
        // Sessions end with their clients, and all of it with the host.
        let _may_have_ended = self.process.kill();
        let _reaped = self.process.wait();
    }
}

fn write(path: &Path, text: &str) -> Result<()> {
    std::fs::write(path, text).map_err(HarnessError::file(format!("write {}", path.display())))
}
