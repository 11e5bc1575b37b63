//! TCP to an SSH server by its name, in time.

use std::io;
use std::time::Duration;

use labyard_resolve::{Resolver, connect, place};
use tokio::net::TcpStream;
use tokio::time::Instant;

use crate::error::Error;
use crate::words::Words;

/// Connects to the first address of a host that answers.
pub(crate) async fn tcp(host: &str, port: u16, words: &Words, deadline: Instant) -> Result<TcpStream, Error> {
    let unresolved = |reason| Error::Unresolved {
        host: host.to_owned(),
        reason,
        name: words.host,
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
        format!("connecting to the SSH server on {place}"),
        connect(addresses),
    );
    connecting.await?.map_err(|error| Error::Dial {
        place,
        kind: error.kind(),
        reason: error.to_string(),
        advice: advice(error.kind(), words),
    })
}

fn advice(kind: io::ErrorKind, words: &Words) -> String {
    match kind {
        io::ErrorKind::ConnectionRefused => format!(
            "Nothing listens there: check the port, or start it on the host: {}",
            words.there.starts()
        ),
        _ => "Check the host's address, its network and the firewall between".to_owned(),
    }
}

/// A stage of connecting, with the deadline of all of them.
pub(crate) async fn stage<T>(
    deadline: Instant,
    doing: impl Into<String>,
    work: impl Future<Output = T>,
) -> Result<T, Error> {
    let begun = Instant::now();
    let late = |_| Error::TimedOut {
        doing: doing.into(),
        after: Duration::from_secs(begun.elapsed().as_secs().max(1)),
    };
    tokio::time::timeout_at(deadline, work).await.map_err(late)
}
