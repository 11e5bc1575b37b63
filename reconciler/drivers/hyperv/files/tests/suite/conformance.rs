//! What both ways promise: one table of behaviours, each run over SMB, signed and sealed, and over SFTP.

use std::time::{Duration, SystemTime};

use futures::stream::{self, StreamExt as _};
use labyard_files::{
    Access, HostFiles, HostPath, Kind, Made, Sha256, Staged, UploadTrouble, Verb, Why, chunks, upload,
};
use sha2::{Digest as _, Sha256 as Hash};

use crate::machine::{at, noise, root};

/// The behaviours, over each way.
macro_rules! conformance {
    ($($case:ident),* $(,)?) => {
        mod by_smb_sealed {
            use crate::samba::Samba;
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $case() {
                let Some(server) = Samba::start("server smb encrypt = required") else { return };
                super::$case(&server.files()).await;
            })*
        }
        mod by_smb_signed {
            use crate::samba::Samba;
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $case() {
                let Some(server) = Samba::start("server smb encrypt = off\nserver signing = mandatory") else { return };
                super::$case(&server.files()).await;
            })*
        }
        mod by_sftp {
            use crate::sshd::Sshd;
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $case() {
                let Some(server) = Sshd::start() else { return };
                super::$case(&server.files()).await;
            })*
        }
    };
}

conformance![
    a_directory_is_made_with_those_it_is_in,
    a_file_in_the_way_of_a_directory_is_named,
    a_file_is_made_once,
    what_is_written_anywhere_is_read_back,
    what_is_written_twice_is_as_it_was_written_last,
    an_end_that_is_set_adds_zeros_and_cuts_off,
    a_file_is_read_in_order_and_no_further_than_its_end,
    what_is_in_a_directory_is_told_with_its_facts,
    a_directory_of_thousands_is_told_whole,
    what_is_not_there_is_not_found,
    files_and_directories_are_not_taken_for_each_other,
    a_rename_replaces_nothing,
    a_directory_is_renamed_with_what_is_in_it,
    only_an_empty_directory_is_deleted,
    a_read_only_file_stays_until_that_is_cleared,
    nothing_outside_of_the_root_is_touched,
    long_and_foreign_names_are_names,
    the_room_on_the_volume_is_told,
    an_upload_has_its_name_when_it_is_whole,
    an_upload_that_fails_leaves_nothing,
    an_upload_takes_no_name_that_is_taken,
    an_image_is_staged_in_any_order,
    a_file_that_is_dropped_is_let_go_of,
    many_calls_go_side_by_side,
];

async fn write(files: &dyn HostFiles, path: &HostPath, bytes: &[u8]) {
    let mut file = files.create(path).await.unwrap();
    file.write_at(0, bytes).await.unwrap();
    file.flush().await.unwrap();
    file.close().await.unwrap();
}

async fn read(files: &dyn HostFiles, path: &HostPath) -> Vec<u8> {
    let file = files.open(path).await.unwrap();
    let mut whole = Vec::new();
    let mut parts = std::pin::pin!(chunks(&*file));
    while let Some(part) = parts.next().await {
        whole.extend(part.unwrap());
    }
    whole
}

async fn names(files: &dyn HostFiles, path: &HostPath) -> Vec<String> {
    let mut names: Vec<String> = files
        .list(path)
        .await
        .unwrap()
        .into_iter()
        .map(|entry| entry.name)
        .collect();
    names.sort();
    names
}

fn digest(bytes: &[u8]) -> Sha256 {
    Sha256(Hash::digest(bytes).into())
}

async fn a_directory_is_made_with_those_it_is_in(files: &dyn HostFiles) {
    let deep = at(r"a\b\c");
    assert_eq!(files.make_directory(&deep).await.unwrap(), Made::New);
    assert_eq!(files.make_directory(&deep).await.unwrap(), Made::WasThere);
    assert_eq!(files.make_directory(&root()).await.unwrap(), Made::WasThere);
    assert_eq!(files.stat(&at(r"a\b")).await.unwrap().kind, Kind::Directory);
    assert_eq!(names(files, &at(r"a\b")).await, ["c"]);
}

