//! Machines that somebody types into, by their console: he is in them as any other user is.
//!
//! A machine of a pool is typed into where it has a user, or where it failed and is looked into. What is typed into any
//! other would wait there for whoever gets it next. One that was typed into was used: it is brought back before the next.
//! For as long as the console is open its claim is not idle; when it is another's or nobody's by then, the console ends.

use crate::{
    Refusal,
    claim::{self, Queries},
    ids::{ClaimId, MemberId, Namespace, PoolName},
    member::{self, Member, State, Touch},
};
use labyard_store::{
    Write,
    event::{Event, Moment},
};

/// Whose console it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Machine {
    /// Its namespace.
    pub namespace: Namespace,
    /// What the log calls it: `vm/lab1/web`.
    pub subject: String,
    /// The machine of a pool that it is.
    pub member: Option<(PoolName, MemberId)>,
}

/// A machine of a pool, for as long as somebody types into it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Held {
    member: MemberId,
    state: State,
    claim: Option<ClaimId>,
}

/// What became of a machine that is typed into.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It is what it was.
    Same,
    /// So is it, and its claim is to be told soon that somebody is there.
    Unseen(ClaimId),
    /// It is another's or nobody's by now.
    Over,
}

/// Whether it may be typed into.
///
/// # Errors
/// [`Refusal::NobodysNow`] where it is a machine of a pool that has no user, or if the store fails.
pub fn may_begin(from: &mut impl Queries, machine: &Machine) -> Result<Option<Held>, Refusal> {
    let Some((pool, id)) = &machine.member else {
        return Ok(None);
    };
    let found = member::find(from, id)?;
    let state = found.as_ref().map(|member| member.state);
    match found {
        Some(member) if may_be_typed_into(&member) => Ok(Some(Held {
            member: member.id,
            state: member.state,
            claim: member.claim,
        })),
        Some(_) | None => Err(Refusal::NobodysNow {
            machine: machine.subject.clone(),
            pool: pool.clone(),
            state,
        }),
    }
}

fn may_be_typed_into(member: &Member) -> bool {
    matches!(member.state, State::Claimed | State::Failed)
}

/// Somebody types from now on: that stands in the log, and a machine of a pool counts as used.
///
/// # Errors
/// As [`may_begin`].
pub fn begin(
    write: &mut Write<'_>,
    machine: &Machine,
    actor: &str,
    now: Moment,
) -> Result<Option<Held>, Refusal> {
    let held = may_begin(write, machine)?;
    let mut event = Event::new(
        now,
        machine.namespace.as_str(),
        actor,
        "vm.console",
        &machine.subject,
    );
    if let Some(held) = &held {
        write.execute(
            "UPDATE members SET touched = 1 WHERE id = $1",
            &[held.member.as_str().into()],
        )?;
        event = event.with("machine", held.member.as_str());
        if let Some(claim) = &held.claim {
            event = event.with("claim", claim.as_str());
        }
    }
    write.event(&event)?;
    Ok(held)
}

/// What became of it since.
///
/// # Errors
/// If the store fails.
pub fn standing(from: &mut impl Queries, held: &Held, now: Moment) -> Result<Standing, Refusal> {
    let is_same = |member: &Member| {
        // One that is untouched was brought back since.
        member.state == held.state && member.claim == held.claim && member.touch == Touch::Touched
    };
    if !member::find(from, &held.member)?.as_ref().is_some_and(is_same) {
        return Ok(Standing::Over);
    }
    let Some(id) = &held.claim else {
        return Ok(Standing::Same);
    };
    let claim = claim::find(from, id)?;
    let (Some(lease), Some(idle)) = (claim.lease, claim.wants.limits.idle_ms) else {
        return Ok(Standing::Same);
    };
    // Each time is an event in the log: half of the idle time is often enough.
    match lease.paused.is_none() && now.0.saturating_sub(lease.seen.0) >= idle / 2 {
        true => Ok(Standing::Unseen(id.clone())),
        false => Ok(Standing::Same),
    }
}
