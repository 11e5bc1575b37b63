//! What every request goes through: its id and its line in the log around everything ([`around`]), and before a route who
//! may use it ([`pass`]), as the table of routes says.

use super::{
    app::App,
    limit::Source,
    seen, still,
    who::{self, Caller},
};
use crate::{failure::Failure, keep::tokens};
use axum::{
    extract::{Request, State},
    middleware::Next,
    response::{IntoResponse, Response},
};
use http::{HeaderName, HeaderValue, StatusCode, header, request::Parts};
use labyard_api::{
    problem::{self, Problem},
    routes::{Access, Op, Route},
};
use labyard_store::StoreError;
use std::{
    net::IpAddr,
    sync::Arc,
    time::{Duration, Instant},
};

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// The other end of the connection.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Peer(pub(crate) IpAddr);

/// Where a request comes from, trusted proxies taken off.
#[derive(Clone, Copy, Debug)]
pub(crate) struct From(pub(crate) IpAddr);

/// The problem of an answer, until it is written out.
#[derive(Clone)]
struct Unwritten(Box<Problem>);

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.0.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut response = status.into_response();
        response.extensions_mut().insert(Unwritten(self.0));
        response
    }
}

/// Gives a request its id, logs it, and writes out the problem that it met.
pub(crate) async fn around(State(app): State<Arc<App>>, mut request: Request, next: Next) -> Response {
    let begun = Instant::now();
    let id = request_id(&request);
    let peer = request.extensions().get::<Peer>().map(|peer| peer.0);
    let from = peer.map(|peer| who::source(peer, request.headers(), &app.trusted_proxies));
    if let Some(from) = from {
        request.extensions_mut().insert(From(from));
    }
    // The path names objects alone; what is secret is in headers and bodies.
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    let mut response = next.run(request).await;
    if let Some(Unwritten(problem)) = response.extensions_mut().remove::<Unwritten>() {
        response = written(response, *problem, &id);
    }
    if let Ok(value) = HeaderValue::from_str(&id) {
        response.headers_mut().insert(REQUEST_ID, value);
    }
    let status = response.status().as_u16();
    let took_ms = begun.elapsed().as_millis() as u64;
    let from = from.map(|from| from.to_string());
    tracing::info!(request = id, %method, path, status, took_ms, from, "answered");
    response
}

/// The caller's own id where it can be one, else a new one.
fn request_id(request: &Request) -> String {
    let given = request.headers().get(REQUEST_ID).and_then(|id| id.to_str().ok());
    let fine = |id: &&str| (1..=64).contains(&id.len()) && id.bytes().all(|byte| byte.is_ascii_graphic());
    match given.filter(fine) {
        Some(id) => id.to_owned(),
        None => labyard_labs::ids::random_id().unwrap_or_default(),
    }
}

fn written(mut response: Response, mut problem: Problem, id: &str) -> Response {
    problem.request_id = Some(id.to_owned());
    let body = serde_json::to_vec(&problem).unwrap_or_default();
    *response.body_mut() = body.into();
    let headers = response.headers_mut();
    headers.remove(header::CONTENT_LENGTH);
    headers.insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static(problem::MEDIA_TYPE),
    );
    if let Some(seconds) = problem.retry_after_s {
        headers.insert(header::RETRY_AFTER, seconds.into());
    }
    if problem.status == 401 {
        headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    }
    response
}

