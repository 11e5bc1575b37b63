//! Image: the images of disks that are still to be made and of CD drives are in the pool, and the mark names them.

use std::sync::Arc;

use futures::future::BoxFuture;
use labyard_driver::DriverError;
use labyard_driver::ids::{Digest, DiskKey, MediaKey, PoolName, UploadId, VolumeName};
use labyard_driver::mark::{ImageMark, Mark};
use labyard_driver::spec::DiskFormat;

use super::{Outcome, Work};
use crate::error::EngineError;
use crate::identity::new_upload;
use crate::image::{Fault, ImageError, ImageSource};
use crate::image_store::{Announce, StoreError, StoredImage, Wanted};
use crate::record::Record;

pub(super) fn ensure<'a>(work: &'a mut Work<'_>) -> BoxFuture<'a, Outcome> {
    Box::pin(async move {
        let mark = work.mark().await;
        for (key, disk) in &mark.disks {
            let Some(image) = &disk.image else { continue };
            if super::disks::made(work, disk).await?.is_none() {
                let pool = image.pool.as_ref().unwrap_or(&disk.pool);
                let of = Holder::Disk(key.clone());
                let stored = fetch(work, &of, pool, image).await?;
                note(work, &of, &stored).await?;
            }
        }
        for (key, drive) in &mark.media {
            let Some(image) = &drive.image else { continue };
            if !stands(work, &drive.pool, image).await? {
                let of = Holder::Medium(key.clone());
                let stored = fetch(work, &of, &drive.pool, image).await?;
                if stored.format != DiskFormat::Raw {
                    let message = "it is a qcow2 image: a CD drive takes a raw one (ISO 9660)";
                    return Err(work.at(format!("{}.source", of.attribute()), message));
                }
                note(work, &of, &stored).await?;
            }
        }
        Ok(())
    })
}

/// The device that an image is for.
#[derive(Clone)]
enum Holder {
    Disk(DiskKey),
    Medium(MediaKey),
}

impl Holder {
    fn attribute(&self) -> String {
        match self {
            Self::Disk(key) => format!("disks[{:?}].image", key.as_str()),
            Self::Medium(key) => format!("media[{:?}].image", key.as_str()),
        }
    }

    fn image<'m>(&self, mark: &'m mut Mark) -> Option<&'m mut ImageMark> {
        match self {
            Self::Disk(key) => mark.disks.get_mut(key)?.image.as_mut(),
            Self::Medium(key) => mark.media.get_mut(key)?.image.as_mut(),
        }
    }

    fn pool<'m>(&self, mark: &'m Mark) -> Option<&'m PoolName> {
        match self {
            Self::Disk(key) => {
                let disk = mark.disks.get(key)?;
                let apart = disk.image.as_ref().and_then(|image| image.pool.as_ref());
                Some(apart.unwrap_or(&disk.pool))
            }
            Self::Medium(key) => mark.media.get(key).map(|drive| &drive.pool),
        }
    }
}

/// Whether the image that a drive's mark names is in the pool.
async fn stands(work: &Work<'_>, pool: &PoolName, image: &ImageMark) -> Result<bool, EngineError> {
    let (Some(digest), Some(volume)) = (&image.digest, &image.volume) else {
        return Ok(false);
    };
    let found = work.host.images.find(pool, digest).await.map_err(work.failed())?;
    Ok(found.is_some_and(|stored| stored.volume == *volume))
}

