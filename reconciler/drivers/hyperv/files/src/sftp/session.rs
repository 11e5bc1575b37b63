//! One SFTP session over a stream: requests side by side, answers by their numbers.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, ReadHalf, WriteHalf};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::packet::{self, Answer, FSYNC, HELLO, LIMITS, LONGEST, Request, STATVFS};
use crate::dial::Stream;
use crate::error::Trouble;

/// Requests that wait for the stream to take them.
const QUEUE: usize = 16;
/// What each server has to take. draft-ietf-secsh-filexfer-02, 3.
const LEAST: usize = 32_768;
/// More in one packet is not faster.
const MOST: usize = 255 << 10;

/// Why a request has no answer.
#[derive(Debug)]
pub(super) enum Fail {
    /// The server says no.
    Status { code: u32, message: String },
    /// There is no answer: it may have been done.
    Trouble(Trouble),
    /// It was never sent.
    NotSent(Trouble),
    /// The answer is another one than asked for.
    Malformed(String),
}

/// A session.
pub(super) struct Session {
    place: String,
    outgoing: mpsc::Sender<Vec<u8>>,
    shared: Arc<Shared>,
    next: AtomicU32,
    tasks: [JoinHandle<()>; 2],
    pub(super) can_flush: bool,
    pub(super) can_measure: bool,
    /// What one read and one write may hold.
    pub(super) read: usize,
    pub(super) write: usize,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    waiting: HashMap<u32, oneshot::Sender<Answer>>,
    ended: Option<String>,
}

impl Shared {
    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Nothing more comes: who waits hears of it by the loss of his sender.
    fn end(&self, reason: String) {
        let mut state = self.state();
        state.ended.get_or_insert(reason);
        state.waiting.clear();
    }
}

impl Session {
    /// Greets the server, and asks for what it can.
    pub(super) async fn begin(
        stream: Box<dyn Stream>,
        place: String,
        within: Duration,
    ) -> Result<Self, Trouble> {
        let (mut reading, mut writing) = tokio::io::split(stream);
        let greeting = async {
            writing.write_all(&HELLO).await?;
            writing.flush().await?;
            received(&mut reading).await
        };
        let protocol = |reason: &str| Trouble::Protocol {
            place: place.clone(),
            reason: reason.to_owned(),
        };
        let greeted = timeout(within, greeting).await;
        let greeted = greeted.map_err(|_| Trouble::Silent {
            place: place.clone(),
            after: within,
        })?;
        let welcome = greeted.map_err(|error| Trouble::Broken {
            place: place.clone(),
            reason: format!("{error}; does its SSH server offer the subsystem sftp?"),
        })?;
        let (version, extensions) =
            packet::welcome(&welcome).ok_or_else(|| protocol("its first packet is no version"))?;
        if version != 3 {
            return Err(protocol(&format!("it speaks version {version} of SFTP")));
        }
        let (outgoing, queue) = mpsc::channel(QUEUE);
        let shared = Arc::new(Shared::default());
        let tasks = [
            tokio::spawn(send(writing, queue, Arc::clone(&shared))),
            tokio::spawn(receive(reading, Arc::clone(&shared))),
        ];
        let has = |name: &str| extensions.iter().any(|other| other == name);
        let mut session = Self {
            outgoing,
            shared,
            next: AtomicU32::new(1),
            tasks,
            can_flush: has(FSYNC),
            can_measure: has(STATVFS),
            read: LEAST,
            write: LEAST,
            place,
        };
        if has(LIMITS) {
            session.set_limits(within).await?;
        }
        Ok(session)
    }

    async fn set_limits(&mut self, within: Duration) -> Result<(), Trouble> {
        match self.ask(Request::limits(), within).await {
            Ok(Answer::Extended(bytes)) => {
                let Some((read, write)) = packet::largest(&bytes) else {
                    return Ok(());
                };
                // Zero says that there is no limit.
                let bounded = |limit: u64| match usize::try_from(limit) {
                    Ok(0) | Err(_) => MOST,
                    Ok(limit) => limit.min(MOST),
                };
                self.read = bounded(read);
                self.write = bounded(write);
                Ok(())
            }
            Err(Fail::Trouble(trouble) | Fail::NotSent(trouble)) => Err(trouble),
            // What every server takes will do.
            Ok(_) | Err(_) => Ok(()),
        }
    }

    /// Whether nothing more can be asked over it.
    pub(super) fn is_over(&self) -> bool {
        self.shared.state().ended.is_some()
    }

    fn broken(&self) -> Trouble {
        let ended = self.shared.state().ended.clone();
        Trouble::Broken {
            place: self.place.clone(),
            reason: ended.unwrap_or_else(|| "it was given up".to_owned()),
        }
    }

    /// Asks, and waits for the answer.
    pub(super) async fn ask(&self, request: Request, within: Duration) -> Result<Answer, Fail> {
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        let (sender, receiver) = oneshot::channel();
        {
            let mut state = self.shared.state();
            if state.ended.is_some() {
                drop(state);
                return Err(Fail::NotSent(self.broken()));
            }
            state.waiting.insert(id, sender);
        }
        let _until_answered = Waiting {
            shared: &self.shared,
            id,
        };
        let asked = async {
            if self.outgoing.send(request.framed(id)).await.is_err() {
                return Err(());
            }
            receiver.await.map_err(|_| ())
        };
        match timeout(within, asked).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(())) => Err(Fail::Trouble(self.broken())),
            Err(_) => {
                self.shared
                    .end(format!("it has not answered for {} s", within.as_secs()));
                Err(Fail::Trouble(Trouble::Silent {
                    place: self.place.clone(),
                    after: within,
                }))
            }
        }
    }
}

/// Somebody who waits for an answer, and may give up.
struct Waiting<'a> {
    shared: &'a Shared,
    id: u32,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.shared.state().waiting.remove(&self.id);
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        for task in &self.tasks {
            task.abort();
        }
    }
}

async fn received(stream: &mut ReadHalf<Box<dyn Stream>>) -> std::io::Result<Vec<u8>> {
    let length = stream.read_u32().await? as usize;
    if length > LONGEST {
        let what = format!("a packet of {length} bytes came");
        return Err(std::io::Error::new(std::io::ErrorKind::InvalidData, what));
    }
    let mut packet = vec![0; length];
    stream.read_exact(&mut packet).await?;
    Ok(packet)
}

async fn receive(mut stream: ReadHalf<Box<dyn Stream>>, shared: Arc<Shared>) {
    let reason = loop {
        let packet = match received(&mut stream).await {
            Ok(packet) => packet,
            Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => {
                break "the host closed it".to_owned();
            }
            Err(error) => break error.to_string(),
        };
        let Some((id, answer)) = packet::answer(&packet) else {
            break "a packet came that is none of SFTP".to_owned();
        };
        let waiting = shared.state().waiting.remove(&id);
        if let Some(waiting) = waiting {
            // Who has given up does not want it any more.
            let _given_up = waiting.send(answer);
        }
    };
    shared.end(reason);
}

async fn send(
    mut stream: WriteHalf<Box<dyn Stream>>,
    mut queue: mpsc::Receiver<Vec<u8>>,
    shared: Arc<Shared>,
) {
    while let Some(packet) = queue.recv().await {
        let sent = async {
            stream.write_all(&packet).await?;
            match queue.is_empty() {
                true => stream.flush().await,
                false => Ok(()),
            }
        };
        if let Err(error) = sent.await {
            shared.end(error.to_string());
            return;
        }
    }
}
