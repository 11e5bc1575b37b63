//! A login that belongs to one connection, whichever way it is made.

use super::kerberos;
use super::negotiate;
use super::sealed::Sealed;

/// Whether a login has come to its end on this side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    NotYet,
    Reached,
}

/// Why a login or a seal does not come about.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(super) struct Failed(String);

impl Failed {
    pub(super) fn new(why: &str) -> Self {
        Self(why.to_owned())
    }
}

impl From<sspi::Error> for Failed {
    fn from(error: sspi::Error) -> Self {
        Self(error.to_string())
    }
}

impl From<picky_krb::crypto::KerberosCryptoError> for Failed {
    fn from(error: picky_krb::crypto::KerberosCryptoError) -> Self {
        Self(error.to_string())
    }
}

impl From<picky_asn1_der::Asn1DerError> for Failed {
    fn from(error: picky_asn1_der::Asn1DerError) -> Self {
        Self(format!("a message of Kerberos cannot be read: {error}"))
    }
}

/// A login.
pub(super) enum Session {
    Ntlm(Box<negotiate::Session>),
    Kerberos(kerberos::Context),
}

impl Session {
    /// What is sent next, after this came; nothing has come yet at the first step.
    pub(super) fn step(&mut self, token: Vec<u8>) -> Result<(Vec<u8>, End), Failed> {
        match self {
            Self::Ntlm(session) => Ok(session.step(token)?),
            Self::Kerberos(context) => context.step(&token),
        }
    }

    pub(super) fn seal(&mut self, plain: &[u8]) -> Result<Sealed, Failed> {
        match self {
            Self::Ntlm(session) => Ok(session.seal(plain)?),
            Self::Kerberos(context) => context.seal(plain),
        }
    }

    pub(super) fn open(&mut self, sealed: Sealed) -> Result<Vec<u8>, Failed> {
        match self {
            Self::Ntlm(session) => Ok(session.open(sealed)?),
            Self::Kerberos(context) => context.open(&sealed),
        }
    }
}
