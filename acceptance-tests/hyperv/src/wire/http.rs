//! Requests over HTTP: logins and seals around what the service answers, and faults on demand.

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Limited};
use hyper::body::{Frame, Incoming};
use hyper::header::{AUTHORIZATION, CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, HeaderValue, WWW_AUTHENTICATE};
use hyper::{Method, Request as HttpRequest, Response, StatusCode};
use tokio::sync::{Mutex as AsyncMutex, watch};

use super::config::User;
use super::control::{Described, Entry, Trouble};
use super::envelope::{Request, Verb, envelope};
use super::fault::{Fault, Kind};
use super::login::{Channel, Logins, State, Verdict};
use super::sealed;
use super::service::{Reply, Service, Shown, identity};
use super::watched::Order;

const SOAP: &str = "application/soap+xml;charset=UTF-8";

/// What all connections share.
pub(super) struct Shared {
    pub(super) service: Arc<Service>,
    pub(super) logins: Logins,
    /// Counts restarts; connections of before one end.
    pub(super) restarts: watch::Sender<u64>,
    pub(super) connections: AtomicU64,
    /// Operations under way, by user.
    busy: Mutex<HashMap<String, usize>>,
    under_way: AtomicUsize,
    /// The most that ever were under way at once.
    pub(super) peak: AtomicUsize,
}

impl Shared {
    pub(super) fn new(service: Arc<Service>, logins: Logins) -> Self {
        Self {
            service,
            logins,
            restarts: watch::channel(0).0,
            connections: AtomicU64::new(0),
            busy: Mutex::default(),
            under_way: AtomicUsize::new(0),
            peak: AtomicUsize::new(0),
        }
    }

    pub(super) fn restart(&self) {
        self.service.restarted();
        self.restarts.send_modify(|count| *count += 1);
    }
}

/// One connection.
pub(super) struct Connection {
    pub(super) shared: Arc<Shared>,
    pub(super) channel: Channel,
    pub(super) id: u64,
    pub(super) order: Arc<Order>,
    pub(super) state: AsyncMutex<State>,
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.shared.logins.over(self.state.get_mut());
    }
}

/// The connection ends without an answer.
#[derive(Debug, thiserror::Error)]
#[error("the connection ends, as it was asked for")]
pub(super) struct Ended;

/// The body of an answer, which may end before its length.
pub(super) struct Answer {
    data: Option<Bytes>,
    broken: bool,
}

impl hyper::body::Body for Answer {
    type Data = Bytes;
    type Error = Ended;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Ended>>> {
        match self.data.take() {
            Some(data) => Poll::Ready(Some(Ok(Frame::data(data)))),
            None if self.broken => {
                self.broken = false;
                Poll::Ready(Some(Err(Ended)))
            }
            None => Poll::Ready(None),
        }
    }
}

/// What becomes of the connection after a request.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Ending {
    Stays,
    /// Without an answer.
    Drops,
    /// Within the answer.
    Breaks,
    /// Without an answer, and the service with it.
    Restarts,
    /// The login is forgotten.
    Unauthorized,
}

/// What came of a request.
struct Done {
    status: u16,
    body: String,
    described: Described,
    fault: u32,
    why: String,
    ending: Ending,
}

impl Done {
    fn bare(status: u16, described: Described, ending: Ending) -> Self {
        Self {
            status,
            body: String::new(),
            described,
            fault: 0,
            why: String::new(),
            ending,
        }
    }
}

impl Connection {
    /// Answers a request.
    pub(super) async fn serve(
        self: Arc<Self>,
        request: HttpRequest<Incoming>,
    ) -> Result<Response<Answer>, Ended> {
        // Held to the end: what came too early waits here at most for its refusal.
        let mut state = self.state.lock().await;
        if !self.order.begins() {
            self.shared.logins.over(&mut state);
            return Ok(self.unauthorized(true));
        }
        let (head, body) = request.into_parts();
        let most = self.shared.service.config.limits.envelope_kib * 1024 * 4 + 65536;
        let Ok(body) = Limited::new(body, most)
            .collect()
            .await
            .map(http_body_util::Collected::to_bytes)
        else {
            return Ok(closing(bare(StatusCode::PAYLOAD_TOO_LARGE)));
        };
        self.order.read();
        let answer = self.respond(&mut state, &head, &body).await;
        self.order.answered();
        answer
    }

