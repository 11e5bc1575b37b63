use std::process::Command;

use proptest::prelude::*;

use super::*;

/// A qcow2 header made by hand after the format's own description; tests change single fields.
fn qcow2(version: u32) -> Vec<u8> {
    let mut bytes = vec![0; 512];
    bytes[..4].copy_from_slice(b"QFI\xfb");
    put32(&mut bytes, 4, version);
    put32(&mut bytes, 20, 16); // clusters of 64 KiB
    put64(&mut bytes, 24, 10 << 30); // virtual size
    put32(&mut bytes, 36, 20); // L1 entries: 512 MiB each
    put64(&mut bytes, 40, 0x30000); // L1 table
    put32(&mut bytes, 100, 104); // header length
    bytes
}

fn put32(bytes: &mut [u8], at: usize, value: u32) {
    bytes[at..at + 4].copy_from_slice(&value.to_be_bytes());
}

fn put64(bytes: &mut [u8], at: usize, value: u64) {
    bytes[at..at + 8].copy_from_slice(&value.to_be_bytes());
}

fn with(change: impl FnOnce(&mut Vec<u8>)) -> Result<ImageHeader, HeaderError> {
    let mut bytes = qcow2(3);
    change(&mut bytes);
    header(&bytes, 1 << 20)
}

/// Feeds `bytes` as a reader would: never more than asked for.
fn header(bytes: &[u8], length: u64) -> Result<ImageHeader, HeaderError> {
    let mut have = 0;
    loop {
        match detect(&bytes[..have], have == bytes.len())? {
            Detected::Found(layout) => return layout.with_length(length),
            Detected::NeedMore(wanted) => {
                assert!(
                    wanted > have && wanted <= MOST_NEEDED,
                    "asked for {wanted} with {have} at hand"
                );
                have = wanted.min(bytes.len());
            }
        }
    }
}

#[test]
fn both_versions_of_qcow2_are_read() {
    let expected = ImageHeader {
        format: ImageFormat::Qcow2,
        virtual_size: 10 << 30,
    };
    assert_eq!(header(&qcow2(2), 1 << 20), Ok(expected));
    assert_eq!(header(&qcow2(3), 1 << 20), Ok(expected));
}

#[test]
fn a_qcow2_header_is_decided_from_its_first_104_bytes() {
    let bytes = qcow2(3);
    assert_eq!(detect(&bytes[..68], false), Ok(Detected::NeedMore(72)));
    assert_eq!(detect(&bytes[..72], false), Ok(Detected::NeedMore(104)));
    assert!(matches!(detect(&bytes[..104], false), Ok(Detected::Found(_))));
}

#[test]
fn qcow2_that_is_not_complete_in_itself_is_refused() {
    assert_eq!(
        with(|b| {
            put64(b, 8, 0x68 + 8);
            put32(b, 16, 8);
            b[0x70..0x78].copy_from_slice(b"base.img");
        }),
        Err(HeaderError::BackingFile("base.img".into()))
    );
    assert_eq!(
        with(|b| put64(b, 8, u64::MAX)),
        Err(HeaderError::BackingFile("?".into()))
    );
    assert_eq!(with(|b| put64(b, 72, 4)), Err(HeaderError::ExternalDataFile));
    assert_eq!(with(|b| put32(b, 32, 2)), Err(HeaderError::Encrypted));
    assert_eq!(with(|b| put64(b, 72, 2)), Err(HeaderError::Corrupt));
    assert_eq!(
        with(|b| put64(b, 72, 1 << 40)),
        Err(HeaderError::UnknownFeatures(1 << 40))
    );
    assert_eq!(with(|b| put32(b, 4, 1)), Err(HeaderError::Version(1)));
    assert_eq!(with(|b| put32(b, 4, 4)), Err(HeaderError::Version(4)));
}

#[test]
fn dirty_and_newer_layouts_that_qemu_reads_are_accepted() {
    assert!(with(|b| put64(b, 72, 1 | 8)).is_ok());
    assert!(
        with(|b| {
            put64(b, 72, 16);
            put32(b, 36, 40);
        })
        .is_ok()
    );
}

