//! ReadResource: the state as it is now, or null where it is certain that nothing is there.

use super::wire::{self, fault};
use super::{SelfCheck, Server};
use crate::check;
use crate::diag::Diagnostics;
use crate::proto::tfplugin6::read_resource::{Request, Response};
use crate::traits::State;

pub(super) async fn read_resource(server: &Server, request: Request) -> Result<Response, Diagnostics> {
    let entry = server.catalog().resource(&request.type_name)?;
    let value = wire::decode(request.current_state.as_ref(), &entry.ty)?;
    let prior = State {
        value,
        private: request.private.to_vec(),
    };
    let mut diags = Diagnostics::default();
    let found = entry.item.read(&server.context(), prior, &mut diags).await;
    if diags.has_errors() {
        return Ok(kept(request, diags));
    }
    let Some(mut found) = found else {
        return Ok(Response {
            new_state: Some(wire::null()),
            diagnostics: wire::diagnostics(diags),
            ..Response::default()
        });
    };
    if server.self_check == SelfCheck::On {
        check::clear_write_only(entry.item.schema(), &mut found.value);
        wire::report(&mut diags, check::state(entry.item.schema(), &found.value));
        if diags.has_errors() {
            return Ok(kept(request, diags));
        }
    }
    Ok(Response {
        new_state: Some(wire::encode(&found.value, &entry.ty)?),
        diagnostics: wire::diagnostics(diags),
        private: found.private.into(),
        ..Response::default()
    })
}

/// What was known stays, with what went wrong.
fn kept(request: Request, mut diags: Diagnostics) -> Response {
    if !diags.has_errors() {
        diags.0.extend(fault("Reading failed", "No reason was given.").0);
    }
    Response {
        new_state: request.current_state,
        diagnostics: wire::diagnostics(diags),
        private: request.private,
        new_identity: request.current_identity,
        ..Response::default()
    }
}
