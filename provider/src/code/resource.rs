//! What Terraform calls for a code.

use std::sync::Arc;

use async_trait::async_trait;
use labyard_labs::Refusal;
use labyard_labs::code::config::{Meant, as_config};
use labyard_labs::code::keep::Kept;
use labyard_labs::ids::CodeName;
use labyard_labs::maker::Thing;
use labyard_schema::access_code::AccessCode;
use tfplugin::schema::Schema;
use tfplugin::value::Value;
use tfplugin::{ApplyRequest, Context, Diagnostics, Plan, Resource, Saver, State};

use super::plan as planning;
use crate::lab::{LabError, Looked, Met, say};
use crate::private::Private;
use crate::provider::{self, Configured, Shared};
use crate::{shape, values};

const WHAT: &str = "A labyard_access_code";

/// `labyard_access_code`.
pub struct Codes {
    schema: Schema,
    shared: Arc<Shared>,
}

impl Codes {
    /// The resource of a provider.
    pub fn new(shared: Arc<Shared>) -> Self {
        Self {
            schema: shape::schema::<AccessCode>(0),
            shared,
        }
    }

    fn state(
        &self,
        kept: &Kept,
        prior: Option<&AccessCode>,
        home: &str,
        diags: &mut Diagnostics,
    ) -> Option<State> {
        let value = values::whole(&as_config(kept, prior), &self.schema, diags)?;
        Some(State {
            value,
            private: Private::in_store(home).to_bytes(),
        })
    }

    /// Puts the code of a request into the store, and its state into Terraform's.
    async fn put(
        &self,
        (ctx, request): (&Context, &ApplyRequest),
        meant: Meant,
        doing: &str,
        saver: &Saver,
        diags: &mut Diagnostics,
    ) {
        let Some(context) = self.shared.context(diags) else {
            return;
        };
        let Some(met) = lab_of(&context, request, diags).await else {
            return;
        };
        let Some(code) = planned_code(request, diags) else {
            return;
        };
        let put = match meant {
            Meant::New => context.labs.make(&code, &ctx.cancel).await,
            other => met.lab.put_code(&code, other).await,
        };
        match put {
            Ok(kept) => {
                if let Some(state) = self.state(&kept, Some(&code), &met.home, diags) {
                    saver.save(state);
                    context.labs.answered(&Thing::Code(kept.name));
                }
                planning::say_what_is_missing(&code, met.lab, diags).await;
            }
            Err(error) => say(&error, doing, diags),
        }
    }
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

/// The texts of a code that a state has.
fn known_texts(code: &AccessCode) -> std::collections::BTreeMap<String, String> {
    code.codes.clone().unwrap_or_default()
}

/// A code as it is planned, with the secret of the configuration.
fn planned_code(request: &ApplyRequest, diags: &mut Diagnostics) -> Option<AccessCode> {
    let planned: AccessCode = values::known(&request.planned, diags)?;
    let written: AccessCode = values::known(&request.config, diags)?;
    Some(AccessCode {
        code_wo: written.code_wo,
        ..planned
    })
}

#[async_trait]
impl Resource for Codes {
    fn type_name(&self) -> &str {
        "labyard_access_code"
    }

    fn schema(&self) -> &Schema {
        &self.schema
    }

    async fn validate(&self, config: &Value, diags: &mut Diagnostics) {
        shape::check::<AccessCode>(config, diags);
        if !diags.has_errors()
            && config.is_wholly_known()
            && let Some(code) = values::known::<AccessCode>(&with_defaults(config), diags)
        {
            shape::report(code.problems(), diags);
        }
    }

    async fn plan(&self, _ctx: &Context, plan: &mut Plan, diags: &mut Diagnostics) {
        if !plan.planned.is_null() {
            planning::settle(plan);
        }
        let Configured::Now(context) = self.shared.configured() else {
            return;
        };
        let Some(looked) = context.labs.to_look(WHAT, &plan.prior_private, diags).await else {
            return;
        };
        let Looked::There(met) = looked else { return };
        let mut quiet = Diagnostics::default();
        let prior = values::known::<AccessCode>(&plan.prior, &mut quiet).filter(|_| !plan.prior.is_null());
        let kept = match &prior {
            Some(prior) => {
                let name = CodeName(prior.name.clone());
                met.lab.code(&name, &known_texts(prior)).await.ok()
            }
            None => None,
        };
        if plan.planned.is_null() {
            if let Some(kept) = &kept {
                planning::say_what_ends(kept, diags);
            }
            return;
        }
        if let Some(prior) = &prior {
            if plan.requires_replace.is_empty() {
                planning::say_what_is_revoked(plan, kept.as_ref(), diags);
            }
            if let Some(kept) = &kept {
                planning::say_what_is_healed(prior, plan, kept, diags);
            }
        }
        if plan.prior != plan.planned
            && let Some(code) = values::known::<AccessCode>(&plan.planned, diags)
        {
            planning::check_leases(&code, met.lab, diags).await;
        }
    }

