//! Empty differencing disks. For programs that stand in for a Hyper-V host; where there is one, it makes its own.

use bytes::Bytes;

use crate::disk::Disk;
use crate::format::bat::Entry;
use crate::format::locator::Parent;
use crate::format::metadata::Kind;
use crate::io::WriteAt;
use crate::layout::Layout;
use crate::writer::WriteError;

/// Why a differencing disk was not written.
#[derive(Debug, thiserror::Error)]
pub enum ChildError {
    /// The parent cannot be named.
    #[error("a parent needs a path, and none longer than 32767 UTF-16 units")]
    Path,
    /// It could not be written.
    #[error(transparent)]
    Write(#[from] WriteError),
}

/// Writes a differencing disk that has nothing of its own yet to a new file. `disk` may be larger than its parent: what lies
/// behind the parent's end reads as zeros.
pub async fn write_child(target: &dyn WriteAt, disk: Disk, parent: &Parent) -> Result<(), ChildError> {
    let paths = [
        &parent.relative_path,
        &parent.volume_path,
        &parent.absolute_win32_path,
    ];
    if paths.iter().all(|path| path.is_none()) {
        return Err(ChildError::Path);
    }
    let locator = parent.encode().ok_or(ChildError::Path)?;
    let layout = Layout::new(disk, Kind::Differencing);
    let (offset, metadata) = layout.metadata(Some(&locator));
    put(target, offset, metadata).await?;
    for (offset, part) in layout.bat(|_| Entry::NotPresent) {
        put(target, offset, part).await?;
    }
    let last = layout.blocks_from() - 8;
    put(target, last, Bytes::from_static(&[0; 8])).await?;
    let (offset, headers) = layout.headers();
    put(target, offset, headers).await?;
    target.flush().await.map_err(WriteError::Flush)?;
    let (offset, identifier) = layout.identifier();
    put(target, offset, identifier).await?;
    target.flush().await.map_err(WriteError::Flush)?;
    Ok(())
}

async fn put(target: &dyn WriteAt, offset: u64, bytes: Bytes) -> Result<(), WriteError> {
    let length = bytes.len();
    let done = target.write_at(offset, bytes).await;
    done.map_err(|error| WriteError::Target {
        offset,
        length,
        error,
    })
}
