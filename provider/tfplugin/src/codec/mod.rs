//! Values on the wire: MessagePack between Terraform and provider, JSON for stored state.
//!
//! What arrives is not trusted: nesting is limited, no memory is set aside for a length that is merely claimed,
//! and whatever does not have the shape of its type is an error that says where.

pub mod json;
pub mod msgpack;

#[cfg(test)]
mod fuzz;

use crate::value::{Path, Step};

/// Values nested deeper than this are refused.
pub const MAX_DEPTH: usize = 128;

/// A value that could not be read or written.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}{problem}", place(.path))]
pub struct CodecError {
    /// Where in the value.
    pub path: Path,
    /// What is wrong there.
    pub problem: CodecProblem,
}

/// What can be wrong with a value on the wire.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CodecProblem {
    /// The bytes end inside a value.
    #[error("the bytes end inside a value")]
    Truncated,
    /// Something follows the value.
    #[error("{0} bytes follow the value")]
    Trailing(usize),
    /// A value of another kind than its type demands.
    #[error("{found} where {expected} belongs")]
    Kind {
        /// What the type demands.
        expected: String,
        /// What is there.
        found: String,
    },
    /// A marker that MessagePack reserves.
    #[error("byte {0:#04x} begins no value")]
    Reserved(u8),
    /// An extension that means nothing here.
    #[error("extension {0} means nothing here")]
    Extension(i8),
    /// Text that is not UTF-8.
    #[error("text is not UTF-8")]
    Utf8,
    /// A text or float that is no number.
    #[error(transparent)]
    Number(#[from] crate::value::NumberError),
    /// A dynamic value's type cannot be read.
    #[error(transparent)]
    Type(#[from] crate::value::TypeError),
    /// A tuple or object of another size than its type.
    #[error("{found} elements where {expected} belong")]
    Length {
        /// Elements of the type.
        expected: usize,
        /// Elements of the value.
        found: usize,
    },
    /// An object lacks an attribute.
    #[error("attribute {0} is missing")]
    Missing(String),
    /// An object has an attribute that its type lacks.
    #[error("there is no attribute {0}")]
    Unsupported(String),
    /// A key stands twice.
    #[error("key {0} stands twice")]
    Duplicate(String),
    /// An object has an attribute more than once.
    #[error("an attribute stands more than once")]
    Repeated,
    /// A dynamic value whose type is again dynamic, or that has none.
    #[error("a dynamic value without a type of its own")]
    Untyped,
    /// Nested too deeply.
    #[error("nested more than {MAX_DEPTH} deep")]
    TooDeep,
    /// Longer than MessagePack can say.
    #[error("too long for the wire")]
    TooLong,
    /// Not JSON.
    #[error("{0}")]
    Json(String),
}

fn place(path: &Path) -> String {
    if path.is_root() {
        String::new()
    } else {
        format!("{path}: ")
    }
}

/// An error on its way up: the steps are collected innermost first, and only where there is an error.
#[derive(Debug)]
struct Failure {
    steps: Vec<Step>,
    problem: CodecProblem,
}

impl<P: Into<CodecProblem>> From<P> for Failure {
    fn from(problem: P) -> Self {
        Self {
            steps: Vec::new(),
            problem: problem.into(),
        }
    }
}

impl From<Failure> for CodecError {
    fn from(mut failure: Failure) -> Self {
        failure.steps.reverse();
        Self {
            path: Path(failure.steps),
            problem: failure.problem,
        }
    }
}

/// Adds a step to a failure that comes from below it.
fn at<T>(result: Result<T, Failure>, step: impl FnOnce() -> Step) -> Result<T, Failure> {
    result.map_err(|mut failure| {
        failure.steps.push(step());
        failure
    })
}
