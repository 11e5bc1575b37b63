//! Filling a volume: the stream is counted, told by its first bytes, and written under a name that says that it is not whole.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::{Bytes as Chunk, BytesMut};
use futures::stream::{self, BoxStream, StreamExt};
use labyard_driver::ids::{Bytes, PoolName, VolumeName};
use labyard_driver::{DriverError, UploadStream};
use labyard_files::{FileWriter, HostPath};
use tokio::io::AsyncWriteExt;
use tokio::sync::Mutex;
use uuid::Uuid;
use vhdx::{Disk, Identity, LocalFile, Qcow2, RawStream, Source, WriteAt, Writer, convert};

use super::sniff::{HEAD, Image};
use super::{failed, part};
use crate::host::Host;
use crate::places::Content;

impl Host {
    /// Fills a volume that was made for an upload with exactly so many bytes; what is an image of a disk becomes a virtual disk.
    /// Never more than a few mebibytes of it are held; a qcow2 image, whose parts may lie in any order, is set down in a
    /// temporary file on this side first.
    ///
    /// # Errors
    /// [`DriverError::Source`] where the stream fails, ends early or runs over; else what the host says. Then nothing is left.
    pub async fn upload(
        &self,
        pool: &PoolName,
        name: &VolumeName,
        length: Bytes,
        stream: UploadStream,
        deadline: Duration,
    ) -> Result<(), DriverError> {
        let placeholder = self.path(pool, name, Content::Waiting)?;
        let awaited = self.awaited(&placeholder).await?;
        if length > awaited {
            return Err(DriverError::Refused {
                doing: format!("uploading volume {name}"),
                message: format!("it was made for {awaited}, and {length} are to come"),
            });
        }
        let filled = tokio::time::timeout(deadline, self.fill(pool, name, length, stream)).await;
        filled.unwrap_or_else(|_| {
            Err(DriverError::Refused {
                doing: format!("uploading volume {name}"),
                message: format!("it was not done within {} s", deadline.as_secs()),
            })
        })
    }

    async fn fill(
        &self,
        pool: &PoolName,
        name: &VolumeName,
        length: Bytes,
        stream: UploadStream,
    ) -> Result<(), DriverError> {
        let what = format!("the upload of volume {name}");
        let source = |cause: io::Error| DriverError::Source {
            what: what.clone(),
            cause: cause.into(),
        };
        let mut counted = counted(stream, length.0);
        let head = head(&mut counted).await.map_err(source)?;
        let image = Image::of(&head, length.0);
        let whole = stream::iter([Ok(head)]).chain(counted).boxed();
        let content = match image {
            Image::Qcow2 | Image::Vhdx | Image::Raw => Content::Disk,
            Image::Iso => Content::Iso,
            Image::Other => Content::Other,
        };
        let target = self.path(pool, name, content)?;
        let file = Filling::begin(self, &target).await?;
        let written = match image {
            Image::Raw => file.disk(&mut RawStream::new(whole, length.0), &what).await,
            Image::Qcow2 => match spooled(whole).await {
                Ok(mut image) => file.disk(&mut image, &what).await,
                Err(error) => Err(source(error)),
            },
            Image::Vhdx | Image::Iso | Image::Other => {
                file.verbatim(whole).await.map_err(|error| match error {
                    Verbatim::Source(error) => source(error),
                    Verbatim::Host(error) => error,
                })
            }
        };
        match written {
            Ok(()) => file.finish(self, &self.path(pool, name, Content::Waiting)?).await,
            Err(error) => {
                file.abandon(self).await;
                Err(error)
            }
        }
    }
}

/// The stream's bytes, exactly so many: an early end and one byte more are errors of the stream.
fn counted(stream: UploadStream, length: u64) -> BoxStream<'static, io::Result<Chunk>> {
    let begin = (stream, 0_u64, true);
    stream::unfold(begin, move |(mut stream, came, goes_on)| async move {
        if !goes_on {
            return None;
        }
        let wrong = |text: String| Some((Err(io::Error::other(text)), false));
        let next = match stream.next().await {
            None if came == length => None,
            None => wrong(format!("it ended after {came} of {length} bytes")),
            Some(Err(cause)) => Some((Err(io::Error::other(cause)), false)),
            Some(Ok(chunk)) if came + chunk.len() as u64 > length => {
                wrong(format!("it has more than {length} bytes"))
            }
            Some(Ok(chunk)) => Some((Ok(chunk), true)),
        };
        let (item, goes_on) = next?;
        let more = item.as_ref().map_or(0, |chunk| chunk.len() as u64);
        Some((item, (stream, came + more, goes_on)))
    })
    // Whoever has read its head may ask once more.
    .fuse()
    .boxed()
}

/// The first bytes of a stream; the rest stays in it.
async fn head(stream: &mut BoxStream<'static, io::Result<Chunk>>) -> io::Result<Chunk> {
    let mut head = BytesMut::new();
    while head.len() < HEAD {
        match stream.next().await {
            Some(chunk) => head.extend_from_slice(&chunk?),
            None => break,
        }
    }
    Ok(head.freeze())
}

