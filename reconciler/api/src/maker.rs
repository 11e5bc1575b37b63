//! Who makes a pool or a code, until who asked for it has written down that it is there: in words of the caller's own, which
//! the server keeps and does not read. A caller that finds the maker dead of what it wanted to make takes it over, by
//! `left_by` when it puts it.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Says of an object who makes it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Making {
    /// The object's identity: of another that has its place nothing is said.
    pub id: String,
    /// Its maker, which lives; left out: who asked for it has written down that it is there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub maker: Option<String>,
}
