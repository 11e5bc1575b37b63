//! Through an HTTP proxy: `CONNECT`, also to plain HTTP, since a login belongs to a connection with the service itself.
//!
//! ```
//! use wsman::http::{Proxy, ProxyVariables};
//!
//! let variables = ProxyVariables {
//!     https_proxy: Some("http://me:secret@proxy.example.org:3128".into()),
//!     no_proxy: Some("localhost,.lab.example.org,10.0.0.0/8".into()),
//!     ..ProxyVariables::default()
//! };
//! let far = "https://hv7.example.org".parse().unwrap();
//! assert_eq!(Proxy::of(&variables, &far).unwrap().unwrap().to_string(), "proxy.example.org:3128");
//! let near = "https://hv7.lab.example.org".parse().unwrap();
//! assert!(Proxy::of(&variables, &near).unwrap().is_none());
//! ```

use std::net::IpAddr;

use async_trait::async_trait;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use http_body_util::Empty;
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1;
use hyper::header::{HOST, HeaderValue, PROXY_AUTHENTICATE, PROXY_AUTHORIZATION};
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use ipnet::IpNet;
use labyard_resolve::place;
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout_at};
use zeroize::Zeroizing;

use super::dial::{Dial, Stream, Untaken, first, lookup};
use super::endpoint::{Endpoint, Scheme};
use super::login::Account;
use super::walk::{Part, Walk};
use crate::trouble::{ProxyTrouble, Trouble};

/// The port of a proxy that names none.
const PORT: u16 = 80;

/// An HTTP proxy.
#[derive(Clone, Debug)]
pub struct Proxy {
    /// A name or an address, without brackets.
    pub host: String,
    /// The port.
    pub port: u16,
    /// Who asks it, by Basic.
    pub account: Option<Account>,
}

/// What the environment says of proxies. Whoever starts a program reads it; nothing here does.
#[derive(Clone, Default)]
pub struct ProxyVariables {
    /// `HTTPS_PROXY`: that for https.
    pub https_proxy: Option<String>,
    /// `HTTP_PROXY`: that for http.
    pub http_proxy: Option<String>,
    /// `NO_PROXY`: hosts that are reached without.
    pub no_proxy: Option<String>,
}

impl ProxyVariables {
    /// Asks for the variables by the names that programs read: in small letters first, as curl does.
    ///
    /// ```
    /// # use wsman::http::ProxyVariables;
    /// let variables = ProxyVariables::read(|name| std::env::var(name).ok());
    /// ```
    pub fn read(variable: impl Fn(&str) -> Option<String>) -> Self {
        let either = |small: &str| variable(small).or_else(|| variable(&small.to_uppercase()));
        Self {
            https_proxy: either("https_proxy"),
            http_proxy: either("http_proxy"),
            no_proxy: either("no_proxy"),
        }
    }
}

impl std::fmt::Debug for ProxyVariables {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Those that name a proxy may hold a password.
        f.debug_struct("ProxyVariables")
            .field("no_proxy", &self.no_proxy)
            .finish_non_exhaustive()
    }
}

/// Text that names no proxy that can be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the proxy cannot be used: {why}; say http://HOST:PORT or http://USER:PASSWORD@HOST:PORT")]
pub struct BadProxy {
    why: String,
}

impl std::fmt::Display for Proxy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&place(&self.host, self.port))
    }
}

impl std::str::FromStr for Proxy {
    type Err = BadProxy;

    fn from_str(text: &str) -> Result<Self, BadProxy> {
        // What is said of it must not hold what may be a password.
        let bad = |why: &str| BadProxy { why: why.to_owned() };
        let rest = match text.split_once("://") {
            None => text,
            Some((scheme, rest)) if scheme.eq_ignore_ascii_case("http") => rest,
            Some((scheme, _)) => {
                return Err(bad(&format!("it speaks {scheme:?}, and only http is known here")));
            }
        };
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        let (account, rest) = match rest.rsplit_once('@') {
            None => (None, rest),
            Some((account, rest)) => {
                let (user, password) = account.split_once(':').unwrap_or((account, ""));
                let decoded = |text| {
                    labyard_ssh::percent_decoded(text)
                        .ok_or_else(|| bad("its user or password is not correctly percent-encoded"))
                };
                (Some(Account::new(decoded(user)?, decoded(password)?)), rest)
            }
        };
        let endpoint = format!("http://{rest}").parse::<Endpoint>();
        let endpoint = endpoint.map_err(|_| bad("it names no host and port"))?;
        if rest.contains('/') {
            return Err(bad("it has a path"));
        }
        let named = rest.rsplit_once(']').map_or(rest, |(_, port)| port).contains(':');
        Ok(Self {
            host: endpoint.host,
            port: if named { endpoint.port } else { PORT },
            account,
        })
    }
}

