//! Connections that break in the middle: what only looks goes on, and what changes something is told as what it is.

use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use futures::stream::{self, StreamExt as _};
use labyard_files::{
    Deadlines, HostFiles, Made, SftpFiles, SmbFiles, Trouble, UploadTrouble, Verb, Why, chunks, upload,
};

use crate::machine::{at, noise, root};
use crate::proxy::{CREATE, Fate, Proxy, QUERY_DIRECTORY, READ, SET_INFO, WRITE, Way, command};
use crate::samba::Samba;
use crate::sshd::Sshd;

/// In the clear, so that who is on the way can tell messages from each other.
const CLEAR: &str = "server smb encrypt = off\nserver signing = mandatory";

/// Cuts the connection once, at the nth message of a command on its way.
async fn cutting(samba: &Samba, way: Way, wanted: u16, nth: usize) -> (Proxy, SmbFiles) {
    let mut seen = 0;
    let rule = move |on: Way, message: &mut Vec<u8>| {
        if on == way && command(message) == Some(wanted) {
            seen += 1;
            if seen == nth {
                return Fate::Cut;
            }
        }
        Fate::Pass
    };
    let proxy = Proxy::start(samba.port, Box::new(rule)).await;
    let files = SmbFiles::new(samba.through(proxy.port), &root()).unwrap();
    (proxy, files)
}

fn put(samba: &Samba, name: &str, bytes: &[u8]) {
    std::fs::write(samba.served().join(name), bytes).unwrap();
}

