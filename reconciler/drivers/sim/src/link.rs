//! The way from a driver to its host.

use std::sync::Arc;
use std::time::Duration;

use labyard_driver::ids::{Bytes, PoolName, VolumeName};
use labyard_driver::{DriverError, HostEvent, UploadStream};
use tokio::sync::broadcast;

use crate::host::SimHost;
use crate::passage::Caller;
use crate::request::{Reply, Request};
use crate::state::{ConsoleStep, Seat};

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
        seat: &Seat,
        position: usize,
    ) -> Result<ConsoleStep, DriverError> {
        match self {
            Self::Memory(host, _) => host.read_console(seat, position),
            #[cfg(unix)]
            Self::Socket(client) => client.read_console(seat, position).await,
        }
    }

    pub(crate) async fn press_keys(&self, seat: &Seat, keys: &[u8]) -> Result<(), DriverError> {
        match self {
            Self::Memory(host, _) => host.press_keys(seat, keys),
            #[cfg(unix)]
            Self::Socket(client) => client.press_keys(seat, keys).await,
        }
    }

    /// Lets go of a console, also where nobody can wait for that: over a socket it is said soon.
    pub(crate) fn leave_console(self: &Arc<Self>, seat: Seat) {
        match self.as_ref() {
            Self::Memory(host, _) => host.leave_console(&seat),
            #[cfg(unix)]
            Self::Socket(_) => {
                let link = Arc::clone(self);
                // Without a runtime nobody can say it: who has not looked for a while counts as gone.
                if let Ok(runtime) = tokio::runtime::Handle::try_current() {
                    runtime.spawn(async move {
                        if let Self::Socket(client) = link.as_ref()
                            && let Err(error) = client.leave_console(&seat).await
                        {
                            tracing::debug!(%error, "the console was not let go");
                        }
                    });
                }
            }
        }
    }
}
