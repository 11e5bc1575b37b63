//! An upload as the host receives it.

use std::sync::Arc;

use futures::StreamExt as _;
use labyard_driver::ids::{Bytes, PoolName, VolumeName};
use labyard_driver::{DriverError, UploadStream};

use crate::core::Inner;
use crate::faults::FaultKind;
use crate::passage::{Ticket, lost};
use crate::state::Filling;

impl Inner {
    /// Fills a volume from a stream.
    pub(crate) async fn receive(
        self: &Arc<Self>,
        ticket: &Ticket,
        (pool, name): &(PoolName, VolumeName),
        length: Bytes,
        mut stream: UploadStream,
    ) -> Result<(), DriverError> {
        let mut upload = Upload::begin(self, pool, name, length)?;
        let source = |cause| DriverError::Source {
            what: format!("what is uploaded to volume {name}"),
            cause,
        };
        loop {
            let chunk = tokio::select! {
                () = self.broken(ticket) => return Err(lost(&ticket.doing, "the connection was closed")),
                chunk = stream.next() => chunk,
            };
            let Some(chunk) = chunk.transpose().map_err(source)? else {
                break;
            };
            if chunk.len() as u64 > upload.left {
                upload.take(&chunk[..usize::try_from(upload.left).unwrap_or(chunk.len())]);
                return Err(source(format!("it is longer than {length}").into()));
            }
            upload.take(&chunk);
            if let Some(FaultKind::CutUpload(after)) = ticket.fault
                && length.0 - upload.left >= after.0
            {
                return Err(lost(&ticket.doing, "the connection was reset"));
            }
            // A stream that is always ready must not starve everybody else.
            tokio::task::yield_now().await;
        }
        match upload.left {
            0 => Ok(()),
            left => Err(source(format!("it ended {left} bytes short of {length}").into())),
        }
    }
}

/// An upload under way; however it ends, the volume is free again.
struct Upload<'a> {
    host: &'a Arc<Inner>,
    filling: Filling,
    left: u64,
}

impl<'a> Upload<'a> {
    fn begin(
        host: &'a Arc<Inner>,
        pool: &PoolName,
        name: &VolumeName,
        length: Bytes,
    ) -> Result<Self, DriverError> {
        let filling = host.change(|state, _| state.begin_upload(pool, name, length))?;
        Ok(Self {
            host,
            filling,
            left: length.0,
        })
    }

    fn take(&mut self, bytes: &[u8]) {
        self.left -= bytes.len() as u64;
        // What counts is kept when the upload ends; half an upload is worth nothing to anybody.
        self.host.look(|state, _| state.fill(&self.filling, bytes));
    }
}

impl Drop for Upload<'_> {
    fn drop(&mut self) {
        self.host.change(|state, _| state.end_upload(&self.filling));
    }
}
