//! Empty children of a disk.

use std::sync::Arc;

use uuid::Uuid;
use vhdx::{ChildError, Disk, Identity, Info, Kind, LocalFile, Parent, Reader, VhdxError, write_child};

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
