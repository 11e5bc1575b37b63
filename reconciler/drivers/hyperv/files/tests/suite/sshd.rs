//! An OpenSSH server of a test's own, with its SFTP server, and channels of it by russh.

use std::net::TcpStream;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::Arc;

use async_trait::async_trait;
use labyard_files::{Deadlines, Dial, Served, SftpFiles, Stream, Trouble};
use russh::client::{self, Handle};
use russh::keys::{PrivateKeyWithHashAlg, PublicKeyOrCertificate, load_secret_key};
use tempfile::TempDir;
use tokio::sync::Mutex;

use crate::machine::{Ends, can_serve, free_port, open_to_all, root, run, until, which};

pub(crate) struct Sshd {
    _server: Ends,
    port: u16,
    directory: TempDir,
}

impl Sshd {
    /// Starts one; nothing where that is not possible.
    pub(crate) fn start() -> Option<Self> {
        if !can_serve(&["sshd", "ssh-keygen"]) {
            return None;
        }
        let directory = TempDir::new().unwrap();
        open_to_all(directory.path());
        let port = free_port();
        for name in ["host", "user"] {
            run(Command::new("ssh-keygen")
                .args(["-q", "-t", "ed25519", "-N", "", "-f"])
                .arg(directory.path().join(name)));
        }
        std::fs::create_dir(directory.path().join("served")).unwrap();
        let here = directory.path().display();
        let config = format!(
            "Port {port}\nListenAddress 127.0.0.1\nHostKey {here}/host\nPidFile none\n\
             AuthorizedKeysFile {here}/user.pub\nStrictModes no\nUsePAM no\nPermitRootLogin prohibit-password\n\
             PasswordAuthentication no\nKbdInteractiveAuthentication no\nLogLevel ERROR\nMaxSessions 100\n\
             Subsystem sftp internal-sftp\n"
        );
        std::fs::write(directory.path().join("config"), config).unwrap();
        // The server locks itself up in an empty directory of this name.
        std::fs::create_dir_all("/run/sshd").unwrap();
        let server = Command::new(which("sshd").unwrap())
            .args(["-D", "-e", "-f"])
            .arg(directory.path().join("config"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let sshd = Self {
            _server: Ends(server),
            port,
            directory,
        };
        until("sshd", || TcpStream::connect(("127.0.0.1", port)).is_ok());
        Some(sshd)
    }

    /// The directory that stands for `D:\labyard`.
    pub(crate) fn served(&self) -> PathBuf {
        self.directory.path().join("served")
    }

    pub(crate) fn channels(&self) -> Arc<Channels> {
        Arc::new(Channels {
            port: self.port,
            key: self.directory.path().join("user"),
            connection: Mutex::new(None),
        })
    }

    pub(crate) fn files(&self) -> SftpFiles {
        self.files_by(self.channels())
    }

    pub(crate) fn files_by(&self, dial: Arc<dyn Dial>) -> SftpFiles {
        let served = Served::Directory {
            path: root(),
            at: self.served().display().to_string(),
        };
        SftpFiles::new(dial, &served, &root(), Deadlines::default()).unwrap()
    }
}

/// Channels of one SSH connection, which is made again after it was cut.
pub(crate) struct Channels {
    port: u16,
    key: PathBuf,
    connection: Mutex<Option<Handle<AnyKey>>>,
}

impl Channels {
    /// Ends the connection under whoever uses it.
    pub(crate) async fn cut(&self) {
        if let Some(connection) = self.connection.lock().await.take() {
            let _gone_already = connection
                .disconnect(russh::Disconnect::ByApplication, "", "")
                .await;
        }
    }

    /// A channel to a port of the server's own machine.
    async fn forwarded(&self, port: u16) -> Box<dyn Stream> {
        let mut current = self.connection.lock().await;
        if current.as_ref().is_none_or(Handle::is_closed) {
            *current = Some(self.connect().await);
        }
        let connection = current.as_ref().unwrap();
        let opened = connection.channel_open_direct_tcpip("127.0.0.1", port.into(), "127.0.0.1", 1);
        Box::new(opened.await.unwrap().into_stream())
    }

    async fn connect(&self) -> Handle<AnyKey> {
        let config = Arc::new(client::Config::default());
        let address = ("127.0.0.1", self.port);
        let mut connection = client::connect(config, address, AnyKey).await.unwrap();
        let key = load_secret_key(&self.key, None).unwrap();
        let key = PrivateKeyWithHashAlg::new(Arc::new(key), None);
        let let_in = connection.authenticate_publickey("root", key).await.unwrap();
        assert!(let_in.success());
        connection
    }
}

#[async_trait]
impl Dial for Channels {
    fn place(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    async fn dial(&self) -> Result<Box<dyn Stream>, Trouble> {
        let mut current = self.connection.lock().await;
        if current.as_ref().is_none_or(Handle::is_closed) {
            *current = Some(self.connect().await);
        }
        let channel = current.as_ref().unwrap().channel_open_session().await.unwrap();
        channel.request_subsystem(true, "sftp").await.unwrap();
        Ok(Box::new(channel.into_stream()))
    }
}

/// Another service of the machine, through its SSH server.
pub(crate) struct Forwarded {
    pub(crate) by: Arc<Channels>,
    pub(crate) port: u16,
}

#[async_trait]
impl Dial for Forwarded {
    fn place(&self) -> String {
        format!("127.0.0.1:{} through {}", self.port, self.by.place())
    }

    async fn dial(&self) -> Result<Box<dyn Stream>, Trouble> {
        Ok(self.by.forwarded(self.port).await)
    }
}

/// The server was started by the test.
struct AnyKey;

impl client::Handler for AnyKey {
    type Error = russh::Error;

    async fn check_server_key(&mut self, _key: &PublicKeyOrCertificate) -> Result<bool, Self::Error> {
        Ok(true)
    }
}
