//! What goes wrong on a host, as all drivers tell it.

use labyard_driver::DriverError;
use wsman::{Error, FaultKind};

/// An error of the wire, told by what was being done.
pub(crate) fn failed(doing: String, error: Error) -> DriverError {
    let message = error.to_string();
    match error.fault() {
        Some(FaultKind::NotFound) => DriverError::Missing {
            what: format!("what is needed for {doing}"),
        },
        Some(FaultKind::AccessDenied) => DriverError::Refused {
            doing,
            message: format!(
                "{message}. The account lacks a right: membership of Hyper-V Administrators for machines and switches; of \
                 Administrators for the host's own addresses, NAT, TPM and clusters"
            ),
        },
        Some(FaultKind::NoSuchClass) => DriverError::Unsupported {
            what: doing,
            message: format!(
                "{message}. Is the Hyper-V role installed? On the host, in PowerShell: Install-WindowsFeature Hyper-V -Restart"
            ),
        },
        Some(FaultKind::Quota | FaultKind::ContextGone) => DriverError::Busy { doing, message },
        Some(FaultKind::TimedOut) => DriverError::ReplyLost { doing, message },
        Some(_) => DriverError::Refused { doing, message },
        None => match error {
            Error::NotSent(_) => DriverError::Unreachable { message },
            other if other.may_be_done() => DriverError::ReplyLost { doing, message },
            _ => DriverError::Refused { doing, message },
        },
    }
}

/// What a method of Hyper-V returns, or a job ends with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Code {
    /// Done.
    Done,
    /// Under way, as a job.
    Job,
    /// The state of the machine does not allow it, or something else still goes on with it.
    State,
    /// Not without a right.
    Denied,
    /// In use.
    InUse,
    /// Not with these parameters.
    Parameter,
    /// The host cannot.
    Unsupported,
    /// No file of that name.
    NoFile,
    /// It took too long, or the state is not known.
    Unknown,
    /// Anything else.
    Failed(u32),
}

impl Code {
    /// By the number: Msvm services (`ReturnValue` of their methods in Microsoft's reference), and those of CIM below 4096.
    pub(crate) fn of(number: u32) -> Self {
        match number {
            0 => Self::Done,
            4096 => Self::Job,
            1 | 32770 => Self::Unsupported,
            3 | 32771 | 32772 => Self::Unknown,
            5 | 32773 | 32776 => Self::Parameter,
            6 | 32774 => Self::InUse,
            4097 | 4099 | 32775 => Self::State,
            32769 => Self::Denied,
            32779 => Self::NoFile,
            other => Self::Failed(other),
        }
    }

    /// The error that it is; `None` where it is done or under way.
    pub(crate) fn error(self, number: u32, doing: &str, said: &str) -> Option<DriverError> {
        let doing = doing.to_owned();
        let with = |words: &str| match said {
            "" => format!("{words} (code {number})"),
            said => format!("{words} (code {number}): {said}"),
        };
        Some(match self {
            Self::Done | Self::Job => return None,
            Self::State => DriverError::Busy {
                doing,
                message: with("the host says that the state it is in does not allow it now"),
            },
            Self::InUse => DriverError::Busy {
                doing,
                message: with("something that it needs is in use"),
            },
            Self::Unknown => DriverError::ReplyLost {
                doing,
                message: with("the host does not know how it ended"),
            },
            Self::Denied => DriverError::Refused {
                doing,
                message: with("access is denied: the account has to be a member of Hyper-V Administrators"),
            },
            Self::Unsupported => DriverError::Unsupported {
                what: doing,
                message: with("the host cannot"),
            },
            Self::NoFile => DriverError::Missing {
                what: with(&format!("a file that is needed for {doing}")),
            },
            Self::Parameter => DriverError::Refused {
                doing,
                message: with("the host does not take these values"),
            },
            Self::Failed(_) => DriverError::Refused {
                doing,
                message: with("the host failed"),
            },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_done_and_a_job_are_no_error() {
        let fine: Vec<u32> = (0..=40_000)
            .filter(|number| Code::of(*number).error(*number, "x", "").is_none())
            .collect();
        assert_eq!(fine, [0, 4096]);
    }

    #[test]
    fn what_may_pass_by_itself_is_transient() {
        let transient: Vec<u32> = (32768..=32790)
            .filter(|number| {
                Code::of(*number)
                    .error(*number, "x", "")
                    .is_some_and(|error| error.is_transient())
            })
            .collect();
        assert_eq!(transient, [32771, 32772, 32774, 32775]);
    }
}
