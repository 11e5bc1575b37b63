//! ValidateProviderConfig, ValidateResourceConfig, ValidateDataResourceConfig, ValidateEphemeralResourceConfig. Values
//! may be unknown.

use super::{Server, wire};
use crate::check;
use crate::diag::Diagnostics;
use crate::proto::tfplugin6::{
    validate_data_resource_config, validate_ephemeral_resource_config, validate_provider_config,
    validate_resource_config,
};

pub(super) async fn provider(
    server: &Server,
    request: validate_provider_config::Request,
) -> Result<validate_provider_config::Response, Diagnostics> {
    let config = wire::decode(request.config.as_ref(), &server.catalog().provider_type)?;
    let mut diags = Diagnostics::default();
    wire::report(&mut diags, check::config(server.provider().schema(), &config));
    if !diags.has_errors() {
        server.provider().validate(&config, &mut diags).await;
    }
    Ok(validate_provider_config::Response {
        diagnostics: wire::diagnostics(diags),
    })
}

pub(super) async fn resource(
    server: &Server,
    request: validate_resource_config::Request,
) -> Result<validate_resource_config::Response, Diagnostics> {
    let entry = server.catalog().resource(&request.type_name)?;
    let config = wire::decode(request.config.as_ref(), &entry.ty)?;
    let mut diags = Diagnostics::default();
    wire::report(&mut diags, check::config(entry.item.schema(), &config));
    if !diags.has_errors() {
        entry.item.validate(&config, &mut diags).await;
    }
    Ok(validate_resource_config::Response {
        diagnostics: wire::diagnostics(diags),
    })
}

pub(super) async fn data_source(
    server: &Server,
    request: validate_data_resource_config::Request,
) -> Result<validate_data_resource_config::Response, Diagnostics> {
    let entry = server.catalog().data_source(&request.type_name)?;
    let config = wire::decode(request.config.as_ref(), &entry.ty)?;
    let mut diags = Diagnostics::default();
    wire::report(&mut diags, check::config(entry.item.schema(), &config));
    if !diags.has_errors() {
        entry.item.validate(&config, &mut diags).await;
    }
    Ok(validate_data_resource_config::Response {
        diagnostics: wire::diagnostics(diags),
    })
}

pub(super) async fn ephemeral_resource(
    server: &Server,
    request: validate_ephemeral_resource_config::Request,
) -> Result<validate_ephemeral_resource_config::Response, Diagnostics> {
    let entry = server.catalog().ephemeral_resource(&request.type_name)?;
    let config = wire::decode(request.config.as_ref(), &entry.ty)?;
    let mut diags = Diagnostics::default();
    wire::report(&mut diags, check::config(entry.item.schema(), &config));
    if !diags.has_errors() {
        entry.item.validate(&config, &mut diags).await;
    }
    Ok(validate_ephemeral_resource_config::Response {
        diagnostics: wire::diagnostics(diags),
    })
}
