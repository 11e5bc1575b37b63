//! Who asks: from which address, by which token or as the holder of which claim.

use crate::{failure::Failure, keep::tokens};
use http::{HeaderMap, header};
use ipnet::IpNet;
use labyard_api::{
    problem::Problem,
    token::{PREFIX, Role, Token},
};
use labyard_labs::{ids::Namespace, show::Scope};
use std::net::IpAddr;

/// Who asks.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Caller {
    /// Nobody that is known.
    Nobody,
    /// Who has a token.
    Token(Token),
    /// Who says the secret of a claim; whether it is the claim's own is seen where the claim is read.
    Holder(String),
    /// Who has the store itself, and its key.
    Owner,
}

impl Caller {
    /// Who it was, in the log.
    pub(crate) fn actor(&self) -> String {
        match self {
            Self::Token(token) => tokens::actor(token).to_owned(),
            Self::Owner => "owner".to_owned(),
            Self::Nobody | Self::Holder(_) => "somebody".to_owned(),
        }
    }

    /// What it may do, as far as it has a role.
    pub(crate) fn role(&self) -> Option<Role> {
        match self {
            Self::Token(token) => Some(token.role),
            Self::Owner => Some(Role::Admin),
            Self::Nobody | Self::Holder(_) => None,
        }
    }

    /// In which namespaces.
    pub(crate) fn scope(&self) -> Scope {
        match self {
            Self::Owner => Scope::All,
            Self::Token(token) => match &token.namespaces {
                None => Scope::All,
                Some(names) => Scope::These(names.iter().map(|name| Namespace(name.clone())).collect()),
            },
            Self::Nobody | Self::Holder(_) => Scope::These(Vec::new()),
        }
    }

    /// The namespace that is asked for, if it is the caller's.
    pub(crate) fn namespace(&self, asked: Option<&str>) -> Result<Namespace, Failure> {
        let namespace = Namespace::from(asked.unwrap_or(labyard_schema::provider::DEFAULT_NAMESPACE));
        if let Err(detail) = labyard_schema::check::namespace(namespace.as_str()) {
            let problem = Problem::new(422, "invalid", "The request has values that cannot be");
            return Err(problem.wrong("namespace", detail).into());
        }
        match self.scope().holds(&namespace) {
            true => Ok(namespace),
            false => {
                let detail = format!("This token is not for the namespace {namespace}.");
                Err(Problem::new(403, "other-namespace", "Not in this namespace")
                    .detail(detail)
                    .into())
            }
        }
    }
}

/// The address that a request comes from: that of the connection, or, where that is a trusted proxy, the last one in
/// `X-Forwarded-For` that is no trusted proxy itself.
pub(crate) fn source(peer: IpAddr, headers: &HeaderMap, trusted: &[IpNet]) -> IpAddr {
    let is_trusted = |address: &IpAddr| trusted.iter().any(|network| network.contains(address));
    if !is_trusted(&peer) {
        return peer;
    }
    let lines = headers.get_all("x-forwarded-for").iter().rev();
    let named = lines
        .filter_map(|line| line.to_str().ok())
        .flat_map(|line| line.rsplit(','));
    let mut nearest = peer;
    for text in named {
        // What a proxy did not write as an address says nothing; the last that was understood counts.
        let Ok(address) = text
            .trim()
            .parse::<IpAddr>()
            .map(|address| address.to_canonical())
        else {
            break;
        };
        nearest = address;
        if !is_trusted(&address) {
            break;
        }
    }
    nearest
}

/// What stands behind `Authorization: Bearer`.
pub(crate) fn bearer(headers: &HeaderMap) -> Option<&str> {
    let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, rest) = value.split_once(' ')?;
    let text = rest.trim();
    (scheme.eq_ignore_ascii_case("bearer") && !text.is_empty()).then_some(text)
}

/// Whether a text is a token's, by its beginning.
pub(crate) fn is_token(text: &str) -> bool {
    text.starts_with(PREFIX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn from(peer: &str, forwarded: &[&'static str]) -> String {
        let mut headers = HeaderMap::new();
        for line in forwarded {
            headers.append("x-forwarded-for", http::HeaderValue::from_static(line));
        }
        let trusted: Vec<IpNet> = vec!["10.0.0.0/8".parse().unwrap()];
        source(peer.parse().unwrap(), &headers, &trusted).to_string()
    }

    #[test]
    fn only_a_trusted_proxy_is_believed_and_only_what_it_saw_itself() {
        for (peer, forwarded, expected) in [
            ("192.0.2.1", &["198.51.100.7"][..], "192.0.2.1"),
            ("10.0.0.1", &["198.51.100.7"], "198.51.100.7"),
            (
                "10.0.0.1",
                &["203.0.113.9, 198.51.100.7, 10.0.0.2"],
                "198.51.100.7",
            ),
            ("10.0.0.1", &["203.0.113.9", "198.51.100.7"], "198.51.100.7"),
            ("10.0.0.1", &[], "10.0.0.1"),
            ("10.0.0.1", &["203.0.113.9, unknown"], "10.0.0.1"),
            ("10.0.0.1", &["10.0.0.3"], "10.0.0.3"),
            // As some proxies write an address of IPv4.
            (
                "10.0.0.1",
                &["203.0.113.9, ::ffff:198.51.100.7, ::ffff:10.0.0.2"],
                "198.51.100.7",
            ),
        ] {
            assert_eq!(from(peer, forwarded), expected, "{peer} {forwarded:?}");
        }
    }

    #[test]
    fn a_bearer_is_read_whatever_the_case_of_its_scheme() {
        let mut headers = HeaderMap::new();
        for (value, expected) in [
            ("Bearer x", Some("x")),
            ("bearer  y ", Some("y")),
            ("Basic x", None),
            ("Bearer ", None),
        ] {
            headers.insert(header::AUTHORIZATION, http::HeaderValue::from_static(value));
            assert_eq!(bearer(&headers), expected, "{value}");
        }
    }
}
