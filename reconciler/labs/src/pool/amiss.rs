//! A free machine that is not on its host as it was left: a hand, a fault or a restart of the host has come between, or
//! the store is older than the host.
//!
//! Nobody has it, so nobody loses by it: one that is gone is given up, and another takes its place; one that does not
//! run, or that somebody was let into, is brought back. A machine that was claimed, or changed otherwise, since it was looked up is left alone.

use crate::{
    claim::Queries,
    member::{self, Member, State},
};
use labyard_store::{
    StoreError, Write,
    event::{Event, Moment},
};

/// What is amiss with a machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Amiss {
    /// Its host has it no more.
    Gone,
    /// It does not run.
    Off,
    /// Its mark says that somebody was let in, and the store knows nothing of that.
    Used,
}

impl Amiss {
    /// As the log says it.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Gone => "gone",
            Self::Off => "off",
            Self::Used => "used",
        }
    }
}

/// The free machines that are to be found on a host.
///
/// # Errors
/// If the store fails.
pub fn free_on(from: &mut impl Queries, host: &str) -> Result<Vec<Member>, StoreError> {
    let condition = "WHERE host = $1 AND state = 'free' AND identity IS NOT NULL ORDER BY number";
    member::those(from, condition, &[host.into()])
}

/// Sees to it that machines that are amiss are brought back or replaced; says how many still were what they were.
///
/// # Errors
/// If the store fails.
pub fn put_right(
    write: &mut Write<'_>,
    found: &[(Member, Amiss)],
    now: Moment,
    actor: &str,
) -> Result<usize, StoreError> {
    let mut count = 0;
    for (seen, amiss) in found {
        let Some(member) = member::find(write, &seen.id)? else {
            continue;
        };
        if member != *seen {
            continue;
        }
        let event = Event::new(
            now,
            member.namespace.as_str(),
            actor,
            "machine.amiss",
            &member::subject(&member.id),
        );
        write.event(
            &event
                .with("pool", member.pool.as_str())
                .with("found", amiss.word()),
        )?;
        // What happened to it is not known: it is brought back as one that was used.
        write.execute(
            "UPDATE members SET touched = 1 WHERE id = $1",
            &[member.id.as_str().into()],
        )?;
        let to = match amiss {
            Amiss::Gone => State::Retiring,
            Amiss::Off | Amiss::Used => State::Recycling,
        };
        member::change(write, &member, to, now, actor)?;
        count += 1;
    }
    Ok(count)
}