    async fn respond(
        &self,
        state: &mut State,
        head: &hyper::http::request::Parts,
        body: &[u8],
    ) -> Result<Response<Answer>, Ended> {
        if !head
            .uri
            .path()
            .trim_end_matches('/')
            .eq_ignore_ascii_case("/wsman")
        {
            return Ok(bare(StatusCode::NOT_FOUND));
        }
        if head.method != Method::POST {
            return Ok(bare(StatusCode::METHOD_NOT_ALLOWED));
        }
        let header = |name: &str| head.headers.get(name).and_then(|value| value.to_str().ok());
        if header("wsmanidentify").is_some_and(|value| value.eq_ignore_ascii_case("unauthenticated")) {
            return Ok(self.stranger(body));
        }
        let fresh = || self.shared.connections.fetch_add(1, Ordering::Relaxed) + 1;
        let said = header(AUTHORIZATION.as_str());
        let verdict = self.shared.logins.judge(&self.channel, state, said, fresh).await;
        let (user, seals, token) = match verdict {
            Verdict::Refused => return Ok(self.unauthorized(false)),
            Verdict::GoesOn(token) => {
                let mut answer = bare(StatusCode::UNAUTHORIZED);
                challenge(&mut answer, &format!("Negotiate {token}"));
                return Ok(answer);
            }
            Verdict::In { user, seals, token } => (user, seals, token),
        };
        let kind = header(CONTENT_TYPE.as_str()).unwrap_or_default();
        let mut answer = self.inside(state, &user, seals, kind, body).await?;
        if let Some(token) = token {
            challenge(&mut answer, &format!("Negotiate {token}"));
        }
        Ok(answer)
    }

    /// The body of a request of somebody who is known.
    async fn inside(
        &self,
        state: &mut State,
        user: &Arc<User>,
        seals: Option<u64>,
        kind: &str,
        body: &[u8],
    ) -> Result<Response<Answer>, Ended> {
        if body.is_empty() {
            // The last leg of a login.
            return Ok(bare(StatusCode::OK));
        }
        let acceptor = self.shared.logins.acceptor.as_ref();
        if sealed::is_sealed(kind) {
            let (Some(id), Some(acceptor), Some(sealed)) = (seals, acceptor, sealed::read(body)) else {
                return Ok(closing(bare(StatusCode::BAD_REQUEST)));
            };
            let plain = acceptor.unwrap(id, sealed.token).await.ok().flatten();
            let Some(plain) = plain.filter(|plain| plain.len() == sealed.plain) else {
                self.shared.logins.over(state);
                return Ok(self.unauthorized(true));
            };
            let done = self.asked(user, &plain, body.len()).await;
            return self
                .sent(state, done, Some((acceptor, id)), user, body.len())
                .await;
        }
        if !self.shared.logins.may_be_plain(&self.channel) {
            return Ok(bare(StatusCode::INTERNAL_SERVER_ERROR));
        }
        if !kind.to_ascii_lowercase().starts_with("application/soap+xml") {
            return Ok(bare(StatusCode::UNSUPPORTED_MEDIA_TYPE));
        }
        let done = self.asked(user, body, body.len()).await;
        self.sent(state, done, None, user, body.len()).await
    }

