//! The state that callers and the connection's task share: who waits for which answer, what is to be sent,
//! and how the connection ended.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{OnceCell, OwnedSemaphorePermit, Semaphore, TryAcquireError, mpsc, oneshot};

use super::counts::CallCounter;
use super::frame::{Frame, FrameError, Header, Kind, Status};
use crate::event::EventHub;
use crate::procedure::{Lane, Procedure, Program, keepalive, message};
use crate::server_error::ServerError;
use crate::xdr::{DecodeError, Decoder};

/// Calls of the slow lane that may be open at once: one fewer than the five at which the daemon stops reading.
const SLOW_CALLS: usize = 4;
/// Calls of the quick lane that may be open at once; they do not stay, so this only bounds memory.
const QUICK_CALLS: usize = 256;
/// Pieces of streams that may wait to be written.
const STREAM_PIECES: usize = 16;
/// Pieces of one stream that may wait to be read by its consumer.
pub(crate) const STREAM_BACKLOG: usize = 16;
/// How long a full backlog may hold up everything else on the connection.
const STREAM_PATIENCE: Duration = Duration::from_secs(10);

/// How a connection ended.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum LostReason {
    /// It was closed on this side.
    #[error("closed on this side")]
    ClosedHere,
    /// The other side closed it.
    #[error("closed by libvirt")]
    ClosedByPeer,
    /// Reading or writing failed.
    #[error("{0}")]
    Io(Arc<std::io::Error>),
    /// The other side lives, but the daemon behind it with the domains has gone.
    #[error("the daemon behind libvirt's proxy went away")]
    DriverGone,
    /// The other side gave no sign of life.
    #[error("no sign of life for {silence:?}")]
    Silent {
        /// For how long.
        silence: Duration,
    },
    /// The other side does not speak the protocol.
    #[error("libvirt sent something that is not its protocol: {0}")]
    Protocol(#[from] FrameError),
}

/// A frame to be sent.
#[derive(Debug)]
pub(super) struct Outgoing {
    pub(super) header: Header,
    pub(super) payload: Bytes,
    /// The place of a piece of a stream; given back when it is written.
    pub(super) room: Option<OwnedSemaphorePermit>,
}

/// What came for a stream.
#[derive(Debug)]
pub(crate) enum StreamMessage {
    /// Data; an empty piece means that there is no more.
    Data(Bytes),
    /// The daemon agrees that the stream is over.
    Finished,
    /// The daemon gave it up.
    Failed(Result<Box<ServerError>, DecodeError>),
}

/// An answer as it came in.
pub(super) type Answer = (Status, Bytes);

struct Pending {
    procedure: &'static Procedure,
    answer: oneshot::Sender<Answer>,
    /// The call's place in its lane. It stays taken until the daemon has answered, even if nobody waits any
    /// more, because until then the daemon counts it too.
    _place: OwnedSemaphorePermit,
}

enum Table {
    Open {
        last_serial: u32,
        calls: HashMap<u32, Pending>,
        streams: HashMap<u32, mpsc::Sender<StreamMessage>>,
    },
    Lost(Arc<LostReason>),
}

/// The shared state.
pub(crate) struct Link {
    queue: mpsc::UnboundedSender<Outgoing>,
    table: Mutex<Table>,
    slow: Arc<Semaphore>,
    quick: Arc<Semaphore>,
    stream_room: Arc<Semaphore>,
    signs_of_life: AtomicU64,
    held_up: AtomicBool,
    pub(super) counter: CallCounter,
    pub(crate) events: EventHub,
    /// Whether the daemon takes the arguments of a network update in order; asked when it is first needed.
    pub(crate) network_update_order: OnceCell<bool>,
}

/// A call that has its number; the answer comes on `answer`.
pub(super) struct Begun {
    pub(super) serial: u32,
    pub(super) answer: oneshot::Receiver<Answer>,
}

