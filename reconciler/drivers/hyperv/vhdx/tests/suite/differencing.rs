//! Empty children of a disk.

use std::path::Path;
use std::process::{Command, Output};
use std::sync::Arc;

use uuid::Uuid;
use vhdx::{
    ChildError, Disk, Identity, Info, Kind, LocalFile, Parent, Reader, VhdxError, Writer, write_child,
};

use crate::place::IDENTITY;

fn child(size: u64) -> Disk {
    let identity = Identity {
        disk: Uuid::from_u128(10),
        file_write: Uuid::from_u128(11),
        data_write: Uuid::from_u128(12),
    };
    Disk::holding(size, identity).unwrap()
}

#[tokio::test]
async fn a_child_names_its_parent_and_has_a_size_of_its_own() {
    let place = tempfile::tempdir().unwrap();
    let path = place.path().join("child.vhdx");
    let parent = Parent {
        linkage: IDENTITY.data_write,
        relative_path: Some(".\\base.vhdx".to_owned()),
        volume_path: None,
        absolute_win32_path: Some("C:\\images\\base.vhdx".to_owned()),
    };
    // Two chunks and a part of a third.
    let size = 9 << 30;
    let target = LocalFile::create_new(&path).await.unwrap();
    write_child(&target, child(size), &parent).await.unwrap();
    let info = Info::read(&target).await.unwrap();
    assert_eq!((info.kind, info.size), (Kind::Differencing, size));
    assert_eq!(info.parent, Some(parent));
    assert!(std::fs::metadata(&path).unwrap().len().is_multiple_of(1 << 20));
    let error = Reader::open(Arc::new(target)).await.err().unwrap();
    assert!(matches!(error, VhdxError::Differencing));
}

#[tokio::test]
async fn a_parent_without_a_path_is_refused() {
    let target = LocalFile::from(tempfile::tempfile().unwrap());
    let parent = Parent {
        linkage: IDENTITY.data_write,
        relative_path: None,
        volume_path: None,
        absolute_win32_path: None,
    };
    let error = write_child(&target, child(1 << 30), &parent).await.unwrap_err();
    assert!(matches!(error, ChildError::Path));
    assert!(Info::read(&target).await.is_err());
}

/// Runs 7-Zip, which follows a child to its parent; says so where it is missing.
fn seven_zip(place: &Path, arguments: &[&str]) -> Option<Output> {
    match Command::new("7zz").args(arguments).current_dir(place).output() {
        Ok(output) => Some(output),
        Err(error) => {
            let said =
                format!("7zz cannot be run ({error}; Debian: 7zip), no child is read by another program");
            assert!(std::env::var_os("CI").is_none_or(|ci| ci != "true"), "{said}");
            eprintln!("SKIPPED: {said}");
            None
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_program_finds_the_content_of_the_parent_in_its_child() {
    const SIZE: u64 = 40 << 20;
    let place = tempfile::tempdir().unwrap();
    let target = LocalFile::create_new(place.path().join("base.vhdx"))
        .await
        .unwrap();
    let mut writer = Writer::new(Arc::new(target), Disk::holding(SIZE, IDENTITY).unwrap());
    writer.write(5 << 20, vec![7; 3_000_000].into()).await.unwrap();
    writer.finish().await.unwrap();
    let parent = Parent {
        linkage: IDENTITY.data_write,
        relative_path: Some(".\\base.vhdx".to_owned()),
        volume_path: None,
        absolute_win32_path: None,
    };
    for (name, size) in [("same.vhdx", SIZE), ("larger.vhdx", SIZE + (20 << 20))] {
        let target = LocalFile::create_new(place.path().join(name)).await.unwrap();
        write_child(&target, child(size), &parent).await.unwrap();
    }
    let Some(output) = seven_zip(place.path(), &["e", "-so", "-tVHDX", "same.vhdx"]) else {
        return;
    };
    let mut content = vec![0; SIZE as usize];
    content[5 << 20..(5 << 20) + 3_000_000].fill(7);
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    assert!(output.stdout == content);
    // It does not read past the parent's end, but says what it sees.
    let output = seven_zip(place.path(), &["l", "-tVHDX", "larger.vhdx"]).unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success() && said.contains("VirtualDiskSize: 62914560"),
        "{said}"
    );
    // With another parent in that place there is no chain.
    let other = Identity {
        data_write: Uuid::from_u128(99),
        ..IDENTITY
    };
    std::fs::remove_file(place.path().join("base.vhdx")).unwrap();
    let target = LocalFile::create_new(place.path().join("base.vhdx"))
        .await
        .unwrap();
    let writer = Writer::new(Arc::new(target), Disk::holding(SIZE, other).unwrap());
    writer.finish().await.unwrap();
    let output = seven_zip(place.path(), &["t", "-tVHDX", "same.vhdx"]).unwrap();
    assert!(
        !output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stdout)
    );
}
