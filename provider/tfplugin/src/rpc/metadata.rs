//! GetMetadata: names without schemas.

use super::Server;
use crate::diag::Diagnostics;
use crate::proto::tfplugin6::{self as proto, get_metadata};

/// What this server can do beyond the protocol's floor.
pub(super) fn capabilities() -> proto::ServerCapabilities {
    proto::ServerCapabilities {
        plan_destroy: true,
        get_provider_schema_optional: true,
        move_resource_state: false,
        generate_resource_config: false,
    }
}

pub(super) async fn get_metadata(
    server: &Server,
    _request: get_metadata::Request,
) -> Result<get_metadata::Response, Diagnostics> {
    let catalog = server.catalog();
    let resource = |name: &String| get_metadata::ResourceMetadata {
        type_name: name.clone(),
    };
    let data_source = |name: &String| get_metadata::DataSourceMetadata {
        type_name: name.clone(),
    };
    let ephemeral = |name: &String| get_metadata::EphemeralMetadata {
        type_name: name.clone(),
    };
    Ok(get_metadata::Response {
        server_capabilities: Some(capabilities()),
        resources: catalog.resources.keys().map(resource).collect(),
        data_sources: catalog.data_sources.keys().map(data_source).collect(),
        ephemeral_resources: catalog.ephemeral_resources.keys().map(ephemeral).collect(),
        ..get_metadata::Response::default()
    })
}
