//! The seed as it shall be, and what tells whether it has changed.

use labyard_schema::vm::{CloudInit, OsFamily, Vm};
use serde::{Deserialize, Serialize};
use sha2::Digest as _;

use crate::guest_config::GuestConfig;

/// A seed as it shall be. Its Debug form shows no content.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DesiredSeed {
    /// Who reads it.
    pub family: OsFamily,
    /// What the guest shall be told.
    pub guest: Option<GuestConfig>,
    /// User data, plain or secret.
    pub user_data: Option<String>,
    /// Network configuration.
    pub network_config: Option<String>,
    /// Meta data.
    pub meta_data: Option<String>,
    /// What tells whether the seed has changed: [`SeedVersion`].
    pub version: SeedVersion,
}

impl std::fmt::Debug for DesiredSeed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DesiredSeed")
            .field("version", &self.version)
            .finish_non_exhaustive()
    }
}

/// What tells whether a seed has changed: a digest of what is stored plainly anyway, and the version of the
/// secret (never a digest of it).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SeedVersion {
    /// Digest over plain user data, network configuration and meta data.
    pub plain: String,
    /// Version of the secret user data.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret: Option<u64>,
    /// Digest over what `guest` says plainly, the versions of its secrets among it, and over the cards that a network
    /// configuration is made of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub guest: Option<String>,
}

/// The seed that a configuration asks for.
pub(crate) fn desired_seed(vm: &Vm) -> Option<DesiredSeed> {
    let version = seed_version(vm)?;
    let cloud_init = vm.cloud_init.clone().unwrap_or_default();
    let secret = cloud_init.user_data_wo.as_ref().map(|s| s.reveal().to_owned());
    Some(DesiredSeed {
        family: vm.os_family(),
        guest: GuestConfig::from_config(vm),
        user_data: cloud_init.user_data.or(secret),
        network_config: cloud_init.network_config,
        meta_data: cloud_init.meta_data,
        version,
    })
}

/// The version of the seed that is written; `None` where none is.
pub fn seed_version(vm: &Vm) -> Option<SeedVersion> {
    if vm.cloud_init.is_none() && vm.guest.is_none() {
        return None;
    }
    let nothing = CloudInit::default();
    let cloud_init = vm.cloud_init.as_ref().unwrap_or(&nothing);
    let parts = [
        &cloud_init.user_data,
        &cloud_init.network_config,
        &cloud_init.meta_data,
    ];
    Some(SeedVersion {
        plain: digest(parts.map(Option::as_deref)),
        secret: cloud_init.user_data_wo_version,
        guest: guest_version(vm),
    })
}

/// What is left out of a version has no place in it, so that attributes to come change no version of today.
fn guest_version(vm: &Vm) -> Option<String> {
    let cards = cards(vm);
    if vm.guest.is_none() && cards.is_none() {
        return None;
    }
    let said = serde_json::to_value(&vm.guest)
        .map(without_nulls)
        .unwrap_or_default();
    let family = format!("{:?}", vm.os_family());
    Some(digest([
        Some(said.to_string().as_str()),
        Some(&family),
        cards.as_deref(),
    ]))
}

/// The cards, where the network configuration is made of them.
fn cards(vm: &Vm) -> Option<String> {
    let written = vm.cloud_init.as_ref().is_some_and(|c| c.network_config.is_some());
    let guest = vm.guest.as_ref();
    let named = guest.is_some_and(|guest| guest.dns_servers.is_some() || guest.dns_suffix.is_some());
    let nics = vm.nics.iter().flatten();
    let fixed = nics.clone().any(|(_, nic)| nic.ipv4.is_some());
    if written || !(named || fixed) {
        return None;
    }
    let cards = nics.map(|(key, nic)| (key, &nic.mac, &nic.ipv4));
    serde_json::to_string(&cards.collect::<Vec<_>>()).ok()
}

fn without_nulls(value: serde_json::Value) -> serde_json::Value {
    match value {
        serde_json::Value::Object(entries) => entries
            .into_iter()
            .filter(|(_, value)| !value.is_null())
            .map(|(key, value)| (key, without_nulls(value)))
            .collect(),
        other => other,
    }
}

