//! A TCP connection to a host by its name.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use labyard_resolve::Resolver;
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::{ConnectError, Service, stage};

/// An address that does not answer holds the next one up only so long (RFC 8305 proposes this value).
const NEXT_ADDRESS_AFTER: Duration = Duration::from_millis(250);

/// Connects to the first address of a host that answers.
pub(super) async fn tcp(
    host: &str,
    port: u16,
    service: Service,
    deadline: Instant,
) -> Result<TcpStream, ConnectError> {
    let unresolved = |reason| ConnectError::Unresolved {
        host: host.to_owned(),
        reason,
    };
    // Made anew each time: it belongs to the runtime in which it was made.
    let resolver = Resolver::default();
    let found = stage(
        deadline,
        format!("looking up the address of {host}"),
        resolver.lookup(host, port),
    );
    let addresses = found.await?.map_err(unresolved)?;
    let place = place(host, port);
    let connecting = stage(
        deadline,
        format!("connecting to {service} on {place}"),
        first(addresses),
    );
    let stream = connecting.await?.map_err(|source| ConnectError::Dial {
        place,
        service,
        source: Arc::new(source),
    })?;
    // Calls are small and wait for each other's answers: none may wait to be filled up.
    let _only_slower = stream.set_nodelay(true);
    Ok(stream)
}

/// Host and port, as they are written.
pub(super) fn place(host: &str, port: u16) -> String {
    match host.contains(':') {
        true => format!("[{host}]:{port}"),
        false => format!("{host}:{port}"),
    }
}

async fn first(addresses: Vec<SocketAddr>) -> io::Result<TcpStream> {
    let mut attempts = JoinSet::new();
    for (address, nth) in addresses.into_iter().zip(0u32..) {
        attempts.spawn(async move {
            tokio::time::sleep(NEXT_ADDRESS_AFTER * nth).await;
            TcpStream::connect(address).await
        });
    }
    let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    while let Some(attempt) = attempts.join_next().await {
        match attempt {
            Ok(Ok(stream)) => return Ok(stream),
            Ok(Err(error)) => last = error,
            Err(error) => last = io::Error::other(error),
        }
    }
    Err(last)
}
