//! The HTTP API of labyard, as server, command line and provider share it.
//!
//! - [`claim`], [`pool`], [`code`], [`maker`], [`vm`], [`network`], [`image`], [`upload`], [`event`], [`operation`],
//!   [`host`], [`token`], [`server`]: what is sent and answered.
//! - [`problem`]: every answer that is not what was asked for (RFC 9457).
//! - [`routes`]: one table of all routes, with who may use each; the server's router is built of it, the roles are
//!   enforced by it, and [`openapi`] is generated from it.
//! - [`console`]: how a console that is typed into ends.
//! - [`attributes`]: the JSON Schema, the defaults and the checks of what `labyard-schema` describes.
//! - `client` (feature): the calls, over HTTP or to a server in the same process; `console` (feature): with consoles.
//!
//! ```
//! use labyard_api::{routes::{Op, route}, token::Role};
//! assert!(route(Op::Redeem).access.admits(Role::Redeem));
//! assert!(!route(Op::ListClaims).access.admits(Role::Redeem));
//! ```

pub mod attributes;
pub mod claim;
#[cfg(feature = "client")]
pub mod client;
pub mod code;
pub mod console;
pub mod event;
pub mod host;
pub mod image;
pub mod maker;
pub mod network;
pub mod openapi;
pub mod operation;
pub mod pool;
pub mod problem;
pub mod quota;
pub mod routes;
pub mod server;
pub mod token;
pub mod upload;
pub mod vm;

/// The version of the API: the first part of every path but those of the server itself.
pub const VERSION: &str = "v1";

/// A list, and how to go on where it is longer than one answer.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct List<T> {
    /// What was found, in its order.
    pub items: Vec<T>,
    /// Where there is more: the value of `after` that asks for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}
