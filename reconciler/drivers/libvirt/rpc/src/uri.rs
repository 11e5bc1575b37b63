//! Connection URIs: `qemu:///system` and `qemu:///session` on this machine, `qemu+ssh://[user@]host[:port]/system` and
//! `qemu+tls://host[:port]/system` on another; and their parameters.

use std::path::PathBuf;
use std::str::FromStr;

use labyard_ssh::BadHost;
pub use labyard_ssh::Host as SshHost;

/// Where to connect to, and as what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConnectUri {
    /// Whose libvirt: the system's or the user's own.
    pub scope: Scope,
    /// What the connection may do.
    pub access: Access,
    /// The socket, where the URI names one: on the machine where libvirt runs.
    pub socket: Option<PathBuf>,
    /// How that machine is reached.
    pub reach: Reach,
}

/// How the machine with libvirt is reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reach {
    /// It is this one.
    Local,
    /// By SSH to its Unix socket.
    Ssh(SshHost),
    /// By TLS to its daemon.
    Tls(TlsHost),
}

/// A host that offers libvirt over TLS.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsHost {
    /// The host, as its certificate names it.
    pub host: String,
    /// The port; 16514 where it is left out.
    pub port: u16,
    /// The directory with certificates and key, instead of the usual places.
    pub pki: Option<PathBuf>,
}

/// The port of libvirt over TLS.
const TLS_PORT: u16 = 16514;

/// Whose libvirt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Scope {
    /// The system's.
    System,
    /// The user's own.
    Session,
}

/// What a connection may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Access {
    /// Everything.
    ReadWrite,
    /// Look.
    ReadOnly,
}

/// Why a URI cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum UriError {
    /// There is no `scheme://`.
    #[error("\"{uri}\" is not a connection URI; one looks like qemu:///system")]
    NotAUri {
        /// The text.
        uri: String,
    },
    /// Another hypervisor than QEMU.
    #[error("the driver \"{driver}\" is not supported, only qemu is (qemu:///system)")]
    Driver {
        /// The driver.
        driver: String,
    },
    /// A transport that does not exist here.
    #[error(
        "the transport \"{transport}\" is not supported; supported are Unix sockets (qemu:///system), SSH \
         (qemu+ssh://host/system) and TLS (qemu+tls://host/system)"
    )]
    Transport {
        /// The transport.
        transport: String,
    },
    /// A host without a word on how to reach it.
    #[error(
        "\"{host}\" is another host: say how to reach it, qemu+ssh://{host}/system or qemu+tls://{host}/system"
    )]
    RemoteHost {
        /// The host.
        host: String,
    },
    /// A transport to another host, and no host.
    #[error("qemu+{transport}:// needs a host: qemu+{transport}://host/system")]
    NoHost {
        /// The transport.
        transport: &'static str,
    },
    /// Something between `//` and the path that is no `[user@]host[:port]`.
    #[error("\"{authority}\" is not of the form {form}")]
    Authority {
        /// The text.
        authority: String,
        /// What it has to look like.
        form: &'static str,
    },
    /// Neither `/system` nor `/session`.
    #[error("the path \"{path}\" names no libvirt; it is /system or /session")]
    Path {
        /// The path.
        path: String,
    },
    /// A user's own libvirt does not listen for TLS.
    #[error("a session cannot be reached by TLS, only /system; by SSH both can")]
    TlsSession,
    /// A parameter that has no meaning here.
    #[error("the parameter \"{name}\" is not known here; known are {known}")]
    Parameter {
        /// Its name.
        name: String,
        /// The parameters that this transport takes.
        known: &'static str,
    },
    /// A wish to connect to whoever answers.
    #[error(
        "no_verify is not supported, since the other side is always verified: {instead} (docs/guides/remote-hosts.md)"
    )]
    NoVerify {
        /// What to do instead.
        instead: &'static str,
    },
    /// A mode other than `ro`.
    #[error("mode \"{value}\" is not supported; leave it out, or use mode=ro to only read")]
    Mode {
        /// The mode.
        value: String,
    },
    /// A file or directory that is not an absolute path.
    #[error("{name} \"{value}\" is not an absolute path")]
    NotAbsolute {
        /// The parameter.
        name: &'static str,
        /// The text.
        value: String,
    },
    /// A `%` that is not followed by two hexadecimal digits, or bytes that are not UTF-8.
    #[error("\"{value}\" is not correctly percent-encoded")]
    Encoding {
        /// The text.
        value: String,
    },
}

impl ConnectUri {
    /// The name under which the daemon opens the connection.
    pub fn daemon_name(&self) -> &'static str {
        match self.scope {
            Scope::System => "qemu:///system",
            Scope::Session => "qemu:///session",
        }
    }
}

impl FromStr for ConnectUri {
    type Err = UriError;

