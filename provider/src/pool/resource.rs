//! What Terraform calls for a pool.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use labyard_foreman::written::Found;
use labyard_labs::Refusal;
use labyard_labs::code::config::Meant;
use labyard_labs::ids::PoolName;
use labyard_labs::maker::Thing;
use labyard_labs::plan::ATTEMPTS;
use labyard_schema::text::Span;
use labyard_schema::vm_pool::{PoolTimeouts, VmPool};
use tfplugin::schema::Schema;
use tfplugin::value::Value;
use tfplugin::{ApplyRequest, Context, Diagnostics, Plan, Resource, Saver, State};

use super::plan as planning;
use super::state::state;
use crate::data::is_settled;
use crate::lab::{LabError, Looked, Met, Settling, say};
use crate::private::Private;
use crate::provider::{self, Configured, Shared};
use crate::{shape, values};

const WHAT: &str = "A labyard_vm_pool";
const LIMIT: Duration = Duration::from_secs(30 * 60);

/// `labyard_vm_pool`.
pub struct Pools {
    schema: Schema,
    shared: Arc<Shared>,
}

impl Pools {
    /// The resource of a provider.
    pub fn new(shared: Arc<Shared>) -> Self {
        Self {
            schema: shape::schema::<VmPool>(0),
            shared,
        }
    }

    /// Puts the pool of a request into the store and has it filled.
    async fn put(
        &self,
        (ctx, request): (&Context, &ApplyRequest),
        meant: Meant,
        doing: &'static str,
        saver: &Saver,
        diags: &mut Diagnostics,
    ) {
        let Some(context) = self.shared.context(diags) else {
            return;
        };
        let Some(met) = lab_of(&context, request, diags).await else {
            return;
        };
        let Some(asked) = planned_pool(request, diags) else {
            return;
        };
        let limit = match meant {
            Meant::New => limit(&asked, |timeouts| timeouts.create.as_ref()),
            _ => limit(&asked, |timeouts| timeouts.update.as_ref()),
        };
        let put = match meant {
            Meant::New => context.labs.make(&asked, &ctx.cancel).await,
            other => met.lab.put_pool(&asked, other).await,
        };
        let (found, work) = match put {
            Ok(put) => put,
            Err(error) => return say(&error, doing, diags),
        };
        let reached = Private::in_store(&met.home);
        if self.save(&found, &asked, &reached.clone().left_short(), saver, diags) {
            context.labs.answered(&Thing::Pool(found.pool.name.clone()));
        }
        let bounds = Settling {
            limit,
            cancel: &ctx.cancel,
        };
        match met.lab.settle(&found.pool.name, &work, bounds).await {
            Ok(()) => {
                self.save(&found, &asked, &reached, saver, diags);
            }
            Err(error) => {
                say(&error, doing, diags);
                if request.prior.is_null() {
                    planning::say_that_it_is_tainted(&asked.name, met.lab.keeper(), diags);
                }
            }
        }
    }

    /// Hands a pool's state to Terraform; says whether there is one.
    fn save(
        &self,
        found: &Found,
        asked: &VmPool,
        private: &Private,
        saver: &Saver,
        diags: &mut Diagnostics,
    ) -> bool {
        let state = state(found, Some(asked), (&self.schema, private), diags);
        let is_there = state.is_some();
        if let Some(state) = state {
            saver.save(state);
        }
        is_there
    }
}

fn limit(pool: &VmPool, of: fn(&PoolTimeouts) -> Option<&Span>) -> Duration {
    Span::or(pool.timeouts.as_ref().and_then(of), LIMIT)
}

/// The lab of an apply: that of the state where there is one, else one that may be made.
async fn lab_of<'a>(
    context: &'a provider::Context,
    request: &ApplyRequest,
    diags: &mut Diagnostics,
) -> Option<Met<'a>> {
    let state = (!request.prior.is_null()).then_some(request.private.as_slice());
    context.labs.to_change(WHAT, state, diags).await
}