fn served(samba: &Samba) -> Vec<String> {
    let mut names: Vec<String> = std::fs::read_dir(samba.served())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_is_read_on_after_a_cut() {
    let Some(samba) = Samba::start(CLEAR) else { return };
    let bytes = noise(20 << 20, 3);
    put(&samba, "image", &bytes);
    let (_proxy, files) = cutting(&samba, Way::Back, READ, 7).await;
    let file = files.open(&at("image")).await.unwrap();
    let mut whole = Vec::new();
    let mut parts = std::pin::pin!(chunks(&*file));
    while let Some(part) = parts.next().await {
        whole.extend(part.unwrap());
    }
    assert!(whole == bytes);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_that_is_another_one_after_a_cut_is_not_read_on() {
    let Some(samba) = Samba::start(CLEAR) else { return };
    put(&samba, "image", &noise(4 << 20, 3));
    let (_proxy, files) = cutting(&samba, Way::Back, READ, 2).await;
    let file = files.open(&at("image")).await.unwrap();
    file.read_at(0, 1000).await.unwrap();
    std::fs::remove_file(samba.served().join("image")).unwrap();
    put(&samba, "image", &noise(5 << 20, 4));
    assert_eq!(file.read_at(1000, 1000).await.unwrap_err().why, Why::Changed);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_directory_is_listed_again_after_a_cut() {
    let Some(samba) = Samba::start(CLEAR) else { return };
    for n in 0..1500 {
        put(&samba, &format!("a name that is not short {n}"), b"");
    }
    let (_proxy, files) = cutting(&samba, Way::Back, QUERY_DIRECTORY, 2).await;
    assert_eq!(files.list(&root()).await.unwrap().len(), 1500);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rename_whose_answer_is_lost_is_told_as_lost_and_done_once() {
    let Some(samba) = Samba::start(CLEAR) else { return };
    put(&samba, "a", b"x");
    let (_proxy, files) = cutting(&samba, Way::Back, SET_INFO, 1).await;
    let error = files.rename(&at("a"), &at("b")).await.unwrap_err();
    assert!(error.may_be_done() && !error.is_transient(), "{error}");
    assert_eq!(served(&samba), ["b"]);
    // The next call has a connection of its own.
    assert_eq!(files.list(&root()).await.unwrap().len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rename_that_is_lost_on_its_way_there_is_told_as_lost_too() {
    let Some(samba) = Samba::start(CLEAR) else { return };
    put(&samba, "a", b"x");
    let (_proxy, files) = cutting(&samba, Way::ToHost, SET_INFO, 1).await;
    let error = files.rename(&at("a"), &at("b")).await.unwrap_err();
    assert!(error.may_be_done(), "{error}");
    assert_eq!(served(&samba), ["a"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_creation_whose_answer_is_lost_is_not_repeated() {
    let Some(samba) = Samba::start(CLEAR) else { return };
    let (_proxy, files) = cutting(&samba, Way::Back, CREATE, 1).await;
    let error = files.create(&at("a")).await.err().unwrap();
    assert!(error.may_be_done(), "{error}");
    assert_eq!(served(&samba), ["a"]);
    assert_eq!(
        files.create(&at("a")).await.err().unwrap().why,
        Why::Exists(at("a"))
    );
    // Directories can be asked for again: that is no repetition that harms.
    assert_eq!(files.make_directory(&at("d")).await.unwrap(), Made::New);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upload_whose_rename_is_lost_looks_whether_it_was_done() {
    let Some(samba) = Samba::start(CLEAR) else { return };
    for (way, done) in [(Way::Back, true), (Way::ToHost, false)] {
        let (_proxy, files) = cutting(&samba, way, SET_INFO, 1).await;
        let source = stream::iter([Ok::<_, String>(noise(100_000, 1).into())]);
        let uploaded = upload(&files, &at("image"), "t", None, source).await;
        match done {
            true => {
                assert_eq!(uploaded.unwrap().length, 100_000);
                assert_eq!(served(&samba), ["image"]);
                std::fs::remove_file(samba.served().join("image")).unwrap();
            }
            false => {
                let error = uploaded.unwrap_err();
                assert!(error.left_behind.is_none(), "{error}");
                assert!(matches!(error.why, UploadTrouble::Files(error) if error.may_be_done()));
                assert_eq!(served(&samba), [""; 0]);
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upload_that_is_cut_off_is_lost_and_leaves_nothing() {
    let Some(samba) = Samba::start(CLEAR) else { return };
    let (_proxy, files) = cutting(&samba, Way::Back, WRITE, 5).await;
    let source = stream::iter((0..30).map(|n| Ok::<_, String>(noise(1 << 20, n + 1).into())));
    let error = upload(&files, &at("image"), "t", None, source).await.unwrap_err();
    assert!(error.left_behind.is_none(), "{error}");
    assert!(error.to_string().contains("cannot write to"), "{error}");
    assert_eq!(served(&samba), [""; 0]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_dies_in_the_middle_of_a_write_is_told() {
    let Some(samba) = Samba::start("") else { return };
    let files = samba.files();
    let before = samba.children();
    let mut file = files.create(&at("image")).await.unwrap();
    file.write_at(0, &noise(3 << 20, 1)).await.unwrap();
    let ours: Vec<String> = samba
        .children()
        .into_iter()
        .filter(|id| !before.contains(id))
        .collect();
    assert_eq!(ours.len(), 1, "one process for our connection");
    let killed = Command::new("kill").args(["-KILL", &ours[0]]).status().unwrap();
    assert!(killed.success());
    let error = match file.write_at(3 << 20, &noise(30 << 20, 2)).await {
        Err(error) => error,
        Ok(()) => file.flush().await.unwrap_err(),
    };
    assert_eq!(error.verb, Verb::Write);
    assert!(matches!(error.why, Why::Lost(Trouble::Broken { .. })), "{error}");
    assert!(
        file.flush().await.is_err(),
        "nothing is said to be written after that"
    );
    let closed = file.close().await.unwrap_err();
    assert_eq!(closed.why, Why::Poisoned);
    // There is a server again for what comes next.
    files.delete_file(&at("image")).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_silent_server_is_not_awaited_for_ever() {
    let Some(samba) = Samba::start(CLEAR) else { return };
    put(&samba, "a", b"x");
    let rule = |way: Way, message: &mut Vec<u8>| match (way, command(message)) {
        (Way::Back, Some(SET_INFO | QUERY_DIRECTORY)) => Fate::Keep,
        _ => Fate::Pass,
    };
    let proxy = Proxy::start(samba.port, Box::new(rule)).await;
    let mut host = samba.through(proxy.port);
    host.deadlines = Deadlines {
        connect: Duration::from_secs(20),
        call: Duration::from_millis(500),
        disk: Duration::from_millis(500),
    };
    let files = SmbFiles::new(host, &root()).unwrap();
    let error = files.rename(&at("a"), &at("b")).await.unwrap_err();
    assert!(matches!(error.why, Why::Lost(Trouble::Silent { .. })), "{error}");
    let error = files.list(&root()).await.unwrap_err();
    assert!(
        matches!(error.why, Why::NotSent(Trouble::Silent { .. })),
        "{error}"
    );
    assert!(error.is_transient() && !error.may_be_done());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn by_sftp_a_cut_is_told_and_the_next_call_has_a_new_channel() {
    let Some(sshd) = Sshd::start() else { return };
    let channels = sshd.channels();
    let files: SftpFiles = sshd.files_by(Arc::clone(&channels) as Arc<dyn labyard_files::Dial>);
    let bytes = noise(9 << 20, 1);
    std::fs::write(sshd.served().join("read"), &bytes).unwrap();
    let reading = files.open(&at("read")).await.unwrap();
    let mut writing = files.create(&at("written")).await.unwrap();
    writing.write_at(0, &bytes).await.unwrap();
    channels.cut().await;
    // What only looks goes on.
    let read = reading.read_at(1 << 20, 8 << 20).await.unwrap();
    assert!(read[..] == bytes[1 << 20..]);
    let error = match writing.write_at(9 << 20, &noise(20 << 20, 2)).await {
        Err(error) => error,
        Ok(()) => writing.flush().await.unwrap_err(),
    };
    assert!(matches!(error.why, Why::Lost(_) | Why::NotSent(_)), "{error}");
    drop(writing);
    files.delete_file(&at("written")).await.unwrap();
    assert_eq!(files.list(&root()).await.unwrap().len(), 1);
}
