use std::path::Path;
use std::process::{Command, Output};

use super::*;

const NETWORK: &[u8] = b"version: 2\nethernets: {}\n";

/// More than a sector, not a multiple of one.
fn user_data() -> Vec<u8> {
    let mut text = b"#cloud-config\n".to_vec();
    (0..700).for_each(|i| text.extend(format!("# line {i}\n").into_bytes()));
    text
}

fn iso() -> Vec<u8> {
    let user_data = user_data();
    let seed = Seed {
        user_data: &user_data,
        meta_data: b"instance-id: i-1\n",
        network_config: Some(NETWORK),
        vendor_data: Some(b""),
    };
    seed.to_iso().unwrap()
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
    assert_eq!(names, ["meta-data", "network-config", "user-data", "vendor-data"]);
    let read = |name| std::fs::read(directory.join(name)).unwrap();
    assert_eq!(read("user-data"), user_data());
    assert_eq!(read("meta-data"), b"instance-id: i-1\n");
    assert_eq!(read("network-config"), NETWORK);
    assert_eq!(read("vendor-data"), b"");
}

#[test]
fn the_same_input_gives_the_same_bytes() {
    assert_eq!(iso(), iso());
    assert_eq!(iso().len() % 2048, 0);
}

#[test]
fn files_that_were_not_given_are_not_there() {
    let seed = Seed {
        user_data: b"",
        meta_data: b"x",
        network_config: None,
        vendor_data: None,
    };
    let iso = seed.to_iso().unwrap();
    let holds = |name: &[u8]| iso.windows(name.len()).any(|window| window == name);
    assert!(holds(b"user-data") && holds(b"meta-data"));
    assert!(!holds(b"network-config") && !holds(b"vendor-data"));
}

#[test]
fn a_file_over_the_limit_is_refused_by_its_name() {
    let huge = vec![b'#'; MAX_FILE + 1];
    let seed = Seed {
        user_data: &huge,
        meta_data: b"",
        network_config: None,
        vendor_data: None,
    };
    assert_eq!(
        seed.to_iso(),
        Err(SeedError::TooLarge {
            file: "user-data",
            size: MAX_FILE + 1
        })
    );
}

#[test]
fn contents_do_not_show_in_debug_output() {
    let seed = Seed {
        user_data: b"secret",
        meta_data: b"secret",
        network_config: None,
        vendor_data: None,
    };
    assert!(!format!("{seed:?}").contains("secret"));
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
