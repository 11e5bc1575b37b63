//! Diagnostics: errors and warnings that point at an attribute where there is one.

use crate::value::Path;

/// Whether a diagnostic ends the operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Severity {
    /// The operation failed.
    Error,
    /// The operation goes on; the user is told.
    Warning,
}

/// One thing the user is told.
#[derive(Clone, Debug, PartialEq)]
pub struct Diagnostic {
    /// Error or warning.
    pub severity: Severity,
    /// One line.
    pub summary: String,
    /// What was found and what to do next.
    pub detail: String,
    /// The attribute, where there is one.
    pub attribute: Option<Path>,
}

/// The diagnostics of one operation, in the order they arose.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Diagnostics(pub Vec<Diagnostic>);

impl Diagnostics {
    /// Adds an error.
    pub fn error(&mut self, attribute: Option<Path>, summary: impl Into<String>, detail: impl Into<String>) {
        self.push(Severity::Error, attribute, summary.into(), detail.into());
    }

    /// Adds a warning.
    pub fn warning(
        &mut self,
        attribute: Option<Path>,
        summary: impl Into<String>,
        detail: impl Into<String>,
    ) {
        self.push(Severity::Warning, attribute, summary.into(), detail.into());
    }

    /// Whether any of them is an error.
    pub fn has_errors(&self) -> bool {
        self.0.iter().any(|d| d.severity == Severity::Error)
    }

    fn push(&mut self, severity: Severity, attribute: Option<Path>, summary: String, detail: String) {
        self.0.push(Diagnostic {
            severity,
            summary,
            detail,
            attribute,
        });
    }
}
