//! Databases for tests: a file in a directory of its own, or a database of its own in the one PostgreSQL server that a
//! test program shares. The server listens on a Unix socket alone, runs as the user `postgres` where the tests run as
//! root (which PostgreSQL refuses to be), and ends with the program. [`on_both!`](crate::on_both) makes of each case a
//! test on either.

use crate::{Location, SealingKey, Store, StoreError};
use std::{
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::{
        OnceLock,
        atomic::{AtomicU32, Ordering},
    },
};

/// A database for one test.
pub struct Database {
    /// Where it is.
    pub location: Location,
    /// Its name in the server.
    pub name: String,
    _directory: Option<tempfile::TempDir>,
}

/// Makes of each case, an `async fn(&Database)`, a test on SQLite and one on PostgreSQL.
#[macro_export]
macro_rules! on_both {
    ($($case:ident),* $(,)?) => {
        mod on_sqlite {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $case() { super::$case(&$crate::testing::Database::sqlite()).await; })*
        }
        mod on_postgres {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $case() {
                if let Some(database) = $crate::testing::Database::postgres() {
                    super::$case(&database).await;
                }
            })*
        }
    };
}

impl Database {
    /// A file.
    ///
    /// # Panics
    /// If it cannot be made, as everything here.
    #[must_use]
    pub fn sqlite() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("labyard.db");
        Self {
            location: Location::File(path),
            name: String::new(),
            _directory: Some(directory),
        }
    }

    /// A file of the test's own.
    #[must_use]
    pub fn at(path: &Path) -> Self {
        Self {
            location: Location::File(path.to_owned()),
            name: String::new(),
            _directory: None,
        }
    }

    /// `None` where no server is installed, which is said.
    ///
    /// # Panics
    /// If the server that is installed cannot be started.
    #[must_use]
    pub fn postgres() -> Option<Self> {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let server = server()?;
        let name = format!("labyard_{}", NUMBER.fetch_add(1, Ordering::Relaxed));
        server.sql("postgres", &format!("CREATE DATABASE {name}"));
        let location = server.url(&name).parse().unwrap();
        Some(Self {
            location,
            name,
            _directory: None,
        })
    }

    /// Opens it with the key that tests use.
    ///
    /// # Panics
    /// If it cannot be opened.
    pub async fn open(&self) -> Store {
        self.try_open(7).await.unwrap()
    }

    /// Opens it with a key of 32 such bytes.
    ///
    /// # Errors
    /// As [`Store::open`].
    pub async fn try_open(&self, key: u8) -> Result<Store, StoreError> {
        Store::open(&self.location, SealingKey::from_bytes([key; 32])).await
    }

    /// Runs a statement behind the store's back.
    ///
    /// # Panics
    /// If it is refused.
    pub fn sql(&self, statement: &str) -> String {
        match &self.location {
            Location::File(path) => {
                let connection = rusqlite::Connection::open(path).unwrap();
                connection.execute_batch(statement).unwrap();
                String::new()
            }
            Location::Postgres(_) => server().unwrap().sql(&self.name, statement),
        }
    }
}

/// The server of a test program.
pub struct Server {
    directory: tempfile::TempDir,
    programs: PathBuf,
}

/// The one server of these tests.
pub fn server() -> Option<&'static Server> {
    static SERVER: OnceLock<Option<Server>> = OnceLock::new();
    SERVER
        .get_or_init(|| {
            let Some(programs) = programs() else {
                eprintln!(
                    "SKIPPED: no PostgreSQL server is installed (Debian: postgresql), its half did not run"
                );
                return None;
            };
            Some(Server::start(programs))
        })
        .as_ref()
}

/// Where Debian keeps the server's programs, the newest release first, else where PATH finds them.
fn programs() -> Option<PathBuf> {
    let mut found: Vec<PathBuf> = std::fs::read_dir("/usr/lib/postgresql")
        .map(|entries| entries.flatten().map(|entry| entry.path().join("bin")).collect())
        .unwrap_or_default();
    found.sort();
    found.reverse();
    found.extend(std::env::var_os("PATH").iter().flat_map(std::env::split_paths));
    let whole = |directory: &PathBuf| {
        ["initdb", "pg_ctl", "psql"]
            .iter()
            .all(|name| directory.join(name).exists())
    };
    found.into_iter().find(whole)
}

fn is_root() -> bool {
    Command::new("id")
        .arg("-u")
        .output()
        .is_ok_and(|out| out.stdout == b"0\n")
}

impl Server {
    fn start(programs: PathBuf) -> Self {
        // Short, because a socket's address is; not below a directory that only root may enter.
        let directory = tempfile::Builder::new()
            .prefix("lypg")
            .tempdir_in("/tmp")
            .unwrap();
        if is_root() {
            run(Command::new("chown").arg("postgres").arg(directory.path()));
        }
        let server = Self { directory, programs };
        let data = server.directory.path().join("data");
        run(server
            .program("initdb")
            .args([
                "--no-sync",
                "--auth=trust",
                "--encoding=UTF8",
                "--no-locale",
                "-U",
                "labyard",
                "-D",
            ])
            .arg(&data));
        let options = format!(
            "-c listen_addresses= -c unix_socket_directories={} -c max_connections=200",
            server.directory.path().display()
        );
        run(server
            .program("pg_ctl")
            .args(["start", "--wait", "--silent", "-o", &options, "-l"])
            .arg(server.directory.path().join("log"))
            .arg("-D")
            .arg(&data));
        server.end_with_these_tests(&data);
        server
    }

    /// A static is never dropped: a watcher ends the server when this process is gone, however it ended.
    fn end_with_these_tests(&self, data: &Path) {
        let postmaster = std::fs::read_to_string(data.join("postmaster.pid")).unwrap();
        let postmaster = postmaster.lines().next().unwrap();
        let script = format!(
            "while kill -0 {0} 2>/dev/null; do sleep 0.2; done; kill -INT {postmaster}; \
             while kill -0 {postmaster} 2>/dev/null; do sleep 0.1; done; rm -rf {1}",
            std::process::id(),
            self.directory.path().display()
        );
        run(Command::new("sh").args(["-c", &format!("setsid sh -c '{script}' >/dev/null 2>&1 &")]));
    }

    fn program(&self, name: &str) -> Command {
        let path = self.programs.join(name);
        let mut command = if is_root() {
            let mut command = Command::new("setpriv");
            command
                .args(["--reuid=postgres", "--regid=postgres", "--clear-groups"])
                .arg(path);
            command
        } else {
            Command::new(path)
        };
        command.current_dir(self.directory.path());
        command
    }

    /// The URL of a database.
    #[must_use]
    pub fn url(&self, database: &str) -> String {
        let socket = self.directory.path().display().to_string().replace('/', "%2F");
        format!("postgres://labyard@{socket}/{database}")
    }

    /// What `psql`, which we did not write, says to a statement.
    ///
    /// # Panics
    /// If it is refused.
    pub fn sql(&self, database: &str, statement: &str) -> String {
        let mut command = self.program("psql");
        command.args(["-U", "labyard", "-h"]).arg(self.directory.path());
        command.args(["-d", database, "-qAt", "-v", "ON_ERROR_STOP=1", "-c", statement]);
        run(&mut command)
    }
}

fn run(command: &mut Command) -> String {
    let out = command
        .stdin(Stdio::null())
        .output()
        .unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(
        out.status.success(),
        "{command:?}: {}",
        String::from_utf8_lossy(&out.stderr)
    );
    String::from_utf8_lossy(&out.stdout).trim().to_owned()
}