impl Proxy {
    /// The proxy that leads to a service, as the environment says it; `None` where none is to be used.
    ///
    /// # Errors
    /// If what is said cannot be used.
    pub fn of(variables: &ProxyVariables, endpoint: &Endpoint) -> Result<Option<Self>, BadProxy> {
        let said = match endpoint.scheme {
            Scheme::Https => &variables.https_proxy,
            Scheme::Http => &variables.http_proxy,
        };
        let said = said.as_deref().map(str::trim).filter(|said| !said.is_empty());
        let without = variables.no_proxy.as_deref().unwrap_or_default();
        match said {
            Some(said) if !is_without(without, endpoint) => said.parse().map(Some),
            _ => Ok(None),
        }
    }

    async fn tcp(&self, to: &str, deadline: Instant) -> Result<TcpStream, Trouble> {
        let trouble = |why| self.trouble(to, why);
        let addresses = lookup(&self.host, self.port, deadline).await;
        let addresses = addresses.map_err(|reason| trouble(ProxyTrouble::Unresolved(reason)))?;
        first(addresses, deadline).await.map_err(|untaken| match untaken {
            Untaken::Refused(error) => trouble(ProxyTrouble::Unreachable(error.to_string())),
            Untaken::Silent(_) => trouble(ProxyTrouble::Unreachable("nobody answers there".to_owned())),
        })
    }

    async fn tunnel(
        &self,
        stream: TcpStream,
        to: &str,
        deadline: Instant,
    ) -> Result<Box<dyn Stream>, Trouble> {
        let trouble = |why| self.trouble(to, why);
        match timeout_at(deadline, self.connect(stream, to)).await {
            Ok(connected) => connected.map_err(trouble),
            Err(_) => Err(trouble(ProxyTrouble::Silent)),
        }
    }

    async fn connect(&self, stream: TcpStream, to: &str) -> Result<Box<dyn Stream>, ProxyTrouble> {
        let odd = |error: hyper::Error| ProxyTrouble::NoProxy(error.to_string());
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(odd)?;
        // It ends with the tunnel, or with the sender where there is none.
        tokio::spawn(connection.with_upgrades());
        let request = self.request(to).map_err(ProxyTrouble::NoProxy)?;
        let response = sender.send_request(request).await.map_err(odd)?;
        if !response.status().is_success() {
            return Err(self.refused(&response));
        }
        let tunnel = hyper::upgrade::on(response).await.map_err(odd)?;
        Ok(Box::new(TokioIo::new(tunnel)))
    }

    fn request(&self, to: &str) -> Result<Request<Empty<Bytes>>, String> {
        let mut request = Request::connect(to).header(HOST, to);
        if let Some(account) = &self.account {
            let pair = Zeroizing::new(format!("{}:{}", account.user, account.password()));
            let login = Zeroizing::new(format!("Basic {}", BASE64.encode(pair.as_bytes())));
            let mut login = HeaderValue::from_str(&login).map_err(|error| error.to_string())?;
            login.set_sensitive(true);
            request = request.header(PROXY_AUTHORIZATION, login);
        }
        request.body(Empty::new()).map_err(|error| error.to_string())
    }

    fn refused(&self, response: &Response<Incoming>) -> ProxyTrouble {
        let status = response.status().as_u16();
        let challenges = response.headers().get_all(PROXY_AUTHENTICATE);
        let offered = challenges
            .iter()
            .filter_map(|header| header.to_str().ok())
            .flat_map(super::connection::schemes)
            .collect();
        match (status, &self.account) {
            // tinyproxy answers wrong credentials with 401.
            (401 | 407, None) => ProxyTrouble::WantsLogin { offered },
            (401 | 407, Some(account)) => ProxyTrouble::Login {
                user: account.user.clone(),
                offered,
            },
            (500 | 502..=504, _) => ProxyTrouble::NoWay { status },
            _ => ProxyTrouble::Refused { status },
        }
    }

    fn trouble(&self, to: &str, why: ProxyTrouble) -> Trouble {
        Trouble::Proxy {
            proxy: self.to_string(),
            to: to.to_owned(),
            why,
        }
    }
}

#[async_trait]
impl Dial for Proxy {
    async fn dial(&self, host: &str, port: u16, deadline: Instant) -> Result<Box<dyn Stream>, Trouble> {
        let to = place(host, port);
        let stream = self.tcp(&to, deadline).await?;
        self.tunnel(stream, &to, deadline).await
    }

    async fn walk(&self, host: &str, port: u16, deadline: Instant) -> Walk {
        let (mut walk, to) = (Walk::default(), place(host, port));
        let peer = |stream: &TcpStream| stream.peer_addr().map_or(String::new(), |peer| peer.to_string());
        let reaching = self.tcp(&to, deadline);
        let Some(stream) = walk.step(Part::Proxy(self.to_string()), reaching, peer).await else {
            return walk;
        };
        let tunnel = self.tunnel(stream, &to, deadline);
        walk.stream = walk
            .step(Part::Tunnel(to.clone()), tunnel, |_| String::new())
            .await;
        walk
    }
}

