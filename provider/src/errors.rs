//! Errors of the reconciler as diagnostics: at their attribute, with the way out and the end of the console.

use labyard_reconciler::EngineError;
use tfplugin::Diagnostics;

use crate::shape::parse_path;

/// Adds an error with all that is known of it.
pub fn report(error: &EngineError, doing: &str, diags: &mut Diagnostics) {
    let mut detail = chain(error);
    if let Some(first) = detail.get(..1).map(str::to_uppercase) {
        detail.replace_range(..1, &first);
    }
    if !detail.ends_with(['.', '!', '?']) {
        detail.push('.');
    }
    if let Some(console) = error.console() {
        detail += &format!("\n\nThe end of its console:\n{console}");
    }
    diags.error(error.attribute().map(parse_path), doing, detail);
}

/// An error with its causes, each said once.
fn chain(error: &dyn std::error::Error) -> String {
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
