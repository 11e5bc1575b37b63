//! A file on the engine's computer.

use std::path::Path;

use futures::StreamExt;
use tokio::fs::{self, File};
use tokio_util::io::ReaderStream;

use super::{Fault, Opened};
use crate::image::pace::ByteStream;

/// Large enough that reading costs little, small against any machine's memory.
const CHUNK: usize = 256 << 10;

/// Opens a regular file; its length is what it is now, and [`ImageStream`](crate::image::ImageStream) notices
/// when it grows or shrinks on the way.
pub(crate) async fn open(path: &Path) -> Result<Opened, Fault> {
    // Asked by name first: opening a named pipe would wait for its other end.
    require_regular(&fs::metadata(path).await.map_err(Fault::Open)?)?;
    let file = File::open(path).await.map_err(Fault::Open)?;
    let metadata = file.metadata().await.map_err(Fault::Open)?;
    require_regular(&metadata)?;
    Ok(Opened {
        length: Some(metadata.len()),
        bytes: stream_of(file),
    })
}

fn require_regular(metadata: &std::fs::Metadata) -> Result<(), Fault> {
    if metadata.is_file() {
        Ok(())
    } else {
        Err(Fault::NotAFile)
    }
}

/// The bytes from where the file stands to its end.
pub(crate) fn stream_of(file: File) -> ByteStream {
    let mut received = 0;
    ReaderStream::with_capacity(file, CHUNK)
        .map(move |chunk| match chunk {
            Ok(chunk) => {
                received += chunk.len() as u64;
                Ok(chunk)
            }
            Err(error) => Err(Fault::Read {
                received,
                reason: error.to_string(),
            }),
        })
        .boxed()
}
