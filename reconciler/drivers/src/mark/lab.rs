//! What a mark says of labs: whose machine or network it is, so that a lost store can be made anew of the marks.

use serde::{Deserialize, Serialize};

use crate::ids::NicKey;
use crate::observed::Attachment;
use crate::spec::Isolation;

/// Which machine of which pool it is: enough to know it again where the store that said so is lost.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemberMark {
    /// The pool's name in the mark's namespace.
    pub pool: String,
    /// The machine's identity in the store that had it made.
    pub id: String,
    /// Its number in the pool.
    pub number: i64,
    /// The pool's generation that it was made by.
    pub generation: i64,
}

/// Whose network it is that a claim's machines have to themselves.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClaimMark {
    /// The claim's identity in the store that had the network made.
    pub id: String,
}

/// A card that was put on the network of a claim, and where it belongs: enough to put it back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LentMark {
    /// Which card.
    pub nic: NicKey,
    /// The network that it was lent to, by the host's name.
    pub network: String,
    /// Where it is attached else.
    pub home: Attachment,
    /// Whom it reaches there.
    pub isolation: Isolation,
}