/// A qcow2 image, set down in a file that is gone when it is closed.
async fn spooled(mut stream: BoxStream<'static, io::Result<Chunk>>) -> io::Result<Qcow2> {
    let file = tempfile::tempfile()?;
    let mut spool = tokio::fs::File::from_std(file.try_clone()?);
    while let Some(chunk) = stream.next().await {
        spool.write_all(&chunk?).await?;
    }
    spool.flush().await?;
    Qcow2::open(Arc::new(LocalFile::from(file)))
        .await
        .map_err(io::Error::other)
}

/// A file that is being filled.
struct Filling {
    target: HostPath,
    part: HostPath,
    file: Arc<Remote>,
}

/// Why bytes did not become a file.
enum Verbatim {
    Source(io::Error),
    Host(DriverError),
}

impl Filling {
    async fn begin(host: &Host, target: &HostPath) -> Result<Self, DriverError> {
        let part = part(target)?;
        // What an upload before this one left; nobody else fills this volume.
        super::delete(host.files(), &part).await?;
        let writer = host.files().create(&part).await.map_err(failed)?;
        Ok(Self {
            target: target.clone(),
            part,
            file: Arc::new(Remote {
                writer: Mutex::new(Some(writer)),
                said: Mutex::new(None),
            }),
        })
    }

    /// Writes what a source has as a virtual disk.
    async fn disk(&self, source: &mut dyn Source, what: &str) -> Result<(), DriverError> {
        let identity = Identity {
            disk: Uuid::new_v4(),
            file_write: Uuid::new_v4(),
            data_write: Uuid::new_v4(),
        };
        let refused = |message: String| DriverError::Refused {
            doing: format!("making a virtual disk of {what}"),
            message,
        };
        let disk = Disk::holding(source.size(), identity).map_err(|error| refused(error.to_string()))?;
        let writer = Writer::new(self.file.clone(), disk);
        match convert(source, writer).await {
            Ok(_) => Ok(()),
            Err(vhdx::ConvertError::Source(error)) => Err(DriverError::Source {
                what: what.to_owned(),
                cause: error.into(),
            }),
            Err(vhdx::ConvertError::Write(error)) => Err(self
                .file
                .told()
                .await
                .unwrap_or_else(|| refused(error.to_string()))),
        }
    }

    /// Writes the bytes as they come.
    async fn verbatim(&self, mut stream: BoxStream<'static, io::Result<Chunk>>) -> Result<(), Verbatim> {
        let mut offset = 0;
        while let Some(chunk) = stream.next().await {
            let chunk = chunk.map_err(Verbatim::Source)?;
            let length = chunk.len() as u64;
            if let Err(error) = self.file.write_at(offset, chunk).await {
                let told = self.file.told().await;
                return Err(Verbatim::Host(told.unwrap_or(DriverError::Refused {
                    doing: format!("writing {}", self.part),
                    message: error.to_string(),
                })));
            }
            offset += length;
        }
        Ok(())
    }

    /// Gives the file its name, and takes the placeholder away.
    async fn finish(self, host: &Host, placeholder: &HostPath) -> Result<(), DriverError> {
        let writer = self.file.writer.lock().await.take();
        if let Some(mut writer) = writer {
            writer.flush().await.map_err(failed)?;
            writer.close().await.map_err(failed)?;
        }
        host.files()
            .rename(&self.part, &self.target)
            .await
            .map_err(failed)?;
        super::delete(host.files(), placeholder).await
    }

    /// Takes away what was written; if that fails it goes with the volume.
    async fn abandon(self, host: &Host) {
        let writer = self.file.writer.lock().await.take();
        if let Some(writer) = writer {
            let _ = writer.close().await;
        }
        let _ = super::delete(host.files(), &self.part).await;
    }
}

/// A file of the host as something that can be written anywhere.
struct Remote {
    writer: Mutex<Option<Box<dyn FileWriter>>>,
    /// What the host said of the first write that failed.
    said: Mutex<Option<labyard_files::Error>>,
}

impl Remote {
    /// What the host said, as all hosts tell it.
    async fn told(&self) -> Option<DriverError> {
        self.said.lock().await.take().map(failed)
    }

    async fn noted<T>(&self, done: Result<T, labyard_files::Error>) -> io::Result<T> {
        match done {
            Ok(done) => Ok(done),
            Err(error) => {
                let text = error.to_string();
                self.said.lock().await.get_or_insert(error);
                Err(io::Error::other(text))
            }
        }
    }
}

fn closed() -> io::Error {
    io::Error::other("the file is closed")
}

#[async_trait]
impl WriteAt for Remote {
    async fn write_at(&self, offset: u64, bytes: Chunk) -> io::Result<()> {
        let mut writer = self.writer.lock().await;
        let done = writer.as_mut().ok_or_else(closed)?.write_at(offset, &bytes).await;
        drop(writer);
        self.noted(done).await
    }

    async fn flush(&self) -> io::Result<()> {
        let mut writer = self.writer.lock().await;
        let done = writer.as_mut().ok_or_else(closed)?.flush().await;
        drop(writer);
        self.noted(done).await
    }
}
