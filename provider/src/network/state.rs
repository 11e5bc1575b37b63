//! From a network as it is to the state, the user's spelling kept; and back, to compare a plan with.

use labyard_driver::ids::{HostName, ObjectId, ObjectName};
use labyard_driver::mark::{Ownership, Stage};
use labyard_driver::observed::{Activity, Autostart};
use labyard_driver::spec::{Dhcp, NetworkMode};
use labyard_reconciler::desired::Wishes;
use labyard_reconciler::identity::Identity;
use labyard_reconciler::view::{NetworkView, Owner};
use labyard_schema::network::{self, Network};

/// The state of a network as it is, `prior` brought up to it.
pub fn refreshed(prior: &Network, view: &NetworkView) -> Network {
    Network {
        mode: mode_text(view.mode).to_owned(),
        ipv4: ipv4(prior, view),
        dns: dns(prior, view),
        bridge: match view.mode {
            Some(NetworkMode::Bridge) => view.bridge.clone(),
            _ => None,
        },
        autostart: view.autostart == Autostart::On,
        active: Some(view.active == Activity::Active),
        id: Some(view.id.to_string()),
        gateway: view.address.map(|net| net.addr().to_string()),
        bridge_name: view.bridge.clone(),
        owned: Some(view.owner != Owner::Foreign),
        ..prior.clone()
    }
}

fn mode_text(mode: Option<NetworkMode>) -> &'static str {
    match mode {
        Some(NetworkMode::Nat) => "nat",
        Some(NetworkMode::Isolated) => "isolated",
        Some(NetworkMode::Bridge) => "bridge",
        None => "other",
    }
}

fn ipv4(prior: &Network, view: &NetworkView) -> Option<network::Ipv4> {
    let cidr = view.address?.trunc().to_string();
    let dhcp = view.dhcp.map(|d| network::DhcpRange {
        start: d.start.to_string(),
        end: d.end.to_string(),
    });
    let now = network::Ipv4 { cidr, dhcp };
    // Another spelling of the same addresses is the user's to choose.
    match &prior.ipv4 {
        Some(written) if same(written, &now) => Some(written.clone()),
        _ => Some(now),
    }
}

fn same(a: &network::Ipv4, b: &network::Ipv4) -> bool {
    type Parsed = (
        Option<ipnet::Ipv4Net>,
        Option<(Option<std::net::Ipv4Addr>, Option<std::net::Ipv4Addr>)>,
    );
    let parse = |ipv4: &network::Ipv4| -> Parsed {
        let dhcp = ipv4
            .dhcp
            .as_ref()
            .map(|d| (d.start.parse().ok(), d.end.parse().ok()));
        (ipv4.cidr.parse().ok(), dhcp)
    };
    parse(a) == parse(b)
}

fn dns(prior: &Network, view: &NetworkView) -> Option<network::Dns> {
    match (&view.domain, prior.dns.is_some() || view.wishes.dns_written) {
        (None, false) => None,
        (domain, _) => Some(network::Dns {
            domain: domain.clone(),
        }),
    }
}

/// The state of an imported network.
pub fn imported(host: &HostName, view: &NetworkView) -> Network {
    let blank = Network {
        name: view.name.to_string(),
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
        autostart: if state.autostart {
            Autostart::On
        } else {
            Autostart::Off
        },
        mode: match state.mode.as_str() {
            "nat" => Some(NetworkMode::Nat),
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
        wishes: Wishes::default(),
    }
}
