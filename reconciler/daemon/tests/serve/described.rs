//! The description of the API against the daemon that serves it, by Schemathesis, a client that we did not write: it makes
//! requests up from the description, right ones and wrong ones, and looks whether the answers are what it says.

use crate::daemon::{Daemon, lab};
use labyard_api::routes::routes;
use labyard_store::testing::Database;
use serde_json::Value;
use std::{
    path::{Path, PathBuf},
    process::{Command, Output},
};

const VERSION: &str = "4.32.5";
/// What it looks at: no answer of the 500s, no answer that the description does not know, no wrong request that is done.
const CHECKS: &str = "not_a_server_error,status_code_conformance,content_type_conformance,response_headers_conformance,\
                      response_schema_conformance,negative_data_rejection,missing_required_header,unsupported_method,\
                      allow_header_conformance,ignored_auth";

/// The program, in an environment of its own below the target directory, where it stays.
fn schemathesis() -> Option<PathBuf> {
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("schemathesis-{VERSION}"));
    let program = target.join("bin/schemathesis");
    if program.exists() {
        return Some(program);
    }
    let ran = |command: &mut Command| command.output().is_ok_and(|out| out.status.success());
    let made = ran(Command::new("python3").args(["-m", "venv"]).arg(&target))
        && ran(Command::new(target.join("bin/pip"))
            .args(["install", "--quiet", "--disable-pip-version-check"])
            .arg(format!("schemathesis=={VERSION}")));
    if made {
        return Some(program);
    }
    let _ = std::fs::remove_dir_all(&target);
    eprintln!(
        "SKIPPED: schemathesis {VERSION} could not be installed (Debian: python3-venv, and a way to PyPI)"
    );
    assert!(std::env::var("CI").as_deref() != Ok("true"), "CI needs it");
    None
}

/// It would be waited for ever for the end of what has none.
const ENDLESS: &str = "events";

/// The operations of a description in so many shares. Those that take bodies are most of the work: each share has as many.
fn shares(document: &Value, count: usize) -> Vec<Vec<String>> {
    let paths = document["paths"].as_object().into_iter().flatten();
    let operations = paths.filter_map(|(_, path)| path.as_object()).flatten();
    let mut named: Vec<(bool, String)> = operations
        .filter_map(|(_, operation)| {
            let id = operation["operationId"].as_str()?;
            (id != ENDLESS).then(|| (operation.get("requestBody").is_none(), id.to_owned()))
        })
        .collect();
    named.sort();
    let mut shares = vec![Vec::new(); count];
    for (number, (_, id)) in named.into_iter().enumerate() {
        shares[number % count].push(id);
    }
    shares
}

/// Requests to these operations, by a process of their own: its threads take turns, and keep one processor busy.
fn asked(program: &Path, daemon: &Daemon, operations: &[String]) -> Output {
    let directory = tempfile::tempdir().unwrap();
    Command::new(program)
        .current_dir(directory.path())
        .args(["run", &format!("{}/openapi.json", daemon.url)])
        .args(["-H", &format!("Authorization: Bearer {}", daemon.admin)])
        .args([
            "--checks",
            CHECKS,
            "--max-examples",
            "50",
            "--phases",
            "examples,coverage,fuzzing",
        ])
        .args([
            "--workers",
            "1",
            "--seed",
            "1",
            "--generation-database",
            "none",
            "--no-color",
        ])
        .args([
            "--include-operation-id-regex",
            &format!("^({})$", operations.join("|")),
        ])
        .args(["--request-timeout", "30"])
        .env("NO_PROXY", "*")
        .output()
        .unwrap()
}

#[test]
fn requests_made_up_from_the_description_are_answered_as_it_says() {
    let Some(program) = schemathesis() else { return };
    let database = Database::sqlite();
    lab(&database, 3);
    let daemon = Daemon::start(
        &database,
        "[limits]\nfailures_per_source = 1000000\nfailures_per_code = 1000000\n",
    );
    let document = daemon.ask("GET", "/openapi.json", "", &[]).body;
    let processors = std::thread::available_parallelism().map_or(2, usize::from);
    let shares = shares(&document, processors.clamp(2, 4));
    let count: usize = shares.iter().map(Vec::len).sum();
    assert_eq!(count, routes().len() - 1, "all but {ENDLESS}");
    let (program, daemon) = (&program, &daemon);
    let outs: Vec<Output> = std::thread::scope(|scope| {
        let running: Vec<_> = shares
            .iter()
            .map(|share| scope.spawn(move || asked(program, daemon, share)))
            .collect();
        running.into_iter().map(|one| one.join().unwrap()).collect()
    });
    for out in outs {
        let said = format!(
            "{}{}",
            String::from_utf8_lossy(&out.stdout),
            String::from_utf8_lossy(&out.stderr)
        );
        assert!(out.status.success(), "{said}");
    }
    assert_eq!(daemon.ask("GET", "/readyz", "", &[]).status, 200);
}
