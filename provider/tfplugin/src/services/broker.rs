//! GRPCBroker: side connections between host and plugin. Terraform opens the stream and asks for none.

use std::sync::Arc;

use tonic::{Request, Response, Status, Streaming};

use super::{Answers, silent_until};
use crate::life::Life;
use crate::proto::goplugin::ConnInfo;
use crate::proto::goplugin::grpc_broker_server::GrpcBroker;

/// Keeps the stream open.
pub(crate) struct Broker(pub(crate) Arc<Life>);

#[tonic::async_trait]
impl GrpcBroker for Broker {
    type StartStreamStream = Answers<ConnInfo>;

    async fn start_stream(
        &self,
        _request: Request<Streaming<ConnInfo>>,
    ) -> Result<Response<Self::StartStreamStream>, Status> {
        Ok(Response::new(silent_until(self.0.shutdown())))
    }
}
