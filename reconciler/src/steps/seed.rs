//! Seed: the volume from which cloud-init reads, made anew under a new name when it changes.

use futures::StreamExt;
use futures::future::BoxFuture;
use labyard_driver::DriverError;
use labyard_driver::ids::Bytes;
use labyard_driver::mark::{Mark, SeedMark};
use labyard_driver::spec::{VolumeContent, VolumeSpec};
use std::time::Duration;

use super::addresses::network_of;
use super::{Outcome, Work};
use crate::desired::{DesiredSeed, SeedVersion, Wishes};
use crate::error::EngineError;
use crate::guest_config::{self, Addressing, Card, Request, Salt};
use crate::identity::seed_volume;

pub(super) fn ensure<'a>(work: &'a mut Work<'_>) -> BoxFuture<'a, Outcome> {
    Box::pin(async move {
        let mark = work.mark().await;
        let Some(desired) = work.desired.seed.clone() else {
            return drop_seed(work).await;
        };
        if is_current(work, &mark, &desired).await? {
            return Ok(());
        }
        let bytes = build(work, &mark, &desired).await?;
        let revision = mark.seed.as_ref().map_or(1, |seed| seed.revision + 1);
        let seed = SeedMark {
            pool: work.storage.pool.clone(),
            volume: seed_volume(&work.host_name, revision, &mark.origin),
            length: bytes.len() as u64,
            revision,
        };
        let recorded = seed.clone();
        work.write(|mark| {
            if let Some(old) = mark.seed.replace(recorded) {
                mark.discard.insert((old.pool, old.volume));
            }
            set_version(mark, None);
        })
        .await?;
        write(work, &seed, bytes).await?;
        // Only a seed that was written to the end has a version.
        work.write(|mark| set_version(mark, Some(desired.version)))
            .await
            .map(drop)
    })
}

/// The guest has another name since the seed was written: it is written anew.
pub async fn forget_version(work: &Work<'_>) -> Outcome {
    work.write(|mark| set_version(mark, None)).await.map(drop)
}

fn set_version(mark: &mut Mark, version: Option<SeedVersion>) {
    let mut wishes = Wishes::from_mark(mark);
    wishes.seed = version;
    mark.wishes = wishes.to_json();
}

/// Whether the seed on the host is the one that is wanted; its content is not read back.
async fn is_current(work: &Work<'_>, mark: &Mark, desired: &DesiredSeed) -> Result<bool, EngineError> {
    let Some(seed) = &mark.seed else { return Ok(false) };
    if Wishes::from_mark(mark).seed.as_ref() != Some(&desired.version) {
        return Ok(false);
    }
    match work.host.driver.volume(&seed.pool, &seed.volume).await {
        Ok(volume) => Ok(volume.capacity == Bytes(seed.length)),
        Err(DriverError::Missing { .. }) => Ok(false),
        Err(error) => Err(work.failed()(error)),
    }
}

async fn build(work: &Work<'_>, mark: &Mark, desired: &DesiredSeed) -> Result<Vec<u8>, EngineError> {
    let salt = Salt(work.deps.random.bytes());
    let supplied = mark.hooks.hostname.clone();
    let mut told = desired.clone();
    if let (Some(guest), Some(supplied)) = (&mut told.guest, &supplied) {
        guest.hostname.clone_from(supplied);
    }
    let cards = cards(work, mark).await?;
    // The hash of a password takes its time, which other machines shall not wait for.
    let documents = tokio::task::spawn_blocking(move || {
        guest_config::documents(&Request {
            family: told.family,
            guest: told.guest.as_ref(),
            cards: &cards,
            user_data: told.user_data.as_deref(),
            network_config: told.network_config.as_deref(),
            salt,
        })
    });
    let documents = match documents.await {
        Ok(documents) => documents.map_err(|error| work.at("guest", error.to_string()))?,
        Err(_) => return Err(work.at("guest", "its documents could not be made: this is a bug")),
    };
    // The same for the life of the machine: a renewed seed is read again, and a first boot stays the first.
    let instance_id = crate::seed::instance_id(mark.origin.as_str(), 0);
    let guest_name = desired.guest.as_ref().map(|guest| guest.hostname.as_str());
    crate::seed::build(&crate::seed::NoCloud {
        instance_id: &instance_id,
        local_hostname: supplied
            .as_deref()
            .or(guest_name)
            .unwrap_or(work.desired.name.as_str()),
        user_data: documents.user_data.as_deref(),
        vendor_data: documents.vendor_data.as_deref(),
        public_keys: &documents.public_keys,
        network_config: documents.network_config.as_deref(),
        meta_data: desired.meta_data.as_deref(),
    })
    .map_err(|error| work.at("cloud_init", error.to_string()))
}

/// The cards as the guest will see them. A fixed address that DHCP of a network of ours gives is asked for there.
async fn cards(work: &Work<'_>, mark: &Mark) -> Result<Vec<Card>, EngineError> {
    let mut cards = Vec::new();
    for (key, nic) in &mark.nics {
        let fixed = work.desired.nics.get(key).and_then(|wanted| wanted.fixed);
        let addressing = match fixed {
            Some(fixed) if network_of(work, key, &nic.network).await?.is_none() => Addressing::Static {
                addresses: vec![fixed.address.into()],
                gateway: fixed.gateway.map(Into::into),
            },
            _ => Addressing::Dhcp,
        };
        cards.push(Card {
            key: key.clone(),
            mac: nic.mac,
            addressing,
        });
    }
    Ok(cards)
}

async fn write(work: &mut Work<'_>, seed: &SeedMark, bytes: Vec<u8>) -> Outcome {
    let length = Bytes(seed.length);
    let content = VolumeContent::Upload { length };
    let spec = VolumeSpec {
        pool: seed.pool.clone(),
        name: seed.volume.clone(),
        content,
    };
    work.host
        .driver
        .create_volume(&spec)
        .await
        .map_err(work.failed())?;
    let chunk = bytes::Bytes::from(bytes);
    let stream = futures::stream::once(async move { Ok(chunk) }).boxed();
    let deadline = Duration::from_secs(60);
    work.host
        .driver
        .upload(&seed.pool, &seed.volume, length, stream, deadline)
        .await
        .map_err(work.failed())
}

async fn drop_seed(work: &mut Work<'_>) -> Outcome {
    work.write(|mark| {
        if let Some(SeedMark { pool, volume, .. }) = mark.seed.take() {
            mark.discard.insert((pool, volume));
        }
    })
    .await
    .map(drop)
}

/// The seed's volume is one of the machine's volumes and goes with the disks.
pub(super) fn undo<'a>(_work: &'a mut Work<'_>) -> BoxFuture<'a, Outcome> {
    Box::pin(async { Ok(()) })
}
