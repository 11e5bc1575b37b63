//! The first words between Terraform and a provider: what the environment asks for, and the one line on stdout
//! that says where this process listens.

use std::fmt;
use std::path::PathBuf;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;

/// go-plugin's own protocol; it has never had another version.
const CORE_PROTOCOL: u32 = 1;
/// The one version of Terraform's protocol that this crate speaks.
pub(crate) const PROTOCOL: u32 = 6;

const COOKIE_KEY: &str = "TF_PLUGIN_MAGIC_COOKIE";
const COOKIE: &str = "d602bf8f470bc67ca7faa0386276bbdd4330efaf76d1a219cb4d6991ca9872b2";

/// Why this process is not being run as a plugin.
#[derive(Debug, thiserror::Error, PartialEq)]
pub(crate) enum HandshakeError {
    /// A person started it.
    #[error("it was not started by Terraform")]
    NotAPlugin,
    /// A variable of the handshake holds nonsense.
    #[error("the environment variable {name} holds {value:?}, which is not {expected}")]
    BadVariable {
        name: &'static str,
        value: String,
        expected: &'static str,
    },
}

/// What the parent process asks of a plugin.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Parent {
    /// Its certificate (PEM), the only one to be let in; plaintext where there is none.
    pub(crate) client_cert: Option<String>,
    /// Where the socket goes.
    pub(crate) socket: SocketWish,
    /// Ports to choose from where there are no Unix sockets.
    pub(crate) ports: PortRange,
    /// Whether the parent knows the handshake's seventh field.
    multiplex_known: bool,
}

/// Where the parent wants the Unix socket.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct SocketWish {
    /// A directory that the parent made and removes.
    pub(crate) dir: Option<PathBuf>,
    /// A group (name or number) that may connect.
    pub(crate) group: Option<String>,
}

/// An inclusive range of TCP ports; 0 to 0 lets the system choose.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct PortRange {
    pub(crate) min: u16,
    pub(crate) max: u16,
}

/// Where this process listens.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Address {
    /// A Unix socket.
    Unix(PathBuf),
    /// A TCP address of the loopback interface.
    #[cfg_attr(unix, allow(dead_code, reason = "the way of systems without Unix sockets"))]
    Tcp(std::net::SocketAddr),
}

impl Address {
    /// go-plugin's name of the network.
    pub(crate) fn network(&self) -> &'static str {
        match self {
            Self::Unix(_) => "unix",
            Self::Tcp(_) => "tcp",
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix(path) => write!(f, "{}", path.display()),
            Self::Tcp(address) => write!(f, "{address}"),
        }
    }
}

impl Parent {
    /// Reads the handshake's variables through `var`.
    pub(crate) fn from_env(var: impl Fn(&str) -> Option<String>) -> Result<Self, HandshakeError> {
        if var(COOKIE_KEY).as_deref() != Some(COOKIE) {
            return Err(HandshakeError::NotAPlugin);
        }
        let present = |name: &str| var(name).filter(|value| !value.is_empty());
        let port = |name: &'static str| match present(name) {
            None => Ok(0),
            Some(value) => value.parse().map_err(|_| HandshakeError::BadVariable {
                name,
                value,
                expected: "a port",
            }),
        };
        Ok(Self {
            client_cert: present("PLUGIN_CLIENT_CERT"),
            socket: SocketWish {
                dir: present("PLUGIN_UNIX_SOCKET_DIR").map(PathBuf::from),
                group: present("PLUGIN_UNIX_SOCKET_GROUP"),
            },
            ports: PortRange {
                min: port("PLUGIN_MIN_PORT")?,
                max: port("PLUGIN_MAX_PORT")?,
            },
            multiplex_known: var("PLUGIN_MULTIPLEX_GRPC").is_some(),
        })
    }

    /// The line that tells the parent where to connect and whom to expect there.
    ///
    /// The version is always ours: a parent that listed others in PLUGIN_PROTOCOL_VERSIONS compares and tells
    /// the user which releases fit, better than we could from in here.
    pub(crate) fn line(&self, address: &Address, server_cert: Option<&[u8]>) -> String {
        let cert = server_cert
            .map(|der| STANDARD_NO_PAD.encode(der))
            .unwrap_or_default();
        let network = address.network();
        let mut line = format!("{CORE_PROTOCOL}|{PROTOCOL}|{network}|{address}|grpc|{cert}");
        // A parent that does not know the field would take it for an error, so it goes only to one that asks.
        if self.multiplex_known {
            line.push_str("|false");
        }
        line
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parent(vars: &[(&str, &str)]) -> Result<Parent, HandshakeError> {
        let vars: Vec<(String, String)> = vars
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect();
        Parent::from_env(|name| {
            vars.iter()
                .find(|(n, _)| n == name)
                .map(|(_, value)| value.clone())
        })
    }

    #[test]
    fn without_the_cookie_it_is_no_plugin() {
        assert_eq!(parent(&[]), Err(HandshakeError::NotAPlugin));
        assert_eq!(parent(&[(COOKIE_KEY, "wrong")]), Err(HandshakeError::NotAPlugin));
    }

    #[test]
    fn the_line_carries_the_certificate_without_padding() {
        let parent = parent(&[(COOKIE_KEY, COOKIE)]).expect("a plugin");
        let address = Address::Unix("/tmp/x/s".into());
        assert_eq!(
            parent.line(&address, Some(&[1, 2, 3, 4])),
            "1|6|unix|/tmp/x/s|grpc|AQIDBA"
        );
        assert_eq!(parent.line(&address, None), "1|6|unix|/tmp/x/s|grpc|");
    }

    #[test]
    fn only_a_parent_that_knows_multiplexing_is_told_that_there_is_none() {
        let parent = parent(&[(COOKIE_KEY, COOKIE), ("PLUGIN_MULTIPLEX_GRPC", "true")]).expect("a plugin");
        let address = Address::Tcp("127.0.0.1:10001".parse().expect("an address"));
        assert_eq!(parent.line(&address, None), "1|6|tcp|127.0.0.1:10001|grpc||false");
    }

    #[test]
    fn empty_variables_count_as_unset() {
        let parent = parent(&[
            (COOKIE_KEY, COOKIE),
            ("PLUGIN_CLIENT_CERT", ""),
            ("PLUGIN_UNIX_SOCKET_DIR", ""),
        ])
        .expect("a plugin");
        assert_eq!(parent.client_cert, None);
        assert_eq!(parent.socket, SocketWish::default());
    }

    #[test]
    fn a_port_that_is_none_is_named_in_the_error() {
        let error = parent(&[(COOKIE_KEY, COOKIE), ("PLUGIN_MIN_PORT", "high")]).expect_err("no port");
        assert!(error.to_string().contains("PLUGIN_MIN_PORT"), "{error}");
    }
}
