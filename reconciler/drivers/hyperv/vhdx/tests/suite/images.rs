//! Disks of qcow2 images that QEMU made in all its ways, judged by QEMU.

use std::sync::atomic::Ordering;
use std::time::Duration;

use vhdx::{Piece, Qcow2, Qcow2Error, Reader, Source, SourceError};

use crate::place::{Place, Spot};

const MIB: u64 = 1 << 20;
/// No whole number of clusters of any size.
const SIZE: u64 = 37 * MIB + 3 * 512;

fn spots() -> Vec<Spot> {
    let mut spots = vec![
        Spot::noise(0, 700),
        Spot::lines(MIB, 5 << 20),
        Spot::noise(8 * MIB - 1000, 3_000_000),
        Spot::lines(20 * MIB + 511, 2),
        Spot::noise(SIZE - 1, 1),
    ];
    // Every other cluster of 64 KiB.
    spots.extend((0..16).map(|index| Spot::lines(24 * MIB + index * (128 << 10), 64 << 10)));
    spots
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn images_of_every_kind_become_the_same_disk() {
    let Some(place) = Place::with_qemu() else { return };
    place.raw("source.raw", SIZE, &spots());
    let kinds = [
        "-o compat=0.10",
        "-o compat=0.10,cluster_size=512",
        "-c -o compat=0.10",
        "-c -o compat=0.10,cluster_size=4k",
        "-o cluster_size=512",
        "-o cluster_size=1k",
        "-o cluster_size=4k",
        "-o cluster_size=64k",
        "-o cluster_size=1M",
        "-o cluster_size=2M",
        "-o lazy_refcounts=on,refcount_bits=1",
        "-o preallocation=metadata",
        "-o preallocation=falloc",
        "-o preallocation=full,cluster_size=2M",
        "-c",
        "-c -o cluster_size=512",
        "-c -o cluster_size=4k",
        "-c -o cluster_size=2M",
        "-c -o compression_type=zstd",
        "-c -o compression_type=zstd,cluster_size=512",
        "-c -o compression_type=zstd,cluster_size=4k",
        "-c -o compression_type=zstd,cluster_size=2M",
        "-o compression_type=zstd",
        "-o extended_l2=on",
        "-o extended_l2=on,cluster_size=16k",
        "-o extended_l2=on,cluster_size=2M",
        "-o extended_l2=on,preallocation=metadata",
        "-c -o extended_l2=on,cluster_size=128k",
        "-c -o extended_l2=on,compression_type=zstd",
    ];
    for (index, kind) in kinds.into_iter().enumerate() {
        let (image, disk) = (format!("{index}.qcow2"), format!("{index}.vhdx"));
        place.qemu_img(&format!("convert -f raw -O qcow2 {kind} source.raw {image}"));
        let mut source = place.qcow2(&image).await;
        assert_eq!(source.size(), SIZE, "{kind}");
        place.write(&mut source, &disk, |disk| disk).await;
        place.is_same("qcow2", &image, &disk);
        place.is_same("raw", "source.raw", &disk);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_an_image_with_snapshots_the_current_state_is_taken() {
    let Some(place) = Place::with_qemu() else { return };
    place.raw("source.raw", SIZE, &spots());
    for (index, kind) in ["-c", "-o extended_l2=on", "-o compat=0.10"]
        .into_iter()
        .enumerate()
    {
        let (image, disk) = (format!("{index}.qcow2"), format!("{index}.vhdx"));
        place.qemu_img(&format!("convert -f raw -O qcow2 {kind} source.raw {image}"));
        place.qemu_img(&format!("snapshot -c before {image}"));
        // Over compressed clusters, over parts of clusters, and into holes.
        place.qemu_io(
            &image,
            &[
                "write -P 5 1M 100k",
                "write -P 6 1300k 512",
                "write -P 7 35M 3k",
                "write -P 8 9M 1M",
            ],
        );
        place.qemu_img(&format!("snapshot -c between {image}"));
        place.qemu_io(&image, &["write -P 9 1M 4k", "write -z 8M 128k", "discard 3M 1M"]);
        place
            .write(&mut place.qcow2(&image).await, &disk, |disk| disk)
            .await;
        place.is_same("qcow2", &image, &disk);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn parts_of_clusters_that_are_there_zeros_or_missing_are_told_apart() {
    let Some(place) = Place::with_qemu() else { return };
    for cluster in ["16k", "64k", "2M"] {
        let (image, disk) = (format!("{cluster}.qcow2"), format!("{cluster}.vhdx"));
        place.qemu_img(&format!(
            "create -q -f qcow2 -o extended_l2=on,cluster_size={cluster} {image} {SIZE}"
        ));
        let mut commands: Vec<String> = (0..60_u64)
            .map(|index| {
                format!(
                    "write -P {} {} {}",
                    index + 1,
                    index * 311_296,
                    512 * (1 + index * 13 % 90)
                )
            })
            .collect();
        commands.extend(
            (0..40_u64).map(|index| format!("write -z {} {}", index * 417_792, 2048 * (1 + index % 9))),
        );
        commands.push(format!("write -P 99 {} 512", SIZE - 512));
        let commands: Vec<&str> = commands.iter().map(String::as_str).collect();
        place.qemu_io(&image, &commands);
        place
            .write(&mut place.qcow2(&image).await, &disk, |disk| disk)
            .await;
        place.is_same("qcow2", &image, &disk);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clusters_said_to_be_zeros_are_holes_whatever_they_hold() {
    let Some(place) = Place::with_qemu() else { return };
    place.qemu_img("create -q -f qcow2 zeros.qcow2 64M");
    place.qemu_io(
        "zeros.qcow2",
        &[
            "write -P 1 0 32M",
            "write -z 1M 20M",
            "discard 25M 2M",
            "write -z 63M 1M",
        ],
    );
    let written = place
        .write(&mut place.qcow2("zeros.qcow2").await, "zeros.vhdx", |disk| disk)
        .await;
    assert_eq!(written.blocks, 10);
    place.is_same("qcow2", "zeros.qcow2", "zeros.vhdx");
}

/// 3 TiB: QEMU would take minutes to compare them, so only what is there is.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_a_large_image_with_little_in_it_little_is_read() {
    let Some(place) = Place::with_qemu() else { return };
    place.qemu_img("create -q -f qcow2 large.qcow2 3T");
    let last = (3 << 40) - 512;
    let written = [(5 << 30, 70 << 10, 1), (2 << 40, 1, 2), (last, 512, 3)];
    for (at, length, value) in written {
        place.qemu_io("large.qcow2", &[&format!("write -P {value} {at} {length}")]);
    }
    let file = place.counted("large.qcow2").await;
    let mut source = Qcow2::open(file.clone()).await.unwrap();
    let sent = place.write(&mut source, "large.vhdx", |disk| disk).await;
    assert_eq!(sent.blocks, 3);
    let read = file.bytes.load(Ordering::SeqCst);
    assert!(read < MIB, "{read} bytes were read");
    place.qemu_img("check -q -f vhdx large.vhdx");
    for (at, length, value) in written {
        place.qemu_io("large.vhdx", &[&format!("read -P {value} {at} {length}")]);
    }
    let reader = Reader::open(place.local("large.vhdx").await).await.unwrap();
    let mut pieces = reader.pieces();
    let mut found = Vec::new();
    while let Some(piece) = pieces.next().await.unwrap() {
        let first = piece.bytes.iter().position(|byte| *byte != 0);
        found.extend(first.map(|first| (piece.offset + first as u64, piece.bytes[first])));
    }
    assert_eq!(found, written.map(|(at, _, value)| (at, value)));
}

/// All pieces, each asked for with so much patience as `patience` says for that try; whoever ran out of it asks again.
async fn impatiently(source: &mut dyn Source, patience: impl Fn(u64) -> Duration) -> Vec<Piece> {
    let mut pieces = Vec::new();
    for attempt in 0.. {
        match tokio::time::timeout(patience(attempt), source.next()).await {
            Ok(piece) => match piece.unwrap() {
                Some(piece) => pieces.push(piece),
                None => break,
            },
            Err(_) => continue,
        }
    }
    pieces
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_stops_waiting_for_a_piece_loses_none() {
    let Some(place) = Place::with_qemu() else { return };
    place.raw("source.raw", SIZE, &spots());
    place.qemu_img("convert -f raw -O qcow2 -c -o cluster_size=4k source.raw image.qcow2");
    place.qemu_img("convert -f raw -O vhdx -o block_size=1M source.raw image.vhdx");
    let patient = |_| Duration::from_secs(60);
    let short = |attempt: u64| Duration::from_micros(attempt % 64 * 16);
    let whole = impatiently(&mut place.qcow2("image.qcow2").await, patient).await;
    assert!(whole.len() > 10);
    assert!(impatiently(&mut place.qcow2("image.qcow2").await, short).await == whole);
    let whole = impatiently(&mut place.raw_file("source.raw").await, patient).await;
    assert!(impatiently(&mut place.raw_file("source.raw").await, short).await == whole);
    let reader = || async { Reader::open(place.local("image.vhdx").await).await.unwrap() };
    let whole = impatiently(&mut reader().await.pieces(), patient).await;
    assert!(impatiently(&mut reader().await.pieces(), short).await == whole);
}

async fn refused(place: &Place, image: &str) -> Qcow2Error {
    Qcow2::open(place.local(image).await).await.err().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn images_that_are_not_whole_or_not_readable_are_refused_with_a_way_out() {
    let Some(place) = Place::with_qemu() else { return };
    place.qemu_img("create -q -f qcow2 base.qcow2 64M");
    place.qemu_img("create -q -f qcow2 -F qcow2 -b base.qcow2 child.qcow2");
    let error = refused(&place, "child.qcow2").await;
    assert!(matches!(error, Qcow2Error::Backing));
    assert!(error.to_string().contains("qemu-img convert"), "{error}");

    place.qemu_img("create -q -f qcow2 -o data_file=data.raw,data_file_raw=on outside.qcow2 64M");
    assert!(matches!(
        refused(&place, "outside.qcow2").await,
        Qcow2Error::DataFile
    ));

    place.qemu_img(
        "create -q --object secret,id=s,data=secret -f qcow2 \
         -o encrypt.format=luks,encrypt.key-secret=s,encrypt.iter-time=10 secret.qcow2 64M",
    );
    assert!(matches!(
        refused(&place, "secret.qcow2").await,
        Qcow2Error::Encrypted
    ));

    place.raw("other.raw", MIB, &[]);
    assert!(matches!(refused(&place, "other.raw").await, Qcow2Error::NotQcow2));

    place.qemu_img("create -q -f qcow other.qcow 64M");
    assert!(matches!(
        refused(&place, "other.qcow").await,
        Qcow2Error::Version(1)
    ));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_image_that_was_cut_short_is_an_error_and_no_disk() {
    let Some(place) = Place::with_qemu() else { return };
    place.raw("source.raw", SIZE, &spots());
    for kind in ["-c", "-o cluster_size=64k", "-c -o compression_type=zstd"] {
        place.qemu_img(&format!("convert -f raw -O qcow2 {kind} source.raw whole.qcow2"));
        let whole = std::fs::read(place.path("whole.qcow2")).unwrap();
        for part in [10, 50, 90] {
            let name = format!("cut{part}.qcow2");
            std::fs::write(place.path(&name), &whole[..whole.len() * part / 100]).unwrap();
            let error = match Qcow2::open(place.local(&name).await).await {
                Err(error) => error.to_string(),
                Ok(mut source) => all(&mut source).await.unwrap_err().to_string(),
            };
            assert!(
                error.contains("damaged or cut short") || error.contains("damaged:"),
                "{error}"
            );
        }
    }
}

async fn all(source: &mut dyn Source) -> Result<u64, SourceError> {
    let mut sum = 0;
    while let Some(piece) = source.next().await? {
        sum += piece.bytes.len() as u64;
    }
    Ok(sum)
}
