//! What is between the host and the pool files.
//!
//! Facts, from the kernel's `tools/hv/hv_kvp_daemon.c` and `include/uapi/linux/hyperv.h` (6.1): what a record is, the
//! numbers of operations, the size of a message, and how the daemon changes its files.

use std::fs::{self, File, OpenOptions};
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rustix::fs::{FlockOperation, fcntl_lock};

use crate::skipped;

const KEY: usize = 512;
const VALUE: usize = 2048;

/// What the host can do to the pools of a guest.
pub(crate) trait Pools {
    /// Writes a pair.
    fn set(&mut self, pool: u8, key: &str, value: &str);
    /// Takes a pair away.
    fn delete(&mut self, pool: u8, key: &str);
    /// Reads all pairs.
    fn all(&mut self, pool: u8) -> Vec<(Vec<u8>, Vec<u8>)>;
}

/// The daemon as its source tells it. With its untidiness: what follows the end of a text is what was there before.
pub(crate) struct Model {
    directory: PathBuf,
}

impl Model {
    pub(crate) fn new(directory: &Path) -> Self {
        fs::create_dir_all(directory).unwrap();
        for pool in 0..5 {
            let path = directory.join(format!(".kvp_pool_{pool}"));
            OpenOptions::new().create(true).append(true).open(path).unwrap();
        }
        Self {
            directory: directory.into(),
        }
    }

    /// Changes a file as the daemon does: reads it, and writes all of it anew, under a lock on another handle.
    fn change(&self, pool: u8, change: impl FnOnce(&mut Vec<Vec<u8>>)) {
        let path = self.directory.join(format!(".kvp_pool_{pool}"));
        let handle = OpenOptions::new().read(true).write(true).open(&path).unwrap();
        fcntl_lock(&handle, FlockOperation::LockExclusive).unwrap();
        let mut bytes = Vec::new();
        (&handle).read_to_end(&mut bytes).unwrap();
        let mut records: Vec<Vec<u8>> = bytes.chunks_exact(KEY + VALUE).map(<[u8]>::to_vec).collect();
        change(&mut records);
        let mut file = File::create(&path).unwrap();
        file.write_all(&records.concat()).unwrap();
    }
}

fn is(record: &[u8], key: &str) -> bool {
    record.starts_with(&[key.as_bytes(), &[0]].concat())
}

fn overwrite(field: &mut [u8], text: &[u8]) {
    field[..text.len()].copy_from_slice(text);
    field[text.len()] = 0;
}

fn until_zero(field: &[u8]) -> &[u8] {
    field.split(|byte| *byte == 0).next().unwrap_or_default()
}

impl Pools for Model {
    fn set(&mut self, pool: u8, key: &str, value: &str) {
        self.change(pool, |records| {
            match records.iter_mut().find(|record| is(record, key)) {
                Some(there) => overwrite(&mut there[KEY..], value.as_bytes()),
                None => {
                    // Memory that was used before.
                    let mut new = vec![b'#'; KEY + VALUE];
                    overwrite(&mut new[..KEY], key.as_bytes());
                    overwrite(&mut new[KEY..], value.as_bytes());
                    records.push(new);
                }
            }
        });
    }

    fn delete(&mut self, pool: u8, key: &str) {
        self.change(pool, |records| {
            let Some(at) = records.iter().position(|record| is(record, key)) else {
                return;
            };
            for next in at + 1..records.len() {
                let moved = records[next].clone();
                overwrite(&mut records[next - 1][..KEY], until_zero(&moved[..KEY]));
                overwrite(&mut records[next - 1][KEY..], until_zero(&moved[KEY..]));
            }
            records.pop();
        });
    }

    fn all(&mut self, pool: u8) -> Vec<(Vec<u8>, Vec<u8>)> {
        let mut all = Vec::new();
        let path = self.directory.join(format!(".kvp_pool_{pool}"));
        let mut handle = OpenOptions::new().read(true).write(true).open(&path).unwrap();
        fcntl_lock(&handle, FlockOperation::LockExclusive).unwrap();
        let mut bytes = Vec::new();
        handle.read_to_end(&mut bytes).unwrap();
        for record in bytes.chunks_exact(KEY + VALUE) {
            let (key, value) = record.split_at(KEY);
            all.push((until_zero(key).to_vec(), until_zero(value).to_vec()));
        }
        all
    }
}

const PROGRAM: &str = "/usr/sbin/hv_kvp_daemon";
const DIRECTORY: &str = "/var/lib/hyperv";

