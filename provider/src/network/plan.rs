//! What a plan of a network says: what is known of it before it is made, what a change disturbs, what it refuses.

use labyard_driver::ids::HostName;
use labyard_driver::observed::Snapshot;
use labyard_reconciler::desired::DesiredNetwork;
use labyard_reconciler::diff::network::diff;
use labyard_reconciler::diff::{Change, Disturbance};
use labyard_reconciler::view::attached;
use labyard_schema::network::{Network, gateway};
use tfplugin::value::{Path, Value};
use tfplugin::{Diagnostics, Plan};

use super::state::as_view;
use crate::private::Private;
use crate::provider::Context;
use crate::values;

/// What follows from the configuration alone.
pub fn settle(plan: &mut Plan) {
    let cidr = plan.planned.field("ipv4").field("cidr").clone();
    let known = match (
        &cidr,
        cidr.as_str().and_then(|text| text.parse::<ipnet::Ipv4Net>().ok()),
    ) {
        (_, Some(net)) => Value::from(gateway(&net).to_string()),
        (Value::Unknown, _) => Value::Unknown,
        _ if plan.planned.field("ipv4").is_unknown() => Value::Unknown,
        _ => Value::Null,
    };
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

/// Compares a change with the state: what it disturbs, and whether it may.
pub async fn compare(plan: &Plan, context: &Context, host: &HostName, diags: &mut Diagnostics) {
    let (Some(prior), Some(planned)) = (
        values::known::<Network>(&plan.prior, diags),
        values::known::<Network>(&plan.planned, diags),
    ) else {
        return;
    };
    let identity = Private::parse(&plan.prior_private).identity;
    let Ok(desired) = DesiredNetwork::from_config(&context.namespace, &planned) else {
        return;
    };
    let changes = diff(&desired, &as_view(&prior, identity.as_ref()));
    let cutting: Vec<_> = changes
        .iter()
        .filter(|c| c.disturbance == Disturbance::Restart)
        .collect();
    if cutting.is_empty() || !plan.requires_replace.is_empty() {
        return;
    }
    match context.engine.snapshot(host).await {
        Ok(snapshot) => refuse_while_used(&snapshot, &prior, &cutting, diags),
        Err(error) => crate::errors::report(&error, "Host not readable", diags),
    }
}

fn refuse_while_used(snapshot: &Snapshot, prior: &Network, changes: &[&Change], diags: &mut Diagnostics) {
    let id = prior.id.clone().unwrap_or_default();
    let Some(network) = snapshot.networks.iter().find(|n| n.id.as_str() == id) else {
        return;
    };
    let users: Vec<_> = attached(snapshot, &network.host_name)
        .iter()
        .map(|m| m.host_name.clone())
        .collect();
    let list: Vec<_> = changes.iter().map(|c| format!("  - {c}")).collect();
    let list = list.join("\n");
    let at = Some(Path::attribute(changes[0].what.to_string()));
    if users.is_empty() {
        let summary = format!("{} will be taken down and up again", prior.name);
        diags.warning(
            at,
            summary,
            format!("No machine is attached to it. It changes in:\n{list}"),
        );
    } else {
        let detail = format!(
            "These changes take the network down and up again, and would cut off the machines on it ({}):\n{list}\nDetach or remove those machines first.",
            users.join(", ")
        );
        diags.error(at, "Network in use", detail);
    }
}
