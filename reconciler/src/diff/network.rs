//! The changes that bring a network from what it is to what it shall be.

use std::fmt::Display;

use labyard_driver::lan::{Lan, Records};
use labyard_driver::observed::{Activity, NetworkStanding};
use labyard_driver::spec::{Dhcp, NetworkMode};
use labyard_schema::Change as Stated;
use labyard_schema::attribute::{Attribute, Described, Shape};
use labyard_schema::network::Network;

use super::{Change, Disturbance, What};
use crate::desired::DesiredNetwork;
use crate::view::{NetworkView, Owner};

/// The changes. [`Disturbance::Restart`] means that the network is taken down and up again, which cuts off the
/// machines on it for some seconds; [`Disturbance::Replace`] that they could not stay on it with what they have.
pub fn diff(desired: &DesiredNetwork, current: &NetworkView) -> Vec<Change> {
    let mut changes = Changes {
        up: current.active,
        attributes: Network::attributes(),
        found: Vec::new(),
    };
    let kind = match (current.mode, desired.mode) {
        (Some(NetworkMode::Bridge), _) | (_, NetworkMode::Bridge) | (None, _) => Effect::Parts,
        _ => Effect::AsStated,
    };
    let (from, to) = (current, desired);
    changes.compare("mode", mode_name(from.mode), mode_name(Some(to.mode)), kind);
    changes.compare("ipv4", shown(from.address), shown(to.address), Effect::Parts);
    let other_range = from.dhcp.is_some() && to.dhcp.is_some() && from.address == to.address;
    let range = if other_range {
        Effect::Exchanged("leases stay as they are")
    } else {
        Effect::AsStated
    };
    changes.compare("ipv4.dhcp", range_name(from.dhcp), range_name(to.dhcp), range);
    let domain = |domain: &Option<String>| shown(domain.as_ref());
    changes.compare(
        "dns.domain",
        domain(&from.domain),
        domain(&to.domain),
        Effect::AsStated,
    );
    changes.lan(&from.lan, &to.lan);
    if desired.mode == NetworkMode::Bridge {
        let bridge = |bridge: &Option<String>| shown(bridge.as_ref());
        changes.compare(
            "bridge",
            bridge(&from.bridge),
            bridge(&to.bridge),
            Effect::AsStated,
        );
    }
    let boot = |boot: &Option<labyard_driver::spec::NetworkBoot>| {
        boot.as_ref()
            .map_or("none".to_owned(), |b| format!("{} for {}", b.url, b.vendor_class))
    };
    changes.compare("boot", boot(&from.boot), boot(&to.boot), Effect::AsStated);
    let autostart = |a| format!("{a:?}").to_lowercase();
    changes.compare(
        "autostart",
        autostart(from.autostart),
        autostart(to.autostart),
        Effect::AsStated,
    );
    if current.active == Activity::Inactive || current.standing == NetworkStanding::Behind {
        let why = Effect::Exchanged("a network of labyard's is up as defined, with its guests on it");
        changes.compare("active", "false".into(), "true".into(), why);
    }
    if current.owner == Owner::Foreign {
        let why = Effect::Exchanged("the network gets labyard's mark");
        changes.compare("owned", "false".into(), "true".into(), why);
    }
    changes.found
}

/// What a change of an attribute does to a network that is up.
#[derive(Clone, Copy)]
enum Effect {
    /// What the schema says of it: nothing, or that it goes down and up again, which is so too where the schema says
    /// that the plan tells.
    AsStated,
    /// Nothing to its guests, for this reason.
    Exchanged(&'static str),
    /// It goes down and up again, and its guests would be on it with addresses of another network.
    Parts,
}

struct Changes {
    up: Activity,
    attributes: Vec<Attribute>,
    found: Vec<Change>,
}

impl Changes {
    fn compare(&mut self, name: &'static str, from: String, to: String, effect: Effect) {
        if from == to {
            return;
        }
        let (disturbance, why) = match (effect, self.up) {
            (Effect::Exchanged(why), _) => (Disturbance::Live, why),
            (_, Activity::Inactive) => (Disturbance::Live, "the network is down"),
            (Effect::AsStated, _) if stated(&self.attributes, name) == Stated::Live => {
                (Disturbance::Live, "asked for")
            }
            (Effect::AsStated, Activity::Active) => (
                Disturbance::Restart,
                "the network is taken down and up again, which cuts off the machines on it for some seconds",
            ),
            (Effect::Parts, Activity::Active) => (
                Disturbance::Replace,
                "the machines on it would have addresses of another network",
            ),
        };
        self.found.push(Change {
            what: What::Attribute(name),
            from,
            to,
            disturbance,
            why,
        });
    }