/// What stands beside the state of a pool that is read. One that was left short of what was asked for is so until it is seen
/// settled: who keeps it may have gone on with it. One whose machines were given up is, whoever gave them up.
async fn beside(met: &Met<'_>, found: &Found, before: &[u8]) -> Private {
    let reached = Private::in_store(&met.home);
    if found.pool.failures >= ATTEMPTS {
        return reached.left_short();
    }
    if !Private::parse(before).unsettled {
        return reached;
    }
    match met.lab.pool_view(&found.pool.name).await {
        Ok(view) if is_settled(&view) => reached,
        _ => reached.left_short(),
    }
}

/// A pool as it is planned, with the secrets of the configuration; rules are asked again, now that all is known.
fn planned_pool(request: &ApplyRequest, diags: &mut Diagnostics) -> Option<VmPool> {
    let planned: VmPool = values::known(&request.planned, diags)?;
    let written: VmPool = values::known(&request.config, diags)?;
    let pool = VmPool {
        template: planned.template.clone().with_secrets(&written.template.secrets()),
        ..planned
    };
    shape::report(pool.problems(), diags);
    (!diags.has_errors()).then_some(pool)
}

#[async_trait]
impl Resource for Pools {
    fn type_name(&self) -> &str {
        "labyard_vm_pool"
    }

    fn schema(&self) -> &Schema {
        &self.schema
    }

    async fn validate(&self, config: &Value, diags: &mut Diagnostics) {
        shape::check::<VmPool>(config, diags);
        // Rules between attributes would take what is not known yet for what is left out.
        if diags.has_errors() || !config.is_wholly_known() {
            return;
        }
        let config = tfplugin::plan::propose(&self.schema, &Value::Null, config, config).planned;
        let known = values::without_unknowns(&config);
        if let Some(pool) = values::known::<VmPool>(&known, diags) {
            shape::report(pool.problems(), diags);
        }
    }

    async fn plan(&self, _ctx: &Context, plan: &mut Plan, diags: &mut Diagnostics) {
        planning::see_to_it_again(plan, diags);
        let Configured::Now(context) = self.shared.configured() else {
            return;
        };
        let Some(looked) = context.labs.to_look(WHAT, &plan.prior_private, diags).await else {
            return;
        };
        let mut quiet = Diagnostics::default();
        let prior = values::known::<VmPool>(&plan.prior, &mut quiet).filter(|_| !plan.prior.is_null());
        let view = match (&prior, &looked) {
            (Some(prior), Looked::There(met)) => met.lab.pool_view(&PoolName(prior.name.clone())).await.ok(),
            _ => None,
        };
        if plan.planned.is_null() {
            if let Some(view) = &view {
                planning::say_what_ends(&view.found, diags);
            }
            return;
        }
        if plan.prior == plan.planned {
            return;
        }
        let Some(asked) = values::known::<VmPool>(&plan.planned, diags) else {
            return;
        };
        planning::check_template(plan, (&asked, view.as_ref()), &context, diags).await;
        match &view {
            // The one that is there is destroyed for the other.
            Some(view) if !plan.requires_replace.is_empty() => planning::say_what_ends(&view.found, diags),
            // What is not known yet would be taken for none.
            Some(view) if plan.config.is_wholly_known() => {
                planning::say_what_changes(plan, &asked, view, diags);
            }
            _ => {}
        }
        planning::say_what_reset_needs(&asked, diags);
        if let Some(keeper) = context.labs.keeper() {
            planning::say_who_fills(&asked, keeper, diags);
        }
    }

    async fn create(&self, ctx: &Context, request: ApplyRequest, saver: &Saver, diags: &mut Diagnostics) {
        self.put((ctx, &request), Meant::New, "Pool not filled", saver, diags)
            .await;
    }

    async fn update(&self, ctx: &Context, request: ApplyRequest, saver: &Saver, diags: &mut Diagnostics) {
        let Some(prior) = values::known::<VmPool>(&request.prior, diags) else {
            return;
        };
        let meant = Meant::There(prior.id.unwrap_or_default());
        self.put((ctx, &request), meant, "Pool not changed", saver, diags)
            .await;
    }

