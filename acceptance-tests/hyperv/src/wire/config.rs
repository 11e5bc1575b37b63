//! What a server is told before it starts.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use crate::schema::Build;

/// How a server is set up. [`Config::new`] is a host as Windows sets it up: HTTP and HTTPS, Negotiate, nothing in the clear.
#[derive(Clone, Debug)]
pub struct Config {
    /// The computer's name; the model should have the same.
    pub name: String,
    /// Which classes it has.
    pub build: Build,
    /// Who may come in.
    pub users: Vec<User>,
    /// Where HTTP is served; port 0 is a free one.
    pub http: Option<SocketAddr>,
    /// Where HTTPS is served.
    pub https: Option<SocketAddr>,
    /// The certificate and its key, both PEM; one is made where there is none.
    pub certificate: Option<Certificate>,
    /// Which logins are offered.
    pub offers: Offers,
    /// Whether requests over HTTP have to be sealed (`AllowUnencrypted`).
    pub unencrypted: Unencrypted,
    /// What a login over HTTPS has to be bound to (`CbtHardeningLevel`).
    pub hardening: Hardening,
    /// Limits, as `winrm/config` tells them.
    pub limits: Limits,
}

/// A certificate with its key.
#[derive(Clone)]
pub struct Certificate {
    /// The certificate, PEM, signed by SHA-256.
    pub certificate: String,
    /// Its key, PEM.
    pub key: String,
}

impl std::fmt::Debug for Certificate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Certificate").finish_non_exhaustive()
    }
}

/// Logins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Offers {
    /// NTLM, bare or in SPNEGO.
    pub negotiate: bool,
    /// User and password.
    pub basic: bool,
    /// Client certificates, over HTTPS.
    pub certificate: bool,
}

/// What is not sealed, over HTTP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unencrypted {
    /// Is taken.
    Allowed,
    /// Is answered with an empty error.
    Refused,
}

/// Channel bindings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hardening {
    /// Are not looked at.
    None,
    /// Have to fit where there are any.
    Relaxed,
    /// Have to be there and to fit.
    Strict,
}

/// Limits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// `MaxEnvelopeSizekb`.
    pub envelope_kib: usize,
    /// `MaxTimeoutms`.
    pub timeout: Duration,
    /// `MaxBatchItems`.
    pub batch: usize,
    /// `EnumerationTimeoutms`: how long an enumeration may lie.
    pub enumeration: Duration,
    /// `MaxConnections`.
    pub connections: usize,
    /// `MaxConcurrentOperationsPerUser`.
    pub operations: usize,
}

impl Default for Limits {
    /// Those of a fresh Windows.
    fn default() -> Self {
        Self {
            envelope_kib: 500,
            timeout: Duration::from_secs(60),
            batch: 32000,
            enumeration: Duration::from_secs(240),
            connections: 300,
            operations: 1500,
        }
    }
}

/// An account.
#[derive(Clone)]
pub struct User {
    /// Its name.
    pub name: String,
    /// Its domain; none for an account of the computer itself.
    pub domain: Option<String>,
    pub(crate) password: String,
    /// What it may.
    pub rights: Rights,
    /// The client certificate that is mapped to it, DER.
    pub certificate: Option<Vec<u8>>,
}

impl std::fmt::Debug for User {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("User")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

/// What an account may.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rights {
    /// Everything.
    Administrator,
    /// Machines, disks and switches (Hyper-V Administrators): neither the network's addresses, nor guardians, cluster, files and
    /// settings of the service.
    HyperV,
    /// To log in (Remote Management Users): Hyper-V's classes are empty, and its methods say access denied.
    Remote,
    /// Not even the namespaces.
    None,
}

impl User {
    /// An administrator of the computer.
    pub fn administrator(name: &str, password: &str) -> Self {
        Self {
            name: name.to_owned(),
            domain: None,
            password: password.to_owned(),
            rights: Rights::Administrator,
            certificate: None,
        }
    }

    /// The domain that stands before its name, on a computer of that name.
    pub(crate) fn domain_on<'a>(&'a self, computer: &'a str) -> &'a str {
        self.domain.as_deref().unwrap_or(computer)
    }

    /// The same with other rights.
    #[must_use]
    pub fn with(mut self, rights: Rights) -> Self {
        self.rights = rights;
        self
    }
}

impl Config {
    /// A host `HV7` on free ports of loopback, with these users.
    pub fn new(users: Vec<User>) -> Self {
        let free = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        Self {
            name: "HV7".to_owned(),
            build: Build::Server2019,
            users,
            http: Some(free),
            https: Some(free),
            certificate: None,
            offers: Offers {
                negotiate: true,
                basic: false,
                certificate: false,
            },
            unencrypted: Unencrypted::Refused,
            hardening: Hardening::Relaxed,
            limits: Limits::default(),
        }
    }
}

/// What becomes of a request for lack of rights.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Access {
    Granted,
    /// Nothing is there.
    Empty,
    /// Denied by the service.
    Service,
    /// Denied by WMI.
    Wmi,
}

impl Rights {
    /// To a class.
    pub(crate) fn to(self, namespace: &str, class: &str) -> Access {
        let hyper_v = matches!(namespace, "root/virtualization/v2" | "root/hypervcluster/v2");
        let files = ["CIM_DataFile", "Win32_Directory", "CIM_LogicalFile"];
        let facts = namespace == "root/cimv2" && !files.iter().any(|file| file.eq_ignore_ascii_case(class));
        match self {
            Self::Administrator => Access::Granted,
            Self::HyperV if hyper_v || facts => Access::Granted,
            Self::Remote if hyper_v => Access::Empty,
            Self::Remote if facts => Access::Granted,
            Self::HyperV | Self::Remote => Access::Wmi,
            Self::None => Access::Service,
        }
    }
}
