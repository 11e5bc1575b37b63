//! The console of a running domain: read, and typed into meanwhile.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;

use super::{PIECE, RawStream, State, StreamError};
use crate::Connection;
use crate::connection::StreamMessage;
use crate::connection::frame::{Header, Status};
use crate::error::{Error, Result};
use crate::procedure::Procedure;

/// The console of a running domain. Dropped, it lets go of the console.
#[derive(Debug)]
pub struct Console {
    stream: RawStream,
    keyboard: Keyboard,
}

impl Console {
    pub(crate) fn new(stream: RawStream) -> Self {
        let keyboard = Keyboard {
            connection: stream.connection.clone(),
            procedure: stream.procedure,
            serial: stream.serial,
            over: Arc::default(),
        };
        Self { stream, keyboard }
    }

    /// What the guest writes; `None` when the console is gone, as when the domain stops. Waits as long as the
    /// guest is silent.
    pub async fn read(&mut self) -> Result<Option<Bytes>> {
        if self.stream.state == State::Over {
            return Ok(None);
        }
        let read = match self.stream.incoming.recv().await {
            Some(StreamMessage::Data(piece)) if !piece.is_empty() => return Ok(Some(piece)),
            Some(StreamMessage::Data(_)) => Ok(None),
            Some(StreamMessage::Finished) => {
                self.stream.state = State::Over;
                Ok(None)
            }
            Some(StreamMessage::Failed(error)) => Err(self.stream.failed(error)),
            None => Err(self.stream.cut_off()),
        };
        self.keyboard.over.store(true, Ordering::Release);
        read
    }

    /// Types.
    pub async fn write(&mut self, keys: Bytes) -> Result<()> {
        self.keyboard.press(keys).await
    }

    /// What types while somebody reads.
    pub fn keyboard(&self) -> Keyboard {
        self.keyboard.clone()
    }

    /// Lets go of the console.
    pub fn close(self) {
        drop(self);
    }
}

impl Drop for Console {
    fn drop(&mut self) {
        self.keyboard.over.store(true, Ordering::Release);
    }
}

/// Types into a console, for as long as that is there.
#[derive(Debug, Clone)]
pub struct Keyboard {
    connection: Connection,
    procedure: &'static Procedure,
    serial: u32,
    over: Arc<AtomicBool>,
}

impl Keyboard {
    /// Types, as soon as there is room for it.
    ///
    /// # Errors
    /// If the console is gone, or the connection.
    pub async fn press(&self, mut keys: Bytes) -> Result<()> {
        while !keys.is_empty() {
            let piece = keys.split_to(keys.len().min(PIECE));
            let link = self.connection.link();
            let room = link.stream_room().await.map_err(|reason| Error::ConnectionLost {
                procedure: self.procedure.name,
                reason,
            })?;
            // The daemon knows nothing any more of a stream that is over, and would say so to nobody.
            if self.over.load(Ordering::Acquire) {
                return Err(Error::Stream {
                    procedure: self.procedure.name,
                    source: StreamError::EndedEarly,
                });
            }
            link.send(
                Header::stream(self.procedure, self.serial, Status::Continue),
                piece,
                Some(room),
            );
        }
        Ok(())
    }
}
