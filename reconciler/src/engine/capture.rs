//! A machine's disk becomes an image: recorded in its mark, copied flat by the host, read for its digest, marked whole,
//! given the next revision of a name, and only then let go by the mark. A capture that was ended anywhere is finished by
//! the next one of the same machine; where none follows, its volume goes with the machine. What is done to one that runs
//! stands in [`super::capture_live`].

use std::time::Duration;

use labyard_driver::ids::{DiskKey, HostName, Namespace, UploadId};
use labyard_driver::mark::{AfterCapture, CaptureMark, DiskMark, GuestOfCapture, Mark, Stage};
use labyard_driver::observed::Power;
use labyard_driver::spec::DiskFormat;
use tokio::time::timeout;

use super::Engine as _;
use super::capture_live::{copy_running, recover, shut_down, start_again};
use super::collect::collect_in;
use super::grip::Grip;
use super::{
    AtStage, Bounds, Capture, CaptureStage, Captured, Embedded, HostImage, ObjectRef, Seal, WhileRunning,
};
use crate::error::EngineError;
use crate::faults;
use crate::identity::new_upload;
use crate::image::{ImageName, Revision};
use crate::image_store::{self, StoreError, StoredImage, data_volume};

/// How long a host may take to tell of its images.
const ANSWERS_WITHIN: Duration = Duration::from_secs(20);

impl Embedded {
    pub(super) async fn images_of(&self, host: &HostName) -> Result<Vec<HostImage>, EngineError> {
        let host = self.host(host)?;
        let mut all = Vec::new();
        for pool in host.image_pools().await? {
            let kept = host.images.kept(&pool).await;
            let kept = kept.map_err(host.failed(format!("storage pool {pool}")))?;
            all.extend(kept.into_iter().map(|image| HostImage {
                pool: pool.clone(),
                image,
            }));
        }
        Ok(all)
    }

    pub(super) async fn machine_capture(
        &self,
        object: &ObjectRef,
        capture: &Capture,
        bounds: &Bounds,
        at: AtStage<'_>,
    ) -> Result<Captured, EngineError> {
        let built_before = object.id.as_ref().and_then(|id| self.keeper.told(id));
        let mut grip = self.grip(object, bounds).await?;
        let id = grip.found.id.clone();
        let captured = self.captured(&mut grip, object, (capture, bounds), at).await;
        // What was nobody's to build is nobody's again.
        if built_before.is_none() {
            self.let_go(&object.host, &id).await;
        }
        captured
    }

    async fn captured(
        &self,
        grip: &mut Grip<'_>,
        object: &ObjectRef,
        (capture, bounds): (&Capture, &Bounds),
        at: AtStage<'_>,
    ) -> Result<Captured, EngineError> {
        let mark = grip.record.mark().await;
        if let Some(member) = &mark.member {
            let why = format!(
                "it is machine {} of pool {}, which may be handed out or put back at any moment: capture one of your own, \
                 made as the pool's are",
                member.number, member.pool
            );
            return Err(refused(grip, why));
        }
        let disk = choose(grip, &mark, capture.disk.as_ref())?.clone();
        recover(grip, &mark, &disk).await?;
        // Nobody waits for a copy that gets no number.
        self.newest(grip, &mark.namespace, &capture.name).await?;
        let shuts_down = match (grip.found.power, capture.running) {
            (Power::Stopped, _) | (Power::Running, WhileRunning::Quiesced) => AfterCapture::AsItIs,
            (Power::Running, WhileRunning::Stopped) => AfterCapture::Started,
            (other, _) => {
                let why = format!("it is {other:?}: let it run, or stop it");
                return Err(refused(grip, why));
            }
        };
        let upload = self.announce(grip, &mark, &disk, shuts_down).await?;
        at(CaptureStage::Recorded);
        faults::moment("capture-recorded", object.name.as_str(), &bounds.cancel).await;
        let what = image_store::Capture {
            pool: &disk.pool,
            disk: &disk.volume,
            format: disk.format.unwrap_or(DiskFormat::Qcow2),
            upload,
        };
        let seal = match (grip.found.power, shuts_down) {
            (Power::Running, AfterCapture::AsItIs) => Some(copy_running(grip, &what, bounds, at).await?),
            (Power::Running, AfterCapture::Started) => {
                at(CaptureStage::Stopping);
                shut_down(grip, bounds).await?;
                None
            }
            _ => None,
        };
        at(CaptureStage::Copying);
        let stored = self.store(grip, &what, seal.as_ref(), bounds).await?;
        faults::moment("capture-copied", object.name.as_str(), &bounds.cancel).await;
        at(CaptureStage::Naming);
        let image = self.give_name(grip, &disk, capture, &stored).await?;
        start_again(grip, at).await?;
        // Another capture of it may have begun.
        let is_this = |begun: &mut CaptureMark| begun.upload == what.upload;
        grip.write(|mark| drop(mark.capture.take_if(is_this))).await?;
        let off = || {
            Seal::Open(
                "it was off, and what is its own can only be taken out of a system that runs".to_owned(),
            )
        };
        Ok(Captured {
            image,
            seal: seal.unwrap_or_else(off),
        })
    }

    /// The image in the pool: of a disk that was copied already, or of one that nobody writes to.
    async fn store(
        &self,
        grip: &Grip<'_>,
        what: &image_store::Capture<'_>,
        copied: Option<&Seal>,
        bounds: &Bounds,
    ) -> Result<StoredImage, EngineError> {
        grip.may_mutate().await?;
        let images = &grip.host.images;
        let stored = async {
            match copied {
                Some(_) => images.captured(what).await,
                None => images.capture(what).await,
            }
        };
        tokio::select! {
            stored = stored => stored.map_err(|error| failed(grip, error)),
            () = bounds.cancel.cancelled() => Err(cancelled(grip)),
        }
    }

