//! ReadDataSource.

use super::wire::{self, fault};
use super::{SelfCheck, Server};
use crate::check;
use crate::diag::Diagnostics;
use crate::proto::tfplugin6::read_data_source::{Request, Response};

pub(super) async fn read_data_source(server: &Server, request: Request) -> Result<Response, Diagnostics> {
    let entry = server.catalog().data_source(&request.type_name)?;
    let config = wire::decode(request.config.as_ref(), &entry.ty)?;
    let mut diags = Diagnostics::default();
    let found = entry.item.read(&server.context(), config, &mut diags).await;
    if diags.has_errors() {
        return Err(diags);
    }
    let Some(found) = found else {
        diags.0.extend(
            fault(
                "No data",
                format!("Reading {} yielded nothing.", request.type_name),
            )
            .0,
        );
        return Err(diags);
    };
    if server.self_check == SelfCheck::On {
        wire::report(&mut diags, check::state(entry.item.schema(), &found));
        if diags.has_errors() {
            return Err(diags);
        }
    }
    Ok(Response {
        state: Some(wire::encode(&found, &entry.ty)?),
        diagnostics: wire::diagnostics(diags),
        deferred: None,
    })
}
