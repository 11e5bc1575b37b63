//! Random changes to good files, for a few seconds: nothing may panic, and nothing may hold more than its bound. The seed is
//! printed; `VHDX_FUZZ_SEED` repeats a run, `VHDX_FUZZ_SECONDS` makes it longer.

use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use bytes::Bytes;
use uuid::Uuid;
use vhdx::{Disk, Identity, Info, Qcow2, Reader, Source, WriteAt, Writer};

use crate::mutated::{Mutated, Random};
use crate::{alone, counted};

/// What reading any file may hold: four pieces of 2 MiB, each with what it is unpacked from and a window of zstd.
const BOUND: usize = 64 << 20;
/// A file may say that it is as large as it likes; so much of it is read.
const PIECES: usize = 64;

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .build()
        .unwrap()
}

fn time() -> Duration {
    let given = std::env::var("VHDX_FUZZ_SECONDS")
        .ok()
        .and_then(|seconds| seconds.parse().ok());
    Duration::from_secs(given.unwrap_or(5))
}

/// Runs cases until the time is over. `case` says whether the file was read to its end, or as far as anybody wanted.
fn fuzz(mut case: impl FnMut(&mut Random) -> bool) {
    let mut random = Random::seeded();
    let (start, mut read, mut refused) = (Instant::now(), 0, 0);
    // On a busy machine a little longer, until there is something to judge by.
    while start.elapsed() < time() || (read.min(refused) <= 20 && start.elapsed() < 10 * time()) {
        let (whole, held) = counted(|| case(&mut random));
        assert!(held < BOUND, "{held} bytes were held");
        if whole {
            read += 1;
        } else {
            refused += 1;
        }
    }
    println!("{read} files were read, {refused} refused");
    // Both ends are reached, so the changes are neither harmless nor fatal at the first byte.
    assert!(read > 20 && refused > 20, "{read} read, {refused} refused");
}

async fn take(source: &mut dyn Source) -> bool {
    for _ in 0..PIECES {
        match source.next().await {
            Ok(Some(piece)) => {
                assert!(piece.bytes.len() <= 2 << 20);
                assert!(piece.offset + piece.bytes.len() as u64 <= source.size());
            }
            Ok(None) => return true,
            Err(error) => {
                assert!(!error.to_string().contains("panic"), "{error}");
                return false;
            }
        }
    }
    true
}

#[derive(Default)]
struct Memory(Mutex<Vec<u8>>);

#[async_trait]
impl WriteAt for Memory {
    async fn write_at(&self, offset: u64, bytes: Bytes) -> std::io::Result<()> {
        let mut file = self.0.lock().unwrap();
        let (from, to) = (offset as usize, offset as usize + bytes.len());
        let length = file.len().max(to);
        file.resize(length, 0);
        file[from..to].copy_from_slice(&bytes);
        Ok(())
    }

    async fn flush(&self) -> std::io::Result<()> {
        Ok(())
    }
}

/// 20 MiB, every third of which is something.
async fn disk() -> Bytes {
    let identity = Identity {
        disk: Uuid::from_u128(1),
        file_write: Uuid::from_u128(2),
        data_write: Uuid::from_u128(3),
    };
    let target = Arc::new(Memory::default());
    let disk = Disk::holding(20 << 20, identity).unwrap();
    let mut writer = Writer::new(Arc::clone(&target) as Arc<dyn WriteAt>, disk);
    for block in (0..20).step_by(3) {
        writer
            .write(block << 20, vec![block as u8 + 1; 1 << 20].into())
            .await
            .unwrap();
    }
    writer.finish().await.unwrap();
    let file = std::mem::take(&mut *target.0.lock().unwrap());
    file.into()
}

