//! Errors of the reconciler as diagnostics: at their attribute, with the way out and the end of the console.

use labyard_reconciler::EngineError;
use tfplugin::Diagnostics;

use crate::shape::parse_path;

/// Adds the error of a read. What hangs can still be destroyed, since only the read waits for its answer.
pub fn report_unread(error: &EngineError, doing: &str, diags: &mut Diagnostics) {
    let detail = match error.root() {
        EngineError::Unknown { .. } => {
            " If it hangs for good, destroy it without reading it: terraform destroy -refresh=false -target=…; or take \
             its power away on the host and plan again."
        }
        _ => "",
    };
    add(error, doing, detail, diags);
}

/// Adds an error with all that is known of it.
pub fn report(error: &EngineError, doing: &str, diags: &mut Diagnostics) {
    add(error, doing, "", diags);
}

fn add(error: &EngineError, doing: &str, more: &str, diags: &mut Diagnostics) {
    let mut detail = capitalised(chain(error));
    if !detail.ends_with(['.', '!', '?']) {
        detail.push('.');
    }
    if let Some(standing) = error.standing() {
        detail += &format!("\n\nAt {standing}.");
    }
    detail += more;
    if let Some(console) = error.console() {
        detail += &format!("\n\nThe end of its console:\n{console}");
    }
    diags.error(error.attribute().map(parse_path), doing, detail);
}

/// A sentence begins with a capital, but names of HCL are spelt as they are.
pub(crate) fn capitalised(mut text: String) -> String {
    let is_word = text
        .split(' ')
        .next()
        .is_some_and(|word| word.chars().all(char::is_alphabetic));
    if let Some(first) = text.get(..1).map(str::to_uppercase).filter(|_| is_word) {
        text.replace_range(..1, &first);
    }
    text
}

/// An error with its causes, each said once.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        let said = inner.to_string();
        if !text.contains(&said) {
            text = format!("{text}: {said}");
        }
        cause = inner.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sentences_begin_with_a_capital_and_names_stay_as_they_are() {
        for (said, shown) in [
            ("host lab1, web: busy", "Host lab1, web: busy"),
            ("labyard_vm \"web\" exists", "labyard_vm \"web\" exists"),
            (
                "disks[\"root\"].size_gib: too small",
                "disks[\"root\"].size_gib: too small",
            ),
            ("", ""),
        ] {
            assert_eq!(capitalised(said.to_owned()), shown);
        }
    }
}
