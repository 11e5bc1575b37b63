//! Uploads: exact, short, long, failing, stalling, too large; and what is read back.

use std::time::Duration;

use bytes::Bytes as Chunk;
use futures::{StreamExt as _, stream};

use super::lab::{Failure, Lab, ensure, ensure_eq, ensure_error};
use super::sample;
use crate::ids::{Bytes, VolumeName};
use crate::spec::VolumeContent;
use crate::{DriverError, UploadStream};

type Result = std::result::Result<(), Failure>;

const DEADLINE: Duration = Duration::from_secs(30);
const LENGTH: usize = 300_007;

fn content() -> Vec<u8> {
    (0..LENGTH)
        .map(|n| n.wrapping_mul(2_654_435_761).to_le_bytes()[2])
        .collect()
}

fn source(chunks: Vec<Chunk>) -> UploadStream {
    stream::iter(chunks.into_iter().map(Ok)).boxed()
}

fn in_pieces(content: &[u8], size: usize) -> Vec<Chunk> {
    content.chunks(size).map(Chunk::copy_from_slice).collect()
}

/// A volume made for an upload of so many bytes.
async fn target(lab: &Lab<'_>, length: usize) -> std::result::Result<VolumeName, Failure> {
    let name = lab.volume("upload");
    let length = Bytes(length as u64);
    lab.driver
        .create_volume(&sample::volume(
            &lab.pool,
            &name,
            VolumeContent::Upload { length },
        ))
        .await?;
    Ok(name)
}

async fn send(
    lab: &Lab<'_>,
    name: &VolumeName,
    stream: UploadStream,
) -> std::result::Result<(), DriverError> {
    lab.driver
        .upload(&lab.pool, name, Bytes(LENGTH as u64), stream, DEADLINE)
        .await
}

pub(super) async fn an_upload_is_read_back_as_it_was_sent(lab: &Lab<'_>) -> Result {
    let content = content();
    for size in [997, 65_536, LENGTH] {
        let name = target(lab, LENGTH).await?;
        let mut chunks = in_pieces(&content, size);
        chunks.insert(1, Chunk::new());
        send(lab, &name, source(chunks)).await?;
        let found = lab
            .driver
            .download(&lab.pool, &name, Bytes(LENGTH as u64))
            .await?;
        ensure!(
            found == content,
            "{} bytes of {LENGTH} came back, or other ones",
            found.len()
        );
        let read = read(lab, &name).await?;
        ensure!(
            read == content,
            "{} bytes of {LENGTH} were read, or other ones",
            read.len()
        );
    }
    Ok(())
}

/// All bytes of a volume, which are as many as was said.
async fn read(lab: &Lab<'_>, name: &VolumeName) -> std::result::Result<Vec<u8>, Failure> {
    let mut bytes = lab.driver.read_volume(&lab.pool, name).await?;
    let mut read = Vec::new();
    while let Some(piece) = bytes.stream.next().await {
        let piece = piece.map_err(|cause| DriverError::Source {
            what: format!("volume {name}"),
            cause,
        })?;
        read.extend_from_slice(&piece);
    }
    let length = Some(Bytes(read.len() as u64));
    ensure!(
        bytes.length == length,
        "{length:?} were read, and {:?} were said",
        bytes.length
    );
    Ok(read)
}

pub(super) async fn a_disk_that_is_read_and_sent_is_the_same_disk(lab: &Lab<'_>) -> Result {
    let disk = lab.volume("disk");
    let capacity = Bytes::from_gib(1);
    let blank = sample::volume(&lab.pool, &disk, VolumeContent::Blank { capacity });
    lab.driver.create_volume(&blank).await?;
    let content = read(lab, &disk).await?;
    let name = target(lab, content.len()).await?;
    let stream = source(in_pieces(&content, 65_536));
    let length = Bytes(content.len() as u64);
    lab.driver
        .upload(&lab.pool, &name, length, stream, DEADLINE)
        .await?;
    let is_so = async || {
        let volume = lab.driver.volume(&lab.pool, &name).await?;
        Ok(volume.format == Some(lab.fixture.format()) && volume.capacity == capacity)
    };
    lab.until("the host sees the disk", DEADLINE, is_so).await?;
    ensure!(read(lab, &name).await? == content, "it reads otherwise");
    Ok(())
}