#[test]
fn absurd_qcow2_fields_are_refused() {
    let not_credible = |result| matches!(result, Err(HeaderError::NotCredible(_)));
    assert!(not_credible(with(|b| put64(b, 24, 0))));
    assert!(not_credible(with(|b| put64(b, 24, u64::MAX))));
    assert!(not_credible(with(|b| put32(b, 20, 63))));
    assert!(not_credible(with(|b| put32(b, 20, 8))));
    assert!(not_credible(with(|b| put32(b, 36, 19))));
    assert!(not_credible(with(|b| put32(b, 36, u32::MAX))));
    assert!(not_credible(with(|b| put64(b, 40, 0))));
    assert!(not_credible(with(|b| put64(b, 40, 0x30001))));
    assert!(not_credible(with(|b| {
        put32(b, 36, 10_000);
        put64(b, 40, !0xffff);
    })));
    assert!(not_credible(with(|b| put32(b, 100, 96))));
    assert_eq!(header(&qcow2(3)[..90], 90), Err(HeaderError::CutOff(90)));
}

#[test]
fn a_qcow2_that_ends_before_its_table_is_called_cut_off() {
    assert_eq!(
        header(&qcow2(3), 0x30000),
        Err(HeaderError::ShorterThanDescribed {
            needed: 0x30000 + 160,
            length: 0x30000
        })
    );
}

#[test]
fn raw_is_what_remains_and_its_size_is_its_length() {
    let raw = |length| {
        Ok(ImageHeader {
            format: ImageFormat::Raw,
            virtual_size: length,
        })
    };
    assert_eq!(header(&[0; 40000], 8 << 20), raw(8 << 20));
    assert_eq!(header(b"x", 1), raw(1));
    assert_eq!(header(b"", 0), Err(HeaderError::Empty));
}

#[test]
fn a_cd_is_recognised_at_sector_16() {
    let mut bytes = vec![0; 40000];
    bytes[32769..32774].copy_from_slice(b"CD001");
    assert_eq!(
        header(&bytes, 40000),
        Ok(ImageHeader {
            format: ImageFormat::Iso,
            virtual_size: 40000
        })
    );
    assert_eq!(detect(&bytes[..68], false), Ok(Detected::NeedMore(MOST_NEEDED)));
}

#[test]
fn what_is_known_and_not_usable_is_named_with_what_to_do() {
    let cases: [(&[u8], Foreign, &str); 11] = [
        (b"\x1f\x8b\x08", Foreign::Gzip, "gunzip"),
        (b"\xfd7zXZ\0", Foreign::Xz, "unxz"),
        (b"\x28\xb5\x2f\xfd", Foreign::Zstd, "unzstd"),
        (b"BZh9", Foreign::Bzip2, "bunzip2"),
        (b"PK\x03\x04", Foreign::Zip, "unzip"),
        (b"KDMV", Foreign::Vmdk, "qemu-img convert -f vmdk"),
        (
            b"# Disk DescriptorFile\n",
            Foreign::Vmdk,
            "qemu-img convert -f vmdk",
        ),
        (b"vhdxfile", Foreign::Vhdx, "-f vhdx"),
        (b"conectix", Foreign::Vhd, "-f vpc"),
        (
            b"\n <!DOCTYPE HTML><html>",
            Foreign::WebPage,
            "login or error page",
        ),
        (b"<html lang=en>", Foreign::WebPage, "login or error page"),
    ];
    for (bytes, foreign, advice) in cases {
        let error = header(bytes, 1000).unwrap_err();
        assert_eq!(error, HeaderError::Foreign(foreign));
        assert!(error.to_string().contains(advice), "{error}");
    }
    let mut vdi = vec![0; 512];
    vdi[64..68].copy_from_slice(&[0x7f, 0x10, 0xda, 0xbe]);
    assert_eq!(header(&vdi, 512), Err(HeaderError::Foreign(Foreign::Vdi)));
}

