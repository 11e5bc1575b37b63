//! A machine's serial console: read, or as a WebSocket typed into.

use super::{gone, identified};
use crate::{
    failure::Failure,
    serve::{
        app::App,
        handlers::{
            Answer,
            asked::{object, on},
            taken::{Query, Two},
        },
        listen::Staying,
        met,
        session::{self, Session},
        who::Caller,
    },
};
use axum::{
    Extension,
    body::Body,
    extract::{Request, State},
    response::{IntoResponse as _, Response},
};
use http::{HeaderMap, HeaderValue, StatusCode, header};
use labyard_api::problem::Problem;
use labyard_driver::{Console, DriverError, Entry, Heard, observed::Power};
use labyard_labs::{
    Refusal,
    console::{self, Held, Machine},
    ids::MemberId,
};
use labyard_reconciler::{
    EngineError,
    engine::{Embedded, ObjectRef},
};
use serde::Deserialize;
use std::sync::Arc;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

/// What who only reads is told as the last of the console, since he is told nothing else.
const TAKEN_OVER: &str = "\r\n[labyard: somebody else has taken the console over]\r\n";

/// What the query says.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Asked {
    namespace: Option<String>,
    /// Whether who has the console loses it.
    force: Option<bool>,
}

impl Asked {
    /// What becomes of who has the console, where nothing is said of it and where something is.
    fn entry(&self, unsaid: Entry) -> Entry {
        match self.force {
            None => unsaid,
            Some(true) => Entry::TakesOver,
            Some(false) => Entry::Waits,
        }
    }
}

pub(crate) async fn console(
    State(app): State<Arc<App>>,
    Extension(caller): Extension<Caller>,
    Two(host, name): Two,
    Query(asked): Query<Asked>,
    request: Request,
) -> Answer {
    let key = key(request.headers())?;
    let namespace = caller.namespace(asked.namespace.as_deref())?;
    let (engine, host) = on(&app, &host).await?;
    let object = object((&host, &name), &namespace, None);
    let Some((view, Some(mark))) = super::by_name(engine, &object).await? else {
        return Err(gone("machine"));
    };
    let object = identified(object, &view);
    let Some(key) = key else {
        let entry = asked.entry(Entry::TakesOver);
        return read(&app, opened(engine, &object, entry).await?);
    };
    if matches!(view.power, Power::Stopped | Power::Saved) {
        return Err(not_running());
    }
    let machine = Machine {
        namespace,
        subject: format!("vm/{host}/{name}"),
        member: mark
            .member
            .map(|member| (member.pool.as_str().into(), MemberId(member.id))),
    };
    let entry = asked.entry(Entry::Waits);
    let (console, held) = begun(&app, &caller, (engine.as_ref(), &object), machine, entry).await?;
    let session = Session {
        app,
        caller,
        console,
        held,
    };
    Ok(switched(&key, session, request))
}

/// The key of who asks for a WebSocket; none where nobody does.
fn key(headers: &HeaderMap) -> Result<Option<HeaderValue>, Failure> {
    let says = |name, word: &str| {
        let values = headers.get_all(name).iter();
        let mut words = values
            .filter_map(|value| value.to_str().ok())
            .flat_map(|value| value.split(','));
        words.any(|said| said.trim().eq_ignore_ascii_case(word))
    };
    if !(says(header::UPGRADE, "websocket") && says(header::CONNECTION, "upgrade")) {
        return Ok(None);
    }
    match headers.get(header::SEC_WEBSOCKET_KEY) {
        Some(key) if says(header::SEC_WEBSOCKET_VERSION, "13") => Ok(Some(key.clone())),
        _ => {
            let detail = "Sec-WebSocket-Version: 13 and a Sec-WebSocket-Key belong to it.";
            Err(
                Problem::new(426, "no-websocket", "It is no WebSocket of RFC 6455")
                    .detail(detail)
                    .into(),
            )
        }
    }
}

