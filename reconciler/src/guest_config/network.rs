//! `network-config`: version 2 for cloud-init, version 1 for cloudbase-init, whose documents describe that one.
//!
//! Written only where there is something to say: a guest that is told nothing asks by DHCP.

use std::net::IpAddr;

use ipnet::IpNet;
use labyard_schema::vm::OsFamily;
use serde_json::{Map, Value, json};

use super::{Addressing, Card, GuestConfig};

/// Its first line, by which it is told from one that the user wrote.
const HEAD: &str = "# Made by labyard of guest and nics.\n";

/// Whether a text was made here.
pub fn is_generated(text: &str) -> bool {
    text.starts_with(HEAD)
}

/// The file's text, where there is something to say.
pub(super) fn config(family: OsFamily, guest: Option<&GuestConfig>, cards: &[Card]) -> Option<String> {
    let fixed = cards.iter().any(|card| card.addressing != Addressing::Dhcp);
    let named = guest.is_some_and(|guest| !guest.dns_servers.is_empty() || guest.dns_suffix.is_some());
    let config = match family {
        OsFamily::Linux if !cards.is_empty() && (fixed || named) => version_2(guest, cards),
        // Of a card that asks by DHCP version 1 can say nothing: a script sets its servers.
        OsFamily::Windows if fixed => version_1(guest, cards),
        OsFamily::Linux | OsFamily::Windows => return None,
    };
    Some(format!("{HEAD}{config:#}\n"))
}

fn version_2(guest: Option<&GuestConfig>, cards: &[Card]) -> Value {
    let cards = cards.iter().enumerate().map(|(index, card)| {
        let mut entry = Map::new();
        entry.insert("match".to_owned(), json!({"macaddress": card.mac.to_string()}));
        match &card.addressing {
            Addressing::Dhcp => dhcp(guest, &mut entry),
            Addressing::Static { addresses, gateway } => fixed(addresses, *gateway, &mut entry),
        }
        if let Some(names) = guest.and_then(name_servers) {
            entry.insert("nameservers".to_owned(), names);
        }
        if index > 0 {
            // A boot does not wait for more than the first card.
            entry.insert("optional".to_owned(), json!(true));
        }
        (card.key.to_string(), Value::Object(entry))
    });
    json!({"version": 2, "ethernets": Value::Object(cards.collect())})
}

fn dhcp(guest: Option<&GuestConfig>, entry: &mut Map<String, Value>) {
    entry.insert("dhcp4".to_owned(), json!(true));
    if guest.is_some_and(|guest| !guest.dns_servers.is_empty()) {
        entry.insert("dhcp4-overrides".to_owned(), json!({"use-dns": false}));
    }
}

fn fixed(addresses: &[IpNet], gateway: Option<IpAddr>, entry: &mut Map<String, Value>) {
    let texts: Vec<_> = addresses.iter().map(ToString::to_string).collect();
    entry.insert("dhcp4".to_owned(), json!(false));
    entry.insert("addresses".to_owned(), json!(texts));
    if let Some(gateway) = gateway {
        let everything = if gateway.is_ipv4() { "0.0.0.0/0" } else { "::/0" };
        let routes = json!([{"to": everything, "via": gateway.to_string()}]);
        entry.insert("routes".to_owned(), routes);
    }
}

fn name_servers(guest: &GuestConfig) -> Option<Value> {
    let mut names = Map::new();
    if !guest.dns_servers.is_empty() {
        names.insert("addresses".to_owned(), json!(servers(guest)));
    }
    if let Some(suffix) = &guest.dns_suffix {
        names.insert("search".to_owned(), json!([suffix]));
    }
    (!names.is_empty()).then_some(Value::Object(names))
}

fn version_1(guest: Option<&GuestConfig>, cards: &[Card]) -> Value {
    let fixed = cards.iter().filter_map(|card| match &card.addressing {
        Addressing::Dhcp => None,
        Addressing::Static { addresses, gateway } => Some((card, addresses, gateway)),
    });
    let cards = fixed.map(|(card, addresses, gateway)| {
        let subnets = addresses.iter().map(|address| {
            let mut subnet = Map::new();
            subnet.insert("type".to_owned(), json!("static"));
            subnet.insert("address".to_owned(), json!(address.to_string()));
            if let Some(gateway) = gateway.filter(|g| g.is_ipv4() == address.addr().is_ipv4()) {
                subnet.insert("gateway".to_owned(), json!(gateway.to_string()));
            }
            if let Some(guest) = guest.filter(|guest| !guest.dns_servers.is_empty()) {
                subnet.insert("dns_nameservers".to_owned(), json!(servers(guest)));
            }
            Value::Object(subnet)
        });
        json!({
            "type": "physical",
            "name": card.key.to_string(),
            "mac_address": card.mac.to_string(),
            "subnets": subnets.collect::<Vec<_>>(),
        })
    });
    json!({"version": 1, "config": cards.collect::<Vec<_>>()})
}

fn servers(guest: &GuestConfig) -> Vec<String> {
    guest.dns_servers.iter().map(ToString::to_string).collect()
}
