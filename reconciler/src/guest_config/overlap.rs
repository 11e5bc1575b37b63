//! What the user's own user-data take over from `guest`: cloud-init gives them precedence key by key, silently.

use labyard_schema::vm::{Guest, OsFamily};

use crate::seed::{Kind, looks_like};

/// Keys of a `#cloud-config` that both would write, with the attribute of `guest` that has no effect then.
pub fn overruled(guest: &Guest, family: OsFamily, user_data: &str) -> Vec<(&'static str, &'static str)> {
    if family == OsFamily::Windows || looks_like(user_data.as_bytes()) != Kind::CloudConfig {
        return Vec::new();
    }
    let named = guest.admin_username.is_some();
    let candidates = [
        ("hostname", "hostname", true),
        ("fqdn", "dns_suffix", guest.dns_suffix.is_some()),
        ("users", "users", guest.users.is_some()),
        ("users", "admin_username", named),
        (
            "ssh_authorized_keys",
            "ssh_authorized_keys",
            !named && guest.ssh_authorized_keys.is_some(),
        ),
        (
            "password",
            "admin_password_wo",
            !named && guest.admin_password_wo_version.is_some(),
        ),
    ];
    let has = |key: &str| {
        user_data.lines().any(|line| {
            line.split_once(':')
                .is_some_and(|(found, _)| found.trim_end().trim_matches(['"', '\'']) == key)
        })
    };
    candidates
        .into_iter()
        .filter(|(key, _, said)| *said && has(key))
        .map(|(key, attribute, _)| (key, attribute))
        .collect()
}
