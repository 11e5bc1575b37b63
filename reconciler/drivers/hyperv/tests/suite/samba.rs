//! A Samba server that serves the directory of a host's drive, as the host itself would.

use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use labyard_files::{Account, Deadlines, Encryption, HostPath, Share, SmbFiles, SmbHost, Tcp};
use tempfile::TempDir;

const USER: &str = "root";
const PASSWORD: &str = "Zürich-4711";

pub(crate) struct Samba {
    server: Child,
    port: u16,
    _directory: TempDir,
}

impl Samba {
    /// Serves a directory as `D$`.
    pub(crate) fn start(drive: &Path) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let port = TcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap()
            .port();
        let here = directory.path().display();
        for name in ["private", "state", "lock", "cache", "pid", "rpc"] {
            std::fs::create_dir(directory.path().join(name)).unwrap();
        }
        let lines = format!(
            "[global]\nworkgroup = LAB\nsecurity = user\ndisable netbios = yes\nsmb ports = {port}\n\
             interfaces = 127.0.0.1/8\nbind interfaces only = yes\nprivate dir = {here}/private\n\
             state directory = {here}/state\nlock directory = {here}/lock\ncache directory = {here}/cache\n\
             pid directory = {here}/pid\nncalrpc dir = {here}/rpc\npassdb backend = tdbsam:{here}/private/passdb.tdb\n\
             log file = {here}/log\nload printers = no\nprintcap name = /dev/null\ndisable spoolss = yes\n\
             map to guest = never\nstore dos attributes = yes\nmap readonly = no\n\
             [D$]\npath = {}\nread only = no\nvalid users = {USER}\n",
            drive.display()
        );
        let config = directory.path().join("smb.conf");
        std::fs::write(&config, lines).unwrap();
        let add = format!("printf '{PASSWORD}\\n{PASSWORD}\\n' | smbpasswd -c \"$1\" -L -a -s {USER}");
        let added = Command::new("sh")
            .args(["-c", &add, "-"])
            .arg(&config)
            .output()
            .unwrap();
        assert!(
            added.status.success(),
            "{}",
            String::from_utf8_lossy(&added.stderr)
        );
        let server = Command::new("smbd")
            .args(["--foreground", "-s"])
            .arg(&config)
            // It ends when this does, should the test be killed.
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let samba = Self {
            server,
            port,
            _directory: directory,
        };
        let until = Instant::now() + Duration::from_secs(30);
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(Instant::now() < until, "Samba does not listen");
            std::thread::sleep(Duration::from_millis(50));
        }
        samba
    }

    pub(crate) fn files(&self, root: &str) -> SmbFiles {
        let host = SmbHost {
            dial: Arc::new(Tcp {
                host: "127.0.0.1".into(),
                port: self.port,
            }),
            name: "127.0.0.1".into(),
            account: Account::new(USER, PASSWORD),
            share: Share::Administrative,
            encryption: Encryption::WhereOffered,
            deadlines: Deadlines::default(),
        };
        SmbFiles::new(host, &HostPath::new(root).unwrap()).unwrap()
    }
}

impl Drop for Samba {
    fn drop(&mut self) {
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}
