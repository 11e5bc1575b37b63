//! What a configuration may not be, for the family that shall take it. The guest looks again although the plan looked
//! already: what it writes into files and hands to programs has to be what it takes it for.

use std::collections::BTreeSet;

use super::{Configuration, FixedIpv4};

/// A family of operating systems.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// Linux.
    Linux,
    /// Windows.
    Windows,
}

/// Why a guest cannot take a configuration. No secret is quoted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Unusable {
    /// No label of a host name.
    #[error("hostname: {0:?} is no host name: use letters, digits and '-', at most {1} characters")]
    Hostname(String, usize),
    /// No domain.
    #[error("dns_suffix: {0:?} is no domain")]
    Suffix(String),
    /// No user of this family.
    #[error("users: {0:?} cannot be the name of a user here")]
    User(String),
    /// Two entries of one user.
    #[error("users: {0:?} is there twice")]
    UserTwice(String),
    /// A password that cannot be set.
    #[error("the password of {0:?} is empty, too long or has a control character")]
    Password(String),
    /// A text that is no key.
    #[error("ssh_authorized_keys: key {number} of {user:?} is no public key on one line")]
    Key {
        /// Whose.
        user: String,
        /// Which, from 1.
        number: usize,
    },
    /// Two entries of one card.
    #[error("nics: {0} is there twice")]
    NicTwice(String),
    /// No address that a card can have.
    #[error("nics: {0} cannot be a card's address")]
    Address(String),
    /// A way out that cannot be reached.
    #[error("nics: the gateway {gateway} is not within {network}, or is the card's own address")]
    Gateway {
        /// The gateway.
        gateway: String,
        /// The card's network.
        network: String,
    },
    /// A password of nobody.
    #[error("admin_password: on Windows admin_username has to say whose it is")]
    PasswordOfNobody,
    /// What this family does not do.
    #[error("domain_join: only Windows guests join a domain this way, and this one is Linux")]
    DomainOnLinux,
    /// A text of the domain that is empty or has a control character.
    #[error("domain_join: {0} is empty or has a control character")]
    Domain(&'static str),
}

impl Configuration {
    /// Whether a guest of this family can take it.
    ///
    /// # Errors
    /// The first thing that it cannot.
    pub fn check(&self, family: Family) -> Result<(), Unusable> {
        self.names(family)?;
        self.users(family)?;
        self.cards()?;
        self.domain(family)
    }

    fn names(&self, family: Family) -> Result<(), Unusable> {
        let most = match family {
            Family::Linux => 63,
            Family::Windows => 15,
        };
        if !label(&self.hostname) || self.hostname.len() > most {
            return Err(Unusable::Hostname(self.hostname.clone(), most));
        }
        match &self.dns_suffix {
            Some(suffix) if suffix.len() > 253 || !suffix.split('.').all(label) => {
                Err(Unusable::Suffix(suffix.clone()))
            }
            _ => Ok(()),
        }
    }

    fn users(&self, family: Family) -> Result<(), Unusable> {
        let admin = self.admin_username.as_deref();
        let names = admin.into_iter().chain(self.users.keys().map(String::as_str));
        let mut seen = BTreeSet::new();
        for name in names {
            if !user_name(name, family) {
                return Err(Unusable::User(name.to_owned()));
            }
            let folded = match family {
                Family::Linux => name.to_owned(),
                Family::Windows => name.to_lowercase(),
            };
            if !seen.insert(folded) {
                return Err(Unusable::UserTwice(name.to_owned()));
            }
        }
        let called = admin.unwrap_or("the administrator");
        let all = self
            .users
            .iter()
            .map(|(name, user)| (name.as_str(), user.password.as_ref(), &user.ssh_authorized_keys))
            .chain([(called, self.admin_password.as_ref(), &self.ssh_authorized_keys)]);
        for (name, password, keys) in all {
            if password.is_some_and(|secret| !secret_text(secret.reveal())) {
                return Err(Unusable::Password(name.to_owned()));
            }
            if let Some(at) = keys.iter().position(|key| !public_key(key)) {
                let user = name.to_owned();
                return Err(Unusable::Key { user, number: at + 1 });
            }
        }
        match family {
            Family::Windows if self.admin_password.is_some() && admin.is_none() => {
                Err(Unusable::PasswordOfNobody)
            }
            _ => Ok(()),
        }
    }

    fn cards(&self) -> Result<(), Unusable> {
        let mut seen = BTreeSet::new();
        for nic in &self.nics {
            if !seen.insert(nic.mac) {
                return Err(Unusable::NicTwice(nic.mac.to_string()));
            }
            if let Some(fixed) = &nic.ipv4 {
                address(fixed)?;
            }
        }
        Ok(())
    }

    fn domain(&self, family: Family) -> Result<(), Unusable> {
        let Some(join) = &self.domain_join else {
            return Ok(());
        };
        if family == Family::Linux {
            return Err(Unusable::DomainOnLinux);
        }
        let texts = [
            ("domain", Some(join.domain.as_str())),
            ("username", Some(join.username.as_str())),
            ("the password", Some(join.password.reveal())),
            ("ou", join.ou.as_deref()),
        ];
        match texts
            .iter()
            .find(|(_, text)| text.is_some_and(|text| !secret_text(text)))
        {
            Some((name, _)) => Err(Unusable::Domain(name)),
            None => Ok(()),
        }
    }
}

fn address(fixed: &FixedIpv4) -> Result<(), Unusable> {
    let FixedIpv4 { address, gateway } = fixed;
    let host = address.addr();
    // In networks of one or two addresses every address is a card's.
    let wide = address.prefix_len() < 31;
    let of_all = wide && (host == address.network() || host == address.broadcast());
    if of_all || host.is_unspecified() || host.is_loopback() || host.is_multicast() || host.is_broadcast() {
        return Err(Unusable::Address(address.to_string()));
    }
    match gateway {
        Some(gateway) if !address.contains(gateway) || *gateway == host => Err(Unusable::Gateway {
            gateway: gateway.to_string(),
            network: address.trunc().to_string(),
        }),
        _ => Ok(()),
    }
}

fn label(text: &str) -> bool {
    let inner = |c: u8| c.is_ascii_alphanumeric() || c == b'-';
    (1..=63).contains(&text.len())
        && text.bytes().all(inner)
        && !text.starts_with('-')
        && !text.ends_with('-')
}

fn user_name(name: &str, family: Family) -> bool {
    match family {
        Family::Linux => {
            let first = name.starts_with(|c: char| c.is_ascii_lowercase() || c == '_');
            let rest = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit() || c == b'_' || c == b'-';
            first && name.bytes().all(rest) && name.len() <= 32
        }
        Family::Windows => {
            let bad = |c: char| c.is_control() || "\"/\\[]:;|=,+*?<>@".contains(c);
            let hollow = name.chars().all(|c| c == '.' || c == ' ');
            !hollow && !name.contains(bad) && !name.ends_with('.') && name.chars().count() <= 20
        }
    }
}

fn secret_text(text: &str) -> bool {
    (1..=512).contains(&text.len()) && !text.contains(char::is_control)
}

fn public_key(key: &str) -> bool {
    let mut words = key.split(' ');
    let kind = words.next().unwrap_or_default();
    let known = ["ssh-", "ecdsa-", "sk-"]
        .iter()
        .any(|with| kind.starts_with(with));
    let body = words.next().unwrap_or_default();
    known && !body.is_empty() && key.len() <= 16_384 && !key.contains(char::is_control)
}
