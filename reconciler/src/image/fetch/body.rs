//! The body of an answer as a stream, and what the connection holds behind it.

use std::error::Error as _;
use std::io;
use std::time::Duration;

use bytes::Bytes;
use futures::{StreamExt, stream};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::client::conn::http1::Connection;
use hyper_util::rt::TokioIo;
use tokio::io::AsyncReadExt;
use tokio::time::timeout;
use tokio_util::task::AbortOnDropHandle;

use super::connect::BoxIo;
use super::{Fault, with_causes};
use crate::image::pace::ByteStream;

/// How long a server may take to close the connection that it was asked to close, before it is believed that
/// nothing follows.
const GRACE: Duration = Duration::from_millis(300);

/// What was found behind the body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Remains {
    Nothing,
    MoreBytes,
}

/// Drives a connection until its answer is through, then looks whether more follows.
pub(super) async fn drive(connection: Connection<TokioIo<BoxIo>, http_body_util::Empty<Bytes>>) -> Remains {
    // An error here is the body's error too, and told there.
    let Ok(parts) = connection.without_shutdown().await else {
        return Remains::Nothing;
    };
    if !parts.read_buf.is_empty() {
        return Remains::MoreBytes;
    }
    let mut io = parts.io.into_inner();
    match timeout(GRACE, io.read_u8()).await {
        Ok(Ok(_)) => Remains::MoreBytes,
        _ => Remains::Nothing,
    }
}

struct Reading {
    body: Incoming,
    length: Option<u64>,
    received: u64,
    remains: Option<AbortOnDropHandle<Remains>>,
}

/// The bytes of a body; an error at its end where the server promised another length than it sent.
pub(super) fn stream(body: Incoming, length: Option<u64>, remains: AbortOnDropHandle<Remains>) -> ByteStream {
    let reading = Reading {
        body,
        length,
        received: 0,
        remains: Some(remains),
    };
    stream::unfold(reading, |mut reading| async {
        let item = reading.next().await?;
        Some((item, reading))
    })
    .boxed()
}

impl Reading {
    async fn next(&mut self) -> Option<Result<Bytes, Fault>> {
        while let Some(frame) = self.body.frame().await {
            match frame.map(hyper::body::Frame::into_data) {
                Ok(Ok(data)) => {
                    self.received += data.len() as u64;
                    return Some(Ok(data));
                }
                // Trailers: nothing an image needs.
                Ok(Err(_)) => {}
                Err(error) => return Some(Err(self.broken(&error))),
            }
        }
        let remains = self.remains.take()?.await.unwrap_or(Remains::Nothing);
        match (remains, self.length) {
            (Remains::MoreBytes, Some(promised)) => Some(Err(Fault::TooLong { promised })),
            _ => None,
        }
    }

    fn broken(&self, error: &hyper::Error) -> Fault {
        let received = self.received;
        match self.length {
            _ if !ended_early(error) => Fault::Read {
                received,
                reason: with_causes(error),
            },
            Some(promised) => Fault::TooShort { promised, received },
            None => Fault::BrokeOff { received },
        }
    }
}

fn ended_early(error: &hyper::Error) -> bool {
    let io_error = error
        .source()
        .and_then(|source| source.downcast_ref::<io::Error>());
    error.is_incomplete_message()
        || io_error.is_some_and(|error| error.kind() == io::ErrorKind::UnexpectedEof)
}
