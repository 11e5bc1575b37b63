//! What is asked of a guest's agent, as the commands of QEMU's.
//!
//! Files are read and written through handles, a piece at a time, since libvirt's answers are bounded.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use labyard_driver::DriverError;
use labyard_driver::guest::{GuestAnswer, GuestTask, LONGEST_FILE};
use labyard_driver::ids::{ObjectId, UnixMillis};
use libvirt_rpc::{AgentTimeout, DomainRef, Error, ErrorCode};
use serde_json::{Value, json};

use crate::errors::Act;
use crate::host::{Host, Session};
use crate::machines::{act, reference};

/// How long an agent may take for one command; libvirt gives up first, and holds no call open.
const COMMAND: AgentTimeout = AgentTimeout::Seconds(10);
const CALL: Duration = Duration::from_secs(12);
/// The same while file systems are held still or let go: what waits is written out first.
const FREEZE: AgentTimeout = AgentTimeout::Seconds(60);
const FREEZE_CALL: Duration = Duration::from_secs(62);
/// A piece of a file.
const PIECE: usize = 48 << 10;
const NANOS_A_MILLI: u64 = 1_000_000;

/// How often it is asked whether a program has ended, and how often at most.
const LOOK: Duration = Duration::from_millis(100);
const LOOKS: u32 = 300;
/// Sets aside in memory what is a system's own, for any shell.
const SEAL: &str = include_str!("seal.sh");
/// Puts it back.
const UNSEAL: &str = include_str!("unseal.sh");

/// The agent of one guest.
struct Agent {
    session: std::sync::Arc<Session>,
    domain: DomainRef,
    act: Act,
}

pub(crate) async fn ask(host: &Host, id: &ObjectId, task: &GuestTask) -> Result<GuestAnswer, DriverError> {
    let act = act("asking the agent of", id);
    let agent = Agent {
        session: host.session().await?,
        domain: reference(&act, id)?,
        act,
    };
    let done = |_: Value| GuestAnswer::Done;
    match task {
        GuestTask::Time => agent.time().await.map(GuestAnswer::Time),
        GuestTask::SetTime(to) => {
            let time = to.0.saturating_mul(NANOS_A_MILLI);
            agent
                .call("guest-set-time", json!({ "time": time }))
                .await
                .map(done)
        }
        GuestTask::ReadFile(path) => agent.read(path).await.map(GuestAnswer::File),
        GuestTask::WriteFile { path, content } => {
            agent.write(path, content).await.map(|()| GuestAnswer::Done)
        }
        GuestTask::Keys { user } => agent.keys(user).await.map(GuestAnswer::Keys),
        GuestTask::AddKey { user, key } => {
            let arguments = json!({ "username": user, "keys": [key] });
            agent
                .call("guest-ssh-add-authorized-keys", arguments)
                .await
                .map(done)
        }
        GuestTask::RemoveKey { user, key } => {
            let arguments = json!({ "username": user, "keys": [key] });
            agent
                .call("guest-ssh-remove-authorized-keys", arguments)
                .await
                .map(done)
        }
        GuestTask::SetPassword { user, password } => {
            let password = STANDARD.encode(password.reveal());
            let arguments = json!({ "username": user, "password": password, "crypted": false });
            agent.call("guest-set-user-password", arguments).await.map(done)
        }
        GuestTask::Seal => agent.run(SEAL).await.map(|()| GuestAnswer::Done),
        GuestTask::Unseal => agent.run(UNSEAL).await.map(|()| GuestAnswer::Done),
        GuestTask::Freeze => agent.freeze().await.map(|()| GuestAnswer::Done),
        GuestTask::Thaw => agent.slow("guest-fsfreeze-thaw").await.map(done),
    }
}

impl Agent {
    /// One command; its `return`.
    async fn call(&self, command: &str, arguments: Value) -> Result<Value, DriverError> {
        self.try_call(command, arguments)
            .await
            .map_err(|error| self.failed(command, &error))
    }

    /// A command that takes its time.
    async fn slow(&self, command: &str) -> Result<Value, DriverError> {
        let asked = self.try_within((FREEZE, FREEZE_CALL), command, json!({}));
        asked.await.map_err(|error| self.failed(command, &error))
    }

    async fn try_call(&self, command: &str, arguments: Value) -> Result<Value, Error> {
        self.try_within((COMMAND, CALL), command, arguments).await
    }

