//! A file of this machine, read and written off the runtime's threads.

use std::fs::File;
use std::io;
use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;

use crate::io::{ReadAt, WriteAt};

/// A file of this machine.
#[derive(Clone, Debug)]
pub struct LocalFile(Arc<File>);

impl LocalFile {
    /// An existing file, to be read.
    pub async fn open(path: impl AsRef<Path>) -> io::Result<Self> {
        let path = path.as_ref().to_owned();
        aside(move || File::open(path)).await.map(Self::from)
    }

    /// A new file, to be written; an error if there is one of that name.
    pub async fn create_new(path: impl AsRef<Path>) -> io::Result<Self> {
        let path = path.as_ref().to_owned();
        aside(move || File::options().read(true).write(true).create_new(true).open(path))
            .await
            .map(Self::from)
    }
}

impl From<File> for LocalFile {
    fn from(file: File) -> Self {
        Self(Arc::new(file))
    }
}

#[async_trait]
impl ReadAt for LocalFile {
    async fn length(&self) -> io::Result<u64> {
        let file = Arc::clone(&self.0);
        aside(move || file.metadata().map(|data| data.len())).await
    }

    async fn read_at(&self, offset: u64, length: usize) -> io::Result<Bytes> {
        let file = Arc::clone(&self.0);
        aside(move || {
            let mut bytes = vec![0; length];
            let had = positioned::read(&file, offset, &mut bytes)?;
            bytes.truncate(had);
            Ok(bytes.into())
        })
        .await
    }

    #[cfg(target_os = "linux")]
    async fn next_data(&self, offset: u64) -> io::Result<u64> {
        use rustix::fs::SeekFrom;
        use rustix::io::Errno;
        let file = Arc::clone(&self.0);
        aside(move || match rustix::fs::seek(&*file, SeekFrom::Data(offset)) {
            Ok(found) => Ok(found),
            // Nothing but a hole up to the end.
            Err(Errno::NXIO) => Ok(u64::MAX),
            // A file system that keeps no account of holes.
            Err(Errno::INVAL | Errno::OPNOTSUPP) => Ok(offset),
            Err(error) => Err(error.into()),
        })
        .await
    }
}

#[async_trait]
impl WriteAt for LocalFile {
    async fn write_at(&self, offset: u64, bytes: Bytes) -> io::Result<()> {
        let file = Arc::clone(&self.0);
        aside(move || positioned::write(&file, offset, &bytes)).await
    }

    async fn flush(&self) -> io::Result<()> {
        let file = Arc::clone(&self.0);
        aside(move || file.sync_data()).await
    }
}

/// Runs what blocks where it may.
async fn aside<T: Send + 'static>(work: impl FnOnce() -> io::Result<T> + Send + 'static) -> io::Result<T> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(io::Error::other)?
}

#[cfg(unix)]
mod positioned {
    use std::fs::File;
    use std::io;
    use std::os::unix::fs::FileExt;

    /// How many bytes there were: fewer than asked for only at the end.
    pub(super) fn read(file: &File, offset: u64, bytes: &mut [u8]) -> io::Result<usize> {
        super::fill(bytes, |done, rest| file.read_at(rest, offset + done as u64))
    }

    pub(super) fn write(file: &File, offset: u64, bytes: &[u8]) -> io::Result<()> {
        file.write_all_at(bytes, offset)
    }
}

#[cfg(windows)]
mod positioned {
    use std::fs::File;
    use std::io;
    use std::os::windows::fs::FileExt;

    /// How many bytes there were: fewer than asked for only at the end.
    pub(super) fn read(file: &File, offset: u64, bytes: &mut [u8]) -> io::Result<usize> {
        super::fill(bytes, |done, rest| file.seek_read(rest, offset + done as u64))
    }

    pub(super) fn write(file: &File, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let mut done = 0;
        while done < bytes.len() {
            match file.seek_write(&bytes[done..], offset + done as u64) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(some) => done += some,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

/// Reads until nothing is left to fill or nothing comes.
fn fill(bytes: &mut [u8], mut read: impl FnMut(usize, &mut [u8]) -> io::Result<usize>) -> io::Result<usize> {
    let mut done = 0;
    while done < bytes.len() {
        match read(done, &mut bytes[done..]) {
            Ok(0) => break,
            Ok(some) => done += some,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(done)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_was_written_is_read_and_gaps_are_zeros() {
        let file = LocalFile::from(tempfile::tempfile().unwrap());
        file.write_at(10, Bytes::from_static(b"later")).await.unwrap();
        file.write_at(0, Bytes::from_static(b"first")).await.unwrap();
        file.flush().await.unwrap();
        assert_eq!(file.length().await.unwrap(), 15);
        assert_eq!(file.read_at(0, 100).await.unwrap(), &b"first\0\0\0\0\0later"[..]);
        assert_eq!(file.read_at(15, 1).await.unwrap(), "");
    }

    #[cfg(target_os = "linux")]
    #[tokio::test]
    async fn a_hole_is_stepped_over_and_ends_with_the_file() {
        let inner = tempfile::tempfile().unwrap();
        inner.set_len(8 << 20).unwrap();
        let file = LocalFile::from(inner);
        file.write_at(4 << 20, Bytes::from_static(b"x")).await.unwrap();
        // A file system without holes says where it was asked.
        let found = file.next_data(0).await.unwrap();
        assert!(found == 4 << 20 || found == 0, "{found}");
        let end = file.next_data(5 << 20).await.unwrap();
        assert!(end == u64::MAX || end == 5 << 20, "{end}");
    }

    #[tokio::test]
    async fn a_file_of_that_name_is_not_overwritten() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("disk.vhdx");
        LocalFile::create_new(&path).await.unwrap();
        let error = LocalFile::create_new(&path).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AlreadyExists);
    }
}
