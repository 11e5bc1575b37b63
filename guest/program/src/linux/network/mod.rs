//! Addresses and name servers, through what the system configures its network with.
//!
//! Only what is said is written: a card with nothing to say of it keeps what it has.

mod ifupdown;
mod netplan;
mod network_manager;
mod networkd;

use std::net::IpAddr;

use labyard_exchange::Configuration;
use labyard_exchange::config::{FixedIpv4, Mac};

use super::act::Act;
use super::facts::{Facts, Means};
use super::plan::{CannotPlan, relabel};

/// A card and what it shall have.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Card<'a> {
    mac: Mac,
    /// As the system calls it.
    name: String,
    /// None asks by DHCP.
    ipv4: Option<FixedIpv4>,
    servers: &'a [IpAddr],
    suffix: Option<&'a str>,
}

impl Card<'_> {
    fn servers_of(&self, kind: Kind) -> impl Iterator<Item = &IpAddr> {
        self.servers
            .iter()
            .filter(move |server| server.is_ipv4() == (kind == Kind::Ipv4))
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Ipv4,
    Ipv6,
}

/// What is to be done.
///
/// # Errors
/// If a card or the means are missing.
pub(crate) fn acts(configuration: &Configuration, facts: &Facts) -> Result<Vec<Act>, CannotPlan> {
    let cards = cards(configuration, facts)?;
    if cards.is_empty() {
        return Ok(Vec::new());
    }
    let mut acts = match facts.means.as_ref().ok_or(CannotPlan::NoManager)? {
        Means::Netplan => netplan::acts(&cards),
        Means::NetworkManager => network_manager::acts(&cards),
        Means::Networkd => networkd::acts(&cards),
        Means::Ifupdown(has) => ifupdown::acts(&cards, has)?,
    };
    // Before the programs that read the files.
    if let Some(labels) = relabel(facts, &acts) {
        let first = acts
            .iter()
            .position(|act| matches!(act, Act::Run(_)))
            .unwrap_or(acts.len());
        acts.insert(first, labels);
    }
    Ok(acts)
}

fn cards<'a>(configuration: &'a Configuration, facts: &Facts) -> Result<Vec<Card<'a>>, CannotPlan> {
    let servers = configuration.dns_servers.as_slice();
    let suffix = configuration.dns_suffix.as_deref();
    configuration
        .nics
        .iter()
        .filter(|nic| nic.ipv4.is_some() || !servers.is_empty() || suffix.is_some())
        .map(|nic| match facts.cards.get(&nic.mac) {
            Some(name) => Ok(Card {
                mac: nic.mac,
                name: name.clone(),
                ipv4: nic.ipv4,
                servers,
                suffix,
            }),
            None => Err(CannotPlan::NoCard {
                wanted: nic.mac,
                there: there(facts),
            }),
        })
        .collect()
}

fn there(facts: &Facts) -> String {
    let cards: Vec<_> = facts
        .cards
        .iter()
        .map(|(mac, name)| format!("{name} ({mac})"))
        .collect();
    match cards.is_empty() {
        true => "none".to_owned(),
        false => cards.join(", "),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use labyard_exchange::config::Nic;

    use super::*;

    const SERVERS: [IpAddr; 2] = [
        IpAddr::V4(std::net::Ipv4Addr::new(10, 77, 0, 1)),
        IpAddr::V6(std::net::Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 1)),
    ];

    pub(super) fn fixed() -> Card<'static> {
        Card {
            mac: "00:15:5d:00:00:01".parse().unwrap(),
            name: "eth0".into(),
            ipv4: Some(FixedIpv4 {
                address: "10.77.0.10/24".parse().unwrap(),
                gateway: Some("10.77.0.1".parse().unwrap()),
            }),
            servers: &SERVERS,
            suffix: Some("lab.test"),
        }
    }

    pub(super) fn by_dhcp() -> Card<'static> {
        Card {
            mac: "00:15:5d:00:00:02".parse().unwrap(),
            name: "eth1".into(),
            ipv4: None,
            ..fixed()
        }
    }

    fn facts(means: Option<Means>) -> Facts {
        Facts {
            cards: BTreeMap::from([(fixed().mac, "eth0".to_owned())]),
            means,
            ..Facts::default()
        }
    }

    fn configuration() -> Configuration {
        Configuration {
            nics: vec![Nic {
                mac: fixed().mac,
                ipv4: fixed().ipv4,
            }],
            ..Configuration::named("web-01")
        }
    }

    #[test]
    fn where_nothing_configures_the_network_it_is_said_what_was_looked_for() {
        let error = acts(&configuration(), &facts(None)).unwrap_err();
        let text = error.to_string();
        for name in ["netplan", "NetworkManager", "systemd-networkd", "ifupdown"] {
            assert!(text.contains(name), "{text}");
        }
    }

    #[test]
    fn a_card_that_is_not_there_is_named_with_those_that_are() {
        let mut configuration = configuration();
        configuration.nics[0].mac = "00:15:5d:00:00:99".parse().unwrap();
        let text = acts(&configuration, &facts(Some(Means::Networkd)))
            .unwrap_err()
            .to_string();
        assert!(text.contains("00:15:5d:00:00:99"), "{text}");
        assert!(text.contains("eth0 (00:15:5d:00:00:01)"), "{text}");
    }

    #[test]
    fn a_card_with_nothing_to_say_of_it_is_left_alone() {
        let mut configuration = configuration();
        configuration.nics[0].ipv4 = None;
        assert_eq!(acts(&configuration, &facts(None)), Ok(vec![]));
        configuration.dns_suffix = Some("lab.test".into());
        assert_eq!(acts(&configuration, &facts(None)), Err(CannotPlan::NoManager));
    }
}
