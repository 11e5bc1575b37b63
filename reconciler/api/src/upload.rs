//! Images that callers send.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// An image that was sent.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Upload {
    /// Its digest, by which a machine names it.
    pub sha256: String,
    /// How long it is.
    pub bytes: u64,
}
