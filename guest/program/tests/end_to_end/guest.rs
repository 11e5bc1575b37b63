//! A tree that stands for a guest, and the program run for it.

use std::fs::{self, File};
use std::io::Read;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use crate::skipped;

/// A tree with what the programs that make users need, and one card. `/usr` and `/dev` are those of this system, for
/// the program alone.
pub(crate) struct Tree {
    directory: tempfile::TempDir,
}

impl Tree {
    pub(crate) fn new() -> Self {
        let tree = Self {
            directory: tempfile::tempdir().unwrap(),
        };
        for directory in [
            "usr",
            "dev",
            "proc",
            "tmp",
            "home",
            "root",
            "var/lib/hyperv",
            "var/mail",
            "etc/skel",
            "etc/sudoers.d",
        ] {
            fs::create_dir_all(tree.at(directory)).unwrap();
        }
        for link in ["bin", "sbin", "lib", "lib64"] {
            symlink(format!("usr/{link}"), tree.at(link)).unwrap();
        }
        tree.put(
            "etc/passwd",
            "root:x:0:0:root:/root:/bin/bash\ndaemon:x:1:1::/:/bin/false\n",
        );
        tree.put("etc/group", "root:x:0:\ndaemon:x:1:\nusers:x:100:\n");
        tree.put(
            "etc/shadow",
            "root:*:19000:0:99999:7:::\ndaemon:*:19000:0:99999:7:::\n",
        );
        tree.put("etc/gshadow", "root:*::\ndaemon:*::\nusers:*::\n");
        tree.put("etc/hosts", "127.0.0.1 localhost\n");
        tree.put("sys/class/net/eth0/address", "00:15:5d:00:00:01\n");
        let enabled = "etc/systemd/system/multi-user.target.wants/systemd-networkd.service";
        fs::create_dir_all(tree.at(enabled).parent().unwrap()).unwrap();
        symlink("/lib/systemd/system/systemd-networkd.service", tree.at(enabled)).unwrap();
        for part in ["login.defs", "pam.d", "security", "nsswitch.conf"] {
            let copied = Command::new("cp")
                .arg("-a")
                .arg(Path::new("/etc").join(part))
                .arg(tree.at("etc"))
                .status();
            assert!(copied.unwrap().success(), "{part}");
        }
        tree
    }

    pub(crate) fn at(&self, path: &str) -> PathBuf {
        self.directory.path().join(path)
    }

    pub(crate) fn put(&self, path: &str, text: &str) {
        let path = self.at(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    pub(crate) fn text(&self, path: &str) -> String {
        fs::read_to_string(self.at(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
    }

    pub(crate) fn pools(&self) -> PathBuf {
        self.at("var/lib/hyperv")
    }

    /// All files below the tree, with their content.
    pub(crate) fn files(&self) -> Vec<(PathBuf, Vec<u8>)> {
        let mut files = Vec::new();
        let mut rest = vec![self.directory.path().to_owned()];
        while let Some(directory) = rest.pop() {
            for entry in fs::read_dir(directory).unwrap() {
                let path = entry.unwrap().path();
                let about = path.symlink_metadata().unwrap();
                if about.is_dir() {
                    rest.push(path);
                } else if about.is_file() {
                    let content = fs::read(&path).unwrap();
                    files.push((path, content));
                }
            }
        }
        files
    }
}

/// Whether users can be made here: that takes root, and a `/usr` that has everything.
pub(crate) fn can_make_users() -> bool {
    let is_root = own_uid() == 0;
    let is_merged = fs::read_link("/bin").is_ok_and(|to| to == Path::new("usr/bin"));
    if !is_root || !is_merged {
        skipped("making users in a tree takes root, and a system whose /bin is a link to usr/bin");
    }
    is_root && is_merged
}

fn own_uid() -> u32 {
    use std::os::unix::fs::MetadataExt;
    fs::metadata("/proc/self").map_or(1, |about| about.uid())
}

/// The program under way.
pub(crate) struct Program {
    child: Child,
    log: PathBuf,
}

/// Whether the program ends by itself.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ends {
    AfterOne,
    Never,
}

impl Program {
    /// Starts it; `/usr` of this system is mounted where only it sees that.
    pub(crate) fn start(tree: &Tree, ends: Ends) -> Self {
        let log = tree.at("log-of-the-test");
        let file = File::options().create(true).append(true).open(&log).unwrap();
        let script = "mount --rbind /usr \"$1/usr\" && mount --rbind /dev \"$1/dev\" && shift && exec \"$@\"";
        let mut command = Command::new("unshare");
        command
            .args(["--mount", "--propagation", "private", "sh", "-c", script, "sh"])
            .arg(tree.directory.path())
            .arg(env!("CARGO_BIN_EXE_labyard-guest"))
            .arg("run");
        command.args((ends == Ends::AfterOne).then_some("--once"));
        command.arg("--root").arg(tree.directory.path());
        let child = command
            .stdin(Stdio::null())
            .stdout(Stdio::from(file.try_clone().unwrap()))
            .stderr(Stdio::from(file))
            .spawn()
            .unwrap();
        Self { child, log }
    }

    /// What it said so far.
    pub(crate) fn said(&self) -> String {
        fs::read_to_string(&self.log).unwrap()
    }

    /// Waits until it says something.
    pub(crate) fn wait_for(&self, text: &str) {
        let began = Instant::now();
        while !self.said().contains(text) {
            assert!(
                began.elapsed() < Duration::from_secs(60),
                "{text:?} was not said: {}",
                self.said()
            );
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Waits for its end.
    pub(crate) fn end(mut self) -> ExitStatus {
        let began = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            assert!(
                began.elapsed() < Duration::from_secs(60),
                "it does not end: {}",
                self.said()
            );
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Kills it, as a crash would.
    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Command lines of all processes that hold a text.
pub(crate) fn command_lines_with(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc").unwrap().flatten() {
        let mut line = Vec::new();
        if let Ok(mut file) = File::open(entry.path().join("cmdline")) {
            let _ = file.read_to_end(&mut line);
        }
        let line = String::from_utf8_lossy(&line).replace('\0', " ");
        if line.contains(text) {
            found.push(line);
        }
    }
    found
}

/// Whether a password is that of a hash as `/etc/shadow` has it: by the system's own `crypt`.
pub(crate) fn is_password(hash: &str, password: &str) -> bool {
    use std::io::Write;
    let script = "chomp(my $p = <STDIN>); exit(crypt($p, $ARGV[0]) eq $ARGV[0] ? 0 : 1)";
    let mut perl = Command::new("perl")
        .args(["-e", script, hash])
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    writeln!(perl.stdin.take().unwrap(), "{password}").unwrap();
    perl.wait().unwrap().success()
}
