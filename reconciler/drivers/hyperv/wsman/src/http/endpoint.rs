//! Where a service is: `https://hv7.example.org:5986/wsman`.

/// A service's address.
///
/// ```
/// # use wsman::http::Endpoint;
/// let endpoint: Endpoint = "https://hv7.example.org".parse().unwrap();
/// assert_eq!(endpoint.to_string(), "https://hv7.example.org:5986/wsman");
/// assert_eq!("http://[fe80::7]:80/x".parse::<Endpoint>().unwrap().place(), "[fe80::7]:80");
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// With TLS or without.
    pub scheme: Scheme,
    /// A name or an address, without brackets.
    pub host: String,
    /// The port.
    pub port: u16,
    /// The path, with its slash.
    pub path: String,
}

/// With TLS or without.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheme {
    /// Without.
    Http,
    /// With.
    Https,
}

/// Text that is no service's address.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is no address of a service: {why}; say https://HOST or https://HOST:PORT")]
pub struct BadEndpoint {
    text: String,
    why: &'static str,
}

impl Endpoint {
    /// Host and port, as they are written.
    pub fn place(&self) -> String {
        match self.host.contains(':') {
            true => format!("[{}]:{}", self.host, self.port),
            false => format!("{}:{}", self.host, self.port),
        }
    }
}

impl std::fmt::Display for Endpoint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let scheme = match self.scheme {
            Scheme::Http => "http",
            Scheme::Https => "https",
        };
        write!(f, "{scheme}://{}{}", self.place(), self.path)
    }
}

impl std::str::FromStr for Endpoint {
    type Err = BadEndpoint;

    fn from_str(text: &str) -> Result<Self, BadEndpoint> {
        let bad = |why| BadEndpoint {
            text: text.to_owned(),
            why,
        };
        let (scheme, rest) = text.split_once("://").ok_or_else(|| bad("it has no scheme"))?;
        let (scheme, usual) = match scheme.to_ascii_lowercase().as_str() {
            "https" => (Scheme::Https, 5986),
            "http" => (Scheme::Http, 5985),
            _ => return Err(bad("its scheme is neither https nor http")),
        };
        let (place, path) = match rest.find('/') {
            Some(at) => rest.split_at(at),
            None => (rest, ""),
        };
        if place.contains('@') {
            return Err(bad("user and password have attributes of their own"));
        }
        let (host, port) = match place.strip_prefix('[') {
            Some(rest) => rest
                .split_once(']')
                .ok_or_else(|| bad("its bracket is not closed"))?,
            None => match place.split_once(':') {
                Some((host, _)) => (host, &place[host.len()..]),
                None => (place, ""),
            },
        };
        let port = match port.strip_prefix(':') {
            Some(port) => port
                .parse()
                .map_err(|_| bad("its port is no number up to 65535"))?,
            None if port.is_empty() => usual,
            None => return Err(bad("something stands behind its bracket")),
        };
        let plain = |text: &str| {
            text.chars()
                .all(|c| !c.is_whitespace() && !c.is_control() && !"?#".contains(c))
        };
        if host.is_empty() || !plain(host) || !plain(path) {
            return Err(bad("it has no host, or something in it that an address has not"));
        }
        Ok(Self {
            scheme,
            host: host.to_owned(),
            port,
            path: if path.is_empty() || path == "/" {
                "/wsman"
            } else {
                path
            }
            .to_owned(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_address_is_said_to_be_none() {
        for text in [
            "",
            "hv7",
            "ftp://hv7",
            "https://",
            "https://:5986",
            "https://u:p@hv7",
            "https://[::1",
            "https://[::1]x",
            "https://hv7:x",
            "https://hv7:70000",
            "https://hv 7",
            "https://hv7/a?b",
            "https://a:b:c",
        ] {
            let error = text.parse::<Endpoint>().unwrap_err();
            assert!(error.to_string().contains("say https://HOST"), "{text}: {error}");
        }
    }
}
