//! Volumes, but for what is uploaded to them.

use super::lab::{Failure, Lab, ensure, ensure_eq, ensure_error};
use super::sample;
use crate::ids::{Bytes, PoolName, VolumeName};
use crate::spec::VolumeContent;

type Result = std::result::Result<(), Failure>;

pub(super) async fn a_blank_disk_is_listed_with_its_size_and_format(lab: &Lab<'_>) -> Result {
    let name = lab.volume("blank");
    let made = lab.driver.create_volume(&sample::blank(&lab.pool, &name)).await?;
    ensure_eq!(made.name, name, "the name");
    ensure_eq!(made.capacity, Bytes::from_mib(64), "the size");
    ensure_eq!(made.format, Some(lab.fixture.format()), "the format");
    ensure_eq!(made.backing, None, "the base");
    ensure_eq!(
        lab.driver.volume(&lab.pool, &name).await?,
        made,
        "the volume read again"
    );
    ensure!(
        lab.driver.volumes(&lab.pool).await?.contains(&name),
        "the volume is not listed"
    );
    Ok(())
}

pub(super) async fn a_name_that_is_taken_exists_already(lab: &Lab<'_>) -> Result {
    let name = lab.disk("taken").await?;
    let capacity = Bytes::from_mib(1);
    let smaller = sample::volume(&lab.pool, &name, VolumeContent::Blank { capacity });
    ensure_error!(lab.driver.create_volume(&smaller).await, Exists);
    let upload = sample::volume(&lab.pool, &name, VolumeContent::Upload { length: capacity });
    ensure_error!(lab.driver.create_volume(&upload).await, Exists);
    let volume = lab.driver.volume(&lab.pool, &name).await?;
    ensure_eq!(volume.capacity, Bytes::from_mib(64), "the size");
    Ok(())
}

pub(super) async fn what_is_not_there_is_missing(lab: &Lab<'_>) -> Result {
    let (name, limit) = (lab.volume("missing"), Bytes::from_mib(1));
    ensure_error!(lab.driver.volume(&lab.pool, &name).await, Missing);
    ensure_error!(lab.driver.download(&lab.pool, &name, limit).await, Missing);
    let pool = PoolName(lab.fixture.fresh_name("pool"));
    ensure_error!(lab.driver.pool_room(&pool).await, Missing);
    ensure_error!(lab.driver.volumes(&pool).await, Missing);
    ensure_error!(
        lab.driver.create_volume(&sample::blank(&pool, &name)).await,
        Missing
    );
    Ok(())
}

pub(super) async fn deletion_repeated_is_success(lab: &Lab<'_>) -> Result {
    let name = lab.disk("delete").await?;
    lab.driver.delete_volume(&lab.pool, &name).await?;
    lab.driver.delete_volume(&lab.pool, &name).await?;
    ensure_error!(lab.driver.volume(&lab.pool, &name).await, Missing);
    ensure!(
        !lab.driver.volumes(&lab.pool).await?.contains(&name),
        "the volume is still listed"
    );
    lab.driver.create_volume(&sample::blank(&lab.pool, &name)).await?;
    Ok(())
}

/// An overlay or, with the other content, a copy of a base.
fn overlay(lab: &Lab<'_>, base: &VolumeName, mib: u64) -> VolumeContent {
    VolumeContent::Overlay {
        base: base.clone(),
        base_format: lab.fixture.format(),
        capacity: Bytes::from_mib(mib),
    }
}

pub(super) async fn an_overlay_names_its_base(lab: &Lab<'_>) -> Result {
    let (base, name) = (lab.disk("base").await?, lab.volume("overlay"));
    let made = lab
        .driver
        .create_volume(&sample::volume(&lab.pool, &name, overlay(lab, &base, 96)))
        .await?;
    let below = lab.driver.volume(&lab.pool, &base).await?;
    ensure_eq!(made.backing, Some(below.path), "the base");
    ensure_eq!(made.capacity, Bytes::from_mib(96), "the size");
    ensure_eq!(made.format, Some(lab.fixture.format()), "the format");
    ensure_eq!(below.capacity, Bytes::from_mib(64), "the base's size");
    Ok(())
}

pub(super) async fn an_overlay_smaller_than_its_base_is_refused(lab: &Lab<'_>) -> Result {
    let (base, name) = (lab.disk("base").await?, lab.volume("overlay"));
    let spec = sample::volume(&lab.pool, &name, overlay(lab, &base, 32));
    ensure_error!(lab.driver.create_volume(&spec).await, Refused);
    ensure_error!(lab.driver.volume(&lab.pool, &name).await, Missing);
    Ok(())
}

pub(super) async fn an_overlay_of_nothing_is_refused_and_leaves_nothing(lab: &Lab<'_>) -> Result {
    let (base, name) = (lab.volume("base"), lab.volume("overlay"));
    let spec = sample::volume(&lab.pool, &name, overlay(lab, &base, 64));
    ensure_error!(lab.driver.create_volume(&spec).await, Refused);
    ensure_error!(lab.driver.volume(&lab.pool, &name).await, Missing);
    Ok(())
}

pub(super) async fn a_copy_stands_alone(lab: &Lab<'_>) -> Result {
    let (base, name) = (lab.disk("base").await?, lab.volume("copy"));
    let content = VolumeContent::Copy {
        base: base.clone(),
        base_format: lab.fixture.format(),
        capacity: Bytes::from_mib(96),
    };
    lab.driver
        .create_volume(&sample::volume(&lab.pool, &name, content))
        .await?;
    lab.driver.delete_volume(&lab.pool, &base).await?;
    let copy = lab.driver.volume(&lab.pool, &name).await?;
    ensure_eq!(copy.backing, None, "the base");
    ensure_eq!(copy.format, Some(lab.fixture.format()), "the format");
    ensure_eq!(copy.capacity, Bytes::from_mib(96), "the size");
    Ok(())
}

pub(super) async fn the_room_of_a_pool_is_not_more_than_it_has(lab: &Lab<'_>) -> Result {
    let room = lab.driver.pool_room(&lab.pool).await?;
    ensure!(
        room.available.0 > 0 && room.available <= room.capacity,
        "{room:?}"
    );
    Ok(())
}
