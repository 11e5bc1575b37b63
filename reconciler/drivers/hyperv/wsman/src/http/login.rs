//! Who asks.

use zeroize::Zeroizing;

/// How a client says who it is.
#[derive(Clone)]
#[non_exhaustive]
pub enum Login {
    /// By user and password in each request.
    Basic(Account),
    /// By the client certificate of the TLS settings, which the host maps to an account.
    Certificate,
}

/// A user of the host or of its domain.
#[derive(Clone)]
pub struct Account {
    /// The name.
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

    pub(crate) fn password(&self) -> &str {
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
    pub(crate) fn scheme(&self) -> &'static str {
        match self {
            Self::Basic(_) => "Basic",
            Self::Certificate => "Certificate",
        }
    }

    pub(crate) fn user(&self) -> String {
        match self {
            Self::Basic(account) => account.user.clone(),
            Self::Certificate => "the client certificate".to_owned(),
        }
    }

    /// What each request says of it.
    pub(crate) fn header(&self) -> Zeroizing<String> {
        use base64::Engine as _;
        let encode = |text: &str| base64::engine::general_purpose::STANDARD.encode(text);
        Zeroizing::new(match self {
            Self::Basic(account) => {
                let pair = Zeroizing::new(format!("{}:{}", account.user, account.password()));
                format!("Basic {}", encode(&pair))
            }
            // [MS-WSMV] 2.2.9.1: the scheme of certificates.
            Self::Certificate => {
                "http://schemas.dmtf.org/wbem/wsman/1/wsman/secprofile/https/mutual".to_owned()
            }
        })
    }
}