impl Link {
    pub(super) fn new(queue: mpsc::UnboundedSender<Outgoing>) -> Self {
        let table = Table::Open {
            last_serial: 0,
            calls: HashMap::new(),
            streams: HashMap::new(),
        };
        Self {
            queue,
            table: Mutex::new(table),
            slow: Arc::new(Semaphore::new(SLOW_CALLS)),
            quick: Arc::new(Semaphore::new(QUICK_CALLS)),
            stream_room: Arc::new(Semaphore::new(STREAM_PIECES)),
            signs_of_life: AtomicU64::new(0),
            held_up: AtomicBool::new(false),
            counter: CallCounter::default(),
            events: EventHub::default(),
            network_update_order: OnceCell::new(),
        }
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How the connection ended; while it has not, what it would be if this side ended it now.
    pub(crate) fn reason(&self) -> Arc<LostReason> {
        match &*self.table() {
            Table::Open { .. } => Arc::new(LostReason::ClosedHere),
            Table::Lost(reason) => Arc::clone(reason),
        }
    }

    pub(crate) fn is_lost(&self) -> bool {
        matches!(&*self.table(), Table::Lost(_))
    }

    /// Waits for the call's turn; fails when the connection is gone.
    pub(super) async fn place(&self, lane: Lane) -> Result<OwnedSemaphorePermit, Arc<LostReason>> {
        let lane = match lane {
            Lane::Quick => &self.quick,
            Lane::Slow => &self.slow,
        };
        Arc::clone(lane).acquire_owned().await.map_err(|_| self.reason())
    }

    /// Waits for room to send a piece of a stream; fails when the connection is gone.
    pub(crate) async fn stream_room(&self) -> Result<OwnedSemaphorePermit, Arc<LostReason>> {
        Arc::clone(&self.stream_room)
            .acquire_owned()
            .await
            .map_err(|_| self.reason())
    }

    /// Sends a call whose answer nobody waits for; `false` where no place is free for it.
    pub(super) fn post(
        &self,
        procedure: &'static Procedure,
        payload: Bytes,
    ) -> Result<bool, Arc<LostReason>> {
        match Arc::clone(&self.quick).try_acquire_owned() {
            Ok(place) => self.begin(procedure, place, payload, None).map(|_| true),
            Err(TryAcquireError::Closed) => Err(self.reason()),
            Err(TryAcquireError::NoPermits) => Ok(false),
        }
    }

    /// Gives the call a number and sends it.
    pub(super) fn begin(
        &self,
        procedure: &'static Procedure,
        place: OwnedSemaphorePermit,
        payload: Bytes,
        stream: Option<mpsc::Sender<StreamMessage>>,
    ) -> Result<Begun, Arc<LostReason>> {
        let (sender, answer) = oneshot::channel();
        let mut table = self.table();
        let (last_serial, calls, streams) = match &mut *table {
            Table::Open {
                last_serial,
                calls,
                streams,
            } => (last_serial, calls, streams),
            Table::Lost(reason) => return Err(Arc::clone(reason)),
        };
        // Zero belongs to messages; after four billion calls a very old one may still have its number.
        let serial = loop {
            *last_serial = last_serial.wrapping_add(1).max(1);
            if !calls.contains_key(last_serial) && !streams.contains_key(last_serial) {
                break *last_serial;
            }
        };
        calls.insert(
            serial,
            Pending {
                procedure,
                answer: sender,
                _place: place,
            },
        );
        streams.extend(stream.map(|stream| (serial, stream)));
        // Sent under the lock, so that numbers rise on the wire.
        self.send(Header::call(procedure, serial), payload, None);
        Ok(Begun { serial, answer })
    }

    /// Queues a frame. When the connection is gone it goes nowhere, which its caller learns elsewhere.
    pub(crate) fn send(&self, header: Header, payload: Bytes, room: Option<OwnedSemaphorePermit>) {
        let _gone = self.queue.send(Outgoing {
            header,
            payload,
            room,
        });
    }

    /// Forgets a stream: what still comes for it is dropped.
    pub(crate) fn forget_stream(&self, serial: u32) {
        if let Table::Open { streams, .. } = &mut *self.table() {
            streams.remove(&serial);
        }
    }

    /// Gives a stream up on this side.
    pub(crate) fn abort_stream(&self, procedure: &'static Procedure, serial: u32) {
        self.forget_stream(serial);
        self.send(
            Header::stream(procedure, serial, Status::Error),
            Bytes::new(),
            None,
        );
    }

    /// Ends the connection: everybody who waits learns it.
    pub(super) fn lose(&self, reason: LostReason) {
        let mut table = self.table();
        if matches!(&*table, Table::Open { .. }) {
            tracing::debug!(%reason, "connection to libvirt ended");
            *table = Table::Lost(Arc::new(reason));
        }
        drop(table);
        self.slow.close();
        self.quick.close();
        self.stream_room.close();
        self.events.close();
    }

    pub(super) fn note_sign_of_life(&self) {
        self.signs_of_life.fetch_add(1, Ordering::Relaxed);
    }

    /// Changes whenever the other side was heard, or cannot be heard because this side does not listen.
    pub(super) fn signs_of_life(&self) -> u64 {
        if self.held_up.load(Ordering::Relaxed) {
            self.note_sign_of_life();
        }
        self.signs_of_life.load(Ordering::Relaxed)
    }

    /// Takes in a frame.
    pub(super) async fn take_in(&self, frame: Frame) -> Result<(), LostReason> {
        let Frame { header, payload } = frame;
        match (header.program, header.kind) {
            (Program::KeepAlive, _) => {
                if header.procedure == keepalive::PING {
                    self.send(Header::keepalive(keepalive::PONG), Bytes::new(), None);
                }
                Ok(())
            }
            (_, Kind::Reply) => Ok(self.answer(header, payload)?),
            (_, Kind::Stream) => {
                self.stream_message(header, payload).await;
                Ok(())
            }
            (Program::Remote, Kind::Message) if header.procedure == message::CONNECTION_CLOSED => {
                Err(LostReason::DriverGone)
            }
            (Program::Remote, Kind::Message) => {
                self.events.take_in(header.procedure, &payload);
                Ok(())
            }
            (Program::Qemu, Kind::Message) => Ok(()),
            (_, Kind::Call) => Err(FrameError::Kind {
                kind: Kind::Call as u32,
            }
            .into()),
        }
    }

    fn answer(&self, header: Header, payload: Bytes) -> Result<(), FrameError> {
        let Table::Open { calls, streams, .. } = &mut *self.table() else {
            return Ok(());
        };
        let Some(pending) = calls.remove(&header.serial) else {
            tracing::debug!(serial = header.serial, "answer to a call that was not made");
            return Ok(());
        };
        let called = pending.procedure;
        if called.number != header.procedure || called.program != header.program {
            return Err(FrameError::Procedure {
                procedure: header.procedure,
                called: called.name,
            });
        }
        let abandoned = pending.answer.send((header.status, payload)).is_err();
        let opened_stream = streams.contains_key(&header.serial);
        if opened_stream && (abandoned || header.status == Status::Error) {
            streams.remove(&header.serial);
            if header.status == Status::Ok {
                self.send(
                    Header::stream(called, header.serial, Status::Error),
                    Bytes::new(),
                    None,
                );
            }
        }
        Ok(())
    }

    async fn stream_message(&self, header: Header, payload: Bytes) {
        let stream = match &*self.table() {
            Table::Open { streams, .. } => streams.get(&header.serial).cloned(),
            Table::Lost(_) => None,
        };
        let Some(stream) = stream else { return };
        let message = match header.status {
            Status::Continue => StreamMessage::Data(payload),
            Status::Ok => StreamMessage::Finished,
            Status::Error => StreamMessage::Failed(Decoder::whole(&payload).map(Box::new)),
        };
        self.held_up.store(true, Ordering::Relaxed);
        let taken = tokio::time::timeout(STREAM_PATIENCE, stream.send(message)).await;
        self.held_up.store(false, Ordering::Relaxed);
        if taken.is_err() {
            tracing::debug!(serial = header.serial, "stream given up: nobody reads it");
            self.forget_stream(header.serial);
            self.send(
                Header {
                    status: Status::Error,
                    ..header
                },
                Bytes::new(),
                None,
            );
        } else if header.status != Status::Continue {
            self.forget_stream(header.serial);
        }
    }
}

impl Header {
    fn call(procedure: &Procedure, serial: u32) -> Self {
        Self {
            program: procedure.program,
            procedure: procedure.number,
            kind: Kind::Call,
            serial,
            status: Status::Ok,
        }
    }

    pub(crate) fn stream(procedure: &Procedure, serial: u32, status: Status) -> Self {
        Self {
            kind: Kind::Stream,
            status,
            ..Self::call(procedure, serial)
        }
    }

    pub(super) fn keepalive(procedure: i32) -> Self {
        Self {
            program: Program::KeepAlive,
            procedure,
            kind: Kind::Message,
            serial: 0,
            status: Status::Ok,
        }
    }
}