    /// What is answered, sealed if the request was.
    async fn sent(
        &self,
        state: &mut State,
        done: Done,
        seals: Option<(&super::login::Acceptor, u64)>,
        user: &User,
        bytes_in: usize,
    ) -> Result<Response<Answer>, Ended> {
        let length = done.body.len();
        let (kind, body) = match seals {
            Some((acceptor, id)) if length > 0 => {
                let token = acceptor
                    .wrap(id, done.body.as_bytes())
                    .await
                    .ok()
                    .flatten()
                    .ok_or(Ended)?;
                (sealed::CONTENT_TYPE, sealed::write(&token, length))
            }
            _ => (SOAP, done.body.into_bytes()),
        };
        let silent = matches!(done.ending, Ending::Drops | Ending::Restarts);
        self.shared.service.control.note(Entry {
            connection: self.id,
            user: user.name.clone(),
            verb: done.described.verb,
            namespace: done.described.namespace,
            class: done.described.class,
            method: done.described.method,
            about: done.described.about,
            bytes_in,
            bytes_out: if silent { 0 } else { body.len() },
            status: if silent { 0 } else { done.status },
            fault: done.fault,
            why: done.why,
        });
        match done.ending {
            Ending::Drops => return Err(Ended),
            Ending::Restarts => {
                self.shared.restart();
                return Err(Ended);
            }
            Ending::Unauthorized => {
                self.shared.logins.over(state);
                return Ok(self.unauthorized(true));
            }
            Ending::Stays | Ending::Breaks => {}
        }
        let status = StatusCode::from_u16(done.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut answer = bare(status);
        if !body.is_empty() {
            answer
                .headers_mut()
                .insert(CONTENT_TYPE, HeaderValue::from_static(kind));
            answer.headers_mut().insert(CONTENT_LENGTH, body.len().into());
            let broken = done.ending == Ending::Breaks;
            let until = if broken { body.len() / 2 } else { body.len() };
            answer.body_mut().data = Some(Bytes::from(body).slice(..until));
            answer.body_mut().broken = broken;
        }
        Ok(answer)
    }

    /// Answers the envelope of a user.
    async fn asked(&self, user: &Arc<User>, plain: &[u8], bytes: usize) -> Done {
        let service = &self.shared.service;
        let none = Described::default;
        let most = service.config.limits.envelope_kib * 1024;
        if plain.len() > most {
            let reason = format!("a request of {bytes} bytes, where {most} are the most");
            return self.refusal(&Fault::new(Kind::EnvelopeTooLarge, reason), None, none());
        }
        let text = std::str::from_utf8(plain).map(|text| text.trim_start_matches('\u{feff}'));
        let Ok(text) = text else {
            return self.refusal(&Fault::new(Kind::Malformed, "this is not UTF-8"), None, none());
        };
        let request = match Request::read(text) {
            Ok(request) => request,
            Err((fault, id)) => return self.refusal(&fault, id.as_deref(), none()),
        };
        let described = service.describe(&request);
        let Some(_busy) = Busy::begin(&self.shared, &user.name) else {
            let fault = Fault::new(Kind::QuotaLimit, "too many operations of this user are under way");
            return self.refusal(&fault, request.message_id.as_deref(), described);
        };
        self.troubled(user, request, described).await
    }

    /// Answers a request, with what rules make of it.
    async fn troubled(&self, user: &Arc<User>, request: Request, described: Described) -> Done {
        let limits = &self.shared.service.config.limits;
        let troubles = self.shared.service.control.troubles(&described, &user.name);
        let delay = troubles.iter().map(|trouble| match trouble {
            Trouble::Delay(time) => Duration::from_millis(*time),
            _ => Duration::ZERO,
        });
        let delay: Duration = delay.sum();
        let allowed = request.timeout.unwrap_or(limits.timeout).min(limits.timeout);
        tokio::time::sleep(delay.min(allowed)).await;
        let late = (delay > allowed).then_some(Trouble::TimeOut);
        let trouble = late.or_else(|| {
            troubles
                .into_iter()
                .find(|trouble| !matches!(trouble, Trouble::Delay(_)))
        });
        let refused = |kind, why: &str| Err(Fault::new(kind, why));
        let id = request.message_id.clone();
        let outcome = match trouble {
            Some(Trouble::DropBefore) => return Done::bare(0, described, Ending::Drops),
            Some(Trouble::RestartBefore) => return Done::bare(0, described, Ending::Restarts),
            Some(Trouble::Unauthorized) => return Done::bare(401, described, Ending::Unauthorized),
            Some(Trouble::Status(status)) => return Done::bare(status, described, Ending::Stays),
            Some(Trouble::Deny) => refused(Kind::AccessDenied, "Access is denied."),
            Some(Trouble::Empty) if request.verb != Verb::Enumerate => {
                refused(Kind::AccessDenied, "Access is denied.")
            }
            Some(Trouble::Empty) => self.done(user, request, Shown::Nothing).await,
            Some(Trouble::Quota) => refused(Kind::QuotaLimit, "The quota of this user is used up."),
            Some(Trouble::Wmi(number)) => Err(Fault::wmi(
                crate::contract::WmiFault(number),
                "as it was asked for",
            )),
            Some(Trouble::TimeOut) => {
                if matches!(request.verb, Verb::Invoke(_)) {
                    let _ = self.done(user, request, Shown::All).await;
                }
                let reason = "The WS-Management service cannot complete the operation within the time specified in OperationTimeout.";
                refused(Kind::TimedOut, reason)
            }
            Some(Trouble::DropAfter | Trouble::DropWithin | Trouble::RestartAfter | Trouble::Delay(_))
            | None => self.done(user, request, Shown::All).await,
        };
        let mut done = match outcome {
            Ok(reply) => Done {
                status: 200,
                body: envelope(
                    &reply.action,
                    &self.shared.service.id(),
                    id.as_deref(),
                    &reply.body,
                ),
                described,
                fault: 0,
                why: reply.why,
                ending: Ending::Stays,
            },
            Err(fault) => self.refusal(&fault, id.as_deref(), described),
        };
        done.ending = match trouble {
            Some(Trouble::DropAfter) => Ending::Drops,
            Some(Trouble::DropWithin) => Ending::Breaks,
            Some(Trouble::RestartAfter) => Ending::Restarts,
            _ => Ending::Stays,
        };
        done
    }

    /// Has the service answer, where it may block.
    async fn done(&self, user: &Arc<User>, request: Request, shown: Shown) -> Result<Reply, Fault> {
        let (service, user) = (self.shared.service.clone(), user.clone());
        let limit = service.answer_limit(&request);
        let answered = tokio::task::spawn_blocking(move || service.answer(&user, &request, shown)).await;
        let reply = answered.unwrap_or_else(|error| {
            self.shared.service.control.complain(error.to_string());
            Err(Fault::new(Kind::Internal, "the model panicked"))
        })?;
        if reply.body.len() > limit {
            let reason = format!(
                "an answer of {} bytes, where {limit} were allowed",
                reply.body.len()
            );
            return Err(Fault::new(Kind::EncodingLimit, reason));
        }
        Ok(reply)
    }

    fn refusal(&self, fault: &Fault, id: Option<&str>, described: Described) -> Done {
        let service = &self.shared.service;
        Done {
            status: fault.status(),
            body: envelope(
                &fault.action(),
                &service.id(),
                id,
                &fault.body(&service.config.name),
            ),
            described,
            fault: fault.number(),
            why: fault.reason.clone(),
            ending: Ending::Stays,
        }
    }

    /// Who is not logged in is told who is there, and no more.
    fn stranger(&self, body: &[u8]) -> Response<Answer> {
        let text = std::str::from_utf8(body).unwrap_or_default();
        match Request::read(text) {
            Ok(request) if request.verb == Verb::Identify => {
                let reply = identity("0.0.0");
                let text = envelope(&reply.action, &self.shared.service.id(), None, &reply.body);
                let mut answer = bare(StatusCode::OK);
                answer
                    .headers_mut()
                    .insert(CONTENT_TYPE, HeaderValue::from_static(SOAP));
                answer.headers_mut().insert(CONTENT_LENGTH, text.len().into());
                answer.body_mut().data = Some(text.into());
                answer
            }
            _ => self.unauthorized(false),
        }
    }

    fn unauthorized(&self, ends: bool) -> Response<Answer> {
        let mut answer = bare(StatusCode::UNAUTHORIZED);
        for offer in self.shared.logins.offered(&self.channel) {
            challenge(&mut answer, offer);
        }
        if ends { closing(answer) } else { answer }
    }
}

/// An operation that is under way.
struct Busy<'a> {
    shared: &'a Shared,
    user: String,
}

