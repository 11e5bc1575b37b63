//! Writes the reference pages, or with `--check` says whether they are those of the schema:
//! `cargo run -p labyard-schema --example reference -- [--check] examples docs`.

use std::path::Path;
use std::process::ExitCode;

use labyard_schema::reference::{Examples, Page, pages};

fn main() -> ExitCode {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    let arguments: Vec<_> = arguments.iter().map(String::as_str).collect();
    let result = match arguments[..] {
        [examples, docs] => each(examples, |page| write(docs, page)),
        ["--check", examples, docs] => each(examples, |page| check(docs, page)),
        _ => Err("usage: reference [--check] EXAMPLES DOCS".into()),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

type Outcome = Result<(), Box<dyn std::error::Error>>;

fn each(examples: &str, act: impl Fn(&Page) -> Outcome) -> Outcome {
    let pages = pages(&read_examples(Path::new(examples))?);
    pages.iter().try_for_each(|page| {
        if !page.text.contains("## Example usage") {
            return Err(format!("{} has no example below {examples}", page.path).into());
        }
        act(page)
    })
}

fn write(docs: &str, page: &Page) -> Outcome {
    let path = Path::new(docs).join(&page.path);
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder)?;
    }
    Ok(std::fs::write(path, &page.text)?)
}

fn check(docs: &str, page: &Page) -> Outcome {
    let committed = std::fs::read_to_string(Path::new(docs).join(&page.path)).unwrap_or_default();
    if committed == page.text {
        return Ok(());
    }
    Err(format!("{docs}/{} is not of this schema: run `make docs`", page.path).into())
}

/// The examples below a folder, by their path there.
fn read_examples(folder: &Path) -> std::io::Result<Examples> {
    let mut examples = Examples::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(next) = folders.pop() {
        for entry in std::fs::read_dir(next)? {
            let path = entry?.path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|end| end == "tf" || end == "sh") {
                let name = path.strip_prefix(folder).unwrap_or(&path);
                examples.insert(
                    name.to_string_lossy().replace('\\', "/"),
                    std::fs::read_to_string(&path)?,
                );
            }
        }
    }
    Ok(examples)
}
