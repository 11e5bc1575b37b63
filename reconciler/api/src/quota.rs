//! What namespaces may have.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The quota of a namespace, and what is held of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Quota {
    /// The namespace.
    pub namespace: String,
    /// Machines. A pool holds as many as it may ever have.
    pub machines: Held,
    /// Their virtual processors.
    pub cpus: Held,
    /// Their memory in MiB.
    pub memory_mib: Held,
}

/// How much is held, and how much may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Held {
    /// How much is held.
    pub used: u64,
    /// How much may be; null says that there is no bound.
    pub quota: Option<u64>,
}
