//! Who asks.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use zeroize::Zeroizing;

/// How a client says who it is.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Login {
    /// By user and password in each request.
    Basic(Account),
    /// By the client certificate of the TLS settings, which the host maps to an account.
    Certificate,
    /// By a proof of the password, NTLM's, that belongs to the connection, and that seals what is sent where TLS does not.
    Negotiate(Account),
}

/// A user of the host or of its domain.
#[derive(Clone)]
pub struct Account {
    /// The name: `NAME` of a user of the host, `DOMAIN\NAME` of one of a domain.
    pub user: String,
    password: Zeroizing<String>,
}

impl Account {
    /// A user with a password.
    pub fn new(user: impl Into<String>, password: impl Into<String>) -> Self {
        Self {
            user: user.into(),
            password: Zeroizing::new(password.into()),
        }
    }

    pub(super) fn password(&self) -> &str {
        &self.password
    }
}

impl std::fmt::Debug for Account {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Account")
            .field("user", &self.user)
            .finish_non_exhaustive()
    }
}

impl Login {
    /// As it stands in `WWW-Authenticate`.
    pub(super) fn scheme(&self) -> &'static str {
        match self {
            Self::Basic(_) => "Basic",
            Self::Certificate => "Certificate",
            Self::Negotiate(_) => "Negotiate",
        }
    }

    pub(super) fn user(&self) -> String {
        match self {
            Self::Basic(account) | Self::Negotiate(account) => account.user.clone(),
            Self::Certificate => "the client certificate".to_owned(),
        }
    }

    /// What each request says of it; nothing where the connection is logged in.
    pub(super) fn header(&self) -> Option<Zeroizing<String>> {
        let header = match self {
            Self::Basic(account) => {
                let pair = Zeroizing::new(format!("{}:{}", account.user, account.password()));
                format!("Basic {}", BASE64.encode(pair.as_bytes()))
            }
            // [MS-WSMV] 2.2.9.1: the scheme of certificates.
            Self::Certificate => {
                "http://schemas.dmtf.org/wbem/wsman/1/wsman/secprofile/https/mutual".to_owned()
            }
            Self::Negotiate(_) => return None,
        };
        Some(Zeroizing::new(header))
    }
}
