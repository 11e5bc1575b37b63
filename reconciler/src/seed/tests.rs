use std::path::Path;
use std::process::{Command, Output};

use proptest::prelude::*;

use super::*;

const NETWORK: &str = "version: 2\nethernets: {}\n";
const META_DATA_FILE: &[u8] =
    b"region: eu\n\n# Added by labyard:\ninstance-id: \"i-1\"\nlocal-hostname: \"web-01\"\n";

/// More than a sector, not a multiple of one.
fn user_data() -> String {
    let lines = (0..700).map(|i| format!("# line {i}\n"));
    std::iter::once("#cloud-config\n".to_owned())
        .chain(lines)
        .collect()
}

fn seed(user_data: Option<&str>) -> NoCloud<'_> {
    NoCloud {
        instance_id: "i-1",
        local_hostname: "web-01",
        user_data,
        vendor_data: None,
        public_keys: &[],
        network_config: Some(NETWORK),
        meta_data: Some("region: eu\n"),
    }
}

fn iso() -> Vec<u8> {
    build(&seed(Some(&user_data()))).unwrap()
}

/// Runs a tool that reads the image independently; says so and returns nothing where it is missing.
fn run(tool: &str, arguments: &[&str], directory: &Path) -> Option<Output> {
    match Command::new(tool).args(arguments).current_dir(directory).output() {
        Ok(output) => Some(output),
        Err(error) => {
            eprintln!("SKIPPED: {tool} cannot be run ({error}), the seed is not read back by it");
            None
        }
    }
}

fn written_to_a_directory() -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("seed.iso"), iso()).unwrap();
    directory
}

fn assert_extracted(directory: &Path) {
    let mut names: Vec<_> = std::fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    names.sort();
    assert_eq!(names, ["meta-data", "network-config", "user-data"]);
    let read = |name| std::fs::read(directory.join(name)).unwrap();
    assert_eq!(read("user-data"), user_data().as_bytes());
    assert_eq!(read("meta-data"), META_DATA_FILE);
    assert_eq!(read("network-config"), NETWORK.as_bytes());
}

#[test]
fn the_same_input_gives_the_same_bytes() {
    assert_eq!(iso(), iso());
    assert_eq!(iso().len() % 2048, 0);
}

#[test]
fn what_was_written_is_read_back_to_the_letter() {
    let contents = read(&iso()).unwrap();
    assert_eq!(contents.user_data, Some(user_data()));
    assert_eq!(contents.network_config.as_deref(), Some(NETWORK));
    assert_eq!(contents.meta_data.as_deref(), Some("region: eu\n"));
    let bare = NoCloud {
        network_config: None,
        meta_data: None,
        ..seed(None)
    };
    assert_eq!(read(&build(&bare).unwrap()), Ok(Contents::default()));
}

#[test]
fn files_that_were_not_given_are_not_there() {
    let iso = build(&NoCloud {
        network_config: None,
        ..seed(None)
    })
    .unwrap();
    let holds = |name: &[u8]| iso.windows(name.len()).any(|window| window == name);
    assert!(holds(b"user-data") && holds(b"meta-data") && !holds(b"network-config"));
}

#[test]
fn a_file_over_the_limit_is_refused_by_its_name() {
    let huge = "#".repeat(MAX_FILE + 1);
    assert_eq!(
        build(&seed(Some(&huge))),
        Err(SeedError::TooLarge {
            file: "user-data",
            size: MAX_FILE + 1
        })
    );
}

#[test]
fn contents_do_not_show_in_debug_output() {
    let iso = build(&seed(Some("hunter2"))).unwrap();
    assert!(!format!("{:?} {:?}", seed(Some("hunter2")), read(&iso)).contains("hunter2"));
}

#[test]
fn what_is_no_seed_is_refused() {
    assert_eq!(read(b""), Err(ReadError::NotACd));
    assert_eq!(read(&[0; 60_000]), Err(ReadError::NotACd));
    let cut = iso();
    assert_eq!(read(&cut[..cut.len() - 4096]), Err(ReadError::NotACd));
    let mut binary = build(&seed(Some("#!"))).unwrap();
    let at = binary.len() - 2048;
    binary[at] = 0xff;
    assert_eq!(read(&binary), Err(ReadError::NotText("user-data")));
}

proptest! {
    #[test]
    fn a_damaged_seed_never_makes_the_reader_panic(
        damage in prop::collection::vec((17usize * 2048..27 * 2048, any::<u8>()), 1..40),
    ) {
        let mut image = iso();
        for (at, value) in damage {
            image[at] = value;
        }
        let _ = read(&image);
    }
}

#[test]
fn our_own_header_reader_calls_it_a_cd() {
    let found = crate::image::header::detect(&iso(), true).unwrap();
    let crate::image::header::Detected::Found(layout) = found else {
        panic!("{found:?}")
    };
    assert_eq!(
        layout.with_length(1).unwrap().format,
        crate::image::ImageFormat::Iso
    );
}

#[test]
fn xorriso_reads_names_and_contents_by_rock_ridge_and_by_joliet() {
    let directory = written_to_a_directory();
    for (tree, target) in [("any", "rock"), ("norock", "joliet")] {
        let arguments = [
            "-abort_on",
            "WARNING",
            "-read_fs",
            tree,
            "-osirrox",
            "on",
            "-indev",
            "seed.iso",
            "-extract",
            "/",
            target,
        ];
        let Some(output) = run("xorriso", &arguments, directory.path()) else {
            return;
        };
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{said}");
        assert!(said.contains("Volume id    : 'cidata'"), "{said}");
        // The directory comes out as it is in the image: closed to others.
        assert_extracted(&directory.path().join(target));
    }
}

#[test]
fn blkid_finds_the_label_that_cloud_init_asks_for() {
    let directory = written_to_a_directory();
    let Some(output) = run("blkid", &["-p", "-o", "export", "seed.iso"], directory.path()) else {
        return;
    };
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(said.lines().any(|line| line == "LABEL=cidata"), "{said}");
    assert!(said.lines().any(|line| line == "TYPE=iso9660"), "{said}");
}
