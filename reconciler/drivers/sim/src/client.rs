//! The driver's end of the socket: a connection for each call under way, kept for the next one.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use futures::{FutureExt as _, StreamExt as _};
use labyard_driver::ids::{Bytes, PoolName, VolumeName};
use labyard_driver::{DriverError, HostEvent, UploadStream};
use tokio::io::AsyncWriteExt as _;
use tokio::net::UnixStream;
use tokio::sync::broadcast;

use crate::request::{Reply, Request};
use crate::state::{ConsoleStep, Seat};
use crate::wire::{self, Answer, Hello, Message, PROTOCOL};

/// How long an answer may take; longer than what a server takes to give up on its own.
const DEADLINE: Duration = Duration::from_secs(40);
/// Connections that are kept for later.
const IDLE_KEPT: usize = 32;
/// Events that a receiver may fall behind before it loses some.
const EVENTS_KEPT: usize = 4096;

/// A simulated host behind a socket. Nothing is connected before the first call, and a server that was restarted
/// is found again by the next one.
#[derive(Debug)]
pub(crate) struct Client {
    socket: PathBuf,
    caller: String,
    idle: Mutex<Vec<UnixStream>>,
}

impl Client {
    pub(crate) fn new(socket: &Path) -> Self {
        static CLIENTS: AtomicU64 = AtomicU64::new(1);
        let number = CLIENTS.fetch_add(1, Ordering::Relaxed);
        Self {
            socket: socket.to_owned(),
            caller: format!("{}.{number}", std::process::id()),
            idle: Mutex::new(Vec::new()),
        }
    }

    pub(crate) async fn call(&self, request: Request) -> Result<Reply, DriverError> {
        let doing = format!("{:?} {}", request.verb(), request.subject());
        match self.ask(&doing, &Message::Call(request)).await? {
            Answer::Reply(reply) => Ok(reply),
            _ => Err(lost(&doing, "the simulator answered something else")),
        }
    }

    pub(crate) async fn read_console(
        &self,
        seat: &Seat,
        position: usize,
    ) -> Result<ConsoleStep, DriverError> {
        let (seat, doing) = (seat.clone(), "reading the console");
        match self.ask(doing, &Message::ReadConsole { seat, position }).await? {
            Answer::Reply(Reply::ConsoleStep(step)) => Ok(step),
            _ => Err(lost(doing, "the simulator answered something else")),
        }
    }

    pub(crate) async fn press_keys(&self, seat: &Seat, keys: &[u8]) -> Result<(), DriverError> {
        let message = Message::PressKeys {
            seat: seat.clone(),
            keys: keys.to_vec(),
        };
        self.ask("typing into the console", &message).await.map(drop)
    }

    pub(crate) async fn leave_console(&self, seat: &Seat) -> Result<(), DriverError> {
        let message = Message::LeaveConsole(seat.clone());
        self.ask("letting go of the console", &message).await.map(drop)
    }

    /// One question, one answer.
    pub(crate) async fn ask(&self, doing: &str, message: &Message) -> Result<Answer, DriverError> {
        let exchange = async {
            let mut connection = self.connection().await?;
            let broken = |error: io::Error| lost(doing, &error.to_string());
            wire::write(&mut connection, message).await.map_err(broken)?;
            let answer = wire::read(&mut connection).await.map_err(broken)?;
            let answer = answer.ok_or_else(|| lost(doing, "the simulator closed the connection"))?;
            self.keep(connection);
            settled(answer)
        };
        let answer = tokio::time::timeout(DEADLINE, exchange).await;
        answer.unwrap_or_else(|_| Err(lost(doing, "the deadline has passed")))
    }

    pub(crate) async fn upload(
        &self,
        (pool, name): (PoolName, VolumeName),
        length: Bytes,
        stream: UploadStream,
        deadline: Duration,
    ) -> Result<(), DriverError> {
        let doing = format!("Upload {name}");
        let source = format!("what is uploaded to volume {name}");
        let deadline_ms = u64::try_from(deadline.as_millis()).unwrap_or(u64::MAX);
        let message = Message::Upload {
            pool,
            name,
            length,
            deadline_ms,
        };
        let exchange = async {
            let mut connection = self.connection().await?;
            let broken = |error: io::Error| lost(&doing, &error.to_string());
            wire::write(&mut connection, &message).await.map_err(broken)?;
            let (mut from, mut to) = connection.split();
            // The answer may come before the stream has ended: an upload that goes wrong is not read to its end.
            let answer = wire::read(&mut from);
            tokio::pin!(answer);
            let answer = tokio::select! {
                biased;
                answer = &mut answer => answer,
                sent = send_chunks(&mut to, stream) => match sent {
                    Err(Unsent::Source(cause)) => {
                        // The server lets go of the volume before it answers, whatever it answers.
                        to.shutdown().await.map_err(broken)?;
                        drop(answer.await);
                        return Err(DriverError::Source { what: source, cause });
                    }
                    // A server that has given up closes its end; its answer says why.
                    Err(Unsent::Broken) | Ok(()) => answer.await,
                },
            };
            let answer = answer.map_err(broken)?;
            settled(answer.ok_or_else(|| lost(&doing, "the simulator closed the connection"))?)
        };
        let answer = tokio::time::timeout(deadline, exchange).await;
        answer.unwrap_or_else(|_| Err(lost(&doing, "the deadline has passed")))?;
        Ok(())
    }

