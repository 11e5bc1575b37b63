//! What methods answer, and why they refuse. The numbers are for tests as well.

use crate::cim::{Instance, Value};
use crate::contract::{Parameters, WmiFault};

/// Done.
pub const DONE: u32 = 0;
/// A job does it.
pub const JOB: u32 = 4096;
/// Failed.
pub const FAILED: u32 = 32768;
/// Access denied.
pub const ACCESS_DENIED: u32 = 32769;
/// Not supported.
pub const NOT_SUPPORTED: u32 = 32770;
/// Invalid parameter.
pub const INVALID_PARAMETER: u32 = 32773;
/// Something is in use.
pub const IN_USE: u32 = 32774;
/// Not in this state.
pub const INVALID_STATE: u32 = 32775;
/// Incorrect data type.
pub const INCORRECT_TYPE: u32 = 32776;
/// Out of memory.
pub const OUT_OF_MEMORY: u32 = 32778;
/// File not found.
pub const FILE_NOT_FOUND: u32 = 32779;
/// The guest's service is not ready.
pub const NOT_READY: u32 = 32780;
/// The guest is locked.
pub const LOCKED: u32 = 32781;
/// A shutdown is under way.
pub const IN_PROGRESS: u32 = 32782;

/// WBEM_E_ALREADY_EXISTS.
pub(crate) const ALREADY_EXISTS: WmiFault = WmiFault(0x8004_1019);
/// ERROR_INVALID_PARAMETER as a result of Windows.
pub(crate) const WINDOWS_INVALID_PARAMETER: WmiFault = WmiFault(0x8007_0057);

/// Why a method stopped before it began.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Stop {
    /// By its ReturnValue; the words are for whoever reads a test.
    Code(u32, String),
    /// By a fault.
    Fault(WmiFault, String),
}

/// Why a job failed.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Failure {
    /// ErrorCode of the job.
    pub(crate) code: u32,
    /// ErrorDescription of the job.
    pub(crate) text: String,
}

/// A refusal by code.
pub(crate) fn stop<T>(code: u32, why: impl Into<String>) -> Result<T, Stop> {
    Err(Stop::Code(code, why.into()))
}

/// A refusal by fault.
pub(crate) fn fault<T>(fault: WmiFault, why: impl Into<String>) -> Result<T, Stop> {
    Err(Stop::Fault(fault, why.into()))
}

/// A job's failure.
pub(crate) fn fail<T>(code: u32, text: impl Into<String>) -> Result<T, Failure> {
    Err(Failure {
        code,
        text: text.into(),
    })
}

/// An answer with only a code.
pub(crate) fn answer(code: u32) -> Parameters {
    Parameters::from([("ReturnValue".to_owned(), Value::Unsigned(u64::from(code)))])
}

/// Parameters of a call, as the model reads them.
pub(crate) struct Input<'a>(pub(crate) &'a Parameters);

impl<'a> Input<'a> {
    /// A parameter; null where it was not sent.
    pub(crate) fn get(&self, name: &str) -> &'a Value {
        static NULL: Value = Value::Null;
        let found = self.0.iter().find(|(there, _)| there.eq_ignore_ascii_case(name));
        found.map_or(&NULL, |(_, value)| value)
    }

    /// An embedded instance of exactly this class.
    pub(crate) fn instance(&self, name: &str, class: &str) -> Result<&'a Instance, Stop> {
        match self.get(name) {
            Value::Instance(found) if found.class.eq_ignore_ascii_case(class) => Ok(found),
            Value::Instance(other) => stop(
                INVALID_PARAMETER,
                format!("{name} is of {}, not of {class}", other.class),
            ),
            _ => stop(INVALID_PARAMETER, format!("{name} is missing")),
        }
    }

    /// Embedded instances, at least one.
    pub(crate) fn instances(&self, name: &str) -> Result<Vec<&'a Instance>, Stop> {
        let found: Option<Vec<&Instance>> = self
            .get(name)
            .each()
            .iter()
            .map(|one| match one {
                Value::Instance(instance) => Some(instance.as_ref()),
                _ => None,
            })
            .collect();
        match found {
            Some(found) if !found.is_empty() => Ok(found),
            _ => stop(INVALID_PARAMETER, format!("{name} holds no instances")),
        }
    }

    /// References, at least one.
    pub(crate) fn references(&self, name: &str) -> Result<Vec<&'a crate::cim::Path>, Stop> {
        let found: Option<Vec<&crate::cim::Path>> = self
            .get(name)
            .each()
            .iter()
            .map(|one| match one {
                Value::Reference(path) => Some(path),
                _ => None,
            })
            .collect();
        match found {
            Some(found) if !found.is_empty() => Ok(found),
            _ => stop(INVALID_PARAMETER, format!("{name} holds no references")),
        }
    }

    /// A reference.
    pub(crate) fn reference(&self, name: &str) -> Result<&'a crate::cim::Path, Stop> {
        match self.get(name) {
            Value::Reference(path) => Ok(path),
            _ => stop(INVALID_PARAMETER, format!("{name} is missing")),
        }
    }

    /// A text.
    pub(crate) fn text(&self, name: &str) -> Result<&'a str, Stop> {
        match self.get(name).as_text() {
            Some(text) if !text.is_empty() => Ok(text),
            _ => stop(INVALID_PARAMETER, format!("{name} is missing")),
        }
    }

    /// A number.
    pub(crate) fn number(&self, name: &str) -> Result<u64, Stop> {
        match self.get(name).as_unsigned() {
            Some(number) => Ok(number),
            None => stop(INVALID_PARAMETER, format!("{name} is missing")),
        }
    }
}
