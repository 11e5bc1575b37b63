//! What a server refuses, told by its name and with what mends it.

use std::path::PathBuf;
use std::process::Command;

use futures::stream;
use labyard_files::{Account, HostFiles, Share, SmbFiles, Trouble, UploadTrouble, Why, upload};

use crate::machine::{at, noise, open_to_all, root, run, skip};
use crate::samba::{OTHER, PASSWORD, Samba, USER};
use crate::sshd::Sshd;

fn files_of(samba: &Samba, account: Account, share: Share) -> SmbFiles {
    let mut host = samba.host();
    host.account = account;
    host.share = share;
    SmbFiles::new(host, &root()).unwrap()
}

#[tokio::test]
async fn a_wrong_password_is_told_as_such() {
    let Some(samba) = Samba::start("") else { return };
    for account in [
        Account::new(USER, "wrong"),
        Account::new("nobody-knows", PASSWORD),
    ] {
        let files = files_of(&samba, account, Samba::named());
        let trouble = files.connect().await.unwrap_err();
        assert!(matches!(trouble, Trouble::Login { .. }), "{trouble}");
        assert!(
            trouble.to_string().contains("user name or password are wrong"),
            "{trouble}"
        );
        assert!(!trouble.to_string().contains(PASSWORD));
        // Of a call: nothing was done.
        let error = files.delete_file(&at("x")).await.unwrap_err();
        assert!(
            matches!(error.why, Why::NotSent(Trouble::Login { .. })),
            "{error}"
        );
    }
}

#[tokio::test]
async fn users_are_named_with_their_domain_too() {
    let Some(samba) = Samba::start("") else { return };
    for user in [format!(r"LAB\{USER}"), USER.to_uppercase()] {
        let files = files_of(&samba, Account::new(user, PASSWORD), Samba::named());
        files.connect().await.unwrap();
    }
}

#[tokio::test]
async fn nobody_is_let_in_as_a_guest() {
    // Samba makes guests of those whom it does not know.
    let Some(samba) = Samba::start("map to guest = bad user\nguest account = daemon") else {
        return;
    };
    let files = files_of(&samba, Account::new("nobody-knows", PASSWORD), Samba::named());
    let trouble = files.connect().await.unwrap_err();
    assert!(matches!(trouble, Trouble::Guest { .. }), "{trouble}");
}

#[tokio::test]
async fn servers_that_speak_something_older_are_refused() {
    for (protocol, spoken) in [("SMB3_02", "3.0.2"), ("SMB2_10", "2.1"), ("NT1", "no SMB 2")] {
        let more = format!("server min protocol = CORE\nserver max protocol = {protocol}");
        let Some(samba) = Samba::start(&more) else { return };
        let trouble = samba.files().connect().await.unwrap_err();
        assert!(matches!(trouble, Trouble::Dialect { .. }), "{trouble}");
        assert!(trouble.to_string().contains(spoken), "{trouble}");
    }
}

#[tokio::test]
async fn the_share_of_a_drive_is_for_administrators_and_the_way_out_is_told() {
    let Some(samba) = Samba::start("") else { return };
    // `D:\` is the server's directory here, and the root is in it.
    std::fs::rename(samba.served(), samba.drive().join("labyard")).unwrap();
    let files = files_of(&samba, Account::new(USER, PASSWORD), Share::Administrative);
    files.make_directory(&at("x")).await.unwrap();
    assert!(samba.drive().join("labyard/x").is_dir());
    let files = files_of(&samba, Account::new(OTHER, PASSWORD), Share::Administrative);
    let trouble = files.connect().await.unwrap_err();
    assert!(matches!(trouble, Trouble::Share { .. }), "{trouble}");
    let told = trouble.to_string();
    for part in ["administrators alone", "New-SmbShare", "share = { name"] {
        assert!(told.contains(part), "{told}");
    }
}

#[tokio::test]
async fn a_share_that_is_not_there_is_told() {
    let Some(samba) = Samba::start("") else { return };
    let share = Share::Named {
        name: "nothing".into(),
        path: root(),
    };
    let files = files_of(&samba, Account::new(USER, PASSWORD), share);
    let trouble = files.connect().await.unwrap_err();
    assert!(trouble.to_string().contains("Get-SmbShare"), "{trouble}");
}

