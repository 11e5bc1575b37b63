//! Connections: a socket that the service manager hands over, or one of our own; TLS where there is a certificate;
//! HTTP/1.1. When the server ends it takes no more connections, lets the requests that it has end, and leaves. An address has
//! so many connections at the same time ([`Places`]), and one whose other end takes nothing of what is sent breaks
//! ([`Patient`]).
//!
//! A socket that is handed over (`LISTEN_FDS`, sd_listen_fds(3)) stays open while one server ends and the next begins:
//! who connects in between waits in its queue and is served. With two servers on one port (`SO_REUSEPORT`) each has a
//! queue of its own, and what stands in that of the one that ends is lost.

use super::{app::App, guard::Peer, limit::Source, patient::Patient, places::Places};
use axum::{Router, body::Body};
use http::Request;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use std::{
    any::Any,
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpListener,
    sync::Semaphore,
};
use tokio_rustls::TlsAcceptor;
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tower_service::Service as _;

/// How long a head of a request, or a greeting of TLS, may take.
const HEAD: Duration = Duration::from_secs(10);
/// How long a connection that was taken before the server ends has for its first request.
const FIRST: Duration = Duration::from_secs(2);
/// How long nothing of what is sent may be taken.
const STALLED: Duration = Duration::from_secs(60);
/// After an error of the system's own (no file descriptors, say) it is let alone so long.
const BREATH: Duration = Duration::from_millis(100);

/// A connection's place among those that are open: whoever has it is waited for when the server ends.
#[derive(Clone)]
pub(crate) struct Staying(
    #[expect(dead_code, reason = "it is held, and that is all")] Arc<dyn Any + Send + Sync>,
);

/// Why no connections are taken.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ListenError {
    /// The address.
    #[error("{address} cannot be listened on: {why}")]
    Address {
        /// Which.
        address: SocketAddr,
        /// Why not.
        why: std::io::Error,
    },
    /// What the service manager handed over.
    #[error("the socket that the service manager handed over cannot be used: {0}")]
    HandedOver(std::io::Error),
    /// Others reach it, and would send their tokens in plain text.
    #[error(
        "{address} can be reached from elsewhere, where tokens must not go in plain text: give [tls] certificate and key, or \
         have the service manager listen on 127.0.0.1"
    )]
    Plain {
        /// Where it listens.
        address: SocketAddr,
    },
    /// The certificate or its key.
    #[error("tls: {path}: {why}")]
    Certificate {
        /// Of which file.
        path: String,
        /// What is wrong with it.
        why: String,
    },
}

/// The socket: the one that was handed over, else one at that address.
pub(crate) async fn socket(address: SocketAddr) -> Result<TcpListener, ListenError> {
    let handed_over = listenfd::ListenFd::from_env()
        .take_tcp_listener(0)
        .map_err(ListenError::HandedOver)?;
    if let Some(listener) = handed_over {
        let ready = listener
            .set_nonblocking(true)
            .and_then(|()| TcpListener::from_std(listener));
        return ready.map_err(ListenError::HandedOver);
    }
    TcpListener::bind(address)
        .await
        .map_err(|why| ListenError::Address { address, why })
}

/// Whether a server without a certificate may listen there: also a socket that is handed over is reached by others.
pub(crate) fn plainly(address: SocketAddr) -> Result<(), ListenError> {
    match address.ip().to_canonical().is_loopback() {
        true => Ok(()),
        false => Err(ListenError::Plain { address }),
    }
}

/// Takes connections until the server ends, and comes back when their requests have ended, or their time is up.
pub(crate) async fn serve(app: &Arc<App>, listener: TcpListener, tls: Option<TlsAcceptor>, router: Router) {
    let slots = Arc::new(Semaphore::new(app.limits.connections.max(1)));
    let places = Places::new(app.limits.connections_per_source.max(1));
    let tasks = TaskTracker::new();
    loop {
        // Who comes when all are taken waits in the socket's queue.
        let slot = tokio::select! {
            () = app.ending.cancelled() => break,
            slot = Arc::clone(&slots).acquire_owned() => slot,
        };
        let accepted = tokio::select! {
            () = app.ending.cancelled() => break,
            accepted = listener.accept() => accepted,
        };
        let (stream, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "a connection could not be taken");
                tokio::time::sleep(BREATH).await;
                continue;
            }
        };
        // A socket of both families shows IPv4 within IPv6.
        let from = peer.ip().to_canonical();
        // A proxy brings the requests of many, and on this computer it may be one that nobody has named.
        let is_proxy = app.trusted_proxies.iter().any(|network| network.contains(&from));
        let place = places.take(Source::from(from));
        if place.is_none() && !is_proxy && !from.is_loopback() {
            tracing::debug!(%from, "it has as many connections as an address may have");
            continue;
        }
        // Small answers go out at once; without it they only go out later.
        let _ = stream.set_nodelay(true);
        let stream = Patient::new(stream, STALLED);
        let (app, router, tls) = (Arc::clone(app), router.clone(), tls.clone());
        let token = tasks.token();
        tasks.spawn(async move {
            // Shared with what a connection is switched over to, which outlives what is served of it here.
            let staying = Staying(Arc::new((slot, place, token)));
            match tls {
                None => connection(&app, stream, (from, staying), router).await,
                Some(tls) => match tokio::time::timeout(HEAD, tls.accept(stream)).await {
                    Ok(Ok(stream)) => connection(&app, stream, (from, staying), router).await,
                    Ok(Err(error)) => tracing::debug!(%error, %peer, "no TLS"),
                    Err(_) => tracing::debug!(%peer, "TLS took too long"),
                },
            }
        });
    }
    drop(listener);
    tasks.close();
    if tokio::time::timeout(app.limits.shutdown_timeout, tasks.wait())
        .await
        .is_err()
    {
        tracing::warn!(open = tasks.len(), "the time is up: open connections are left");
    }
}

async fn connection<S>(app: &Arc<App>, stream: S, (peer, staying): (IpAddr, Staying), router: Router)
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let asked = CancellationToken::new();
    let asks = asked.clone();
    let service = hyper::service::service_fn(move |request: Request<hyper::body::Incoming>| {
        asks.cancel();
        let mut request = request.map(Body::new);
        request.extensions_mut().insert(Peer(peer));
        request.extensions_mut().insert(staying.clone());
        // A router is ready whenever it is asked.
        router.clone().call(request)
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD)
        .serve_connection(TokioIo::new(stream), service)
        .with_upgrades();
    tokio::pin!(connection);
    tokio::select! {
        ended = connection.as_mut() => {
            if let Err(error) = ended {
                tracing::debug!(%error, %peer, "a connection broke");
            }
            return;
        }
        () = app.ending.cancelled() => {}
    }
    // Who was let in just now is about to ask: closing before that would be a refusal.
    tokio::select! {
        _ = connection.as_mut() => return,
        () = asked.cancelled() => {}
        () = tokio::time::sleep(FIRST) => {}
    }
    connection.as_mut().graceful_shutdown();
    if let Err(error) = connection.await {
        tracing::debug!(%error, %peer, "a connection broke");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_go_in_plain_text_on_this_computer_alone() {
        for (address, expected) in [
            ("127.0.0.1:1", true),
            ("[::1]:1", true),
            ("[::ffff:127.0.0.1]:1", true),
            ("0.0.0.0:1", false),
            ("[::]:1", false),
            ("192.0.2.1:1", false),
        ] {
            assert_eq!(plainly(address.parse().unwrap()).is_ok(), expected, "{address}");
        }
    }
}
