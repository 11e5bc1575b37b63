//! Volumes: made by the host, filled from here through a real Samba, looked at by QEMU's tools.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use bytes::Bytes as Chunk;
use futures::{StreamExt, stream};
use labyard_driver::conformance::sample;
use labyard_driver::ids::{Bytes, PoolName, VolumeName};
use labyard_driver::spec::{DiskFormat, VolumeContent};
use labyard_driver::{DriverError, UploadStream};

use crate::rig::Rig;

const DEADLINE: Duration = Duration::from_secs(60);

fn pool() -> PoolName {
    PoolName::from("default")
}

fn source(content: &[u8]) -> UploadStream {
    let chunks: Vec<_> = content
        .chunks(65_536)
        .map(|chunk| Ok(Chunk::copy_from_slice(chunk)))
        .collect();
    stream::iter(chunks).boxed()
}

async fn uploaded(rig: &Rig, name: &str, length: u64, stream: UploadStream) -> Result<(), DriverError> {
    let (name, length) = (VolumeName::from(name), Bytes(length));
    let content = VolumeContent::Upload { length };
    rig.host
        .create_volume(&sample::volume(&pool(), &name, content))
        .await?;
    rig.host.upload(&pool(), &name, length, stream, DEADLINE).await
}

fn run(program: &str, arguments: &[&str], file: &Path, more: &[&Path]) {
    let done = Command::new(program)
        .args(arguments)
        .arg(file)
        .args(more)
        .output()
        .unwrap();
    assert!(
        done.status.success(),
        "{program} {arguments:?}: {}{}",
        String::from_utf8_lossy(&done.stdout),
        String::from_utf8_lossy(&done.stderr)
    );
}

/// What is uploaded as a raw or a qcow2 image is the same disk on the host.
async fn same_disk(format: &str, options: &[&str]) {
    let rig = Rig::new().await;
    let directory = tempfile::tempdir().unwrap();
    let raw = directory.path().join("disk.raw");
    let mut content = vec![0_u8; 9 << 20];
    for (at, byte) in content.iter_mut().enumerate().skip(2 << 20).take(3 << 20) {
        *byte = (at.wrapping_mul(2_654_435_761) >> 16) as u8;
    }
    std::fs::write(&raw, &content).unwrap();
    let image = directory.path().join("image");
    let convert: Vec<_> = ["convert", "-O", format].iter().chain(options).copied().collect();
    run("qemu-img", &convert, &raw, &[&image]);
    let bytes = std::fs::read(&image).unwrap();
    uploaded(&rig, "image", bytes.len() as u64, source(&bytes))
        .await
        .unwrap();

    let seen = rig.host.volume(&pool(), &"image".into()).await.unwrap();
    assert_eq!(
        (seen.capacity, seen.format),
        (Bytes(9 << 20), Some(DiskFormat::Vhdx))
    );
    assert_eq!(seen.path, r"D:\labyard\image.vhdx");
    let real = rig.real(&seen.path);
    run("qemu-img", &["check", "-f", "vhdx"], &real, &[]);
    run(
        "qemu-img",
        &["compare", "-f", "vhdx", "-F", format],
        &real,
        &[&image],
    );
    let left: Vec<_> = std::fs::read_dir(rig.real(r"D:\labyard")).unwrap().collect();
    assert_eq!(left.len(), 2, "the disk and the directory of machines: {left:?}");

    // An overlay of it is larger, and the disk itself reads as it was sent.
    let overlay = VolumeContent::Overlay {
        base: "image".into(),
        base_format: DiskFormat::Vhdx,
        capacity: Bytes(16 << 20),
    };
    let made = rig
        .host
        .create_volume(&sample::volume(&pool(), &"web.root".into(), overlay))
        .await
        .unwrap();
    assert_eq!(
        (made.capacity, made.backing),
        (Bytes(16 << 20), Some(seen.path.clone()))
    );
    let read = rig
        .host
        .download(&pool(), &"image".into(), Bytes(9 << 20))
        .await
        .unwrap();
    assert!(read == content);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_raw_image_becomes_the_same_disk() {
    same_disk("raw", &[]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_compressed_qcow2_image_becomes_the_same_disk() {
    same_disk("qcow2", &["-c"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_iso_image_and_a_marker_stay_what_they_are() {
    let rig = Rig::new().await;
    let mut iso = vec![7_u8; 300_000];
    iso[32769..32774].copy_from_slice(b"CD001");
    uploaded(&rig, "seed", 300_000, source(&iso)).await.unwrap();
    uploaded(&rig, "marker", 0, source(&[])).await.unwrap();
    let seed = rig.host.volume(&pool(), &"seed".into()).await.unwrap();
    assert_eq!(
        (seed.path.as_str(), seed.capacity),
        (r"D:\labyard\seed.iso", Bytes(300_000))
    );
    assert_eq!(
        rig.host
            .download(&pool(), &"seed".into(), Bytes(1 << 20))
            .await
            .unwrap(),
        iso
    );
    let mut names = rig.host.volumes(&pool()).await.unwrap();
    names.sort();
    assert_eq!(names, [VolumeName::from("marker"), VolumeName::from("seed")]);
    for name in names {
        rig.host.delete_volume(&pool(), &name).await.unwrap();
        rig.host.delete_volume(&pool(), &name).await.unwrap();
    }
    assert!(rig.host.volumes(&pool()).await.unwrap().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_that_goes_wrong_is_an_error_of_its_source_and_leaves_only_its_placeholder() {
    let rig = Rig::new().await;
    let content = vec![1_u8; 2 << 20];
    let length = content.len() as u64;
    let failing = || {
        let first = stream::iter([Ok(Chunk::from_static(b"and then"))]);
        first
            .chain(stream::iter([Err("the web server hung up".into())]))
            .boxed()
    };
    let wrong: [(&str, UploadStream); 3] = [
        ("short", source(&content[..content.len() - 1])),
        ("long", source(&[&content[..], b"x"].concat())),
        ("failing", failing()),
    ];
    for (name, stream) in wrong {
        let answer = uploaded(&rig, name, length, stream).await;
        assert!(
            matches!(answer, Err(DriverError::Source { .. })),
            "{name}: {answer:?}"
        );
        let left: Vec<_> = std::fs::read_dir(rig.real(r"D:\labyard"))
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .filter(|file| file != "machines")
            .collect();
        assert_eq!(left, [format!("{name}.upload")]);
        rig.host.delete_volume(&pool(), &name.into()).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_that_stalls_ends_at_its_deadline_and_can_be_taken_away() {
    let rig = Rig::new().await;
    let name = VolumeName::from("stalls");
    let length = Bytes(1 << 20);
    let content = VolumeContent::Upload { length };
    rig.host
        .create_volume(&sample::volume(&pool(), &name, content))
        .await
        .unwrap();
    let stalling = stream::pending().boxed();
    let answer = rig
        .host
        .upload(&pool(), &name, length, stalling, Duration::from_millis(300))
        .await;
    assert!(answer.is_err());
    rig.host.delete_volume(&pool(), &name).await.unwrap();
    assert!(rig.host.volumes(&pool()).await.unwrap().is_empty());
}
