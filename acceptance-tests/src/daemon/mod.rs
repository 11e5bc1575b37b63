//! A daemon of a test's own: `labyard serve` on a store, with hosts; how it is asked stands in `asked`.
//!
//! ```no_run
//! use labyard_acceptance_tests::daemon::Daemon;
//! let daemon = Daemon::start("/tmp/labyard.db", "hosts = { s = { sim = { socket = \"/tmp/sim\" } } }", "");
//! let config = daemon.provider("default", "");
//! let alone = Daemon::alone("[hosts.lab1]\nlibvirt = { uri = \"qemu:///system\" }\n");
//! println!("{}", alone.json(&["pool", "list"]));
//! ```

mod asked;

use crate::assets::provider;
use crate::command::output_of;
use crate::kept::KEY;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use tempfile::TempDir;

/// The program `labyard`, built beside the provider.
pub fn labyard() -> PathBuf {
    provider().with_file_name("labyard")
}

/// A daemon, which ends with its value.
#[derive(Debug)]
pub struct Daemon {
    program: PathBuf,
    /// Configuration and log, and the store where it is its own.
    directory: TempDir,
    store: String,
    child: Child,
    url: String,
    token: String,
}

impl Daemon {
    /// One on that store, with `hosts` as a provider block has them, on one line, and more lines of its configuration.
    ///
    /// # Panics
    /// If it does not begin to serve.
    #[track_caller]
    pub fn start(store: &str, hosts: &str, lines: &str) -> Self {
        // HCL and TOML write hosts alike. What machines boot from lies where the tests put it.
        let lines = format!("host_directories = [\"/\"]\n{hosts}\n{lines}\n");
        Self::on(&labyard(), Some(store), &lines)
    }

    /// One on a store in a file of its own, which may take images from wherever the tests have them.
    #[track_caller]
    pub fn with_store_of_its_own(hosts: &str) -> Self {
        let lines = format!("host_directories = [\"/\"]\nimage_directories = [\"/\"]\n{hosts}\n");
        Self::alone(&lines)
    }

    /// One on a store in a file of its own, configured with these lines besides.
    #[track_caller]
    pub fn alone(lines: &str) -> Self {
        Self::by(&labyard(), lines)
    }

    /// The same by this program.
    #[track_caller]
    pub fn by(program: &Path, lines: &str) -> Self {
        Self::on(program, None, lines)
    }

    #[track_caller]
    fn on(program: &Path, store: Option<&str>, lines: &str) -> Self {
        let directory = TempDir::new().expect("a directory");
        let own = directory.path().join("labyard.db").display().to_string();
        let store = store.map_or(own, str::to_owned);
        let text = format!("store = {store:?}\nlisten = \"127.0.0.1:0\"\n{lines}");
        std::fs::write(directory.path().join("labyard.toml"), text).expect("a configuration");
        let token = made_token(program, &store, ("terraform", "admin"));
        let (child, url) = begun(program, &store, directory.path());
        Self {
            program: program.to_owned(),
            directory,
            store,
            child,
            url,
            token,
        }
    }

    /// A provider block that names it, with more attributes.
    pub fn provider(&self, namespace: &str, more: &str) -> String {
        format!(
            "terraform {{\n  required_providers {{\n    labyard = {{ source = \"labyard/labyard\" }}\n  }}\n}}\n\
             provider \"labyard\" {{\n  namespace = {namespace:?}\n  endpoint = {:?}\n  token = {:?}\n  {more}\n}}\n",
            self.url, self.token
        )
    }

    /// Where it is.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Its token, of the role `admin`.
    pub fn token(&self) -> &str {
        &self.token
    }

    /// Another token, of that name and role.
    #[track_caller]
    pub fn token_of(&self, name: &str, role: &str) -> String {
        made_token(&self.program, &self.store, (name, role))
    }

    /// Its directory: configuration and log, and the store where it is its own.
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// What it has logged.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.directory().join("log")).unwrap_or_default()
    }

    /// Ends it at once, as `kill -9` does.
    #[track_caller]
    pub fn kill(&mut self) {
        self.child.kill().expect("a daemon to be killed");
        self.child.wait().expect("its end");
    }

    /// Begins it again at the same address.
    #[track_caller]
    pub fn restart(&mut self) {
        let path = self.directory().join("labyard.toml");
        let text = std::fs::read_to_string(&path).expect("its configuration");
        let address = self.url.trim_start_matches("http://");
        std::fs::write(&path, text.replace("127.0.0.1:0", address)).expect("its configuration");
        (self.child, self.url) = begun(&self.program, &self.store, self.directory.path());
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // One that has ended already cannot be ended.
        drop(self.child.kill());
        drop(self.child.wait());
        if std::thread::panicking() {
            eprintln!("the daemon's log:\n{}", self.log());
        }
    }
}

fn command(program: &Path, store: &str) -> Command {
    let mut command = Command::new(program);
    command.env_remove("LABYARD_ENDPOINT").env_remove("LABYARD_TOKEN");
    if store.starts_with("postgres") {
        command.env("LABYARD_STORE_KEY", KEY);
    }
    command
}

#[track_caller]
fn made_token(program: &Path, store: &str, (name, role): (&str, &str)) -> String {
    let mut token = command(program, store);
    token.args([
        "token", "create", name, "--role", role, "-o", "json", "--store", store,
    ]);
    let made = output_of(&mut token).expect("a token");
    let made: serde_json::Value = serde_json::from_str(&made).expect("a token");
    made["text"].as_str().expect("a token").to_owned()
}

#[track_caller]
fn begun(program: &Path, store: &str, directory: &Path) -> (Child, String) {
    let log = std::fs::File::options()
        .create(true)
        .append(true)
        .open(directory.join("log"))
        .expect("a log");
    let mut child = command(program, store)
        .args(["serve", "--config"])
        .arg(directory.join("labyard.toml"))
        .env("LABYARD_JOURNAL", "off")
        .stdout(Stdio::piped())
        .stderr(log)
        .spawn()
        .expect("labyard serve");
    let mut first = String::new();
    let out = child.stdout.take().expect("its output");
    BufReader::new(out).read_line(&mut first).expect("its first line");
    let Some(url) = first.trim().strip_prefix("labyard serve: ") else {
        let said = std::fs::read_to_string(directory.join("log")).unwrap_or_default();
        panic!("it did not begin to serve: {said}");
    };
    (child, url.to_owned())
}
