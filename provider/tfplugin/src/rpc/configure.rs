//! ConfigureProvider.

use super::{Server, wire};
use crate::diag::Diagnostics;
use crate::proto::tfplugin6::configure_provider;
use crate::traits::ConfigureRequest;

pub(super) async fn configure(
    server: &Server,
    request: configure_provider::Request,
) -> Result<configure_provider::Response, Diagnostics> {
    let config = wire::decode(request.config.as_ref(), &server.catalog().provider_type)?;
    let mut diags = Diagnostics::default();
    let request = ConfigureRequest {
        config,
        terraform_version: request.terraform_version,
    };
    server.provider().configure(request, &mut diags).await;
    Ok(configure_provider::Response {
        diagnostics: wire::diagnostics(diags),
    })
}