    fn from_str(uri: &str) -> Result<Self, UriError> {
        let (scheme, rest) = uri
            .split_once("://")
            .ok_or_else(|| UriError::NotAUri { uri: uri.to_owned() })?;
        let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
        let (authority, path) = match rest.find('/') {
            Some(slash) => rest.split_at(slash),
            None => (rest, ""),
        };
        let reach = reach(scheme, authority)?;
        let scope = match path {
            "/system" => Scope::System,
            "/session" if matches!(reach, Reach::Tls(_)) => return Err(UriError::TlsSession),
            "/session" => Scope::Session,
            other => {
                return Err(UriError::Path {
                    path: other.to_owned(),
                });
            }
        };
        let mut parsed = Self {
            scope,
            access: Access::ReadWrite,
            socket: None,
            reach,
        };
        query
            .split('&')
            .filter(|part| !part.is_empty())
            .try_for_each(|part| parsed.parameter(part))?;
        Ok(parsed)
    }
}

impl ConnectUri {
    fn parameter(&mut self, part: &str) -> Result<(), UriError> {
        let (name, value) = part.split_once('=').unwrap_or((part, ""));
        let value = percent_decode(value)?;
        match (name, &mut self.reach) {
            ("mode", _) if value == "ro" => self.access = Access::ReadOnly,
            ("mode", _) => return Err(UriError::Mode { value }),
            ("socket", Reach::Local | Reach::Ssh(_)) => self.socket = Some(absolute("socket", value)?),
            ("keyfile", Reach::Ssh(ssh)) => ssh.key_file = Some(absolute("keyfile", value)?),
            ("known_hosts", Reach::Ssh(ssh)) => ssh.known_hosts = Some(absolute("known_hosts", value)?),
            ("pkipath", Reach::Tls(tls)) => tls.pki = Some(absolute("pkipath", value)?),
            ("no_verify", Reach::Ssh(_)) => {
                return Err(UriError::NoVerify {
                    instead: "put the host's key into known_hosts, or into a file of its own named by known_hosts=",
                });
            }
            ("no_verify", Reach::Tls(_)) => {
                return Err(UriError::NoVerify {
                    instead: "put the certificate of the host's CA into a directory named by pkipath=",
                });
            }
            (other, reach) => {
                return Err(UriError::Parameter {
                    name: other.to_owned(),
                    known: reach.parameters(),
                });
            }
        }
        Ok(())
    }
}

impl Reach {
    fn parameters(&self) -> &'static str {
        match self {
            Self::Local => "socket and mode",
            Self::Ssh(_) => "socket, mode, keyfile and known_hosts",
            Self::Tls(_) => "mode and pkipath",
        }
    }
}

fn absolute(name: &'static str, value: String) -> Result<PathBuf, UriError> {
    let path = PathBuf::from(&value);
    if path.is_absolute() || value.starts_with('/') {
        Ok(path)
    } else {
        Err(UriError::NotAbsolute { name, value })
    }
}

fn reach(scheme: &str, authority: &str) -> Result<Reach, UriError> {
    let (driver, transport) = match scheme.split_once('+') {
        Some((driver, transport)) => (driver, Some(transport)),
        None => (scheme, None),
    };
    if driver != "qemu" {
        return Err(UriError::Driver {
            driver: driver.to_owned(),
        });
    }
    match transport {
        None | Some("unix") if authority.is_empty() => Ok(Reach::Local),
        None | Some("unix") => Err(UriError::RemoteHost {
            host: authority.to_owned(),
        }),
        Some("ssh") => {
            let host = authority_of(authority, "ssh", "[user@]host[:port]")?;
            Ok(Reach::Ssh(host))
        }
        Some("tls") => {
            let form = "host[:port]; who you are is told by the certificate";
            let place = authority_of(authority, "tls", form)?;
            if place.user.is_some() {
                return Err(UriError::Authority {
                    authority: authority.to_owned(),
                    form,
                });
            }
            Ok(Reach::Tls(TlsHost {
                host: place.host,
                port: place.port.unwrap_or(TLS_PORT),
                pki: None,
            }))
        }
        Some(other) => Err(UriError::Transport {
            transport: other.to_owned(),
        }),
    }
}

/// `[user@]host[:port]`.
fn authority_of(text: &str, transport: &'static str, form: &'static str) -> Result<SshHost, UriError> {
    text.parse().map_err(|error| match error {
        BadHost::Empty => UriError::NoHost { transport },
        BadHost::Encoding { value } => UriError::Encoding { value },
        BadHost::Form { .. } => UriError::Authority {
            authority: text.to_owned(),
            form,
        },
    })
}

