//! A daemon as others ask it: by its own command line, and by curl.

use super::Daemon;
use crate::command::{Ended, end_of};
use serde_json::Value;
use std::io::Write as _;
use std::process::{Command, Stdio};

impl Daemon {
    /// The command line, as whoever bears this token or secret.
    pub fn cli(&self, bearer: &str, arguments: &[&str]) -> Ended {
        end_of(self.command(bearer).args(arguments)).expect("labyard")
    }

    fn command(&self, bearer: &str) -> Command {
        let mut command = Command::new(&self.program);
        command
            .env("LABYARD_ENDPOINT", &self.url)
            .env("LABYARD_TOKEN", bearer);
        command
    }

    /// What the command line answers an administrator.
    #[track_caller]
    pub fn json(&self, arguments: &[&str]) -> Value {
        json_of(self.cli(&self.token, &[arguments, &["-o", "json"]].concat()))
    }

    /// Redeems a code by the command line, which reads it from its standard input; more arguments besides.
    #[track_caller]
    pub fn redeem(&self, code: &str, user: &str, more: &[&str]) -> Value {
        let mut command = self.command(&self.token);
        command
            .args(["claim", "redeem", "-o", "json", "--user", user])
            .args(more)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = command.spawn().expect("labyard");
        let input = child.stdin.take();
        input
            .expect("an input")
            .write_all(code.as_bytes())
            .expect("to be read");
        let out = child.wait_with_output().expect("an end");
        let said = String::from_utf8_lossy(&out.stderr).into_owned();
        assert!(out.status.success(), "{said}");
        serde_json::from_slice(&out.stdout).expect("JSON")
    }

    /// Redeems a code as a proxy does that saw the request come from this address; the configuration has to trust
    /// `127.0.0.1`.
    #[track_caller]
    pub fn redeem_from(&self, address: &str, code: &str, user: &str) -> Value {
        let body = serde_json::json!({"code": code, "user": user}).to_string();
        let (forwarded, key) = (
            format!("X-Forwarded-For: {address}"),
            format!("Idempotency-Key: {user}"),
        );
        let json = "Content-Type: application/json";
        self.ask(
            "/v1/claims",
            &[
                "-X", "POST", "-H", json, "-H", &forwarded, "-H", &key, "-d", &body,
            ],
        )
    }

    /// Puts something by its route, and hands back the operation that came of it.
    #[track_caller]
    pub fn put(&self, path: &str, body: &Value) -> Value {
        let body = body.to_string();
        self.ask(
            path,
            &["-X", "PUT", "-H", "Content-Type: application/json", "-d", &body],
        )
    }

    /// Deletes something by its route, and hands back the operation that came of it.
    #[track_caller]
    pub fn delete(&self, path: &str) -> Value {
        self.ask(path, &["-X", "DELETE"])
    }

    #[track_caller]
    fn ask(&self, path: &str, arguments: &[&str]) -> Value {
        let mut curl = Command::new("curl");
        curl.args(["-sS", "--fail-with-body", "-H"]);
        curl.arg(format!("Authorization: Bearer {}", self.token));
        json_of(end_of(curl.args(arguments).arg(format!("{}{path}", self.url))).expect("curl"))
    }
}

#[track_caller]
fn json_of(ended: Ended) -> Value {
    let ended = ended.successful().unwrap();
    serde_json::from_str(&ended.stdout).unwrap_or_else(|error| panic!("{error}: {}", ended.stdout))
}
