//! GRPCController: the parent's wish that this process end.

use std::sync::Arc;

use tonic::{Request, Response, Status};

use crate::life::{End, Life};
use crate::proto::goplugin::Empty;
use crate::proto::goplugin::grpc_controller_server::GrpcController;

/// Answers at once: the parent counts its two seconds from the answer.
pub(crate) struct Controller(pub(crate) Arc<Life>);

#[tonic::async_trait]
impl GrpcController for Controller {
    async fn shutdown(&self, _request: Request<Empty>) -> Result<Response<Empty>, Status> {
        self.0.shut_down(End::Asked);
        Ok(Response::new(Empty {}))
    }
}
