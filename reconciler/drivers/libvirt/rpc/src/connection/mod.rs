//! A connection: opening, calling, closing.
//!
//! One task owns the socket and runs three loops over it: read, write, and watch for signs of life (`pump`).
//! Callers and that task meet in the `link`: a call is given a number and queued there, and waits for the
//! answer with that number. Any number of calls may wait at once; answers may come in any order.

mod counts;
pub(crate) mod frame;
mod gate;
mod link;
mod open;
mod pump;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::Instant;

pub use counts::CallCounts;
pub use frame::FrameError;
pub use gate::Gate;
pub use link::LostReason;
pub(crate) use link::{Link, STREAM_BACKLOG, StreamMessage};
pub use open::{AuthType, ConnectOptions, KeepAlive};

use crate::error::{Error, Result};
use crate::procedure::{CONNECT_CLOSE, Effect, Lane, Procedure};
use crate::server_error::ServerError;
use crate::stream::RawStream;
use crate::xdr::{Decode, Decoder, Encode};
use frame::Status;
use gate::Gated;

/// A connection to libvirt. Clones share it; it ends when the last of them is dropped, or by
/// [`close`](Self::close).
#[derive(Clone)]
pub struct Connection {
    task: Arc<Task>,
    deadline: Duration,
    width: Width,
    gate: Gated,
}

/// How many calls that may wait in the daemon are sent at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Width {
    /// Fewer than those at which the daemon stops reading, so that quick calls always pass.
    Narrow,
    /// Many.
    Wide,
}

/// The connection's task, which ends with the last handle.
struct Task {
    link: Arc<Link>,
    handle: JoinHandle<()>,
}

impl Drop for Task {
    fn drop(&mut self) {
        self.handle.abort();
    }
}

impl std::fmt::Debug for Connection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Connection")
            .field("deadline", &self.deadline)
            .field("lost", &self.is_lost())
            .finish()
    }
}

impl Connection {
    /// The same connection with another deadline for each call, and for each step of a stream opened by it.
    #[must_use]
    pub fn within(&self, deadline: Duration) -> Self {
        Self {
            deadline,
            ..self.clone()
        }
    }

    /// The same connection for many calls of a kind at once, which share the round trips even where each may wait in
    /// the daemon. Should five of them be stuck there, it reads nothing more from this connection: whoever uses this
    /// has another connection for then.
    #[must_use]
    pub fn wide(&self) -> Self {
        Self {
            width: Width::Wide,
            ..self.clone()
        }
    }

    /// The same connection with a gate for its calls that change something on the host.
    #[must_use]
    pub fn through(&self, gate: Arc<dyn Gate>) -> Self {
        Self {
            gate: Gated(Some(gate)),
            ..self.clone()
        }
    }

    /// The deadline of each call.
    pub fn deadline(&self) -> Duration {
        self.deadline
    }

    /// How often each procedure was called so far, by all clones together.
    pub fn calls(&self) -> CallCounts {
        self.link().counter.snapshot()
    }

    /// Whether the connection is gone.
    pub fn is_lost(&self) -> bool {
        self.link().is_lost()
    }

    /// How the connection ended, if it has.
    pub fn lost_reason(&self) -> Option<Arc<LostReason>> {
        self.is_lost().then(|| self.link().reason())
    }

    /// Takes leave of the daemon and ends the connection for all clones.
    pub async fn close(self) -> Result<()> {
        let farewell: Result<()> = self.call(&CONNECT_CLOSE, &()).await;
        self.link().lose(LostReason::ClosedHere);
        self.task.handle.abort();
        farewell
    }

    pub(crate) fn link(&self) -> &Arc<Link> {
        &self.task.link
    }

    /// Makes a call whose answer is `R`.
    pub(crate) async fn call<A: Encode, R: Decode>(
        &self,
        procedure: &'static Procedure,
        args: &A,
    ) -> Result<R> {
        let (_, payload) = self.exchange(procedure, args, None).await?;
        Decoder::whole(&payload).map_err(|source| Error::Decode {
            procedure: procedure.name,
            source,
        })
    }

