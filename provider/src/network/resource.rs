//! What Terraform calls for a network.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use labyard_driver::ids::HostName;
use labyard_reconciler::EngineError;
use labyard_reconciler::desired::DesiredNetwork;
use labyard_reconciler::engine::{Bounds, ObjectRef, Reading, Reserve};
use labyard_reconciler::view::NetworkView;
use labyard_schema::network::{Network, NetworkTimeouts};
use labyard_schema::text::Span;
use tfplugin::schema::Schema;
use tfplugin::value::Value;
use tfplugin::{ApplyRequest, Context, Diagnostics, Plan, Resource, Saver, State};

use super::plan as planning;
use super::state::{imported, refreshed};
use crate::private::Private;
use crate::provider::{self, Configured, Shared};
use crate::vm::{parse_id, plan_host, refuse_protected};
use crate::{errors, shape, values};

const LIMIT: Duration = Duration::from_secs(120);

/// `labyard_network`.
pub struct Networks {
    schema: Schema,
    shared: Arc<Shared>,
}

impl Networks {
    /// The resource of a provider.
    pub fn new(shared: Arc<Shared>) -> Self {
        Self {
            schema: shape::schema::<Network>(0),
            shared,
        }
    }

    fn state(&self, planned: &Network, view: &NetworkView, diags: &mut Diagnostics) -> Option<State> {
        let value = values::whole(&refreshed(planned, view), &self.schema, diags)?;
        Some(State {
            value,
            private: Private::of(view.identity()).to_bytes(),
        })
    }
}

fn reference(context: &provider::Context, state: &Network, private: &[u8]) -> ObjectRef {
    context.reference(state.host.as_deref(), &state.name, state.id.as_deref(), private)
}

fn bounds(
    ctx: &Context,
    timeouts: Option<&NetworkTimeouts>,
    of: fn(&NetworkTimeouts) -> Option<&Span>,
) -> Bounds {
    Bounds {
        reserve: Reserve::Named,
        fence: None,
        cancel: ctx.cancel.clone(),
        limit: Span::or(timeouts.and_then(of), LIMIT),
    }
}

/// What is desired; rules are asked again, now that all is known.
fn desired(
    context: &provider::Context,
    planned: &Network,
    diags: &mut Diagnostics,
) -> Option<DesiredNetwork> {
    shape::report(planned.problems(), diags);
    if diags.has_errors() {
        return None;
    }
    match DesiredNetwork::from_config(&context.namespace, planned) {
        Ok(desired) => Some(desired),
        Err(unusable) => {
            errors::report(&EngineError::from(unusable), "Unusable value", diags);
            None
        }
    }
}

#[async_trait]
impl Resource for Networks {
    fn type_name(&self) -> &str {
        "labyard_network"
    }

    fn schema(&self) -> &Schema {
        &self.schema
    }

    async fn validate(&self, config: &Value, diags: &mut Diagnostics) {
        shape::check::<Network>(config, diags);
        let mut config = config.clone();
        for (name, default) in [("autostart", true), ("deletion_protection", false)] {
            if config.field(name).is_null() {
                values::put(&mut config, name, default);
            }
        }
        if !diags.has_errors()
            && config.is_wholly_known()
            && let Some(network) = values::known::<Network>(&config, diags)
        {
            shape::report(network.problems(), diags);
        }
    }

    async fn plan(&self, _ctx: &Context, plan: &mut Plan, diags: &mut Diagnostics) {
        if plan.planned.is_null() {
            let prior = values::known::<Network>(&plan.prior, diags);
            if let Some(prior) = prior.filter(|prior| prior.deletion_protection) {
                refuse_protected("labyard_network", &prior.name, "destroys", diags);
            }
            return;
        }
        planning::settle(plan);
        let Configured::Now(context) = self.shared.configured() else {
            return;
        };
        let Some(host) = plan_host(plan, &context, diags) else {
            return;
        };
        planning::check(plan, &context, &host, diags).await;
        if !plan.prior.is_null() {
            planning::compare(plan, &context, &host, diags).await;
        }
    }

