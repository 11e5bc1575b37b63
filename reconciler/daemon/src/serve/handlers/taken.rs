//! What requests bring, read with errors that say where they are.

use crate::{failure::Failure, serve::app::App};
use axum::{
    extract::{FromRequest, FromRequestParts, Request},
    response::IntoResponse,
};
use http::{header, request::Parts};
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use labyard_api::{problem::Problem, vm::LONGEST_LIMIT_S};
use labyard_labs::ids::Namespace;
use serde::de::DeserializeOwned;
use std::{sync::Arc, time::Duration};

/// A body of JSON.
pub(crate) struct Json<T>(pub(crate) T);

/// The query.
pub(crate) struct Query<T>(pub(crate) T);

/// The only value in the path.
pub(crate) struct Name(pub(crate) String);

/// The two values in the path.
pub(crate) struct Two(pub(crate) String, pub(crate) String);

/// The three values in the path.
pub(crate) struct Three(pub(crate) String, pub(crate) String, pub(crate) String);

/// Values that cannot be, as the answer to them.
pub(crate) fn invalid() -> Problem {
    Problem::new(422, "invalid", "The request has values that cannot be")
}

impl<T: DeserializeOwned> FromRequest<Arc<App>> for Json<T> {
    type Rejection = Failure;

    async fn from_request(request: Request, app: &Arc<App>) -> Result<Self, Failure> {
        let media_type = request.headers().get(header::CONTENT_TYPE);
        let media_type = media_type
            .and_then(|value| value.to_str().ok())
            .unwrap_or_default();
        let essence = media_type.split(';').next().unwrap_or_default().trim();
        if !essence.eq_ignore_ascii_case("application/json") {
            let problem = Problem::new(415, "media-type", "The body is no JSON");
            return Err(problem.detail("Send Content-Type: application/json.").into());
        }
        let body = Limited::new(request.into_body(), app.limits.body_bytes);
        let body = match body.collect().await {
            Ok(body) => body.to_bytes(),
            Err(error) if error.downcast_ref::<LengthLimitError>().is_some() => {
                let detail = format!("More than {} bytes are not taken.", app.limits.body_bytes);
                return Err(Problem::new(413, "too-long", "The body is too long")
                    .detail(detail)
                    .into());
            }
            Err(_) => return Err(Problem::new(400, "cut-off", "The body did not come to its end").into()),
        };
        serde_json::from_slice(&body).map(Self).map_err(|error| {
            let at = format!("line {}, column {}", error.line(), error.column());
            match error.classify() {
                // A text in a message may be a secret: where it is has to do.
                serde_json::error::Category::Data => invalid()
                    .detail(said(&error))
                    .wrong(at, "no such value belongs here"),
                _ => Problem::new(400, "no-json", "The body is no JSON")
                    .wrong(at, "this is where reading ended"),
            }
            .into()
        })
    }
}

/// What serde says of fields that are missing or too many; nothing that repeats a value.
fn said(error: &serde_json::Error) -> String {
    let text = error.to_string();
    let names_fields = ["missing field", "unknown field", "duplicate field"];
    match names_fields.iter().any(|beginning| text.starts_with(beginning)) {
        true => format!("{text}."),
        false => "A value is not of the kind that belongs here.".to_owned(),
    }
}

impl<T: DeserializeOwned> FromRequestParts<Arc<App>> for Query<T> {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, _: &Arc<App>) -> Result<Self, Failure> {
        let query = axum::extract::Query::<T>::try_from_uri(&parts.uri);
        query.map(|query| Self(query.0)).map_err(|error| {
            let problem = Problem::new(400, "bad-query", "The query cannot be read");
            problem.detail(error.body_text()).into()
        })
    }
}

/// The values in the path.
async fn in_path<T: DeserializeOwned + Send>(parts: &mut Parts, app: &Arc<App>) -> Result<T, Failure> {
    match axum::extract::Path::<T>::from_request_parts(parts, app).await {
        Ok(path) => Ok(path.0),
        Err(error) => {
            let status = error.into_response().status().as_u16();
            Err(Problem::new(status, "bad-path", "The path cannot be read").into())
        }
    }
}

impl FromRequestParts<Arc<App>> for Name {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Self, Failure> {
        in_path(parts, app).await.map(Self)
    }
}

impl FromRequestParts<Arc<App>> for Two {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Self, Failure> {
        let (first, second) = in_path(parts, app).await?;
        Ok(Self(first, second))
    }
}

impl FromRequestParts<Arc<App>> for Three {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Self, Failure> {
        let (first, second, third) = in_path(parts, app).await?;
        Ok(Self(first, second, third))
    }
}

/// How many at most, of a list.
pub(crate) fn limit(asked: Option<u32>) -> Result<u32, Failure> {
    match asked.unwrap_or(100) {
        limit @ 1..=1000 => Ok(limit),
        other => Err(invalid()
            .wrong("limit", format!("{other} is not from 1 to 1000"))
            .into()),
    }
}

/// A namespace in a query, which can be one.
pub(crate) fn namespace(asked: Option<String>) -> Result<Option<Namespace>, Failure> {
    match &asked {
        Some(name) => match labyard_schema::check::namespace(name) {
            Ok(()) => Ok(asked.map(Namespace)),
            Err(detail) => Err(invalid().wrong("namespace", detail).into()),
        },
        None => Ok(None),
    }
}

/// The number of something in the store, in a query.
pub(crate) fn number(name: &str, asked: Option<u64>) -> Result<Option<i64>, Failure> {
    let number = asked.map(i64::try_from).transpose();
    number.map_err(|_| {
        invalid()
            .wrong(name, format!("it is more than {}", i64::MAX))
            .into()
    })
}

/// How long a change may take, as an engine says it.
pub(crate) fn time_limit(asked: Option<u64>) -> Result<Option<Duration>, Failure> {
    match asked {
        Some(asked) if asked > LONGEST_LIMIT_S => {
            let detail = format!("{asked} is more than {LONGEST_LIMIT_S}");
            Err(invalid().wrong("/limit_s", detail).into())
        }
        asked => Ok(asked.map(Duration::from_secs)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_limit_that_no_clock_could_hold_is_refused_where_it_stands() {
        assert_eq!(time_limit(None).unwrap(), None);
        assert_eq!(time_limit(Some(60)).unwrap(), Some(Duration::from_secs(60)));
        let longest = time_limit(Some(LONGEST_LIMIT_S)).unwrap();
        assert_eq!(longest, Some(Duration::from_secs(LONGEST_LIMIT_S)));
        for too_long in [LONGEST_LIMIT_S + 1, u64::MAX] {
            let refused = time_limit(Some(too_long)).unwrap_err();
            assert_eq!(
                (refused.0.status, refused.0.errors[0].at.as_str()),
                (422, "/limit_s")
            );
        }
    }
}