    /// Makes a call whose answer nobody waits for, should there be a place for it.
    fn post<A: Encode>(&self, procedure: &'static Procedure, args: &A) -> Result<()> {
        let payload = frame::payload(args).map_err(|source| Error::Encode {
            procedure: procedure.name,
            source,
        })?;
        let begun = self
            .link()
            .post(procedure, payload)
            .map_err(|reason| Error::Closed {
                procedure: procedure.name,
                reason,
            })?;
        if begun {
            self.link().counter.count(procedure.name);
        }
        Ok(())
    }

    /// Makes a call that answers with a list and its length once more.
    pub(crate) async fn list<A: Encode, R: Decode>(
        &self,
        procedure: &'static Procedure,
        args: &A,
    ) -> Result<Vec<R>> {
        let (items, _count): (Vec<R>, u32) = self.call(procedure, args).await?;
        Ok(items)
    }

    /// Makes a call that begins a stream.
    pub(crate) async fn open_stream<A: Encode>(
        &self,
        procedure: &'static Procedure,
        args: &A,
    ) -> Result<RawStream> {
        let (sender, receiver) = mpsc::channel(STREAM_BACKLOG);
        let (serial, _) = self.exchange(procedure, args, Some(sender)).await?;
        Ok(RawStream::new(self.clone(), procedure, serial, receiver))
    }

    fn lane(&self, procedure: &Procedure) -> Lane {
        match self.width {
            Width::Narrow => procedure.lane,
            Width::Wide => Lane::Quick,
        }
    }

    async fn exchange<A: Encode>(
        &self,
        procedure: &'static Procedure,
        args: &A,
        stream: Option<mpsc::Sender<StreamMessage>>,
    ) -> Result<(u32, Bytes)> {
        match (&self.gate.0, procedure.effect) {
            (Some(gate), Effect::Changes) => {
                let ticket = gate.before(procedure.name).await;
                let outcome = self.exchange_traced(procedure, args, stream).await;
                gate.after(ticket, procedure.name).await;
                outcome
            }
            _ => self.exchange_traced(procedure, args, stream).await,
        }
    }

    async fn exchange_traced<A: Encode>(
        &self,
        procedure: &'static Procedure,
        args: &A,
        stream: Option<mpsc::Sender<StreamMessage>>,
    ) -> Result<(u32, Bytes)> {
        let started = Instant::now();
        let outcome = self
            .exchange_within(started + self.deadline, procedure, args, stream)
            .await;
        let elapsed = started.elapsed();
        match &outcome {
            Ok(_) => tracing::trace!(procedure = procedure.name, ?elapsed, "answered"),
            Err(error) => {
                let code = error.code().map(crate::ErrorCode::raw);
                tracing::trace!(procedure = procedure.name, ?elapsed, code, "failed");
            }
        }
        outcome
    }

    async fn exchange_within<A: Encode>(
        &self,
        deadline: Instant,
        procedure: &'static Procedure,
        args: &A,
        stream: Option<mpsc::Sender<StreamMessage>>,
    ) -> Result<(u32, Bytes)> {
        let name = procedure.name;
        let closed = |reason| Error::Closed {
            procedure: name,
            reason,
        };
        let payload = frame::payload(args).map_err(|source| Error::Encode {
            procedure: name,
            source,
        })?;
        let place = tokio::time::timeout_at(deadline, self.link().place(self.lane(procedure)))
            .await
            .map_err(|_| Error::NotSent {
                procedure: name,
                after: self.deadline,
            })?
            .map_err(closed)?;
        let begun = self
            .link()
            .begin(procedure, place, payload, stream)
            .map_err(closed)?;
        self.link().counter.count(name);
        let (status, payload) = tokio::time::timeout_at(deadline, begun.answer)
            .await
            .map_err(|_| Error::Timeout {
                procedure: name,
                after: self.deadline,
            })?
            .map_err(|_| Error::ConnectionLost {
                procedure: name,
                reason: self.link().reason(),
            })?;
        match status {
            Status::Ok => Ok((begun.serial, payload)),
            Status::Error | Status::Continue => Err(server_error(name, &payload)),
        }
    }
}

fn server_error(procedure: &'static str, payload: &[u8]) -> Error {
    match Decoder::whole::<ServerError>(payload) {
        Ok(error) => Error::Server {
            procedure,
            error: Box::new(error),
        },
        Err(source) => Error::Decode { procedure, source },
    }
}