async fn a_file_in_the_way_of_a_directory_is_named(files: &dyn HostFiles) {
    write(files, &at("x"), b"file").await;
    let error = files.make_directory(&at("x")).await.unwrap_err();
    assert_eq!((error.verb, error.why), (Verb::MakeDirectory, Why::NotDirectory));
    let below = files.make_directory(&at(r"x\y")).await.unwrap_err();
    assert!(
        matches!(below.why, Why::NotDirectory | Why::NotFound | Why::Refused(_)),
        "{below}"
    );
    assert_eq!(read(files, &at("x")).await, b"file");
}

async fn a_file_is_made_once(files: &dyn HostFiles) {
    let path = at("disk.vhdx");
    write(files, &path, b"first").await;
    let error = files.create(&path).await.err().unwrap();
    assert_eq!(error.why, Why::Exists(path.clone()));
    let other = at("DISK2.vhdx");
    let missing = files.create(&at(r"none\x")).await.err().unwrap();
    assert_eq!(missing.why, Why::NotFound);
    write(files, &other, b"").await;
    assert_eq!(files.stat(&other).await.unwrap().size, 0);
    assert_eq!(read(files, &path).await, b"first");
}

async fn what_is_written_anywhere_is_read_back(files: &dyn HostFiles) {
    let path = at("holes");
    let mut expected = vec![0; 9 << 20];
    let mut file = files.create(&path).await.unwrap();
    let pieces = [
        (8 << 20, 1 << 20),
        (0, 3),
        (3, 70_000),
        (5_000_000, 2_500_000),
        (70_003, 1),
    ];
    for (seed, (offset, length)) in pieces.into_iter().enumerate() {
        let data = noise(length, seed as u64 + 1);
        expected[offset..offset + length].copy_from_slice(&data);
        file.write_at(offset as u64, &data).await.unwrap();
    }
    file.flush().await.unwrap();
    file.close().await.unwrap();
    assert!(read(files, &path).await == expected);
}

async fn what_is_written_twice_is_as_it_was_written_last(files: &dyn HostFiles) {
    let path = at("twice");
    let mut file = files.create(&path).await.unwrap();
    for round in 0..20u8 {
        for block in [0u64, 2, 1] {
            let data = vec![round * 3 + block as u8; 300_000];
            file.write_at(block * 200_000, &data).await.unwrap();
        }
    }
    file.close().await.unwrap();
    let bytes = read(files, &path).await;
    assert_eq!(bytes.len(), 700_000);
    assert!(bytes[..200_000].iter().all(|byte| *byte == 57));
    assert!(bytes[200_000..500_000].iter().all(|byte| *byte == 58));
    assert!(bytes[500_000..].iter().all(|byte| *byte == 59));
}

async fn an_end_that_is_set_adds_zeros_and_cuts_off(files: &dyn HostFiles) {
    let path = at("end");
    let mut file = files.create(&path).await.unwrap();
    file.write_at(0, &[7; 100]).await.unwrap();
    file.set_len(1 << 32).await.unwrap();
    file.write_at((1 << 32) - 1, &[9]).await.unwrap();
    file.flush().await.unwrap();
    assert_eq!(files.stat(&path).await.unwrap().size, 1 << 32);
    file.set_len(150).await.unwrap();
    file.close().await.unwrap();
    assert_eq!(read(files, &path).await, [vec![7; 100], vec![0; 50]].concat());
}

async fn a_file_is_read_in_order_and_no_further_than_its_end(files: &dyn HostFiles) {
    let path = at("bytes");
    let bytes = noise(5_300_017, 5);
    write(files, &path, &bytes).await;
    assert!(read(files, &path).await == bytes);
    let file = files.open(&path).await.unwrap();
    assert_eq!(file.size(), bytes.len() as u64);
    let tail = file.read_at(bytes.len() as u64 - 3, 100).await.unwrap();
    assert_eq!(tail[..], bytes[bytes.len() - 3..]);
    assert!(file.read_at(bytes.len() as u64, 10).await.unwrap().is_empty());
    assert!(file.read_at(u64::MAX, 10).await.unwrap().is_empty());
    assert!(file.read_at(0, 0).await.unwrap().is_empty());
    let middle = file.read_at(17, 3_000_000).await.unwrap();
    assert!(middle[..] == bytes[17..3_000_017]);
}

