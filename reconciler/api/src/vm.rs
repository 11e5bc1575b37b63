//! Machines: as hosts show them, and as they are asked for.
//!
//! A machine is asked for in one of two ways ([`PutVm`]): by a person, in the words of `labyard_vm`; or by an engine that
//! has decided everything already (the provider's, where it works through a server), in the words that engines write
//! (`labyard_reconciler::wire`), which no description of this API explains.
//!
//! ```
//! use labyard_api::vm::PutVm;
//! let asked = serde_json::json!({"attributes": {"memory_mib": 256}});
//! assert!(serde_json::from_value::<PutVm>(asked).unwrap().attributes.is_some());
//! ```

use crate::attributes;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::net::IpAddr;

/// A machine on a host, as it is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Vm {
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
    /// The pool that it is a machine of.
    pub pool: Option<String>,
    /// What it does: `running`, `stopped`, `paused`, `saved`, `crashed`; `absent` where only its disks are there; null
    /// where that cannot be told.
    pub power: Option<String>,
    /// What its making is at, while it is not whole.
    pub stage: Option<String>,
    /// Processors of its definition.
    pub cpus: Option<u32>,
    /// Memory of its definition.
    pub memory_mib: Option<u64>,
    /// Addresses that it has at present, none of them link-local.
    pub addresses: Vec<IpAddr>,
    /// What engines read of it, where one machine alone is shown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reading: Option<Value>,
}

/// Machines, and what they may be missing in.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Vms {
    /// By host and name.
    pub items: Vec<Vm>,
    /// Hosts that did not answer: there may be more machines.
    pub unread: Vec<Unread>,
}

/// A host that did not answer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Unread {
    /// The host.
    pub host: String,
    /// What was met.
    pub why: String,
}

/// The longest that an engine may say that a change may take, in seconds.
pub const LONGEST_LIMIT_S: u64 = 31_536_000;

/// A machine as it is asked for: `attributes`, or what an engine sends.
#[derive(Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PutVm {
    /// `labyard_vm` as it is written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attributes: Option<Value>,
    /// By an engine: what shall be. Where a machine is placed, by the id of each host that it may be on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub desired: Option<Value>,
    /// By an engine: what its state has of the machine, where that is to be changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub known: Option<Value>,
    /// By an engine: by what its state knows the machine again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub object: Option<Value>,
    /// By an engine: what a machine that is placed needs of its host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub want: Option<Value>,
    /// By an engine: how long it may take.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit_s: Option<u64>,
}

/// What an engine sends to have a machine removed.
#[derive(Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Destroy {
    /// What its state has of the machine.
    pub known: Value,
    /// By what its state knows the machine again.
    pub object: Value,
    /// How long it may take.
    #[serde(default)]
    #[schemars(range(max = 31_536_000))]
    pub limit_s: Option<u64>,
}

/// A machine or network that was found by its name or the host's id, as engines write it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Found {
    /// The object.
    pub view: Value,
    /// Its mark, of a machine of labyard's.
    pub mark: Option<Value>,
}

/// What is sent to make or change a machine.
pub fn put(generator: &mut SchemaGenerator) -> Schema {
    asked(&attributes::vm(generator))
}

/// What is sent to make or change a network.
pub fn put_network(generator: &mut SchemaGenerator) -> Schema {
    asked(&attributes::network(generator))
}

fn asked(attributes: &Schema) -> Schema {
    json_schema!({
        "oneOf": [
            {
                "type": "object",
                "properties": {"attributes": attributes},
                "required": ["attributes"],
                "additionalProperties": false,
            },
            {
                "description": "What an engine sends that has decided everything, in the words of engines.",
                "type": "object",
                "properties": {
                    "desired": {"type": "object"},
                    "known": {},
                    "object": {},
                    "want": {},
                    "limit_s": {"type": "integer", "minimum": 0, "maximum": LONGEST_LIMIT_S},
                },
                "required": ["desired"],
                "additionalProperties": false,
            },
        ],
    })
}
