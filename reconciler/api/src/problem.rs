//! Why a request was not done: `application/problem+json` (RFC 9457).
//!
//! ```
//! use labyard_api::problem::Problem;
//! let problem = Problem::new(404, "no-claim", "There is no such claim");
//! assert_eq!(problem.kind(), "no-claim");
//! assert!(!problem.retryable);
//! ```

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::fmt;

/// The media type.
pub const MEDIA_TYPE: &str = "application/problem+json";
/// What a type URI begins with.
pub const TYPES: &str = "urn:labyard:problem:";

/// Why a request was not done.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Problem {
    /// What kind of problem: `urn:labyard:problem:` and a name that programs may compare.
    #[serde(rename = "type")]
    pub type_uri: String,
    /// What it is, in a few words.
    pub title: String,
    /// The HTTP status.
    #[schemars(range(min = 400, max = 599))]
    pub status: u16,
    /// What was found, and what to do next.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
    /// Whether the same request may succeed later, unchanged.
    pub retryable: bool,
    /// In how many seconds it may, where that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_after_s: Option<u64>,
    /// The id of the request, as it stands in the log.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_id: Option<String>,
    /// What an engine met, as engines write it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub engine: Option<serde_json::Value>,
    /// What is wrong with single values of the request.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub errors: Vec<Wrong>,
    /// The quota that stands against it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quota: Option<OverQuota>,
}

/// The quota that stands against a request.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct OverQuota {
    /// The namespace.
    pub namespace: String,
    /// Of what: `machines`, `cpus` or `memory_mib`.
    pub of: String,
    /// How much the namespace may have.
    pub quota: u64,
    /// How much of that is held by others than what was asked for.
    pub used: u64,
    /// How much was asked for.
    pub asked: u64,
}

/// What is wrong with one value.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Wrong {
    /// Where it stands: a JSON pointer into the body, or the name of a parameter.
    pub at: String,
    /// What is wrong with it.
    pub detail: String,
}

impl Problem {
    /// One that does not pass by itself.
    #[must_use]
    pub fn new(status: u16, kind: &str, title: &str) -> Self {
        Self {
            type_uri: format!("{TYPES}{kind}"),
            title: title.to_owned(),
            status,
            detail: None,
            retryable: false,
            retry_after_s: None,
            request_id: None,
            engine: None,
            errors: Vec::new(),
            quota: None,
        }
    }

    /// With what was found, and what to do next.
    #[must_use]
    pub fn detail(mut self, detail: impl Into<String>) -> Self {
        self.detail = Some(detail.into());
        self
    }

    /// One that may pass.
    #[must_use]
    pub fn retryable(mut self) -> Self {
        self.retryable = true;
        self
    }

    /// One that may pass in so many seconds.
    #[must_use]
    pub fn retry_after(mut self, seconds: u64) -> Self {
        self.retry_after_s = Some(seconds);
        self.retryable()
    }

    /// With one more value that is wrong.
    #[must_use]
    pub fn wrong(mut self, at: impl Into<String>, detail: impl Into<String>) -> Self {
        self.errors.push(Wrong {
            at: at.into(),
            detail: detail.into(),
        });
        self
    }

    /// Its name for programs.
    #[must_use]
    pub fn kind(&self) -> &str {
        self.type_uri.strip_prefix(TYPES).unwrap_or(&self.type_uri)
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.title)?;
        if let Some(detail) = &self.detail {
            write!(f, ": {detail}")?;
        }
        for wrong in &self.errors {
            write!(f, "; {}: {}", wrong.at, wrong.detail)?;
        }
        if let Some(seconds) = self.retry_after_s {
            write!(f, " (try again in {seconds} s)")?;
        }
        Ok(())
    }
}

impl std::error::Error for Problem {}
