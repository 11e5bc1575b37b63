//! The acceptor of logins: `acceptor.py`, a process of its own, so that what opens our client's seals was written by others.

use std::process::Stdio;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::sync::{mpsc, oneshot};

use super::super::config::{Hardening, User};

const SCRIPT: &str = include_str!("acceptor.py");

/// The acceptor cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum NoAcceptor {
    /// It could not be started.
    #[error("python3 with python3-gssapi and gss-ntlmssp takes the logins, and cannot be started: {0}")]
    NotStarted(#[from] std::io::Error),
    /// It does not answer.
    #[error("the acceptor of logins has ended; it needs the packages python3-gssapi and gss-ntlmssp")]
    Gone,
}

/// What a leg of a login came to.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Leg {
    /// It goes on with this token.
    GoesOn(String),
    /// It is this user, as the acceptor names him.
    Complete { user: String, token: Option<String> },
    /// It failed.
    Failed(String),
}

/// A running acceptor.
#[derive(Clone, Debug)]
pub(crate) struct Acceptor {
    asks: mpsc::UnboundedSender<(Value, Option<oneshot::Sender<Value>>)>,
}

impl Acceptor {
    /// Starts one that knows these users of a computer.
    pub(crate) async fn start(users: &[User], computer: &str) -> Result<Self, NoAcceptor> {
        let file = tempfile::NamedTempFile::new()?;
        let lines = users
            .iter()
            .map(|user| format!("{}:{}:{}\n", user.domain_on(computer), user.name, user.password));
        std::fs::write(file.path(), lines.collect::<String>())?;
        let mut child = Command::new("/usr/bin/python3")
            .args(["-u", "-c", SCRIPT])
            .env("NTLM_USER_FILE", file.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        let (Some(input), Some(output)) = (child.stdin.take(), child.stdout.take()) else {
            return Err(NoAcceptor::Gone);
        };
        let (asks, asked) = mpsc::unbounded_channel();
        tokio::spawn(serve(asked, input, BufReader::new(output), (child, file)));
        let acceptor = Self { asks };
        // That it answers shows that its libraries are there.
        acceptor.ask(json!({"op": "drop", "id": 0})).await?;
        Ok(acceptor)
    }

    async fn ask(&self, ask: Value) -> Result<Value, NoAcceptor> {
        let (sender, answer) = oneshot::channel();
        self.asks
            .send((ask, Some(sender)))
            .map_err(|_| NoAcceptor::Gone)?;
        answer.await.map_err(|_| NoAcceptor::Gone)
    }

    /// One more token of a login.
    pub(crate) async fn step(
        &self,
        id: u64,
        token: &str,
        binding: Option<(&str, Hardening)>,
    ) -> Result<Leg, NoAcceptor> {
        let hardening = match binding {
            Some((_, Hardening::Strict)) => "strict",
            Some((_, Hardening::Relaxed)) => "relaxed",
            Some((_, Hardening::None)) | None => "none",
        };
        let binding = binding.map(|(hash, _)| hash);
        let ask = json!({"op": "step", "id": id, "token": token, "binding": binding, "hardening": hardening});
        let answer = self.ask(ask).await?;
        let text = |name: &str| answer[name].as_str().map(str::to_owned);
        Ok(match (text("error"), answer["complete"].as_bool()) {
            (Some(error), _) => Leg::Failed(error),
            (None, Some(true)) => Leg::Complete {
                user: text("user").unwrap_or_default(),
                token: text("token"),
            },
            _ => Leg::GoesOn(text("token").unwrap_or_default()),
        })
    }

    /// What is in a sealed message; `None` where it does not open.
    pub(crate) async fn unwrap(&self, id: u64, sealed: &[u8]) -> Result<Option<Vec<u8>>, NoAcceptor> {
        self.data("unwrap", id, sealed).await
    }

    /// A message, sealed.
    pub(crate) async fn wrap(&self, id: u64, plain: &[u8]) -> Result<Option<Vec<u8>>, NoAcceptor> {
        self.data("wrap", id, plain).await
    }

    async fn data(&self, op: &str, id: u64, data: &[u8]) -> Result<Option<Vec<u8>>, NoAcceptor> {
        let answer = self
            .ask(json!({"op": op, "id": id, "data": BASE64.encode(data)}))
            .await?;
        Ok(answer["data"].as_str().and_then(|data| BASE64.decode(data).ok()))
    }

    /// A login that is over. Nobody waits for that.
    pub(crate) fn forget(&self, id: u64) {
        let _ = self.asks.send((json!({"op": "drop", "id": id}), None));
    }
}

/// Asks one after the other, as long as somebody may ask.
async fn serve(
    mut asked: mpsc::UnboundedReceiver<(Value, Option<oneshot::Sender<Value>>)>,
    mut input: ChildStdin,
    mut output: BufReader<ChildStdout>,
    _kept: (Child, tempfile::NamedTempFile),
) {
    let mut line = String::new();
    while let Some((ask, answer)) = asked.recv().await {
        if input.write_all(format!("{ask}\n").as_bytes()).await.is_err() {
            return;
        }
        line.clear();
        match output.read_line(&mut line).await {
            Ok(1..) => {}
            _ => return,
        }
        if let (Some(answer), Ok(read)) = (answer, serde_json::from_str(&line)) {
            let _ = answer.send(read);
        }
    }
}
