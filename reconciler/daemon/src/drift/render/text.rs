//! For a terminal.

use std::fmt::Write as _;

use super::{line, unified};
use crate::drift::compare::Difference;
use crate::drift::report::{Object, Report};

pub(super) fn render(report: &Report) -> String {
    let mut out = String::new();
    for object in &report.objects {
        let _ = writeln!(out, "{}: {}", object.address, object.headline());
        for difference in object.changed() {
            one(&mut out, difference);
        }
        after(&mut out, object);
        out.push('\n');
    }
    out + &report.summary() + "\n"
}

fn after(out: &mut String, object: &Object) {
    let back = object.taken_back();
    if !back.is_empty() {
        let _ = writeln!(out, "    an apply sets back: {}", back.join(", "));
    }
    let beyond = object.beyond_taking_back();
    if !beyond.is_empty() && object.outside.is_some() {
        let _ = writeln!(out, "  an apply also changes:");
    }
    for difference in beyond {
        one(out, difference);
    }
    for entry in &object.log {
        match &entry.who {
            Some(who) => _ = writeln!(out, "    by {who}: {}", entry.line),
            None => _ = writeln!(out, "    log: {}", entry.line),
        }
    }
}

fn one(out: &mut String, difference: &Difference) {
    match unified(difference) {
        None => _ = writeln!(out, "    {}", line(difference)),
        Some(diff) => {
            let _ = writeln!(out, "    {}:", difference.path);
            for line in diff.lines() {
                let _ = writeln!(out, "      {line}");
            }
        }
    }
}