impl<'a> Busy<'a> {
    fn begin(shared: &'a Shared, user: &str) -> Option<Self> {
        let mut all = shared.busy.lock().unwrap_or_else(PoisonError::into_inner);
        let count = all.entry(user.to_owned()).or_default();
        if *count >= shared.service.config.limits.operations {
            return None;
        }
        *count += 1;
        let now = shared.under_way.fetch_add(1, Ordering::SeqCst) + 1;
        shared.peak.fetch_max(now, Ordering::SeqCst);
        Some(Self {
            shared,
            user: user.to_owned(),
        })
    }
}

impl Drop for Busy<'_> {
    fn drop(&mut self) {
        let mut all = self.shared.busy.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = all.get_mut(&self.user) {
            *count -= 1;
        }
        self.shared.under_way.fetch_sub(1, Ordering::SeqCst);
    }
}

fn bare(status: StatusCode) -> Response<Answer> {
    let mut answer = Response::new(Answer {
        data: None,
        broken: false,
    });
    *answer.status_mut() = status;
    answer
        .headers_mut()
        .insert("server", HeaderValue::from_static("Microsoft-HTTPAPI/2.0"));
    answer.headers_mut().insert(CONTENT_LENGTH, 0_usize.into());
    answer
}

fn closing(mut answer: Response<Answer>) -> Response<Answer> {
    answer
        .headers_mut()
        .insert(CONNECTION, HeaderValue::from_static("close"));
    answer
}

fn challenge(answer: &mut Response<Answer>, what: &str) {
    if let Ok(value) = HeaderValue::from_str(what) {
        answer.headers_mut().append(WWW_AUTHENTICATE, value);
    }
}
