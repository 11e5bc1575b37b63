//! Firmware: a UEFI machine has a file of variables of its own, of the kind and with the certificates that are asked
//! for.
//!
//! What changes is made in a new volume beside the old one, so that a run that dies in between has lost nothing of
//! what the guest wrote. A machine that was not made here keeps the host's file until it needs certificates, or those of
//! the other kind; then that file goes, once the machine has its own.

use std::time::Duration;

use futures::StreamExt;
use labyard_driver::DriverError;
use labyard_driver::driver::VariablesOf;
use labyard_driver::ids::Bytes;
use labyard_driver::mark::{Made, Mark, NvramMark, Stage};
use labyard_driver::spec::{Firmware, VolumeContent, VolumeSpec};

use super::{Outcome, Work, live};
use crate::diff::machine::runs;
use crate::error::EngineError;
use crate::identity::nvram_volume;
use crate::nvram::{self, Source};

/// How long the upload of half a megabyte may take.
const UPLOAD: Duration = Duration::from_secs(60);

pub(super) async fn ensure(work: &mut Work<'_>) -> Outcome {
    if work.desired.firmware != Firmware::Uefi {
        return Ok(());
    }
    let mark = work.mark().await;
    // The mark says "define" by now of a machine that is being made, and "finished" of one that was taken over.
    let made_here = mark.nvram.is_some() || mark.stage < Stage::Finished;
    let same_kind = work
        .detail()
        .is_none_or(|there| there.guards.secure_boot == work.desired.guards.secure_boot);
    if !made_here && same_kind && work.desired.ca_certificate.is_none() {
        return Ok(());
    }
    if is_current(work, mark.nvram.as_ref()).await? {
        return Ok(());
    }
    if runs(work.power()) {
        // Firmware that runs keeps its variables to itself and writes them back.
        live::restart(work, "firmware reads its variables at a start").await?;
    }
    let wanted = record(work, &mark).await?;
    let content = content(work, &wanted).await?;
    write(work, &wanted, content).await?;
    work.write(|mark| {
        if let Some(nvram) = &mut mark.nvram {
            nvram.made = Made::Whole;
            if let Some(previous) = nvram.previous.take() {
                mark.discard.insert((nvram.pool.clone(), previous));
            }
        }
    })
    .await
    .map(drop)
}

async fn is_current(work: &Work<'_>, nvram: Option<&NvramMark>) -> Result<bool, EngineError> {
    let Some(nvram) = nvram else { return Ok(false) };
    let same = nvram.made == Made::Whole
        && nvram.secure_boot == work.desired.guards.secure_boot
        && nvram.ca_certificate == work.desired.ca_certificate;
    Ok(same && stands(work, nvram).await?)
}

async fn stands(work: &Work<'_>, nvram: &NvramMark) -> Result<bool, EngineError> {
    match work.host.driver.volume(&nvram.pool, &nvram.volume).await {
        Ok(_) => Ok(true),
        Err(DriverError::Missing { .. }) => Ok(false),
        Err(error) => Err(work.failed()(error)),
    }
}

/// Names the new volume in the mark. One that was begun is begun again under its name.
async fn record(work: &Work<'_>, mark: &Mark) -> Result<NvramMark, EngineError> {
    let before = mark.nvram.as_ref();
    let begun = before.filter(|nvram| nvram.made == Made::Begun);
    let previous = match (before, begun) {
        (_, Some(begun)) => begun.previous.clone(),
        (Some(whole), None) if stands(work, whole).await? => Some(whole.volume.clone()),
        _ => None,
    };
    let revision = match (before, begun) {
        (_, Some(begun)) => begun.revision,
        (before, None) => before.map_or(1, |nvram| nvram.revision + 1),
    };
    let former = match before {
        Some(before) => before.former.clone(),
        None if mark.stage >= Stage::Finished => {
            let there = work.detail().and_then(|detail| detail.nvram.as_ref());
            there.map(|file| file.path.clone())
        }
        None => None,
    };
    let wanted = NvramMark {
        made: Made::Begun,
        pool: before.map_or_else(|| work.storage.pool.clone(), |nvram| nvram.pool.clone()),
        volume: nvram_volume(&work.host_name, revision, &mark.origin),
        revision,
        previous,
        former,
        secure_boot: work.desired.guards.secure_boot,
        ca_certificate: work.desired.ca_certificate.clone(),
    };
    let recorded = wanted.clone();
    work.write(|mark| mark.nvram = Some(recorded)).await?;
    Ok(wanted)
}

