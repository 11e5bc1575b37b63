//! For a comment on a pull request.

use std::fmt::Write as _;

use super::{show, unified};
use crate::drift::compare::Difference;
use crate::drift::report::{Object, Report};

pub(super) fn render(report: &Report) -> String {
    let title = match (report.drifted(), report.objects.len()) {
        (_, 0) => "### No drift\n\n".to_owned(),
        (0, planned) => format!("### No drift; an apply would change {planned}\n\n"),
        (1, _) => "### Drift: 1 object\n\n".to_owned(),
        (drifted, _) => format!("### Drift: {drifted} objects\n\n"),
    };
    let objects: String = report.objects.iter().map(object).collect();
    format!("{title}{objects}{}\n", report.summary())
}

fn object(object: &Object) -> String {
    let mut out = format!("#### {}: {}\n\n", code(&object.address), object.headline());
    out += &table(object.changed().iter(), "was", "is");
    let back = object.taken_back();
    if !back.is_empty() {
        let back: Vec<_> = back.into_iter().map(code).collect();
        let _ = writeln!(out, "An apply sets back {}.\n", back.join(", "));
    }
    let beyond = object.beyond_taking_back();
    if !beyond.is_empty() {
        out += "An apply would change:\n\n";
        out += &table(beyond.into_iter(), "is", "will be");
    }
    if !object.log.is_empty() {
        out += "From the host's log:\n\n";
        for entry in &object.log {
            let who = entry
                .who
                .as_ref()
                .map(|who| format!("**{}** ", code(who)))
                .unwrap_or_default();
            let _ = writeln!(out, "- {who}{}", code(&entry.line));
        }
        out.push('\n');
    }
    out
}

fn table<'a>(differences: impl Iterator<Item = &'a Difference>, from: &str, to: &str) -> String {
    let (mut rows, mut diffs) = (String::new(), String::new());
    for difference in differences {
        match unified(difference) {
            Some(diff) => _ = write!(diffs, "{}:\n{}\n", code(&difference.path), fenced(&diff)),
            None => {
                let (from, to) = (code(&show(&difference.from)), code(&show(&difference.to)));
                let _ = writeln!(rows, "| {} | {from} | {to} |", code(&difference.path));
            }
        }
    }
    if !rows.is_empty() {
        rows = format!("| attribute | {from} | {to} |\n|---|---|---|\n{rows}\n");
    }
    rows + &diffs
}

/// As code, so that nothing in it is taken for Markdown; a bar would end a table's cell even there.
fn code(text: &str) -> String {
    let ticks = "`".repeat(longest_run(text) + 1);
    let space = if text.starts_with('`') || text.ends_with('`') {
        " "
    } else {
        ""
    };
    format!(
        "{ticks}{space}{}{space}{ticks}",
        text.replace('|', "\\|").replace(['\n', '\r'], " ")
    )
}

fn fenced(diff: &str) -> String {
    let fence = "`".repeat(longest_run(diff).max(2) + 1);
    format!("{fence}diff\n{}\n{fence}\n", diff.trim_end())
}

fn longest_run(text: &str) -> usize {
    text.split(|c| c != '`').map(str::len).max().unwrap_or_default()
}