pub(super) async fn an_upload_of_a_qcow2_image_is_recognised(lab: &Lab<'_>) -> Result {
    let mut image = vec![0; LENGTH];
    image[..8].copy_from_slice(b"QFI\xfb\0\0\0\x02");
    image[20..24].copy_from_slice(&16_u32.to_be_bytes());
    image[24..32].copy_from_slice(&(1_u64 << 30).to_be_bytes());
    let name = target(lab, LENGTH).await?;
    send(lab, &name, source(vec![Chunk::from(image)])).await?;
    let is_so = async || {
        let volume = lab.driver.volume(&lab.pool, &name).await?;
        Ok(volume.format == Some(lab.fixture.format()) && volume.capacity == Bytes::from_gib(1))
    };
    lab.until("the host sees a qcow2 image of 1 GiB", DEADLINE, is_so)
        .await
}

/// The volume of a failed upload can be deleted, and the host is as well as before.
async fn still_well(lab: &Lab<'_>, name: &VolumeName) -> Result {
    lab.driver.delete_volume(&lab.pool, name).await?;
    ensure_error!(lab.driver.volume(&lab.pool, name).await, Missing);
    lab.driver.snapshot().await?;
    Ok(())
}

pub(super) async fn a_stream_that_ends_early_is_an_error_of_the_source(lab: &Lab<'_>) -> Result {
    let name = target(lab, LENGTH).await?;
    let short = in_pieces(&content()[..LENGTH - 1], 65_536);
    ensure_error!(send(lab, &name, source(short)).await, Source);
    still_well(lab, &name).await
}

pub(super) async fn a_stream_that_runs_over_is_an_error_of_the_source(lab: &Lab<'_>) -> Result {
    let mut in_last_chunk = content();
    in_last_chunk.push(7);
    let mut in_one_more = in_pieces(&content(), 65_536);
    in_one_more.push(Chunk::from_static(b"x"));
    for chunks in [vec![Chunk::from(in_last_chunk)], in_one_more] {
        let name = target(lab, LENGTH).await?;
        ensure_error!(send(lab, &name, source(chunks)).await, Source);
        still_well(lab, &name).await?;
    }
    Ok(())
}

pub(super) async fn a_stream_that_fails_is_an_error_of_the_source(lab: &Lab<'_>) -> Result {
    let name = target(lab, LENGTH).await?;
    let good = in_pieces(&content()[..100_000], 65_536).into_iter().map(Ok);
    let failing = stream::iter(good.chain([Err("the web server hung up".into())])).boxed();
    ensure_error!(send(lab, &name, failing).await, Source);
    still_well(lab, &name).await
}

pub(super) async fn a_stream_that_stalls_ends_at_the_deadline(lab: &Lab<'_>) -> Result {
    let name = target(lab, LENGTH).await?;
    let first = stream::iter([Ok(Chunk::from_static(b"and then nothing"))]);
    let stalling = first.chain(stream::pending()).boxed();
    let (length, deadline) = (Bytes(LENGTH as u64), Duration::from_secs(1));
    let upload = lab.driver.upload(&lab.pool, &name, length, stalling, deadline);
    match tokio::time::timeout(DEADLINE, upload).await {
        Ok(answer) => ensure!(answer.is_err(), "an upload of 16 bytes of {LENGTH} succeeded"),
        Err(_) => return Err(Failure::new("the upload did not end at its deadline")),
    }
    let gone = async || Ok(lab.driver.delete_volume(&lab.pool, &name).await.is_ok());
    lab.until("the volume can be deleted", DEADLINE, gone).await?;
    still_well(lab, &name).await
}

pub(super) async fn an_upload_longer_than_its_volume_is_refused(lab: &Lab<'_>) -> Result {
    let name = target(lab, LENGTH - 1).await?;
    ensure_error!(
        send(lab, &name, source(in_pieces(&content(), 65_536))).await,
        Refused
    );
    still_well(lab, &name).await
}

pub(super) async fn a_volume_longer_than_the_limit_is_not_read(lab: &Lab<'_>) -> Result {
    let name = target(lab, LENGTH).await?;
    send(lab, &name, source(in_pieces(&content(), 65_536))).await?;
    let limit = Bytes(LENGTH as u64 - 1);
    ensure_error!(lab.driver.download(&lab.pool, &name, limit).await, Refused);
    Ok(())
}

pub(super) async fn an_upload_without_room_leaves_nothing(lab: &Lab<'_>) -> Result {
    let pool = lab
        .fixture
        .small_pool()
        .ok_or_else(|| Failure::new("the fixture has no small pool"))?;
    let name = VolumeName(lab.fixture.fresh_name("full"));
    let length = Bytes::from_mib(64);
    let spec = sample::volume(&pool, &name, VolumeContent::Upload { length });
    ensure_error!(lab.driver.create_volume(&spec).await, NoSpace);
    ensure_error!(lab.driver.volume(&pool, &name).await, Missing);
    ensure_eq!(
        lab.driver.volumes(&pool).await?.contains(&name),
        false,
        "whether the volume is listed"
    );
    Ok(())
}
