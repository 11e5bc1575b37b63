//! Connection URIs: `qemu:///system`, `qemu:///session`, with `?socket=` and `?mode=ro`.

use std::path::PathBuf;
use std::str::FromStr;

/// Where to connect to, and as what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConnectUri {
    /// Whose libvirt: the system's or the user's own.
    pub scope: Scope,
    /// What the connection may do.
    pub access: Access,
    /// The socket, where the URI names one.
    pub socket: Option<PathBuf>,
}

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
    /// Another transport than the Unix socket.
    #[error("the transport \"{transport}\" is not supported, only Unix sockets are (qemu:///system)")]
    Transport {
        /// The transport.
        transport: String,
    },
    /// A host without a transport that could reach it.
    #[error("\"{host}\" is another host; only this machine's libvirt can be reached (qemu:///system)")]
    RemoteHost {
        /// The host.
        host: String,
    },
    /// Neither `/system` nor `/session`.
    #[error("the path \"{path}\" names no libvirt; it is /system or /session")]
    Path {
        /// The path.
        path: String,
    },
    /// A parameter that has no meaning here.
    #[error("the parameter \"{name}\" is not known; known are socket and mode")]
    Parameter {
        /// Its name.
        name: String,
    },
    /// A mode other than `ro`.
    #[error("mode \"{value}\" is not supported; leave it out, or use mode=ro to only read")]
    Mode {
        /// The mode.
        value: String,
    },
    /// A socket that is not an absolute path.
    #[error("socket \"{value}\" is not an absolute path")]
    Socket {
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
        check_scheme(scheme)?;
        let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
        let (host, path) = match rest.find('/') {
            Some(slash) => rest.split_at(slash),
            None => (rest, ""),
        };
        if !host.is_empty() {
            return Err(UriError::RemoteHost {
                host: host.to_owned(),
            });
        }
        let scope = match path {
            "/system" => Scope::System,
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
        match name {
            "socket" if value.starts_with('/') => self.socket = Some(PathBuf::from(value)),
            "socket" => return Err(UriError::Socket { value }),
            "mode" if value == "ro" => self.access = Access::ReadOnly,
            "mode" => return Err(UriError::Mode { value }),
            other => {
                return Err(UriError::Parameter {
                    name: other.to_owned(),
                });
            }
        }
        Ok(())
    }
}

fn check_scheme(scheme: &str) -> Result<(), UriError> {
    let (driver, transport) = scheme.split_once('+').unwrap_or((scheme, "unix"));
    if driver != "qemu" {
        return Err(UriError::Driver {
            driver: driver.to_owned(),
        });
    }
    if transport != "unix" {
        return Err(UriError::Transport {
            transport: transport.to_owned(),
        });
    }
    Ok(())
}

fn percent_decode(text: &str) -> Result<String, UriError> {
    let wrong = || UriError::Encoding {
        value: text.to_owned(),
    };
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, tail)) = rest.split_first() {
        rest = tail;
        if first == b'%' {
            let (digits, tail) = tail.split_first_chunk::<2>().ok_or_else(wrong)?;
            let [high, low] = digits.map(|digit| char::from(digit).to_digit(16));
            let byte = high
                .zip(low)
                .and_then(|(high, low)| u8::try_from(high * 16 + low).ok());
            bytes.push(byte.ok_or_else(wrong)?);
            rest = tail;
        } else {
            bytes.push(first);
        }
    }
    String::from_utf8(bytes).map_err(|_| wrong())
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
                "qemu+ssh://host/system",
                UriError::Transport {
                    transport: "ssh".into(),
                },
            ),
            ("qemu://host/system", UriError::RemoteHost { host: "host".into() }),
            ("qemu:///", UriError::Path { path: "/".into() }),
            ("qemu://", UriError::Path { path: String::new() }),
            ("qemu:///system?mode=rw", UriError::Mode { value: "rw".into() }),
            (
                "qemu:///system?socket=here",
                UriError::Socket { value: "here".into() },
            ),
            (
                "qemu:///system?sock=/x",
                UriError::Parameter { name: "sock".into() },
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
}
