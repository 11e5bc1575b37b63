//! What goes over the simulator's socket: frames of a length (four bytes, big-endian) and so many bytes of JSON.
//!
//! A client sends [`Hello`], then calls, one at a time on each connection, each answered by one frame. After
//! [`Message::Upload`] come the chunks as frames of plain bytes, ended by an empty one; a client that closes its
//! half of the connection instead aborts the upload. After [`Message::Subscribe`] the server sends events until
//! either side closes.

mod error;

use std::io;

use labyard_driver::HostEvent;
use labyard_driver::ids::{Bytes, PoolName, VolumeName};
use labyard_driver::observed::Snapshot;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};

pub(crate) use error::WireError;

use crate::faults::Fault;
use crate::oplog::Operation;
use crate::request::{Reply, Request};
use crate::state::{ForeignHand, Seat};

/// The protocol that both ends must speak.
pub(crate) const PROTOCOL: u32 = 1;
/// The longest frame: a snapshot of some ten thousand machines fits.
const LONGEST: u32 = 256 << 20;

/// The first frame of a connection.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Hello {
    pub(crate) labyard_sim: u32,
    /// Tells one driver from another: all connections of one driver say the same.
    pub(crate) caller: String,
}

/// What a client asks.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Message {
    Call(Request),
    Upload {
        pool: PoolName,
        name: VolumeName,
        length: Bytes,
        deadline_ms: u64,
    },
    Subscribe,
    ReadConsole {
        seat: Seat,
        position: usize,
    },
    PressKeys {
        seat: Seat,
        keys: Vec<u8>,
    },
    LeaveConsole(Seat),
    OtherHand(ForeignHand),
    Order(Fault),
    ClearFaults,
    Operations,
    Look,
}

/// What a server answers.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Answer {
    Reply(Reply),
    Error(WireError),
    Event(HostEvent),
    Operations(Vec<Operation>),
    Look(Box<Snapshot>),
}

/// Writes one frame of JSON.
pub(crate) async fn write(to: &mut (impl AsyncWrite + Unpin), message: &impl Serialize) -> io::Result<()> {
    let json = serde_json::to_vec(message).map_err(io::Error::other)?;
    write_bytes(to, &json).await
}

/// Writes one frame of plain bytes.
pub(crate) async fn write_bytes(to: &mut (impl AsyncWrite + Unpin), bytes: &[u8]) -> io::Result<()> {
    let length = u32::try_from(bytes.len())
        .ok()
        .filter(|length| *length <= LONGEST);
    let length = length.ok_or_else(|| io::Error::other("the frame is too long"))?;
    let mut frame = Vec::with_capacity(bytes.len() + 4);
    frame.extend_from_slice(&length.to_be_bytes());
    frame.extend_from_slice(bytes);
    to.write_all(&frame).await
}

/// Reads one frame of JSON; `None` where the other side has closed between two frames.
pub(crate) async fn read<T: DeserializeOwned>(from: &mut (impl AsyncRead + Unpin)) -> io::Result<Option<T>> {
    match read_bytes(from).await? {
        Some(json) => serde_json::from_slice(&json).map(Some).map_err(io::Error::other),
        None => Ok(None),
    }
}

/// Reads one frame of plain bytes; `None` where the other side has closed between two frames.
pub(crate) async fn read_bytes(from: &mut (impl AsyncRead + Unpin)) -> io::Result<Option<Vec<u8>>> {
    let mut length = [0; 4];
    if from.read(&mut length[..1]).await? == 0 {
        return Ok(None);
    }
    from.read_exact(&mut length[1..]).await?;
    let length = u32::from_be_bytes(length);
    if length > LONGEST {
        return Err(io::Error::other(format!("a frame of {length} bytes is too long")));
    }
    // The other side's word alone must not allocate: the buffer grows with what really comes.
    let mut bytes = Vec::new();
    from.take(u64::from(length)).read_to_end(&mut bytes).await?;
    match bytes.len() as u64 == u64::from(length) {
        true => Ok(Some(bytes)),
        false => Err(io::ErrorKind::UnexpectedEof.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn frames_come_back_as_they_were_written_and_the_end_is_seen() {
        let mut bytes = Vec::new();
        write(&mut bytes, &Message::Subscribe).await.unwrap();
        write_bytes(&mut bytes, b"").await.unwrap();
        let mut from = &bytes[..];
        assert!(matches!(read(&mut from).await.unwrap(), Some(Message::Subscribe)));
        assert_eq!(read_bytes(&mut from).await.unwrap(), Some(Vec::new()));
        assert_eq!(read_bytes(&mut from).await.unwrap(), None);
    }

    #[tokio::test]
    async fn a_broken_or_oversized_frame_is_an_error() {
        for bad in [
            &b"\0\0\0\x05abc"[..],
            b"\0\0",
            b"\xff\xff\xff\xff",
            b"\0\0\0\x03abc",
        ] {
            let mut from = bad;
            assert!(read::<Message>(&mut from).await.is_err(), "{bad:?}");
        }
    }
}