/// Whether a host is one of those that are reached without a proxy: `*`, a name and all names below it (with a dot before
/// it or without), an address, a network of addresses, each with a port or without.
fn is_without(list: &str, endpoint: &Endpoint) -> bool {
    let host = endpoint.host.to_ascii_lowercase();
    let host = host.strip_suffix('.').unwrap_or(&host);
    let address = host.parse::<IpAddr>().ok();
    list.split([',', ' ']).map(str::trim).any(|entry| {
        if entry == "*" {
            return true;
        }
        if let (Some(address), Ok(network)) = (address, entry.parse::<IpNet>()) {
            return network.contains(&address);
        }
        let (entry, port) = with_port(entry);
        if entry.is_empty() || port.is_some_and(|port| port != endpoint.port) {
            return false;
        }
        if let Some(address) = address {
            return entry.parse() == Ok(address);
        }
        let name = entry.strip_prefix('.').unwrap_or(entry).to_ascii_lowercase();
        host.strip_suffix(&name)
            .is_some_and(|before| before.is_empty() || before.ends_with('.'))
    })
}

/// A host without its brackets, and its port.
fn with_port(entry: &str) -> (&str, Option<u16>) {
    if let Some((host, rest)) = entry.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        return (host, rest.strip_prefix(':').and_then(|port| port.parse().ok()));
    }
    match entry.rsplit_once(':') {
        Some((host, port)) if !host.contains(':') => match port.parse() {
            Ok(port) => (host, Some(port)),
            Err(_) => (entry, None),
        },
        _ => (entry, None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_proxy_is_named_with_account_and_port_or_without() {
        for (text, shown, user) in [
            ("http://proxy:3128", "proxy:3128", None),
            ("proxy:3128", "proxy:3128", None),
            ("http://proxy/", "proxy:80", None),
            ("http://[fe80::1]:8080", "[fe80::1]:8080", None),
            ("HTTP://d%5Cme:s%40:x@proxy:1", "proxy:1", Some(r"d\me")),
        ] {
            let proxy: Proxy = text.parse().unwrap();
            assert_eq!(proxy.to_string(), shown);
            assert_eq!(proxy.account.map(|account| account.user).as_deref(), user);
        }
        let proxy: Proxy = "http://me:s%40:x@proxy:1".parse().unwrap();
        assert_eq!(proxy.account.unwrap().password(), "s@:x");
    }

    #[test]
    fn what_cannot_be_used_is_told_without_its_password() {
        for text in [
            "socks5://proxy:1",
            "https://me:secret@proxy:1",
            "http://me:secret%@proxy",
            "http://me:secret@",
            "http://me:secret@proxy:x",
            "http://me:secret@proxy:1/path",
        ] {
            let error = text.parse::<Proxy>().unwrap_err().to_string();
            assert!(
                error.contains("say http://HOST:PORT") && !error.contains("secret"),
                "{error}"
            );
        }
    }

    #[test]
    fn hosts_without_a_proxy_are_named_by_name_domain_address_network_and_port() {
        for (list, url, without) in [
            ("*", "https://hv7", true),
            ("hv7", "https://HV7", true),
            ("example.org", "https://hv7.example.org", true),
            (".example.org", "https://hv7.example.org.", true),
            ("example.org", "https://badexample.org", false),
            ("a, hv7:5986", "https://hv7", true),
            ("hv7:5985", "https://hv7", false),
            ("10.0.0.0/8", "https://10.1.2.3", true),
            ("10.1.2.3", "https://10.1.2.3", true),
            ("10.1.2.3", "https://10.1.2.30", false),
            ("2.3", "https://10.1.2.3", false),
            ("fe80::/10", "https://[fe80::7]", true),
            ("[fe80::7]:5986", "https://[fe80::7]", true),
            ("", "https://hv7", false),
            (",", "https://hv7", false),
        ] {
            assert_eq!(is_without(list, &url.parse().unwrap()), without, "{list} {url}");
        }
    }

    #[test]
    fn variables_are_read_in_small_letters_first_and_not_shown() {
        let variables = ProxyVariables::read(|name| match name {
            "https_proxy" => Some("http://me:secret@small:1".to_owned()),
            "HTTPS_PROXY" => Some("http://large:1".to_owned()),
            "NO_PROXY" => Some("hv8".to_owned()),
            _ => None,
        });
        let of = |url: &str| Proxy::of(&variables, &url.parse().unwrap()).unwrap();
        assert_eq!(of("https://hv7").unwrap().to_string(), "small:1");
        assert!(of("https://hv8").is_none() && of("http://hv7").is_none());
        let shown = format!("{variables:?} {:?}", of("https://hv7").unwrap());
        assert!(shown.contains("hv8") && !shown.contains("secret"), "{shown}");
    }

    #[test]
    fn each_scheme_has_its_proxy_and_an_empty_one_is_none() {
        let variables = ProxyVariables {
            https_proxy: Some("s:1".into()),
            http_proxy: Some(" ".into()),
            no_proxy: None,
        };
        let of = |url: &str| Proxy::of(&variables, &url.parse().unwrap()).unwrap();
        assert_eq!(
            of("https://h").map(|proxy| proxy.to_string()).as_deref(),
            Some("s:1")
        );
        assert!(of("http://h").is_none());
    }
}
