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
    /// By a ticket of Kerberos, that belongs to the connection, too, and seals likewise. The endpoint's host has to be a name
    /// that the domain knows the service by. Whoever gives tickets is asked directly, whatever leads to the host.
    Kerberos(Principal),
}

/// A user of a realm of Kerberos, which an Active Directory domain is one of.
///
/// ```
/// # use wsman::http::Principal;
/// let op: Principal = Principal::parse("op@EXAMPLE.ORG", "secret").unwrap();
/// assert_eq!((op.name.as_str(), op.realm.as_str(), op.kdc), ("op", "EXAMPLE.ORG", None));
/// ```
#[derive(Clone)]
pub struct Principal {
    /// The name, without the realm.
    pub name: String,
    /// The realm; that of a domain has its name in capitals.
    pub realm: String,
    /// Host and port of the key distribution centre. Without it krb5.conf tells, and where that does not, it is whoever has
    /// the realm's name.
    pub kdc: Option<String>,
    password: Zeroizing<String>,
}

impl Principal {
    /// A user with a password.
    pub fn new(name: impl Into<String>, realm: impl Into<String>, password: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            realm: realm.into(),
            kdc: None,
            password: Zeroizing::new(password.into()),
        }
    }

    /// `NAME@REALM`; `None` where it has another form.
    pub fn parse(user: &str, password: impl Into<String>) -> Option<Self> {
        let (name, realm) = user.rsplit_once('@')?;
        let is_whole = !name.is_empty() && !realm.is_empty();
        is_whole.then(|| Self::new(name, realm, password))
    }

    /// By a centre of one's own choice, `HOST` or `HOST:PORT`.
    #[must_use]
    pub fn centre(self, kdc: Option<String>) -> Self {
        let with_port = |kdc: String| match kdc.parse::<std::net::IpAddr>() {
            Ok(std::net::IpAddr::V6(address)) => format!("[{address}]:88"),
            _ if kdc.ends_with(']') || !kdc.contains(':') => format!("{kdc}:88"),
            _ => kdc,
        };
        Self {
            kdc: kdc.map(with_port),
            ..self
        }
    }

    pub(super) fn password(&self) -> &str {
        &self.password
    }
}

impl std::fmt::Debug for Principal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Principal")
            .field("name", &self.name)
            .field("realm", &self.realm)
            .finish_non_exhaustive()
    }
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
            // A ticket, too, is shown under that scheme.
            Self::Negotiate(_) | Self::Kerberos(_) => "Negotiate",
        }
    }

    /// What it is called where it is looked at.
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Self::Negotiate(_) => "NTLM",
            Self::Kerberos(_) => "Kerberos",
            other => other.scheme(),
        }
    }

    pub(super) fn user(&self) -> String {
        match self {
            Self::Basic(account) | Self::Negotiate(account) => account.user.clone(),
            Self::Certificate => "the client certificate".to_owned(),
            Self::Kerberos(principal) => format!("{}@{}", principal.name, principal.realm),
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
            Self::Negotiate(_) | Self::Kerberos(_) => return None,
        };
        Some(Zeroizing::new(header))
    }
}
