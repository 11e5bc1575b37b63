//! Machines, made and changed. Each verb may be repeated; none repeats a call of its own accord whose answer was lost: it
//! reads instead.

mod cards;
mod define;
mod drives;
mod live;
mod power;
mod record;
mod remove;
mod text;

use labyard_driver::DriverError;
use labyard_driver::ids::ObjectId;
use wsman::Client;

use crate::call::{Service, call, instance};
use crate::classes::Settings;
use crate::ids::Guid;

/// The GUID of a machine; ids of other hosts' machines are none.
pub(crate) fn guid(id: &ObjectId) -> Result<Guid, DriverError> {
    id.as_str().parse().map_err(|_| DriverError::Missing {
        what: format!("machine {id}"),
    })
}

/// Changes a machine's settings: what is set of them, and nothing else. The whole of them sent back is refused by real hosts.
pub(crate) async fn modify(client: &Client, doing: &str, settings: &Settings) -> Result<(), DriverError> {
    let method = Service::Machines.method("ModifySystemSettings");
    let method = method.text("SystemSettings", instance(doing, settings)?);
    call(client, doing, &method).await.map(drop)
}
