//! What an upload holds in memory. Alone in its process, so that nothing else is counted.

#[path = "suite/machine.rs"]
mod machine;
#[path = "suite/samba.rs"]
#[expect(dead_code, reason = "made for the suite, which needs more of it")]
mod samba;
#[path = "suite/sshd.rs"]
#[expect(dead_code, reason = "made for the suite, which needs more of it")]
mod sshd;

use bytes::Bytes;
use futures::stream;
use labyard_files::{HostFiles, upload};

use crate::machine::{at, noise};

/// Much more than may be held.
const MIB: u64 = 160;
/// What may be held: the writes under way, each as it is gathered, packed, sealed and queued.
const MOST: u64 = 64;

/// The most memory that this process had so far, in MiB.
fn peak() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))
        .unwrap();
    line.split_whitespace().next().unwrap().parse::<u64>().unwrap() / 1024
}

async fn holds_little(files: &dyn HostFiles) {
    let chunk = Bytes::from(noise(1 << 20, 1));
    let before = peak();
    let source = stream::iter((0..MIB).map(|_| Ok::<_, String>(chunk.clone())));
    let uploaded = upload(files, &at("image"), "t", None, source).await.unwrap();
    assert_eq!(uploaded.length, MIB << 20);
    let grown = peak() - before;
    assert!(grown < MOST, "{MIB} MiB went through {grown} MiB of memory");
    files.delete_file(&at("image")).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upload_holds_no_more_than_what_is_under_way() {
    if let Some(samba) = samba::Samba::start("server smb encrypt = required") {
        holds_little(&samba.files()).await;
    }
    if let Some(sshd) = sshd::Sshd::start() {
        holds_little(&sshd.files()).await;
    }
}
