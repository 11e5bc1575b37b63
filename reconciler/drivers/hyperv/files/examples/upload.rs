//! How long the upload of a large file takes, beside Debian's own client.
//!
//! It starts a Samba server of its own on a loopback port, makes a file of noise, and puts it there by turns with
//! `smbclient put` and with `labyard_files::upload`, which also hashes, flushes and verifies. Both are protected in the
//! same way. It prints each time, the ratio of the medians, and the most memory that this process had.
//!
//! ```text
//! TMPDIR=/dev/shm cargo run --release -p labyard-files --example upload -- [MiB] [rounds]
//! ```

#[path = "../tests/suite/machine.rs"]
mod machine;
#[path = "../tests/suite/samba.rs"]
#[expect(dead_code, reason = "made for the tests, which need more of it")]
mod samba;

use std::path::Path;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures::stream::{self, Stream};
use labyard_files::{HostFiles as _, upload};

use crate::machine::{at, noise};
use crate::samba::Samba;

/// A way that both clients protect what they send.
struct Way {
    name: &'static str,
    server: &'static str,
    smbclient: &'static str,
}

const WAYS: [Way; 2] = [
    Way {
        name: "encrypted",
        server: "server smb encrypt = required",
        smbclient: "encrypt",
    },
    Way {
        name: "signed",
        server: "server smb encrypt = off\nserver signing = mandatory",
        smbclient: "sign",
    },
];

#[tokio::main]
async fn main() {
    let mut arguments = std::env::args().skip(1);
    let mut number = |default: usize| arguments.next().map_or(default, |text| text.parse().unwrap());
    let (mib, rounds) = (number(2048), number(3));
    let near = tempfile::tempdir().unwrap();
    let file = near.path().join("noise");
    make(&file, mib);
    for way in WAYS {
        let Some(samba) = Samba::start(way.server) else {
            return;
        };
        let (mut theirs, mut ours) = (Vec::new(), Vec::new());
        for _ in 0..rounds {
            theirs.push(by_smbclient(&samba, &way, &file));
            ours.push(by_us(&samba, &file).await);
        }
        println!("{}: smbclient {theirs:.2?}, labyard {ours:.2?}", way.name);
        let (theirs, ours) = (median(theirs), median(ours));
        println!(
            "{}: {mib} MiB by smbclient {:.2} s, by labyard {:.2} s ({:.0} MiB/s): ratio {:.2}",
            way.name,
            theirs.as_secs_f64(),
            ours.as_secs_f64(),
            mib as f64 / ours.as_secs_f64(),
            ours.as_secs_f64() / theirs.as_secs_f64()
        );
    }
    let most = peak();
    println!("most memory of this process: {most} MiB");
    assert!(most < 128, "an upload does not hold what it carries");
}

fn make(path: &Path, mib: usize) {
    use std::io::Write as _;
    let mut file = std::fs::File::create(path).unwrap();
    for n in 0..mib {
        file.write_all(&noise(1 << 20, n as u64 + 1)).unwrap();
    }
}

fn by_smbclient(samba: &Samba, way: &Way, file: &Path) -> Duration {
    let begun = Instant::now();
    samba.smbclient_with(
        &[&format!("--client-protection={}", way.smbclient)],
        &format!("put {} theirs", file.display()),
    );
    let took = begun.elapsed();
    std::fs::remove_file(samba.served().join("theirs")).unwrap();
    took
}

async fn by_us(samba: &Samba, file: &Path) -> Duration {
    let begun = Instant::now();
    let files = samba.files();
    let source = chunks(file);
    upload(&files, &at("ours"), "t", None, source).await.unwrap();
    let took = begun.elapsed();
    let served = samba.served().join("ours");
    machine::run(std::process::Command::new("cmp").arg(file).arg(&served));
    files.delete_file(&at("ours")).await.unwrap();
    took
}

/// A file in pieces of a MiB, read ahead by a thread.
fn chunks(path: &Path) -> impl Stream<Item = std::io::Result<Bytes>> + Send + use<> {
    use std::io::Read as _;
    let (sender, receiver) = tokio::sync::mpsc::channel(4);
    let mut file = std::fs::File::open(path).unwrap();
    std::thread::spawn(move || {
        loop {
            let mut chunk = Vec::with_capacity(1 << 20);
            let read = (&mut file).take(1 << 20).read_to_end(&mut chunk);
            let end = matches!(read, Ok(0));
            let sent = end || sender.blocking_send(read.map(|_| chunk.into())).is_err();
            if sent {
                return;
            }
        }
    });
    stream::unfold(receiver, |mut receiver| async move {
        receiver.recv().await.map(|chunk| (chunk, receiver))
    })
}

fn median(mut all: Vec<Duration>) -> Duration {
    all.sort();
    all[all.len() / 2]
}

/// In MiB, as Linux tells it.
fn peak() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))
        .unwrap();
    line.split_whitespace().next().unwrap().parse::<u64>().unwrap() / 1024
}
