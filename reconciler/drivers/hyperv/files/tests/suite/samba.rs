//! A Samba server of a test's own: on a loopback port, with its own configuration, directories and users.

use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;

use labyard_files::{Account, Deadlines, Dial, Encryption, Share, SmbFiles, SmbHost, Tcp};
use tempfile::TempDir;

use crate::machine::{Ends, can_serve, free_port, open_to_all, root, run, until, which};

/// A user of the machine who may log in.
pub(crate) const USER: &str = "root";
/// Another one, who may do less.
pub(crate) const OTHER: &str = "daemon";
pub(crate) const PASSWORD: &str = "Zürich-4711";

pub(crate) struct Samba {
    server: Ends,
    pub(crate) port: u16,
    directory: TempDir,
}

impl Samba {
    /// Starts one, with more lines of its section `global`; nothing where that is not possible.
    pub(crate) fn start(more: &str) -> Option<Self> {
        if !can_serve(&["smbd", "smbpasswd"]) {
            return None;
        }
        let directory = TempDir::new().unwrap();
        open_to_all(directory.path());
        let port = free_port();
        let of = |name: &str| directory.path().join(name);
        for name in ["private", "state", "lock", "cache", "pid", "rpc", "served"] {
            std::fs::create_dir(of(name)).unwrap();
        }
        open_to_all(&of("served"));
        let here = directory.path().display();
        let global = format!(
            "[global]\nworkgroup = LAB\nsecurity = user\ndisable netbios = yes\nsmb ports = {port}\n\
             interfaces = 127.0.0.1/8\nbind interfaces only = yes\nprivate dir = {here}/private\n\
             state directory = {here}/state\nlock directory = {here}/lock\ncache directory = {here}/cache\n\
             pid directory = {here}/pid\nncalrpc dir = {here}/rpc\npassdb backend = tdbsam:{here}/private/passdb.tdb\n\
             log file = {here}/log\nload printers = no\nprintcap name = /dev/null\ndisable spoolss = yes\n\
             map to guest = never\nunix extensions = no\nstore dos attributes = yes\nmap readonly = no\n{more}\n"
        );
        // The named share, one of a whole drive that is for one user alone, and one that nobody may write to.
        let shares = format!(
            "[labyard]\npath = {here}/served\nread only = no\n\
             [D$]\npath = {here}\nread only = no\nvalid users = {USER}\n\
             [frozen]\npath = {here}/served\nread only = yes\n"
        );
        let config = of("smb.conf");
        std::fs::write(&config, global + &shares).unwrap();
        for user in [USER, OTHER] {
            let script = format!("printf '{PASSWORD}\\n{PASSWORD}\\n' | smbpasswd -c \"$1\" -L -a -s {user}");
            run(Command::new("sh").args(["-c", &script, "-"]).arg(&config));
        }
        let server = Command::new(which("smbd").unwrap())
            // It makes a session of its own, and at its end asks all of that to end.
            .args(["--foreground", "-s"])
            .arg(&config)
            // It ends when this does, should the test be killed.
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let samba = Self {
            server: Ends(server),
            port,
            directory,
        };
        until("Samba", || TcpStream::connect(("127.0.0.1", port)).is_ok());
        Some(samba)
    }

    /// The directory that stands for `D:\labyard`.
    pub(crate) fn served(&self) -> PathBuf {
        self.directory.path().join("served")
    }

    /// The directory that stands for `D:\`.
    pub(crate) fn drive(&self) -> &Path {
        self.directory.path()
    }

    pub(crate) fn named() -> Share {
        Share::Named {
            name: "labyard".into(),
            path: root(),
        }
    }

    /// How it is reached; a test changes what it is about.
    pub(crate) fn host(&self) -> SmbHost {
        self.through(self.port)
    }

    /// The same through another port.
    pub(crate) fn through(&self, port: u16) -> SmbHost {
        let dial: Arc<dyn Dial> = Arc::new(Tcp {
            host: "127.0.0.1".into(),
            port,
        });
        SmbHost {
            dial,
            name: "127.0.0.1".into(),
            account: Account::new(USER, PASSWORD),
            share: Self::named(),
            encryption: Encryption::WhereOffered,
            deadlines: Deadlines::default(),
        }
    }

    pub(crate) fn files(&self) -> SmbFiles {
        SmbFiles::new(self.host(), &root()).unwrap()
    }

    /// The processes that serve connections.
    pub(crate) fn children(&self) -> Vec<String> {
        let parent = self.server.0.id().to_string();
        let found = Command::new("ps")
            .args(["-o", "pid=", "--ppid", &parent])
            .output()
            .unwrap();
        String::from_utf8_lossy(&found.stdout)
            .split_whitespace()
            .map(str::to_owned)
            .collect()
    }

    /// What Debian's client says to commands, as another client of the same files.
    pub(crate) fn smbclient(&self, commands: &str) -> String {
        self.smbclient_with(&[], commands)
    }

    pub(crate) fn smbclient_with(&self, options: &[&str], commands: &str) -> String {
        let output = run(Command::new("smbclient")
            .args(["//127.0.0.1/labyard", "-p", &self.port.to_string()])
            .args(["-U", &format!("{USER}%{PASSWORD}"), "-c", commands])
            .args(options));
        String::from_utf8_lossy(&output.stdout).into_owned()
    }
}