async fn fetch(
    work: &Work<'_>,
    of: &Holder,
    pool: &PoolName,
    image: &ImageMark,
) -> Result<StoredImage, EngineError> {
    let attribute = of.attribute();
    let source = match image.source.parse::<ImageSource>() {
        Ok(source) => source,
        Err(error) => return Err(work.at(format!("{attribute}.source"), error.to_string())),
    };
    let digest: Option<Digest> = image.sha256.clone().or_else(|| image.digest.clone());
    let wanted = Wanted {
        source,
        digest,
        namespace: work.desired.namespace.clone(),
        deadline: work.deadline,
    };
    // An upload that this machine began and did not finish is begun again under its name: nothing is left over.
    let begun = image.upload.clone();
    let upload = begun.unwrap_or_else(|| new_upload(work.deps.random.as_ref()));
    let (record, of) = (work.record()?.clone(), of.clone());
    let announce: Announce = Box::new(move |volume, upload| Box::pin(announce(record, of, volume, upload)));
    let stored = work
        .host
        .images
        .ensure(pool, &wanted, &work.deps.fetcher, upload, announce);
    let stored = tokio::select! {
        stored = stored => stored,
        () = work.cancel.cancelled() => {
            let (host, what) = (work.host.name.clone(), work.what());
            return Err(EngineError::Cancelled { host, what, stage: work.stage });
        }
    };
    stored.map_err(|error| match error {
        StoreError::Image(source) => EngineError::Image { attribute, source },
        StoreError::Driver(source) => work.failed()(source),
        kept @ StoreError::NotKept(_) => EngineError::Image {
            attribute: format!("{attribute}.source"),
            source: ImageError {
                origin: image.source.clone(),
                fault: Fault::NotKept(format!("host {}: {kept}", work.host.name)),
            },
        },
        file @ (StoreError::HostFile(_) | StoreError::Changed) => {
            let message = format!("{} on host {}: {file}", image.source, work.host.name);
            work.at(format!("{attribute}.source"), message)
        }
        space @ StoreError::NoSpace { .. } => work.at(
            attribute,
            format!("{space}: make room, or name another storage_pool"),
        ),
    })
}

async fn announce(
    record: Arc<Record>,
    of: Holder,
    volume: VolumeName,
    upload: UploadId,
) -> Result<(), DriverError> {
    let change = |mark: &mut Mark| {
        if let Some(image) = of.image(mark) {
            image.volume = Some(volume);
            image.upload = Some(upload);
        }
    };
    record.update(change).await.map(drop)
}

/// Names the image in the mark, then looks whether it is still there: whoever removes images does it in the other
/// order, so that one of the two sees the other.
async fn note(work: &mut Work<'_>, of: &Holder, stored: &StoredImage) -> Outcome {
    let mark = work
        .write(|mark| {
            if let Some(image) = of.image(mark) {
                image.volume = Some(stored.volume.clone());
                image.upload = None;
                image.digest = Some(stored.digest.clone());
            }
        })
        .await?;
    let pool = of.pool(&mark).unwrap_or(&work.storage.pool);
    if work
        .host
        .images
        .stands(pool, stored)
        .await
        .map_err(work.failed())?
    {
        return Ok(());
    }
    Err(work.at(
        of.attribute(),
        "the image was removed from the host at the same time by another run: apply again",
    ))
}

/// The machine needs its images no more; those that nobody else needs go while its record still stands, so that a destroy
/// which is ended in between finds them again.
pub(super) fn undo<'a>(work: &'a mut Work<'_>) -> BoxFuture<'a, Outcome> {
    Box::pin(async move {
        if work.record.is_none() {
            return Ok(());
        }
        let before = work.mark().await;
        if half_copied(&before) {
            // A run that died while it read the file may have left its tools on the host.
            work.host.driver.tidy().await.map_err(work.failed())?;
        }
        if before.image_volumes().next().is_some() {
            work.write(|mark| {
                let disks = mark.disks.values_mut().filter_map(|disk| disk.image.as_mut());
                let media = mark.media.values_mut().filter_map(|drive| drive.image.as_mut());
                for image in disks.chain(media) {
                    image.volume = None;
                    image.upload = None;
                }
                mark.ejecting.clear();
                mark.capture = None;
            })
            .await?;
        }
        crate::engine::collect_let_go(work.host, work.deps, &before).await;
        Ok(())
    })
}

/// Whether an image was being taken from a file of the host.
fn half_copied(mark: &Mark) -> bool {
    let disks = mark.disks.values().filter_map(|disk| disk.image.as_ref());
    let mut images = disks.chain(mark.media.values().filter_map(|drive| drive.image.as_ref()));
    images.any(|image| image.upload.is_some() && image.source.starts_with("host:"))
}
