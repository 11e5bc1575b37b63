//! OpenEphemeralResource, RenewEphemeralResource, CloseEphemeralResource: values that Terraform never stores.

use std::time::{SystemTime, UNIX_EPOCH};

use super::wire::{self, fault};
use super::{SelfCheck, Server};
use crate::check;
use crate::diag::Diagnostics;
use crate::proto::tfplugin6::{
    Timestamp, close_ephemeral_resource, open_ephemeral_resource, renew_ephemeral_resource,
};

pub(super) async fn open(
    server: &Server,
    request: open_ephemeral_resource::Request,
) -> Result<open_ephemeral_resource::Response, Diagnostics> {
    let entry = server.catalog().ephemeral_resource(&request.type_name)?;
    let config = wire::decode(request.config.as_ref(), &entry.ty)?;
    let mut diags = Diagnostics::default();
    let opened = entry.item.open(&server.context(), config, &mut diags).await;
    if diags.has_errors() {
        return Err(diags);
    }
    let Some(opened) = opened else {
        let detail = format!("Opening {} yielded nothing.", request.type_name);
        return Err(fault("Nothing opened", detail));
    };
    if server.self_check == SelfCheck::On {
        wire::report(&mut diags, check::state(entry.item.schema(), &opened.value));
        if diags.has_errors() {
            return Err(diags);
        }
    }
    Ok(open_ephemeral_resource::Response {
        result: Some(wire::encode(&opened.value, &entry.ty)?),
        renew_at: opened.renew_at.map(timestamp),
        private: Some(opened.private.into()),
        diagnostics: wire::diagnostics(diags),
        deferred: None,
    })
}

pub(super) async fn renew(
    server: &Server,
    request: renew_ephemeral_resource::Request,
) -> Result<renew_ephemeral_resource::Response, Diagnostics> {
    let entry = server.catalog().ephemeral_resource(&request.type_name)?;
    let mut diags = Diagnostics::default();
    let private = request.private.map_or_else(Vec::new, Vec::from);
    let renewed = entry.item.renew(&server.context(), private, &mut diags).await;
    if diags.has_errors() {
        return Err(diags);
    }
    let Some(renewed) = renewed else {
        let detail = format!("Renewing {} yielded nothing.", request.type_name);
        return Err(fault("Nothing renewed", detail));
    };
    Ok(renew_ephemeral_resource::Response {
        renew_at: renewed.renew_at.map(timestamp),
        private: Some(renewed.private.into()),
        diagnostics: wire::diagnostics(diags),
    })
}

pub(super) async fn close(
    server: &Server,
    request: close_ephemeral_resource::Request,
) -> Result<close_ephemeral_resource::Response, Diagnostics> {
    let entry = server.catalog().ephemeral_resource(&request.type_name)?;
    let mut diags = Diagnostics::default();
    let private = request.private.map_or_else(Vec::new, Vec::from);
    entry.item.close(&server.context(), private, &mut diags).await;
    Ok(close_ephemeral_resource::Response {
        diagnostics: wire::diagnostics(diags),
    })
}

/// What lies before 1970 is due at once.
fn timestamp(at: SystemTime) -> Timestamp {
    let since = at.duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp {
        seconds: i64::try_from(since.as_secs()).unwrap_or(i64::MAX),
        nanos: i32::try_from(since.subsec_nanos()).unwrap_or_default(),
    }
}