async fn what_is_in_a_directory_is_told_with_its_facts(files: &dyn HostFiles) {
    assert_eq!(names(files, &root()).await, [""; 0]);
    files.make_directory(&at("d")).await.unwrap();
    write(files, &at("f"), &[1; 4097]).await;
    files.protect(&at("f"), Access::ReadOnly).await.unwrap();
    let mut entries = files.list(&root()).await.unwrap();
    entries.sort_by(|a, b| a.name.cmp(&b.name));
    assert_eq!(entries.len(), 2);
    assert_eq!(
        (entries[0].name.as_str(), entries[0].stat.kind),
        ("d", Kind::Directory)
    );
    let (file, told) = (&entries[1], files.stat(&at("f")).await.unwrap());
    assert_eq!(
        (file.name.as_str(), file.stat.kind, file.stat.size),
        ("f", Kind::File, 4097)
    );
    assert_eq!(
        (told.kind, told.size, told.access),
        (Kind::File, 4097, Access::ReadOnly)
    );
    assert_eq!(file.stat.access, Access::ReadOnly);
    let age = SystemTime::now()
        .duration_since(told.modified)
        .unwrap_or_default();
    assert!(age < Duration::from_secs(60), "{age:?}");
}

async fn a_directory_of_thousands_is_told_whole(files: &dyn HostFiles) {
    let directory = at("many");
    files.make_directory(&directory).await.unwrap();
    let all: Vec<String> = (0..2000).map(|n| format!("a file with number {n:05}")).collect();
    let made = stream::iter(&all).map(|name| {
        let path = directory.join(name).unwrap();
        async move { files.create(&path).await.unwrap().close().await.unwrap() }
    });
    made.buffer_unordered(16).collect::<Vec<_>>().await;
    assert_eq!(names(files, &directory).await, all);
}

async fn what_is_not_there_is_not_found(files: &dyn HostFiles) {
    for path in [at("nothing"), at(r"nothing\below")] {
        let errors = [
            files.stat(&path).await.err(),
            files.list(&path).await.err(),
            files.open(&path).await.err(),
            files.rename(&path, &at("other")).await.err(),
            files.delete_file(&path).await.err(),
            files.delete_directory(&path).await.err(),
            files.protect(&path, Access::ReadOnly).await.err(),
        ];
        for error in errors {
            let error = error.unwrap();
            assert!(error.is_not_found() && !error.may_be_done(), "{error}");
            assert_eq!(error.path, path);
        }
    }
}

async fn files_and_directories_are_not_taken_for_each_other(files: &dyn HostFiles) {
    files.make_directory(&at("d")).await.unwrap();
    write(files, &at("f"), b"x").await;
    assert_eq!(files.open(&at("d")).await.err().unwrap().why, Why::IsDirectory);
    assert_eq!(
        files.delete_file(&at("d")).await.unwrap_err().why,
        Why::IsDirectory
    );
    assert_eq!(files.list(&at("f")).await.unwrap_err().why, Why::NotDirectory);
    assert_eq!(
        files.delete_directory(&at("f")).await.unwrap_err().why,
        Why::NotDirectory
    );
    assert_eq!(names(files, &root()).await, ["d", "f"]);
}

async fn a_rename_replaces_nothing(files: &dyn HostFiles) {
    write(files, &at("a"), b"A").await;
    write(files, &at("b"), b"B").await;
    let error = files.rename(&at("a"), &at("b")).await.unwrap_err();
    assert_eq!(error.why, Why::Exists(at("b")));
    assert!(!error.may_be_done());
    assert_eq!(read(files, &at("a")).await, b"A");
    assert_eq!(read(files, &at("b")).await, b"B");
    files.make_directory(&at("d")).await.unwrap();
    let error = files.rename(&at("a"), &at("d")).await.unwrap_err();
    assert_eq!(error.why, Why::Exists(at("d")));
    files.rename(&at("a"), &at(r"d\c")).await.unwrap();
    assert_eq!(names(files, &root()).await, ["b", "d"]);
    assert_eq!(read(files, &at(r"d\c")).await, b"A");
    let nowhere = files.rename(&at("b"), &at(r"none\b")).await.unwrap_err();
    assert_eq!(nowhere.why, Why::NotFound);
}

async fn a_directory_is_renamed_with_what_is_in_it(files: &dyn HostFiles) {
    files.make_directory(&at("d")).await.unwrap();
    write(files, &at(r"d\f"), b"x").await;
    files.rename(&at("d"), &at("e")).await.unwrap();
    assert_eq!(names(files, &at("e")).await, ["f"]);
    assert!(files.stat(&at("d")).await.unwrap_err().is_not_found());
}

