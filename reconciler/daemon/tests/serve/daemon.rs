//! A daemon of its own for each test, a lab in its store, and curl.

use labyard_labs::{
    claim::lease::Limits,
    code::config::{self, Meant},
    ids::Namespace,
    pool::{self, Spec},
};
use labyard_store::{
    Location, Store, StoreError,
    event::{Event, Moment},
    testing::Database,
};
use serde_json::{Value, json};
use std::{
    io::{BufRead as _, BufReader, Read as _},
    net::{SocketAddr, TcpListener},
    os::fd::OwnedFd,
    path::PathBuf,
    process::{Child, Command, Output, Stdio},
    time::{Duration, Instant},
};

pub(crate) const CODE: &str = "KJ4M-8ZQ2-7W3P-0N5T";
/// The key of the tests' stores: 32 bytes of 7.
pub(crate) const KEY: &str = "BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc=";

/// A program of the tests' own build.
pub(crate) fn labyard() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_labyard"));
    command
        .env_remove("LABYARD_ENDPOINT")
        .env_remove("LABYARD_TOKEN")
        .env_remove("LABYARD_STORE")
        .env("LABYARD_STORE_KEY", KEY);
    command
}

/// A daemon.
pub(crate) struct Daemon {
    child: Child,
    pub(crate) url: String,
    pub(crate) store: String,
    pub(crate) admin: String,
    pub(crate) directory: tempfile::TempDir,
    _database: Option<Database>,
}

impl Daemon {
    /// One on that store, configured with these lines besides.
    pub(crate) fn start(database: &Database, lines: &str) -> Self {
        Self::within(tempfile::tempdir().unwrap(), database, lines)
    }

    /// One that keeps its store, and what else is in its directory.
    pub(crate) fn keeping(database: Database, directory: tempfile::TempDir, lines: &str) -> Self {
        let mut daemon = Self::within(directory, &database, lines);
        daemon._database = Some(database);
        daemon
    }

    fn within(directory: tempfile::TempDir, database: &Database, lines: &str) -> Self {
        let store = location(database);
        let admin = token(&store, "root", "admin", &[]);
        let config = config_file(&directory, &store, &format!("listen = \"127.0.0.1:0\"\n{lines}"));
        let mut command = labyard();
        command.args(["serve", "--config"]).arg(config);
        let (child, url) = started(command);
        Self {
            child,
            url,
            store,
            admin,
            directory,
            _database: None,
        }
    }

    /// Another on the same store, configured with these lines besides: a replica.
    pub(crate) fn beside(&self, lines: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let listen = format!("listen = \"127.0.0.1:0\"\n{lines}");
        let config = config_file(&directory, &self.store, &listen);
        let mut command = labyard();
        command.args(["serve", "--config"]).arg(config);
        let (child, url) = started(command);
        Self {
            child,
            url,
            store: self.store.clone(),
            admin: self.admin.clone(),
            directory,
            _database: None,
        }
    }

    /// Sends a signal.
    pub(crate) fn signal(&self, name: &str) {
        let sent = Command::new("kill")
            .args(["-s", name, &self.child.id().to_string()])
            .status()
            .unwrap();
        assert!(sent.success());
    }

    /// The same, killed and begun again with that in its environment.
    pub(crate) fn again(&mut self, name: &str, value: &str) {
        self.kill();
        let mut command = labyard();
        command
            .args(["serve", "--config"])
            .arg(self.directory.path().join("labyard.toml"))
            .env(name, value);
        (self.child, self.url) = started(command);
    }

    /// One that is handed its socket, as a service manager does.
    pub(crate) fn on_socket(&self, socket: &TcpListener) -> (Child, String) {
        let handed = OwnedFd::from(socket.try_clone().unwrap());
        let mut command = Command::new("sh");
        let config = self.directory.path().join("labyard.toml");
        // Its number is that of the process that listens: the shell's, which becomes the daemon.
        command
            .args([
                "-c",
                "exec 3<&0 </dev/null; LISTEN_PID=$$ LISTEN_FDS=1 exec \"$0\" serve --config \"$1\"",
            ])
            .arg(env!("CARGO_BIN_EXE_labyard"))
            .arg(config)
            .env("LABYARD_STORE_KEY", KEY)
            .stdin(Stdio::from(handed));
        started(command)
    }

    /// A token of that role.
    pub(crate) fn token(&self, name: &str, role: &str, namespaces: &[&str]) -> String {
        token(&self.store, name, role, namespaces)
    }

    /// What curl is answered.
    pub(crate) fn ask(&self, method: &str, path: &str, bearer: &str, more: &[&str]) -> Answer {
        curl(&self.url, method, path, bearer, more)
    }

