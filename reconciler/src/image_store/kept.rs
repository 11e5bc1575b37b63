//! Images that were captured from machines: each has a name and a revision, which stand in the name of an empty volume
//! beside it. While that is there the image is never collected.
//!
//! Revisions of a name are counted up. Of captures that take the same number at the same time whoever sees another
//! gives way, so that a number never means two images.

use std::time::Duration;

use futures::StreamExt;
use labyard_driver::DriverError;
use labyard_driver::copy::DiskCopy;
use labyard_driver::ids::{Bytes, Digest, Namespace, PoolName, UploadId, VolumeName};
use labyard_driver::spec::{DiskFormat, VolumeContent, VolumeSpec};
use sha2::Digest as _;
use tokio::time::sleep;

use super::{ImageStore, StoreError, StoredImage, data_volume};
use crate::image::{ImageName, KeptSource, Revision};

const PREFIX: &str = "labyard-name.";
/// How often a number is tried that others take as well.
const ATTEMPTS: u32 = 50;

/// A revision of a captured image.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct KeptImage {
    /// Whose it is.
    pub namespace: Namespace,
    /// Its name.
    pub name: ImageName,
    /// Its number.
    pub revision: Revision,
    /// What it is.
    pub digest: Digest,
}

impl KeptImage {
    fn volume(&self) -> VolumeName {
        let Self {
            namespace,
            name,
            revision,
            digest,
        } = self;
        VolumeName(format!("{PREFIX}{namespace}.{name}.{revision}.{digest}"))
    }

    /// The revision that a volume's name tells of.
    pub(super) fn read(volume: &VolumeName) -> Option<Self> {
        let mut parts = volume.as_str().strip_prefix(PREFIX)?.split('.');
        let kept = Self {
            namespace: Namespace(parts.next()?.to_owned()),
            name: parts.next()?.parse().ok()?,
            revision: Revision(parts.next()?.parse().ok()?),
            digest: Digest(parts.next()?.to_owned()),
        };
        (parts.next().is_none() && kept.digest.as_str().len() == 64).then_some(kept)
    }
}

/// What is copied.
#[derive(Clone, Debug)]
pub struct Capture<'a> {
    /// The pool of disk and image.
    pub pool: &'a PoolName,
    /// The disk's volume.
    pub disk: &'a VolumeName,
    /// Its format.
    pub format: DiskFormat,
    /// The filling that stands in the machine's mark.
    pub upload: UploadId,
}

impl Capture<'_> {
    /// The same, as the driver takes it.
    pub fn copy(&self) -> DiskCopy {
        DiskCopy {
            pool: self.pool.clone(),
            disk: self.disk.clone(),
            into: data_volume(&self.upload),
        }
    }
}

impl ImageStore {
    /// The captured images of a pool, of all namespaces, in order.
    pub async fn kept(&self, pool: &PoolName) -> Result<Vec<KeptImage>, DriverError> {
        let volumes = self.driver.volumes(pool).await?;
        let mut kept: Vec<_> = volumes.iter().filter_map(KeptImage::read).collect();
        kept.sort();
        Ok(kept)
    }

    /// The digest of a captured image, if the pool has it.
    pub(super) async fn digest_of(
        &self,
        pool: &PoolName,
        namespace: &Namespace,
        source: &KeptSource,
    ) -> Result<Option<Digest>, DriverError> {
        let kept = self.kept(pool).await?.into_iter().rev();
        let mut of_it = kept.filter(|kept| kept.namespace == *namespace && kept.name == source.name);
        let found = of_it.find(|kept| source.revision.is_none_or(|revision| kept.revision == revision));
        Ok(found.map(|kept| kept.digest))
    }

    /// Whether a filling came to its end.
    pub async fn is_whole(&self, pool: &PoolName, upload: &UploadId) -> Result<bool, DriverError> {
        let whole = self.find_where(pool, |image| image.upload == *upload).await?;
        Ok(whole.is_some())
    }

    /// Makes an image of a disk that nobody writes to: one volume that stands on no other.
    pub async fn capture(&self, what: &Capture<'_>) -> Result<StoredImage, StoreError> {
        let upload = &what.upload;
        let volume = data_volume(upload);
        self.withdraw(what.pool, &volume).await?;
        let disk = self.driver.volume(what.pool, what.disk).await?;
        let spec = VolumeSpec {
            pool: what.pool.clone(),
            name: volume.clone(),
            content: VolumeContent::Copy {
                base: what.disk.clone(),
                base_format: what.format,
                capacity: disk.capacity,
            },
        };
        self.driver.create_volume(&spec).await?;
        self.captured(what).await
    }