    async fn create(&self, ctx: &Context, request: ApplyRequest, saver: &Saver, diags: &mut Diagnostics) {
        self.put((ctx, &request), Meant::New, "Access code not made", saver, diags)
            .await;
    }

    async fn update(&self, ctx: &Context, request: ApplyRequest, saver: &Saver, diags: &mut Diagnostics) {
        let Some(prior) = values::known::<AccessCode>(&request.prior, diags) else {
            return;
        };
        let meant = Meant::There(prior.id.unwrap_or_default());
        self.put((ctx, &request), meant, "Access code not changed", saver, diags)
            .await;
    }

    async fn delete(&self, _ctx: &Context, request: ApplyRequest, _saver: &Saver, diags: &mut Diagnostics) {
        let Some(context) = self.shared.context(diags) else {
            return;
        };
        let Some(prior) = values::known::<AccessCode>(&request.prior, diags) else {
            return;
        };
        let Some(met) = lab_of(&context, &request, diags).await else {
            return;
        };
        let (name, id) = (CodeName(prior.name), prior.id.unwrap_or_default());
        if let Err(error) = met.lab.remove_code(&name, &id).await {
            say(&error, "Access code not destroyed", diags);
        }
    }

    async fn read(&self, _ctx: &Context, prior: State, diags: &mut Diagnostics) -> Option<State> {
        const DOING: &str = "Access code not readable";
        let Configured::Now(context) = self.shared.configured() else {
            return Some(prior);
        };
        let known: AccessCode = values::known(&prior.value, diags)?;
        let met = context.labs.of_state(WHAT, &prior.private, diags).await?;
        let (name, texts) = (CodeName(known.name.clone()), known_texts(&known));
        match met.lab.code(&name, &texts).await {
            Ok(kept) if known.id.as_ref().is_none_or(|id| *id == kept.id) => {
                let thing = Thing::Code(kept.name.clone());
                context.labs.known(thing, &kept.id, kept.maker.as_ref()).await;
                self.state(&kept, Some(&known), &met.home, diags)
            }
            Ok(kept) => {
                let replaced = Refusal::CodeReplaced { name: kept.name };
                say(&replaced.into(), DOING, diags);
                None
            }
            Err(LabError::Refused(Refusal::NoCode { .. })) => None,
            Err(error) => {
                say(&error, DOING, diags);
                None
            }
        }
    }

    async fn import(&self, _ctx: &Context, id: &str, diags: &mut Diagnostics) -> Option<State> {
        let context = self.shared.context(diags)?;
        let found = match context.labs.to_look(WHAT, &[], diags).await? {
            Looked::There(met) => {
                let kept = met.lab.code(&id.into(), &Default::default()).await;
                kept.map(|kept| (kept, met.home))
            }
            Looked::NotMade => Err(Refusal::NoCode { name: id.into() }.into()),
        };
        match found {
            Ok((kept, home)) => self.state(&kept, None, &home, diags),
            Err(error) => {
                say(&error, "Access code not imported", diags);
                None
            }
        }
    }
}

/// A configuration as the plan will have it, for rules that look at what is left out.
fn with_defaults(config: &Value) -> Value {
    let mut value = config.clone();
    if value.field("on_destroy").is_null() {
        values::put(&mut value, "on_destroy", "keep");
    }
    let unsaid: Vec<String> = value
        .field("pools")
        .entries()
        .filter(|(_, pool)| pool.field("count").is_null())
        .map(|(name, _)| name.to_owned())
        .collect();
    for name in unsaid {
        let pool = tfplugin::value::Path::attribute("pools").then_key(name);
        value.set(&pool.then_attribute("count"), 1);
    }
    value
}