    /// The filling that the machine's mark names: the one that was begun, or a new one.
    async fn announce(
        &self,
        grip: &Grip<'_>,
        mark: &Mark,
        disk: &DiskMark,
        after: AfterCapture,
    ) -> Result<UploadId, EngineError> {
        // One that was shut down for a capture before, which came to no end, is started again after this one.
        let before = mark.capture.as_ref().map(|begun| begun.after).unwrap_or_default();
        let after = match grip.found.power {
            Power::Stopped => before,
            _ => after,
        };
        let begun = mark
            .capture
            .as_ref()
            .filter(|begun| begun.pool == disk.pool && begun.after == after);
        if let Some(begun) = begun
            && !grip
                .host
                .images
                .is_whole(&begun.pool, &begun.upload)
                .await
                .map_err(grip.failed())?
        {
            return Ok(begun.upload.clone());
        }
        // One that came to its end is an image like others, which may have a name; and the machine may have run since.
        let upload = new_upload(self.deps.random.as_ref());
        let capture = CaptureMark {
            pool: disk.pool.clone(),
            volume: data_volume(&upload),
            upload: upload.clone(),
            after,
            guest: GuestOfCapture::Itself,
        };
        grip.write(|mark| mark.capture = Some(capture)).await?;
        Ok(upload)
    }

    async fn give_name(
        &self,
        grip: &Grip<'_>,
        disk: &DiskMark,
        capture: &Capture,
        stored: &StoredImage,
    ) -> Result<HostImage, EngineError> {
        let namespace = grip.record.mark().await.namespace.clone();
        grip.may_mutate().await?;
        let images = &grip.host.images;
        let above = self.newest(grip, &namespace, &capture.name).await?;
        let named = images
            .name(&disk.pool, (&namespace, &capture.name, above), stored)
            .await;
        let image = named.map_err(grip.failed())?;
        // Whoever removes images takes the marker first and then looks for names: one of the two sees the other.
        if !images.stands(&disk.pool, stored).await.map_err(grip.failed())? {
            images.forget(&disk.pool, &image).await.map_err(grip.failed())?;
            return Err(refused(
                grip,
                "the image was removed at the same time by another run: capture again",
            ));
        }
        Ok(HostImage {
            pool: disk.pool.clone(),
            image,
        })
    }

    /// The newest revision of a name on all hosts: one number means one image on all of them, so that where one does not
    /// answer no number can be given.
    async fn newest(
        &self,
        grip: &Grip<'_>,
        namespace: &Namespace,
        name: &ImageName,
    ) -> Result<Revision, EngineError> {
        let looks = self.hosts().into_iter().map(async |host| {
            let looked = timeout(ANSWERS_WITHIN, self.images_of(&host)).await;
            let why = match looked {
                Ok(Ok(images)) => return Ok(images),
                Ok(Err(error)) => error.to_string(),
                Err(_) => format!("it did not answer within {ANSWERS_WITHIN:?}"),
            };
            Err(format!(
                "which revisions of {name} host {host} has is not known ({why}), and a number means the same image on all \
                 hosts: capture when it answers, or take it out of the configuration"
            ))
        });
        let all = futures::future::try_join_all(looks).await;
        let all = all.map_err(|why| refused(grip, why))?.into_iter().flatten();
        let of_it = all.filter(|image| image.image.namespace == *namespace && image.image.name == *name);
        let newest = of_it.map(|image| image.image.revision).max();
        Ok(newest.unwrap_or(Revision(0)))
    }

    pub(super) async fn image_forget(&self, host: &HostName, image: &HostImage) -> Result<(), EngineError> {
        let host = self.host(host)?;
        let what = format!("image {} of pool {}", image.image.name, image.pool);
        let forgotten = host.images.forget(&image.pool, &image.image).await;
        forgotten.map_err(host.failed(what))?;
        collect_in(host, &self.deps, &image.pool).await;
        host.observer.invalidate();
        Ok(())
    }
}

/// The disk that is meant.
fn choose<'m>(
    grip: &Grip<'_>,
    mark: &'m Mark,
    wanted: Option<&DiskKey>,
) -> Result<&'m DiskMark, EngineError> {
    let keys = || {
        mark.disks
            .keys()
            .map(ToString::to_string)
            .collect::<Vec<_>>()
            .join(", ")
    };
    match wanted {
        Some(key) => mark.disks.get(key).ok_or_else(|| {
            refused(
                grip,
                format!("it has no disk {:?}: it has {}", key.as_str(), keys()),
            )
        }),
        None if mark.disks.len() == 1 => Ok(mark.disks.values().next().unwrap_or_else(|| unreachable!())),
        None if mark.disks.is_empty() => Err(refused(grip, "it has no disk")),
        None => Err(refused(
            grip,
            format!("it has several disks ({}): say which", keys()),
        )),
    }
}

pub(super) fn failed(grip: &Grip<'_>, error: StoreError) -> EngineError {
    match error {
        StoreError::Driver(source) => grip.failed()(source),
        other => refused(grip, other.to_string()),
    }
}

pub(super) fn refused(grip: &Grip<'_>, why: impl Into<String>) -> EngineError {
    EngineError::NotCaptured {
        host: grip.host.name.clone(),
        what: grip.what.clone(),
        why: why.into(),
    }
}

pub(super) fn cancelled(grip: &Grip<'_>) -> EngineError {
    EngineError::Cancelled {
        host: grip.host.name.clone(),
        what: grip.what.clone(),
        stage: Stage::Image,
    }
}
