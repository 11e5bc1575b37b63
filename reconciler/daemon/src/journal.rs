//! `labyard journal`: what the stages of machines and networks did, waited for and took.

use std::error::Error;
use std::io::Write;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};
use labyard_reconciler::journal::Kind;
use labyard_reconciler::journal::estimate::short;
use labyard_reconciler::journal::stages::{Outcome, Passed, stages};
use labyard_reconciler::journal::{Journal, file};

use crate::timestamp::utc;

/// Show each stage of machines and networks: attempts, what it waited for, how long it took and what is usual.
#[derive(Args)]
pub(crate) struct Options {
    /// Only the machine or network of this name.
    name: Option<String>,
    /// Only those on this host, by its key in the provider.
    #[arg(long)]
    host: Option<String>,
    /// Only this namespace; otherwise all.
    #[arg(long)]
    namespace: Option<String>,
    /// How many rows, the latest ones.
    #[arg(long, default_value_t = 200)]
    rows: usize,
    /// Directory of the journal; otherwise `LABYARD_JOURNAL`, else the user's own.
    #[arg(long)]
    directory: Option<PathBuf>,
    /// How to print it.
    #[arg(short, long, value_enum, default_value_t = Form::Table)]
    output: Form,
}

#[derive(Clone, Copy, ValueEnum)]
enum Form {
    Table,
    Json,
}

/// Prints the journal.
pub(crate) fn run(options: &Options) -> Result<(), Box<dyn Error>> {
    let configured = options.directory.as_ref().map(|path| path.display().to_string());
    let journal = Journal::chosen(configured.as_deref(), |name| std::env::var(name).ok());
    let Some(directory) = journal.directory() else {
        return Err("the journal is off, or neither XDG_STATE_HOME nor HOME says where it is: name it with --directory".into());
    };
    let namespaces = match &options.namespace {
        Some(namespace) => vec![namespace.clone()],
        None => file::namespaces(directory)?,
    };
    let mut rows = Vec::new();
    for namespace in &namespaces {
        rows.extend(stages(&file::read(directory, namespace)?));
    }
    rows.retain(|row| wanted(row, options));
    rows.sort_by_key(|row| row.at);
    let rows = &rows[rows.len().saturating_sub(options.rows)..];
    let mut out = std::io::stdout().lock();
    let printed = match options.output {
        Form::Json => writeln!(out, "{}", serde_json::to_string_pretty(rows)?),
        Form::Table => out.write_all(table(rows).as_bytes()),
    };
    match printed {
        // Whoever reads has seen enough.
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
        other => Ok(other?),
    }
}

fn wanted(row: &Passed, options: &Options) -> bool {
    let is = |wanted: &Option<String>, found: &str| wanted.as_ref().is_none_or(|wanted| wanted == found);
    is(&options.name, &row.name) && is(&options.host, &row.host)
}

fn table(rows: &[Passed]) -> String {
    let head = [
        "TIME",
        "HOST",
        "NAME",
        "EVENT",
        "STAGE",
        "ATTEMPT",
        "TOOK",
        "USUAL",
        "OUTCOME",
        "WAITED FOR",
    ];
    let mut cells = vec![head.map(str::to_owned)];
    cells.extend(rows.iter().map(row));
    let width = |column: usize| {
        cells
            .iter()
            .map(|row| row[column].chars().count())
            .max()
            .unwrap_or(0)
    };
    let widths: Vec<_> = (0..head.len()).map(width).collect();
    let mut text = String::new();
    for row in &cells {
        let line: String = row
            .iter()
            .zip(&widths)
            .map(|(cell, width)| format!("{cell:width$}  "))
            .collect();
        text += line.trim_end();
        text.push('\n');
    }
    text
}

fn row(passed: &Passed) -> [String; 10] {
    let time = |millis: Option<u64>| millis.map_or("-".to_owned(), |ms| short(Duration::from_millis(ms)));
    let name = match passed.namespace.as_str() {
        "default" => passed.name.clone(),
        namespace => format!("{namespace}.{}", passed.name),
    };
    let name = match passed.kind {
        Kind::Machine => name,
        Kind::Network => format!("network {name}"),
    };
    let outcome = match passed.outcome {
        Outcome::Done => "done".to_owned(),
        Outcome::Open => "open".to_owned(),
        Outcome::Failed => format!("failed: {}", passed.why.as_deref().unwrap_or("no reason known")),
    };
    let waited = match passed.waited_for.as_slice() {
        [] => "-".to_owned(),
        several => several.join("; "),
    };
    [
        utc(passed.at),
        passed.host.clone(),
        name,
        passed.event.clone(),
        passed.stage.clone(),
        passed.attempt.to_string(),
        time(passed.took_ms),
        time(passed.usual_ms),
        outcome,
        waited,
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_says_stage_attempt_time_and_wait() {
        let passed = Passed {
            at: 1_700_000_000_000,
            run: "r".into(),
            host: "lab1".into(),
            namespace: "class".into(),
            kind: Kind::Machine,
            name: "web".into(),
            event: "create".into(),
            stage: "define".into(),
            attempt: 2,
            waited_for: vec!["before:define holds: approval".into()],
            took_ms: Some(12_000),
            usual_ms: Some(8_000),
            outcome: Outcome::Done,
            why: None,
        };
        let text = table(&[passed]);
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(lines.len(), 2);
        let words: Vec<_> = lines[1].split_whitespace().take(9).collect();
        assert_eq!(
            words,
            [
                "2023-11-14T22:13:20Z",
                "lab1",
                "class.web",
                "create",
                "define",
                "2",
                "12s",
                "8.0s",
                "done"
            ]
        );
        assert!(lines[1].ends_with("before:define holds: approval"));
    }

    #[test]
    fn a_network_is_told_from_a_machine_of_its_name() {
        let line = r#"{"at":1,"run":"r","event":"update","host":"lab1","namespace":"default","kind":"network",
            "name":"lab","id":"i","stage":"reattach","what":"done","attempt":1,"took_ms":5}"#;
        let text = table(&stages(&[serde_json::from_str(line).unwrap()]));
        assert!(text.contains("lab1  network lab  update  reattach"), "{text}");
    }
}