    fn lan(&mut self, from: &Lan, to: &Lan) {
        let restarts = Effect::AsStated;
        let options = |lan: &Lan| {
            let options = lan
                .dhcp_options
                .iter()
                .map(|(name, value)| format!("{name}={value}"));
            list(options)
        };
        self.compare("ipv4.dhcp.options", options(from), options(to), restarts);
        let ipv6 = |lan: &Lan| shown(lan.ipv6.map(|ipv6| ipv6.address.trunc()));
        self.compare("ipv6", ipv6(from), ipv6(to), restarts);
        let range = |lan: &Lan| {
            let range = lan.ipv6.and_then(|ipv6| ipv6.dhcp);
            shown(range.map(|d| format!("{} to {}", d.start, d.end)))
        };
        self.compare("ipv6.dhcp", range(from), range(to), restarts);
        let forwarders = |lan: &Lan| list(lan.forwarders.iter());
        self.compare("dns.forwarders", forwarders(from), forwarders(to), restarts);
        let records = match exchangeable(&from.records) && exchangeable(&to.records) {
            true => Effect::Exchanged("names are exchanged while the network is up"),
            false => restarts,
        };
        self.compare(
            "dns.records",
            records_name(&from.records),
            records_name(&to.records),
            records,
        );
        self.compare("vlan", shown(from.vlan), shown(to.vlan), restarts);
        self.compare("mtu", shown(from.mtu), shown(to.mtu), restarts);
    }
}

/// What the schema says of an attribute, by its path.
fn stated(attributes: &[Attribute], path: &str) -> Stated {
    let (name, rest) = path
        .split_once('.')
        .map_or((path, None), |(name, rest)| (name, Some(rest)));
    let found = attributes.iter().find(|attribute| attribute.name == name);
    match (found, rest) {
        (
            Some(Attribute {
                shape: Shape::Object(inner),
                ..
            }),
            Some(rest),
        ) => stated(inner, rest),
        (Some(attribute), None) => attribute.change,
        // A name that the schema does not have: rather a warning too many.
        _ => Stated::RestartNetwork,
    }
}

/// Whether hosts can tell the records apart by their names, which exchanging them takes.
fn exchangeable(records: &Records) -> bool {
    records.values().all(|addresses| addresses.len() < 2)
}

fn shown(value: Option<impl Display>) -> String {
    value.map_or_else(|| "none".to_owned(), |value| value.to_string())
}

fn list(items: impl Iterator<Item = impl Display>) -> String {
    let items: Vec<_> = items.map(|item| item.to_string()).collect();
    if items.is_empty() {
        return "none".to_owned();
    }
    items.join(" ")
}

fn mode_name(mode: Option<NetworkMode>) -> String {
    mode.map_or("other".to_owned(), |m| format!("{m:?}").to_lowercase())
}

fn range_name(dhcp: Option<Dhcp>) -> String {
    shown(dhcp.map(|d| format!("{} to {}", d.start, d.end)))
}

fn records_name(records: &Records) -> String {
    list(records.iter().map(|(name, addresses)| {
        let addresses: Vec<_> = addresses.iter().map(ToString::to_string).collect();
        format!("{name}={}", addresses.join(","))
    }))
}

#[cfg(test)]
mod tests {
    use labyard_driver::observed::Autostart;
    use labyard_schema::network::{DhcpRange, Ipv4, Network};

    use super::*;
    use crate::desired::Wishes;

    fn desired(end: Option<&str>) -> DesiredNetwork {
        let dhcp = end.map(|end| DhcpRange {
            start: "10.77.0.100".into(),
            end: end.into(),
            ..DhcpRange::default()
        });
        let cidr = "10.77.0.0/24".to_owned();
        let network = Network {
            name: "lab".into(),
            mode: "nat".into(),
            ipv4: Some(Ipv4 { cidr, dhcp }),
            autostart: true,
            ..Network::default()
        };
        DesiredNetwork::from_config(&"default".into(), &network).unwrap()
    }

    fn standing(desired: &DesiredNetwork) -> NetworkView {
        NetworkView {
            name: desired.name.clone(),
            id: "id".into(),
            owner: Owner::Foreign,
            active: Activity::Active,
            standing: NetworkStanding::AsDefined,
            autostart: Autostart::On,
            mode: Some(desired.mode),
            bridge: None,
            address: desired.address,
            dhcp: desired.dhcp,
            domain: None,
            lan: desired.lan.clone(),
            boot: None,
            wishes: Wishes::default(),
            claim: None,
        }
    }

    #[test]
    fn what_the_schema_states_is_known_by_path() {
        let attributes = Network::attributes();
        for (path, change) in [
            ("autostart", Stated::Live),
            ("mtu", Stated::RestartNetwork),
            ("ipv4.cidr", Stated::RestartNetwork),
            ("ipv4.dhcp.options", Stated::RestartNetwork),
            ("ipv4.dhcp", Stated::LiveOrRestartNetwork),
            ("dns.records", Stated::LiveOrRestartNetwork),
        ] {
            assert_eq!(stated(&attributes, path), change, "{path}");
        }
    }

    #[test]
    fn another_dhcp_range_cuts_nobody_off_and_a_first_one_does() {
        let (short, long, none) = (
            desired(Some("10.77.0.150")),
            desired(Some("10.77.0.200")),
            desired(None),
        );
        let of_range = |from: &DesiredNetwork, to: &DesiredNetwork| {
            let changes = diff(to, &standing(from));
            let range = changes.iter().find(|c| c.what == What::Attribute("ipv4.dhcp"));
            range.map(|c| c.disturbance)
        };
        assert_eq!(of_range(&short, &long), Some(Disturbance::Live));
        assert_eq!(of_range(&none, &long), Some(Disturbance::Restart));
        assert_eq!(of_range(&long, &none), Some(Disturbance::Restart));
        assert_eq!(of_range(&long, &long), None);
    }
}
