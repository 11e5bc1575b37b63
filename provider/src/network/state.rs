//! From a network as it is to the state, the user's spelling kept; and back, to compare a plan with.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use labyard_driver::ids::{HostName, ObjectId, ObjectName};
use labyard_driver::mark::{Ownership, Stage};
use labyard_driver::observed::{Activity, Autostart, NetworkStanding};
use labyard_driver::spec::{Dhcp, NetworkMode};
use labyard_reconciler::desired::{Wishes, network_boot};
use labyard_reconciler::identity::Identity;
use labyard_reconciler::lan::Empty;
use labyard_reconciler::view::{NetworkView, Owner};
use labyard_schema::network::{self, Network};

/// The state of a network as it is, `prior` brought up to it.
pub fn refreshed(prior: &Network, view: &NetworkView) -> Network {
    Network {
        name: view.name.to_string(),
        mode: mode_text(view.mode).to_owned(),
        ipv4: ipv4(prior, view),
        ipv6: ipv6(prior, view),
        dns: dns(prior, view),
        boot: view.boot.as_ref().map(|boot| network::NetworkBoot {
            url: boot.url.clone(),
            vendor_class: boot.vendor_class.clone(),
        }),
        bridge: match view.mode {
            Some(NetworkMode::Bridge) => view.bridge.clone(),
            _ => None,
        },
        vlan: view.lan.vlan.map(|vlan| u32::from(vlan.0)),
        mtu: view.lan.mtu,
        autostart: view.autostart == Autostart::On,
        active: Some(view.active == Activity::Active && view.standing == NetworkStanding::AsDefined),
        id: Some(view.id.to_string()),
        labels: view.wishes.labels.clone(),
        deletion_protection: view.wishes.deletion_protection,
        gateway: gateway(view),
        bridge_name: view.bridge.clone(),
        owned: Some(view.owner != Owner::Foreign),
        ..prior.clone()
    }
}

fn mode_text(mode: Option<NetworkMode>) -> &'static str {
    match mode {
        Some(NetworkMode::Nat) => "nat",
        Some(NetworkMode::Routed) => "routed",
        Some(NetworkMode::Isolated) => "isolated",
        Some(NetworkMode::Bridge) => "bridge",
        None => "other",
    }
}

fn gateway(view: &NetworkView) -> Option<String> {
    let v4 = view.address.map(|net| net.addr().to_string());
    v4.or_else(|| view.lan.ipv6.map(|ipv6| ipv6.address.addr().to_string()))
}

/// What the user wrote where it means what is there: another spelling is his to choose.
fn spelled<T: Clone>(written: Option<&T>, now: Option<T>, same: impl Fn(&T, &T) -> bool) -> Option<T> {
    let now = now?;
    match written {
        Some(written) if same(written, &now) => Some(written.clone()),
        _ => Some(now),
    }
}

/// Whether two texts are the same value of a kind.
fn same<V: FromStr + PartialEq>(a: &str, b: &str) -> bool {
    a == b || matches!((a.parse::<V>(), b.parse::<V>()), (Ok(a), Ok(b)) if a == b)
}

/// A collection that was left out stays so while it is empty.
fn filled<C: Default + PartialEq>(there: C, written_empty: bool) -> Option<C> {
    (there != C::default() || written_empty).then_some(there)
}

fn ipv4(prior: &Network, view: &NetworkView) -> Option<network::Ipv4> {
    let written = prior.ipv4.as_ref();
    let dhcp = view.dhcp.map(|d| {
        let before = written.and_then(|ipv4| ipv4.dhcp.as_ref());
        let empty = before.map_or(
            view.wishes.network_written.0.contains(&Empty::Options),
            |before| before.options.is_some(),
        );
        network::DhcpRange {
            start: d.start.to_string(),
            end: d.end.to_string(),
            options: filled(view.lan.dhcp_options.clone(), empty),
        }
    });
    let cidr = view.address?.trunc().to_string();
    spelled(written, Some(network::Ipv4 { cidr, dhcp }), |a, b| {
        let range = match (&a.dhcp, &b.dhcp) {
            (None, None) => true,
            (Some(a), Some(b)) => {
                same::<Ipv4Addr>(&a.start, &b.start)
                    && same::<Ipv4Addr>(&a.end, &b.end)
                    && a.options == b.options
            }
            _ => false,
        };
        same::<ipnet::Ipv4Net>(&a.cidr, &b.cidr) && range
    })
}

