//! A libvirt host of the test's own: libvirtd in namespaces, all its files in one directory.

use crate::assets::script;
use crate::command::{end_of, output_of};
use crate::error::{HarnessError, Result};
use crate::inventory::Inventory;
use crate::observer::Observer;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

/// What a host is started with.
#[derive(Debug, Clone, Default)]
pub struct HostOptions {
    /// Pools that can run full: name and size, as mount's tmpfs takes it (`8M`).
    pub tmpfs_pools: Vec<(String, String)>,
    /// A directory with the certificates of a host that listens for TLS inside, on [`TLS_PORT`].
    pub tls: Option<PathBuf>,
    /// Rules of polkit that say who may do what, and an account that they are about: its name and id. Such a host is
    /// asked from inside of it alone.
    pub polkit: Option<(PathBuf, String, u32)>,
}

/// The port of libvirt's TLS inside of a host.
pub const TLS_PORT: u16 = 16514;

/// What can be done to libvirtd alone; its guests stay as they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Daemon {
    /// SIGKILL.
    Kill,
    /// SIGSTOP: it takes calls no more, but its sockets stand.
    Stop,
    /// SIGCONT.
    Continue,
    /// A new libvirtd after `Kill`.
    Start,
}

/// A process on the host, as seen from outside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostProcess {
    /// Its id in our own namespace, to be signalled.
    pub id: u32,
    /// `qemu`, `dnsmasq`, `libvirtd`, ...
    pub kind: String,
    /// The guest or network it serves; empty for others.
    pub name: String,
}

/// A private host. It ends when it is dropped, and at the latest with this process.
#[derive(Debug)]
pub struct Host {
    directory: PathBuf,
    labyard: OnceLock<crate::daemon::Daemon>,
}

impl Host {
    /// Starts a host with nothing on it but its storage pool `default`.
    pub fn start() -> Result<Self> {
        Self::start_with(&HostOptions::default())
    }

