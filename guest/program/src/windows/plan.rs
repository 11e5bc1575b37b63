//! What is to be done, in its order: scripts with what they read. Pure.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use labyard_exchange::config::{Family, Nic, Unusable};
use labyard_exchange::message::to_ascii_json;
use labyard_exchange::{Configuration, Secret, Stage};
use serde_json::{Value, json};

/// A script that is run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Script {
    /// The part of the work that it does.
    pub(crate) stage: Stage,
    text: &'static str,
    /// What it reads: JSON in ASCII, whatever the code page.
    pub(crate) input: Secret,
}

/// Why a system cannot be made as a configuration says. Nothing has been done then.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum CannotPlan {
    /// The configuration itself.
    #[error(transparent)]
    Unusable(#[from] Unusable),
    /// Keys without a place.
    #[error(
        "ssh_authorized_keys of {0:?}: Windows makes the folder of a user at the first logon, so that keys can only be \
         put down for users who administer the guest: set admin = true, or leave the keys out"
    )]
    KeysOfOrdinaryUser(String),
    /// Keys of nobody.
    #[error("ssh_authorized_keys: on Windows admin_username has to say whose they are")]
    KeysOfNobody,
}

impl Script {
    fn new(stage: Stage, text: &'static str, input: &Value) -> Self {
        Self {
            stage,
            text,
            input: Secret::new(to_ascii_json(input)),
        }
    }

    /// As an argument of `powershell.exe`: base64 of UTF-16.
    pub(crate) fn encoded(&self) -> String {
        let bytes: Vec<u8> = self.text.encode_utf16().flat_map(u16::to_le_bytes).collect();
        STANDARD.encode(bytes)
    }
}

/// What is to be done.
///
/// # Errors
/// Where a part of it cannot be done: then none of it is.
pub(crate) fn plan(configuration: &Configuration) -> Result<Vec<Script>, CannotPlan> {
    configuration.check(Family::Windows)?;
    let join = configuration.domain_join.as_ref();
    let name = json!({
        "hostname": configuration.hostname,
        // Who joins a domain gets the name with it.
        "rename": join.is_none(),
        "suffix": configuration.dns_suffix,
    });
    let mut scripts = vec![Script::new(
        Stage::Hostname,
        include_str!("scripts/hostname.ps1"),
        &name,
    )];
    scripts.extend(users(configuration)?);
    scripts.extend(network(configuration));
    scripts.extend(join.map(|join| {
        let input = json!({
            "domain": join.domain,
            "username": join.username,
            "password": join.password.reveal(),
            "ou": join.ou,
            "hostname": configuration.hostname,
        });
        Script::new(Stage::Domain, include_str!("scripts/domain.ps1"), &input)
    }));
    Ok(scripts)
}

fn users(configuration: &Configuration) -> Result<Option<Script>, CannotPlan> {
    let entry = |name: &str, password: Option<&Secret>, admin: bool| {
        let password = password.map(Secret::reveal);
        json!({"name": name, "password": password, "admin": admin})
    };
    if configuration.admin_username.is_none() && !configuration.ssh_authorized_keys.is_empty() {
        return Err(CannotPlan::KeysOfNobody);
    }
    let admin = configuration.admin_username.as_deref();
    let mut users: Vec<_> = admin
        .map(|name| entry(name, configuration.admin_password.as_ref(), true))
        .into_iter()
        .collect();
    let mut keys = configuration.ssh_authorized_keys.clone();
    for (name, user) in &configuration.users {
        if !user.admin && !user.ssh_authorized_keys.is_empty() {
            return Err(CannotPlan::KeysOfOrdinaryUser(name.clone()));
        }
        users.push(entry(name, user.password.as_ref(), user.admin));
        keys.extend(user.ssh_authorized_keys.iter().cloned());
    }
    let input = json!({"users": users, "keys": keys});
    Ok((!users.is_empty()).then(|| Script::new(Stage::Users, include_str!("scripts/users.ps1"), &input)))
}

