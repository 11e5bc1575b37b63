//! A scripted libvirt in the same process: says what a test tells it to, and fails loudly when it hears
//! something else.

use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio::sync::Mutex;

use crate::connection::frame::{HEAD, Header, Kind, Status};
use crate::procedure::{self as p, Procedure, Program};
use crate::xdr::Encode;
use crate::{ConnectError, ConnectOptions, ConnectUri, Connection, Duplex, KeepAlive, Transport};

/// The libvirt side of a connection.
pub(crate) struct Peer {
    pub(crate) stream: DuplexStream,
}

/// What the peer heard.
#[derive(Debug)]
pub(crate) struct Heard {
    pub(crate) procedure: i32,
    pub(crate) kind: u32,
    pub(crate) serial: u32,
    pub(crate) status: u32,
    pub(crate) payload: Vec<u8>,
}

struct Prepared(Mutex<Option<DuplexStream>>);

#[async_trait]
impl Transport for Prepared {
    async fn connect(&self, _deadline: tokio::time::Instant) -> Result<Box<dyn Duplex>, ConnectError> {
        match self.0.lock().await.take() {
            Some(stream) => Ok(Box::new(stream)),
            None => Err(ConnectError::NoUnixSockets),
        }
    }
}

/// Options that make a test wait no longer than it must.
pub(crate) fn options() -> ConnectOptions {
    ConnectOptions {
        connect_timeout: Duration::from_secs(2),
        deadline: Duration::from_secs(2),
        keep_alive: KeepAlive {
            interval: Duration::from_secs(5),
            count: 2,
        },
    }
}

/// A connection that is open, and its other side.
pub(crate) async fn connected() -> (Connection, Peer) {
    let (connection, peer) = opening("qemu:///system", |mut peer| async move {
        peer.greet().await;
        peer
    })
    .await;
    (connection.unwrap(), peer)
}

/// Opens a connection to a peer that follows a script.
pub(crate) async fn opening<F: Future>(
    uri: &str,
    script: impl FnOnce(Peer) -> F,
) -> (crate::Result<Connection>, F::Output) {
    let (ours, theirs) = tokio::io::duplex(64 * 1024);
    let transport = Prepared(Mutex::new(Some(ours)));
    let (uri, options): (ConnectUri, _) = (uri.parse().unwrap(), options());
    tokio::join!(
        Connection::open_by(&transport, &uri, &options),
        script(Peer { stream: theirs })
    )
}

pub(crate) fn encoded<T: Encode>(value: &T) -> Vec<u8> {
    crate::connection::frame::payload(value).unwrap().to_vec()
}

/// An error as libvirt sends it.
pub(crate) fn error_payload(code: i32, message: &str) -> Vec<u8> {
    let none: Option<String> = None;
    let mut bytes = encoded(&(code, 10i32, Some(message), 2i32));
    bytes.extend(encoded(&(&none, &none, &none, &none)));
    bytes.extend(encoded(&(0i32, 0i32, &none)));
    bytes
}

impl Peer {
    /// The opening as libvirtd answers it.
    pub(crate) async fn greet(&mut self) {
        self.answer_next(&p::AUTH_LIST, &vec![0i32]).await;
        self.answer_next(&p::CONNECT_SUPPORTS_FEATURE, &1i32).await;
        self.answer_next(&p::CONNECT_OPEN, &()).await;
        self.answer_next(&p::CONNECT_REGISTER_CLOSE_CALLBACK, &()).await;
    }

    /// The next frame.
    pub(crate) async fn hear(&mut self) -> Heard {
        let mut head = [0; HEAD];
        self.stream.read_exact(&mut head).await.unwrap();
        let word = |index: usize| u32::from_be_bytes(head[index * 4..index * 4 + 4].try_into().unwrap());
        let mut payload = vec![0; word(0) as usize - HEAD];
        self.stream.read_exact(&mut payload).await.unwrap();
        Heard {
            procedure: word(3) as i32,
            kind: word(4),
            serial: word(5),
            status: word(6),
            payload,
        }
    }

    /// The next frame, which must be a call to that procedure.
    pub(crate) async fn hear_call(&mut self, procedure: &Procedure) -> Heard {
        let heard = self.hear().await;
        assert_eq!(
            (heard.procedure, heard.kind),
            (procedure.number, 0),
            "expected {}",
            procedure.name
        );
        heard
    }

    /// Sends a frame.
    pub(crate) async fn say(&mut self, header: Header, payload: &[u8]) {
        let mut frame = header.head(payload.len()).to_vec();
        frame.extend_from_slice(payload);
        // A client that has hung up does not listen any more.
        let _ = self.stream.write_all(&frame).await;
    }

    pub(crate) async fn answer<T: Encode>(&mut self, procedure: &Procedure, serial: u32, value: &T) {
        let header = reply(procedure, serial, Status::Ok);
        self.say(header, &encoded(value)).await;
    }

    pub(crate) async fn refuse(&mut self, procedure: &Procedure, serial: u32, code: i32) {
        let header = reply(procedure, serial, Status::Error);
        self.say(header, &error_payload(code, "refused by the script"))
            .await;
    }

    pub(crate) async fn answer_next<T: Encode>(&mut self, procedure: &Procedure, value: &T) {
        let serial = self.hear_call(procedure).await.serial;
        self.answer(procedure, serial, value).await;
    }

    pub(crate) async fn stream(
        &mut self,
        procedure: &Procedure,
        serial: u32,
        status: Status,
        payload: &[u8],
    ) {
        self.say(Header::stream(procedure, serial, status), payload).await;
    }

    pub(crate) async fn event(&mut self, procedure: i32, payload: &[u8]) {
        let kind = Kind::Message;
        self.say(
            Header {
                program: Program::Remote,
                procedure,
                kind,
                serial: 0,
                status: Status::Ok,
            },
            payload,
        )
        .await;
    }

    pub(crate) async fn raw(&mut self, bytes: &[u8]) {
        let _ = self.stream.write_all(bytes).await;
    }
}

fn reply(procedure: &Procedure, serial: u32, status: Status) -> Header {
    let (program, procedure) = (procedure.program, procedure.number);
    Header {
        program,
        procedure,
        kind: Kind::Reply,
        serial,
        status,
    }
}

/// So many bytes of something.
pub(crate) fn filler(length: usize) -> Bytes {
    (0..length).map(|index| (index % 251) as u8).collect()
}
