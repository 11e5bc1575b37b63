//! What only one of the ways has.

use std::os::unix::fs::symlink;
use std::sync::Arc;

use futures::stream;
use labyard_files::{HostFiles, Kind, SmbFiles, upload};

use crate::machine::{at, noise, root};
use crate::samba::Samba;
use crate::sshd::{Forwarded, Sshd};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn smb_goes_through_a_channel_of_ssh() {
    let (Some(samba), Some(sshd)) = (Samba::start(""), Sshd::start()) else {
        return;
    };
    let channels = sshd.channels();
    let mut host = samba.host();
    host.dial = Arc::new(Forwarded {
        by: Arc::clone(&channels),
        port: samba.port,
    });
    let files = SmbFiles::new(host, &root()).unwrap();
    let bytes = noise(12 << 20, 1);
    let source = stream::iter([Ok::<_, String>(bytes.clone().into())]);
    upload(&files, &at("image"), "t", None, source).await.unwrap();
    assert!(std::fs::read(samba.served().join("image")).unwrap() == bytes);
    // It comes back by a channel of a new connection.
    channels.cut().await;
    let file = files.open(&at("image")).await.unwrap();
    assert!(file.read_at(0, bytes.len()).await.unwrap()[..] == bytes);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_link_is_told_as_one_and_goes_without_what_it_leads_to() {
    let Some(sshd) = Sshd::start() else { return };
    let files = sshd.files();
    let served = sshd.served();
    std::fs::create_dir(served.join("d")).unwrap();
    std::fs::write(served.join("d/f"), b"x").unwrap();
    symlink(served.join("d"), served.join("to-d")).unwrap();
    symlink(served.join("d/f"), served.join("to-f")).unwrap();
    for name in ["to-d", "to-f"] {
        assert_eq!(files.stat(&at(name)).await.unwrap().kind, Kind::Link);
        files.delete_file(&at(name)).await.unwrap();
    }
    assert_eq!(std::fs::read(served.join("d/f")).unwrap(), b"x");
    assert_eq!(files.list(&root()).await.unwrap().len(), 1);
}
