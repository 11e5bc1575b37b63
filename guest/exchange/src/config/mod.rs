//! What a guest is told: the text that is sealed. The words are those of `guest` and `nics` in a configuration.

mod check;
mod mac;

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};

use ipnet::Ipv4Net;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use zeroize::Zeroizing;

use crate::seal::OVERHEAD;
use crate::secret::Secret;
use crate::{SEALED_MAX, VERSION};

pub use check::{Family, Unusable};
pub use mac::{Mac, NotAMac};

/// What a guest is told. Its Debug form shows no secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Configuration {
    /// Of which version this is: the one there is.
    pub version: Version,
    /// Its host name, one label.
    pub hostname: String,
    /// DNS suffix: part of the guest's full name, and searched for short names.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dns_suffix: Option<String>,
    /// The user who administers the guest; none is the one that the image has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub admin_username: Option<String>,
    /// Password of that user.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub admin_password: Option<Secret>,
    /// Public SSH keys of that user.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ssh_authorized_keys: Vec<String>,
    /// More users by name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub users: BTreeMap<String, User>,
    /// Its cards. One that is left out keeps what it has.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub nics: Vec<Nic>,
    /// DNS servers of every card, in place of those that DHCP gives.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub dns_servers: Vec<IpAddr>,
    /// Active Directory that a Windows guest joins.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub domain_join: Option<DomainJoin>,
}

/// The version of a configuration, which is the protocol's: in a text a number, here nothing that could be another.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Version;

impl Serialize for Version {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u32(VERSION)
    }
}

impl<'de> Deserialize<'de> for Version {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match u32::deserialize(deserializer)? {
            VERSION => Ok(Self),
            _ => Err(de::Error::custom("another version")),
        }
    }
}

/// A user of a guest.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct User {
    /// The user's password; none leaves it locked where the user is made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password: Option<Secret>,
    /// The user's public SSH keys.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ssh_authorized_keys: Vec<String>,
    /// Whether the user may do everything: sudo without a password (Linux), a member of `Administrators` (Windows).
    #[serde(default)]
    pub admin: bool,
}

/// A card of a guest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Nic {
    /// By which the guest knows it.
    pub mac: Mac,
    /// Its fixed address; none asks by DHCP.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ipv4: Option<FixedIpv4>,
}

/// A fixed address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FixedIpv4 {
    /// With its prefix: `10.77.0.10/24`.
    pub address: Ipv4Net,
    /// Where everything else goes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gateway: Option<Ipv4Addr>,
}

/// A domain to join.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DomainJoin {
    /// Its DNS name.
    pub domain: String,
    /// Who may add computers: `name`, `DOMAIN\name` or `name@domain`.
    pub username: String,
    /// That user's password.
    pub password: Secret,
    /// Distinguished name of the organisational unit for the computer; none is the domain's default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ou: Option<String>,
}

/// Why a text is no configuration, or a configuration no text. It quotes nothing: what is wrong could be a password.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// Another version.
    #[error(
        "the configuration is of version {0}, and this program knows version {VERSION}: use the same release of labyard on both sides"
    )]
    Version(u32),
    /// No configuration.
    #[error("what was opened is no configuration (line {line}, column {column})")]
    Malformed {
        /// Where it stops being one.
        line: usize,
        /// Where in the line.
        column: usize,
    },
    /// More than an exchange carries.
    #[error(
        "the configuration has more than the {most} bytes that can be handed over: give fewer users or keys"
    )]
    TooLong {
        /// How many bytes can be.
        most: usize,
    },
}

#[derive(Deserialize)]
struct Versioned {
    version: u32,
}

impl Configuration {
    /// One that says a host name and nothing else.
    pub fn named(hostname: impl Into<String>) -> Self {
        Self {
            version: Version,
            hostname: hostname.into(),
            dns_suffix: None,
            admin_username: None,
            admin_password: None,
            ssh_authorized_keys: Vec::new(),
            users: BTreeMap::new(),
            nics: Vec::new(),
            dns_servers: Vec::new(),
            domain_join: None,
        }
    }

    /// As the text that is sealed. It is wiped from memory when it goes.
    ///
    /// # Errors
    /// If it has more bytes than an exchange carries.
    pub fn to_json(&self) -> Result<Zeroizing<Vec<u8>>, ConfigError> {
        let most = SEALED_MAX - OVERHEAD;
        let too_long = |_| ConfigError::TooLong { most };
        // As much as it may ever have, at once: growing would leave copies behind in memory.
        let mut text = Zeroizing::new(vec![0; most]);
        let mut room = text.as_mut_slice();
        serde_json::to_writer(&mut room, self).map_err(too_long)?;
        let left = room.len();
        text.truncate(most - left);
        Ok(text)
    }

    /// Reads such a text.
    ///
    /// # Errors
    /// If it is of another version, or says something that is not known.
    pub fn from_json(text: &[u8]) -> Result<Self, ConfigError> {
        let malformed = |error: serde_json::Error| ConfigError::Malformed {
            line: error.line(),
            column: error.column(),
        };
        match serde_json::from_slice(text).map_err(malformed)? {
            Versioned { version: VERSION } => serde_json::from_slice(text).map_err(malformed),
            Versioned { version } => Err(ConfigError::Version(version)),
        }
    }

    /// The secrets in it, so that a message can be kept free of them.
    pub fn secrets(&self) -> impl Iterator<Item = &Secret> {
        let admin = self.admin_password.iter();
        let users = self.users.values().filter_map(|user| user.password.as_ref());
        let join = self.domain_join.iter().map(|join| &join.password);
        admin.chain(users).chain(join)
    }

    /// The name of the guest with its suffix, where it has one.
    pub fn full_name(&self) -> Option<String> {
        let suffix = self.dns_suffix.as_ref()?;
        Some(format!("{}.{suffix}", self.hostname))
    }
}

#[cfg(test)]
mod tests;
