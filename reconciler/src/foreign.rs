//! Foreign machines read whole: the bulk read of a host shows no more than their names, and before a network is taken
//! down somebody has to know whether they are on it.

use std::sync::Arc;

use futures::future::try_join_all;
use labyard_driver::DriverError;
use labyard_driver::observed::{MarkState, ObservedMachine, Snapshot};
use tokio::sync::Mutex;

use crate::error::EngineError;
use crate::host::Host;

/// A host without foreign machines and the same with them, as it was last read so.
#[derive(Default)]
pub struct LastWhole(Mutex<Option<(Arc<Snapshot>, Arc<Snapshot>)>>);

/// The host as it is now, foreign machines too; read once for all who ask of the same bulk read.
pub async fn with_foreign(host: &Host) -> Result<Arc<Snapshot>, EngineError> {
    let snapshot = host.fresh().await?;
    if !snapshot.machines.iter().any(is_foreign) {
        return Ok(snapshot);
    }
    let mut last = host.last_whole.0.lock().await;
    if let Some((_, whole)) = last.as_ref().filter(|(of, _)| Arc::ptr_eq(of, &snapshot)) {
        return Ok(whole.clone());
    }
    let whole = read(host, &snapshot).await?;
    *last = Some((snapshot, whole.clone()));
    Ok(whole)
}

fn is_foreign(machine: &ObservedMachine) -> bool {
    matches!(machine.mark, MarkState::None)
}

async fn read(host: &Host, snapshot: &Snapshot) -> Result<Arc<Snapshot>, EngineError> {
    let whole = snapshot.machines.iter().map(|machine| async {
        if !is_foreign(machine) {
            return Ok(Some(machine.clone()));
        }
        match host.driver.machine(&machine.id).await {
            // One that stalls does not even tell its name.
            Ok(whole) => Ok(Some(ObservedMachine {
                host_name: machine.host_name.clone(),
                ..whole
            })),
            Err(DriverError::Missing { .. }) => Ok(None),
            Err(error) => Err(host.failed(format!("machine {:?}", machine.host_name))(error)),
        }
    });
    let machines = try_join_all(whole).await?.into_iter().flatten().collect();
    Ok(Arc::new(Snapshot {
        machines,
        ..snapshot.clone()
    }))
}