    pub(crate) async fn subscribe(&self) -> Result<broadcast::Receiver<HostEvent>, DriverError> {
        let begin = async {
            let mut connection = self.connection().await?;
            let broken = |error: io::Error| lost("Events", &error.to_string());
            wire::write(&mut connection, &Message::Subscribe)
                .await
                .map_err(broken)?;
            let answer: Option<Answer> = wire::read(&mut connection).await.map_err(broken)?;
            settled(answer.ok_or_else(|| lost("Events", "the simulator closed the connection"))?)?;
            Ok(connection)
        };
        let begun = tokio::time::timeout(DEADLINE, begin).await;
        let connection = begun.unwrap_or_else(|_| Err(lost("Events", "the deadline has passed")))?;
        let (sender, receiver) = broadcast::channel(EVENTS_KEPT);
        tokio::spawn(forward_events(connection, sender));
        Ok(receiver)
    }

    /// An idle connection that is still open, or a new one.
    async fn connection(&self) -> Result<UnixStream, DriverError> {
        loop {
            let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
            let Some(idle) = idle else { break };
            if is_open(&idle) {
                return Ok(idle);
            }
        }
        let unreachable = |error: io::Error| DriverError::Unreachable {
            message: self.advice(&error),
        };
        let mut connection = UnixStream::connect(&self.socket).await.map_err(unreachable)?;
        let hello = Hello {
            labyard_sim: PROTOCOL,
            caller: self.caller.clone(),
        };
        wire::write(&mut connection, &hello).await.map_err(unreachable)?;
        Ok(connection)
    }

    fn keep(&self, connection: UnixStream) {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.len() < IDLE_KEPT {
            idle.push(connection);
        }
    }

    fn advice(&self, error: &io::Error) -> String {
        let socket = self.socket.display();
        match error.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => {
                format!(
                    "no simulator listens on {socket} ({error}); start one: labyard sim --socket {socket}"
                )
            }
            io::ErrorKind::PermissionDenied => {
                format!(
                    "the socket {socket} belongs to somebody else ({error}); only the user who started the simulator may use it"
                )
            }
            _ => format!("{socket}: {error}"),
        }
    }
}

/// Whether an idle connection is still open: nothing is ever sent unasked, so that there is nothing to read on it.
fn is_open(idle: &UnixStream) -> bool {
    let nothing =
        |result: io::Result<usize>| result.is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock);
    // Readiness may be left over from the last answer; only a read tells.
    idle.readable().now_or_never().is_none() || nothing(idle.try_read(&mut [0]))
}

enum Unsent {
    Source(Box<dyn std::error::Error + Send + Sync>),
    Broken,
}

async fn send_chunks(
    to: &mut tokio::net::unix::WriteHalf<'_>,
    mut stream: UploadStream,
) -> Result<(), Unsent> {
    while let Some(chunk) = stream.next().await.transpose().map_err(Unsent::Source)? {
        // An empty frame is the end.
        if !chunk.is_empty() {
            wire::write_bytes(to, &chunk).await.map_err(|_| Unsent::Broken)?;
        }
    }
    wire::write_bytes(to, b"").await.map_err(|_| Unsent::Broken)
}

async fn forward_events(mut connection: UnixStream, sender: broadcast::Sender<HostEvent>) {
    loop {
        let answer = tokio::select! {
            () = sender.closed() => return,
            answer = wire::read(&mut connection) => answer,
        };
        let (event, last) = match answer {
            Ok(Some(Answer::Event(event))) => (event, false),
            _ => (HostEvent::Lost, true),
        };
        // Nobody listening any more is seen at the top.
        drop(sender.send(event));
        if last {
            return;
        }
    }
}

fn settled(answer: Answer) -> Result<Answer, DriverError> {
    match answer {
        Answer::Error(error) => Err(error.into()),
        answer => Ok(answer),
    }
}

fn lost(doing: &str, message: &str) -> DriverError {
    DriverError::ReplyLost {
        doing: doing.to_owned(),
        message: message.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_connection_is_open_after_an_answer_and_not_once_the_server_has_gone() {
        let (mut ours, mut theirs) = UnixStream::pair().unwrap();
        for _ in 0..3 {
            wire::write(&mut theirs, &Message::Look).await.unwrap();
            let answer: Option<Message> = wire::read(&mut ours).await.unwrap();
            assert!(matches!(answer, Some(Message::Look)));
            assert!(is_open(&ours));
        }
        drop(theirs);
        ours.readable().await.unwrap();
        assert!(!is_open(&ours));
    }
}
