//! GRPCStdio: what a plugin prints once it serves. Logs go to stderr directly, so there is nothing to pass on.

use std::sync::Arc;

use tonic::{Request, Response, Status};

use super::{Answers, silent_until};
use crate::life::Life;
use crate::proto::goplugin::StdioData;
use crate::proto::goplugin::grpc_stdio_server::GrpcStdio;

/// Keeps the stream open: the parent reads it for as long as the plugin lives.
pub(crate) struct Stdio(pub(crate) Arc<Life>);

#[tonic::async_trait]
impl GrpcStdio for Stdio {
    type StreamStdioStream = Answers<StdioData>;

    async fn stream_stdio(&self, _request: Request<()>) -> Result<Response<Self::StreamStdioStream>, Status> {
        Ok(Response::new(silent_until(self.0.shutdown())))
    }
}