    async fn create(&self, ctx: &Context, request: ApplyRequest, saver: &Saver, diags: &mut Diagnostics) {
        let Some(context) = self.shared.context(diags) else {
            return;
        };
        let Some(planned) = values::known::<Network>(&request.planned, diags) else {
            return;
        };
        let Some(desired) = desired(&context, &planned, diags) else {
            return;
        };
        let host = planned
            .host
            .clone()
            .map(HostName)
            .or_else(|| context.engine.hosts().into_iter().next());
        let host = host.unwrap_or_else(|| HostName(String::new()));
        let bounds = bounds(ctx, planned.timeouts.as_ref(), |t| t.create.as_ref());
        match context.engine.create_network(&host, &desired, bounds).await {
            Ok(view) => {
                if let Some(state) = self.state(&planned, &view, diags) {
                    saver.save(state);
                }
            }
            Err(error) => errors::report(&error, "Network not created", diags),
        }
    }

    async fn update(&self, ctx: &Context, request: ApplyRequest, saver: &Saver, diags: &mut Diagnostics) {
        let Some(context) = self.shared.context(diags) else {
            return;
        };
        let Some(planned) = values::known::<Network>(&request.planned, diags) else {
            return;
        };
        let Some(prior) = values::known::<Network>(&request.prior, diags) else {
            return;
        };
        let Some(desired) = desired(&context, &planned, diags) else {
            return;
        };
        let object = reference(&context, &prior, &request.private);
        let bounds = bounds(ctx, planned.timeouts.as_ref(), |t| t.update.as_ref());
        match context.engine.update_network(&object, &desired, bounds).await {
            Ok(view) => {
                if let Some(state) = self.state(&planned, &view, diags) {
                    saver.save(state);
                }
            }
            Err(error) => errors::report(&error, "Network not changed", diags),
        }
    }

    async fn delete(&self, ctx: &Context, request: ApplyRequest, _saver: &Saver, diags: &mut Diagnostics) {
        let Some(context) = self.shared.context(diags) else {
            return;
        };
        let Some(prior) = values::known::<Network>(&request.prior, diags) else {
            return;
        };
        let object = reference(&context, &prior, &request.private);
        let bounds = bounds(ctx, prior.timeouts.as_ref(), |t| t.delete.as_ref());
        if let Err(error) = context.engine.destroy_network(&object, bounds).await {
            errors::report(&error, "Network not destroyed", diags);
        }
    }

    async fn read(&self, _ctx: &Context, prior: State, diags: &mut Diagnostics) -> Option<State> {
        let Configured::Now(context) = self.shared.configured() else {
            return Some(prior);
        };
        let known: Network = values::known(&prior.value, diags)?;
        let object = reference(&context, &known, &prior.private);
        match context.engine.read_network(&object).await {
            Ok(Reading::Present(view)) => self.state(&known, &view, diags),
            Ok(Reading::DisksOnly | Reading::Gone) => None,
            Err(error) => {
                errors::report(&error, "Network not readable", diags);
                None
            }
        }
    }

    async fn import(&self, _ctx: &Context, id: &str, diags: &mut Diagnostics) -> Option<State> {
        let context = self.shared.context(diags)?;
        let (host, name) = parse_id(id, &context, diags)?;
        let found = context
            .engine
            .find_network(&host, &context.namespace, &name)
            .await;
        let view = found
            .map_err(|error| errors::report(&error, "Network not imported", diags))
            .ok()?;
        if let Some(claim) = &view.claim {
            let detail = format!(
                "{id} is the network of claim {claim}, whose machines have it to themselves: it goes when the claim ends. \
                 Release the claim (`labyard claim release {claim}`), or name another network."
            );
            diags.error(None, "Network not imported", detail);
            return None;
        }
        let value = values::whole(&imported(&host, &view), &self.schema, diags)?;
        Some(State {
            value,
            private: Private::of(view.identity()).to_bytes(),
        })
    }
}
