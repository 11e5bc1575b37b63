//! Claims: a code redeemed for machines.

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, fmt};

/// The header that makes of two requests the same one.
pub const IDEMPOTENCY_KEY: &str = "Idempotency-Key";

/// A code is redeemed.
#[derive(Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Redeem {
    /// The code as it was typed.
    #[schemars(length(min = 1, max = 256))]
    pub code: String,
    /// Who redeems it: a name of the caller's own, the same each time.
    #[schemars(length(min = 1, max = 128))]
    pub user: String,
    /// The user's own public key, a line as in `authorized_keys`; left out: one is made for the claim where its machines
    /// are entered by key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 16_384))]
    pub ssh_public_key: Option<String>,
    /// How many seconds to wait in the queue where nothing is free; left out: not at all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(max = 604_800))]
    pub wait: Option<u32>,
    /// Which machines are taken.
    #[serde(default)]
    pub bind: Bind,
}

/// Which machines a claim takes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Bind {
    /// Whichever is free first: who waits has one made for him, beside those that its pool keeps ready.
    #[default]
    Any,
    /// Rather one that its pool keeps ready: one is made for who waits only where more are waited for than are kept.
    Prefer,
    /// One that its pool keeps ready: none is made. Refused where the pool keeps none.
    Require,
}

impl fmt::Debug for Redeem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Redeem")
            .field("user", &self.user)
            .field("wait", &self.wait)
            .finish_non_exhaustive()
    }
}

/// What a claim is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// It waits for machines.
    Queued,
    /// It has its machines; what only it may use is being put into them.
    Bound,
    /// Its machines can be used.
    Ready,
    /// Its clock stands still.
    Paused,
    /// Its time ended.
    Expired,
    /// It was given back.
    Released,
    /// It never got its machines, or lost one.
    Failed,
}

impl Phase {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::Queued,
        Self::Bound,
        Self::Ready,
        Self::Paused,
        Self::Expired,
        Self::Released,
        Self::Failed,
    ];

    /// Its word.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Bound => "bound",
            Self::Ready => "ready",
            Self::Paused => "paused",
            Self::Expired => "expired",
            Self::Released => "released",
            Self::Failed => "failed",
        }
    }
}

/// A claim.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Claim {
    /// Its identity.
    pub id: String,
    /// Its namespace.
    pub namespace: String,
    /// Whose it is.
    pub user: String,
    /// What it is.
    pub phase: Phase,
    /// How many machines of which pools it wants, or has.
    pub pools: BTreeMap<String, u32>,
    /// Its machines.
    pub machines: Vec<Machine>,
    /// The address that its machines are reached from, and no other, where their pools say so; null where none does, and
    /// when it is over.
    pub reached_from: Option<String>,
    /// When it ends, if nobody extends or pauses it.
    pub expires_at: Option<Timestamp>,
    /// When it ends at the latest.
    pub latest_at: Option<Timestamp>,
    /// Since when its clock stands still.
    pub paused_at: Option<Timestamp>,
    /// While it waits: how many stand before it, itself included.
    pub position: Option<u64>,
    /// While it waits: in how many seconds it is its turn at the latest, if all leases run to their ends. Null where
    /// that cannot be said.
    pub estimate_s: Option<u64>,
    /// While it waits: until when.
    pub wait_until: Option<Timestamp>,
}

/// A machine of a claim.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Machine {
    /// Its name on its host.
    pub name: String,
    /// Its pool.
    pub pool: String,
    /// Its host.
    pub host: Option<String>,
    /// Addresses that it was seen with, the first card's first.
    pub addresses: Vec<String>,
    /// Who is let into it.
    pub user: Option<String>,
    /// What is needed to enter it, for the holder of the claim alone: once it is ready, until the first keepalive.
    pub credentials: Option<Credentials>,
}

/// What is needed to enter a machine. `Debug` does not show it.
#[derive(Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Credentials {
    /// The private key that was made for the claim, in OpenSSH's format.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub private_key: Option<String>,
    /// Its public half.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub public_key: Option<String>,
    /// The password of the user.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password: Option<String>,
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Credentials(…)")
    }
}

/// What was got for a code.
#[derive(Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Redeemed {
    /// The claim.
    pub claim: Claim,
    /// What its routes ask for, as `Authorization: Bearer`: the same for the same idempotency key.
    pub secret: String,
}

impl fmt::Debug for Redeemed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Redeemed")
            .field("claim", &self.claim)
            .finish_non_exhaustive()
    }
}

/// A lease is made longer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Extend {
    /// By how many seconds.
    #[schemars(range(min = 1, max = 31_536_000))]
    pub by_s: u32,
}
