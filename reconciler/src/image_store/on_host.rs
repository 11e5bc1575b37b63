//! Images that lie on the host already: read once for their digest and header, then copied by the host itself.
//!
//! The bytes pass through the connection one way, to be hashed, and are not kept. What the host copies afterwards are
//! the bytes that were hashed, unless somebody wrote to the file meanwhile: its version tells, and then the copy goes.

use futures::TryStreamExt;
use labyard_driver::DriverError;
use labyard_driver::ids::{Bytes, Digest, PoolName, UploadId};
use labyard_driver::observed::HostFile;
use labyard_driver::spec::{VolumeContent, VolumeSpec};
use tokio::time::{Instant, timeout_at};

use super::fill::{as_source, disk_format};
use super::{ImageStore, StoreError, StoredImage, Wanted, data_volume};
use crate::image::{Fetcher, HostPath, ImageHeader};

impl ImageStore {
    pub(super) async fn copy(
        &self,
        pool: &PoolName,
        (path, wanted): (&HostPath, &Wanted),
        fetcher: &Fetcher,
        upload: UploadId,
    ) -> Result<StoredImage, StoreError> {
        let before = self.look(path).await?;
        self.check_room(pool, before.length).await?;
        let (digest, header) = self.read(path, &before, wanted, fetcher).await?;
        let volume = data_volume(&upload);
        let (format, virtual_size) = (disk_format(header.format), Bytes(header.virtual_size));
        let content = VolumeContent::OfFile {
            path: path.as_str().to_owned(),
            format,
            capacity: virtual_size,
        };
        let spec = VolumeSpec {
            pool: pool.clone(),
            name: volume.clone(),
            content,
        };
        let copied = timeout_at(late_enough(wanted.deadline), self.driver.create_volume(&spec)).await;
        copied
            .unwrap_or_else(|_| Err(out_of_time(path)))
            .map_err(of_the_file)?;
        if self.look(path).await? != before {
            return Err(StoreError::Changed);
        }
        let image = StoredImage {
            volume,
            upload,
            digest,
            format,
            virtual_size,
        };
        self.publish(pool, image).await.map_err(Into::into)
    }

    async fn look(&self, path: &HostPath) -> Result<HostFile, StoreError> {
        self.driver.host_file(path.as_str()).await.map_err(of_the_file)
    }

    /// Its digest and what its header says; an image that is not the wanted one, or none, ends here.
    async fn read(
        &self,
        path: &HostPath,
        file: &HostFile,
        wanted: &Wanted,
        fetcher: &Fetcher,
    ) -> Result<(Digest, ImageHeader), StoreError> {
        let bytes = self
            .driver
            .read_host_file(path.as_str())
            .await
            .map_err(of_the_file)?;
        let bounds = (wanted.expected(), Some(wanted.deadline));
        let open = fetcher.open_bytes(path.to_string(), file.length.0, as_source(bytes), bounds);
        let open = open.await?;
        let digest = open.stream.digest();
        open.stream.try_for_each(|_| std::future::ready(Ok(()))).await?;
        match digest.get() {
            Some(digest) => Ok((Digest(digest.to_string()), open.header)),
            None => Err(StoreError::Changed),
        }
    }
}

/// A copy that is under way is not given up at once.
fn late_enough(deadline: Instant) -> Instant {
    deadline.max(Instant::now() + std::time::Duration::from_secs(1))
}

fn out_of_time(path: &HostPath) -> DriverError {
    DriverError::ReplyLost {
        doing: format!("copying {path} into the storage pool"),
        message: "the deadline passed".to_owned(),
    }
}

/// What is wrong with the file is the user's to mend.
fn of_the_file(error: DriverError) -> StoreError {
    match error {
        DriverError::Missing { .. } | DriverError::Refused { .. } | DriverError::Unsupported { .. } => {
            StoreError::HostFile(error)
        }
        other => StoreError::Driver(other),
    }
}