async fn content(work: &Work<'_>, wanted: &NvramMark) -> Result<Vec<u8>, EngineError> {
    let attribute = match &wanted.ca_certificate {
        Some(_) => "boot.ca_certificate",
        None => "firmware",
    };
    let certificates = match &wanted.ca_certificate {
        Some(pem) => labyard_schema::pem::certificates(pem).map_err(|reason| work.at(attribute, reason))?,
        None => Vec::new(),
    };
    let own = own(work, wanted).await?;
    let kind = work.detail().map(|detail| detail.guards.secure_boot);
    let made = match &own {
        Some(own) if kind == Some(wanted.secure_boot) => nvram::made_of(Source::Own(own), &certificates),
        Some(own) => {
            let template = &template(work, wanted, attribute).await?;
            nvram::made_of(Source::Changed { template, own }, &certificates)
        }
        None => {
            let template = template(work, wanted, attribute).await?;
            nvram::made_of(Source::Template(&template), &certificates)
        }
    };
    made.map_err(|error| nvram::unusable(attribute, &error))
}

/// What the machine's firmware wrote so far; none where it never ran.
async fn own(work: &Work<'_>, wanted: &NvramMark) -> Result<Option<Vec<u8>>, EngineError> {
    let driver = &work.host.driver;
    let read = match (&wanted.previous, &wanted.former) {
        (Some(previous), _) => driver.download(&wanted.pool, previous, Bytes(nvram::MOST)).await,
        (None, Some(path)) => driver.firmware_variables(&VariablesOf::File(path.clone())).await,
        (None, None) => return Ok(None),
    };
    match read {
        Ok(bytes) => Ok(Some(bytes)),
        Err(DriverError::Missing { .. }) => Ok(None),
        Err(error) => Err(work.failed()(error)),
    }
}

/// Deletes the file in which the host kept the variables, where the machine has its own by now.
pub(super) async fn discard_former(work: &Work<'_>, mark: &Mark) -> Outcome {
    let Some(former) = mark.nvram.as_ref().and_then(|nvram| nvram.former.as_ref()) else {
        return Ok(());
    };
    let named = work.detail().and_then(|detail| detail.nvram.as_ref());
    if named.is_some_and(|file| file.path == *former) {
        return Ok(());
    }
    work.may_mutate().await?;
    let driver = &work.host.driver;
    driver.discard_variables(former).await.map_err(work.failed())
}

async fn template(work: &Work<'_>, wanted: &NvramMark, attribute: &str) -> Result<Vec<u8>, EngineError> {
    let of = VariablesOf::Template(wanted.secure_boot);
    match work.host.driver.firmware_variables(&of).await {
        Ok(bytes) => Ok(bytes),
        Err(DriverError::Refused { message, .. } | DriverError::Missing { what: message }) => {
            let message = format!(
                "the template of the firmware's variables cannot be read through the connection: {message}. The host \
                 needs its firmware's files (Debian and Ubuntu: ovmf), and your account the right to make a storage pool"
            );
            Err(work.at(attribute, message))
        }
        Err(error) => Err(work.failed()(error)),
    }
}

async fn write(work: &Work<'_>, wanted: &NvramMark, content: Vec<u8>) -> Outcome {
    work.may_mutate().await?;
    let driver = &work.host.driver;
    let (pool, volume) = (&wanted.pool, &wanted.volume);
    let length = Bytes(content.len() as u64);
    let spec = VolumeSpec {
        pool: pool.clone(),
        name: volume.clone(),
        content: VolumeContent::Upload { length },
    };
    // What a run that died left of it may be half a file.
    driver.delete_volume(pool, volume).await.map_err(work.failed())?;
    driver.create_volume(&spec).await.map_err(work.failed())?;
    let chunk = bytes::Bytes::from(content);
    let stream = futures::stream::once(async move { Ok(chunk) }).boxed();
    driver
        .upload(pool, volume, length, stream, UPLOAD)
        .await
        .map_err(work.failed())
}