#[tokio::test]
async fn who_may_not_write_is_told_what_to_grant() {
    let Some(samba) = Samba::start("") else { return };
    let files = files_of(&samba, Account::new(OTHER, PASSWORD), Samba::named());
    let error = files.create(&at("x")).await.err().unwrap();
    assert!(matches!(error.why, Why::Denied { .. }), "{error}");
    assert!(error.to_string().contains("icacls"), "{error}");
    assert!(!error.may_be_done() && !error.is_transient());
    assert!(matches!(
        files.make_directory(&at("d")).await.unwrap_err().why,
        Why::Denied { .. }
    ));
    let frozen = Share::Named {
        name: "frozen".into(),
        path: root(),
    };
    let files = files_of(&samba, Account::new(USER, PASSWORD), frozen);
    let error = files.create(&at("x")).await.err().unwrap();
    assert!(matches!(error.why, Why::Denied { .. }), "{error}");
}

#[tokio::test]
async fn a_file_that_another_client_writes_is_in_use_until_it_lets_go() {
    let Some(samba) = Samba::start("") else { return };
    let (ours, other) = (samba.files(), samba.files());
    let path = at("disk.vhdx");
    let mut held = other.create(&path).await.unwrap();
    held.write_at(0, b"x").await.unwrap();
    let errors = [
        ours.open(&path).await.err(),
        ours.delete_file(&path).await.err(),
        ours.rename(&path, &at("b")).await.err(),
    ];
    for error in errors {
        let error = error.unwrap();
        assert_eq!(error.why, Why::InUse);
        assert!(error.is_transient() && !error.may_be_done());
    }
    // To look at it takes nothing from anybody.
    ours.stat(&path).await.unwrap();
    held.close().await.unwrap();
    ours.delete_file(&path).await.unwrap();
}

#[tokio::test]
async fn what_debians_client_puts_is_read_and_what_is_written_here_it_gets() {
    let Some(samba) = Samba::start("") else { return };
    let files = samba.files();
    let (near, bytes) = (tempfile::tempdir().unwrap(), noise(3_000_000, 8));
    let local = near.path().join("local");
    std::fs::write(&local, &bytes).unwrap();
    samba.smbclient(&format!("put {} theirs", local.display()));
    let file = files.open(&at("theirs")).await.unwrap();
    assert!(file.read_at(0, 1 << 30).await.unwrap()[..] == bytes);
    let source = stream::iter([Ok::<_, String>(bytes.clone().into())]);
    upload(&files, &at("ours"), "t", None, source).await.unwrap();
    let back = near.path().join("back");
    samba.smbclient(&format!("get ours {}", back.display()));
    assert!(std::fs::read(back).unwrap() == bytes);
}

/// A volume of a few MiB, mounted over a directory.
struct Small(PathBuf);

impl Small {
    fn over(directory: PathBuf) -> Option<Self> {
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=6m", "labyard-small"])
            .arg(&directory)
            .output()
            .unwrap();
        if !mounted.status.success() {
            skip("no file system can be mounted here");
            return None;
        }
        open_to_all(&directory);
        Some(Self(directory))
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        run(Command::new("umount").arg("-l").arg(&self.0));
    }
}

async fn a_full_volume_is_told(files: &dyn HostFiles, served: PathBuf) {
    let target = at("image.vhdx");
    let source = stream::iter((0..20).map(|n| Ok::<_, String>(noise(1 << 20, n + 1).into())));
    let error = upload(files, &target, "t", None, source).await.unwrap_err();
    let full = |why: &UploadTrouble| matches!(why, UploadTrouble::Files(error) if error.why == Why::DiskFull);
    assert!(full(&error.why), "{error}");
    assert!(error.left_behind.is_none(), "{error}");
    assert_eq!(std::fs::read_dir(served).unwrap().count(), 0);
    let free = files.space().await.unwrap().free;
    assert!(free > 5 << 20, "the room is given back: {free}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn by_smb_a_full_volume_is_told_and_nothing_is_left() {
    let Some(samba) = Samba::start("") else { return };
    let Some(_small) = Small::over(samba.served()) else {
        return;
    };
    a_full_volume_is_told(&samba.files(), samba.served()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn by_sftp_a_full_volume_is_told_and_nothing_is_left() {
    let Some(sshd) = Sshd::start() else { return };
    let Some(_small) = Small::over(sshd.served()) else {
        return;
    };
    a_full_volume_is_told(&sshd.files(), sshd.served()).await;
}
