//! The calls of the API.
//!
//! A [`Client`] speaks to a [`Transport`]: [`http::Http`] is a server somewhere; the command line has another one, a
//! server in its own process on a store. What a call means is the same for both.
//!
//! ```no_run
//! # async fn redeem() -> Result<(), labyard_api::client::ClientError> {
//! use labyard_api::{claim::Redeem, client::Client};
//! let client = Client::http("https://labyard.example:7443", Some("lyt_…".into()))?;
//! let asked = Redeem { code: "KJ4M-8ZQ2-7W3P-0N5T".into(), user: "ada".into(), wait: Some(60), ssh_public_key: None, bind: Default::default() };
//! let got = client.redeem("ada-2026-11-22", &asked).await?;
//! println!("{:?}", got.claim.machines);
//! # Ok(()) }
//! ```

mod calls;
#[cfg(feature = "console")]
pub mod console;
pub mod http;
mod patience;
mod sending;
mod stream;

pub use calls::{Maker, Page, Rests};
pub use patience::Patience;
pub use stream::Events;

use crate::{
    host::SEEN_WITHIN_MS,
    problem::Problem,
    routes::{Op, escaped, route},
};
use async_trait::async_trait;
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, combinators::UnsyncBoxBody};
use hyper::{Request, Response, header};
use serde::{Serialize, de::DeserializeOwned};
use std::{fmt, sync::Arc, time::Instant};

/// The environment variable that names the server.
pub const ENDPOINT_VARIABLE: &str = "LABYARD_ENDPOINT";
/// The environment variable that holds the token.
pub const TOKEN_VARIABLE: &str = "LABYARD_TOKEN";
/// Answers that are read whole are at most this long.
const LONGEST: usize = 64 << 20;

/// An error of reading a body.
pub type BodyError = Box<dyn std::error::Error + Send + Sync>;
/// A body that is sent.
pub type Sent = UnsyncBoxBody<Bytes, BodyError>;
/// An answer whose body is still to come.
pub type Got = Response<UnsyncBoxBody<Bytes, BodyError>>;

/// The way to a server.
#[async_trait]
pub trait Transport: Send + Sync {
    /// Sends a request whose target is a path.
    async fn call(&self, request: Request<Sent>) -> Result<Got, ClientError>;

    /// Sends a request that asks for another protocol.
    #[cfg(feature = "console")]
    async fn switch(&self, request: Request<Sent>) -> Result<console::Switched, ClientError>;
}

/// Why a call brought nothing.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The endpoint is none.
    #[error("endpoint {given:?}: {why}. Give a URL, like https://labyard.example:7443")]
    Endpoint {
        /// As it was given.
        given: String,
        /// What is wrong with it.
        why: String,
    },
    /// The server was not reached: nothing was done.
    #[error("the server {endpoint} was not reached: {why}")]
    Unreachable {
        /// The server.
        endpoint: String,
        /// What happened.
        why: String,
    },
    /// The connection ended before the answer: it may have been done or not.
    #[error("the server {endpoint} did not answer to the end ({why}): what was asked for may have been done")]
    Broken {
        /// The server.
        endpoint: String,
        /// What happened.
        why: String,
    },
    /// The server refused.
    #[error(transparent)]
    Refused(Box<Problem>),
    /// The answer is none of this API.
    #[error("the answer is not one of labyard's API ({why}): is the endpoint a labyard of this release?")]
    Strange {
        /// What was found.
        why: String,
    },
}

impl ClientError {
    /// Whether the same call may succeed later, unchanged.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Unreachable { .. } | Self::Broken { .. } => true,
            Self::Refused(problem) => problem.retryable,
            Self::Endpoint { .. } | Self::Strange { .. } => false,
        }
    }
}

/// Makes the calls of the API.
#[derive(Clone)]
pub struct Client {
    transport: Arc<dyn Transport>,
    bearer: Option<String>,
    patience: Patience,
    /// Since when what is told of hosts may be seen.
    run: Option<Instant>,
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Client")
    }
}

