//! Where on the hosts a machine is, by its namespace and its name: what became of a piece of work is seen there, whatever
//! was asked for.

use labyard_driver::{
    ids::{HostName, ObjectName},
    observed::{MarkState, Snapshot},
};
use labyard_labs::ids::Namespace;
use labyard_reconciler::{
    engine::{Embedded, Engine as _},
    identity,
};
use std::time::Duration;
use tokio::time::Instant;

/// How long a host is waited for: meanwhile nobody says that the operation goes on, and its lease has to last.
const ANSWERS_WITHIN: Duration = Duration::from_secs(8);

/// Where a machine is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum There {
    /// On that host.
    On(HostName),
    /// On none, and all were read.
    Nowhere,
    /// Perhaps on one that did not answer.
    Unknown,
}

/// Looks on these hosts.
pub(crate) async fn where_is(
    engine: &Embedded,
    hosts: Vec<HostName>,
    (namespace, name): (&Namespace, &ObjectName),
) -> There {
    let looks = hosts.into_iter().map(async |host| {
        let look = async {
            engine.look_anew(&host, Instant::now()).await;
            engine.snapshot(&host).await
        };
        let looked = tokio::time::timeout(ANSWERS_WITHIN, look).await;
        match looked {
            Ok(Ok(snapshot)) if has(&snapshot, namespace, name) => There::On(host),
            Ok(Ok(_)) => There::Nowhere,
            Ok(Err(_)) | Err(_) => There::Unknown,
        }
    });
    let seen = futures::future::join_all(looks).await;
    let on = seen.iter().find(|there| matches!(there, There::On(_)));
    match on {
        Some(on) => on.clone(),
        None if seen.contains(&There::Unknown) => There::Unknown,
        None => There::Nowhere,
    }
}

fn has(snapshot: &Snapshot, namespace: &Namespace, name: &ObjectName) -> bool {
    let of_driver = labyard_driver::ids::Namespace(namespace.to_string());
    let host_name = identity::host_name(&of_driver, name);
    snapshot.machines.iter().any(|machine| match &machine.mark {
        MarkState::Ours(mark) => mark.namespace == of_driver && mark.name == *name,
        // Whose it is cannot be told: it may be that one.
        MarkState::Unreadable(_) => machine.host_name == host_name,
        MarkState::None => false,
    })
}
