//! Connections: accepted, secured, and handed to the service that a request's path names.

use std::convert::Infallible;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use hyper::body::Incoming;
use hyper::server::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::ServerConfig;
use tokio_rustls::TlsAcceptor;
use tokio_util::task::TaskTracker;
use tonic::body::Body;
use tonic::codegen::Service;
use tonic::codegen::http::{Request, Response};

use crate::life::Life;
use crate::listener::{Listener, Stream};
use crate::proto::goplugin::{
    grpc_broker_server::GrpcBrokerServer, grpc_controller_server::GrpcControllerServer,
    grpc_stdio_server::GrpcStdioServer,
};
use crate::proto::health::health_server::HealthServer;
use crate::proto::tfplugin6::provider_server::ProviderServer;
use crate::rpc::{EncodedSchema, SCHEMA_PATH, Server};
use crate::services::{Broker, Controller, Health, Stdio};

/// What Terraform itself allows.
const MAX_MESSAGE: usize = 256 * 1024 * 1024;
/// Large enough that a schema or a big state never waits for a window update.
const WINDOW: u32 = 8 * 1024 * 1024;
/// A peer that does not finish its handshake holds a task, never more.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// All services of a plugin, by the first part of a request's path.
#[derive(Clone)]
pub(crate) struct Services {
    schema: EncodedSchema,
    provider: ProviderServer<Server>,
    controller: GrpcControllerServer<Controller>,
    broker: GrpcBrokerServer<Broker>,
    stdio: GrpcStdioServer<Stdio>,
    health: HealthServer<Health>,
}

impl Services {
    pub(crate) fn new(server: Arc<Server>, life: &Arc<Life>) -> Self {
        Self {
            schema: EncodedSchema::new(server.clone()),
            provider: ProviderServer::from_arc(server)
                .max_decoding_message_size(MAX_MESSAGE)
                .max_encoding_message_size(MAX_MESSAGE),
            controller: GrpcControllerServer::new(Controller(life.clone())),
            broker: GrpcBrokerServer::new(Broker(life.clone())),
            stdio: GrpcStdioServer::new(Stdio(life.clone())),
            health: HealthServer::new(Health(life.clone())),
        }
    }

    async fn answer(mut self, request: Request<Incoming>) -> Result<Response<Body>, Infallible> {
        if request.uri().path() == SCHEMA_PATH {
            return self.schema.call(request).await;
        }
        let service = request
            .uri()
            .path()
            .trim_start_matches('/')
            .split('/')
            .next()
            .unwrap_or_default();
        match service {
            "tfplugin6.Provider" => self.provider.call(request).await,
            "plugin.GRPCController" => self.controller.call(request).await,
            "plugin.GRPCBroker" => self.broker.call(request).await,
            "plugin.GRPCStdio" => self.stdio.call(request).await,
            "grpc.health.v1.Health" => self.health.call(request).await,
            _ => Ok(tonic::Status::unimplemented("there is no such service here").into_http()),
        }
    }
}

/// How many connections are open, and whether one ever was.
#[derive(Debug, Default)]
pub(crate) struct Visitors {
    open: AtomicUsize,
    ever: AtomicBool,
}

impl Visitors {
    /// Whether there was a connection and none is left.
    pub(crate) fn have_left(&self) -> bool {
        self.ever.load(Ordering::SeqCst) && self.open.load(Ordering::SeqCst) == 0
    }
}

/// Accepts connections until the process is to end. Those still open are in what it returns: they end by
/// themselves once their last answer is out.
pub(crate) async fn serve(
    listener: Listener,
    tls: Option<Arc<ServerConfig>>,
    services: Services,
    life: &Arc<Life>,
    visitors: &Arc<Visitors>,
) -> TaskTracker {
    let acceptor = tls.map(TlsAcceptor::from);
    let open = TaskTracker::new();
    loop {
        let stream = tokio::select! {
            () = life.shutdown().cancelled() => break,
            accepted = listener.accept() => match accepted {
                Ok(stream) => stream,
                Err(error) => {
                    // Out of file descriptors, most likely: others may close theirs.
                    tracing::warn!(%error, "a connection could not be accepted");
                    tokio::time::sleep(Duration::from_millis(50)).await;
                    continue;
                }
            },
        };
        let (acceptor, services) = (acceptor.clone(), services.clone());
        let (life, visitors) = (life.clone(), visitors.clone());
        open.spawn(async move {
            let ended = connection(stream, acceptor, services, &life, &visitors).await;
            // At the end the parent just hangs up.
            if let (Err(error), false) = (ended, life.shutdown().is_cancelled()) {
                tracing::debug!(
                    error = &error as &dyn std::error::Error,
                    "a connection ended badly"
                );
            }
        });
    }
    // The socket goes at once: the parent may not leave us the time to do it last.
    drop(listener);
    open.close();
    open
}

async fn connection(
    stream: Box<dyn Stream>,
    acceptor: Option<TlsAcceptor>,
    services: Services,
    life: &Life,
    visitors: &Visitors,
) -> io::Result<()> {
    match acceptor {
        None => http2(stream, services, life, visitors).await,
        Some(acceptor) => {
            let accepted = tokio::time::timeout(HANDSHAKE_TIMEOUT, acceptor.accept(stream)).await;
            http2(accepted.map_err(io::Error::other)??, services, life, visitors).await
        }
    }
}

async fn http2<S: Stream + 'static>(
    stream: S,
    services: Services,
    life: &Life,
    visitors: &Visitors,
) -> io::Result<()> {
    visitors.open.fetch_add(1, Ordering::SeqCst);
    visitors.ever.store(true, Ordering::SeqCst);
    let service = hyper::service::service_fn(move |request| services.clone().answer(request));
    let connection = http2::Builder::new(TokioExecutor::new())
        .initial_stream_window_size(WINDOW)
        .initial_connection_window_size(WINDOW)
        .serve_connection(TokioIo::new(stream), service);
    let mut connection = std::pin::pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = life.shutdown().cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    visitors.open.fetch_sub(1, Ordering::SeqCst);
    ended.map_err(io::Error::other)
}
