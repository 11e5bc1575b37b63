//! Every answer that is not what was asked for.
//!
//! ```
//! use labyard_labs::Refusal;
//! assert!(Refusal::NoneFree { pool: "k8s".into() }.is_retryable());
//! assert_eq!(Refusal::UnknownCode.type_name(), "unknown-code");
//! ```

use crate::{
    claim::Phase,
    ids::{ClaimId, CodeName, Namespace, PoolName},
    member::State,
    quota::Kind,
};
use labyard_schema::Problem;
use labyard_store::{StoreError, event::Moment};

/// Why not.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Refusal {
    /// No such code; the same words whether it never was, or was deleted.
    #[error("this code is not known")]
    UnknownCode,
    /// No code of that name.
    #[error("there is no access code {name}")]
    NoCode {
        /// The name.
        name: CodeName,
    },
    /// There is one of that name already.
    #[error("there is an access code {name} already, made by somebody else")]
    CodeExists {
        /// The name.
        name: CodeName,
    },
    /// Another took the place of the one that is meant.
    #[error("the access code {name} was deleted and made anew by somebody else")]
    CodeReplaced {
        /// The name.
        name: CodeName,
    },
    /// What was asked for cannot be.
    #[error("{0}")]
    Unusable(Problem),
    /// The text is that of another code.
    #[error("this text is another code's already: choose another one, or leave it out to have one made up")]
    CodeTaken,
    /// The code was revoked.
    #[error("this code was revoked")]
    Revoked,
    /// Too early.
    #[error("this code is valid from {} on", shown(*from))]
    NotYetValid {
        /// From when on it is valid.
        from: Moment,
    },
    /// Too late.
    #[error("this code was valid until {}", shown(*until))]
    NoLongerValid {
        /// Until when it was.
        until: Moment,
    },
    /// From elsewhere.
    #[error("this code cannot be used from this address")]
    WrongSource,
    /// Used up.
    #[error("this code has been used {uses} times, as often as it may be")]
    UsedUp {
        /// How often.
        uses: i64,
    },
    /// Used up by this user.
    #[error("this user has used the code {uses} times, as often as each may")]
    UsedUpByUser {
        /// How often.
        uses: i64,
    },
    /// The idempotency key was used for another request.
    #[error("this idempotency key was used for a request of another user: take a new one")]
    KeyReused,
    /// The code grants a pool that is not there.
    #[error("the pool {pool} that this code grants does not exist")]
    NoPool {
        /// The pool.
        pool: PoolName,
    },
    /// The pool is being emptied.
    #[error("the pool {pool} is being removed: wait until it is gone, or give another name")]
    PoolLeaving {
        /// The pool.
        pool: PoolName,
    },
    /// The pool's schedule keeps it closed.
    #[error("the pool {pool} is closed by its schedule{}", opens.map_or_else(String::new, |at| format!(": try again from {} on", shown(at))))]
    PoolClosed {
        /// The pool.
        pool: PoolName,
        /// When it opens or begins to warm up.
        opens: Option<Moment>,
    },
    /// Claims stand against the removal of a pool.
    #[error(
        "{claims} claims have machines of pool {pool} or wait for them: release them, or set on_destroy to \"drain\" or \"force\", apply that, and remove the pool then"
    )]
    PoolInUse {
        /// The pool.
        pool: PoolName,
        /// How many.
        claims: usize,
    },
    /// The namespace may not have so much.
    #[error(
        "the namespace {namespace} may have {quota} {kind}; {used} are held by others, and {asked} were asked for: ask for less, give something back, or have its quota raised"
    )]
    OverQuota {
        /// The namespace.
        namespace: Namespace,
        /// Of what.
        kind: Kind,
        /// How much it may have.
        quota: u64,
        /// How much of that is held by others than what was asked for.
        used: u64,
        /// How much was asked for.
        asked: u64,
    },
    /// Another worker has the machine by now.
    #[error(
        "machine {machine} was taken over by another worker, or is something else by now: what was done for it counts for nothing"
    )]
    TakenOver {
        /// The machine.
        machine: String,
    },
    /// No machine is free.
    #[error("no machine of pool {pool} is free: try again, or wait in the queue")]
    NoneFree {
        /// The pool.
        pool: PoolName,
    },
    /// More machines than the pool may ever have.
    #[error(
        "{asked} machines of pool {pool} were asked for, and it may have {max}: raise its max, or have the code grant fewer"
    )]
    TooMany {
        /// The pool.
        pool: PoolName,
        /// How many were asked for.
        asked: u32,
        /// How many it may have.
        max: u32,
    },
    /// Only machines that stand ready are wanted, and there are none.
    #[error(
        "the pool {pool} keeps no machines ready, and one that is was required: take any, or wait for one to be made"
    )]
    NeverWarm {
        /// The pool.
        pool: PoolName,
    },
    /// Its machines would be reached from nowhere.
    #[error(
        "machines of pool {pool} are reached from the address alone that they are asked for from, and this request has none: ask the daemon over the network"
    )]
    NoSource {
        /// The pool.
        pool: PoolName,
    },
    /// Nobody has the machine, and somebody will.
    #[error(
        "{machine} is a machine of pool {pool} that is {}: what is typed into it would wait there for its next user. Redeem a code for it, or only read",
        state.map_or("not known here", State::word)
    )]
    NobodysNow {
        /// The machine.
        machine: String,
        /// Its pool.
        pool: PoolName,
        /// What it is; none where the store does not know it.
        state: Option<State>,
    },
    /// No such claim, or not with this secret.
    #[error("there is no such claim")]
    NoClaim,
    /// The claim is past that.
    #[error("the claim {claim} is {phase}: {what}")]
    WrongPhase {
        /// The claim.
        claim: ClaimId,
        /// What it is.
        phase: Phase,
        /// What cannot be done with it.
        what: &'static str,
    },
    /// Nothing to gain.
    #[error("the lease ends at {} at the latest, and cannot be extended further", shown(*latest))]
    LeaseAtItsEnd {
        /// When.
        latest: Moment,
    },
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Refusal {
    /// Its name for programs.
    #[must_use]
    pub fn type_name(&self) -> &'static str {
        match self {
            Self::UnknownCode => "unknown-code",
            Self::NoCode { .. } => "no-code",
            Self::CodeExists { .. } => "code-exists",
            Self::CodeReplaced { .. } => "code-replaced",
            Self::Unusable(_) => "unusable",
            Self::CodeTaken => "code-taken",
            Self::Revoked => "revoked",
            Self::NotYetValid { .. } => "not-yet-valid",
            Self::NoLongerValid { .. } => "no-longer-valid",
            Self::WrongSource => "wrong-source",
            Self::UsedUp { .. } => "used-up",
            Self::UsedUpByUser { .. } => "used-up-by-user",
            Self::KeyReused => "idempotency-key-reused",
            Self::NoPool { .. } => "no-pool",
            Self::PoolLeaving { .. } => "pool-leaving",
            Self::PoolClosed { .. } => "pool-closed",
            Self::PoolInUse { .. } => "pool-in-use",
            Self::OverQuota { .. } => "over-quota",
            Self::TakenOver { .. } => "taken-over",
            Self::NoneFree { .. } => "none-free",
            Self::TooMany { .. } => "too-many",
            Self::NeverWarm { .. } => "never-warm",
            Self::NoSource { .. } => "no-source",
            Self::NobodysNow { .. } => "pool-member",
            Self::NoClaim => "no-claim",
            Self::WrongPhase { .. } => "wrong-phase",
            Self::LeaseAtItsEnd { .. } => "lease-at-its-end",
            Self::Store(_) => "store",
        }
    }

    /// Whether the same request may succeed later.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::NoneFree { .. }
            | Self::NotYetValid { .. }
            | Self::PoolLeaving { .. }
            | Self::PoolClosed { .. } => true,
            Self::Store(error) => error.is_retryable(),
            _ => false,
        }
    }
}

/// A time as RFC 3339 in UTC, to the second.
pub(crate) fn shown(at: Moment) -> String {
    let seconds = at.0.div_euclid(1000);
    let (days, of_day) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
    let (year, month, day) = civil(days);
    format!(
        "{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}Z",
        of_day / 3600,
        of_day / 60 % 60,
        of_day % 60
    )
}

/// Year, month and day of a day since 1970-01-01, in eras of 400 years that begin on 1 March.
fn civil(days: i64) -> (i64, i64, i64) {
    let shifted = days + 719_468;
    let (era, of_era) = (shifted.div_euclid(146_097), shifted.rem_euclid(146_097));
    let year = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month + 2) / 5 + 1;
    let calendar = if month < 10 { month + 3 } else { month - 9 };
    (year + era * 400 + i64::from(calendar <= 2), calendar, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_shown_in_utc() {
        for (at, text) in [
            (0, "1970-01-01T00:00:00Z"),
            (951_782_400_000, "2000-02-29T00:00:00Z"),
            (1_795_301_999_999, "2026-11-21T22:59:59Z"),
            (-1, "1969-12-31T23:59:59Z"),
        ] {
            assert_eq!(shown(Moment(at)), text);
        }
    }
}
