//! A machine of a pool as the store knows it.
//!
//! ```text
//! building ──▶ free ──▶ claimed ──▶ recycling ──▶ free
//!     │          │                       │
//!     └──▶ failed └──▶ retiring ──▶ gone ◀┘
//! ```
//! A used machine never becomes free but by way of `recycling` (invariant 11); which changes there are stands in
//! [`State::may_become`], and [`change`] makes no other.

use crate::{
    Refusal,
    claim::Queries,
    ids::{ClaimId, MemberId, Namespace, PoolName},
};
use labyard_store::{
    Row, StoreError, Value, Write,
    event::{Event, Moment},
};
use std::{fmt, net::IpAddr, str::FromStr};

/// What a machine of a pool is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum State {
    /// It is being made.
    Building,
    /// It waits for a claim.
    Free,
    /// A claim has it.
    Claimed,
    /// It is brought back to what it was.
    Recycling,
    /// It is being taken away.
    Retiring,
    /// It could not be made, or not be brought back.
    Failed,
}

impl State {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::Building,
        Self::Free,
        Self::Claimed,
        Self::Recycling,
        Self::Retiring,
        Self::Failed,
    ];

    /// Its word in the store and the API.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Building => "building",
            Self::Free => "free",
            Self::Claimed => "claimed",
            Self::Recycling => "recycling",
            Self::Retiring => "retiring",
            Self::Failed => "failed",
        }
    }

    /// Whether a machine may go from this state to that one.
    #[must_use]
    pub fn may_become(self, other: Self) -> bool {
        matches!(
            (self, other),
            (Self::Building, Self::Free | Self::Failed | Self::Retiring)
                | (Self::Free, Self::Claimed | Self::Recycling | Self::Retiring)
                | (Self::Claimed, Self::Recycling)
                | (Self::Recycling, Self::Free | Self::Failed | Self::Retiring)
                | (Self::Failed, Self::Retiring | Self::Recycling)
        )
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

impl FromStr for State {
    type Err = StoreError;

    fn from_str(word: &str) -> Result<Self, StoreError> {
        Self::ALL
            .into_iter()
            .find(|state| state.word() == word)
            .ok_or_else(|| StoreError::Unreadable {
                what: format!("members.state {word:?}"),
            })
    }
}

/// A machine of a pool.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// Its identity.
    pub id: MemberId,
    /// Its namespace.
    pub namespace: Namespace,
    /// Its pool.
    pub pool: PoolName,
    /// Its number in the pool, never used again.
    pub number: i64,
    /// Its name on the host.
    pub name: String,
    /// Its host, once it has one.
    pub host: Option<String>,
    /// What it is.
    pub state: State,
    /// The pool's generation that it was made by.
    pub generation: i64,
    /// The claim that has it.
    pub claim: Option<ClaimId>,
    /// Since when it is what it is.
    pub since: Moment,
    /// Whether somebody may have been in it since it was made or brought back.
    pub touch: Touch,
    /// How its host knows it, as whoever made it wrote it down; `None` while nothing of it is known there.
    pub identity: Option<serde_json::Value>,
    /// Addresses that it was seen with, the first card's first.
    pub addresses: Vec<IpAddr>,
    /// What kept the last piece of work on it from its end.
    pub trouble: Option<String>,
}

/// Whether somebody may have been in a machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Touch {
    /// Nobody was told how to enter it.
    Untouched,
    /// A claim had what is needed to enter it.
    Touched,
}

/// The columns that [`Member`] is read from.
pub(crate) const COLUMNS: &str = "id, namespace, pool, number, name, host, state, generation, claim, since, touched, identity, addresses, trouble";

pub(crate) fn read(row: &Row) -> Result<Member, StoreError> {
    let text = |column| row.get::<String>(column);
    Ok(Member {
        id: MemberId(text("id")?),
        namespace: Namespace(text("namespace")?),
        pool: PoolName(text("pool")?),
        number: row.get("number")?,
        name: text("name")?,
        host: row.get("host")?,
        state: text("state")?.parse()?,
        generation: row.get("generation")?,
        claim: row.get::<Option<String>>("claim")?.map(ClaimId),
        since: Moment(row.get("since")?),
        touch: match row.get::<i64>("touched")? {
            0 => Touch::Untouched,
            _ => Touch::Touched,
        },
        identity: json(row, "identity")?,
        addresses: json(row, "addresses")?.unwrap_or_default(),
        trouble: row.get("trouble")?,
    })
}

fn json<T: serde::de::DeserializeOwned>(row: &Row, column: &str) -> Result<Option<T>, StoreError> {
    let text = row.get::<Option<String>>(column)?;
    text.map(|text| {
        serde_json::from_str(&text).map_err(|error| StoreError::Unreadable {
            what: format!("members.{column}: {error}"),
        })
    })
    .transpose()
}

