//! PlanResourceChange: the schema's own plan, refined by the resource, checked against Terraform's rules.

use super::wire;
use super::{SelfCheck, Server};
use crate::diag::Diagnostics;
use crate::plan;
use crate::proto::tfplugin6::plan_resource_change::{Request, Response};
use crate::traits::Plan;

pub(super) async fn plan_resource_change(server: &Server, request: Request) -> Result<Response, Diagnostics> {
    let entry = server.catalog().resource(&request.type_name)?;
    let schema = entry.item.schema();
    let prior = wire::decode(request.prior_state.as_ref(), &entry.ty)?;
    let config = wire::decode(request.config.as_ref(), &entry.ty)?;
    let proposed = wire::decode(request.proposed_new_state.as_ref(), &entry.ty)?;
    let proposal = plan::propose(schema, &prior, &config, &proposed);
    let private = request.prior_private.to_vec();
    let mut plan = Plan {
        prior,
        prior_private: private.clone(),
        config,
        planned: proposal.planned,
        planned_private: private,
        requires_replace: proposal.requires_replace,
    };
    let mut diags = Diagnostics::default();
    entry.item.plan(&server.context(), &mut plan, &mut diags).await;
    let checked = server.self_check == SelfCheck::On && !diags.has_errors();
    if checked && let Err(violations) = plan::finish(schema, &plan) {
        wire::report(&mut diags, violations);
    }
    if diags.has_errors() {
        return Err(diags);
    }
    Ok(Response {
        planned_state: Some(wire::encode(&plan.planned, &entry.ty)?),
        requires_replace: plan.requires_replace.iter().map(wire::path).collect(),
        planned_private: plan.planned_private.into(),
        diagnostics: wire::diagnostics(diags),
        ..Response::default()
    })
}
