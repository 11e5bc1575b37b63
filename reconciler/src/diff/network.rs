//! The changes that bring a network from what it is to what it shall be.

use labyard_driver::observed::Activity;
use labyard_driver::spec::NetworkMode;

use super::{Change, Disturbance, What};
use crate::desired::DesiredNetwork;
use crate::view::{NetworkView, Owner};

/// The changes. [`Disturbance::Restart`] means that the network is taken down and up again, which cuts off the
/// machines on it.
pub fn diff(desired: &DesiredNetwork, current: &NetworkView) -> Vec<Change> {
    const CUTS: &str = "the network is taken down and up again, which cuts off the machines on it";
    let restart = match current.active {
        Activity::Active => Disturbance::Restart,
        Activity::Inactive => Disturbance::Live,
    };
    let mut changes = Vec::new();
    let mut compare = |name: &'static str, from: String, to: String, disturbance: Disturbance, why| {
        if from != to {
            changes.push(Change {
                what: What::Attribute(name),
                from,
                to,
                disturbance,
                why,
            });
        }
    };
    let mode =
        |mode: Option<NetworkMode>| mode.map_or("other".to_owned(), |m| format!("{m:?}").to_lowercase());
    compare(
        "mode",
        mode(current.mode),
        mode(Some(desired.mode)),
        restart,
        CUTS,
    );
    let net = |address: Option<ipnet::Ipv4Net>| address.map_or("none".to_owned(), |a| a.to_string());
    compare("ipv4", net(current.address), net(desired.address), restart, CUTS);
    let range = |dhcp: Option<labyard_driver::spec::Dhcp>| {
        dhcp.map_or("none".to_owned(), |d| format!("{} to {}", d.start, d.end))
    };
    // Another range is taken up while the network is up; the first one and none at all are not.
    let other_range = current.dhcp.is_some() && desired.dhcp.is_some() && current.address == desired.address;
    compare(
        "ipv4",
        range(current.dhcp),
        range(desired.dhcp),
        if other_range { Disturbance::Live } else { restart },
        if other_range {
            "leases stay as they are"
        } else {
            CUTS
        },
    );
    let text = |text: &Option<String>| text.clone().unwrap_or_else(|| "none".to_owned());
    compare("dns", text(&current.domain), text(&desired.domain), restart, CUTS);
    if desired.mode == NetworkMode::Bridge {
        compare(
            "bridge",
            text(&current.bridge),
            text(&desired.bridge),
            restart,
            CUTS,
        );
    }
    let autostart = |a| format!("{a:?}").to_lowercase();
    let live = Disturbance::Live;
    compare(
        "autostart",
        autostart(current.autostart),
        autostart(desired.autostart),
        live,
        "asked for",
    );
    if current.active == Activity::Inactive {
        compare(
            "active",
            "down".into(),
            "up".into(),
            live,
            "a network of labyard's is up",
        );
    }
    if current.owner == Owner::Foreign {
        compare(
            "owned",
            "false".into(),
            "true".into(),
            live,
            "the network gets labyard's mark",
        );
    }
    changes
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
            autostart: Autostart::On,
            mode: Some(desired.mode),
            bridge: None,
            address: desired.address,
            dhcp: desired.dhcp,
            domain: None,
            wishes: Wishes::default(),
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
            let range = changes.iter().find(|c| c.what == What::Attribute("ipv4"));
            range.map(|c| c.disturbance)
        };
        assert_eq!(of_range(&short, &long), Some(Disturbance::Live));
        assert_eq!(of_range(&none, &long), Some(Disturbance::Restart));
        assert_eq!(of_range(&long, &none), Some(Disturbance::Restart));
        assert_eq!(of_range(&long, &long), None);
    }
}