    /// Starts a host.
    pub fn start_with(options: &HostOptions) -> Result<Self> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let all = hosts_directory();
        std::fs::create_dir_all(&all).map_err(HarnessError::file(format!("create {}", all.display())))?;
        output_of(&mut private_host("sweep", &all))?;
        let owner = std::process::id();
        let host = Self {
            directory: all.join(format!("{owner}-{}", COUNT.fetch_add(1, Ordering::Relaxed))),
            labyard: OnceLock::new(),
        };
        let mut start = private_host("start", &host.directory);
        start.arg("--owner").arg(owner.to_string());
        for (name, size) in &options.tmpfs_pools {
            start.args(["--tmpfs-pool", name, size]);
        }
        if let Some(certificates) = &options.tls {
            start.arg("--tls").arg(certificates);
        }
        if let Some((rules, name, id)) = &options.polkit {
            start.arg("--polkit").arg(rules);
            start.args(["--account", name, &id.to_string()]);
        }
        // Another release's libvirt, for a whole run of tests.
        if let Some(programs) = std::env::var_os("LABYARD_HOST_PROGRAMS") {
            start.arg("--programs").arg(programs);
        }
        output_of(&mut start)?;
        Ok(host)
    }

    /// The host that the tests of one binary share; they keep to names of their own on it.
    pub fn shared() -> &'static Self {
        static SHARED: OnceLock<Host> = OnceLock::new();
        SHARED.get_or_init(|| Self::start().unwrap_or_else(|error| panic!("no private host: {error}")))
    }

    /// Has a daemon drive it, through which configurations of [`crate::hcl::on`] go from now on.
    #[track_caller]
    pub fn serve(&self) -> &crate::daemon::Daemon {
        self.labyard.get_or_init(|| {
            let uri = self.uri();
            let hosts =
                format!("hosts = {{ lab1 = {{ libvirt = {{ uri = {uri:?}, accelerator = \"qemu\" }} }} }}");
            crate::daemon::Daemon::with_store_of_its_own(&hosts)
        })
    }

    /// The daemon that drives it, where one does.
    pub fn served(&self) -> Option<&crate::daemon::Daemon> {
        self.labyard.get()
    }

    /// How libvirt's clients reach it.
    pub fn uri(&self) -> String {
        format!(
            "qemu:///system?socket={}",
            self.directory.join("libvirt-sock").display()
        )
    }

    /// The same by the socket that only lets read; `mode=ro`, which our own client needs beside it, is not in it.
    pub fn read_only_uri(&self) -> String {
        format!(
            "qemu:///system?socket={}",
            self.directory.join("libvirt-sock-ro").display()
        )
    }

    /// Where its files are, as seen from outside.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// Where the volumes of its pool `default` are.
    pub fn pool_directory(&self) -> PathBuf {
        self.directory.join("pool")
    }

    /// A command that will run inside, where guests can be reached.
    pub fn command(&self, program: impl AsRef<OsStr>) -> Command {
        inside(&self.directory, program)
    }

    /// Runs `virsh` against it: for what the observer does not offer.
    pub fn virsh(&self, arguments: &[&str]) -> Result<String> {
        output_of(
            Command::new("virsh")
                .args(["-q", "-c", &self.uri()])
                .args(arguments),
        )
    }

    /// A connection of the independent observer.
    pub fn observer(&self) -> Result<Observer> {
        Observer::connect(&self.uri())
    }

    /// All that stands on it, to be compared with a later one.
    pub fn inventory(&self) -> Result<Inventory> {
        Ok(Inventory::of(&output_of(&mut private_host(
            "inventory",
            &self.directory,
        ))?))
    }

    /// Ends the test with what is left over or lost, measured by an earlier inventory.
    #[track_caller]
    pub fn assert_as(&self, before: &Inventory) {
        let changes = before.changes_to(&self.inventory().unwrap());
        assert!(changes.is_empty(), "left over or lost:\n{changes}");
    }

    /// Another directory pool beside `default`, which lies in the host's own directory.
    pub fn add_pool(&self, name: &str) -> Result<()> {
        let target = self.directory.join(name);
        std::fs::create_dir_all(&target)
            .map_err(HarnessError::file(format!("create {}", target.display())))?;
        let target = target.display().to_string();
        self.virsh(&["pool-define-as", name, "dir", "--target", &target])?;
        self.virsh(&["pool-start", name]).map(drop)
    }

    /// The processes that run on it.
    pub fn processes(&self) -> Result<Vec<HostProcess>> {
        let listed = output_of(&mut private_host("processes", &self.directory))?;
        Ok(listed.lines().filter_map(host_process).collect())
    }

    /// The QEMU process of a running guest.
    pub fn guest_process(&self, name: &str) -> Result<Option<u32>> {
        let all = self.processes()?;
        Ok(all
            .into_iter()
            .find(|process| process.kind == "qemu" && process.name == name)
            .map(|found| found.id))
    }

    /// Does something to libvirtd alone.
    pub fn daemon(&self, what: Daemon) -> Result<()> {
        let verb = match what {
            Daemon::Kill => "kill",
            Daemon::Stop => "stop",
            Daemon::Continue => "cont",
            Daemon::Start => "start",
        };
        output_of(private_host("daemon", &self.directory).arg(verb)).map(drop)
    }

    /// The address that a network's DHCP gave to a MAC, if it did.
    pub fn lease(&self, network: &str, mac: &str) -> Result<Option<String>> {
        let listed = self.virsh(&["net-dhcp-leases", network, "--mac", mac])?;
        let address = listed
            .split_whitespace()
            .find(|word| word.contains('/') && word.contains('.'));
        Ok(address.and_then(|word| word.split('/').next()).map(str::to_owned))
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        // Nothing can be done here about a failure; the host's watcher and the next sweep try again.
        if let Err(error) = end_of(&mut private_host("stop", &self.directory)) {
            eprintln!("private host left behind: {error}");
        }
    }
}

/// Short, because sockets have their addresses below it.
fn hosts_directory() -> PathBuf {
    std::env::var_os("LABYARD_HOSTS_DIR").map_or_else(|| PathBuf::from("/tmp/labyard-hosts"), PathBuf::from)
}

/// A command that will run inside of the host in a directory.
pub(crate) fn inside(directory: &Path, program: impl AsRef<OsStr>) -> Command {
    let mut command = private_host("exec", directory);
    command.arg("--").arg(program);
    command
}

fn private_host(verb: &str, directory: &Path) -> Command {
    let mut command = Command::new(script("private-host"));
    command.arg(verb).arg(directory);
    command
}

fn host_process(line: &str) -> Option<HostProcess> {
    let mut words = line.splitn(3, ' ');
    let id = words.next()?.parse().ok()?;
    let kind = words.next()?.to_owned();
    Some(HostProcess {
        id,
        kind,
        name: words.next().unwrap_or_default().to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_line_is_read_with_and_without_a_name() {
        let guest = HostProcess {
            id: 7,
            kind: "qemu".into(),
            name: "my web".into(),
        };
        assert_eq!(host_process("7 qemu my web"), Some(guest));
        let daemon = HostProcess {
            id: 8,
            kind: "libvirtd".into(),
            name: String::new(),
        };
        assert_eq!(host_process("8 libvirtd"), Some(daemon));
        assert_eq!(host_process("nonsense"), None);
    }
}
