//! Images of 8 GiB.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use bytes::Bytes;
use uuid::Uuid;
use vhdx::{Disk, Identity, RawFile, ReadAt, Source, WriteAt, Writer, Written, convert};

use crate::{alone, counted};

const GIB: u64 = 1 << 30;
const MIB: u64 = 1 << 20;

/// 8 GiB, of which each sixteenth MiB is something.
struct Sparse;

#[async_trait]
impl ReadAt for Sparse {
    async fn length(&self) -> io::Result<u64> {
        Ok(8 * GIB)
    }

    async fn read_at(&self, offset: u64, length: usize) -> io::Result<Bytes> {
        let fill = u8::from((offset / MIB).is_multiple_of(16));
        Ok(vec![fill; length].into())
    }

    async fn next_data(&self, offset: u64) -> io::Result<u64> {
        let within = offset % (16 * MIB);
        Ok(if within < MIB {
            offset
        } else {
            offset - within + 16 * MIB
        })
    }
}

/// A target that is slower than any source.
#[derive(Default)]
struct Slow(AtomicU64);

#[async_trait]
impl WriteAt for Slow {
    async fn write_at(&self, _: u64, bytes: Bytes) -> io::Result<()> {
        for _ in 0..10 {
            tokio::task::yield_now().await;
        }
        self.0.fetch_add(bytes.len() as u64, Ordering::SeqCst);
        Ok(())
    }

    async fn flush(&self) -> io::Result<()> {
        Ok(())
    }
}

fn disk(size: u64) -> Disk {
    let identity = Identity {
        disk: Uuid::from_u128(1),
        file_write: Uuid::from_u128(2),
        data_write: Uuid::from_u128(3),
    };
    Disk::holding(size, identity).unwrap()
}

fn write(source: &mut dyn Source, room: usize) -> (Written, usize) {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    counted(|| {
        runtime.block_on(async {
            let writer = Writer::new(Arc::new(Slow::default()), disk(source.size())).with_room(room);
            convert(source, writer).await.unwrap()
        })
    })
}

#[test]
fn a_raw_image_of_8_gib_is_never_held() {
    let _alone = alone();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    for room in [4 << 20, Writer::ROOM] {
        let mut source = runtime.block_on(RawFile::open(Arc::new(Sparse))).unwrap();
        let (written, peak) = write(&mut source, room);
        assert_eq!(written.blocks, 512);
        assert!(written.bytes >= 512 * MIB, "{written:?}");
        assert!(written.held <= room, "{written:?}");
        // The writer's room, four pieces of the source, one between them, and 64 KiB of block table.
        assert!(peak < room + (6 << 20), "{peak} bytes with room for {room}");
        println!(
            "raw, room {room}: {peak} bytes held at most, {} by the writer",
            written.held
        );
    }
}

#[test]
fn a_compressed_image_of_8_gib_is_never_held() {
    let place = tempfile::tempdir().unwrap();
    let run = |program: &str, arguments: &[&str]| {
        let mut command = std::process::Command::new(program);
        command.args(arguments).current_dir(place.path()).output()
    };
    if let Err(error) = run("qemu-img", &["--version"]) {
        let said = format!("qemu-img cannot be run ({error}; Debian: qemu-utils), no large image is made");
        assert!(std::env::var_os("CI").is_none_or(|ci| ci != "true"), "{said}");
        eprintln!("SKIPPED: {said}");
        return;
    }
    let _alone = alone();
    let raw = std::fs::File::create(place.path().join("source.raw")).unwrap();
    raw.set_len(8 * GIB).unwrap();
    for index in 0..64_u64 {
        let bytes: Vec<u8> = (0..1_u64 << 20).map(|at| (at / 97 + index) as u8 | 1).collect();
        std::os::unix::fs::FileExt::write_all_at(&raw, &bytes, index * 128 * MIB).unwrap();
    }
    for (options, cluster) in [
        ("cluster_size=64k", 64 << 10),
        ("cluster_size=2M,compression_type=zstd", 2 << 20),
    ] {
        let arguments = [
            "convert",
            "-c",
            "-O",
            "qcow2",
            "-o",
            options,
            "source.raw",
            "image.qcow2",
        ];
        let made = run("qemu-img", &arguments).unwrap();
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let file = std::fs::File::open(place.path().join("image.qcow2")).unwrap();
        let file = Arc::new(vhdx::LocalFile::from(file));
        let mut source = runtime.block_on(vhdx::Qcow2::open(file)).unwrap();
        let room = 4 << 20;
        let (written, peak) = write(&mut source, room);
        assert_eq!(written.blocks, 64);
        assert!(written.held <= room.max(cluster), "{written:?}");
        // The writer's room and a piece before it, four pieces with what they are unpacked from and (zstd) their windows.
        let piece = cluster.max(1 << 20);
        assert!(
            peak < room + 5 * piece + 4 * (3 * piece),
            "{peak} bytes with {options}"
        );
        println!(
            "qcow2 {options}: {peak} bytes held at most, {} by the writer",
            written.held
        );
    }
}
