//! The way from a driver to its host.

use std::time::Duration;

use labyard_driver::ids::{Bytes, ObjectId, PoolName, VolumeName};
use labyard_driver::{DriverError, HostEvent, UploadStream};
use tokio::sync::broadcast;

use crate::host::SimHost;
use crate::passage::Caller;
use crate::request::{Reply, Request};
use crate::state::ConsoleStep;

/// In this process, or over a socket.
#[derive(Debug)]
pub(crate) enum Link {
    Memory(SimHost, Caller),
    #[cfg(unix)]
    Socket(crate::client::Client),
}

impl Link {
    pub(crate) async fn call(&self, request: Request) -> Result<Reply, DriverError> {
        match self {
            Self::Memory(host, caller) => host.call(caller, &request).await,
            #[cfg(unix)]
            Self::Socket(client) => client.call(request).await,
        }
    }

    pub(crate) async fn upload(
        &self,
        target: (PoolName, VolumeName),
        length: Bytes,
        stream: UploadStream,
        deadline: Duration,
    ) -> Result<(), DriverError> {
        match self {
            Self::Memory(host, caller) => host.upload(caller, target, length, stream, deadline).await,
            #[cfg(unix)]
            Self::Socket(client) => client.upload(target, length, stream, deadline).await,
        }
    }

    pub(crate) async fn subscribe(&self) -> Result<broadcast::Receiver<HostEvent>, DriverError> {
        match self {
            Self::Memory(host, caller) => host.subscribe(caller).await,
            #[cfg(unix)]
            Self::Socket(client) => client.subscribe().await,
        }
    }

    pub(crate) async fn read_console(
        &self,
        id: &ObjectId,
        run: u64,
        position: usize,
    ) -> Result<ConsoleStep, DriverError> {
        match self {
            Self::Memory(host, _) => host.read_console(id, run, position),
            #[cfg(unix)]
            Self::Socket(client) => client.read_console(id, run, position).await,
        }
    }
}