fn digest<const N: usize>(parts: [Option<&str>; N]) -> String {
    let mut hash = sha2::Sha256::new();
    for part in parts {
        // Length and presence first, so that text cannot move from one part to the next unseen.
        let text = part.unwrap_or_default();
        hash.update([u8::from(part.is_some())]);
        hash.update((text.len() as u64).to_be_bytes());
        hash.update(text);
    }
    hash.finalize()
        .iter()
        .take(16)
        .map(|b| format!("{b:02x}"))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use labyard_schema::text::Secret;
    use labyard_schema::vm::{Guest, Nic, NicIpv4};

    fn cloud_init(cloud_init: CloudInit) -> Vm {
        Vm {
            cloud_init: Some(cloud_init),
            ..Vm::default()
        }
    }

    fn guest(guest: Guest) -> Vm {
        Vm {
            guest: Some(guest),
            ..Vm::default()
        }
    }

    #[test]
    fn a_seed_without_secret_changes_its_version_with_every_part() {
        let base = CloudInit {
            user_data: Some("a".into()),
            ..CloudInit::default()
        };
        let moved = CloudInit {
            network_config: Some("a".into()),
            ..CloudInit::default()
        };
        let empty = CloudInit {
            meta_data: Some(String::new()),
            ..base.clone()
        };
        let version = |c: &CloudInit| seed_version(&cloud_init(c.clone()));
        assert_ne!(version(&base), version(&moved));
        assert_ne!(version(&base), version(&empty));
        assert_eq!(version(&base), version(&base.clone()));
        assert_eq!(seed_version(&Vm::default()), None);
    }

    #[test]
    fn a_guest_changes_the_version_by_what_is_said_and_by_the_numbers_of_its_secrets() {
        let version = |g: Guest| seed_version(&guest(g));
        let named = |name: &str| Guest {
            hostname: Some(name.into()),
            ..Guest::default()
        };
        assert_ne!(version(named("a")), version(named("b")));
        assert_eq!(version(named("a")), version(named("a")));
        let secret = |text: &str, number| Guest {
            admin_password_wo: Some(Secret::new(text)),
            admin_password_wo_version: Some(number),
            ..Guest::default()
        };
        assert_eq!(version(secret("one", 1)), version(secret("two", 1)));
        assert_ne!(version(secret("one", 1)), version(secret("one", 2)));
    }

    #[test]
    fn cards_count_only_where_the_network_configuration_is_made_of_them() {
        let with = |dns: Option<&str>, nics: usize| {
            let nics = (0..nics).map(|n| (format!("n{n}"), Nic::default()));
            Vm {
                nics: Some(nics.collect()),
                ..guest(Guest {
                    dns_suffix: dns.map(str::to_owned),
                    ..Guest::default()
                })
            }
        };
        assert_eq!(seed_version(&with(None, 1)), seed_version(&with(None, 2)));
        assert_ne!(
            seed_version(&with(Some("lab.test"), 1)),
            seed_version(&with(Some("lab.test"), 2))
        );
    }

    #[test]
    fn a_fixed_address_is_told_by_a_seed_of_cloud_init_alone_too() {
        let with = |address: &str| {
            let nic = Nic {
                ipv4: Some(NicIpv4 {
                    address: address.into(),
                    gateway: None,
                }),
                ..Nic::default()
            };
            Vm {
                nics: Some([("lan".to_owned(), nic)].into()),
                ..cloud_init(CloudInit::default())
            }
        };
        assert_ne!(
            seed_version(&with("10.9.0.5/24")),
            seed_version(&with("10.9.0.6/24"))
        );
        let own = CloudInit {
            network_config: Some("version: 2".into()),
            ..CloudInit::default()
        };
        let own = |address| Vm {
            cloud_init: Some(own.clone()),
            ..with(address)
        };
        assert_eq!(
            seed_version(&own("10.9.0.5/24")),
            seed_version(&own("10.9.0.6/24"))
        );
    }

    #[test]
    fn a_version_of_before_there_were_guests_is_still_read() {
        let old: SeedVersion = serde_json::from_str(r#"{"plain":"x","secret":2}"#).unwrap();
        assert_eq!((old.secret, old.guest), (Some(2), None));
    }

    #[test]
    fn a_secret_is_no_part_of_the_version_nor_of_the_debug_form() {
        let with = |secret: &str| {
            cloud_init(CloudInit {
                user_data_wo: Some(Secret::new(secret)),
                user_data_wo_version: Some(3),
                ..CloudInit::default()
            })
        };
        assert_eq!(seed_version(&with("one")), seed_version(&with("two")));
        assert!(!format!("{:?}", desired_seed(&with("hunter2"))).contains("hunter2"));
    }
}
