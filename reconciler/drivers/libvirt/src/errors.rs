//! libvirt's errors as what the caller must do about them.

use labyard_driver::DriverError;
use labyard_driver::ids::ObjectId;
use libvirt_rpc::{Error, ErrorCode, ErrorDomain, ServerError, Uuid};

const ENOSPC: i32 = 28;
const EDQUOT: i32 = 122;

/// What is being done to what; the words of an error.
#[derive(Clone, Debug)]
pub(crate) struct Act {
    doing: String,
    what: String,
    subject: Subject,
}

/// What an act is on, where it matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Subject {
    /// A pool, or something new in one.
    Pool,
    /// Anything else.
    Other,
}

impl Act {
    /// `Act::on("starting", "machine web")`.
    pub(crate) fn on(verb: &str, what: impl Into<String>) -> Self {
        let what = what.into();
        Self {
            doing: format!("{verb} {what}"),
            what,
            subject: Subject::Other,
        }
    }

    /// The same for a pool, or for something new in one.
    pub(crate) fn on_pool(verb: &str, what: impl Into<String>) -> Self {
        Self {
            subject: Subject::Pool,
            ..Self::on(verb, what)
        }
    }

    /// What it is on.
    pub(crate) fn subject(&self) -> Subject {
        self.subject
    }

    /// The words for it.
    pub(crate) fn doing(&self) -> &str {
        &self.doing
    }

    /// The words for what is being uploaded to it.
    pub(crate) fn source(&self) -> String {
        format!("the content of {}", self.what)
    }

    /// It does not exist.
    pub(crate) fn missing(&self) -> DriverError {
        DriverError::Missing {
            what: self.what.clone(),
        }
    }

    /// It exists already.
    pub(crate) fn exists(&self) -> DriverError {
        DriverError::Exists {
            what: self.what.clone(),
        }
    }

    /// It will not be done.
    pub(crate) fn refused(&self, message: impl Into<String>) -> DriverError {
        DriverError::Refused {
            doing: self.doing.clone(),
            message: message.into(),
        }
    }

    /// Not now.
    pub(crate) fn busy(&self, message: impl Into<String>) -> DriverError {
        DriverError::Busy {
            doing: self.doing.clone(),
            message: message.into(),
        }
    }

    /// Nobody knows whether it was done.
    pub(crate) fn reply_lost(&self, message: impl Into<String>) -> DriverError {
        DriverError::ReplyLost {
            doing: self.doing.clone(),
            message: message.into(),
        }
    }

    /// There is no room for it.
    pub(crate) fn no_space(&self) -> DriverError {
        DriverError::NoSpace {
            doing: self.doing.clone(),
        }
    }

    /// What went wrong with a call made for it.
    pub(crate) fn failed(&self, error: &Error) -> DriverError {
        match error {
            Error::Server { error, .. } => self.answered(error),
            Error::ConnectionLost { .. } | Error::Timeout { .. } | Error::Decode { .. } => {
                self.reply_lost(error.to_string())
            }
            Error::Stream { .. } | Error::Encode { .. } => self.refused(error.to_string()),
            _ => DriverError::Unreachable {
                message: error.to_string(),
            },
        }
    }

    fn answered(&self, error: &ServerError) -> DriverError {
        use ErrorCode as C;
        let text = error.message.trim_end();
        match error.code {
            C::NoDomain | C::NoNetwork | C::NoStorageVol => self.missing(),
            C::StorageVolExist | C::DomExist | C::NetworkExist => self.exists(),
            C::OperationTimeout
            | C::ResourceBusy
            | C::AgentUnresponsive
            | C::AgentCommandTimeout
            | C::AgentUnsynced => self.busy(text),
            C::SystemError if matches!(error.int1, ENOSPC | EDQUOT) => self.no_space(),
            C::SystemError if error.domain == ErrorDomain::Rpc => self.reply_lost(text),
            C::NoSupport | C::OperationUnsupported | C::ArgumentUnsupported | C::ConfigUnsupported => {
                DriverError::Unsupported {
                    what: self.doing.clone(),
                    message: text.to_owned(),
                }
            }
            C::Rpc if error.is_unknown_call() => DriverError::Unsupported {
                what: self.doing.clone(),
                message: format!("the host's libvirt is too old for it: {text}"),
            },
            C::OperationDenied => self.refused(format!(
                "{text} (the connection may only read: is ?mode=ro in its URI?)"
            )),
            C::AccessDenied => self.refused(format!(
                "{text} (the host's rules do not let this account do it: `access_drivers` in its \
                 /etc/libvirt/libvirtd.conf, and polkit's rules for org.libvirt.api in /etc/polkit-1/rules.d)"
            )),
            C::InternalError => self.internal(text),
            _ => self.refused(error.to_string()),
        }
    }