/// What a call takes.
#[derive(Clone, Debug, Default)]
pub struct Call {
    path: Vec<String>,
    query: Vec<(&'static str, String)>,
    headers: Vec<(&'static str, String)>,
    body: Option<Bytes>,
}

impl Call {
    /// A call with these values in its path.
    #[must_use]
    pub fn of(path: &[&str]) -> Self {
        Self {
            path: path.iter().map(|part| (*part).to_owned()).collect(),
            ..Self::default()
        }
    }

    /// With a value in the query, where there is one.
    #[must_use]
    pub fn query(mut self, name: &'static str, value: Option<impl ToString>) -> Self {
        self.query.extend(value.map(|value| (name, value.to_string())));
        self
    }

    /// With a header, where there is a value.
    #[must_use]
    pub fn header(mut self, name: &'static str, value: Option<impl ToString>) -> Self {
        self.headers.extend(value.map(|value| (name, value.to_string())));
        self
    }

    /// With JSON.
    #[must_use]
    pub fn json(mut self, body: &impl Serialize) -> Self {
        self.body = serde_json::to_vec(body).ok().map(Bytes::from);
        self
    }
}

impl Client {
    /// One that asks a server by this transport, as the holder of a token or of a claim's secret.
    #[must_use]
    pub fn over(transport: Arc<dyn Transport>, bearer: Option<String>) -> Self {
        Self {
            transport,
            bearer,
            patience: Patience::NONE,
            run: None,
        }
    }

    /// One that asks again where that does no harm, and does not wait for ever.
    #[must_use]
    pub fn patient(self, patience: Patience) -> Self {
        Self { patience, ..self }
    }

    /// One whose calls from now on are of one run: what is told of hosts may have been seen at any time in it
    /// ([`SEEN_WITHIN_MS`]).
    #[must_use]
    pub fn of_one_run(self) -> Self {
        Self {
            run: Some(Instant::now()),
            ..self
        }
    }

    /// One that asks the server at an endpoint.
    ///
    /// # Errors
    /// If the endpoint is none.
    pub fn http(endpoint: &str, bearer: Option<String>) -> Result<Self, ClientError> {
        Ok(Self::over(Arc::new(http::Http::new(endpoint)?), bearer))
    }

    /// The same server, as the holder of something else.
    #[must_use]
    pub fn bearing(&self, bearer: &str) -> Self {
        Self {
            bearer: Some(bearer.to_owned()),
            ..self.clone()
        }
    }

    /// Makes a call whose answer is read later.
    ///
    /// # Errors
    /// If the server is not reached or refuses.
    pub async fn send(&self, op: Op, call: Call) -> Result<Got, ClientError> {
        match call.body.clone() {
            Some(json) => self.send_body(op, &call, ("application/json", held(json))).await,
            None => self.send_body(op, &call, ("", held(Bytes::new()))).await,
        }
    }

    /// The same with a body of that media type, where there is one.
    async fn send_body(&self, op: Op, call: &Call, body: (&str, Sent)) -> Result<Got, ClientError> {
        let request = self.request(op, call, body)?;
        let got = self.transport.call(request).await?;
        match got.status().is_success() {
            true => Ok(got),
            false => Err(refused(got).await),
        }
    }

    /// A call as it is sent.
    fn request(
        &self,
        op: Op,
        call: &Call,
        (media_type, body): (&str, Sent),
    ) -> Result<Request<Sent>, ClientError> {
        let route = route(op);
        let path: Vec<&str> = call.path.iter().map(String::as_str).collect();
        let mut target = route.filled(&path);
        for (at, (name, value)) in call.query.iter().enumerate() {
            let sign = if at == 0 { '?' } else { '&' };
            target += &format!("{sign}{name}={}", escaped(value));
        }
        let mut request = Request::builder().method(route.method.word()).uri(target);
        if let Some(bearer) = &self.bearer {
            request = request.header(header::AUTHORIZATION, format!("Bearer {bearer}"));
        }
        if let Some(run) = self.run {
            request = request.header(SEEN_WITHIN_MS, run.elapsed().as_millis().to_string());
        }
        if !media_type.is_empty() {
            request = request.header(header::CONTENT_TYPE, media_type);
        }
        for (name, value) in &call.headers {
            request = request.header(*name, value);
        }
        request.body(body).map_err(|error| ClientError::Strange {
            why: format!("the request cannot be sent: {error}"),
        })
    }

    /// Makes a call that is answered with JSON; with the status and the `ETag`.
    ///
    /// # Errors
    /// If the server is not reached or refuses, or answers something else.
    pub async fn ask<T: DeserializeOwned>(&self, op: Op, call: Call) -> Result<Answered<T>, ClientError> {
        let once = || self.patience.limited(self.asked(op, call.clone()));
        self.patience.over(route(op).method, once).await
    }

    async fn asked<T: DeserializeOwned>(&self, op: Op, call: Call) -> Result<Answered<T>, ClientError> {
        let got = self.send(op, call).await?;
        let status = got.status().as_u16();
        let tag = got
            .headers()
            .get(header::ETAG)
            .and_then(|tag| tag.to_str().ok())
            .map(str::to_owned);
        let value = read_answer(got).await?;
        Ok(Answered { value, status, tag })
    }
}

/// An answer.
#[derive(Clone, Debug)]
pub struct Answered<T> {
    /// What was answered.
    pub value: T,
    /// The status.
    pub status: u16,
    /// The `ETag`.
    pub tag: Option<String>,
}

/// A body that is at hand.
pub fn held(body: impl Into<Bytes>) -> Sent {
    Full::new(body.into())
        .map_err(|never| match never {})
        .boxed_unsync()
}

async fn read_answer<T: DeserializeOwned>(got: Got) -> Result<T, ClientError> {
    let body = whole(got).await?;
    serde_json::from_slice(&body).map_err(|error| ClientError::Strange {
        why: error.to_string(),
    })
}

async fn whole(got: Got) -> Result<Bytes, ClientError> {
    let broken = |why: String| ClientError::Broken {
        endpoint: "of this call".to_owned(),
        why,
    };
    let (mut body, mut whole) = (got.into_body(), Vec::new());
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| broken(error.to_string()))?;
        if let Ok(data) = frame.into_data() {
            if whole.len() + data.len() > LONGEST {
                return Err(broken(format!("the answer is longer than {LONGEST} bytes")));
            }
            whole.extend_from_slice(&data);
        }
    }
    Ok(whole.into())
}

async fn refused(got: Got) -> ClientError {
    let status = got.status();
    let body = match whole(got).await {
        Ok(body) => body,
        Err(error) => return error,
    };
    match serde_json::from_slice::<Problem>(&body) {
        Ok(problem) => ClientError::Refused(Box::new(problem)),
        Err(_) => ClientError::Strange {
            why: format!("it is {status} without a problem"),
        },
    }
}
