//! A host behind SSH, as whoever asks names it: `[user@]host[:port]`.

use std::path::PathBuf;
use std::str::FromStr;

/// A host behind SSH; what is left out is told by the SSH configuration.
///
/// ```
/// let host: labyard_ssh::Host = "ad%40min@[fe80::1]:2222".parse().unwrap();
/// assert_eq!((host.host.as_str(), host.port), ("fe80::1", Some(2222)));
/// assert_eq!(host.user.as_deref(), Some("ad@min"));
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Host {
    /// The host, or its alias in the SSH configuration.
    pub host: String,
    /// The account there.
    pub user: Option<String>,
    /// The port of the SSH server.
    pub port: Option<u16>,
    /// The one key to be used.
    pub key_file: Option<PathBuf>,
    /// The one file of known host keys.
    pub known_hosts: Option<PathBuf>,
}

/// Text that names no host.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadHost {
    /// There is none.
    #[error("no host is named")]
    Empty,
    /// It has another form.
    #[error("\"{text}\" is not of the form [user@]host[:port]")]
    Form {
        /// The text.
        text: String,
    },
    /// A `%` that is not followed by two hexadecimal digits, or bytes that are not UTF-8.
    #[error("\"{value}\" is not correctly percent-encoded")]
    Encoding {
        /// The part that is not.
        value: String,
    },
}

impl FromStr for Host {
    type Err = BadHost;

    fn from_str(text: &str) -> Result<Self, BadHost> {
        let wrong = || BadHost::Form {
            text: text.to_owned(),
        };
        let decoded = |value: &str| {
            percent_decoded(value).ok_or_else(|| BadHost::Encoding {
                value: value.to_owned(),
            })
        };
        if text.is_empty() {
            return Err(BadHost::Empty);
        }
        let (user, place) = match text.rsplit_once('@') {
            Some((user, place)) => (Some(decoded(user)?), place),
            None => (None, text),
        };
        let (host, port) = match place.strip_prefix('[') {
            Some(rest) => {
                let (host, rest) = rest.split_once(']').ok_or_else(wrong)?;
                match rest.strip_prefix(':') {
                    Some(port) => (host, Some(port)),
                    None if rest.is_empty() => (host, None),
                    None => return Err(wrong()),
                }
            }
            None => match place.split_once(':') {
                Some((host, port)) => (host, Some(port)),
                None => (place, None),
            },
        };
        let port = match port {
            Some(port) => Some(port.parse().ok().filter(|port| *port > 0).ok_or_else(wrong)?),
            None => None,
        };
        let host = decoded(host)?;
        // A host or user that begins so would be an option to programs that are told of in errors.
        let odd = |text: &str| text.is_empty() || text.starts_with('-') || text.contains(char::is_whitespace);
        if odd(&host) || user.as_deref().is_some_and(odd) {
            return Err(wrong());
        }
        Ok(Self {
            host,
            user,
            port,
            key_file: None,
            known_hosts: None,
        })
    }
}

/// Text with its `%41` and the like decoded; `None` where it is not encoded correctly.
pub fn percent_decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, tail)) = rest.split_first() {
        rest = tail;
        if first == b'%' {
            let (digits, tail) = tail.split_first_chunk::<2>()?;
            let [high, low] = digits.map(|digit| char::from(digit).to_digit(16));
            let byte = u8::try_from(high? * 16 + low?).ok()?;
            bytes.push(byte);
            rest = tail;
        } else {
            bytes.push(first);
        }
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_names_no_host_or_would_become_an_option_is_refused() {
        assert_eq!("".parse::<Host>(), Err(BadHost::Empty));
        for text in [
            "-oProxyCommand=x",
            "-l@lab",
            "lab:0",
            "lab:x",
            "lab:",
            "@lab",
            "[::1",
            "[::1]x",
            "a b",
            "a\nb",
        ] {
            let refused = text.parse::<Host>();
            assert!(
                matches!(refused, Err(BadHost::Form { .. })),
                "{text}: {refused:?}"
            );
        }
        for text in ["%", "%2", "%zz@lab", "%ff"] {
            let refused = text.parse::<Host>();
            assert!(
                matches!(refused, Err(BadHost::Encoding { .. })),
                "{text}: {refused:?}"
            );
        }
    }
}
