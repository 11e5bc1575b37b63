//! A machine's console over a WebSocket: what is typed goes there, and what it says comes.

use super::{BodyError, Call, Client, ClientError, Got, Sent, held, refused};
use crate::{console::End, routes::Op};
use bytes::Bytes;
use futures::{
    SinkExt as _, StreamExt as _,
    stream::{SplitSink, SplitStream},
};
use http_body_util::BodyExt as _;
use hyper::{Request, StatusCode, client::conn::http1, header};
use hyper_util::rt::TokioIo;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{
        Message,
        handshake::{client::generate_key, derive_accept_key},
        protocol::Role,
    },
};

/// A server says something at least so often, if only that it is there.
const SILENT: Duration = Duration::from_secs(90);

/// A connection that was switched over.
pub trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// What came of asking for another protocol.
pub enum Switched {
    /// The connection speaks it from now on.
    Over {
        /// What was answered to the key of a WebSocket.
        accepted: Option<String>,
        /// The connection.
        stream: Box<dyn Stream>,
    },
    /// It was answered instead.
    Answered(Got),
}

/// Sends a request that asks for another protocol over a connection.
///
/// # Errors
/// If the connection breaks.
pub async fn switched(
    stream: impl Stream + 'static,
    request: Request<Sent>,
) -> Result<Switched, hyper::Error> {
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    // It lives as long as the answer is read, or until it is switched over; its own end says nothing more.
    tokio::spawn(async move { drop(connection.with_upgrades().await) });
    let answer = sender.send_request(request).await?;
    if answer.status() != StatusCode::SWITCHING_PROTOCOLS {
        let got = answer.map(|body| body.map_err(|error| Box::new(error) as BodyError).boxed_unsync());
        return Ok(Switched::Answered(got));
    }
    let accepted = answer.headers().get(header::SEC_WEBSOCKET_ACCEPT);
    let accepted = accepted.and_then(|value| value.to_str().ok()).map(str::to_owned);
    let stream = TokioIo::new(hyper::upgrade::on(answer).await?);
    Ok(Switched::Over {
        accepted,
        stream: Box::new(stream),
    })
}

/// Who has the console already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Former {
    /// Keeps it: then it is refused.
    Keeps,
    /// Loses it, and is told.
    Loses,
}

/// What comes of a console.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Said {
    /// What the machine says.
    Bytes(Bytes),
    /// It is over; why, where the server said so.
    Over(Option<End>),
}

type Socket = WebSocketStream<Box<dyn Stream>>;

/// What types into a console.
pub struct Typing(SplitSink<Socket, Message>);

/// What comes of it.
pub struct Hearing(SplitStream<Socket>);

fn broken(why: &impl ToString) -> ClientError {
    ClientError::Broken {
        endpoint: "of this console".to_owned(),
        why: why.to_string(),
    }
}

impl Typing {
    /// Types.
    ///
    /// # Errors
    /// If the connection broke.
    pub async fn press(&mut self, keys: Bytes) -> Result<(), ClientError> {
        self.0
            .send(Message::Binary(keys))
            .await
            .map_err(|error| broken(&error))
    }

    /// Says that this was all.
    ///
    /// # Errors
    /// If the connection broke.
    pub async fn close(&mut self) -> Result<(), ClientError> {
        self.0
            .send(Message::Close(None))
            .await
            .map_err(|error| broken(&error))
    }
}

impl Hearing {
    /// What comes next.
    ///
    /// # Errors
    /// If the connection broke, or the server does not answer any more.
    pub async fn next(&mut self) -> Result<Said, ClientError> {
        loop {
            let Ok(came) = tokio::time::timeout(SILENT, self.0.next()).await else {
                return Err(broken(&format!("nothing came for {} s", SILENT.as_secs())));
            };
            match came {
                Some(Ok(Message::Binary(bytes))) => return Ok(Said::Bytes(bytes)),
                Some(Ok(Message::Close(frame))) => {
                    let end = frame.and_then(|frame| End::of_code(frame.code.into()));
                    return Ok(Said::Over(end));
                }
                // Answered below.
                Some(Ok(_)) => {}
                Some(Err(error)) => return Err(broken(&error)),
                None => return Ok(Said::Over(None)),
            }
        }
    }
}

impl Client {
    /// A machine's console, to type into and to hear.
    ///
    /// # Errors
    /// As all calls; `console-taken` where somebody has it and keeps it, `not-running` where the machine does not run,
    /// `pool-member` where it is a pool's and has no user.
    pub async fn console(
        &self,
        namespace: Option<&str>,
        (host, name): (&str, &str),
        former: Former,
    ) -> Result<(Typing, Hearing), ClientError> {
        let call = Call::of(&[host, name])
            .query("namespace", namespace)
            .query("force", (former == Former::Loses).then_some(true));
        let mut request = self.request(Op::FollowConsole, &call, ("", held(Bytes::new())))?;
        let key = generate_key();
        let headers = request.headers_mut();
        let fixed = header::HeaderValue::from_static;
        headers.insert(header::CONNECTION, fixed("Upgrade"));
        headers.insert(header::UPGRADE, fixed("websocket"));
        headers.insert(header::SEC_WEBSOCKET_VERSION, fixed("13"));
        let strange = |why: &str| ClientError::Strange { why: why.to_owned() };
        let value = key
            .parse::<header::HeaderValue>()
            .map_err(|_| strange("no key could be made"))?;
        headers.insert(header::SEC_WEBSOCKET_KEY, value);
        match self.transport.switch(request).await? {
            Switched::Over { accepted, stream } if accepted == Some(derive_accept_key(key.as_bytes())) => {
                let socket = WebSocketStream::from_raw_socket(stream, Role::Client, None).await;
                let (to, from) = socket.split();
                Ok((Typing(to), Hearing(from)))
            }
            Switched::Over { .. } => Err(strange("it speaks no WebSocket")),
            Switched::Answered(got) if got.status().is_success() => Err(strange("it took no WebSocket")),
            Switched::Answered(got) => Err(refused(got).await),
        }
    }
}
