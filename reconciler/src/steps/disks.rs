//! Disks: every disk that the mark names has its volume, at least as large as asked for.

use futures::future::BoxFuture;
use labyard_driver::DriverError;
use labyard_driver::ids::{Bytes, DiskKey, PoolName};
use labyard_driver::mark::{CloneMode, DiskMark, ImageMark, Made};
use labyard_driver::observed::{Capacity, VolumeDetail};
use labyard_driver::spec::{DiskFormat, VolumeContent, VolumeSpec};

use super::{Outcome, Work};
use crate::bystanders::refuse_used;
use crate::desired::DesiredDisk;
use crate::error::EngineError;

pub(super) fn ensure<'a>(work: &'a mut Work<'_>) -> BoxFuture<'a, Outcome> {
    Box::pin(async move {
        let mark = work.mark().await;
        for (key, disk) in &mark.disks {
            let Some(desired) = work.desired.disks.get(key).cloned() else {
                continue;
            };
            if made(work, disk).await?.is_none() {
                make(work, key, disk, &desired).await?;
            }
        }
        work.write(|mark| mark.disks.values_mut().for_each(|disk| disk.made = Made::Whole))
            .await?;
        Ok(())
    })
}

/// The volume of a disk that was made to the end.
pub(super) async fn made(work: &Work<'_>, disk: &DiskMark) -> Result<Option<VolumeDetail>, EngineError> {
    if disk.made == Made::Begun {
        return Ok(None);
    }
    match work.host.driver.volume(&disk.pool, &disk.volume).await {
        Ok(volume) => Ok(Some(volume)),
        Err(DriverError::Missing { .. }) => Ok(None),
        Err(error) => Err(work.failed()(error)),
    }
}

async fn make(work: &mut Work<'_>, key: &DiskKey, disk: &DiskMark, desired: &DesiredDisk) -> Outcome {
    work.may_mutate().await?;
    let content = match &disk.image {
        Some(image) => of_image(work, key, disk, image, desired).await?,
        None => {
            let capacity = desired.size.unwrap_or(Bytes::from_gib(1));
            match disk.format {
                Some(DiskFormat::Raw) if !work.storage.logical.contains(&disk.pool) => {
                    let message = format!(
                        "its file {} is gone from pool {}. It was a raw one that labyard did not make and does not make \
                         anew: put it back, or take the disk out of the configuration",
                        disk.volume, disk.pool
                    );
                    return Err(work.at(format!("disks[{:?}]", key.as_str()), message));
                }
                Some(DiskFormat::Raw) => VolumeContent::Block { capacity },
                _ => VolumeContent::Blank { capacity },
            }
        }
    };
    let spec = VolumeSpec {
        pool: disk.pool.clone(),
        name: disk.volume.clone(),
        content,
    };
    let mut created = work.host.driver.create_volume(&spec).await;
    if disk.made == Made::Begun && matches!(created, Err(DriverError::Exists { .. })) {
        // Half of it is there, left by a builder that died: nothing but this machine's own token is in its name.
        work.host
            .driver
            .delete_volume(&disk.pool, &disk.volume)
            .await
            .map_err(work.failed())?;
        created = work.host.driver.create_volume(&spec).await;
    }
    match created {
        Ok(_) => Ok(()),
        Err(DriverError::NoSpace { .. }) => {
            let message =
                "the storage pool has no room for the disk: make room, or name another storage_pool";
            Err(work.at(format!("disks[{:?}]", key.as_str()), message))
        }
        Err(error) => Err(work.failed()(error)),
    }
}

async fn of_image(
    work: &Work<'_>,
    key: &DiskKey,
    disk: &DiskMark,
    image: &ImageMark,
    desired: &DesiredDisk,
) -> Result<VolumeContent, EngineError> {
    let pool: &PoolName = image.pool.as_ref().unwrap_or(&disk.pool);
    let stored = match &image.digest {
        Some(digest) => work.host.images.find(pool, digest).await.map_err(work.failed())?,
        None => None,
    };
    let stored = stored.ok_or_else(|| {
        work.at(
            format!("disks[{:?}].image", key.as_str()),
            "the image is gone from the host: apply again",
        )
    })?;
    let capacity = desired.size.unwrap_or(stored.virtual_size);
    if capacity < stored.virtual_size {
        let message = format!(
            "{capacity} is less than the image's own {}: give at least {} GiB, or leave size_gib out",
            stored.virtual_size,
            stored.virtual_size.0.div_ceil(1 << 30)
        );
        return Err(work.at(format!("disks[{:?}].size_gib", key.as_str()), message));
    }
    let (base, base_format) = (stored.volume, stored.format);
    if disk.format == Some(DiskFormat::Raw) {
        return Ok(VolumeContent::BlockCopy {
            base_pool: pool.clone(),
            base,
            base_format,
            capacity,
        });
    }
    Ok(match desired.clone_mode() {
        CloneMode::Linked => VolumeContent::Overlay {
            base,
            base_format,
            capacity,
        },
        CloneMode::Full => VolumeContent::Copy {
            base,
            base_format,
            capacity,
        },
    })
}

/// Grows every disk of a machine that is smaller than asked for; the machine is defined with it by now.
pub(super) async fn grow(work: &Work<'_>) -> Outcome {
    let mark = work.mark().await;
    for (key, desired) in &work.desired.disks {
        let (Some(wanted), Some(disk)) = (desired.size, mark.disks.get(key)) else {
            continue;
        };
        let there = work
            .detail()
            .and_then(|d| d.disks.iter().find(|d| d.volume.as_ref() == Some(&disk.volume)));
        let smaller = there.is_some_and(|there| match there.capacity {
            Capacity::Known(size) => size < wanted,
            Capacity::Unknown => true,
            Capacity::Missing => false,
        });
        if smaller {
            work.may_mutate().await?;
            // Of a bus that labyard does not make the disk keeps the name that it was found with.
            let target = there.map_or(&disk.target, |there| &there.target);
            work.host
                .driver
                .grow_disk(&work.id, target, wanted)
                .await
                .map_err(work.failed())?;
        }
    }
    Ok(())
}

/// Deletes every volume of the machine; the record goes only after them.
pub(super) fn undo<'a>(work: &'a mut Work<'_>) -> BoxFuture<'a, Outcome> {
    Box::pin(async move {
        let mark = work.mark().await;
        if mark.nvram.as_ref().is_some_and(|nvram| nvram.made == Made::Begun) {
            // A run that died while it read the template may have left its tools on the host.
            work.host.driver.tidy().await.map_err(work.failed())?;
        }
        let volumes = mark.own_volumes();
        refuse_used(work, volumes.clone()).await?;
        super::firmware::discard_former(work, &mark).await?;
        for (pool, volume) in volumes {
            work.may_mutate().await?;
            work.host
                .driver
                .delete_volume(&pool, &volume)
                .await
                .map_err(work.failed())?;
        }
        Ok(())
    })
}