    async fn delete(&self, ctx: &Context, request: ApplyRequest, _saver: &Saver, diags: &mut Diagnostics) {
        const DOING: &str = "Pool not destroyed";
        let Some(context) = self.shared.context(diags) else {
            return;
        };
        let Some(prior) = values::known::<VmPool>(&request.prior, diags) else {
            return;
        };
        let Some(met) = lab_of(&context, &request, diags).await else {
            return;
        };
        let name = PoolName(prior.name.clone());
        let removed = met
            .lab
            .remove_pool(&name, prior.id.as_deref().unwrap_or_default());
        let settled = match removed.await {
            Ok(work) => {
                let bounds = Settling {
                    limit: limit(&prior, |timeouts| timeouts.delete.as_ref()),
                    cancel: &ctx.cancel,
                };
                met.lab.settle(&name, &work, bounds).await
            }
            Err(error) => Err(error),
        };
        match settled {
            Ok(()) | Err(LabError::Refused(Refusal::NoPool { .. })) => {}
            Err(error) => say(&error, DOING, diags),
        }
    }

    async fn read(&self, _ctx: &Context, prior: State, diags: &mut Diagnostics) -> Option<State> {
        const DOING: &str = "Pool not readable";
        let Configured::Now(context) = self.shared.configured() else {
            return Some(prior);
        };
        let known: VmPool = values::known(&prior.value, diags)?;
        let met = context.labs.of_state(WHAT, &prior.private, diags).await?;
        match met.lab.pool(&PoolName(known.name.clone())).await {
            Ok(found) if known.id.as_ref().is_none_or(|id| *id == found.pool.id) => {
                let thing = Thing::Pool(found.pool.name.clone());
                context
                    .labs
                    .known(thing, &found.pool.id, found.maker.as_ref())
                    .await;
                let private = beside(&met, &found, &prior.private).await;
                state(&found, Some(&known), (&self.schema, &private), diags)
            }
            Ok(found) => {
                say(&LabError::PoolReplaced(found.pool.name), DOING, diags);
                None
            }
            Err(LabError::Refused(Refusal::NoPool { .. })) => None,
            Err(error) => {
                say(&error, DOING, diags);
                None
            }
        }
    }

    async fn import(&self, _ctx: &Context, id: &str, diags: &mut Diagnostics) -> Option<State> {
        let context = self.shared.context(diags)?;
        let found = match context.labs.to_look(WHAT, &[], diags).await? {
            Looked::There(met) => met.lab.pool(&id.into()).await.map(|found| (found, met.home)),
            Looked::NotMade => Err(Refusal::NoPool { pool: id.into() }.into()),
        };
        match found {
            Ok((found, home)) => state(&found, None, (&self.schema, &Private::in_store(&home)), diags),
            Err(error) => {
                say(&error, "Pool not imported", diags);
                None
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn said(more: &[(&str, Value)]) -> Vec<String> {
        let mut config = Value::object([
            ("name", Value::from("k8s")),
            ("ready", Value::from(1)),
            ("max", Value::from(2)),
            ("template", Value::object([("memory_mib", Value::from(64))])),
        ]);
        for (name, value) in more {
            values::put(&mut config, name, value.clone());
        }
        let mut diags = Diagnostics::default();
        Pools::new(Arc::default()).validate(&config, &mut diags).await;
        diags.0.into_iter().map(|said| said.summary).collect()
    }

    #[tokio::test]
    async fn what_is_not_known_yet_is_no_mistake_wherever_it_stands_and_a_known_one_is() {
        let window = |zone: Value| Value::object([("term", Value::object([("timezone", zone)]))]);
        for (name, value) in [
            ("name", Value::Unknown),
            ("ready", Value::Unknown),
            ("max", Value::Unknown),
            ("hosts", Value::Sequence(vec![Value::Unknown])),
            ("schedule", window(Value::Unknown)),
            ("template", Value::Unknown),
        ] {
            assert!(said(&[(name, value)]).await.is_empty(), "{name}");
        }
        assert!(said(&[]).await.is_empty());
        let too_many = [("ready", Value::from(3))];
        assert_eq!(said(&too_many).await, ["More ready than there may be"]);
        let window = [("schedule", window(Value::from("UTC")))];
        assert_eq!(said(&window).await, ["Window not understood"]);
    }
}
