//! What each route does: a file a noun. A handler reads what was sent, makes one transaction, and answers.

mod asked;
pub(super) mod claims;
pub(super) mod codes;
pub(super) mod events;
pub(super) mod hosts;
pub(super) mod images;
pub(super) mod logins;
pub(super) mod makers;
pub(super) mod networks;
pub(super) mod onhost;
pub(super) mod operations;
pub(super) mod pools;
pub(super) mod quotas;
pub(super) mod system;
pub(super) mod taken;
pub(super) mod tokens;
pub(super) mod uploads;
mod veil;
mod versions;
pub(super) mod vms;

pub(super) use asked::tag;
pub(super) use taken::invalid;
pub(super) use versions::Rests;

use crate::failure::Failure;
use axum::response::{IntoResponse, Response};
use http::{HeaderValue, StatusCode, header};
use serde::Serialize;

/// What a handler answers.
type Answer = Result<Response, Failure>;

/// JSON with that status.
fn json(status: u16, value: &impl Serialize) -> Response {
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::OK);
    let body = serde_json::to_vec(value).unwrap_or_default();
    let media_type = (header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    (status, [media_type], body).into_response()
}
