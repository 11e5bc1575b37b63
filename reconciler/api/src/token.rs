//! Tokens: who a program or a person is to the server, and what it may do.
//!
//! ```
//! use labyard_api::token::Role;
//! assert!(Role::Admin.is_at_least(Role::Viewer));
//! assert!(!Role::Redeem.is_at_least(Role::Viewer));
//! ```

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::{fmt, str::FromStr};

/// What the text of a token begins with, so that it is told from the secret of a claim.
pub const PREFIX: &str = "lyt_";

/// What a token may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Redeems codes, and sees nothing.
    Redeem,
    /// Sees everything but secrets.
    Viewer,
    /// And hands out and takes back: claims, drains, cancels.
    Operator,
    /// And makes and removes: pools, codes, tokens.
    Admin,
}

impl Role {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Redeem, Self::Viewer, Self::Operator, Self::Admin];

    /// Its word in the store, the API and on the command line.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Redeem => "redeem",
            Self::Viewer => "viewer",
            Self::Operator => "operator",
            Self::Admin => "admin",
        }
    }

    /// Whether it may all that the other may. A token that redeems is none of those that look.
    #[must_use]
    pub fn is_at_least(self, other: Self) -> bool {
        self >= other
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

impl FromStr for Role {
    type Err = String;

    fn from_str(word: &str) -> Result<Self, String> {
        let found = Self::ALL.into_iter().find(|role| role.word() == word);
        found.ok_or_else(|| format!("{word:?} is no role: redeem, viewer, operator or admin"))
    }
}

/// A token, without its text.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Token {
    /// Its name: who did something, in the log.
    pub name: String,
    /// What it may do.
    pub role: Role,
    /// In which namespaces; null says in all.
    pub namespaces: Option<Vec<String>>,
    /// Since when it is there.
    pub created_at: jiff::Timestamp,
    /// Until when it is valid; null says until it is revoked.
    pub expires_at: Option<jiff::Timestamp>,
    /// Since when it is not valid any more.
    pub revoked_at: Option<jiff::Timestamp>,
}

/// A token that is asked for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NewToken {
    /// Its name: letters, digits, `-`, `_` and `.`; never another's, also not of one that was revoked.
    #[schemars(length(min = 1, max = 63), regex(pattern = "^[A-Za-z0-9][A-Za-z0-9._-]*$"))]
    pub name: String,
    /// What it may do.
    pub role: Role,
    /// In which namespaces; left out: in all that the asking token has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespaces: Option<Vec<String>>,
    /// After how many seconds it is not valid any more; left out: when it is revoked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 3_153_600_000_u64))]
    pub valid_s: Option<u64>,
}

/// What a terminal brings for the token of the person who signed in.
#[derive(Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Ticket {
    /// What came to its port.
    #[schemars(length(max = 4096))]
    pub ticket: String,
    /// The secret whose challenge it gave at the beginning.
    #[schemars(length(max = 128))]
    pub verifier: String,
}

/// A token that was made. Its text is shown once, and kept nowhere.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct MadeToken {
    /// What it is.
    pub token: Token,
    /// Its text, for `Authorization: Bearer`.
    pub text: String,
}
