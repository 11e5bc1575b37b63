//! A broken rule of Terraform's protocol, and what the user is told of it.

use crate::diag::{Diagnostic, Severity};
use crate::value::{Path, Step};

/// A rule that a response or a configuration breaks, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// Where.
    pub path: Path,
    /// What is broken there.
    pub rule: Rule,
}

/// The rules. Terraform holds a provider to each of them, at worst by losing the object. Values are kept as
/// text for the user, sensitive ones not at all.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Rule {
    /// A value has the shape that the schema demands.
    #[error("the value does not fit the schema: {0}")]
    Shape(String),
    /// After apply and in a state all is known.
    #[error("the value is still unknown")]
    Unknown,
    /// What is write-only is never handed back.
    #[error("a write-only attribute holds a value")]
    WriteOnly,
    /// What was created or updated exists.
    #[error("nothing is left of an object that should exist")]
    Gone,
    /// What was destroyed is gone.
    #[error("an object that should be gone is still there")]
    StillThere,
    /// What was planned and known is what apply yields.
    #[error("planned {planned}, but {found} came of it")]
    PlanBroken {
        /// What was planned.
        planned: String,
        /// What is there.
        found: String,
    },
    /// What was planned as a collection has the planned elements.
    #[error("the elements are not those that were planned")]
    Elements,
    /// A configured value is planned as configured (or as it stood before, where that means the same).
    #[error("configured {configured}, but {planned} is planned")]
    NotAsConfigured {
        /// What is configured.
        configured: String,
        /// What is planned.
        planned: String,
    },
    /// What only the user sets stays null where the user sets nothing.
    #[error("nothing is configured and only the configuration may set this, but {0} is planned")]
    NotComputed(String),
    /// A default is planned as such.
    #[error("nothing is configured and the default is {default}, but {planned} is planned")]
    NotDefault {
        /// The default.
        default: String,
        /// What is planned.
        planned: String,
    },
    /// A path to what requires replacement leads somewhere.
    #[error("replacement is required by an attribute that does not exist")]
    ReplaceNowhere,
    /// A path to what requires replacement stands once.
    #[error("replacement is required twice by one attribute")]
    ReplaceTwice,
    /// What requires replacement has changed.
    #[error("replacement is required by an attribute that does not change")]
    ReplaceUnchanged,
    /// The user has set what must be set.
    #[error("the attribute is required, but nothing is configured")]
    Required,
    /// The user has not set what only the provider sets.
    #[error("only the provider sets this, but {0} is configured")]
    Configured(String),
}

impl Violation {
    /// A violation at a place.
    #[must_use]
    pub fn new(path: Path, rule: Rule) -> Self {
        Self { path, rule }
    }

    /// An error for the user, who is told whose fault it is. It points at a set as a whole: an element is named
    /// by its value, which may be a secret, and Terraform could not point at it either.
    #[must_use]
    pub fn into_diagnostic(self) -> Diagnostic {
        let outside_sets = self
            .path
            .0
            .into_iter()
            .take_while(|step| !matches!(step, Step::Element(_)));
        let path = Path(outside_sets.collect());
        let place = if path.is_root() {
            String::new()
        } else {
            format!("{path}: ")
        };
        let (summary, whose) = match self.rule {
            Rule::Required | Rule::Configured(_) => ("Invalid configuration", ""),
            _ => (
                "Provider broke a rule of Terraform",
                "\n\nThis is a fault of the provider, not of the configuration. Please report it to the \
                 provider's developers.",
            ),
        };
        Diagnostic {
            severity: Severity::Error,
            summary: summary.to_owned(),
            detail: format!("{place}{}.{whose}", self.rule),
            attribute: (!path.is_root()).then_some(path),
        }
    }
}
