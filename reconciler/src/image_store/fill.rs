//! Filling: what was opened is sent into the pool, and marked as whole; of those who send one image at the same time one
//! keeps its own.

use std::time::Duration;

use bytes::Bytes as Chunk;
use futures::StreamExt;
use futures::stream::BoxStream;
use labyard_driver::ids::{Bytes, Digest, PoolName, UploadId};
use labyard_driver::mark::Mark;
use labyard_driver::spec::{DiskFormat, VolumeContent, VolumeSpec};
use labyard_driver::{DriverError, UploadStream};
use tokio::time::{Instant, sleep};

use super::{ImageStore, SETTLE, StoreError, StoredImage, Wanted, data_volume};
use crate::image::error::Fault;
use crate::image::{Fetcher, ImageError, ImageFormat, OpenImage, StreamedSource};

/// Room that an upload leaves in the pool: libvirt does not survive a pool that runs full during an upload.
const RESERVE: Bytes = Bytes::from_mib(1);

impl ImageStore {
    pub(super) async fn upload(
        &self,
        pool: &PoolName,
        (source, wanted): (&StreamedSource, &Wanted),
        fetcher: &Fetcher,
        upload: UploadId,
    ) -> Result<StoredImage, StoreError> {
        let open = fetcher
            .open(source, wanted.expected(), Some(wanted.deadline))
            .await?;
        self.send(pool, open, wanted, upload).await
    }

    /// Sends what was opened into the pool.
    pub(super) async fn send(
        &self,
        pool: &PoolName,
        open: OpenImage,
        wanted: &Wanted,
        upload: UploadId,
    ) -> Result<StoredImage, StoreError> {
        let length = Bytes(open.length);
        self.check_room(pool, length).await?;
        let name = data_volume(&upload);
        let content = VolumeContent::Upload { length };
        self.driver
            .create_volume(&VolumeSpec {
                pool: pool.clone(),
                name: name.clone(),
                content,
            })
            .await?;
        let digest = open.stream.digest();
        let left = wanted
            .deadline
            .saturating_duration_since(Instant::now())
            .max(Duration::from_secs(1));
        let stream = open.stream.map(|chunk| chunk.map_err(Into::into)).boxed();
        self.driver
            .upload(pool, &name, length, stream, left)
            .await
            .map_err(unwrap_source)?;
        let Some(digest) = digest.get() else {
            // The stream ended well, or the driver would have failed: it then has a digest.
            return Err(DriverError::Refused {
                doing: format!("uploading {}", wanted.source),
                message: "the upload ended before the source did".to_owned(),
            }
            .into());
        };
        let image = StoredImage {
            volume: name,
            upload,
            digest: Digest(digest.to_string()),
            format: disk_format(open.header.format),
            virtual_size: Bytes(open.header.virtual_size),
        };
        self.publish(pool, image).await.map_err(Into::into)
    }

    pub(super) async fn check_room(&self, pool: &PoolName, length: Bytes) -> Result<(), StoreError> {
        let available = self.driver.pool_room(pool).await?.available;
        match available.0 < length.0 + RESERVE.0 {
            true => Err(StoreError::NoSpace { length, available }),
            false => Ok(()),
        }
    }

    /// Marks an upload as whole, unless another of the same digest is: then that one is used.
    pub(super) async fn publish(
        &self,
        pool: &PoolName,
        image: StoredImage,
    ) -> Result<StoredImage, DriverError> {
        if let Some(other) = self.find(pool, &image.digest).await?
            && other.upload != image.upload
        {
            self.driver.delete_volume(pool, &image.volume).await?;
            return Ok(other);
        }
        match self.driver.create_volume(&marker_of(pool, &image)).await {
            Ok(_) | Err(DriverError::Exists { .. }) => self.settle(pool, image).await,
            Err(error) => Err(error),
        }
    }

    /// Of runs that mark uploads of one image at the same time one keeps its own, and the others use that.
    async fn settle(&self, pool: &PoolName, image: StoredImage) -> Result<StoredImage, DriverError> {
        let another = |i: &StoredImage| i.digest == image.digest && i.upload != image.upload;
        let Some(first) = self.find_where(pool, another).await? else {
            return Ok(image);
        };
        let other = if first.upload < image.upload {
            first
        } else {
            // Whoever made that saw this one as well and gives way at once, or looked too early and never will.
            sleep(SETTLE).await;
            match self.find_where(pool, another).await? {
                Some(other) => other,
                None => return Ok(image),
            }
        };
        self.driver.delete_volume(pool, &image.marker()).await?;
        let marks = self.driver.marks().await?;
        let needs = |mark: &Mark| mark.image_volumes().any(|volume| *volume == image.volume);
        if marks.iter().filter(|(_, mark)| needs(mark)).count() > 1 {
            // Somebody took it meanwhile.
            self.driver.create_volume(&marker_of(pool, &image)).await?;
            return Ok(image);
        }
        self.driver.delete_volume(pool, &image.volume).await?;
        Ok(other)
    }
}

fn marker_of(pool: &PoolName, image: &StoredImage) -> VolumeSpec {
    VolumeSpec {
        pool: pool.clone(),
        name: image.marker(),
        content: VolumeContent::Upload { length: Bytes(0) },
    }
}

/// What is read of a host as what images are opened of.
pub(super) fn as_source(bytes: UploadStream) -> BoxStream<'static, Result<Chunk, Fault>> {
    let mut received = 0;
    let bytes = bytes.map(move |piece| match piece {
        Ok(piece) => {
            received += piece.len() as u64;
            Ok(piece)
        }
        Err(error) => Err(Fault::Read {
            received,
            reason: error.to_string(),
        }),
    });
    bytes.boxed()
}

pub(super) fn disk_format(format: ImageFormat) -> DiskFormat {
    match format {
        ImageFormat::Qcow2 => DiskFormat::Qcow2,
        _ => DiskFormat::Raw,
    }
}

/// An upload that failed at its source failed by the source's own error.
fn unwrap_source(error: DriverError) -> StoreError {
    match error {
        DriverError::Source { what, cause } => match cause.downcast::<ImageError>() {
            Ok(image) => StoreError::Image(*image),
            Err(cause) => StoreError::Driver(DriverError::Source { what, cause }),
        },
        other => StoreError::Driver(other),
    }
}
