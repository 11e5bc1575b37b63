//! How people sign in.

use super::duration;
use labyard_api::token::Role;
use serde::Deserialize;
use std::{path::PathBuf, time::Duration};

/// The identity provider, and what it makes of people.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Oidc {
    /// Its name: where its description is, below `/.well-known/openid-configuration`.
    pub(crate) issuer: String,
    /// What this server is called there.
    pub(crate) client_id: String,
    /// The file with the secret of this client; left out: it has none.
    pub(crate) client_secret_file: Option<PathBuf>,
    /// Where the provider sends people back to: this server's own address and `/v1/login/callback`.
    pub(crate) redirect_url: String,
    /// What is asked for.
    #[serde(default = "scopes")]
    pub(crate) scopes: Vec<String>,
    /// The claim that names a person, in the log.
    #[serde(default = "user_claim")]
    pub(crate) user_claim: String,
    /// How long somebody stays signed in.
    #[serde(default = "session", deserialize_with = "duration")]
    pub(crate) session: Duration,
    /// By how much the clocks of provider and server may differ.
    #[serde(default = "clock_skew", deserialize_with = "duration")]
    pub(crate) clock_skew: Duration,
    /// Who may do what: the first that fits.
    pub(crate) grants: Vec<Grant>,
}

/// What those may do of whom a claim says something.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Grant {
    /// The claim: a text, or a list of texts.
    pub(crate) claim: String,
    /// What it is or has in it.
    pub(crate) value: String,
    /// What they may do.
    pub(crate) role: Role,
    /// In which namespaces; left out: in all.
    pub(crate) namespaces: Option<Vec<String>>,
}

fn scopes() -> Vec<String> {
    ["openid", "profile"].map(str::to_owned).to_vec()
}

fn user_claim() -> String {
    "sub".to_owned()
}

fn session() -> Duration {
    Duration::from_secs(3600)
}

fn clock_skew() -> Duration {
    Duration::from_secs(60)
}

/// What its path ends in.
pub(crate) const CALLBACK: &str = "/v1/login/callback";

impl Oidc {
    /// What is wrong with it, by key.
    pub(super) fn problems(&self) -> Vec<(&'static str, String)> {
        let mut wrong = Vec::new();
        for (key, url) in [("issuer", &self.issuer), ("redirect_url", &self.redirect_url)] {
            if let Err(why) = web_address(url) {
                wrong.push((key, format!("{url}: {why}")));
            }
        }
        if !self.redirect_url.ends_with(CALLBACK) {
            wrong.push((
                "redirect_url",
                format!("it is this server's own address and {CALLBACK}"),
            ));
        }
        if !self.scopes.iter().any(|scope| scope == "openid") {
            wrong.push((
                "scopes",
                "openid is missing: without it nobody is named".to_owned(),
            ));
        }
        if self.grants.is_empty() {
            wrong.push(("grants", "without one nobody may do anything".to_owned()));
        }
        if let Some(path) = &self.client_secret_file
            && let Err(error) = std::fs::File::open(path)
        {
            wrong.push(("client_secret_file", format!("{}: {error}", path.display())));
        }
        let names = self
            .grants
            .iter()
            .flat_map(|grant| grant.namespaces.iter().flatten());
        for name in names {
            if let Err(why) = labyard_schema::check::namespace(name) {
                wrong.push(("grants", format!("namespaces: {name:?}: {why}")));
            }
        }
        wrong
    }
}

fn web_address(url: &str) -> Result<(), String> {
    let parsed = url::Url::parse(url).map_err(|error| error.to_string())?;
    let here = match parsed.host() {
        Some(url::Host::Ipv4(address)) => address.is_loopback(),
        Some(url::Host::Ipv6(address)) => address.is_loopback(),
        Some(url::Host::Domain(name)) => name == "localhost",
        None => false,
    };
    match parsed.scheme() {
        "https" => Ok(()),
        "http" if here => Ok(()),
        _ => Err("it is https, or http on this computer alone".to_owned()),
    }
}