/// The console of a machine that runs.
async fn opened(engine: &Embedded, object: &ObjectRef, entry: Entry) -> Result<Box<dyn Console>, Failure> {
    let opened = engine.console(object, entry).await;
    opened.map_err(|error| match error.root() {
        EngineError::Host {
            source: DriverError::Busy { .. },
            ..
        } if entry == Entry::Waits => Problem::new(409, "console-taken", "Somebody else has the console")
            .detail(format!(
                "{}: wait until it is let go, or take it over with force.",
                error.root()
            ))
            .into(),
        _ => met::problem(&error),
    })
}

fn not_running() -> Failure {
    Problem::new(409, "not-running", "The machine does not run")
        .detail("A machine has a console while it runs: start it first.")
        .into()
}

/// The console, with that somebody types into it in the log. Who may not is refused before anybody loses it, and nothing is
/// written of who got none.
async fn begun(
    app: &Arc<App>,
    caller: &Caller,
    (engine, object): (&Embedded, &ObjectRef),
    machine: Machine,
    entry: Entry,
) -> Result<(Box<dyn Console>, Option<Held>), Failure> {
    let looked = machine.clone();
    let may: Result<_, Refusal> = app
        .store
        .read(move |read| console::may_begin(read, &looked))
        .await;
    may?;
    let console = opened(engine, object, entry).await?;
    let (actor, now) = (caller.actor(), app.now());
    let held: Result<_, Refusal> = app
        .store
        .write(move |write| console::begin(write, &machine, &actor, now))
        .await;
    Ok((console, held?))
}

/// What it says, until it ends.
fn read(app: &App, console: Box<dyn Console>) -> Answer {
    let ending = app.ending.clone();
    let said = futures::stream::try_unfold(Some(console), move |console| {
        let ending = ending.clone();
        async move {
            let Some(mut console) = console else {
                return Ok(None);
            };
            let heard = tokio::select! {
                () = ending.cancelled() => return Ok(None),
                heard = console.read() => heard,
            };
            // A console that breaks off is one that ended: whoever listens asks again.
            Ok::<_, std::io::Error>(match heard.map_err(std::io::Error::other)? {
                Heard::Said(bytes) => Some((bytes, Some(console))),
                Heard::TakenOver => Some((TAKEN_OVER.into(), None)),
                Heard::Ended => None,
            })
        }
    });
    let media_type = (
        header::CONTENT_TYPE,
        HeaderValue::from_static("application/octet-stream"),
    );
    Ok(([media_type], Body::from_stream(said)).into_response())
}

/// The answer after which the connection is the session's.
fn switched(key: &HeaderValue, session: Session, mut request: Request) -> Response {
    let staying = request.extensions_mut().remove::<Staying>();
    let connection = hyper::upgrade::on(request);
    tokio::spawn(async move {
        session::run(session, connection).await;
        // The server waits for it when it ends, and it counts among its address's connections.
        drop(staying);
    });
    let headers = [
        (header::CONNECTION, HeaderValue::from_static("upgrade")),
        (header::UPGRADE, HeaderValue::from_static("websocket")),
    ];
    let mut response = (StatusCode::SWITCHING_PROTOCOLS, headers).into_response();
    // It is letters and digits alone.
    if let Ok(accepted) = derive_accept_key(key.as_bytes()).parse() {
        response
            .headers_mut()
            .insert(header::SEC_WEBSOCKET_ACCEPT, accepted);
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(lines: &[(&'static str, &'static str)]) -> Result<Option<HeaderValue>, u16> {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(*name, HeaderValue::from_static(value));
        }
        key(&headers).map_err(|failure| failure.0.status)
    }

    #[test]
    fn a_websocket_is_asked_for_as_its_standard_says_and_anything_else_reads() {
        let (upgrade, connection) = (("upgrade", "WebSocket"), ("connection", "keep-alive, Upgrade"));
        let (version, key) = (
            ("sec-websocket-version", "13"),
            ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
        );
        assert!(asked(&[upgrade, connection, version, key]).unwrap().is_some());
        for reads in [
            &[][..],
            &[upgrade],
            &[("upgrade", "h2c"), connection, version, key],
        ] {
            assert_eq!(asked(reads), Ok(None));
        }
        for wrong in [
            &[upgrade, connection, version][..],
            &[upgrade, connection, key],
            &[upgrade, connection, ("sec-websocket-version", "8"), key],
        ] {
            assert_eq!(asked(wrong), Err(426));
        }
    }
}
