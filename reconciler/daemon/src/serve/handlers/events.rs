//! Events as they happen: those that were logged after the one that the listener saw last, then each as it is logged.
//! The log has numbers in the order of its commits and without holes, so nothing is lost or told twice, whichever replica
//! wrote it.

use super::{
    Answer,
    taken::{Query, namespace, number},
};
use crate::{
    failure::Failure,
    keep::time,
    serve::{app::App, handlers::taken::invalid, who::Caller},
};
use axum::{Extension, body::Body, extract::State, response::IntoResponse as _};
use bytes::Bytes;
use futures::stream;
use http::{HeaderMap, HeaderValue, header};
use labyard_api::event::{Event, LAST_EVENT_ID};
use labyard_labs::{ids::Namespace, show::Scope};
use labyard_store::{
    StoreError,
    event::{EventId, Logged},
};
use serde::Deserialize;
use std::{convert::Infallible, sync::Arc, time::Duration};

/// Events that are read at once.
const BATCH: u32 = 500;
/// How often the log is looked at for what other replicas wrote.
const LOOK: Duration = Duration::from_secs(1);
/// How often a stream on which nothing happens shows that it lives.
const STILL_THERE: Duration = Duration::from_secs(15);

/// What is listened to.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Listened {
    namespace: Option<String>,
    after: Option<u64>,
    until: Option<Until>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Until {
    Now,
}

pub(crate) async fn follow(
    State(app): State<Arc<App>>,
    Extension(caller): Extension<Caller>,
    Query(listened): Query<Listened>,
    headers: HeaderMap,
) -> Answer {
    let named = last_event_id(&headers)?.or(number("after", listened.after)?);
    let newest = newest(&app).await?;
    let listener = Listener {
        scope: caller.scope().narrowed(namespace(listened.namespace)?.as_ref()),
        seen: named.map_or(newest, EventId),
        until: listened.until.map(|_| newest),
        wakes: app.store.newest(),
        app,
        greeted: false,
    };
    let body = Body::from_stream(stream::unfold(listener, |mut listener| async {
        let text = listener.next().await?;
        Some((Ok::<_, Infallible>(Bytes::from(text)), listener))
    }));
    let media_type = (
        header::CONTENT_TYPE,
        HeaderValue::from_static("text/event-stream"),
    );
    Ok(([media_type], body).into_response())
}

fn last_event_id(headers: &HeaderMap) -> Result<Option<i64>, Failure> {
    let Some(value) = headers.get(LAST_EVENT_ID) else {
        return Ok(None);
    };
    let number = value.to_str().ok().and_then(|text| text.trim().parse().ok());
    match number.filter(|number| *number >= 0) {
        Some(number) => Ok(Some(number)),
        None => Err(invalid()
            .wrong(LAST_EVENT_ID, "the number of an event belongs here")
            .into()),
    }
}

async fn newest(app: &App) -> Result<EventId, StoreError> {
    let read = app.store.read(|read| {
        let rows = read.query("SELECT COALESCE(MAX(id), 0) AS newest FROM events", &[])?;
        rows.first().map_or(Ok(0), |row| row.get("newest"))
    });
    read.await.map(EventId)
}

/// Somebody who listens.
struct Listener {
    app: Arc<App>,
    scope: Scope,
    seen: EventId,
    until: Option<EventId>,
    wakes: tokio::sync::watch::Receiver<EventId>,
    greeted: bool,
}

impl Listener {
    /// What is sent next; none ends the stream.
    async fn next(&mut self) -> Option<String> {
        if !self.greeted {
            self.greeted = true;
            // So that proxies and browsers pass on that the stream has begun.
            return Some(": events\n\n".to_owned());
        }
        let mut quiet = Duration::ZERO;
        loop {
            self.wakes.mark_unchanged();
            let text = self.read().await?;
            if !text.is_empty() {
                return Some(text);
            }
            if self.until.is_some_and(|until| self.seen >= until) || self.app.ending.is_cancelled() {
                return None;
            }
            if quiet >= STILL_THERE {
                return Some(": still there\n\n".to_owned());
            }
            tokio::select! {
                () = self.app.ending.cancelled() => {}
                Ok(()) = self.wakes.changed() => {}
                () = tokio::time::sleep(LOOK) => quiet += LOOK,
            }
        }
    }

    /// The next events that are for this listener; empty where there are none yet.
    async fn read(&mut self) -> Option<String> {
        loop {
            let seen = self.seen;
            let batch = self
                .app
                .store
                .read(move |read| read.events_after(seen, BATCH))
                .await;
            let batch = match batch {
                Ok(batch) => batch,
                Err(error) if error.is_retryable() => return Some(String::new()),
                Err(error) => {
                    tracing::error!(%error, "events cannot be read: a listener is sent away");
                    return None;
                }
            };
            let Some(last) = batch.last() else {
                return Some(String::new());
            };
            self.seen = last.id;
            let text: String = batch
                .iter()
                .filter(|logged| self.is_for(logged))
                .map(told)
                .collect();
            if !text.is_empty() {
                return Some(text);
            }
        }
    }

    /// What belongs to no namespace is for who sees all of them.
    fn is_for(&self, logged: &Logged) -> bool {
        self.until.is_none_or(|until| logged.id <= until)
            && self.scope.holds(&Namespace(logged.event.namespace.clone()))
    }
}

fn told(logged: &Logged) -> String {
    let event = Event {
        id: logged.id.0,
        at: time(logged.event.at),
        namespace: logged.event.namespace.clone(),
        actor: logged.event.actor.clone(),
        action: logged.event.action.clone(),
        subject: logged.event.subject.clone(),
        detail: logged.event.detail.clone(),
    };
    let data = serde_json::to_string(&event).unwrap_or_default();
    format!("id: {}\nevent: {}\ndata: {data}\n\n", event.id, event.action)
}
