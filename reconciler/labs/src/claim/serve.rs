//! What happens without anybody asking: who waits gets what has become free, in turn; what is over ends.

use super::{
    Claim, Phase, Queries, Wants, allot, bind, end,
    lease::Lease,
    redeem::{Parts, all_free},
    those,
};
use crate::{
    Refusal,
    ids::{ClaimId, Namespace, PoolName},
    member::{self, Member},
};
use labyard_store::{StoreError, Write, event::Moment};
use std::collections::BTreeSet;

/// Who did it, in the log.
const ACTOR: &str = "labyard";

/// Binds those who wait, in turn, as far as there are machines; says who was bound. Who wants what is not there holds
/// back those behind him on the same pools alone; who cannot be served at all now holds back nobody.
///
/// # Errors
/// If the store fails.
pub fn queue(write: &mut Write<'_>, namespace: &Namespace, now: Moment) -> Result<Vec<Claim>, Refusal> {
    let waiting = those(
        write,
        "WHERE phase = 'queued' AND namespace = $1 ORDER BY place",
        &[namespace.as_str().into()],
    )?;
    let (mut parts, mut queue) = (Parts::default(), Vec::new());
    for mut claim in waiting {
        if let Some(why) = waited_enough(&claim, now) {
            end(write, &mut claim, Phase::Failed, why, ACTOR, now)?;
        } else if parts.may_serve(write, namespace, &claim.wants, now)? {
            queue.push(claim);
        }
    }
    let wants: Vec<&Wants> = queue.iter().map(|claim| &claim.wants).collect();
    let pools: BTreeSet<&PoolName> = wants.iter().flat_map(|wants| wants.pools.keys()).collect();
    let mut free = all_free(write, namespace, &wants, pools)?;
    let mut bound = Vec::new();
    for mut claim in queue {
        if free.values().all(Vec::is_empty) {
            break;
        }
        if let Ok(machines) = allot::next(&claim.wants, &mut free) {
            bind(write, &mut claim, machines, now)?;
            bound.push(claim);
        }
    }
    Ok(bound)
}

/// Why somebody waits no longer.
fn waited_enough(claim: &Claim, now: Moment) -> Option<&'static str> {
    let is_past = |at: Option<Moment>| at.is_some_and(|at| at <= now);
    if is_past(claim.wait_until) {
        return Some("no machine became free in the time it wanted to wait");
    }
    is_past(claim.wants.not_after).then_some("its code's validity ended while it waited")
}

/// The namespaces in which somebody waits.
///
/// # Errors
/// If the store fails.
pub fn waited_in(from: &mut impl Queries) -> Result<Vec<Namespace>, StoreError> {
    let rows = from.rows(
        "SELECT DISTINCT namespace FROM claims WHERE phase = 'queued' ORDER BY namespace",
        &[],
    )?;
    rows.iter()
        .map(|row| row.get("namespace").map(Namespace))
        .collect()
}

/// Whether a claim is over now, or somebody waits: a look that holds up nobody who writes.
///
/// # Errors
/// If the store fails.
pub fn is_due(from: &mut impl Queries, now: Moment) -> Result<bool, StoreError> {
    let rows = from.rows(
        "SELECT id FROM claims WHERE phase = 'queued' OR (phase IN ('bound', 'ready', 'paused') AND over_at <= $1) LIMIT 1",
        &[now.0.into()],
    )?;
    Ok(!rows.is_empty())
}

/// Claims that can be used and are about to end, or past their end, because nobody was seen: whether somebody is
/// connected to their machines decides. They and those machines.
///
/// # Errors
/// If the store fails.
pub fn unseen(
    from: &mut impl Queries,
    within_ms: i64,
    now: Moment,
) -> Result<Vec<(Claim, Vec<Member>)>, Refusal> {
    let soon = now.0.saturating_add(within_ms);
    let mut found = Vec::new();
    let perhaps = "WHERE phase = 'ready' AND over_at <= $1 ORDER BY place";
    for claim in those(from, perhaps, &[soon.into()])? {
        let idles = |lease: Lease| {
            let idle = claim.wants.limits.idle_ms;
            let ends = idle.map(|idle| lease.seen.0.saturating_add(idle));
            ends.is_some_and(|ends| ends <= soon) && !lease.is_over_but_for_idle(now, claim.wants.limits)
        };
        if claim.lease.is_some_and(idles) {
            let machines = member::of_claim(from, &claim.id)?;
            found.push((claim, machines));
        }
    }
    Ok(found)
}

/// Somebody is connected to a machine of a claim: that is as good as if he had shown himself, but for what was made for
/// him, which he may not have fetched yet.
///
/// # Errors
/// If the claim is over, waits or is paused, or its code is no longer valid.
pub fn connected(write: &mut Write<'_>, id: &ClaimId, now: Moment) -> Result<(), Refusal> {
    let claim = super::find(write, id)?;
    super::hold::connected(write, claim, now).map(drop)
}

/// What becomes of claims whose idle time is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Idle {
    /// They end.
    Ends,
    /// They wait: nobody has looked for long enough who is connected.
    Waits,
}

/// Ends the claims whose time is over; says which.
///
/// # Errors
/// If the store fails.
pub fn expire(write: &mut Write<'_>, idle: Idle, now: Moment) -> Result<Vec<Claim>, Refusal> {
    let running = those(
        write,
        "WHERE phase IN ('bound', 'ready', 'paused') AND over_at <= $1 ORDER BY place",
        &[now.0.into()],
    )?;
    let mut ended = Vec::new();
    for mut claim in running {
        let limits = match idle {
            Idle::Ends => claim.wants.limits,
            Idle::Waits => claim.wants.limits.without_idle(),
        };
        if claim.lease.is_some_and(|lease| lease.is_over(now, limits)) {
            end(write, &mut claim, Phase::Expired, "its lease ended", ACTOR, now)?;
            ended.push(claim);
        } else if claim.wants.is_cut_off(now) {
            let why = "a window of its pool's schedule closed";
            end(write, &mut claim, Phase::Expired, why, ACTOR, now)?;
            ended.push(claim);
        }
    }
    Ok(ended)
}