fn network(configuration: &Configuration) -> Option<Script> {
    let servers: Vec<_> = configuration
        .dns_servers
        .iter()
        .map(ToString::to_string)
        .collect();
    let said = |nic: &&Nic| nic.ipv4.is_some() || !servers.is_empty() || configuration.dns_suffix.is_some();
    let nics: Vec<_> = configuration
        .nics
        .iter()
        .filter(said)
        .map(|nic| {
            json!({
                // As Windows writes it.
                "mac": nic.mac.to_string().to_uppercase().replace(':', "-"),
                "address": nic.ipv4.map(|fixed| fixed.address.addr()),
                "prefix": nic.ipv4.map(|fixed| fixed.address.prefix_len()),
                "gateway": nic.ipv4.and_then(|fixed| fixed.gateway),
            })
        })
        .collect();
    let input = json!({"nics": nics, "servers": servers, "suffix": configuration.dns_suffix});
    (!nics.is_empty()).then(|| Script::new(Stage::Network, include_str!("scripts/network.ps1"), &input))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use labyard_exchange::config::{DomainJoin, FixedIpv4, User};

    use super::*;

    const KEY: &str = "ssh-ed25519 AAAA ops@desk";

    fn configuration() -> Configuration {
        let user = User {
            admin: true,
            ssh_authorized_keys: vec![KEY.into()],
            password: None,
        };
        Configuration {
            dns_suffix: Some("lab.test".into()),
            admin_username: Some("Öps".into()),
            admin_password: Some(Secret::new("it's \"$(here)\" `n ä")),
            users: BTreeMap::from([("ann".to_owned(), user)]),
            nics: vec![Nic {
                mac: "00:15:5d:00:00:01".parse().unwrap(),
                ipv4: Some(FixedIpv4 {
                    address: "10.77.0.10/24".parse().unwrap(),
                    gateway: Some("10.77.0.1".parse().unwrap()),
                }),
            }],
            dns_servers: vec!["10.77.0.1".parse().unwrap()],
            domain_join: Some(DomainJoin {
                domain: "corp.example".into(),
                username: "CORP\\joiner".into(),
                password: Secret::new("join-secret"),
                ou: Some("OU=Lab,DC=corp,DC=example".into()),
            }),
            ..Configuration::named("web-01")
        }
    }

    fn input(script: &Script) -> Value {
        serde_json::from_str(script.input.reveal()).unwrap()
    }

    #[test]
    fn each_part_of_a_configuration_has_its_script_in_its_order() {
        let scripts = plan(&configuration()).unwrap();
        let stages: Vec<_> = scripts.iter().map(|script| script.stage).collect();
        assert_eq!(
            stages,
            [Stage::Hostname, Stage::Users, Stage::Network, Stage::Domain]
        );
        assert_eq!(input(&scripts[0])["rename"], false, "the join gives the name");
        let users = input(&scripts[1]);
        assert_eq!(users["users"][0]["password"], "it's \"$(here)\" `n ä");
        assert_eq!(users["users"][1]["password"], Value::Null);
        assert_eq!(users["keys"], json!([KEY]));
        let nic = json!({"mac": "00-15-5D-00-00-01", "address": "10.77.0.10", "prefix": 24, "gateway": "10.77.0.1"});
        assert_eq!(input(&scripts[2])["nics"], json!([nic]));
        assert_eq!(input(&scripts[3])["ou"], "OU=Lab,DC=corp,DC=example");
        let small = plan(&Configuration::named("web-01")).unwrap();
        assert_eq!(small.len(), 1);
        assert_eq!(input(&small[0])["rename"], true);
    }

    #[test]
    fn scripts_are_the_same_whatever_is_wanted_and_secrets_are_in_their_input_alone() {
        let scripts = plan(&configuration()).unwrap();
        for script in &scripts {
            assert!(script.input.reveal().is_ascii());
            let bytes = STANDARD.decode(script.encoded()).unwrap();
            let units: Vec<_> = bytes
                .chunks_exact(2)
                .map(|pair| u16::from_le_bytes([pair[0], pair[1]]))
                .collect();
            assert_eq!(String::from_utf16(&units).unwrap(), script.text);
            assert!(
                script.encoded().len() < 30_000,
                "a command line of Windows has an end"
            );
            assert!(script.text.is_ascii() && script.text.contains("$ErrorActionPreference = 'Stop'"));
        }
        let shown = format!("{scripts:?}");
        assert!(
            !shown.contains("join-secret") && !shown.contains("$(here)"),
            "{shown}"
        );
    }

    #[test]
    fn keys_that_have_no_place_are_refused_before_anything_is_done() {
        let mut ordinary = configuration();
        ordinary.users.get_mut("ann").unwrap().admin = false;
        assert_eq!(plan(&ordinary), Err(CannotPlan::KeysOfOrdinaryUser("ann".into())));
        let mut nobody = Configuration::named("web-01");
        nobody.ssh_authorized_keys = vec![KEY.into()];
        assert_eq!(plan(&nobody), Err(CannotPlan::KeysOfNobody));
    }
}
