//! What the tests share.

pub(crate) mod client;
pub(crate) mod plugin;
pub(crate) mod terraform;

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

/// An example's executable, beside the tests' own.
pub(crate) fn example(name: &str) -> PathBuf {
    let tests = std::env::current_exe().expect("the path of the tests");
    let target = tests
        .parent()
        .and_then(Path::parent)
        .expect("the target directory");
    let path = target.join("examples").join(name);
    assert!(
        path.exists(),
        "{} is missing: cargo build -p tfplugin --examples",
        path.display()
    );
    path
}

/// A directory of one's own, removed at the end. Its path is short, for the sockets that go in it.
pub(crate) struct Scratch(PathBuf);

impl Scratch {
    pub(crate) fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("tfs-{}-{count}", std::process::id()));
        std::fs::create_dir_all(path.join("tmp")).expect("a directory for the test");
        Self(path)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    /// For temporary files of what the test starts.
    pub(crate) fn tmp(&self) -> PathBuf {
        self.0.join("tmp")
    }

    /// Sockets and their directories that a provider left behind.
    pub(crate) fn leftovers(&self) -> Vec<String> {
        let entries = std::fs::read_dir(self.tmp()).expect("the directory of sockets");
        let names = entries.map(|entry| {
            entry
                .expect("an entry")
                .file_name()
                .to_string_lossy()
                .into_owned()
        });
        names.filter(|name| name.starts_with("tfp-")).collect()
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Waits until `condition` holds, and fails with `what` if it does not within `limit`.
pub(crate) fn eventually(what: &str, limit: Duration, mut condition: impl FnMut() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < limit, "not within {limit:?}: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Whether a process lives (one that nobody has waited for yet does not).
pub(crate) fn is_alive(process: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
    stat.rsplit(')')
        .next()
        .and_then(|rest| rest.trim().chars().next())
        .is_some_and(|state| state != 'Z')
}

/// Sends a signal.
pub(crate) fn signal(name: &str, process: &str) {
    let status = std::process::Command::new("kill")
        .args([name, "--", process])
        .status()
        .expect("kill");
    assert!(status.success(), "kill {name} {process}");
}
