//! What can go wrong in the harness itself, apart from what a test asserts.

use std::time::Duration;

/// A failure of the harness or of a tool it calls.
#[derive(Debug, thiserror::Error)]
pub enum HarnessError {
    /// A program ended with another status than success.
    #[error("`{command}` ended with {status}\n{output}")]
    Failed {
        /// Program and arguments.
        command: String,
        /// How it ended.
        status: std::process::ExitStatus,
        /// What it wrote, both streams.
        output: String,
    },
    /// A program could not be started.
    #[error("`{command}` cannot be started")]
    NotStarted {
        /// Program and arguments.
        command: String,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// Something did not come true in time.
    #[error("{what}: not within {limit:?}; last seen: {last}")]
    TooLate {
        /// What was waited for.
        what: String,
        /// How long.
        limit: Duration,
        /// What stood there instead.
        last: String,
    },
    /// An answer that is not what the tool's own documentation promises.
    #[error("{what} answers with what cannot be read: {text}")]
    Unreadable {
        /// Who answered.
        what: String,
        /// What.
        text: String,
    },
    /// The C library's error.
    #[error("libvirt: {0}")]
    Libvirt(#[from] virt::error::Error),
    /// A file of the harness.
    #[error("{what}")]
    File {
        /// What was to be done, with the path.
        what: String,
        /// Why it failed.
        #[source]
        source: std::io::Error,
    },
}

impl HarnessError {
    /// For a file with which something went wrong.
    pub fn file(what: impl Into<String>) -> impl FnOnce(std::io::Error) -> Self {
        let what = what.into();
        move |source| Self::File { what, source }
    }
}

/// A result of the harness.
pub type Result<T> = std::result::Result<T, HarnessError>;
