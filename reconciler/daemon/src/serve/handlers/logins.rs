//! People sign in. Who comes back from the identity provider gets a token of the own name for a while, on a page, or where a
//! terminal waits for it through that.

use super::{
    Answer, json,
    taken::{Json, Query, invalid},
};
use crate::{
    failure::Failure,
    keep::tokens,
    serve::{app::App, guard},
    sign_in::{
        SignIn, SignInError,
        granted::{Granted, granted},
        under_way::{PATIENCE_S, Terminal, UnderWay, redeemed, ticket},
    },
};
use axum::{
    Extension,
    extract::State,
    response::{IntoResponse as _, Response},
};
use http::{HeaderMap, HeaderValue, StatusCode, header};
use labyard_api::{
    problem::Problem,
    routes::escaped,
    token::{MadeToken, Ticket},
};
use labyard_labs::ids::random_id;
use serde::Deserialize;
use std::sync::Arc;

const COOKIE: &str = "labyard_login";

impl From<SignInError> for Failure {
    fn from(error: SignInError) -> Self {
        let (status, kind, title) = match &error {
            SignInError::Unreachable { .. } => {
                (503, "provider-silent", "The identity provider does not answer")
            }
            SignInError::Strange { .. } | SignInError::Configuration(_) => {
                (500, "provider-strange", "The identity provider cannot be used")
            }
            SignInError::Refused(_) | SignInError::Unproven(_) => {
                (401, "login-refused", "You are not signed in")
            }
            SignInError::OtherState => (400, "login-state", "No sign-in is under way"),
            SignInError::NoRole { .. } => (403, "no-role", "You may do nothing here"),
        };
        if status >= 500 {
            tracing::error!(%error, "nobody can sign in");
        }
        let mut problem = Problem::new(status, kind, title);
        problem.retryable = status == 503;
        problem.detail(format!("{error}.")).into()
    }
}

fn sign_in(app: &App) -> Result<&SignIn, Failure> {
    app.sign_in.as_ref().ok_or_else(|| {
        Problem::new(404, "no-login", "Nobody signs in here")
            .detail("This server has no [oidc] in its configuration: use a token that its operator made.")
            .into()
    })
}

/// Who waits for it.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Asked {
    port: Option<u16>,
    challenge: Option<String>,
}

pub(crate) async fn begin(State(app): State<Arc<App>>, Query(asked): Query<Asked>) -> Answer {
    let sign_in = sign_in(&app)?;
    let terminal = match (asked.port, asked.challenge) {
        (None, None) => None,
        (Some(port @ 1024..), Some(challenge)) if challenge.len() == 43 => Some(Terminal { port, challenge }),
        _ => {
            let detail =
                "with a port from 1024 on goes the challenge of a secret, 43 letters; or neither is given";
            return Err(invalid().wrong("port", detail).into());
        }
    };
    let under_way = UnderWay::begin(terminal, app.now())?;
    let to = sign_in.provider.way_to(&under_way).await?;
    let secure = if sign_in.config.redirect_url.starts_with("https:") {
        "; Secure"
    } else {
        ""
    };
    let cookie = format!(
        "{COOKIE}={}; Path=/v1/login; Max-Age={PATIENCE_S}; HttpOnly; SameSite=Lax{secure}",
        under_way.sealed(&app.key)?
    );
    let mut answer = sent_to(&to)?;
    answer.headers_mut().insert(header::SET_COOKIE, text(&cookie)?);
    Ok(answer)
}

fn text(value: &str) -> Result<HeaderValue, Failure> {
    HeaderValue::from_str(value).map_err(|_| invalid().into())
}

fn sent_to(url: &str) -> Result<Response, Failure> {
    Ok((StatusCode::SEE_OTHER, [(header::LOCATION, text(url)?)]).into_response())
}

/// What a provider sends back; it may say more.
#[derive(Debug, Deserialize)]
pub(crate) struct Back {
    state: Option<String>,
    code: Option<String>,
    iss: Option<String>,
    error: Option<String>,
}

pub(crate) async fn back(
    State(app): State<Arc<App>>,
    from: Option<Extension<guard::From>>,
    Query(back): Query<Back>,
    headers: HeaderMap,
) -> Answer {
    let finished = finished(&app, &back, &headers).await;
    let (granted, terminal) = match finished {
        Ok(finished) => finished,
        Err(error) => {
            if matches!(error, SignInError::Refused(_) | SignInError::Unproven(_)) {
                guard::failed(&app, from.as_deref())?;
            }
            return Err(error.into());
        }
    };
    let mut answer = match terminal {
        Some(terminal) => {
            let ticket = ticket(&app.key, &granted, &terminal, app.now())?;
            agreed(&granted, terminal.port, &ticket)
        }
        None => shown(&made(&app, &granted, random_id()?).await?),
    };
    let gone = format!("{COOKIE}=; Path=/v1/login; Max-Age=0; HttpOnly; SameSite=Lax");
    answer.headers_mut().insert(header::SET_COOKIE, text(&gone)?);
    Ok(answer)
}

