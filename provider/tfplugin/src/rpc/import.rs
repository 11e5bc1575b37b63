//! ImportResourceState: exactly one object, or an error.

use super::wire::{self, fault};
use super::{SelfCheck, Server};
use crate::check;
use crate::diag::Diagnostics;
use crate::proto::tfplugin6::import_resource_state::{ImportedResource, Request, Response};

pub(super) async fn import_resource_state(
    server: &Server,
    request: Request,
) -> Result<Response, Diagnostics> {
    let entry = server.catalog().resource(&request.type_name)?;
    if request.id.is_empty() {
        return Err(fault(
            "Import needs an id",
            format!(
                "{} is imported by its id; it has no identity schema.",
                request.type_name
            ),
        ));
    }
    let mut diags = Diagnostics::default();
    let found = entry
        .item
        .import(&server.context(), &request.id, &mut diags)
        .await;
    if diags.has_errors() {
        return Err(diags);
    }
    let checked = server.self_check == SelfCheck::On;
    let Some(mut found) = found.filter(|found| !(checked && found.value.is_null())) else {
        if !checked {
            return Ok(Response::default());
        }
        let detail = format!("There is no {} with the id {:?}.", request.type_name, request.id);
        diags.error(None, "Nothing to import", detail);
        return Err(diags);
    };
    if checked {
        check::clear_write_only(entry.item.schema(), &mut found.value);
        wire::report(&mut diags, check::state(entry.item.schema(), &found.value));
        if diags.has_errors() {
            return Err(diags);
        }
    }
    let imported = ImportedResource {
        type_name: request.type_name,
        state: Some(wire::encode(&found.value, &entry.ty)?),
        private: found.private.into(),
        identity: None,
    };
    Ok(Response {
        imported_resources: vec![imported],
        diagnostics: wire::diagnostics(diags),
        deferred: None,
    })
}
