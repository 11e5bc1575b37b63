//! Files of the host that lie beside the pools.

use std::sync::Arc;

use futures::TryStreamExt;

use super::lab::{Failure, Lab, ensure, ensure_eq, ensure_error};
use super::{OtherHands, sample};
use crate::DriverError;
use crate::ids::Bytes;
use crate::spec::{DiskFormat, VolumeContent};

type Result<T = ()> = std::result::Result<T, Failure>;

/// Not whole blocks of anything.
const LENGTH: usize = 70_001;

fn content(seed: u8) -> Vec<u8> {
    (0..LENGTH).map(|n| (n / 7).to_le_bytes()[0] ^ seed).collect()
}

fn hands(lab: &Lab<'_>) -> Result<Arc<dyn OtherHands>> {
    let hands = lab.fixture.hands();
    hands.ok_or_else(|| Failure::new("the fixture has no other hands"))
}

async fn read(lab: &Lab<'_>, path: &str) -> Result<Vec<u8>> {
    let stream = lab.driver.read_host_file(path).await?;
    let pieces: Vec<_> = stream
        .try_collect()
        .await
        .map_err(|error| Failure::new(format!("the file breaks off: {error}")))?;
    Ok(pieces.concat())
}

pub(super) async fn a_file_is_read_as_it_stands_and_left_alone(lab: &Lab<'_>) -> Result {
    let hands = hands(lab)?;
    let pools = hands.pools().await?;
    let path = hands.put_file("read.img", &content(0)).await?;
    let seen = lab.driver.host_file(&path).await?;
    ensure_eq!(seen.length, Bytes(LENGTH as u64), "its length");
    ensure_eq!(
        lab.driver.host_file(&path).await?,
        seen,
        "the same file, looked at again"
    );
    let (one, two) = futures::future::try_join(read(lab, &path), read(lab, &path)).await?;
    ensure!(one == content(0) && two == content(0), "other bytes came");

    hands.put_file("read.img", &content(1)).await?;
    let changed = lab.driver.host_file(&path).await?;
    ensure!(
        changed.version != seen.version,
        "a change is not seen: {changed:?}"
    );
    ensure!(
        read(lab, &path).await? == content(1),
        "bytes of before the change came"
    );
    ensure!(hands.file(&path).await? == content(1), "the file was changed");
    lab.driver.tidy().await?;
    ensure_eq!(hands.pools().await?, pools, "pools");
    Ok(())
}

pub(super) async fn a_file_becomes_a_volume_that_stands_alone(lab: &Lab<'_>) -> Result {
    let hands = hands(lab)?;
    let pools = hands.pools().await?;
    let path = hands.put_file("copied.img", &content(2)).await?;
    let name = lab.volume("of-file");
    let spec = sample::volume(
        &lab.pool,
        &name,
        VolumeContent::OfFile {
            path: path.clone(),
            format: DiskFormat::Raw,
            capacity: Bytes(LENGTH as u64),
        },
    );
    let made = lab.driver.create_volume(&spec).await?;
    ensure_eq!(made.format, Some(DiskFormat::Raw), "its format");
    ensure_eq!(made.backing, None, "what it lies on");
    ensure_error!(lab.driver.create_volume(&spec).await, Exists);
    hands.put_file("copied.img", &content(3)).await?;
    let copied = lab.driver.download(&lab.pool, &name, Bytes(1 << 20)).await?;
    // A host may round up.
    ensure!(
        copied.get(..LENGTH) == Some(&content(2)[..]),
        "other bytes were copied"
    );
    lab.driver.delete_volume(&lab.pool, &name).await?;
    ensure!(hands.file(&path).await? == content(3), "the file was changed");
    ensure_eq!(hands.pools().await?, pools, "pools");
    Ok(())
}

pub(super) async fn what_is_no_file_is_not_read(lab: &Lab<'_>) -> Result {
    let hands = hands(lab)?;
    let pools = hands.pools().await?;
    let path = hands.put_file("there.img", &content(4)).await?;
    let (directory, _) = path.rsplit_once('/').unwrap_or_default();
    for gone in [
        format!("{directory}/gone.img"),
        format!("{directory}-gone/any.img"),
    ] {
        ensure_error!(lab.driver.host_file(&gone).await, Missing);
        ensure!(
            matches!(
                lab.driver.read_host_file(&gone).await,
                Err(DriverError::Missing { .. })
            ),
            "{gone} is read"
        );
    }
    ensure_error!(lab.driver.host_file(directory).await, Refused);
    let spec = sample::volume(
        &lab.pool,
        &lab.volume("of-nothing"),
        VolumeContent::OfFile {
            path: format!("{directory}/gone.img"),
            format: DiskFormat::Raw,
            capacity: Bytes(LENGTH as u64),
        },
    );
    ensure_error!(lab.driver.create_volume(&spec).await, Missing);
    ensure_error!(lab.driver.volume(&lab.pool, &spec.name).await, Missing);
    ensure_eq!(hands.pools().await?, pools, "pools");
    Ok(())
}
