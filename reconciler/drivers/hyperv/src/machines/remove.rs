//! Removing: the definition with what the host keeps beside it, never a disk.

use labyard_driver::DriverError;
use labyard_driver::ids::ObjectId;
use labyard_driver::observed::Power;
use wsman::Client;

use super::guid;
use crate::call::{Service, call};
use crate::host::Host;
use crate::ids::Guid;

impl Host {
    /// Removes the definition of a machine that is off; gone already is success. Its disks stay.
    ///
    /// # Errors
    /// [`DriverError::Refused`] where it runs; [`DriverError::Busy`] where the host still merges its checkpoints.
    pub async fn remove_machine(&self, id: &ObjectId) -> Result<(), DriverError> {
        let guid = match guid(id) {
            Ok(guid) => guid,
            Err(_) => return Ok(()),
        };
        match self.machine(id).await {
            Err(DriverError::Missing { .. }) => return Ok(()),
            Ok(found) if !matches!(found.power, Power::Stopped | Power::Saved) => {
                return Err(DriverError::Refused {
                    doing: format!("removing machine {}", found.host_name),
                    message: "it is not off".to_owned(),
                });
            }
            found => found.map(drop)?,
        }
        match destroy(&self.client, guid).await {
            Ok(()) | Err(DriverError::Missing { .. }) => {}
            Err(error @ DriverError::ReplyLost { .. }) => {
                return match self.machine(id).await {
                    Err(DriverError::Missing { .. }) => Ok(()),
                    _ => Err(error),
                };
            }
            Err(error) => return Err(error),
        }
        match self.machine(id).await {
            Err(DriverError::Missing { .. }) => Ok(()),
            Ok(_) => Err(DriverError::ReplyLost {
                doing: format!("removing machine {guid}"),
                message: "the host says that it is done, and shows it".to_owned(),
            }),
            Err(error) => Err(error),
        }
    }
}

/// Removes a machine's definition.
pub(super) async fn destroy(client: &Client, guid: Guid) -> Result<(), DriverError> {
    let method = Service::Machines.method("DestroySystem");
    let method = method.reference("AffectedSystem", guid.machine());
    call(client, &format!("removing machine {guid}"), &method)
        .await
        .map(drop)
}