    /// A code is redeemed.
    pub(crate) fn redeem(&self, user: &str, key: &str, code: &str, more: &[&str]) -> Answer {
        redeem(&self.url, &self.admin, user, key, code, more)
    }

    /// The command line, on this daemon.
    pub(crate) fn cli(&self, bearer: &str, arguments: &[&str]) -> Output {
        let mut command = labyard();
        command
            .args(arguments)
            .env("LABYARD_ENDPOINT", &self.url)
            .env("LABYARD_TOKEN", bearer);
        command.output().unwrap()
    }

    /// Ends it at once, and waits until it is gone.
    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Begins it again on the same store, at another port.
    pub(crate) fn restart(&mut self) {
        let mut command = labyard();
        command
            .args(["serve", "--config"])
            .arg(self.directory.path().join("labyard.toml"));
        (self.child, self.url) = started(command);
    }

    /// Asks it to end.
    pub(crate) fn terminate(&self) {
        terminate(&self.child);
    }

    /// Waits until it has ended.
    pub(crate) fn ended(&mut self) -> std::process::ExitStatus {
        ended(&mut self.child)
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// A daemon that somebody else runs.
pub(crate) struct Running {
    pub(crate) url: String,
    pub(crate) admin: String,
}

impl Running {
    /// Makes or changes something.
    pub(crate) fn put(&self, path: &str, asked: &Value) -> Answer {
        let body = asked.to_string();
        let more = ["-H", "Content-Type: application/json", "-d", &body];
        let answer = curl(&self.url, "PUT", path, &self.admin, &more);
        assert_eq!(answer.status, 202, "{answer:?}");
        answer
    }

    /// Waits until so many machines of the pool are free, and no other is there.
    pub(crate) fn until_free(&self, count: u64) {
        until_within("machines are free", 180, || {
            let shown = curl(&self.url, "GET", "/v1/pools/k8s", &self.admin, &[]).body;
            let counts = shown["counts"].as_object()?;
            let all: u64 = counts.values().filter_map(Value::as_u64).sum();
            (counts["free"] == count && all == count).then_some(())
        });
    }
}

/// Sends SIGTERM.
pub(crate) fn terminate(child: &Child) {
    let sent = Command::new("kill").arg(child.id().to_string()).status().unwrap();
    assert!(sent.success());
}

/// Waits for the end of a process, not for ever.
pub(crate) fn ended(child: &mut Child) -> std::process::ExitStatus {
    until("the daemon ends", || child.try_wait().unwrap())
}

/// Waits until something is there.
pub(crate) fn until<T>(what: &str, look: impl FnMut() -> Option<T>) -> T {
    until_within(what, 60, look)
}

/// The same, so many seconds at most.
pub(crate) fn until_within<T>(what: &str, seconds: u64, mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + Duration::from_secs(seconds);
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < deadline, "{what}: not within {seconds} s");
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn started(mut command: Command) -> (Child, String) {
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut first = String::new();
    BufReader::new(child.stdout.take().unwrap())
        .read_line(&mut first)
        .unwrap();
    let Some(url) = first.trim().strip_prefix("labyard serve: ") else {
        let mut said = String::new();
        child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
        panic!("it did not begin to serve: {said}");
    };
    // Nobody reads its log: a pipe that is full would hold it up.
    let mut log = child.stderr.take().unwrap();
    std::thread::spawn(move || std::io::copy(&mut log, &mut std::io::sink()));
    (child, url.to_owned())
}

/// Where a store is, with what a password would be.
pub(crate) fn location(database: &Database) -> String {
    match &database.location {
        Location::File(path) => path.display().to_string(),
        Location::Postgres(url) => url.clone(),
    }
}

fn config_file(directory: &tempfile::TempDir, store: &str, lines: &str) -> PathBuf {
    let path = directory.path().join("labyard.toml");
    std::fs::write(&path, format!("store = \"{store}\"\n{lines}\n")).unwrap();
    path
}

/// Makes a token on the store.
pub(crate) fn token(store: &str, name: &str, role: &str, namespaces: &[&str]) -> String {
    let mut command = labyard();
    command.args([
        "token", "create", name, "--role", role, "-o", "json", "--store", store,
    ]);
    for namespace in namespaces {
        command.args(["--namespace", namespace]);
    }
    let out = command.output().unwrap();
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    let made: Value = serde_json::from_slice(&out.stdout).unwrap();
    made["text"].as_str().unwrap().to_owned()
}

/// An answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: Value,
}

impl Answer {
    /// The name of the problem.
    pub(crate) fn problem(&self) -> &str {
        let kind = self.body["type"].as_str().unwrap_or_default();
        kind.strip_prefix("urn:labyard:problem:").unwrap_or_default()
    }

