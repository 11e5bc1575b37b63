//! Data streams: volumes up and down, consoles ([`console`]).
//!
//! A stream shares its connection with calls. While the daemon is busy writing what it was sent it may read
//! nothing else from that connection, and while a consumer is slow this side reads nothing else; so give a
//! large upload or download a connection of its own.
//!
//! Each step has the deadline of the connection handle that opened the stream. A stream that is dropped
//! before its end is aborted.

use std::num::NonZeroU64;

use bytes::{BufMut, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::sync::mpsc;

use crate::Connection;
use crate::connection::StreamMessage;
use crate::connection::frame::{HEAD, Header, Status};
use crate::error::{Error, Result};
use crate::procedure::Procedure;

/// The most data in one message: with its head it is 256 KiB, which the daemon takes in best.
const PIECE: usize = 256 * 1024 - HEAD;

pub(crate) mod console;

/// A rule of streams that was broken, on this side or on the other.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StreamError {
    /// More was to be sent than was announced; nothing of the surplus left.
    #[error("{surplus} bytes more than the {length} that were announced")]
    TooLong {
        /// What was announced.
        length: u64,
        /// How much too much.
        surplus: u64,
    },
    /// Less was sent or came than was announced.
    #[error("only {done} of the {length} bytes that were announced")]
    TooShort {
        /// What was announced.
        length: u64,
        /// What came.
        done: u64,
    },
    /// The daemon ended the stream by itself.
    #[error("the daemon ended the stream early")]
    EndedEarly,
    /// This side was too slow to take in what came.
    #[error("what came was not read in time, so the stream was given up")]
    TooSlow,
    /// The source of an upload could not be read.
    #[error("the data to send could not be read: {0}")]
    Source(String),
}

/// A stream without any rule about its contents.
#[derive(Debug)]
pub(crate) struct RawStream {
    connection: Connection,
    procedure: &'static Procedure,
    serial: u32,
    incoming: mpsc::Receiver<StreamMessage>,
    state: State,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Data may go and come.
    Open,
    /// Nothing more is to be said about it to the daemon.
    Over,
}

impl RawStream {
    pub(crate) fn new(
        connection: Connection,
        procedure: &'static Procedure,
        serial: u32,
        incoming: mpsc::Receiver<StreamMessage>,
    ) -> Self {
        Self {
            connection,
            procedure,
            serial,
            incoming,
            state: State::Open,
        }
    }

    fn error(&self, source: StreamError) -> Error {
        Error::Stream {
            procedure: self.procedure.name,
            source,
        }
    }

    fn timeout(&self) -> Error {
        Error::Timeout {
            procedure: self.procedure.name,
            after: self.connection.deadline(),
        }
    }

    /// Sends one piece, as soon as there is room for it.
    async fn send(&mut self, piece: Bytes) -> Result<()> {
        self.check_for_failure()?;
        let link = self.connection.link();
        let room = tokio::time::timeout(self.connection.deadline(), link.stream_room())
            .await
            .map_err(|_| self.timeout())?
            .map_err(|reason| Error::ConnectionLost {
                procedure: self.procedure.name,
                reason,
            })?;
        link.send(
            Header::stream(self.procedure, self.serial, Status::Continue),
            piece,
            Some(room),
        );
        Ok(())
    }

    /// Whether the daemon has already given the stream up, seen without waiting.
    fn check_for_failure(&mut self) -> Result<()> {
        match self.incoming.try_recv() {
            Ok(StreamMessage::Failed(error)) => Err(self.failed(error)),
            Ok(StreamMessage::Finished) => {
                self.state = State::Over;
                Err(self.error(StreamError::EndedEarly))
            }
            Ok(StreamMessage::Data(_)) | Err(mpsc::error::TryRecvError::Empty) => Ok(()),
            Err(mpsc::error::TryRecvError::Disconnected) => Err(self.cut_off()),
        }
    }

    /// Waits for what comes next.
    async fn next(&mut self) -> Result<StreamMessage> {
        let next = tokio::time::timeout(self.connection.deadline(), self.incoming.recv());
        match next.await.map_err(|_| self.timeout())? {
            Some(StreamMessage::Failed(error)) => Err(self.failed(error)),
            Some(message) => Ok(message),
            None => Err(self.cut_off()),
        }
    }

    fn failed(&mut self, error: Result<Box<crate::ServerError>, crate::xdr::DecodeError>) -> Error {
        self.state = State::Over;
        let procedure = self.procedure.name;
        match error {
            Ok(error) => Error::Server { procedure, error },
            Err(source) => Error::Decode { procedure, source },
        }
    }

    /// Nothing comes any more: with the connection gone that is why, else this side was too slow.
    fn cut_off(&mut self) -> Error {
        self.state = State::Over;
        let link = self.connection.link();
        if link.is_lost() {
            Error::ConnectionLost {
                procedure: self.procedure.name,
                reason: link.reason(),
            }
        } else {
            self.error(StreamError::TooSlow)
        }
    }

