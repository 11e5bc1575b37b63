//! A provider's process, started as Terraform starts it.

use std::io::{BufRead as _, BufReader, Read as _};
use std::path::PathBuf;
use std::process::{Child, ChildStderr, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;

use super::client::{Client, ClientCertificate};
use super::{Scratch, example, signal};

const COOKIE: &str = "d602bf8f470bc67ca7faa0386276bbdd4330efaf76d1a219cb4d6991ca9872b2";

/// A running provider.
pub(crate) struct Plugin {
    child: Child,
    stderr: Option<ChildStderr>,
    /// The fields of its first line.
    pub(crate) handshake: Vec<String>,
    pub(crate) scratch: Scratch,
}

/// The faulty provider as a command, without anything that belongs to a plugin's environment.
pub(crate) fn faulty(scratch: &Scratch) -> Command {
    let mut command = Command::new(example("faulty"));
    command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    for name in [
        "TF_LOG",
        "TF_LOG_PROVIDER",
        "FAULTY",
        "TF_PLUGIN_MAGIC_COOKIE",
        "PLUGIN_CLIENT_CERT",
    ] {
        command.env_remove(name);
    }
    command.env("TMPDIR", scratch.tmp());
    command
}

impl Plugin {
    /// Starts it with this certificate as the parent's (none: plaintext).
    pub(crate) fn start(parent: Option<&ClientCertificate>, env: &[(&str, &str)]) -> Self {
        let scratch = Scratch::new();
        let mut command = faulty(&scratch);
        command
            .env("TF_PLUGIN_MAGIC_COOKIE", COOKIE)
            .env("PLUGIN_PROTOCOL_VERSIONS", "5,6");
        command
            .env("FAULTY_LOG", scratch.path().join("log"))
            .env("FAULTY_MARK", scratch.path().join("mark"));
        if let Some(certificate) = parent {
            command.env("PLUGIN_CLIENT_CERT", &certificate.pem);
        }
        let mut child = command.envs(env.iter().copied()).spawn().expect("the provider");
        let mut line = String::new();
        let stdout = child.stdout.take().expect("its output");
        BufReader::new(stdout)
            .read_line(&mut line)
            .expect("its first line");
        let handshake = line.trim_end().split('|').map(str::to_owned).collect();
        let stderr = child.stderr.take();
        Self {
            child,
            stderr,
            handshake,
            scratch,
        }
    }

    pub(crate) fn socket(&self) -> PathBuf {
        PathBuf::from(&self.handshake[3])
    }

    /// Its certificate, from the handshake.
    pub(crate) fn certificate(&self) -> Option<Vec<u8>> {
        let text = &self.handshake[5];
        (!text.is_empty()).then(|| STANDARD_NO_PAD.decode(text).expect("base64 without padding"))
    }

    /// Connects with this certificate (none: plaintext).
    pub(crate) async fn connect(&self, with: Option<&ClientCertificate>) -> Client {
        Client::connect(&self.socket(), self.certificate(), with)
            .await
            .expect("a connection")
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn signal(&self, name: &str) {
        signal(name, &self.child.id().to_string());
    }

    /// Waits until it ends.
    pub(crate) fn ends_within(&mut self, limit: Duration) -> ExitStatus {
        let start = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().expect("its status") {
                return status;
            }
            assert!(start.elapsed() < limit, "the provider still runs after {limit:?}");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// All it wrote to stderr; it must have ended.
    pub(crate) fn stderr(&mut self) -> String {
        let mut text = String::new();
        self.stderr
            .take()
            .expect("read once")
            .read_to_string(&mut text)
            .expect("its stderr");
        text
    }

    /// What it noted of its life.
    pub(crate) fn log(&self) -> Vec<String> {
        let text = std::fs::read_to_string(self.scratch.path().join("log")).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }

    /// Whether a slow operation is under way.
    pub(crate) fn is_marked(&self) -> bool {
        self.scratch.path().join("mark").exists()
    }

    pub(crate) fn forget_mark(&self) {
        std::fs::remove_file(self.scratch.path().join("mark")).expect("the mark");
    }
}

impl Drop for Plugin {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
