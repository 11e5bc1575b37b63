//! What a plan of a network says: what is known of it before it is made, what a change disturbs, what it refuses.

use ipnet::IpNet;
use labyard_driver::ids::{HostName, ObjectName};
use labyard_driver::observed::{Ability, NetworkStanding, ObservedMachine, ObservedNetwork, Power};
use labyard_reconciler::desired::DesiredNetwork;
use labyard_reconciler::diff::network::diff;
use labyard_reconciler::diff::{Change, Disturbance, gravest};
use labyard_reconciler::identity::host_name;
use labyard_reconciler::view::{NetworkView, attached};
use labyard_schema::network::{Network, gateway, gateway6};
use tfplugin::value::{Path, Value};
use tfplugin::{Diagnostics, Plan};

use super::state::as_view;
use crate::planned::overlap;
use crate::private::Private;
use crate::provider::Context;
use crate::values;
use crate::vm::{NO_VLAN, refuse_protected};

/// What follows from the configuration alone.
pub fn settle(plan: &mut Plan) {
    let known = planned_gateway(&plan.planned);
    values::put(&mut plan.planned, "gateway", known);
    let mode = plan.planned.field("mode").as_str();
    let written = plan.planned.field("bridge").clone();
    let same_mode = mode == plan.prior.field("mode").as_str();
    let bridge = match mode {
        Some("bridge") => written,
        Some(_) if same_mode && !plan.prior.field("bridge_name").is_null() => {
            plan.prior.field("bridge_name").clone()
        }
        _ => Value::Unknown,
    };
    values::put(&mut plan.planned, "bridge_name", bridge);
    values::put(&mut plan.planned, "owned", true);
    values::put(&mut plan.planned, "active", true);
}

fn planned_gateway(planned: &Value) -> Value {
    for family in ["ipv4", "ipv6"] {
        let ip = planned.field(family);
        if ip.is_unknown() || ip.field("cidr").is_unknown() {
            return Value::Unknown;
        }
        let cidr = ip.field("cidr").as_str();
        let first = cidr.and_then(|text| text.parse().ok()).map(|net| match net {
            ipnet::IpNet::V4(net) => gateway(&net).to_string(),
            ipnet::IpNet::V6(net) => gateway6(&net).to_string(),
        });
        if let Some(first) = first {
            return Value::from(first);
        }
    }
    Value::Null
}

/// Refuses what the host cannot do, and addresses that another network has: of the host, or of this plan.
pub async fn check(plan: &Plan, context: &Context, host: &HostName, diags: &mut Diagnostics) {
    let nets: Vec<(&str, IpNet)> = ["ipv4", "ipv6"]
        .into_iter()
        .filter_map(|family| {
            let cidr = plan.planned.field(family).field("cidr").as_str()?;
            Some((family, cidr.parse().ok()?))
        })
        .collect();
    let name = plan.planned.field("name").as_str().unwrap_or_default();
    let same = |field: &str| plan.prior.field(field) == plan.planned.field(field);
    let planned = context
        .planned
        .network(host, name, nets.iter().map(|(_, net)| hosts_own(*net)).collect());
    let unchanged = same("ipv4") && same("ipv6") && same("vlan");
    if planned.is_none() && unchanged {
        return;
    }
    let snapshot = match context.engine.snapshot(host).await {
        Ok(snapshot) => snapshot,
        Err(error) => return crate::errors::report(&error, "Host not readable", diags),
    };
    let vlan = plan.planned.field("vlan");
    if !vlan.is_null() {
        match context.engine.offers(host).await {
            Ok(offers) if offers.abilities.contains(&Ability::BridgeVlan) => {}
            Ok(_) => diags.error(Some(Path::attribute("vlan")), "VLAN not available", NO_VLAN),
            Err(error) => return crate::errors::report(&error, "Host not readable", diags),
        }
    }
    // Those of this state are in the plan, as they shall be.
    let others = snapshot.networks.iter().filter(|n| {
        let ours = n
            .mark
            .ours()
            .is_some_and(|mark| mark.namespace == context.namespace);
        // One that stands where this one is to be made is told by the create, with the way to import it.
        let in_its_place = n.host_name == host_name(&context.namespace, &ObjectName(name.to_owned()));
        !ours && !in_its_place && plan.prior.field("id").as_str() != Some(n.id.as_str())
    });
    let standing = others.flat_map(|network| {
        let nets = addresses(network).into_iter();
        nets.map(|net| (network.host_name.clone(), net.trunc()))
    });
    for (other, theirs) in planned.into_iter().chain(standing) {
        let Some((family, own)) = nets.iter().find(|(_, own)| overlap(own, &theirs)) else {
            continue;
        };
        let detail = format!(
            "{own} overlaps {theirs} of network {other:?} on host {host}: guests could not tell them apart. Choose another one."
        );
        let at = Path::attribute(*family).then_attribute("cidr");
        diags.error(Some(at), "Network overlaps another", detail);
    }
}