    /// One code stands for many things, which only its text tells apart.
    fn internal(&self, text: &str) -> DriverError {
        if text.contains("No space left on device") {
            self.no_space()
        } else if text.contains("lock") && text.contains("Failed to get") {
            self.busy(format!("{text} (another process uses the disk)"))
        } else if text.contains("asynchronous jobs running") {
            self.busy(text)
        } else if text.contains("Tray of device") && text.contains("is not open") {
            // Opened by libvirt for the change, and closed again before it by a guest that looks what is in it.
            self.busy(format!("{text} (the guest has closed it)"))
        } else {
            self.refused(text)
        }
    }

    /// The id as libvirt knows it.
    pub(crate) fn uuid(&self, id: &ObjectId) -> Result<Uuid, DriverError> {
        Uuid::parse_str(id.as_str()).map_err(|_| self.refused(format!("'{id}' is no UUID")))
    }
}

/// Gives a call's error the words of what it was made for.
pub(crate) trait During<T> {
    /// With these words.
    fn during(self, act: &Act) -> Result<T, DriverError>;
}

impl<T> During<T> for Result<T, Error> {
    fn during(self, act: &Act) -> Result<T, DriverError> {
        self.map_err(|error| act.failed(&error))
    }
}

/// libvirt's word that something is in the wrong state for a call: running, stopped, there already.
pub(crate) fn is_wrong_state<T>(result: &Result<T, Error>) -> bool {
    result.as_ref().err().is_some_and(Error::is_invalid_state)
}

/// The call's object is not there (any more).
pub(crate) fn is_missing(error: &Error) -> bool {
    error.is_no_domain() || error.is_no_network() || error.is_no_storage_vol()
}

#[cfg(test)]
mod tests {
    use libvirt_rpc::ErrorLevel;

    use super::*;

    fn answer(code: ErrorCode, domain: ErrorDomain, int1: i32, message: &str) -> DriverError {
        let error = ServerError {
            code,
            domain,
            level: ErrorLevel::Error,
            message: message.to_owned(),
            str1: None,
            str2: None,
            str3: None,
            int1,
            int2: 0,
        };
        Act::on("starting", "machine web").failed(&Error::Server {
            procedure: "X",
            error: Box::new(error),
        })
    }

    #[test]
    fn errors_are_told_apart_by_code_and_only_the_internal_one_by_text() {
        use {DriverError as D, ErrorCode as C, ErrorDomain as E};
        assert!(matches!(answer(C::NoDomain, E::Qemu, 0, ""), D::Missing { what } if what == "machine web"));
        assert!(matches!(
            answer(C::SystemError, E::Storage, 28, ""),
            D::NoSpace { .. }
        ));
        assert!(matches!(
            answer(C::SystemError, E::Storage, 2, "No space"),
            D::Refused { .. }
        ));
        assert!(matches!(
            answer(C::SystemError, E::Rpc, 0, ""),
            D::ReplyLost { .. }
        ));
        assert!(matches!(
            answer(C::OperationTimeout, E::None, 0, ""),
            D::Busy { .. }
        ));
        assert!(matches!(
            answer(C::OperationUnsupported, E::Qemu, 0, ""),
            D::Unsupported { .. }
        ));
        assert!(matches!(
            answer(C::InternalError, E::None, 0, "No space left on device"),
            D::NoSpace { .. }
        ));
        assert!(matches!(
            answer(C::InternalError, E::Qemu, 0, "Failed to get \"write\" lock"),
            D::Busy { .. }
        ));
        let closed = "unable to execute QEMU command 'blockdev-remove-medium': Tray of device 'ua-labyard-media-a' is not open";
        assert!(matches!(
            answer(C::InternalError, E::Qemu, 0, closed),
            D::Busy { .. }
        ));
        assert!(matches!(
            answer(C::InternalError, E::Qemu, 0, "No more PCI slots"),
            D::Refused { .. }
        ));
    }

    #[test]
    fn a_missing_pool_is_never_a_missing_object() {
        let error = answer(ErrorCode::NoStoragePool, ErrorDomain::Storage, 0, "no pool");
        assert!(matches!(error, DriverError::Refused { .. }));
    }
}