proptest! {
    #[test]
    fn no_input_makes_detection_panic_or_ask_for_ever_more(
        magic in prop::sample::select(vec![&b""[..], b"QFI\xfb\0\0\0\x02", b"QFI\xfb\0\0\0\x03", b"QFI\xfb", b"KD", b"<"]),
        rest in prop::collection::vec(any::<u8>(), 0..600),
        length in any::<u64>(),
    ) {
        let bytes = [magic, &rest].concat();
        if let Ok(found) = header(&bytes, length) {
            prop_assert!(found.virtual_size > 0);
            prop_assert!(found.format != ImageFormat::Qcow2 || found.virtual_size <= MAX_VIRTUAL_SIZE);
        }
    }

    #[test]
    fn a_flipped_byte_in_a_good_header_never_panics(at in 0usize..112, value in any::<u8>()) {
        let mut bytes = qcow2(3);
        bytes[at] = value;
        let _ = header(&bytes, 1 << 20);
    }
}

/// Runs `qemu-img create` and returns the file's bytes; says so and returns nothing where the tool is missing.
fn made_by_qemu_img(arguments: &[&str], name: &str) -> Option<Vec<u8>> {
    let directory = tempfile::tempdir().unwrap();
    let run = |arguments: &[&str]| {
        Command::new("qemu-img")
            .args(arguments)
            .current_dir(directory.path())
            .output()
    };
    let Ok(_) = run(&["--version"]) else {
        eprintln!("SKIPPED: qemu-img is not installed, its vectors are not checked");
        return None;
    };
    assert!(
        run(&["create", "-q", "-f", "qcow2", "base.qcow2", "1M"])
            .unwrap()
            .status
            .success()
    );
    let made = run(arguments).unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    Some(std::fs::read(directory.path().join(name)).unwrap())
}

#[test]
fn images_made_by_qemu_img_are_read_as_qemu_img_means_them() {
    let cases: [(&[&str], u64); 5] = [
        (&["create", "-q", "-f", "qcow2", "a", "3G"], 3 << 30),
        (
            &["create", "-q", "-f", "qcow2", "-o", "compat=0.10", "a", "5M"],
            5 << 20,
        ),
        (
            &[
                "create",
                "-q",
                "-f",
                "qcow2",
                "-o",
                "cluster_size=512",
                "a",
                "100M",
            ],
            100 << 20,
        ),
        (
            &["create", "-q", "-f", "qcow2", "-o", "cluster_size=2M", "a", "1T"],
            1 << 40,
        ),
        (
            &[
                "create",
                "-q",
                "-f",
                "qcow2",
                "-o",
                "extended_l2=on,compression_type=zstd",
                "a",
                "70G",
            ],
            70 << 30,
        ),
    ];
    for (arguments, virtual_size) in cases {
        let Some(bytes) = made_by_qemu_img(arguments, "a") else {
            return;
        };
        let expected = ImageHeader {
            format: ImageFormat::Qcow2,
            virtual_size,
        };
        assert_eq!(header(&bytes, bytes.len() as u64), Ok(expected), "{arguments:?}");
    }
}

#[test]
fn unusable_images_made_by_qemu_img_are_refused() {
    let overlay = [
        "create",
        "-q",
        "-f",
        "qcow2",
        "-b",
        "base.qcow2",
        "-F",
        "qcow2",
        "a",
    ];
    let Some(bytes) = made_by_qemu_img(&overlay, "a") else {
        return;
    };
    assert_eq!(
        header(&bytes, bytes.len() as u64),
        Err(HeaderError::BackingFile("base.qcow2".into()))
    );
    let external = [
        "create",
        "-q",
        "-f",
        "qcow2",
        "-o",
        "data_file=d,data_file_raw=on",
        "a",
        "1M",
    ];
    let bytes = made_by_qemu_img(&external, "a").unwrap();
    assert_eq!(
        header(&bytes, bytes.len() as u64),
        Err(HeaderError::ExternalDataFile)
    );
    for (format, foreign) in [
        ("vmdk", Foreign::Vmdk),
        ("vhdx", Foreign::Vhdx),
        ("vpc", Foreign::Vhd),
        ("vdi", Foreign::Vdi),
    ] {
        let bytes = made_by_qemu_img(&["create", "-q", "-f", format, "a", "1M"], "a").unwrap();
        assert_eq!(
            header(&bytes, bytes.len() as u64),
            Err(HeaderError::Foreign(foreign)),
            "{format}"
        );
    }
}