/// `struct hv_kvp_msg`: four bytes, and the longest of its bodies, which is that of addresses, in whole words.
const MESSAGE: usize = 4 + (2 * 128 + 2 + 2 * (1024 + 1024 + 512 + 1024_usize)).next_multiple_of(4);
const SET: u8 = 1;
const DELETE: u8 = 2;
const ENUMERATE: u8 = 3;
const REGISTER: u8 = 100;

/// The real daemon, with a socket in place of the kernel's device and a directory of the test's own.
pub(crate) struct Real {
    daemon: Child,
    kernel: UnixStream,
    _shim: tempfile::TempDir,
}

impl Real {
    /// Starts it; nothing where it is not there, which is said.
    pub(crate) fn start(directory: &Path) -> Option<Self> {
        if !Path::new(PROGRAM).exists() {
            skipped("hv_kvp_daemon is missing (Debian: hyperv-daemons)");
            return None;
        }
        fs::create_dir_all(directory).unwrap();
        fs::create_dir_all(DIRECTORY).unwrap();
        let shim = tempfile::tempdir().unwrap();
        let library = shim.path().join("kernel.so");
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/end_to_end/kernel.c");
        let built = Command::new("cc")
            .args(["-shared", "-fPIC", "-o"])
            .arg(&library)
            .arg(source)
            .arg("-ldl")
            .status()
            .unwrap();
        assert!(built.success(), "cc failed");
        let (kernel, theirs) = UnixStream::pair().unwrap();
        kernel.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        let script = format!("mount --bind \"$1\" {DIRECTORY} && LD_PRELOAD=\"$2\" exec {PROGRAM} -n");
        let daemon = Command::new("unshare")
            .args(["--mount", "--propagation", "private", "sh", "-c", &script, "sh"])
            .arg(directory)
            .arg(&library)
            .stdin(Stdio::from(OwnedFd::from(theirs)))
            .spawn()
            .unwrap();
        let mut real = Self {
            daemon,
            kernel,
            _shim: shim,
        };
        let hello = real.receive();
        assert_eq!(hello[0], REGISTER, "the daemon did not register");
        real.send(REGISTER, 0, |body| body[..4].copy_from_slice(b"3.1\0"));
        Some(real)
    }

    fn send(&mut self, operation: u8, pool: u8, fill: impl FnOnce(&mut [u8])) {
        let mut message = vec![0; MESSAGE];
        message[..2].copy_from_slice(&[operation, pool]);
        fill(&mut message[4..]);
        self.kernel.write_all(&message).unwrap();
    }

    fn receive(&mut self) -> Vec<u8> {
        let mut message = vec![0; MESSAGE];
        self.kernel.read_exact(&mut message).unwrap();
        message
    }

    /// Asks, and says whether it was done.
    fn ask(&mut self, operation: u8, pool: u8, fill: impl FnOnce(&mut [u8])) -> (bool, Vec<u8>) {
        self.send(operation, pool, fill);
        let mut answer = self.receive();
        let body = answer.split_off(4);
        (answer == [0; 4], body)
    }
}

/// Sizes count the zero byte.
fn size(text: &str) -> [u8; 4] {
    u32::try_from(text.len() + 1).unwrap().to_ne_bytes()
}

impl Pools for Real {
    fn set(&mut self, pool: u8, key: &str, value: &str) {
        let (done, _) = self.ask(SET, pool, |body| {
            body[..4].copy_from_slice(&1_u32.to_ne_bytes());
            body[4..8].copy_from_slice(&size(key));
            body[8..12].copy_from_slice(&size(value));
            body[12..12 + key.len()].copy_from_slice(key.as_bytes());
            body[12 + KEY..12 + KEY + value.len()].copy_from_slice(value.as_bytes());
        });
        assert!(done, "the daemon did not set {key}");
    }

    fn delete(&mut self, pool: u8, key: &str) {
        // That it is gone already is no error.
        self.ask(DELETE, pool, |body| {
            body[..4].copy_from_slice(&size(key));
            body[4..4 + key.len()].copy_from_slice(key.as_bytes());
        });
    }

    fn all(&mut self, pool: u8) -> Vec<(Vec<u8>, Vec<u8>)> {
        let mut all = Vec::new();
        loop {
            let number = u32::try_from(all.len()).unwrap();
            let (done, body) = self.ask(ENUMERATE, pool, |body| {
                body[..4].copy_from_slice(&number.to_ne_bytes());
            });
            if !done {
                return all;
            }
            let pair = &body[16..16 + KEY + VALUE];
            all.push((
                until_zero(&pair[..KEY]).to_vec(),
                until_zero(&pair[KEY..]).to_vec(),
            ));
        }
    }
}

impl Drop for Real {
    fn drop(&mut self) {
        let _ = self.daemon.kill();
        let _ = self.daemon.wait();
    }
}