async fn only_an_empty_directory_is_deleted(files: &dyn HostFiles) {
    files.make_directory(&at("d")).await.unwrap();
    write(files, &at(r"d\f"), b"x").await;
    let error = files.delete_directory(&at("d")).await.unwrap_err();
    assert_eq!(error.why, Why::NotEmpty);
    assert_eq!(names(files, &at("d")).await, ["f"]);
    files.delete_file(&at(r"d\f")).await.unwrap();
    files.delete_directory(&at("d")).await.unwrap();
    assert!(files.stat(&at("d")).await.unwrap_err().is_not_found());
}

async fn a_read_only_file_stays_until_that_is_cleared(files: &dyn HostFiles) {
    let path = at("f");
    write(files, &path, b"x").await;
    assert_eq!(files.stat(&path).await.unwrap().access, Access::ReadWrite);
    files.protect(&path, Access::ReadOnly).await.unwrap();
    assert_eq!(files.stat(&path).await.unwrap().access, Access::ReadOnly);
    assert_eq!(files.delete_file(&path).await.unwrap_err().why, Why::ReadOnly);
    files.protect(&path, Access::ReadWrite).await.unwrap();
    assert_eq!(files.stat(&path).await.unwrap().access, Access::ReadWrite);
    files.delete_file(&path).await.unwrap();
    assert!(files.stat(&path).await.unwrap_err().is_not_found());
}

async fn nothing_outside_of_the_root_is_touched(files: &dyn HostFiles) {
    let (inside, why) = (at("f"), Why::Outside { root: root() });
    write(files, &inside, b"x").await;
    for outside in [
        r"D:\",
        r"D:\other",
        r"D:\labyard2\x",
        r"C:\labyard\f",
        r"\\h\s\labyard\f",
    ] {
        let outside = HostPath::new(outside).unwrap();
        let errors = [
            files.make_directory(&outside).await.err(),
            files.list(&outside).await.err(),
            files.stat(&outside).await.err(),
            files.open(&outside).await.err(),
            files.create(&outside).await.err(),
            files.rename(&outside, &at("g")).await.err(),
            files.rename(&inside, &outside).await.err(),
            files.delete_file(&outside).await.err(),
            files.delete_directory(&outside).await.err(),
            files.protect(&outside, Access::ReadOnly).await.err(),
        ];
        for error in errors {
            assert_eq!(error.unwrap().why, why, "{outside}");
        }
    }
    assert_eq!(read(files, &inside).await, b"x");
}

async fn long_and_foreign_names_are_names(files: &dyn HostFiles) {
    let deep = at("ein Verzeichnis mit Leerzeichen & Größe");
    files.make_directory(&deep).await.unwrap();
    let long = "x".repeat(259 - deep.to_string().chars().count() - 1);
    let all = ["日本語-🦀", "ñ ü ß", "a'b$(c);`d`%e%", &long];
    for name in all {
        let path = deep.join(name).unwrap();
        write(files, &path, name.as_bytes()).await;
        assert_eq!(read(files, &path).await, name.as_bytes());
    }
    let mut expected = all.map(str::to_owned).to_vec();
    expected.sort();
    assert_eq!(names(files, &deep).await, expected);
}

async fn the_room_on_the_volume_is_told(files: &dyn HostFiles) {
    let space = files.space().await.unwrap();
    assert!(space.free > 1 << 20 && space.free <= space.total, "{space:?}");
    assert!(space.total > 1 << 30, "{space:?}");
}

async fn an_upload_has_its_name_when_it_is_whole(files: &dyn HostFiles) {
    let (target, bytes) = (at("image.vhdx"), noise(3_000_001, 9));
    let source = stream::iter(
        bytes
            .chunks(7_777)
            .map(|part| Ok::<_, String>(part.to_vec().into())),
    );
    let uploaded = upload(files, &target, "t1", Some(digest(&bytes)), source)
        .await
        .unwrap();
    assert_eq!(uploaded.length, bytes.len() as u64);
    assert_eq!(uploaded.sha256, digest(&bytes));
    assert_eq!(names(files, &root()).await, ["image.vhdx"]);
    assert!(read(files, &target).await == bytes);
    let nothing = stream::empty::<Result<bytes::Bytes, String>>();
    let empty = upload(files, &at("empty"), "t2", None, nothing).await.unwrap();
    assert_eq!((empty.length, empty.sha256), (0, digest(b"")));
    assert_eq!(files.stat(&at("empty")).await.unwrap().size, 0);
}