    async fn try_within(
        &self,
        (limit, call): (AgentTimeout, Duration),
        command: &str,
        arguments: Value,
    ) -> Result<Value, Error> {
        let request = json!({ "execute": command, "arguments": arguments }).to_string();
        let connection = self.session.connection.within(call);
        let answer = connection.domain_agent_command(&self.domain, &request, limit);
        let answer = answer.await?.unwrap_or_default();
        let answer: Value = serde_json::from_str(&answer).unwrap_or_default();
        Ok(answer.get("return").cloned().unwrap_or_default())
    }

    fn failed(&self, command: &str, error: &Error) -> DriverError {
        match error {
            // It does not run, or nobody is behind the channel yet.
            _ if error.is_agent_unavailable() || error.is_invalid_state() => {
                self.act.busy(format!("it does not answer: {error}"))
            }
            _ if said_by_agent(error, &["has not been found", "has been disabled"]) => {
                DriverError::Unsupported {
                    what: format!("{} ({command})", self.act.doing()),
                    message: "the agent is too old for it, or its configuration forbids it".to_owned(),
                }
            }
            _ => self.act.failed(error),
        }
    }

    /// Runs a script in the guest to its end.
    async fn run(&self, script: &str) -> Result<(), DriverError> {
        let program = json!({ "path": "/bin/sh", "arg": ["-c", script], "capture-output": true });
        let begun = self.call("guest-exec", program).await?;
        for _ in 0..LOOKS {
            let status = self.call("guest-exec-status", begun.clone()).await?;
            if status.get("exited").and_then(Value::as_bool) != Some(true) {
                tokio::time::sleep(LOOK).await;
                continue;
            }
            let words = status.get("err-data").and_then(Value::as_str).unwrap_or_default();
            let words = STANDARD.decode(words).unwrap_or_default();
            return match status.get("exitcode").and_then(Value::as_i64) {
                Some(0) => Ok(()),
                _ => Err(self
                    .act
                    .refused(String::from_utf8_lossy(&words).trim().to_owned())),
            };
        }
        Err(self.act.busy("a program that it started does not end"))
    }

    /// A guest that is frozen says so, and is not asked again: an agent takes that for an error.
    async fn freeze(&self) -> Result<(), DriverError> {
        let status = self.call("guest-fsfreeze-status", json!({})).await?;
        match status.as_str() {
            Some("frozen") => Ok(()),
            _ => self.slow("guest-fsfreeze-freeze").await.map(drop),
        }
    }

    async fn time(&self) -> Result<UnixMillis, DriverError> {
        let time = self.call("guest-get-time", json!({})).await?;
        let nanos = time.as_u64().ok_or_else(|| self.act.refused("it told no time"))?;
        Ok(UnixMillis(nanos / NANOS_A_MILLI))
    }

    async fn keys(&self, user: &str) -> Result<Vec<String>, DriverError> {
        let command = "guest-ssh-get-authorized-keys";
        let answer = match self.try_call(command, json!({ "username": user })).await {
            // A user without such a file has no keys.
            Err(error) if is_no_such_file(&error) => return Ok(Vec::new()),
            answer => answer.map_err(|error| self.failed(command, &error))?,
        };
        let keys = answer.get("keys").and_then(Value::as_array);
        let keys = keys.ok_or_else(|| self.act.refused("it told no keys"))?;
        Ok(keys
            .iter()
            .filter_map(|key| key.as_str().map(str::to_owned))
            .collect())
    }

    async fn read(&self, path: &str) -> Result<Option<Vec<u8>>, DriverError> {
        let open = json!({ "path": path, "mode": "r" });
        let handle = match self.try_call("guest-file-open", open).await {
            Ok(handle) => handle,
            Err(error) if is_no_such_file(&error) => return Ok(None),
            Err(error) => return Err(self.failed("guest-file-open", &error)),
        };
        let content = self.read_open(&handle, path).await;
        self.close(&handle).await?;
        content.map(Some)
    }

    async fn read_open(&self, handle: &Value, path: &str) -> Result<Vec<u8>, DriverError> {
        let mut content = Vec::new();
        loop {
            let piece = json!({ "handle": handle, "count": PIECE });
            let piece = self.call("guest-file-read", piece).await?;
            let bytes = piece.get("buf-b64").and_then(Value::as_str).unwrap_or_default();
            let bytes = STANDARD.decode(bytes);
            content.extend(bytes.map_err(|_| self.act.refused(format!("it garbled {path}")))?);
            if content.len() > LONGEST_FILE {
                return Err(self
                    .act
                    .refused(format!("{path} is longer than {LONGEST_FILE} bytes")));
            }
            let count = piece.get("count").and_then(Value::as_u64).unwrap_or(0);
            if count == 0 || piece.get("eof").and_then(Value::as_bool).unwrap_or(true) {
                return Ok(content);
            }
        }
    }

