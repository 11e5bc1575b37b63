//! ApplyResourceChange: create, update or delete.
//!
//! The operation runs in a task of its own, so that a connection that breaks does not end it half way, and
//! whatever ends it, what it saved is what Terraform gets.

use std::sync::Arc;

use super::catalog::Entry;
use super::settle::{self, Ending, Operation};
use super::wire::{self, fault};
use super::{Server, guard};
use crate::diag::Diagnostics;
use crate::panic;
use crate::proto::tfplugin6::apply_resource_change::{Request, Response};
use crate::saver::Saver;
use crate::traits::{ApplyRequest, Context, Resource};

pub(super) async fn apply_resource_change(
    server: &Server,
    request: Request,
) -> Result<Response, Diagnostics> {
    let entry = server.catalog().resource(&request.type_name)?;
    let prior = wire::decode(request.prior_state.as_ref(), &entry.ty)?;
    let planned = wire::decode(request.planned_state.as_ref(), &entry.ty)?;
    let config = wire::decode(request.config.as_ref(), &entry.ty)?;
    let operation = Operation::of(&prior, &planned).ok_or_else(|| {
        fault(
            "Nothing to apply",
            "Terraform asked to turn nothing into nothing.",
        )
    })?;

    let apply = ApplyRequest {
        prior: prior.clone(),
        planned: planned.clone(),
        config,
        private: request.planned_private.to_vec(),
    };
    let saver = Arc::new(Saver::default());
    let ctx = server.context();
    let work = perform(operation, entry.clone(), ctx.clone(), apply, saver.clone());
    // The task catches what panics in it, and nobody aborts it: it ends only with an answer.
    let mut diags = server
        .life
        .running
        .spawn(work)
        .await
        .unwrap_or_else(|error| fault("The operation was lost", error.to_string()));

    let ending = Ending {
        operation,
        saved: saver.last(),
        prior: &prior,
        planned: &planned,
        planned_private: &request.planned_private,
    };
    if ctx.cancel.is_cancelled() {
        settle::own_up_to_interruption(entry.item.schema(), &ending, &mut diags);
    }
    let outcome = settle::settle(entry.item.schema(), server.self_check, ending, &mut diags);
    let new_state = match wire::encode(&outcome.value, &entry.ty) {
        Ok(state) => state,
        Err(more) => {
            diags.0.extend(more.0);
            wire::null()
        }
    };
    Ok(Response {
        new_state: Some(new_state),
        private: outcome.private.into(),
        diagnostics: wire::diagnostics(diags),
        ..Response::default()
    })
}

async fn perform(
    operation: Operation,
    entry: Entry<dyn Resource>,
    ctx: Context,
    request: ApplyRequest,
    saver: Arc<Saver>,
) -> Diagnostics {
    let mut diags = Diagnostics::default();
    let resource = &entry.item;
    let done = match operation {
        Operation::Create => panic::caught(resource.create(&ctx, request, &saver, &mut diags)).await,
        Operation::Update => panic::caught(resource.update(&ctx, request, &saver, &mut diags)).await,
        Operation::Delete => panic::caught(resource.delete(&ctx, request, &saver, &mut diags)).await,
    };
    if let Err(panicked) = done {
        guard::say_panicked(&mut diags, &panicked);
    }
    diags
}