    /// Tells the daemon that the stream is complete and waits until it agrees.
    async fn finish(&mut self) -> Result<()> {
        self.check_for_failure()?;
        let header = Header::stream(self.procedure, self.serial, Status::Ok);
        self.connection.link().send(header, Bytes::new(), None);
        let deadline = self.connection.deadline();
        let agreed = async {
            while !matches!(self.next().await?, StreamMessage::Finished) {}
            self.state = State::Over;
            Ok(())
        };
        // One deadline around all: a daemon that goes on sending must not keep this waiting.
        let outcome = tokio::time::timeout(deadline, agreed).await;
        outcome.unwrap_or_else(|_| Err(self.timeout()))
    }
}

impl Drop for RawStream {
    fn drop(&mut self) {
        if self.state == State::Open {
            self.connection.link().abort_stream(self.procedure, self.serial);
        }
    }
}

/// Writes a volume: exactly as many bytes as were announced.
#[derive(Debug)]
pub struct Upload {
    stream: RawStream,
    length: u64,
    sent: u64,
}

impl Upload {
    pub(crate) fn new(stream: RawStream, length: NonZeroU64) -> Self {
        Self {
            stream,
            length: length.get(),
            sent: 0,
        }
    }

    /// How many bytes were handed over so far.
    pub fn sent(&self) -> u64 {
        self.sent
    }

    /// Sends data. What would go over the announced length is refused as a whole.
    pub async fn write(&mut self, mut data: Bytes) -> Result<()> {
        let end = self.sent.saturating_add(data.len() as u64);
        if end > self.length {
            let surplus = end - self.length;
            return Err(self.stream.error(StreamError::TooLong {
                length: self.length,
                surplus,
            }));
        }
        while !data.is_empty() {
            let piece = data.split_to(data.len().min(PIECE));
            let length = piece.len() as u64;
            self.stream.send(piece).await?;
            self.sent += length;
        }
        Ok(())
    }

    /// Sends all that a source gives.
    pub async fn write_from(&mut self, source: &mut (impl AsyncRead + Unpin)) -> Result<()> {
        loop {
            let mut piece = BytesMut::with_capacity(PIECE);
            while piece.len() < PIECE {
                let left = PIECE - piece.len();
                let read = source.read_buf(&mut (&mut piece).limit(left)).await;
                if read.map_err(|error| self.stream.error(StreamError::Source(error.to_string())))? == 0 {
                    break;
                }
            }
            if piece.is_empty() {
                return Ok(());
            }
            self.write(piece.freeze()).await?;
        }
    }

    /// Ends the upload and waits until the daemon has all of it. If less was sent than announced, aborts.
    pub async fn finish(mut self) -> Result<()> {
        if self.sent < self.length {
            let error = StreamError::TooShort {
                length: self.length,
                done: self.sent,
            };
            return Err(self.stream.error(error));
        }
        self.stream.finish().await
    }

    /// Gives the upload up; what was written stays written.
    pub fn abort(self) {
        drop(self);
    }
}

/// Reads a volume.
#[derive(Debug)]
pub struct Download {
    stream: RawStream,
    length: Option<u64>,
    received: u64,
}

impl Download {
    pub(crate) fn new(stream: RawStream, length: Option<NonZeroU64>) -> Self {
        Self {
            stream,
            length: length.map(NonZeroU64::get),
            received: 0,
        }
    }

    /// How many bytes came so far.
    pub fn received(&self) -> u64 {
        self.received
    }

    /// The next piece; `None` after the last one, when the daemon has also agreed that it was the last.
    pub async fn next(&mut self) -> Result<Option<Bytes>> {
        if self.stream.state == State::Over {
            return Ok(None);
        }
        match self.stream.next().await? {
            StreamMessage::Data(piece) if piece.is_empty() => {
                self.check_length()?;
                self.stream.finish().await?;
                Ok(None)
            }
            StreamMessage::Data(piece) => self.count(piece).map(Some),
            StreamMessage::Finished | StreamMessage::Failed(_) => {
                self.stream.state = State::Over;
                self.check_length()?;
                Ok(None)
            }
        }
    }

    fn check_length(&self) -> Result<()> {
        match self.length {
            Some(length) if self.received < length => Err(self.stream.error(StreamError::TooShort {
                length,
                done: self.received,
            })),
            _ => Ok(()),
        }
    }

    fn count(&mut self, piece: Bytes) -> Result<Bytes> {
        self.received = self.received.saturating_add(piece.len() as u64);
        match self.length {
            Some(length) if self.received > length => {
                let surplus = self.received - length;
                Err(self.stream.error(StreamError::TooLong { length, surplus }))
            }
            _ => Ok(piece),
        }
    }

    /// Gives the download up.
    pub fn abort(self) {
        drop(self);
    }
}

#[cfg(test)]
mod tests;
