//! Disks that QEMU wrote, read by this crate.

use vhdx::{BlockSize, Info, Kind, Reader, Source};

use crate::place::{Place, Spot};

const MIB: u64 = 1 << 20;
const SIZE: u64 = 75 * MIB + 512;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn disks_that_qemu_made_are_read() {
    let Some(place) = Place::with_qemu() else { return };
    let spots = [
        Spot::noise(5, 100),
        Spot::noise(31 * MIB, 3 << 20),
        Spot::lines(SIZE - 9, 9),
    ];
    place.raw("source.raw", SIZE, &spots);
    let raw = std::fs::read(place.path("source.raw")).unwrap();
    for (index, (kind, options)) in [
        (Kind::Dynamic, "subformat=dynamic"),
        (Kind::Dynamic, "subformat=dynamic,block_size=1M"),
        (
            Kind::Dynamic,
            "subformat=dynamic,block_state_zero=off,log_size=4M",
        ),
        (Kind::Dynamic, "subformat=dynamic,block_size=256M"),
        (Kind::Fixed, "subformat=fixed"),
        (Kind::Fixed, "subformat=fixed,block_size=2M"),
    ]
    .into_iter()
    .enumerate()
    {
        let (theirs, ours) = (format!("{index}.vhdx"), format!("ours{index}.vhdx"));
        place.qemu_img(&format!(
            "convert -f raw -O vhdx -o {options} source.raw {theirs}"
        ));
        let reader = Reader::open(place.local(&theirs).await).await.unwrap();
        assert_eq!(reader.info().kind, kind);
        assert_eq!(reader.info().size, SIZE);
        assert!(
            reader.info().creator.starts_with("QEMU"),
            "{}",
            reader.info().creator
        );
        for (from, to) in [(0, 4096), (30 * MIB, 35 * MIB), (SIZE - 100, SIZE)] {
            let bytes = reader.read_at(from, (to - from) as usize).await.unwrap();
            assert!(bytes == raw[from as usize..to as usize], "{options} from {from}");
        }
        // As a source, into a disk of ours.
        let mut pieces = reader.pieces();
        assert_eq!(pieces.size(), SIZE);
        place
            .write(&mut pieces, &ours, |disk| disk.with_blocks(BlockSize::HYPER_V))
            .await;
        place.is_same("raw", "source.raw", &ours);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_disk_of_ours_that_qemu_wrote_to_is_read() {
    let Some(place) = Place::with_qemu() else { return };
    place.raw("source.raw", SIZE, &[Spot::noise(20 * MIB, 1 << 20)]);
    let mut source = place.raw_file("source.raw").await;
    place.write(&mut source, "disk.vhdx", |disk| disk).await;
    let before = Info::read(&*place.local("disk.vhdx").await).await.unwrap();
    // Into a block that is there, and into a hole.
    let commands = ["write -P 7 20M 4k", "write -P 8 50M 4k"];
    place.qemu_io("source.raw", &commands);
    place.qemu_io("disk.vhdx", &commands);
    place.is_same("raw", "source.raw", "disk.vhdx");
    let reader = Reader::open(place.local("disk.vhdx").await).await.unwrap();
    // A child that was made before would know its parent no longer.
    assert_ne!(reader.info().identity.data_write, before.identity.data_write);
    assert_eq!(reader.info().identity.disk, before.identity.disk);
    let raw = std::fs::read(place.path("source.raw")).unwrap();
    let bytes = reader.read_at(0, SIZE as usize).await.unwrap();
    assert!(bytes == raw);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_image_of_another_kind_is_no_vhdx() {
    let Some(place) = Place::with_qemu() else { return };
    place.qemu_img("create -q -f qcow2 image.qcow2 10M");
    place.qemu_img("create -q -f vpc image.vhd 10M");
    for image in ["image.qcow2", "image.vhd"] {
        let error = Info::read(&*place.local(image).await).await.unwrap_err();
        assert!(matches!(error, vhdx::VhdxError::NotVhdx), "{error}");
    }
}
