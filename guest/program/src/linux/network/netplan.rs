//! netplan: one file behind all others. JSON is YAML, so what is written cannot be broken out of.
//!
//! Cards stand under the names that the system gives them: cloud-init's file has them so too, and netplan merges what
//! stands under one name, the later file ruling.

use serde_json::{Map, Value, json};

use super::super::act::{Act, File, Program};
use super::Card;

const FILE: &str = "/etc/netplan/90-labyard.yaml";

pub(super) fn acts(cards: &[Card<'_>]) -> Vec<Act> {
    let ethernets: Map<String, Value> = cards.iter().map(|card| (card.name.clone(), of(card))).collect();
    let text = json!({"network": {"version": 2, "ethernets": ethernets}});
    vec![
        Act::Write(File {
            path: FILE.into(),
            text: format!("# Made by labyard.\n{text:#}\n"),
            // netplan warns of files that others can read.
            mode: 0o600,
        }),
        Act::Run(Program::new("netplan", &["apply"]).live()),
    ]
}

fn of(card: &Card<'_>) -> Value {
    let mut entry = Map::new();
    let mut put = |name: &str, value: Value| drop(entry.insert(name.to_owned(), value));
    match &card.ipv4 {
        None => {
            put("dhcp4", json!(true));
            if !card.servers.is_empty() {
                put("dhcp4-overrides", json!({"use-dns": false}));
            }
        }
        Some(fixed) => {
            put("dhcp4", json!(false));
            put("addresses", json!([fixed.address.to_string()]));
            if let Some(gateway) = fixed.gateway {
                put("routes", json!([{"to": "0.0.0.0/0", "via": gateway.to_string()}]));
            }
        }
    }
    let mut names = Map::new();
    if !card.servers.is_empty() {
        let servers: Vec<_> = card.servers.iter().map(ToString::to_string).collect();
        names.insert("addresses".to_owned(), json!(servers));
    }
    if let Some(suffix) = card.suffix {
        names.insert("search".to_owned(), json!([suffix]));
    }
    if !names.is_empty() {
        put("nameservers", Value::Object(names));
    }
    Value::Object(entry)
}

#[cfg(test)]
mod tests {
    use super::super::tests::{by_dhcp, fixed};
    use super::*;
    use crate::linux::plan::tests::{commands, text_of};

    #[test]
    fn fixed_addresses_and_servers_are_said_in_netplans_words() {
        let acts = acts(&[fixed(), by_dhcp()]);
        let text = text_of(&acts, FILE);
        let read: Value = serde_json::from_str(text.split_once('\n').unwrap().1).unwrap();
        let eth0 = json!({
            "dhcp4": false,
            "addresses": ["10.77.0.10/24"],
            "routes": [{"to": "0.0.0.0/0", "via": "10.77.0.1"}],
            "nameservers": {"addresses": ["10.77.0.1", "fd00::1"], "search": ["lab.test"]},
        });
        assert_eq!(read["network"]["ethernets"]["eth0"], eth0);
        let eth1 = &read["network"]["ethernets"]["eth1"];
        assert_eq!(eth1["dhcp4"], true);
        assert_eq!(eth1["dhcp4-overrides"], json!({"use-dns": false}));
        assert_eq!(commands(&acts), ["netplan apply"]);
    }
}
