//! Reading what is in a volume: of a virtual disk what a machine would read, of anything else its bytes.

use std::io;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes as Chunk;
use futures::stream::{self, StreamExt};
use labyard_driver::driver::VolumeBytes;
use labyard_driver::ids::{Bytes, PoolName, VolumeName};
use labyard_driver::{DriverError, UploadStream};
use labyard_files::FileReader;
use vhdx::{ReadAt, Reader};

use super::failed;
use crate::host::Host;
use crate::places::Content;

/// How much is read at a time.
const PIECE: usize = 1 << 20;

/// Something that has so many bytes, to be read from its beginning to its end.
#[async_trait]
trait Whole: Send + Sync {
    async fn piece(&self, offset: u64, length: usize) -> io::Result<Chunk>;
}

struct File(Box<dyn FileReader>);

#[async_trait]
impl Whole for File {
    async fn piece(&self, offset: u64, length: usize) -> io::Result<Chunk> {
        self.0.read_at(offset, length).await.map_err(io::Error::other)
    }
}

#[async_trait]
impl ReadAt for File {
    async fn length(&self) -> io::Result<u64> {
        Ok(self.0.size())
    }

    async fn read_at(&self, offset: u64, length: usize) -> io::Result<Chunk> {
        self.piece(offset, length).await
    }
}

struct Disk(Reader);

#[async_trait]
impl Whole for Disk {
    async fn piece(&self, offset: u64, length: usize) -> io::Result<Chunk> {
        self.0.read_at(offset, length).await.map_err(io::Error::other)
    }
}

fn chunks(of: Arc<dyn Whole>, length: u64) -> UploadStream {
    stream::unfold((of, 0), move |(of, offset)| async move {
        let left = length.checked_sub(offset).filter(|left| *left > 0)?;
        let piece = PIECE.min(usize::try_from(left).unwrap_or(PIECE));
        let read = of.piece(offset, piece).await;
        let read = read.and_then(|bytes| match bytes.len() {
            0 => Err(io::Error::other(format!("it ends {left} bytes too early"))),
            _ => Ok(bytes),
        });
        match read {
            Ok(bytes) => {
                let next = offset + bytes.len() as u64;
                Some((Ok(bytes), (of, next)))
            }
            // Nothing comes after what went wrong.
            Err(error) => Some((Err(error.into()), (of, length))),
        }
    })
    .boxed()
}

impl Host {
    /// The bytes of a volume, in order.
    ///
    /// # Errors
    /// [`DriverError::Unsupported`] of a disk that stands on another one: only the host puts the two together.
    pub async fn read_volume(&self, pool: &PoolName, name: &VolumeName) -> Result<VolumeBytes, DriverError> {
        let found = self.found(pool, name).await?;
        let file = File(self.files().open(&found.path).await.map_err(failed)?);
        let (whole, length): (Arc<dyn Whole>, u64) = match found.content {
            Content::Iso | Content::Other | Content::Waiting => {
                let length = file.0.size();
                (Arc::new(file), length)
            }
            Content::Disk => {
                let reader = Reader::open(Arc::new(file))
                    .await
                    .map_err(|error| DriverError::Refused {
                        doing: format!("reading {}", found.path),
                        message: error.to_string(),
                    })?;
                let info = reader.info();
                if info.parent.is_some() {
                    return Err(DriverError::Unsupported {
                        what: format!("reading {}", found.path),
                        message: "it stands on another disk; a copy of it, which the host makes, can be read"
                            .to_owned(),
                    });
                }
                let length = info.size;
                (Arc::new(Disk(reader)), length)
            }
        };
        Ok(VolumeBytes {
            length: Some(Bytes(length)),
            stream: chunks(whole, length),
        })
    }

    /// Reads a small volume whole.
    ///
    /// # Errors
    /// [`DriverError::Refused`] where it is longer than `limit`.
    pub async fn download(
        &self,
        pool: &PoolName,
        name: &VolumeName,
        limit: Bytes,
    ) -> Result<Vec<u8>, DriverError> {
        let VolumeBytes { length, mut stream } = self.read_volume(pool, name).await?;
        let doing = || format!("reading volume {name}");
        if length.is_some_and(|length| length > limit) {
            return Err(DriverError::Refused {
                doing: doing(),
                message: format!("it is longer than {limit}"),
            });
        }
        let mut whole = Vec::new();
        while let Some(chunk) = stream.next().await {
            let chunk = chunk.map_err(|error| DriverError::Refused {
                doing: doing(),
                message: error.to_string(),
            })?;
            whole.extend_from_slice(&chunk);
        }
        Ok(whole)
    }
}