async fn finished(
    app: &App,
    back: &Back,
    headers: &HeaderMap,
) -> Result<(Granted, Option<Terminal>), SignInError> {
    let Some(sign_in) = &app.sign_in else {
        return Err(SignInError::OtherState);
    };
    let state = back.state.as_deref().unwrap_or_default();
    let under_way = UnderWay::opened(&app.key, cookie(headers).unwrap_or_default(), state, app.now())?;
    if let Some(error) = &back.error {
        return Err(SignInError::Refused(error.clone()));
    }
    // RFC 9207: another provider's answer is not for this one's token endpoint.
    if back
        .iss
        .as_ref()
        .is_some_and(|issuer| *issuer != sign_in.config.issuer)
    {
        return Err(SignInError::OtherState);
    }
    let code = back.code.as_deref().ok_or(SignInError::OtherState)?;
    let claims = sign_in.provider.person(code, &under_way).await?;
    Ok((granted(&claims, &sign_in.config)?, under_way.terminal))
}

fn cookie(headers: &HeaderMap) -> Option<&str> {
    let all = headers.get_all(header::COOKIE).iter();
    all.filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(';'))
        .find_map(|pair| pair.trim().strip_prefix(COOKIE)?.strip_prefix('='))
}

/// A token of the person's own; there is one of each id.
async fn made(app: &App, granted: &Granted, id: String) -> Result<MadeToken, Failure> {
    let lasts = sign_in(app)?.config.session;
    let (granted, now) = (granted.clone(), app.now());
    app.store
        .write(move |write| tokens::make_for_person(write, &granted, &id, lasts, now))
        .await
}

/// Who was sent here by somebody else sees which program would get the token, and leaves it.
fn agreed(granted: &Granted, port: u16, ticket: &str) -> Response {
    let to = format!("http://127.0.0.1:{port}/?ticket={}", escaped(ticket));
    page(&format!(
        "<p>You are signed in as {}.</p>\n<p>A program on this computer, at port {port}, waits to act in your name. Go on only if \
         you have just begun <code>labyard login</code> yourself, and it says port {port}.</p>\n\
         <p><a href=\"{to}\">Let the program at port {port} act in my name</a></p>\n",
        granted.person
    ))
}

/// For people without a terminal.
fn shown(made: &MadeToken) -> Response {
    let until = made
        .token
        .expires_at
        .map_or_else(String::new, |at| at.to_string());
    page(&format!(
        "<p>You are signed in as {}, until {until}.</p>\n<p>Your token, for LABYARD_TOKEN; it is shown this once:</p>\n\
         <pre>{}</pre>\n",
        made.token.name, made.text
    ))
}

/// A page for people. It runs nothing, loads nothing and stands in no other page. Names hold letters, digits and a few
/// signs, none of which means anything in it.
fn page(body: &str) -> Response {
    let head = "<!doctype html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n<title>labyard</title>\n";
    let headers = [
        (
            header::CONTENT_TYPE,
            HeaderValue::from_static("text/html; charset=utf-8"),
        ),
        (
            header::CONTENT_SECURITY_POLICY,
            HeaderValue::from_static("default-src 'none'; frame-ancestors 'none'"),
        ),
        (header::REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
        (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
    ];
    (headers, format!("{head}{body}")).into_response()
}

pub(crate) async fn token(
    State(app): State<Arc<App>>,
    from: Option<Extension<guard::From>>,
    Json(asked): Json<Ticket>,
) -> Answer {
    sign_in(&app)?;
    let made = match redeemed(&app.key, &asked.ticket, &asked.verifier, app.now()) {
        Ok((granted, id)) => match made(&app, &granted, id).await {
            // It was brought before.
            Err(failure) if failure.0.kind() == "token-exists" => Err(SignInError::OtherState),
            made => Ok(made?),
        },
        Err(error) => Err(error),
    };
    match made {
        Ok(made) => Ok(json(201, &made)),
        Err(error) => {
            guard::failed(&app, from.as_deref())?;
            Err(error.into())
        }
    }
}
