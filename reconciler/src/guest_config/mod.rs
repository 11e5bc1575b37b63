//! What a guest shall be told, in words of no hypervisor, and the documents of NoCloud that say it.
//!
//! Pure: names, keys and secrets go in, texts come out; the salt of a password's hash is an argument. cloud-init
//! (Linux) gets *vendor-data*, which the user's own user-data overrule key by key. cloudbase-init (Windows) reads no
//! vendor-data: there user-data become a MIME message of ours and the user's part.

mod crypt;
mod linux;
mod mime;
mod network;
mod overlap;
mod powershell;
mod windows;

use std::collections::BTreeMap;
use std::net::IpAddr;

use ipnet::IpNet;
use labyard_driver::ids::{MacAddr, NicKey};
use labyard_schema::text::Secret;
use labyard_schema::vm::{self, OsFamily};

use crate::seed::{Kind, looks_like};
use serde::{Deserialize, Serialize};

pub use crypt::Salt;
pub use network::is_generated as is_generated_network;
pub use overlap::overruled;
pub use windows::users_part;

/// What a guest shall be told. Its Debug form shows no secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GuestConfig {
    /// Its host name.
    pub hostname: String,
    /// DNS suffix.
    pub dns_suffix: Option<String>,
    /// Who administers it.
    pub admin: Admin,
    /// More users by name.
    pub users: BTreeMap<String, User>,
    /// DNS servers of every NIC.
    pub dns_servers: Vec<IpAddr>,
    /// The domain it joins.
    pub domain_join: Option<DomainJoin>,
}

/// Who administers a guest.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Admin {
    /// Its name; `None` is the one that the image has.
    pub name: Option<String>,
    /// Its password.
    #[serde(default, with = "crate::wire::revealed_where_given")]
    pub password: Option<Secret>,
    /// Its public SSH keys.
    pub keys: Vec<String>,
}

/// A user.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct User {
    /// Public SSH keys.
    pub keys: Vec<String>,
    /// What the user may do.
    pub rights: Rights,
}

/// What a user may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Rights {
    /// What users may.
    Ordinary,
    /// Everything.
    Admin,
}

/// A domain to join.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DomainJoin {
    /// Its DNS name.
    pub domain: String,
    /// Who may add computers.
    pub username: String,
    /// That user's password.
    #[serde(with = "crate::wire::revealed")]
    pub password: Secret,
    /// Where the computer goes in the directory.
    pub ou: Option<String>,
}

/// A network card as the guest sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Card {
    /// Its key.
    pub key: NicKey,
    /// By which the guest knows it.
    pub mac: MacAddr,
    /// How it comes to its addresses.
    pub addressing: Addressing,
}

/// How a card comes to its addresses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Addressing {
    /// The network gives them.
    Dhcp,
    /// The guest sets them itself.
    Static {
        /// With their prefixes.
        addresses: Vec<IpNet>,
        /// Where everything else goes.
        gateway: Option<IpAddr>,
    },
}

/// What documents are made of.
pub struct Request<'a> {
    /// Who reads them.
    pub family: OsFamily,
    /// What the guest shall be told.
    pub guest: Option<&'a GuestConfig>,
    /// Its cards.
    pub cards: &'a [Card],
    /// The user's own user-data.
    pub user_data: Option<&'a str>,
    /// The user's own network configuration: nothing of ours is added to it.
    pub network_config: Option<&'a str>,
    /// Salt for a password's hash.
    pub salt: Salt,
}

/// The files of a seed, and what its meta-data need. No Debug form: they hold secrets.
#[derive(Default)]
pub struct Documents {
    /// `user-data`.
    pub user_data: Option<String>,
    /// `vendor-data`.
    pub vendor_data: Option<String>,
    /// `network-config`.
    pub network_config: Option<String>,
    /// `public-keys` of the meta-data.
    pub public_keys: Vec<String>,
}