    /// Makes room for an image of a disk that is written to: what is to be copied where.
    pub async fn begin_capture(&self, what: &Capture<'_>) -> Result<DiskCopy, StoreError> {
        let volume = data_volume(&what.upload);
        self.withdraw(what.pool, &volume).await?;
        let disk = self.driver.volume(what.pool, what.disk).await?;
        let spec = VolumeSpec {
            pool: what.pool.clone(),
            name: volume.clone(),
            content: VolumeContent::Blank {
                capacity: disk.capacity,
            },
        };
        self.driver.create_volume(&spec).await?;
        Ok(what.copy())
    }

    /// What was copied becomes an image.
    pub async fn captured(&self, what: &Capture<'_>) -> Result<StoredImage, StoreError> {
        let volume = data_volume(&what.upload);
        let made = self.driver.volume(what.pool, &volume).await?;
        let image = StoredImage {
            digest: self.digest_of_volume(what.pool, &volume).await?,
            volume,
            upload: what.upload.clone(),
            format: DiskFormat::Qcow2,
            virtual_size: made.capacity,
        };
        self.publish(what.pool, image).await.map_err(Into::into)
    }

    async fn digest_of_volume(&self, pool: &PoolName, volume: &VolumeName) -> Result<Digest, StoreError> {
        let mut bytes = self.driver.read_volume(pool, volume).await?.stream;
        let mut hash = sha2::Sha256::new();
        while let Some(piece) = bytes.next().await {
            let piece = piece.map_err(|cause| {
                let what = format!("volume {volume}");
                StoreError::Driver(DriverError::Source { what, cause })
            })?;
            hash.update(&piece);
        }
        let digest: [u8; 32] = hash.finalize().into();
        Ok(Digest(digest.iter().map(|byte| format!("{byte:02x}")).collect()))
    }

    /// Gives an image the next number of a name, above one that is given; the newest is given again where it is the same
    /// image.
    pub async fn name(
        &self,
        pool: &PoolName,
        (namespace, name, above): (&Namespace, &ImageName, Revision),
        image: &StoredImage,
    ) -> Result<KeptImage, DriverError> {
        for attempt in 0..ATTEMPTS {
            let of_it = |kept: &KeptImage| kept.namespace == *namespace && kept.name == *name;
            let newest = self.kept(pool).await?.into_iter().rfind(of_it);
            if let Some(same) = newest.as_ref().filter(|kept| kept.digest == image.digest) {
                return Ok(same.clone());
            }
            let kept = KeptImage {
                namespace: namespace.clone(),
                name: name.clone(),
                revision: Revision(newest.map_or(0, |newest| newest.revision.0).max(above.0) + 1),
                digest: image.digest.clone(),
            };
            let spec = VolumeSpec {
                pool: pool.clone(),
                name: kept.volume(),
                content: VolumeContent::Upload { length: Bytes(0) },
            };
            match self.driver.create_volume(&spec).await {
                Ok(_) | Err(DriverError::Exists { .. }) => {}
                Err(error) => return Err(error),
            }
            let rivals = self.kept(pool).await?.into_iter();
            let mut rivals = rivals.filter(|other| of_it(other) && other.revision == kept.revision);
            if rivals.all(|other| other == kept) {
                return Ok(kept);
            }
            self.driver.delete_volume(pool, &kept.volume()).await?;
            // Both may have given way: each comes back at its own time.
            let own = u64::from(image.upload.as_str().bytes().fold(0_u8, u8::wrapping_add));
            sleep(Duration::from_millis(own * u64::from(attempt + 1) % 300)).await;
        }
        Err(DriverError::Busy {
            doing: format!("giving an image the next number of {name}"),
            message: "others take numbers all the time".to_owned(),
        })
    }

    /// Takes a revision's name away; its data go when no machine needs them.
    pub async fn forget(&self, pool: &PoolName, kept: &KeptImage) -> Result<(), DriverError> {
        self.driver.delete_volume(pool, &kept.volume()).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_revision_is_read_from_the_name_of_its_volume_and_is_no_image_itself() {
        let kept = KeptImage {
            namespace: "team-a".into(),
            name: "golden".parse().unwrap(),
            revision: Revision(12),
            digest: Digest("ab".repeat(32)),
        };
        let volume = kept.volume();
        assert_eq!(KeptImage::read(&volume), Some(kept));
        assert!(!super::super::is_data(&volume) && StoredImage::from_marker(&volume).is_none());
        assert_eq!(KeptImage::read(&"labyard-name.a.b.c.d".into()), None);
    }
}
