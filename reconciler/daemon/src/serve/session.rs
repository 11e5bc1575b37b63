//! A session at a console: what comes over a WebSocket is typed, and what the machine says goes back. Both go on at the same
//! time, so that neither waits for the other. It ends when one of them does, when who types may not any more, when the
//! machine is another's, or when the server ends; each time the other end is told why.

use super::{app::App, still, who::Caller};
use bytes::Bytes;
use futures::{Sink, SinkExt as _, Stream, StreamExt as _};
use hyper_util::rt::TokioIo;
use labyard_api::console::End;
use labyard_driver::{Console, Heard, Keyboard};
use labyard_labs::{
    Refusal,
    claim::serve,
    console::{self, Held, Standing},
};
use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    time::{Instant, MissedTickBehavior},
};
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{
        self, Message,
        protocol::{CloseFrame, Role, WebSocketConfig},
    },
};

/// How long switching over may take.
const SWITCHES_WITHIN: Duration = Duration::from_secs(10);
/// How often the other end is asked whether it is there.
const ASKS: Duration = Duration::from_secs(20);
/// Who has not answered for so long is gone.
const GONE: Duration = Duration::from_secs(60);
/// How long a machine may take to take keys.
const TAKES_KEYS: Duration = Duration::from_secs(10);
/// How long the other end may take to hear that it is over.
const FAREWELL: Duration = Duration::from_secs(2);
/// How often it is looked what became of the machine of a pool.
const LOOK: Duration = Duration::from_secs(2);
/// The longest that is typed at once.
const LONGEST: usize = 64 << 10;

/// A session.
pub(crate) struct Session {
    pub(crate) app: Arc<App>,
    pub(crate) caller: Caller,
    pub(crate) console: Box<dyn Console>,
    /// The machine of a pool that it is with.
    pub(crate) held: Option<Held>,
}

/// How it ended.
enum Ended {
    /// By who typed.
    Left,
    /// He is told.
    Because(End),
}

/// Has the session once the connection is switched over.
pub(crate) async fn run(session: Session, connection: hyper::upgrade::OnUpgrade) {
    match tokio::time::timeout(SWITCHES_WITHIN, connection).await {
        Ok(Ok(stream)) => serve(session, TokioIo::new(stream)).await,
        Ok(Err(error)) => tracing::debug!(%error, "no connection was switched over to a console"),
        Err(_) => tracing::debug!("a connection was not switched over to a console in time"),
    }
}

async fn serve<S>(session: Session, stream: S)
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let Session {
        app,
        caller,
        mut console,
        held,
    } = session;
    let limits = WebSocketConfig::default()
        .max_message_size(Some(LONGEST))
        .max_frame_size(Some(LONGEST));
    let socket = WebSocketStream::from_raw_socket(stream, Role::Server, Some(limits)).await;
    let (mut to, mut from) = socket.split();
    let (keyboard, heard) = (console.keyboard(), Mutex::new(Instant::now()));
    let ended = tokio::select! {
        () = app.ending.cancelled() => Ended::Because(End::Server),
        () = still::while_allowed(&app, &caller) => Ended::Because(End::NotAllowed),
        () = moved_on(&app, held.as_ref()) => Ended::Because(End::MovedOn),
        ended = says(console.as_mut(), &mut to, &heard) => ended,
        ended = types(keyboard.as_ref(), &mut from, &heard) => ended,
    };
    // At once for whoever comes next.
    drop(console);
    let actor = caller.actor();
    let why = match &ended {
        Ended::Left => "whoever typed left",
        Ended::Because(end) => end.told(),
    };
    tracing::info!(actor, why, "a console was let go");
    let farewell = async {
        let Ended::Because(end) = ended else {
            // What he said is agreed to.
            return to.close().await;
        };
        let frame = CloseFrame {
            code: end.code().into(),
            reason: end.told().into(),
        };
        to.send(Message::Close(Some(frame))).await?;
        // Until the other end agrees.
        while from.next().await.transpose()?.is_some() {}
        Ok(())
    };
    if let Ok(Err(error)) = tokio::time::timeout(FAREWELL, farewell).await {
        tracing::debug!(%error, "the end of a console was not heard");
    }
}

/// What the machine says goes out, and between times a question whether anybody is there.
async fn says(
    console: &mut dyn Console,
    to: &mut (impl Sink<Message, Error = tungstenite::Error> + Unpin),
    heard: &Mutex<Instant>,
) -> Ended {
    let mut asks = tokio::time::interval_at(Instant::now() + ASKS, ASKS);
    asks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let message = tokio::select! {
            read = console.read() => match read {
                Ok(Heard::Said(bytes)) => Message::Binary(bytes),
                Ok(Heard::Ended) => return Ended::Because(End::Machine),
                Ok(Heard::TakenOver) => return Ended::Because(End::TakenOver),
                Err(error) => {
                    tracing::warn!(%error, "a console broke off");
                    return Ended::Because(End::Broken);
                }
            },
            _ = asks.tick() => {
                let last = *heard.lock().unwrap_or_else(PoisonError::into_inner);
                if last.elapsed() >= GONE {
                    return Ended::Left;
                }
                Message::Ping(Bytes::new())
            }
        };
        if to.send(message).await.is_err() {
            return Ended::Left;
        }
    }
}

/// What comes in is typed.
async fn types(
    keyboard: &dyn Keyboard,
    from: &mut (impl Stream<Item = Result<Message, tungstenite::Error>> + Unpin),
    heard: &Mutex<Instant>,
) -> Ended {
    loop {
        let Some(Ok(message)) = from.next().await else {
            return Ended::Left;
        };
        *heard.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
        let keys = match message {
            Message::Binary(keys) => keys,
            Message::Text(keys) => keys.into(),
            Message::Close(_) => return Ended::Left,
            // The other end is there.
            Message::Ping(_) | Message::Pong(_) | Message::Frame(_) => continue,
        };
        match tokio::time::timeout(TAKES_KEYS, keyboard.press(keys)).await {
            Ok(Ok(())) => {}
            // A console that is over says so itself, and why.
            Ok(Err(error)) => tracing::debug!(%error, "keys did not reach a machine"),
            Err(_) => return Ended::Because(End::Stuck),
        }
    }
}

/// Comes back when a machine of a pool is another's or nobody's. As long as it is not, its claim is not idle.
async fn moved_on(app: &App, held: Option<&Held>) {
    let Some(held) = held else {
        return std::future::pending().await;
    };
    loop {
        tokio::time::sleep(LOOK).await;
        let (looked, now) = (held.clone(), app.now());
        let standing: Result<_, Refusal> = app
            .store
            .read(move |read| console::standing(read, &looked, now))
            .await;
        match standing {
            Ok(Standing::Same) => {}
            Ok(Standing::Over) => return,
            Ok(Standing::Unseen(claim)) => {
                let told: Result<(), Refusal> = app
                    .store
                    .write(move |write| serve::connected(write, &claim, now))
                    .await;
                // What makes nothing last longer any more (its code is no longer valid, say) ends it in its own time.
                if let Err(refusal) = told {
                    tracing::debug!(%refusal, "a claim that is typed into was not kept");
                }
            }
            // A store that cannot be asked now ends nothing.
            Err(error) => tracing::debug!(%error, "it is not known whose machine is typed into"),
        }
    }
}
