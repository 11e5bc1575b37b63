//! `BEHAVIOUR.md` and the tests agree.

use std::collections::BTreeSet;
use std::path::Path;

const TABLE: &str = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/BEHAVIOUR.md"));

/// Names of tests in a file.
fn tests_in(source: &str) -> BTreeSet<String> {
    source
        .split("#[test]")
        .skip(1)
        .filter_map(|after| after.split_once("fn ")?.1.split_once('('))
        .map(|(name, _)| name.to_owned())
        .collect()
}

fn read(folder: &Path) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    // This file speaks of tests and would be taken for one.
    let itself = Path::new(file!()).file_name();
    for entry in std::fs::read_dir(folder).expect("a folder").flatten() {
        if entry.path().is_dir() {
            found.extend(read(&entry.path()));
        }
        let name = entry.file_name();
        if name.to_string_lossy().ends_with(".rs") && Some(name.as_os_str()) != itself {
            found.extend(tests_in(&std::fs::read_to_string(entry.path()).expect("a file")));
        }
    }
    found
}

#[test]
fn each_behaviour_names_a_test_and_each_test_here_stands_for_a_behaviour() {
    let named: BTreeSet<String> = TABLE
        .lines()
        .filter(|line| line.starts_with("| ") && line.ends_with("` |"))
        .filter_map(|line| line.rsplit('`').nth(1))
        .map(str::to_owned)
        .collect();
    let model = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/model");
    let (here, beside) = (read(&model.join("tests")), read(&model));
    let unknown: Vec<&String> = named
        .iter()
        .filter(|name| !here.contains(*name) && !beside.contains(*name))
        .collect();
    assert!(
        unknown.is_empty(),
        "the page names tests that do not exist: {unknown:?}"
    );
    let missing: Vec<&String> = here.iter().filter(|name| !named.contains(*name)).collect();
    assert!(
        missing.is_empty(),
        "tests that the page does not name: {missing:?}"
    );
    assert!(named.len() > 100, "{}", named.len());
}
