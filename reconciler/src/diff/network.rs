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
    compare("ipv4", range(current.dhcp), range(desired.dhcp), restart, CUTS);
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