/// The host's own address on a network, with the prefix.
fn hosts_own(net: IpNet) -> IpNet {
    let own = match net {
        IpNet::V4(net) => IpNet::new(gateway(&net).into(), net.prefix_len()),
        IpNet::V6(net) => IpNet::new(gateway6(&net).into(), net.prefix_len()),
    };
    own.unwrap_or(net)
}

fn addresses(network: &ObservedNetwork) -> Vec<IpNet> {
    let v4 = network.address.map(IpNet::V4);
    v4.into_iter()
        .chain(network.lan.ipv6.map(|ipv6| IpNet::V6(ipv6.address)))
        .collect()
}

/// Compares a change with the state: what it disturbs, and whether it may.
pub async fn compare(plan: &Plan, context: &Context, host: &HostName, diags: &mut Diagnostics) {
    let (Some(prior), Some(planned)) = (
        values::known::<Network>(&plan.prior, diags),
        values::known::<Network>(&plan.planned, diags),
    ) else {
        return;
    };
    if !plan.requires_replace.is_empty() && prior.deletion_protection {
        refuse_protected("labyard_network", &prior.name, "replaces", diags);
    }
    let identity = Private::parse(&plan.prior_private).identity;
    let Ok(desired) = DesiredNetwork::from_config(&context.namespace, &planned) else {
        return;
    };
    let current = as_view(&prior, identity.as_ref());
    let quiet = gravest(&diff(&desired, &current)) < Some(Disturbance::Restart) && prior.active == Some(true);
    if quiet || !plan.requires_replace.is_empty() {
        return;
    }
    let snapshot = match context.engine.snapshot(host).await {
        Ok(snapshot) => snapshot,
        Err(error) => return crate::errors::report(&error, "Host not readable", diags),
    };
    let id = prior.id.clone().unwrap_or_default();
    let Some(network) = snapshot.networks.iter().find(|n| n.id.as_str() == id) else {
        return;
    };
    // The state does not tell a network that is down from one that runs and is behind its definition.
    let current = NetworkView {
        active: network.active,
        standing: network.standing,
        ..current
    };
    let users = match attached(host, &snapshot, &network.host_name) {
        Ok(users) => users,
        Err(error) => return crate::errors::report(&error, "Machine not readable", diags),
    };
    let changes = diff(&desired, &current);
    let cutting: Vec<_> = changes
        .iter()
        .filter(|c| c.disturbance >= Disturbance::Restart)
        .collect();
    if !cutting.is_empty() {
        disturbs(&users, &prior.name, &cutting, diags);
    } else if network.standing == NetworkStanding::Behind && !running(&users).is_empty() {
        let summary = format!("{} will be brought to its definition", prior.name);
        let detail = format!(
            "It was changed or restarted behind its definition. Its guests are put back on it, and may be cut off for some seconds: {}.",
            names(&running(&users))
        );
        diags.warning(Some(Path::attribute("active")), summary, detail);
    }
}

/// Refuses what would leave machines with addresses of another network; else says whom it cuts off for some seconds.
fn disturbs(users: &[&ObservedMachine], name: &str, changes: &[&Change], diags: &mut Diagnostics) {
    let list: Vec<_> = changes.iter().map(|c| format!("  - {c}")).collect();
    let list = list.join("\n");
    let parting = changes.iter().find(|c| c.disturbance == Disturbance::Replace);
    let gravest = parting.unwrap_or(&changes[0]);
    let at = Some(crate::shape::parse_path(&gravest.what.to_string()));
    if parting.is_some() && !users.is_empty() {
        let detail = format!(
            "These changes give the network other addresses, or another bridge, under the machines on it ({}):\n{list}\nDetach or remove those machines first.",
            names(users)
        );
        return diags.error(at, "Network in use", detail);
    }
    let running = running(users);
    let (summary, guests) = match running.is_empty() {
        true => (
            format!("{name} will be taken down and up again"),
            "No machine runs on it.".to_owned(),
        ),
        false => (
            format!("{name} will be taken down and up again under running machines"),
            format!(
                "It cuts off for some seconds, and puts back, the machines that run on it: {}.",
                names(&running)
            ),
        ),
    };
    diags.warning(at, summary, format!("{guests} It changes in:\n{list}"));
}

fn running<'a>(users: &[&'a ObservedMachine]) -> Vec<&'a ObservedMachine> {
    let off =
        |machine: &&ObservedMachine| matches!(machine.power, Power::Stopped | Power::Saved | Power::Crashed);
    users.iter().copied().filter(|machine| !off(machine)).collect()
}

fn names(machines: &[&ObservedMachine]) -> String {
    let names: Vec<_> = machines
        .iter()
        .map(|machine| machine.host_name.as_str())
        .collect();
    names.join(", ")
}
