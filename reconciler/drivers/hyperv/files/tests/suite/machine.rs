//! What the tests need of the machine that they run on.

use std::net::TcpListener;
use std::path::Path;
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use labyard_files::HostPath;

/// The directory of all tests.
pub(crate) fn root() -> HostPath {
    HostPath::new(r"D:\labyard").unwrap()
}

/// A path in it.
pub(crate) fn at(names: &str) -> HostPath {
    names
        .split('\\')
        .fold(root(), |path, name| path.join(name).unwrap())
}

/// Whether servers can be run here with users of their own. Where not, that is said aloud, and is an error where everything
/// has to run.
pub(crate) fn can_serve(programs: &[&str]) -> bool {
    let missing = programs.iter().find(|program| which(program).is_none());
    let reason = match missing {
        Some(program) => format!("{program} is not installed (acceptance-tests/host/install brings it)"),
        None if !is_root() => "servers with users need root".to_owned(),
        None => return true,
    };
    skip(&reason);
    false
}

pub(crate) fn skip(reason: &str) {
    eprintln!("SKIPPED: {reason}");
    assert!(
        std::env::var_os("CI").is_none_or(|ci| ci != "true"),
        "SKIPPED: {reason}"
    );
}

fn is_root() -> bool {
    let id = Command::new("id").arg("-u").output().unwrap();
    id.stdout.trim_ascii() == b"0"
}

/// Where a program is; servers are in directories that users do not look into.
pub(crate) fn which(program: &str) -> Option<std::path::PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(["/usr/sbin".into(), "/sbin".into()])
        .map(|directory| directory.join(program))
        .find(|file| file.exists())
}

/// Runs something that has to succeed.
pub(crate) fn run(command: &mut Command) -> Output {
    let output = command
        .output()
        .unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(
        output.status.success(),
        "{command:?}: {}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    output
}

/// A port that nobody had a moment ago.
pub(crate) fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
}

/// Waits for a condition.
pub(crate) fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while !holds() {
        assert!(Instant::now() < deadline, "waited in vain for {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Bytes that repeat nowhere near.
pub(crate) fn noise(length: usize, seed: u64) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let mut bytes = Vec::with_capacity(length + 8);
    while bytes.len() < length {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend(state.to_le_bytes());
    }
    bytes.truncate(length);
    bytes
}

/// Lets users who are not root come into a directory.
pub(crate) fn open_to_all(path: &Path) {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).unwrap();
}

/// A process that ends with the test.
pub(crate) struct Ends(pub(crate) std::process::Child);

impl Drop for Ends {
    fn drop(&mut self) {
        // Ended by its number: asked first, so that it takes its children with it.
        let id = self.0.id().to_string();
        let _gone_already = Command::new("kill").arg(&id).output();
        let deadline = Instant::now() + Duration::from_secs(5);
        while Instant::now() < deadline {
            if matches!(self.0.try_wait(), Ok(Some(_))) {
                return;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        let _gone_already = self.0.kill();
        let _gone_already = self.0.wait();
    }
}
