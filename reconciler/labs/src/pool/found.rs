//! A machine that stands on a host and that the store does not know: its store was lost.
//!
//! Whether somebody has it cannot be told any more, so it is never free: it is recycled, and as it is of no generation
//! that the pool knows, another takes its place.

use crate::{
    Refusal,
    claim::Queries as _,
    ids::{MemberId, Namespace, PoolName},
    member,
};
use labyard_store::{
    Value, Write,
    event::{Event, Moment},
};

/// What its mark says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// Its identity in the store that had it made.
    pub id: MemberId,
    /// Its namespace.
    pub namespace: Namespace,
    /// Its pool.
    pub pool: PoolName,
    /// Its number.
    pub number: i64,
    /// Its name.
    pub name: String,
    /// Where it stands.
    pub host: String,
    /// How its host knows it.
    pub identity: serde_json::Value,
}

/// What became of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Taken {
    /// The store knew it.
    Known,
    /// It is its pool's again, and is going to be recycled.
    Recycled,
    /// There is no such pool.
    NoPool,
    /// The pool has another machine of its name or number.
    Doubled,
}

/// Takes a machine back into its pool.
///
/// # Errors
/// If the store fails.
pub fn take_back(write: &mut Write<'_>, found: &Found, now: Moment, actor: &str) -> Result<Taken, Refusal> {
    if let Some(known) = member::find(write, &found.id)? {
        return Ok(match known.host.as_deref() {
            Some(host) if host != found.host => Taken::Doubled,
            _ => Taken::Known,
        });
    }
    match super::find(write, &found.namespace, &found.pool) {
        Err(Refusal::NoPool { .. }) => return Ok(Taken::NoPool),
        found => drop(found?),
    }
    let (namespace, pool) = (found.namespace.as_str(), found.pool.as_str());
    let others = write.rows(
        "SELECT id FROM members WHERE namespace = $1 AND ((pool = $2 AND number = $3) OR name = $4)",
        &[
            namespace.into(),
            pool.into(),
            found.number.into(),
            (&found.name).into(),
        ],
    )?;
    if !others.is_empty() {
        return Ok(Taken::Doubled);
    }
    let parameters: [Value; 8] = [
        found.id.as_str().into(),
        namespace.into(),
        pool.into(),
        found.number.into(),
        (&found.name).into(),
        (&found.host).into(),
        found.identity.to_string().into(),
        now.0.into(),
    ];
    write.execute(
        "INSERT INTO members (id, namespace, pool, number, name, host, identity, state, generation, since, touched, detail) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, 'recycling', 0, $8, 1, '{}')",
        &parameters,
    )?;
    write.execute(
        "UPDATE pools SET next_number = $1 WHERE namespace = $2 AND name = $3 AND next_number < $1",
        &[(found.number + 1).into(), namespace.into(), pool.into()],
    )?;
    let event = Event::new(
        now,
        namespace,
        actor,
        "machine.found",
        &member::subject(&found.id),
    )
    .with("pool", pool)
    .with("host", found.host.as_str());
    write.event(&event)?;
    Ok(Taken::Recycled)
}
