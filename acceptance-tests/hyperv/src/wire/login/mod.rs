//! Who asks: Basic, Negotiate (NTLM, bare or in SPNEGO), client certificates. Negotiate belongs to a connection.

mod gss;

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;

pub use gss::NoAcceptor;
pub(crate) use gss::{Acceptor, Leg};

use super::config::{Config, Unencrypted, User};
use super::names::MUTUAL;

/// What a connection runs over.
#[derive(Clone, Debug)]
pub(crate) enum Channel {
    /// TCP.
    Plain,
    /// TLS, with the certificate that the client showed, DER.
    Tls {
        /// SHA-256 of the server's certificate, in hexadecimal: what logins are bound to.
        binding: Arc<str>,
        client: Option<Vec<u8>>,
    },
}

/// Where the login of a connection is.
#[derive(Debug)]
pub(crate) enum State {
    /// Nobody has said who he is.
    Fresh,
    /// A login of Negotiate is under way.
    Underway(u64),
    /// This user, sealed by that login.
    In(Arc<User>, u64),
}

/// How a request is to be treated.
#[derive(Debug)]
pub(crate) enum Verdict {
    /// This user asks. A token goes back with the answer.
    In {
        user: Arc<User>,
        /// The login whose seals the body may have.
        seals: Option<u64>,
        token: Option<String>,
    },
    /// A leg of a login: 401 with this token.
    GoesOn(String),
    /// 401 with what is offered.
    Refused,
}

/// The logins of a server.
pub(crate) struct Logins {
    pub(crate) acceptor: Option<Acceptor>,
    users: Vec<Arc<User>>,
    config: Config,
}

impl Logins {
    /// Starts the acceptor if Negotiate is offered.
    pub(crate) async fn start(config: &Config) -> Result<Self, NoAcceptor> {
        Ok(Self {
            acceptor: match config.offers.negotiate {
                true => Some(Acceptor::start(&config.users, &config.name).await?),
                false => None,
            },
            users: config.users.iter().cloned().map(Arc::new).collect(),
            config: config.clone(),
        })
    }

    /// What stands in `WWW-Authenticate`.
    pub(crate) fn offered(&self, channel: &Channel) -> Vec<&'static str> {
        let offers = self.config.offers;
        let mut offered = Vec::new();
        if offers.negotiate {
            offered.push("Negotiate");
        }
        if offers.basic && self.may_be_plain(channel) {
            offered.push("Basic realm=\"WSMAN\"");
        }
        offered
    }

    /// Whether what is not sealed is taken.
    pub(crate) fn may_be_plain(&self, channel: &Channel) -> bool {
        matches!(channel, Channel::Tls { .. }) || self.config.unencrypted == Unencrypted::Allowed
    }

    /// Who asks, by what he says and what the connection knows.
    pub(crate) async fn judge(
        &self,
        channel: &Channel,
        state: &mut State,
        said: Option<&str>,
        fresh_id: impl FnOnce() -> u64,
    ) -> Verdict {
        let Some(said) = said else {
            return match state {
                State::In(user, id) => Verdict::In {
                    user: user.clone(),
                    seals: Some(*id),
                    token: None,
                },
                State::Fresh | State::Underway(_) => Verdict::Refused,
            };
        };
        let (scheme, value) = said.split_once(' ').unwrap_or((said, ""));
        if scheme.eq_ignore_ascii_case("Basic") && self.config.offers.basic && self.may_be_plain(channel) {
            return self.basic(value.trim());
        }
        if said.eq_ignore_ascii_case(MUTUAL) && self.config.offers.certificate {
            return self.mutual(channel);
        }
        match &self.acceptor {
            Some(acceptor) if scheme.eq_ignore_ascii_case("Negotiate") => {
                self.negotiate(acceptor, channel, state, value.trim(), fresh_id)
                    .await
            }
            _ => Verdict::Refused,
        }
    }

    fn basic(&self, value: &str) -> Verdict {
        let decoded = BASE64
            .decode(value)
            .ok()
            .and_then(|bytes| String::from_utf8(bytes).ok());
        let Some((name, password)) = decoded.as_deref().and_then(|text| text.split_once(':')) else {
            return Verdict::Refused;
        };
        match self.user(name) {
            Some(user) if user.password == password => Verdict::In {
                user,
                seals: None,
                token: None,
            },
            _ => Verdict::Refused,
        }
    }

    fn mutual(&self, channel: &Channel) -> Verdict {
        let Channel::Tls {
            client: Some(shown), ..
        } = channel
        else {
            return Verdict::Refused;
        };
        match self
            .users
            .iter()
            .find(|user| user.certificate.as_ref() == Some(shown))
        {
            None => Verdict::Refused,
            Some(user) => Verdict::In {
                user: user.clone(),
                seals: None,
                token: None,
            },
        }
    }

    async fn negotiate(
        &self,
        acceptor: &Acceptor,
        channel: &Channel,
        state: &mut State,
        token: &str,
        fresh_id: impl FnOnce() -> u64,
    ) -> Verdict {
        // A token after a login is done begins another one.
        let id = match state {
            State::Underway(id) => *id,
            State::Fresh | State::In(..) => {
                self.over(state);
                fresh_id()
            }
        };
        *state = State::Fresh;
        let binding = match channel {
            Channel::Tls { binding, .. } => Some((binding.as_ref(), self.config.hardening)),
            Channel::Plain => None,
        };
        match acceptor.step(id, token, binding).await {
            Ok(Leg::GoesOn(token)) => {
                *state = State::Underway(id);
                Verdict::GoesOn(token)
            }
            Ok(Leg::Complete { user, token }) => match self.user(&user) {
                Some(user) => {
                    *state = State::In(user.clone(), id);
                    Verdict::In {
                        user,
                        seals: Some(id),
                        token,
                    }
                }
                None => refused(&format!("{user} is no account")),
            },
            Ok(Leg::Failed(why)) => refused(&why),
            Err(error) => refused(&error.to_string()),
        }
    }

    /// The login of a connection is over.
    pub(crate) fn over(&self, state: &mut State) {
        if let (State::In(_, id) | State::Underway(id), Some(acceptor)) = (&*state, &self.acceptor) {
            acceptor.forget(*id);
        }
        *state = State::Fresh;
    }

    /// `DOMAIN\NAME`, `NAME@DOMAIN` or `NAME`.
    fn user(&self, name: &str) -> Option<Arc<User>> {
        let (domain, name) = match (name.split_once('\\'), name.rsplit_once('@')) {
            (Some((domain, name)), _) => (Some(domain), name),
            (None, Some((name, domain))) => (Some(domain), name),
            (None, None) => (None, name),
        };
        let known = |user: &&Arc<User>| {
            user.name.eq_ignore_ascii_case(name)
                && domain.is_none_or(|domain| {
                    domain.is_empty()
                        || domain == "."
                        || domain.eq_ignore_ascii_case(user.domain_on(&self.config.name))
                })
        };
        self.users.iter().find(known).cloned()
    }
}

/// Why a login was refused is not told to whom it was.
fn refused(why: &str) -> Verdict {
    eprintln!("hyperv-double: a login by Negotiate is refused: {why}");
    Verdict::Refused
}
