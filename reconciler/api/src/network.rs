//! Networks as hosts show them. They are asked for as machines are ([`crate::vm::PutVm`]), in the words of
//! `labyard_network`.

use crate::vm::Unread;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// A network on a host, as it is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Network {
    /// The host.
    pub host: String,
    /// Its namespace; null for one that is not labyard's.
    pub namespace: Option<String>,
    /// Its name: the user's, or the host's for one that is not labyard's.
    pub name: String,
    /// The host's id of it.
    pub id: String,
    /// Whether it is labyard's.
    pub owned: bool,
    /// Whether it is up.
    pub active: bool,
    /// What it does: `nat`, `isolated`, `routed`, `bridge`; null for a kind that labyard does not make.
    pub mode: Option<String>,
    /// Its bridge on the host.
    pub bridge: Option<String>,
    /// The host's own address on it, with the prefix.
    pub address: Option<String>,
    /// What engines read of it, where one network alone is shown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reading: Option<Value>,
}

/// Networks, and what they may be missing in.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Networks {
    /// By host and name.
    pub items: Vec<Network>,
    /// Hosts that did not answer: there may be more networks.
    pub unread: Vec<Unread>,
}