fn ipv6(prior: &Network, view: &NetworkView) -> Option<network::Ipv6> {
    let now = view.lan.ipv6.map(|ipv6| network::Ipv6 {
        cidr: ipv6.address.trunc().to_string(),
        dhcp: ipv6.dhcp.map(|d| network::Dhcp6Range {
            start: d.start.to_string(),
            end: d.end.to_string(),
        }),
    });
    spelled(prior.ipv6.as_ref(), now, |a, b| {
        let range = match (&a.dhcp, &b.dhcp) {
            (None, None) => true,
            (Some(a), Some(b)) => same::<Ipv6Addr>(&a.start, &b.start) && same::<Ipv6Addr>(&a.end, &b.end),
            _ => false,
        };
        same::<ipnet::Ipv6Net>(&a.cidr, &b.cidr) && range
    })
}

fn dns(prior: &Network, view: &NetworkView) -> Option<network::Dns> {
    let before = prior.dns.as_ref();
    let empty = |was: fn(&network::Dns) -> bool, kind| {
        before.map_or(view.wishes.network_written.0.contains(&kind), was)
    };
    let forwarders: Vec<_> = view.lan.forwarders.iter().map(ToString::to_string).collect();
    let records = view.lan.records.iter().map(|(name, addresses)| {
        let written = before.and_then(|dns| dns.records.as_ref()?.get(name));
        (name.clone(), addresses_as_written(written, addresses))
    });
    let now = network::Dns {
        domain: view.domain.clone(),
        forwarders: filled(
            forwarders,
            empty(|dns| dns.forwarders.is_some(), Empty::Forwarders),
        ),
        records: filled(
            records.collect(),
            empty(|dns| dns.records.is_some(), Empty::Records),
        ),
    };
    let written = before.is_some() || view.wishes.dns_written;
    if now == network::Dns::default() && !written {
        return None;
    }
    let forwarded_alike = |a: &network::Dns, b: &network::Dns| match (&a.forwarders, &b.forwarders) {
        (Some(a), Some(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same::<IpAddr>(a, b)),
        (a, b) => a == b,
    };
    spelled(before, Some(now), |a, b| {
        forwarded_alike(a, b) && (&a.domain, &a.records) == (&b.domain, &b.records)
    })
}

/// The addresses of a name; their order and spelling is the user's to choose.
fn addresses_as_written(written: Option<&Vec<String>>, there: &BTreeSet<IpAddr>) -> Vec<String> {
    let now: Vec<_> = there.iter().map(ToString::to_string).collect();
    let meant = |list: &Vec<String>| {
        list.iter()
            .map(|text| text.parse())
            .collect::<Result<BTreeSet<IpAddr>, _>>()
    };
    match written {
        Some(list) if meant(list).as_ref() == Ok(there) => list.clone(),
        _ => now,
    }
}

/// The state of an imported network.
pub fn imported(host: &HostName, view: &NetworkView) -> Network {
    let blank = Network {
        host: Some(host.to_string()),
        timeouts: view.wishes.network_timeouts.clone(),
        ..Network::default()
    };
    refreshed(&blank, view)
}

/// A network as its state has it: what a plan compares with.
pub fn as_view(state: &Network, identity: Option<&Identity>) -> NetworkView {
    let net: Option<ipnet::Ipv4Net> = state.ipv4.as_ref().and_then(|ipv4| ipv4.cidr.parse().ok());
    let address = net.and_then(|net| ipnet::Ipv4Net::new(network::gateway(&net), net.prefix_len()).ok());
    let range = |d: &network::DhcpRange| {
        Some(Dhcp {
            start: d.start.parse().ok()?,
            end: d.end.parse().ok()?,
        })
    };
    NetworkView {
        name: ObjectName(state.name.clone()),
        id: ObjectId(state.id.clone().unwrap_or_default()),
        owner: match identity {
            Some(identity) => Owner::Ours {
                identity: identity.clone(),
                ownership: Ownership::Confirmed,
                stage: Stage::Finished,
            },
            None => Owner::Foreign,
        },
        active: if state.active == Some(false) {
            Activity::Inactive
        } else {
            Activity::Active
        },
        standing: NetworkStanding::AsDefined,
        autostart: if state.autostart {
            Autostart::On
        } else {
            Autostart::Off
        },
        mode: match state.mode.as_str() {
            "nat" => Some(NetworkMode::Nat),
            "routed" => Some(NetworkMode::Routed),
            "isolated" => Some(NetworkMode::Isolated),
            "bridge" => Some(NetworkMode::Bridge),
            _ => None,
        },
        bridge: state.bridge.clone(),
        address,
        dhcp: state
            .ipv4
            .as_ref()
            .and_then(|ipv4| ipv4.dhcp.as_ref())
            .and_then(range),
        domain: state.dns.as_ref().and_then(|dns| dns.domain.clone()),
        lan: labyard_reconciler::lan::desired(state).unwrap_or_default(),
        boot: state.boot.as_ref().map(network_boot),
        wishes: Wishes::default(),
        claim: None,
    }
}
