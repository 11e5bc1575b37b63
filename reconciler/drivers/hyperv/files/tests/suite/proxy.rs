//! Somebody on the way to an SMB server, who sees each message and may change it, keep it, or cut the connection.

use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// Where a message goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    ToHost,
    Back,
}

/// What becomes of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    Pass,
    Keep,
    Cut,
}

/// Decides about a message; it may change it first.
pub(crate) type Rule = Box<dyn FnMut(Way, &mut Vec<u8>) -> Fate + Send>;

pub(crate) struct Proxy {
    pub(crate) port: u16,
    task: JoinHandle<()>,
}

impl Proxy {
    pub(crate) async fn start(host: u16, rule: Rule) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let rule = Arc::new(Mutex::new(rule));
        let task = tokio::spawn(async move {
            while let Ok((near, _)) = listener.accept().await {
                let far = TcpStream::connect(("127.0.0.1", host)).await.unwrap();
                let (near_in, near_out) = near.into_split();
                let (far_in, far_out) = far.into_split();
                let (out, back) = (Arc::clone(&rule), Arc::clone(&rule));
                tokio::spawn(async move {
                    // The end of one way is the end of both.
                    tokio::select! {
                        () = carry(Way::ToHost, near_in, far_out, out) => {}
                        () = carry(Way::Back, far_in, near_out, back) => {}
                    }
                });
            }
        });
        Self { port, task }
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn carry(way: Way, mut from: OwnedReadHalf, mut to: OwnedWriteHalf, rule: Arc<Mutex<Rule>>) {
    while let Ok(length) = from.read_u32().await {
        let mut message = vec![0; length as usize];
        if from.read_exact(&mut message).await.is_err() {
            return;
        }
        let fate = (rule.lock().unwrap())(way, &mut message);
        match fate {
            Fate::Cut => return,
            Fate::Keep => continue,
            Fate::Pass => {}
        }
        let length = u32::try_from(message.len()).unwrap();
        if to.write_u32(length).await.is_err() || to.write_all(&message).await.is_err() {
            return;
        }
    }
}

/// The command of a message that is not sealed.
pub(crate) fn command(message: &[u8]) -> Option<u16> {
    let header = message.first_chunk::<64>()?;
    header
        .starts_with(b"\xFESMB")
        .then(|| u16::from_le_bytes([header[12], header[13]]))
}

pub(crate) const NEGOTIATE: u16 = 0;
pub(crate) const SESSION_SETUP: u16 = 1;
pub(crate) const READ: u16 = 8;
pub(crate) const WRITE: u16 = 9;
pub(crate) const QUERY_DIRECTORY: u16 = 14;
pub(crate) const SET_INFO: u16 = 17;
pub(crate) const CREATE: u16 = 5;