/// Why no documents can be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum GuestConfigError {
    /// cloudbase-init does not take such user-data as a part of a message.
    #[error(
        "guest and cloud_init.user_data go into one message for cloudbase-init, which takes #cloud-config, #ps1, \
         #ps1_sysnative, #ps1_x86, rem cmd, #! and <powershell> there, and not {0}: write user_data as one of these, \
         or leave guest out"
    )]
    CannotCombine(&'static str),
    /// The hash of the password cannot be made.
    #[error("the password cannot be hashed")]
    Hash,
}

impl GuestConfig {
    /// What a configuration says of the guest.
    pub fn from_config(vm: &vm::Vm) -> Option<Self> {
        let guest = vm.guest.as_ref()?;
        let users = guest.users.iter().flatten().map(|(name, user)| {
            let rights = if user.admin {
                Rights::Admin
            } else {
                Rights::Ordinary
            };
            let keys = user.ssh_authorized_keys.clone().unwrap_or_default();
            (name.clone(), User { keys, rights })
        });
        let servers = guest.dns_servers.iter().flatten();
        Some(Self {
            hostname: guest.hostname.clone().unwrap_or_else(|| vm.name.clone()),
            dns_suffix: guest.dns_suffix.clone(),
            admin: Admin {
                name: guest.admin_username.clone(),
                password: guest.admin_password_wo.clone(),
                keys: guest.ssh_authorized_keys.clone().unwrap_or_default(),
            },
            users: users.collect(),
            dns_servers: servers.filter_map(|server| server.parse().ok()).collect(),
            domain_join: guest.domain_join.as_ref().map(|join| DomainJoin {
                domain: join.domain.clone(),
                username: join.username.clone(),
                password: join.password_wo.clone().unwrap_or_default(),
                ou: join.ou.clone(),
            }),
        })
    }
}

/// The documents that say it.
///
/// # Errors
/// Where user-data cannot be combined with what is said of the guest, or a password cannot be hashed.
pub fn documents(request: &Request<'_>) -> Result<Documents, GuestConfigError> {
    let network_config = match request.network_config {
        Some(written) => Some(written.to_owned()),
        None => network::config(request.family, request.guest, request.cards),
    };
    let user_data = request.user_data.map(str::to_owned);
    let Some(guest) = request.guest else {
        return Ok(Documents {
            user_data,
            network_config,
            ..Documents::default()
        });
    };
    match request.family {
        OsFamily::Linux => Ok(Documents {
            user_data,
            vendor_data: Some(linux::vendor_data(guest, request.salt)?),
            network_config,
            public_keys: Vec::new(),
        }),
        OsFamily::Windows => Ok(Documents {
            user_data: windows::user_data(guest, request.cards, request.user_data)?,
            vendor_data: None,
            network_config,
            public_keys: match guest.admin.name {
                None => guest.admin.keys.clone(),
                Some(_) => Vec::new(),
            },
        }),
    }
}

/// Whether the user's own user-data and what is said of the guest can be told together.
///
/// # Errors
/// Where they cannot.
pub fn combinable(family: OsFamily, user_data: &str) -> Result<(), GuestConfigError> {
    match family {
        OsFamily::Linux => Ok(()),
        OsFamily::Windows => windows::content_type(user_data).map(drop),
    }
}

/// What to call user-data that cannot be a part of a message.
fn called(user_data: &str) -> &'static str {
    match looks_like(user_data.as_bytes()) {
        Kind::CloudConfigArchive => "#cloud-config-archive",
        Kind::CloudConfigJsonPatch => "#cloud-config-jsonp",
        Kind::Boothook => "#cloud-boothook",
        Kind::PartHandler => "#part-handler",
        Kind::Include => "#include",
        Kind::Jinja => "a jinja template",
        Kind::Mime => "another MIME message",
        Kind::Gzip => "gzip",
        Kind::Empty | Kind::CloudConfig | Kind::Script | Kind::Unknown => "what this is",
    }
}

#[cfg(test)]
mod tests;
