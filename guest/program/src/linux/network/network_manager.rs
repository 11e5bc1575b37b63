//! `NetworkManager`: a keyfile a card, with a higher priority than connections that are there.

use std::fmt::Write as _;

use sha2::{Digest, Sha256};
use uuid::Uuid;

use super::super::act::{Act, File, Program};
use super::{Card, Kind};

pub(super) fn acts(cards: &[Card<'_>]) -> Vec<Act> {
    let files = cards.iter().map(|card| {
        let name = format!("labyard-{}.nmconnection", card.mac.bare());
        Act::Write(File {
            path: format!("/etc/NetworkManager/system-connections/{name}").into(),
            text: text(card),
            // It takes no file that others can read.
            mode: 0o600,
        })
    });
    let reload = Act::Run(Program::new("nmcli", &["connection", "reload"]).live());
    let up = cards.iter().map(|card| {
        let id = identity(card).to_string();
        Act::Run(Program::new("nmcli", &["connection", "up", "uuid", &id]).live())
    });
    files.chain([reload]).chain(up).collect()
}

/// The same in each run, so that a file that is written again is the same connection.
fn identity(card: &Card<'_>) -> Uuid {
    let digest = Sha256::digest(format!("labyard connection {}", card.mac));
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&digest[..16]);
    Uuid::new_v8(bytes)
}

fn text(card: &Card<'_>) -> String {
    let mut text = format!(
        "# Made by labyard.\n[connection]\nid=labyard-{}\nuuid={}\ntype=ethernet\nautoconnect-priority=100\n\n\
         [ethernet]\nmac-address={}\n\n[ipv4]\n",
        card.mac.bare(),
        identity(card),
        card.mac
    );
    match &card.ipv4 {
        None => text.push_str("method=auto\n"),
        Some(fixed) => {
            let gateway = fixed.gateway.map(|gateway| format!(",{gateway}"));
            let _ = writeln!(
                text,
                "method=manual\naddress1={}{}",
                fixed.address,
                gateway.unwrap_or_default()
            );
        }
    }
    text.push_str(&names(card, Kind::Ipv4));
    text.push_str("\n[ipv6]\nmethod=auto\n");
    text.push_str(&names(card, Kind::Ipv6));
    text
}

/// Name servers of one kind. Where there are any at all, none of either kind are taken from the network.
fn names(card: &Card<'_>, kind: Kind) -> String {
    let mut text = String::new();
    let servers: String = card.servers_of(kind).map(|server| format!("{server};")).collect();
    if !servers.is_empty() {
        let _ = writeln!(text, "dns={servers}");
    }
    if !card.servers.is_empty() {
        text.push_str("ignore-auto-dns=true\n");
    }
    if let (Some(suffix), Kind::Ipv4) = (card.suffix, kind) {
        let _ = writeln!(text, "dns-search={suffix};");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::super::tests::{by_dhcp, fixed};
    use super::*;
    use crate::linux::plan::tests::{commands, text_of};

    #[test]
    fn fixed_addresses_and_servers_are_said_in_network_managers_words() {
        let acts = acts(&[fixed(), by_dhcp()]);
        let at = "/etc/NetworkManager/system-connections/labyard-00155d00000";
        let first = text_of(&acts, &format!("{at}1.nmconnection"));
        let id = identity(&fixed());
        assert_eq!(
            first,
            format!(
                "# Made by labyard.\n[connection]\nid=labyard-00155d000001\nuuid={id}\ntype=ethernet\n\
                 autoconnect-priority=100\n\n[ethernet]\nmac-address=00:15:5d:00:00:01\n\n[ipv4]\nmethod=manual\n\
                 address1=10.77.0.10/24,10.77.0.1\ndns=10.77.0.1;\nignore-auto-dns=true\ndns-search=lab.test;\n\n\
                 [ipv6]\nmethod=auto\ndns=fd00::1;\nignore-auto-dns=true\n"
            )
        );
        let second = text_of(&acts, &format!("{at}2.nmconnection"));
        assert!(
            second.contains("[ipv4]\nmethod=auto\ndns=10.77.0.1;\nignore-auto-dns=true\n"),
            "{second}"
        );
        assert_eq!(commands(&acts)[0], "nmcli connection reload");
        assert_eq!(commands(&acts)[1], format!("nmcli connection up uuid {id}"));
        assert_ne!(id, identity(&by_dhcp()));
    }
}