#[test]
fn no_vhdx_ends_the_program_or_takes_its_memory() {
    let _alone = alone();
    let runtime = runtime();
    let good = runtime.block_on(disk());
    let places = [
        (0, 520),
        (64 << 10, 80),
        (128 << 10, 80),
        (192 << 10, 80),
        (256 << 10, 80),
        // The metadata's table and items, and the BAT twice, for the depth of it.
        (2 << 20, 200),
        ((2 << 20) + (64 << 10), 40),
        (3 << 20, 160),
        (3 << 20, 160),
    ];
    fuzz(|random| {
        let mut file = Mutated::new(good.clone());
        file.change(random, &places);
        if random.below(10) > 0 {
            for (offset, length) in [(64, 4096), (128, 4096), (192, 64 << 10), (256, 64 << 10)] {
                file.seal(offset << 10, length);
            }
        }
        let (offset, length) = (random.next() >> random.below(64), random.below(1 << 20));
        runtime.block_on(async {
            let file = Arc::new(file);
            let info = Info::read(&*file).await;
            let Ok(reader) = Reader::open(file).await else {
                return false;
            };
            assert!(info.is_ok());
            let _ = reader.read_at(offset, length as usize).await;
            take(&mut reader.pieces()).await
        })
    });
}

/// Images of every kind that QEMU makes; none where it is missing.
fn images() -> Vec<Bytes> {
    let place = tempfile::tempdir().unwrap();
    let content: Vec<u8> = (0..6_u32 << 20)
        .map(|at| {
            let block = at >> 18;
            if block.is_multiple_of(3) {
                0
            } else {
                (at.wrapping_mul(2_654_435_761) >> (20 + block % 7)) as u8
            }
        })
        .collect();
    std::fs::write(place.path().join("source.raw"), content).unwrap();
    let kinds = [
        vec!["-o", "compat=0.10"],
        vec!["-o", "cluster_size=4k"],
        vec!["-c"],
        vec!["-c", "-o", "compression_type=zstd"],
        vec!["-c", "-o", "cluster_size=2M,compression_type=zstd"],
        vec!["-o", "extended_l2=on,cluster_size=16k"],
    ];
    let mut images = Vec::new();
    for kind in kinds {
        let mut command = Command::new("qemu-img");
        command.args(["convert", "-f", "raw", "-O", "qcow2"]).args(kind);
        match command
            .args(["source.raw", "image.qcow2"])
            .current_dir(place.path())
            .output()
        {
            Ok(output) => assert!(
                output.status.success(),
                "{}",
                String::from_utf8_lossy(&output.stderr)
            ),
            Err(error) => {
                let said = format!(
                    "qemu-img cannot be run ({error}; Debian: qemu-utils), no qcow2 image is changed"
                );
                assert!(std::env::var_os("CI").is_none_or(|ci| ci != "true"), "{said}");
                eprintln!("SKIPPED: {said}");
                return Vec::new();
            }
        }
        images.push(std::fs::read(place.path().join("image.qcow2")).unwrap().into());
    }
    images
}

/// Where the header, the L1 table and the first L2 table are, and everything.
fn places(image: &Bytes) -> Vec<(u64, u64)> {
    let number = |at: u64| {
        let at = at as usize;
        u64::from_be_bytes(image[at..at + 8].try_into().unwrap())
    };
    let l1 = number(40);
    let l2 = number(l1) & 0x00ff_ffff_ffff_fe00;
    let whole = (0, image.len() as u64 - 8);
    // The header from the cluster size on: its magic and its refusals are soon known.
    vec![
        (20, 92),
        (l1, 16),
        (l1, 8),
        (l2, 512),
        (l2, 64),
        (l2, 64),
        whole,
        whole,
    ]
}

#[test]
fn no_qcow2_image_ends_the_program_or_takes_its_memory() {
    let images = images();
    if images.is_empty() {
        return;
    }
    let _alone = alone();
    let runtime = runtime();
    fuzz(|random| {
        let image = &images[random.below(images.len() as u64) as usize];
        let mut file = Mutated::new(image.clone());
        file.change(random, &places(image));
        runtime.block_on(async {
            match Qcow2::open(Arc::new(file)).await {
                Ok(mut source) => take(&mut source).await,
                Err(_) => false,
            }
        })
    });
}
