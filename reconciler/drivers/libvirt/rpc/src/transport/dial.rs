//! A TCP connection to libvirt's daemon by the host's name.

use std::sync::Arc;

use labyard_resolve::{Resolver, connect, place};
use tokio::net::TcpStream;
use tokio::time::Instant;

use super::{ConnectError, stage};

/// Connects to the first address of a host that answers.
pub(super) async fn tcp(host: &str, port: u16, deadline: Instant) -> Result<TcpStream, ConnectError> {
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
        format!("connecting to libvirt's TLS port on {place}"),
        connect(addresses),
    );
    connecting.await?.map_err(|source| ConnectError::Dial {
        place,
        source: Arc::new(source),
    })
}
