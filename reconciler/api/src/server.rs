//! The server itself: its release, which API it speaks, which store it is on.
//!
//! ```
//! use labyard_api::server::{NUMBER, agreed};
//! assert_eq!(agreed(NUMBER + 1), Ok(NUMBER));
//! assert!(agreed(NUMBER + 2).is_err());
//! ```

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The API of this release. It rises by one with each release whose API is another.
pub const NUMBER: u32 = 1;

/// A server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Server {
    /// Its release.
    pub release: String,
    /// The number of its API: programs of one number more or less work with it.
    pub api: u32,
    /// The identity of its store, which all replicas share.
    pub store: String,
    /// The moments of machines at which it asks hooks (`before:define`): what these may supply no plan can know.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub hooks: Vec<String>,
}

/// Server and program are too far apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "its API has the number {theirs}, this program's is {NUMBER}: one release apart works, more does not"
)]
pub struct Apart {
    /// The number of the server's.
    pub theirs: u32,
}

/// The number of the API that both speak.
///
/// # Errors
/// If they are more than one release apart.
pub fn agreed(theirs: u32) -> Result<u32, Apart> {
    match theirs.abs_diff(NUMBER) {
        0 | 1 => Ok(theirs.min(NUMBER)),
        _ => Err(Apart { theirs }),
    }
}