/// Lets a request through to its route, if the caller may use it, and ends it when its time is up.
pub(crate) async fn pass(
    State((app, route)): State<(Arc<App>, &'static Route)>,
    request: Request,
    next: Next,
) -> Response {
    let begun = Instant::now();
    let (mut parts, body) = request.into_parts();
    let admitted = admit(&app, route, &mut parts).await;
    let since = admitted.and_then(|()| seen::read(&parts.headers, begun.into()));
    let caller = parts.extensions.get::<Caller>().cloned();
    let request = Request::from_parts(parts, body);
    let response = match since {
        Err(failure) => failure.into_response(),
        // What it asked for may still be done: a transaction that was begun is not taken back. A stream of events is
        // answered at once, and goes on.
        Ok(_) if route.op == Op::Upload => next.run(request).await,
        Ok(since) => {
            let served = seen::within(since, next.run(request));
            match tokio::time::timeout(app.limits.request_timeout, served).await {
                Ok(response) => response,
                Err(_) => timed_out(&app).into_response(),
            }
        }
    };
    app.metrics
        .answered(route.op, response.status().as_u16(), begun.elapsed());
    match caller {
        // A connection that is switched over has a session of its own, which looks itself.
        Some(caller)
            if matches!(route.op, Op::Events | Op::FollowConsole)
                && response.status() != StatusCode::SWITCHING_PROTOCOLS =>
        {
            still::while_valid(&app, &caller, response)
        }
        _ => response,
    }
}

fn timed_out(app: &App) -> Failure {
    let detail = format!(
        "It took longer than {} s: look whether it was done, or repeat it with the same idempotency key.",
        app.limits.request_timeout.as_secs()
    );
    Problem::new(503, "timed-out", "The request took too long")
        .detail(detail)
        .retryable()
        .into()
}

async fn admit(app: &Arc<App>, route: &Route, request: &mut Parts) -> Result<(), Failure> {
    let caller = caller(app, route, request).await?;
    match caller.role() {
        _ if route.access == Access::Everybody => {}
        Some(role) if route.access.admits(role) => {}
        Some(role) => {
            let detail = format!("This one has the role {role}. For: {}", route.access.told());
            return Err(Problem::new(403, "forbidden", "The token may not do this")
                .detail(detail)
                .into());
        }
        None if matches!((&caller, route.access), (Caller::Holder(_), Access::HolderOr(_))) => {}
        None => return Err(nobody(route)),
    }
    request.extensions.insert(caller);
    Ok(())
}

fn nobody(route: &Route) -> Failure {
    Problem::new(401, "unauthorized", "A token is needed")
        .detail(format!(
            "For: {} Send it as Authorization: Bearer.",
            route.access.told()
        ))
        .into()
}

async fn caller(app: &Arc<App>, route: &Route, request: &Parts) -> Result<Caller, Failure> {
    if let Some(owner) = request.extensions.get::<Caller>() {
        return Ok(owner.clone());
    }
    let Some(text) = who::bearer(&request.headers) else {
        return Ok(Caller::Nobody);
    };
    if route.access == Access::Everybody {
        return Ok(Caller::Nobody);
    }
    if !who::is_token(text) && matches!(route.access, Access::HolderOr(_)) {
        return Ok(Caller::Holder(text.to_owned()));
    }
    let (text, now) = (text.to_owned(), app.now());
    let found: Result<_, StoreError> = app
        .store
        .read(move |read| tokens::by_text(read, &text, now))
        .await;
    match found? {
        Some(token) => Ok(Caller::Token(token)),
        None => {
            failed(app, request.extensions.get::<From>())?;
            let detail = "It is not known, was revoked, or its time is over.";
            Err(Problem::new(401, "unauthorized", "The token is not valid")
                .detail(detail)
                .into())
        }
    }
}

/// Counts a failure of a source; an error where it has had too many. What comes while it has to wait costs it nothing more:
/// who goes on guessing does not keep the others behind that address waiting.
pub(crate) fn failed(app: &App, from: Option<&From>) -> Result<(), Failure> {
    let Some(From(address)) = from else { return Ok(()) };
    let (source, now) = (Source::from(*address), app.now());
    match app.limiter.wait_of_source(source, now) {
        Some(wait) => Err(limited(app, wait)),
        None => {
            app.limiter.source_failed(source, now);
            Ok(())
        }
    }
}

/// What is answered to who has failed too often.
pub(crate) fn limited(app: &App, wait: Duration) -> Failure {
    app.metrics.limited();
    Problem::new(429, "too-many-failures", "Too many failures before this")
        .detail("Attempts with wrong codes, tokens or secrets are limited by address and by code.")
        .retry_after(wait.as_millis().div_ceil(1000) as u64)
        .into()
}

/// What is answered where there is no such route, or not with that method.
pub(crate) async fn nowhere() -> Failure {
    Problem::new(404, "no-route", "There is nothing at this path")
        .detail("GET /openapi.json says what there is.")
        .into()
}

/// As [`nowhere`], of the method.
pub(crate) async fn no_such_method() -> Failure {
    Problem::new(405, "no-method", "Not by this method").into()
}
