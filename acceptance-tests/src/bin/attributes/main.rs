//! The table of attributes and cases, made of what the tests said they have shown ([`proof`]).
//!
//! ```text
//! attributes DIRECTORY            prints docs/attributes.md
//! attributes --check DIRECTORY    names the cells that no test has shown, and fails if there are any
//! ```

mod applies;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::ExitCode;

use applies::{Applies, applies};
use labyard_acceptance_tests::proof::{Case, paths, resources};
use labyard_schema::Change;

/// What was shown: the tests by attribute and case.
type Shown = BTreeMap<(String, String), BTreeSet<String>>;

fn main() -> ExitCode {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    let arguments: Vec<_> = arguments.iter().map(String::as_str).collect();
    let (check, directory) = match arguments[..] {
        ["--check", directory] => (true, directory),
        [directory] => (false, directory),
        _ => {
            eprintln!("usage: attributes [--check] DIRECTORY");
            return ExitCode::FAILURE;
        }
    };
    let shown = match read(Path::new(directory)) {
        Ok(shown) => shown,
        Err(error) => {
            eprintln!("{directory}: {error}");
            return ExitCode::FAILURE;
        }
    };
    if check {
        return missing(&shown);
    }
    print!("{}", table(&shown));
    ExitCode::SUCCESS
}

fn read(directory: &Path) -> std::io::Result<Shown> {
    let mut shown = Shown::new();
    for entry in std::fs::read_dir(directory)? {
        let text = std::fs::read_to_string(entry?.path())?;
        for line in text.lines() {
            if let [attribute, case, test] = line.split('\t').collect::<Vec<_>>()[..] {
                let of = shown.entry((attribute.to_owned(), case.to_owned())).or_default();
                of.insert(test.to_owned());
            }
        }
    }
    Ok(shown)
}

fn has(shown: &Shown, path: &str, case: Case) -> bool {
    shown.contains_key(&(path.to_owned(), case.word().to_owned()))
}

fn missing(shown: &Shown) -> ExitCode {
    let mut missing = 0;
    for (resource, attributes) in resources() {
        for (path, attribute) in paths(resource, &attributes) {
            for case in Case::ALL {
                if applies(&path, &attribute, case) == Applies::Yes && !has(shown, &path, case) {
                    println!("{path}: no test has shown {}", case.word());
                    missing += 1;
                }
            }
        }
    }
    if missing > 0 {
        println!("{missing} cells are empty");
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}

fn table(shown: &Shown) -> String {
    let mut out = "# What the tests show of each attribute\n\n\
        Made by `make test` from what the acceptance tests say right after they have shown it, on a real libvirt host with real\n\
        Terraform (`acceptance-tests/src/proof.rs`).\n\n\
        - **create**: an object is made with it, and the host shows it. **import**: an import reads it back, and the plan after it is empty.\n\
        - **update**: it changes, with the disturbance in the second column. **drift**: changed by hand, seen by a plan, healed by an apply.\n\
        - **refused**: a bad value is refused with the attribute's path.\n\n\
        `–`: the case has no meaning for it (`acceptance-tests/src/bin/attributes/applies.rs` says why). An empty cell: no test shows it.\n"
        .to_owned();
    for (resource, attributes) in resources() {
        out += &format!(
            "\n## {resource}\n\n| attribute | a change | create | import | update | drift | refused |\n|---|---|---|---|---|---|---|\n"
        );
        for (path, attribute) in paths(resource, &attributes) {
            let cells: Vec<_> = Case::ALL
                .iter()
                .map(|case| match applies(&path, &attribute, *case) {
                    _ if has(shown, &path, *case) => "✓",
                    Applies::Yes => "",
                    Applies::No(_) => "–",
                })
                .collect();
            if cells.iter().all(|cell| *cell == "–") {
                continue;
            }
            let change = match attribute.change {
                Change::Live => "live",
                Change::Restart => "restart",
                Change::LiveOrRestart => "live or restart",
                Change::RestartNetwork => "restart of the network",
                Change::LiveOrRestartNetwork => "live or restart of the network",
                Change::Replace => "replace",
                Change::None => "",
            };
            let name = path
                .strip_prefix(resource)
                .unwrap_or(&path)
                .trim_start_matches('.');
            out += &format!("| `{name}` | {change} | {} |\n", cells.join(" | "));
        }
    }
    out
}