/// The machine of that identity; `None` where it is gone.
///
/// # Errors
/// If the store fails.
pub fn find(from: &mut impl Queries, id: &MemberId) -> Result<Option<Member>, StoreError> {
    let found = those(from, "WHERE id = $1", &[id.as_str().into()])?;
    Ok(found.into_iter().next())
}

/// The machines of a pool, by number.
///
/// # Errors
/// If the store fails.
pub fn of_pool(
    from: &mut impl Queries,
    namespace: &Namespace,
    pool: &PoolName,
) -> Result<Vec<Member>, StoreError> {
    let parameters = [namespace.as_str().into(), pool.as_str().into()];
    those(
        from,
        "WHERE namespace = $1 AND pool = $2 ORDER BY number",
        &parameters,
    )
}

/// The same as far as a plan asks: without what hosts know of them.
pub(crate) fn counted(
    from: &mut impl Queries,
    namespace: &Namespace,
    pool: &PoolName,
) -> Result<Vec<Member>, StoreError> {
    let none = "CAST(NULL AS TEXT)";
    let rows = from.rows(
        &format!(
            "SELECT id, namespace, pool, number, name, host, state, generation, claim, since, touched, \
             {none} AS identity, {none} AS addresses, {none} AS trouble \
             FROM members WHERE namespace = $1 AND pool = $2 ORDER BY number"
        ),
        &[namespace.as_str().into(), pool.as_str().into()],
    )?;
    rows.iter().map(read).collect()
}

/// The machines of a claim, in its order.
///
/// # Errors
/// If the store fails.
pub fn of_claim(from: &mut impl Queries, claim: &ClaimId) -> Result<Vec<Member>, StoreError> {
    those(from, "WHERE claim = $1 ORDER BY slot", &[claim.as_str().into()])
}

/// The machines that a condition holds for.
pub(crate) fn those(
    from: &mut impl Queries,
    condition: &str,
    parameters: &[Value],
) -> Result<Vec<Member>, StoreError> {
    let rows = from.rows(&format!("SELECT {COLUMNS} FROM members {condition}"), parameters)?;
    rows.iter().map(read).collect()
}

/// Brings a machine from a state to another, if it still is what it was.
///
/// # Errors
/// If the change is none that there is, the machine is something else by now, or the store fails.
pub fn change(
    write: &mut Write<'_>,
    member: &Member,
    to: State,
    now: Moment,
    actor: &str,
) -> Result<(), StoreError> {
    let refused = |why: &str| StoreError::Unreadable {
        what: format!("machine {} from {} to {to}: {why}", member.name, member.state),
    };
    if !member.state.may_become(to) || to == State::Claimed {
        return Err(refused("there is no such change"));
    }
    let parameters: [Value; 4] = [
        to.word().into(),
        now.0.into(),
        member.id.as_str().into(),
        member.state.word().into(),
    ];
    let changed = write.execute(
        "UPDATE members SET state = $1, since = $2, claim = NULL, slot = NULL, trouble = NULL, not_before = NULL \
         WHERE id = $3 AND state = $4",
        &parameters,
    )?;
    if changed != 1 {
        return Err(refused("it is something else by now"));
    }
    let event = Event::new(
        now,
        member.namespace.as_str(),
        actor,
        "machine.changed",
        &subject(&member.id),
    )
    .with("pool", member.pool.as_str())
    .with("from", member.state.word())
    .with("to", to.word());
    write.event(&event).map(drop)
}

/// Gives a free machine to a claim.
pub(crate) fn give(
    write: &mut Write<'_>,
    member: &MemberId,
    claim: &ClaimId,
    slot: i64,
    now: Moment,
) -> Result<(), Refusal> {
    let parameters: [Value; 4] = [
        claim.as_str().into(),
        slot.into(),
        now.0.into(),
        member.as_str().into(),
    ];
    let changed = write.execute(
        "UPDATE members SET state = 'claimed', claim = $1, slot = $2, since = $3, touched = 0 \
         WHERE id = $4 AND state = 'free' AND claim IS NULL",
        &parameters,
    )?;
    if changed == 1 {
        return Ok(());
    }
    // All writers go one after another: what was read free in this transaction is free.
    Err(StoreError::Unreadable {
        what: format!("machine {member} was free and is not"),
    }
    .into())
}

pub(crate) fn subject(id: &MemberId) -> String {
    format!("machine/{id}")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Invariant 11, as far as the store can hold it.
    #[test]
    fn the_only_way_of_a_used_machine_back_to_free_is_through_recycling() {
        for state in State::ALL {
            if state.may_become(State::Free) {
                assert!(matches!(state, State::Building | State::Recycling), "{state}");
            }
        }
        assert!(
            State::ALL
                .into_iter()
                .all(|to| !State::Claimed.may_become(to) || to == State::Recycling)
        );
        assert!(State::ALL.into_iter().all(|to| !State::Retiring.may_become(to)));
    }

    #[test]
    fn words_are_read_back() {
        for state in State::ALL {
            assert_eq!(state.word().parse::<State>().unwrap(), state);
        }
    }
}
