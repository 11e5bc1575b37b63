//! The connection's task: reads, writes and watches for signs of life until one of the three ends.

use std::convert::Infallible;
use std::io;
use std::sync::Arc;

use bytes::{BufMut, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufWriter};
use tokio::sync::mpsc;

use super::KeepAlive;
use super::frame::{self, Frame, HEAD, Header};
use super::link::{Link, LostReason, Outgoing};
use crate::procedure::keepalive;
use crate::transport::Duplex;

/// The first allocation for a frame; a longer one grows as its bytes arrive, so that a length alone costs
/// nothing.
const READ_STEP: usize = 64 * 1024;

/// Runs a connection to its end.
pub(super) async fn run(
    stream: Box<dyn Duplex>,
    link: Arc<Link>,
    queue: mpsc::UnboundedReceiver<Outgoing>,
    keep_alive: KeepAlive,
) {
    let (input, output) = tokio::io::split(stream);
    let end = tokio::select! {
        end = read(input, &link) => end,
        end = write(output, &link, queue) => end,
        end = watch(&link, keep_alive) => end,
    };
    let Err(reason) = end;
    link.lose(reason);
}

async fn read(mut input: impl AsyncRead + Unpin, link: &Link) -> Result<Infallible, LostReason> {
    loop {
        let frame = next_frame(&mut input, link).await?;
        link.take_in(frame).await?;
    }
}

async fn next_frame(input: &mut (impl AsyncRead + Unpin), link: &Link) -> Result<Frame, LostReason> {
    let mut length = [0; 4];
    input.read_exact(&mut length).await.map_err(lost)?;
    link.note_sign_of_life();
    let rest = frame::rest_after(u32::from_be_bytes(length))?;
    let mut words = [0; HEAD - 4];
    input.read_exact(&mut words).await.map_err(lost)?;
    let header = Header::parse(words)?;
    let wanted = rest - words.len();
    let mut payload = BytesMut::with_capacity(wanted.min(READ_STEP));
    while payload.len() < wanted {
        let left = wanted - payload.len();
        if input
            .read_buf(&mut (&mut payload).limit(left))
            .await
            .map_err(lost)?
            == 0
        {
            return Err(LostReason::ClosedByPeer);
        }
        link.note_sign_of_life();
    }
    Ok(Frame {
        header,
        payload: payload.freeze(),
    })
}

async fn write(
    output: impl AsyncWrite + Unpin,
    link: &Link,
    mut queue: mpsc::UnboundedReceiver<Outgoing>,
) -> Result<Infallible, LostReason> {
    let mut output = BufWriter::new(output);
    loop {
        let next = queue.recv().await.ok_or(LostReason::ClosedHere)?;
        output
            .write_all(&next.header.head(next.payload.len()))
            .await
            .map_err(lost)?;
        output.write_all(&next.payload).await.map_err(lost)?;
        // Each frame leaves by itself, and so is a TLS record by itself. Of a record with several, the daemon reads as
        // many as it works on at once and forgets the rest until something new arrives (seen with 11.3: 5 s).
        output.flush().await.map_err(lost)?;
        if next.room.is_some() {
            // While the daemon takes in data it may read nothing else, pings included.
            link.note_sign_of_life();
        }
    }
}

async fn watch(link: &Link, keep_alive: KeepAlive) -> Result<Infallible, LostReason> {
    let mut heard = link.signs_of_life();
    let mut unanswered = 0;
    loop {
        tokio::time::sleep(keep_alive.interval).await;
        let now = link.signs_of_life();
        if now != heard {
            heard = now;
            unanswered = 0;
            continue;
        }
        if unanswered == keep_alive.count {
            return Err(LostReason::Silent {
                silence: keep_alive.interval * (unanswered + 1),
            });
        }
        unanswered += 1;
        link.send(Header::keepalive(keepalive::PING), bytes::Bytes::new(), None);
    }
}

fn lost(error: io::Error) -> LostReason {
    match error.kind() {
        io::ErrorKind::UnexpectedEof
        | io::ErrorKind::ConnectionReset
        | io::ErrorKind::BrokenPipe
        | io::ErrorKind::ConnectionAborted => LostReason::ClosedByPeer,
        _ => LostReason::Io(Arc::new(error)),
    }
}
