//! A source without a length is received to a temporary file first: a host must be told the exact length of a
//! volume before its first byte.

use std::io;
use std::path::Path;

use futures::StreamExt;
use tokio::fs::File;
use tokio::io::{AsyncSeekExt, AsyncWriteExt};

use super::error::Fault;
use super::fetch::file::stream_of;
use super::pace::ByteStream;

/// Writes `source` to the engine's disk and gives it back with its length.
///
/// The file has no name (mode 0600, unlinked from its first moment), so it disappears with the stream or with
/// the process, whatever ends it.
pub(crate) async fn spool(
    mut source: ByteStream,
    directory: &Path,
    limit: u64,
) -> Result<(u64, ByteStream), Fault> {
    let failed = |received| move |error| fault(directory, received, error);
    let mut file = create(directory).await.map_err(failed(0))?;
    let mut received = 0;
    while let Some(chunk) = source.next().await.transpose()? {
        if received + chunk.len() as u64 > limit {
            return Err(Fault::SpoolLimit { limit });
        }
        file.write_all(&chunk).await.map_err(failed(received))?;
        received += chunk.len() as u64;
    }
    // What tokio still holds in its buffer may be what does not fit.
    file.flush().await.map_err(failed(received))?;
    file.rewind().await.map_err(failed(received))?;
    Ok((received, stream_of(file)))
}

async fn create(directory: &Path) -> io::Result<File> {
    let directory = directory.to_owned();
    let file = tokio::task::spawn_blocking(move || tempfile::tempfile_in(directory))
        .await
        .map_err(io::Error::other)??;
    Ok(File::from_std(file))
}

fn fault(directory: &Path, received: u64, reason: io::Error) -> Fault {
    let directory = directory.to_owned();
    match reason.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Fault::SpoolFull { directory, received },
        _ => Fault::Spool { directory, reason },
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use futures::{TryStreamExt, stream};

    use super::*;

    fn source(chunks: Vec<Result<&'static [u8], Fault>>) -> ByteStream {
        stream::iter(chunks.into_iter().map(|chunk| chunk.map(Bytes::from_static))).boxed()
    }

    fn entries(directory: &Path) -> usize {
        std::fs::read_dir(directory).unwrap().count()
    }

    #[tokio::test]
    async fn a_source_comes_back_with_its_length_and_leaves_no_file() {
        let directory = tempfile::tempdir().unwrap();
        let (length, stream) = spool(source(vec![Ok(b"ab"), Ok(b"cde")]), directory.path(), 5)
            .await
            .unwrap();
        assert_eq!((length, entries(directory.path())), (5, 0));
        let bytes: Vec<Bytes> = stream.try_collect().await.unwrap();
        assert_eq!(bytes.concat(), b"abcde");
    }

    #[tokio::test]
    async fn a_source_that_does_not_end_is_cut_at_the_limit() {
        let directory = tempfile::tempdir().unwrap();
        let result = spool(source(vec![Ok(b"ab"), Ok(b"cde")]), directory.path(), 4).await;
        assert!(matches!(result.err(), Some(Fault::SpoolLimit { limit: 4 })));
    }

    #[tokio::test]
    async fn a_fault_of_the_source_is_passed_on() {
        let directory = tempfile::tempdir().unwrap();
        let result = spool(
            source(vec![Ok(b"ab"), Err(Fault::BrokeOff { received: 2 })]),
            directory.path(),
            9,
        )
        .await;
        assert!(matches!(result.err(), Some(Fault::BrokeOff { received: 2 })));
    }

    #[tokio::test]
    async fn a_missing_directory_is_named() {
        let result = spool(source(vec![]), Path::new("/nonexistent/spool"), 9).await;
        assert!(result.err().unwrap().to_string().contains("/nonexistent/spool"));
    }

    #[test]
    fn a_full_disk_is_told_apart_from_other_troubles() {
        let full = fault(
            Path::new("/spool"),
            7,
            io::Error::from(io::ErrorKind::StorageFull),
        );
        assert!(matches!(full, Fault::SpoolFull { received: 7, .. }));
    }
}
