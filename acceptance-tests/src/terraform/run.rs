//! One run of Terraform: what it said, as text and as diagnostics; and one that still goes on.

use crate::command::Ended;
use crate::error::{HarnessError, Result};
use crate::processes::{self, Signal};
use std::io::Read;
use std::path::PathBuf;
use std::process::{Child, ExitStatus};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// What Terraform tells a user about a problem.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnostic {
    /// `error` or `warning`.
    pub severity: String,
    /// The headline.
    pub summary: String,
    /// The explanation.
    pub detail: String,
    /// The resource it is about, if any.
    pub address: Option<String>,
    /// The line of configuration it points at, if any.
    pub snippet: Option<String>,
}

impl Diagnostic {
    /// Headline and explanation together, for a search.
    pub fn text(&self) -> String {
        format!("{}\n{}", self.summary, self.detail)
    }
}

/// A run that has ended.
#[derive(Debug, Clone)]
pub struct Run {
    ended: Ended,
    messages: Vec<serde_json::Value>,
}

impl Run {
    pub(super) fn of(ended: Ended) -> Self {
        let messages = ended
            .stdout
            .lines()
            .filter_map(|line| serde_json::from_str(line).ok())
            .collect();
        Self { ended, messages }
    }

    /// Whether Terraform was content.
    pub fn succeeded(&self) -> bool {
        self.ended.status.success()
    }

    /// How it ended.
    pub fn status(&self) -> ExitStatus {
        self.ended.status
    }

    /// How long it took.
    pub fn took(&self) -> Duration {
        self.ended.took
    }

    /// Itself if it succeeded; else the test ends with all that was said.
    #[track_caller]
    pub fn expect_success(self) -> Self {
        assert!(
            self.succeeded(),
            "`{}` failed:\n{}",
            self.ended.command,
            self.text()
        );
        self
    }

    /// Itself if it failed; else the test ends with all that was said.
    #[track_caller]
    pub fn expect_failure(self) -> Self {
        assert!(
            !self.succeeded(),
            "`{}` succeeded:\n{}",
            self.ended.command,
            self.text()
        );
        self
    }

    /// The lines of `-json`, parsed.
    pub fn messages(&self) -> &[serde_json::Value] {
        &self.messages
    }

    /// Errors and warnings, in order; without Terraform's own about `dev_overrides`.
    pub fn diagnostics(&self) -> Vec<Diagnostic> {
        let all = self
            .messages
            .iter()
            .filter(|message| message["type"] == "diagnostic");
        let read = all.map(|message| diagnostic(&message["diagnostic"]));
        read.filter(|one| one.summary != "Provider development overrides are in effect")
            .collect()
    }

    /// The errors.
    pub fn errors(&self) -> Vec<Diagnostic> {
        self.diagnostics()
            .into_iter()
            .filter(|one| one.severity == "error")
            .collect()
    }

    /// The warnings.
    pub fn warnings(&self) -> Vec<Diagnostic> {
        self.diagnostics()
            .into_iter()
            .filter(|one| one.severity == "warning")
            .collect()
    }

    /// All that was said, as a person would read it.
    pub fn text(&self) -> String {
        let mut text = String::new();
        for line in self.ended.stdout.lines().chain(self.ended.stderr.lines()) {
            text.push_str(&readable(line));
            text.push('\n');
        }
        text
    }
}

fn diagnostic(value: &serde_json::Value) -> Diagnostic {
    let text = |field: &serde_json::Value| field.as_str().map(str::to_owned);
    Diagnostic {
        severity: text(&value["severity"]).unwrap_or_default(),
        summary: text(&value["summary"]).unwrap_or_default(),
        detail: text(&value["detail"]).unwrap_or_default(),
        address: text(&value["address"]),
        snippet: text(&value["snippet"]["code"]),
    }
}

fn readable(line: &str) -> String {
    let Ok(message) = serde_json::from_str::<serde_json::Value>(line) else {
        return line.to_owned();
    };
    let said = message["@message"].as_str().unwrap_or(line);
    match message["diagnostic"]["detail"].as_str() {
        Some(detail) if !detail.is_empty() => format!("{said}\n    {detail}"),
        _ => said.to_owned(),
    }
}

/// A run that goes on. Dropped, it is killed.
#[derive(Debug)]
pub struct Running {
    command: String,
    child: Child,
    begun: Instant,
    streams: Option<[JoinHandle<String>; 2]>,
}

impl Running {
    pub(super) fn new(command: String, mut child: Child) -> Self {
        // Read all the time, lest a full pipe hold Terraform up.
        let streams = [reader(child.stdout.take()), reader(child.stderr.take())];
        Self {
            command,
            child,
            begun: Instant::now(),
            streams: Some(streams),
        }
    }

    /// Terraform's process id; inside of a host that is not the process we started, but one below it.
    pub fn id(&self) -> u32 {
        let wanted = crate::assets::terraform();
        let below = descendants(self.child.id());
        let found = below
            .into_iter()
            .find(|(_, program)| program.file_name() == wanted.file_name());
        found.map_or(self.child.id(), |(id, _)| id)
    }

    /// The process that was started: Terraform's own, unless it runs inside of a host.
    pub fn process(&self) -> u32 {
        self.child.id()
    }

    /// The provider's process, while there is one: Terraform starts one for each phase.
    pub fn provider(&self) -> Option<u32> {
        let wanted = crate::assets::provider().canonicalize().ok()?;
        descendants(self.id())
            .into_iter()
            .find(|(_, program)| *program == wanted)
            .map(|(id, _)| id)
    }

    /// Sends a signal to Terraform alone.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        processes::send(signal, self.id())
    }

    /// Whether Terraform has not ended.
    pub fn goes_on(&self) -> bool {
        processes::runs(self.child.id())
    }

    /// Waits for its end.
    pub fn end(mut self) -> Result<Run> {
        let status = self.child.wait();
        let status = status.map_err(HarnessError::file(format!("wait for `{}`", self.command)))?;
        let took = self.begun.elapsed();
        let [stdout, stderr] = match self.streams.take() {
            Some(streams) => streams.map(|stream| stream.join().unwrap_or_default()),
            None => [String::new(), String::new()],
        };
        Ok(Run::of(Ended {
            command: self.command.clone(),
            status,
            stdout,
            stderr,
            took,
        }))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Either may have ended by itself meanwhile.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn descendants(process: u32) -> Vec<(u32, PathBuf)> {
    let mut all = processes::children(process);
    let below: Vec<_> = all.iter().flat_map(|(child, _)| descendants(*child)).collect();
    all.extend(below);
    all
}

fn reader(stream: Option<impl Read + Send + 'static>) -> JoinHandle<String> {
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        if let Some(mut stream) = stream {
            // What was read until a failure is worth keeping.
            let _ = stream.read_to_end(&mut bytes);
        }
        String::from_utf8_lossy(&bytes).into_owned()
    })
}
