//! gRPC's health service: go-plugin asks whether the service `plugin` is up.

use std::sync::Arc;

use futures::StreamExt as _;
use tonic::{Request, Response, Status};

use super::{Answers, silent_until};
use crate::life::Life;
use crate::proto::health::health_check_response::ServingStatus;
use crate::proto::health::{HealthCheckRequest, HealthCheckResponse, health_server};

/// Serving, for as long as it answers.
pub(crate) struct Health(pub(crate) Arc<Life>);

/// The whole server (empty name) and go-plugin's name for any plugin.
fn is_known(service: &str) -> bool {
    matches!(service, "" | "plugin")
}

fn status(status: ServingStatus) -> HealthCheckResponse {
    HealthCheckResponse {
        status: status.into(),
    }
}

#[tonic::async_trait]
impl health_server::Health for Health {
    type WatchStream = Answers<HealthCheckResponse>;

    async fn check(
        &self,
        request: Request<HealthCheckRequest>,
    ) -> Result<Response<HealthCheckResponse>, Status> {
        if is_known(&request.get_ref().service) {
            Ok(Response::new(status(ServingStatus::Serving)))
        } else {
            Err(Status::not_found("unknown service"))
        }
    }

    async fn watch(
        &self,
        request: Request<HealthCheckRequest>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        let known = is_known(&request.get_ref().service);
        let first = status(if known {
            ServingStatus::Serving
        } else {
            ServingStatus::ServiceUnknown
        });
        let stream = futures::stream::iter([Ok(first)]).chain(silent_until(self.0.shutdown()));
        Ok(Response::new(Box::pin(stream)))
    }
}