async fn an_upload_that_fails_leaves_nothing(files: &dyn HostFiles) {
    let target = at("image.vhdx");
    let source = stream::iter([Ok::<_, String>(vec![1; 2 << 20].into())]);
    let error = upload(files, &target, "t", Some(digest(b"other")), source)
        .await
        .unwrap_err();
    assert!(matches!(error.why, UploadTrouble::Digest { .. }), "{error}");
    assert!(error.left_behind.is_none());
    let source = stream::iter([Ok(vec![1; 2 << 20].into()), Err("the source broke")]);
    let error = upload(files, &target, "t", None, source).await.unwrap_err();
    assert!(matches!(error.why, UploadTrouble::Source { .. }), "{error}");
    assert!(error.to_string().contains("the source broke"), "{error}");
    assert_eq!(names(files, &root()).await, [""; 0]);
}

async fn an_upload_takes_no_name_that_is_taken(files: &dyn HostFiles) {
    let target = at("image.vhdx");
    write(files, &target, b"there").await;
    let bytes = || stream::iter([Ok::<_, String>(b"new".to_vec().into())]);
    let error = upload(files, &target, "t", None, bytes()).await.unwrap_err();
    assert!(error.to_string().contains("exists already"), "{error}");
    // Nor the temporary one of somebody else, which is not taken away either.
    let free = at("free.vhdx");
    let temporary = Staged::temporary(&free, "t").unwrap();
    write(files, &temporary, b"another's").await;
    upload(files, &free, "t", None, bytes()).await.unwrap_err();
    assert_eq!(read(files, &temporary).await, b"another's");
    assert_eq!(read(files, &target).await, b"there");
    // One that takes the name meanwhile keeps it.
    let late = at("late.vhdx");
    let mut staged = Staged::begin(files, &late, "u").await.unwrap();
    staged.write_at(0, b"slow").await.unwrap();
    write(files, &late, b"quick").await;
    let error = staged.finish(4).await.unwrap_err();
    assert!(error.left_behind.is_none(), "{error}");
    assert_eq!(read(files, &late).await, b"quick");
}

async fn an_image_is_staged_in_any_order(files: &dyn HostFiles) {
    let target = at("disk.vhdx");
    let mut staged = Staged::begin(files, &target, "t").await.unwrap();
    staged.set_len(4 << 20).await.unwrap();
    for offset in [3u64 << 20, 0, 1 << 20] {
        staged
            .write_at(offset, &noise(1 << 20, offset + 1))
            .await
            .unwrap();
    }
    staged.finish(4 << 20).await.unwrap();
    let bytes = read(files, &target).await;
    assert!(bytes[..1 << 20] == noise(1 << 20, 1));
    assert!(bytes[2 << 20..3 << 20].iter().all(|byte| *byte == 0));
    // One that is shorter than it should be gets no name.
    let mut short = Staged::begin(files, &at("short"), "t").await.unwrap();
    short.write_at(0, b"abc").await.unwrap();
    let error = short.finish(4).await.unwrap_err();
    assert!(
        matches!(error.why, UploadTrouble::Length { found: 3, .. }),
        "{error}"
    );
    assert_eq!(names(files, &root()).await, ["disk.vhdx"]);
}

async fn a_file_that_is_dropped_is_let_go_of(files: &dyn HostFiles) {
    let path = at("dropped");
    let mut file = files.create(&path).await.unwrap();
    file.write_at(0, &noise(20 << 20, 1)).await.unwrap();
    drop(file);
    let reading = files.open(&path).await;
    drop(reading);
    let deadline = tokio::time::Instant::now() + Duration::from_secs(10);
    while let Err(error) = files.delete_file(&path).await {
        assert!(error.is_transient(), "{error}");
        assert!(tokio::time::Instant::now() < deadline, "{error}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(names(files, &root()).await, [""; 0]);
}

async fn many_calls_go_side_by_side(files: &dyn HostFiles) {
    let all = stream::iter(0..24u64).map(|n| async move {
        let bytes = noise(400_000 + n as usize, n + 1);
        let path = at(&format!("f{n}"));
        let source = stream::iter([Ok::<_, String>(bytes.clone().into())]);
        upload(files, &path, "t", Some(digest(&bytes)), source)
            .await
            .unwrap();
        assert!(read(files, &path).await == bytes);
    });
    all.buffer_unordered(24).collect::<Vec<_>>().await;
    assert_eq!(files.list(&root()).await.unwrap().len(), 24);
}
