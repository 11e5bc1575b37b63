//! systemd-networkd: a file a card, named so that it comes before any other that would match.

use std::fmt::Display;

use super::super::act::{Act, File, Program};
use super::Card;

pub(super) fn acts(cards: &[Card<'_>]) -> Vec<Act> {
    let files = cards.iter().map(|card| {
        Act::Write(File {
            path: format!("/etc/systemd/network/05-labyard-{}.network", card.mac.bare()).into(),
            text: text(card),
            mode: 0o644,
        })
    });
    let again = cards
        .iter()
        .map(|card| Act::Run(Program::new("networkctl", &["reconfigure", &card.name]).live()));
    let reload = Act::Run(Program::new("networkctl", &["reload"]).live());
    files.chain([reload]).chain(again).collect()
}

fn text(card: &Card<'_>) -> String {
    let mut text = format!(
        "# Made by labyard.\n[Match]\nMACAddress={}\nType=ether\n\n[Network]\n",
        card.mac
    );
    let mut line = |name: &str, value: &dyn Display| text.push_str(&format!("{name}={value}\n"));
    match &card.ipv4 {
        None => line("DHCP", &"ipv4"),
        Some(fixed) => {
            line("Address", &fixed.address);
            if let Some(gateway) = &fixed.gateway {
                line("Gateway", gateway);
            }
        }
    }
    for server in card.servers {
        line("DNS", server);
    }
    if let Some(suffix) = &card.suffix {
        line("Domains", suffix);
    }
    if card.ipv4.is_none() && !card.servers.is_empty() {
        text.push_str("\n[DHCPv4]\nUseDNS=no\n");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::super::tests::{by_dhcp, fixed};
    use super::*;
    use crate::linux::plan::tests::{commands, text_of};

    #[test]
    fn fixed_addresses_and_servers_are_said_in_networkds_words() {
        let acts = acts(&[fixed(), by_dhcp()]);
        assert_eq!(
            text_of(&acts, "/etc/systemd/network/05-labyard-00155d000001.network"),
            "# Made by labyard.\n[Match]\nMACAddress=00:15:5d:00:00:01\nType=ether\n\n[Network]\n\
             Address=10.77.0.10/24\nGateway=10.77.0.1\nDNS=10.77.0.1\nDNS=fd00::1\nDomains=lab.test\n"
        );
        assert_eq!(
            text_of(&acts, "/etc/systemd/network/05-labyard-00155d000002.network"),
            "# Made by labyard.\n[Match]\nMACAddress=00:15:5d:00:00:02\nType=ether\n\n[Network]\n\
             DHCP=ipv4\nDNS=10.77.0.1\nDNS=fd00::1\nDomains=lab.test\n\n[DHCPv4]\nUseDNS=no\n"
        );
        assert_eq!(
            commands(&acts),
            [
                "networkctl reload",
                "networkctl reconfigure eth0",
                "networkctl reconfigure eth1"
            ]
        );
    }
}
