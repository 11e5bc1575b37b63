//! People sign in at an identity provider (OpenID Connect: authorisation code with PKCE), and get a token of their own for a
//! while. One step a file:
//!
//! [`under_way`]: who begins is sent to the provider; what has to be known when they come back is in a sealed cookie, so that
//! any replica may take them → [`provider`]: where the provider has what, its keys, and the exchange of a code → [`proof`]:
//! whether what it says of a person is its own, new, and meant for us → [`granted`]: what that person may do here.

pub(crate) mod granted;
mod proof;
pub(crate) mod provider;
mod signatures;
pub(crate) mod under_way;

use crate::config::Oidc;
use provider::Provider;

/// Why nobody was signed in.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SignInError {
    /// The provider cannot be asked.
    #[error("the identity provider {issuer} cannot be asked: {why}")]
    Unreachable {
        /// Which.
        issuer: String,
        /// What happened.
        why: String,
    },
    /// It says something that it must not.
    #[error("the identity provider {issuer} answers what it must not: {why}")]
    Strange {
        /// Which.
        issuer: String,
        /// What.
        why: String,
    },
    /// It refused.
    #[error("the identity provider refused: {0}")]
    Refused(String),
    /// What it says of a person is not believed.
    #[error("what the identity provider says of you is not believed: {0}")]
    Unproven(String),
    /// This is not the way back of a sign-in that was begun here, or it has taken too long.
    #[error(
        "this is not the way back of a sign-in that was begun in this browser less than ten minutes ago: begin again"
    )]
    OtherState,
    /// Somebody who has no business here.
    #[error("{person} is known to the identity provider, and none of the grants of this server is for them")]
    NoRole {
        /// Who.
        person: String,
    },
    /// The server's own configuration.
    #[error("{0}")]
    Configuration(String),
}

/// The sign-in of a server.
pub(crate) struct SignIn {
    pub(crate) config: Oidc,
    pub(crate) provider: Provider,
}

impl SignIn {
    /// One as configured; nothing is contacted before somebody signs in.
    pub(crate) fn new(config: &Oidc) -> Self {
        Self {
            config: config.clone(),
            provider: Provider::new(config),
        }
    }
}
