//! A real SSH server on loopback, with keys of its own, and what a client needs to get in. It ends with its owner.

use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use labyard_ssh::{Environment, Host, Ssh, There, Words};
use tokio::task::JoinSet;

pub(crate) const WORDS: Words = Words {
    host: "its name",
    user: "name it as `user`",
    key_file: "`key_file`",
    known_hosts: "`known_hosts`",
    there: There::Windows,
};

/// The server.
pub(crate) struct Sshd {
    process: Child,
    pub(crate) directory: tempfile::TempDir,
    pub(crate) port: u16,
}

/// Where a program is; `None` where it is not, which is said, and which is an error where all has to be tested.
pub(crate) fn program(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let places = std::env::split_paths(&path).chain(["/usr/sbin".into(), "/sbin".into()]);
    let found = places.map(|place| place.join(name)).find(|path| path.exists());
    if found.is_none() {
        assert!(std::env::var_os("CI").is_none(), "{name} is not installed");
        eprintln!("SKIPPED: {name} is not installed");
    }
    found
}

impl Sshd {
    /// Starts one with more lines of configuration; it lets the user of this process in by one key.
    pub(crate) fn start(more: &str) -> Option<Self> {
        let sshd = program("sshd")?;
        let directory = tempfile::tempdir().unwrap();
        for key in ["host", "key", "stranger"] {
            let made = Command::new("ssh-keygen")
                .args(["-q", "-t", "ed25519", "-N", "", "-C", key, "-f"])
                .arg(directory.path().join(key))
                .status();
            assert!(made.unwrap().success(), "ssh-keygen");
        }
        // The server locks itself up in an empty directory of this name, where it runs as root.
        let _not_root = std::fs::create_dir_all("/run/sshd");
        let port = TcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap()
            .port();
        let config = format!(
            "Port {port}\nListenAddress 127.0.0.1\nHostKey {0}/host\nPidFile none\nAuthorizedKeysFile {0}/key.pub\n\
             StrictModes no\nUsePAM no\nPermitRootLogin prohibit-password\nPasswordAuthentication no\n\
             KbdInteractiveAuthentication no\nLogLevel INFO\nSubsystem sftp internal-sftp\nMaxSessions 100\n\
             MaxStartups 100\n{more}\n",
            directory.path().display()
        );
        std::fs::write(directory.path().join("config"), config).unwrap();
        let process = Command::new(sshd)
            .args(["-D", "-f"])
            .arg(directory.path().join("config"))
            .arg("-E")
            .arg(directory.path().join("log"))
            .stdin(Stdio::null())
            .spawn()
            .unwrap();
        let server = Self {
            process,
            directory,
            port,
        };
        let begun = Instant::now();
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(begun.elapsed() < Duration::from_secs(20), "{}", server.log());
            std::thread::sleep(Duration::from_millis(20));
        }
        Some(server)
    }

    /// How many logins there were.
    pub(crate) fn logins(&self) -> usize {
        self.log().matches("Accepted publickey").count()
    }

    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(self.directory.path().join("log")).unwrap_or_default()
    }

    /// A host that is reached at a port of loopback, with a file that knows its key under that port.
    pub(crate) fn host(&self, port: u16, key: &str) -> Host {
        let public = std::fs::read_to_string(self.directory.path().join("host.pub")).unwrap();
        let known = self.directory.path().join(format!("known-{port}"));
        std::fs::write(&known, format!("[127.0.0.1]:{port} {public}")).unwrap();
        Host {
            host: "127.0.0.1".to_owned(),
            user: None,
            port: Some(port),
            key_file: Some(self.directory.path().join(key)),
            known_hosts: Some(known),
        }
    }

    /// Nothing of whoever runs the tests: neither home nor agent.
    pub(crate) fn environment(&self) -> Environment {
        let user = Command::new("id").arg("-un").output().unwrap();
        Environment {
            home: Some(self.directory.path().join("home")),
            user: Some(String::from_utf8(user.stdout).unwrap().trim().to_owned()),
            agent: None,
            system: self.directory.path().join("system"),
        }
    }

    /// A way in.
    pub(crate) fn ssh(&self) -> Ssh {
        Ssh::new(self.host(self.port, "key"), WORDS).within(self.environment())
    }
}

impl Drop for Sshd {
    fn drop(&mut self) {
        // Sessions end with their clients.
        let _may_have_ended = self.process.kill();
        let _reaped = self.process.wait();
    }
}

/// Passes on to a port; what goes through it can be cut.
pub(crate) struct Relay {
    pub(crate) port: u16,
    pairs: Arc<Mutex<JoinSet<()>>>,
}

impl Relay {
    /// To a port of loopback.
    pub(crate) async fn to(target: u16) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let relay = Self {
            port: listener.local_addr().unwrap().port(),
            pairs: Arc::default(),
        };
        let pairs = Arc::clone(&relay.pairs);
        tokio::spawn(async move {
            loop {
                let (mut near, _) = listener.accept().await.unwrap();
                pairs.lock().unwrap().spawn(async move {
                    let far = tokio::net::TcpStream::connect(("127.0.0.1", target)).await;
                    let _ = tokio::io::copy_bidirectional(&mut near, &mut far.unwrap()).await;
                });
            }
        });
        relay
    }

    /// Ends all that goes through it; what comes later goes through again.
    pub(crate) async fn cut(&self) {
        let mut pairs = std::mem::take(&mut *self.pairs.lock().unwrap());
        pairs.shutdown().await;
    }
}