    async fn write(&self, path: &str, content: &[u8]) -> Result<(), DriverError> {
        let open = json!({ "path": path, "mode": "w" });
        let handle = self.call("guest-file-open", open).await?;
        let written = async {
            for piece in content.chunks(PIECE) {
                let buffer = STANDARD.encode(piece);
                let arguments = json!({ "handle": handle, "buf-b64": buffer });
                let answer = self.call("guest-file-write", arguments).await?;
                let count = answer.get("count").and_then(Value::as_u64);
                if count != Some(piece.len() as u64) {
                    return Err(self.act.refused(format!("it wrote only a part of {path}")));
                }
            }
            Ok(())
        };
        let written = written.await;
        self.close(&handle).await?;
        written
    }

    async fn close(&self, handle: &Value) -> Result<(), DriverError> {
        let closed = self.call("guest-file-close", json!({ "handle": handle }));
        closed.await.map(drop)
    }
}

/// The agent passes on what its system said: a file that is not there has only words.
fn is_no_such_file(error: &Error) -> bool {
    let words = [
        "No such file or directory",
        "cannot find the file",
        "cannot find the path",
    ];
    said_by_agent(error, &words)
}

/// Whether the agent answered with an error that has one of these words in it. Old releases of libvirt have no code for
/// such answers.
fn said_by_agent(error: &Error, words: &[&str]) -> bool {
    let Some(answer) = error.server() else {
        return false;
    };
    let is_it = match answer.code {
        ErrorCode::AgentCommandFailed => true,
        ErrorCode::InternalError => answer.message.contains("QEMU agent command"),
        _ => false,
    };
    is_it && words.iter().any(|word| answer.message.contains(word))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::symlink;
    use std::path::Path;
    use std::process::{Command, Output};

    /// Runs a script of a guest's in a directory that stands for the guest's root.
    fn run(script: &str, root: &Path) -> Output {
        let mut script = script.to_owned();
        for directory in ["/var/", "/run/", "/etc/"] {
            script = script.replace(directory, &format!("{}{directory}", root.display()));
        }
        Command::new("/bin/sh").args(["-c", &script]).output().unwrap()
    }

    /// A system with a key and an id.
    fn system() -> tempfile::TempDir {
        let root = tempfile::Builder::new().prefix("guest").tempdir().unwrap();
        for directory in ["etc/ssh", "run", "var/lib/dbus"] {
            fs::create_dir_all(root.path().join(directory)).unwrap();
        }
        fs::write(root.path().join("etc/ssh/ssh_host_rsa_key"), "key").unwrap();
        fs::write(root.path().join("etc/machine-id"), "id").unwrap();
        root
    }

    #[test]
    fn what_is_a_systems_own_is_taken_out_and_put_back() {
        let root = system();
        let file = |path: &str| fs::read_to_string(root.path().join(path)).ok();
        for _ in 0..2 {
            assert!(run(SEAL, root.path()).status.success());
            assert_eq!(file("etc/ssh/ssh_host_rsa_key"), None);
            assert_eq!(file("etc/machine-id").as_deref(), Some(""));
        }
        for _ in 0..2 {
            assert!(run(UNSEAL, root.path()).status.success());
            assert_eq!(file("etc/ssh/ssh_host_rsa_key").as_deref(), Some("key"));
            assert_eq!(file("etc/machine-id").as_deref(), Some("id"));
        }
    }

    #[test]
    fn a_key_that_is_a_link_stays_and_the_system_is_not_called_sealed() {
        let root = system();
        let link = root.path().join("etc/ssh/ssh_host_ed25519_key");
        symlink("/elsewhere/key", &link).unwrap();
        let sealed = run(SEAL, root.path());
        assert!(!sealed.status.success());
        let words = String::from_utf8_lossy(&sealed.stderr).into_owned();
        assert!(words.contains("ssh_host_ed25519_key is a link"), "{words}");
        assert!(link.is_symlink());
        let key = fs::read_to_string(root.path().join("etc/ssh/ssh_host_rsa_key"));
        assert_eq!(key.unwrap(), "key");
        assert!(run(UNSEAL, root.path()).status.success());
        assert!(link.is_symlink());
    }
}