    /// A header.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let begins = |line: &&str| line.to_lowercase().starts_with(&format!("{name}:"));
        let line = self.head.lines().find(begins)?;
        line.split_once(':').map(|(_, value)| value.trim())
    }
}

/// Asks by curl, which we did not write.
pub(crate) fn curl(url: &str, method: &str, path: &str, bearer: &str, more: &[&str]) -> Answer {
    let mut command = Command::new("curl");
    command.args(["-sS", "-i", "--noproxy", "*", "--max-time", "50", "-X", method]);
    if !bearer.is_empty() {
        command.args(["-H", &format!("Authorization: Bearer {bearer}")]);
    }
    let out = command.args(more).arg(format!("{url}{path}")).output().unwrap();
    let text = String::from_utf8_lossy(&out.stdout).into_owned();
    let Some((head, body)) = text.split_once("\r\n\r\n") else {
        panic!("{method} {path}: {text}{}", String::from_utf8_lossy(&out.stderr));
    };
    let status = head.split_whitespace().nth(1).unwrap().parse().unwrap();
    Answer {
        status,
        head: head.to_owned(),
        body: serde_json::from_str(body).unwrap_or_else(|_| Value::String(body.to_owned())),
    }
}

/// A code is redeemed by curl.
pub(crate) fn redeem(url: &str, bearer: &str, user: &str, key: &str, code: &str, more: &[&str]) -> Answer {
    let body = json!({"code": code, "user": user}).to_string();
    let key = format!("Idempotency-Key: {key}");
    let mut all = vec!["-H", "Content-Type: application/json", "-H", &key, "-d", &body];
    all.extend(more);
    curl(url, "POST", "/v1/claims", bearer, &all)
}

/// Runs something in the store, as the test's own.
pub(crate) fn in_store<T: Send + 'static>(
    database: &Database,
    work: impl FnMut(&mut labyard_store::Write<'_>) -> Result<T, labyard_labs::Refusal> + Send + 'static,
) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let store: Store = database.open().await;
        store.write(work).await.unwrap()
    })
}

/// A pool with so many free machines, and a code for one of them.
pub(crate) fn lab(database: &Database, free: i64) {
    lab_in(database, "default", CODE, free);
}

/// The same in a namespace.
pub(crate) fn lab_in(database: &Database, namespace: &'static str, code: &'static str, free: i64) {
    in_store(database, move |write| {
        let lease = Limits {
            length_ms: 7_200_000,
            max_ms: 28_800_000,
            idle_ms: None,
            pause_ms: 600_000,
        };
        let spec = json!({
            "ready": 0, "max": 100, "max_in_flight": 2, "lease": lease, "template": {"memory_mib": 64},
        });
        let spec: Spec = serde_json::from_value(spec).unwrap();
        let space = Namespace::from(namespace);
        pool::put(write, &space, &"k8s".into(), &spec, None, Moment(0), "test")?;
        for number in 1..=free {
            free_machine(write, namespace, number)?;
        }
        let asked =
            json!({"name": "class", "pools": {"k8s": {"count": 1}}, "code": code, "on_destroy": "keep"});
        let asked = serde_json::from_value(asked).unwrap();
        config::put(write, &space, &asked, &Meant::New, Moment(0), "test").map(drop)
    });
}

/// The pool keeps everybody out but those who have its machines.
pub(crate) fn screened(database: &Database) {
    in_store(database, |write| {
        let (space, name) = (Namespace::from("default"), "k8s".into());
        let spec = Spec {
            access: pool::Access::Claimer,
            ..pool::find(write, &space, &name)?.spec
        };
        pool::put(write, &space, &name, &spec, None, Moment(0), "test").map(drop)
    });
}

fn free_machine(
    write: &mut labyard_store::Write<'_>,
    namespace: &str,
    number: i64,
) -> Result<(), StoreError> {
    write.execute(
        "INSERT INTO members (id, namespace, pool, number, name, host, state, generation, since, detail) \
         VALUES ($1, $2, 'k8s', $3, $4, 'lab1', 'free', 1, 0, '{}')",
        &[
            format!("{namespace}-{number}").into(),
            namespace.into(),
            number.into(),
            format!("k8s-{number}").into(),
        ],
    )?;
    let event = Event::new(Moment(0), namespace, "test", "machine.recycled", "machine");
    write.event(&event).map(drop)
}

/// A free port of this computer, for a socket that is handed over.
pub(crate) fn socket() -> (TcpListener, SocketAddr) {
    let socket = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = socket.local_addr().unwrap();
    (socket, address)
}