fn percent_decode(text: &str) -> Result<String, UriError> {
    labyard_ssh::percent_decoded(text).ok_or_else(|| UriError::Encoding {
        value: text.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(uri: &str) -> Result<ConnectUri, UriError> {
        uri.parse()
    }

    #[test]
    fn the_plain_uris_name_the_system_and_the_session() {
        let plain = |scope| ConnectUri {
            scope,
            access: Access::ReadWrite,
            socket: None,
            reach: Reach::Local,
        };
        assert_eq!(parse("qemu:///system"), Ok(plain(Scope::System)));
        assert_eq!(parse("qemu:///session"), Ok(plain(Scope::Session)));
        assert_eq!(parse("qemu+unix:///system"), Ok(plain(Scope::System)));
    }

    #[test]
    fn a_socket_and_a_mode_are_taken_from_the_query() {
        let uri = parse("qemu+unix:///system?socket=/tmp/a%20b/libvirt-sock&mode=ro").unwrap();
        assert_eq!(uri.socket, Some(PathBuf::from("/tmp/a b/libvirt-sock")));
        assert_eq!(uri.access, Access::ReadOnly);
        assert_eq!(uri.daemon_name(), "qemu:///system");
    }

    #[test]
    fn what_cannot_be_used_is_refused_with_its_reason() {
        let cases = [
            ("", UriError::NotAUri { uri: String::new() }),
            (
                "qemu:/system",
                UriError::NotAUri {
                    uri: "qemu:/system".into(),
                },
            ),
            (
                "test:///default",
                UriError::Driver {
                    driver: "test".into(),
                },
            ),
            (
                "qemu+libssh2://host/system",
                UriError::Transport {
                    transport: "libssh2".into(),
                },
            ),
            ("qemu+ssh:///system", UriError::NoHost { transport: "ssh" }),
            ("qemu+tls://host/session", UriError::TlsSession),
            (
                "qemu+ssh://host/system?pkipath=/x",
                UriError::Parameter {
                    name: "pkipath".into(),
                    known: "socket, mode, keyfile and known_hosts",
                },
            ),
            ("qemu://host/system", UriError::RemoteHost { host: "host".into() }),
            ("qemu:///", UriError::Path { path: "/".into() }),
            ("qemu://", UriError::Path { path: String::new() }),
            ("qemu:///system?mode=rw", UriError::Mode { value: "rw".into() }),
            (
                "qemu:///system?socket=here",
                UriError::NotAbsolute {
                    name: "socket",
                    value: "here".into(),
                },
            ),
            (
                "qemu:///system?sock=/x",
                UriError::Parameter {
                    name: "sock".into(),
                    known: "socket and mode",
                },
            ),
            (
                "qemu:///system?socket=/%2",
                UriError::Encoding { value: "/%2".into() },
            ),
            (
                "qemu:///system?socket=/%ff",
                UriError::Encoding { value: "/%ff".into() },
            ),
        ];
        for (uri, error) in cases {
            assert_eq!(parse(uri), Err(error), "{uri}");
        }
    }

    #[test]
    fn a_host_behind_ssh_is_named_with_user_port_and_files() {
        let uri =
            parse("qemu+ssh://ad%40min@[fe80::1]:2222/session?socket=/s&keyfile=/k&known_hosts=/h&mode=ro")
                .unwrap();
        let host = SshHost {
            host: "fe80::1".into(),
            user: Some("ad@min".into()),
            port: Some(2222),
            key_file: Some("/k".into()),
            known_hosts: Some("/h".into()),
        };
        assert_eq!(uri.reach, Reach::Ssh(host));
        assert_eq!((uri.scope, uri.access), (Scope::Session, Access::ReadOnly));
        let bare = parse("qemu+ssh://lab/system").unwrap();
        assert!(
            matches!(&bare.reach, Reach::Ssh(ssh) if ssh.host == "lab" && ssh.user.is_none() && ssh.port.is_none())
        );
    }

    #[test]
    fn a_host_behind_tls_has_libvirts_port_unless_another_is_named() {
        let host = |port, pki: Option<&str>| {
            Reach::Tls(TlsHost {
                host: "lab".into(),
                port,
                pki: pki.map(PathBuf::from),
            })
        };
        assert_eq!(parse("qemu+tls://lab/system").unwrap().reach, host(16514, None));
        assert_eq!(
            parse("qemu+tls://lab:1/system?pkipath=/p").unwrap().reach,
            host(1, Some("/p"))
        );
    }

    #[test]
    fn what_would_skip_the_check_of_the_other_side_or_become_an_option_is_refused() {
        for uri in [
            "qemu+ssh://lab/system?no_verify=1",
            "qemu+tls://lab/system?no_verify=1",
        ] {
            assert!(matches!(parse(uri), Err(UriError::NoVerify { .. })), "{uri}");
        }
        for uri in [
            "qemu+ssh://-oProxyCommand=x/system",
            "qemu+ssh://-l@lab/system",
            "qemu+ssh://lab:0/system",
            "qemu+ssh://lab:x/system",
            "qemu+ssh://@lab/system",
            "qemu+ssh://[::1/system",
            "qemu+tls://me@lab/system",
        ] {
            assert!(matches!(parse(uri), Err(UriError::Authority { .. })), "{uri}");
        }
    }
}
