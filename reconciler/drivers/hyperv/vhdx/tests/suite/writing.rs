//! Disks of raw images, judged by QEMU.

use proptest::prelude::*;
use vhdx::{BlockSize, Disk, Info, Kind, RawStream, Reader, SectorSize, Writer};

use crate::place::{IDENTITY, Place, Spot, Unsynced};

const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;

struct Case {
    size: u64,
    block_mib: u32,
    spots: Vec<Spot>,
}

fn case(size: u64, block_mib: u32, spots: &[(u64, usize)]) -> Case {
    let spots = spots
        .iter()
        .map(|(at, length)| Spot::noise(*at, *length))
        .collect();
    Case {
        size,
        block_mib,
        spots,
    }
}

/// Each is written with blocks of that size and compared.
fn table() -> Vec<Case> {
    let mut cases = vec![
        // Nothing in it.
        case(64 * MIB, 1, &[]),
        case(64 * MIB, 32, &[]),
        // One sector.
        case(512, 1, &[(0, 512)]),
        case(512, 256, &[(100, 1)]),
        // No whole number of blocks, of MiB or of sectors.
        case(33 * MIB + 512, 32, &[(0, 1), (33 * MIB, 512)]),
        case(33 * MIB + 7, 1, &[(32 * MIB - 3, 9), (33 * MIB + 6, 1)]),
        case(MIB - 512, 1, &[(MIB - 513, 1)]),
        case(3 * MIB, 2, &[(0, 3 << 20)]),
        // Data on both sides of the borders of blocks and grains.
        case(
            20 * MIB,
            1,
            &[(MIB - 1, 2), (5 * MIB + 65_535, 2), (19 * MIB, 1 << 20)],
        ),
        // 2 GiB with little in it.
        case(
            2 * GIB,
            1,
            &[(0, 4096), (GIB + 12_345, 3_000_000), (2 * GIB - 1, 1)],
        ),
    ];
    // One chunk of 4 GiB and a part of another, two and a part of a third: behind each is a sector bitmap's entry.
    for (block_mib, chunks) in [(1, 1), (256, 2)] {
        let end = chunks * 4 * GIB;
        let spots = [
            (17, 100),
            (4 * GIB - 4096, 8192),
            (end - 1, 2),
            (end + 5 * MIB + 5, 5_000_000),
            (end + 200 * MIB - 1, 1),
        ];
        cases.push(case(end + 200 * MIB, block_mib, &spots));
    }
    cases
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn qemu_finds_in_each_disk_what_is_in_its_image() {
    let Some(place) = Place::with_qemu() else { return };
    for (index, case) in table().into_iter().enumerate() {
        let (raw, disk) = (format!("{index}.raw"), format!("{index}.vhdx"));
        place.raw(&raw, case.size, &case.spots);
        let block = BlockSize::new(case.block_mib << 20).unwrap();
        let mut source = place.raw_file(&raw).await;
        let written = place
            .write(&mut source, &disk, |disk| disk.with_blocks(block))
            .await;
        // Of a raw image QEMU reads the holes too, so it makes itself one in which it sees them.
        place.qemu_img(&format!("convert -f raw -O qcow2 {raw} {index}.qcow2"));
        place.is_same("qcow2", &format!("{index}.qcow2"), &disk);
        let info = Info::read(&*place.local(&disk).await).await.unwrap();
        assert_eq!(info.kind, Kind::Dynamic);
        assert_eq!(info.size, case.size.next_multiple_of(512));
        assert_eq!(info.block_size, block);
        assert_eq!(info.identity, IDENTITY);
        let said = place.qemu_img(&format!("info --output=json -f vhdx {disk}"));
        assert!(
            said.contains(&format!("\"virtual-size\": {}", info.size)),
            "{said}"
        );
        // What is sent follows the content: each spot costs two grains more at most, the file itself 2 MiB.
        let content: u64 = case
            .spots
            .iter()
            .map(|spot| spot.length as u64 + (128 << 10))
            .sum();
        assert!(written.bytes < content + 2 * MIB, "{written:?} of {content}");
    }
}

/// QEMU reads no disks of such sectors, so this one is read back.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_disk_of_large_sectors_says_so() {
    let Some(place) = Place::with_qemu() else { return };
    place.raw("large.raw", 40 * MIB, &[Spot::noise(39 * MIB, 5000)]);
    let mut source = place.raw_file("large.raw").await;
    let large = |disk: Disk| disk.with_sectors(SectorSize::B4096, SectorSize::B4096).unwrap();
    place.write(&mut source, "large.vhdx", large).await;
    let reader = Reader::open(place.local("large.vhdx").await).await.unwrap();
    assert_eq!(reader.info().logical_sector, SectorSize::B4096);
    assert_eq!(reader.info().physical_sector, SectorSize::B4096);
    let raw = std::fs::read(place.path("large.raw")).unwrap();
    assert!(reader.read_at(0, raw.len()).await.unwrap() == raw);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_in_chunks_of_any_length_becomes_the_same_disk() {
    let Some(place) = Place::with_qemu() else { return };
    place.raw(
        "stream.raw",
        21 * MIB + 300,
        &[Spot::noise(77, 2_000_000), Spot::lines(20 * MIB, 1_000_000)],
    );
    let bytes = bytes::Bytes::from(std::fs::read(place.path("stream.raw")).unwrap());
    let mut chunks = Vec::new();
    let mut at = 0;
    while at < bytes.len() {
        let end = (at + 1 + at * 7919 % 200_000).min(bytes.len());
        chunks.push(Ok(bytes.slice(at..end)));
        at = end;
    }
    let mut source = RawStream::new(futures::stream::iter(chunks), bytes.len() as u64);
    place.write(&mut source, "stream.vhdx", |disk| disk).await;
    place.is_same("raw", "stream.raw", "stream.vhdx");
}

fn spots() -> impl Strategy<Value = Vec<Spot>> {
    let spot = (
        0..40 * MIB,
        prop_oneof![1..100_usize, 1..3_000_000_usize],
        any::<bool>(),
    );
    let spot = spot.prop_map(|(at, length, noise)| {
        let length = length.min((40 * MIB - at) as usize);
        if noise {
            Spot::noise(at, length)
        } else {
            Spot::lines(at, length)
        }
    });
    prop::collection::vec(spot, 0..6)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn any_pattern_comes_through(spots in spots(), block in 0..7_u32, cut in 0..MIB) {
        let Some(place) = Place::with_qemu() else { return Ok(()) };
        let runtime = tokio::runtime::Runtime::new().unwrap();
        runtime.block_on(async {
            place.raw("any.raw", 40 * MIB + cut, &spots);
            let block = BlockSize::new(1 << (20 + block)).unwrap();
            let mut source = place.raw_file("any.raw").await;
            place.write(&mut source, "any.vhdx", |disk| disk.with_blocks(block)).await;
            place.is_same("raw", "any.raw", "any.vhdx");
        });
    }
}

/// The writer takes no more than there is room for, and the same disk comes out.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn little_room_makes_the_same_disk() {
    let Some(place) = Place::with_qemu() else { return };
    place.raw("room.raw", 30 * MIB, &[Spot::noise(MIB, 20 << 20)]);
    let mut source = place.raw_file("room.raw").await;
    let disk = Disk::holding(30 * MIB, IDENTITY).unwrap();
    let target = Unsynced::create_new(place.path("room.vhdx")).await;
    let writer = Writer::new(std::sync::Arc::new(target), disk).with_room(2 << 20);
    let written = vhdx::convert(&mut source, writer).await.unwrap();
    assert!(written.held <= 2 << 20, "{written:?}");
    place.is_same("raw", "room.raw", "room.vhdx");
}
