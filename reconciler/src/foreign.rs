//! Foreign machines read whole: the bulk read of a host shows no more than their names, and before a network is taken
//! down somebody has to know whether they are on it.

use std::sync::Arc;

use futures::future::try_join_all;
use labyard_driver::DriverError;
use labyard_driver::observed::{MarkState, ObservedMachine, Snapshot};

use crate::error::EngineError;
use crate::host::Host;

/// The host as it is now, foreign machines too.
pub async fn with_foreign(host: &Host) -> Result<Arc<Snapshot>, EngineError> {
    let snapshot = host.fresh().await?;
    let is_foreign = |machine: &ObservedMachine| matches!(machine.mark, MarkState::None);
    if !snapshot.machines.iter().any(is_foreign) {
        return Ok(snapshot);
    }
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
        ..(*snapshot).clone()
    }))
}
