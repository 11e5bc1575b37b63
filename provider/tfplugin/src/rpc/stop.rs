//! StopProvider: end what is under way, keep serving. The answers under way still reach Terraform.

use super::Server;
use crate::diag::Diagnostics;
use crate::proto::tfplugin6::stop_provider;

pub(super) async fn stop_provider(
    server: &Server,
    _request: stop_provider::Request,
) -> Result<stop_provider::Response, Diagnostics> {
    tracing::info!("Terraform asks to stop: operations under way are cancelled");
    server.stop();
    Ok(stop_provider::Response::default())
}
