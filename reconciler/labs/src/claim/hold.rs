//! What the holder of a claim does with it: shows himself, pauses, goes on, extends, gives back. Who holds it is told
//! by its secret ([`by_secret`]). Once its code is no longer valid nothing makes a claim last longer than it does then.

use super::{
    Claim, Guests, Phase, Queries, end, find, keep,
    lease::{Fixed, Lease},
};
use crate::{Refusal, ids::ClaimId};
use labyard_store::{Write, event::Moment};

/// The claim, for whoever knows its secret.
///
/// # Errors
/// The same for a claim that is not there and a secret that is not its own.
pub fn by_secret(from: &mut impl Queries, id: &ClaimId, secret: &str) -> Result<Claim, Refusal> {
    let hash = from.hashed("claim", secret);
    let rows = from.rows(
        "SELECT secret_hash FROM claims WHERE id = $1",
        &[id.as_str().into()],
    )?;
    match rows.first() {
        // Both are hashes under a key that the caller does not know: comparing them tells no time.
        Some(row) if row.get::<Vec<u8>>("secret_hash")? == hash => find(from, id),
        _ => Err(Refusal::NoClaim),
    }
}

/// The holder shows himself: the idle time begins anew.
///
/// # Errors
/// If the claim is over, waits or is paused, or the code is no longer valid.
pub fn keepalive(write: &mut Write<'_>, claim: Claim, now: Moment) -> Result<Claim, Refusal> {
    let claim = moved(write, claim, "claim.seen", now, |claim, lease| {
        lease.seen(now, claim.wants.limits)
    })?;
    if claim.phase == Phase::Ready {
        super::admit::forget(write, &claim.id)?;
    }
    Ok(claim)
}

/// Somebody is connected: the idle time begins anew, also where it ran out while nobody could look.
pub(super) fn connected(write: &mut Write<'_>, claim: Claim, now: Moment) -> Result<Claim, Refusal> {
    moved(write, claim, "claim.seen", now, |claim, lease| {
        lease.seen(now, claim.wants.limits.without_idle())
    })
}

/// The clock stops. Where its pool says so its guests stand still from now on: that is written down before it is done.
///
/// # Errors
/// If the claim is over, waits, or may not, or the code is no longer valid.
pub fn pause(write: &mut Write<'_>, mut claim: Claim, now: Moment) -> Result<Claim, Refusal> {
    if !claim.wants.suspend.is_empty() {
        claim.guests = Guests::Hold;
    }
    let claim = moved(write, claim, "claim.paused", now, |claim, lease| {
        lease.pause(now, claim.wants.limits)
    })?;
    super::admit::let_go(write, &claim.id)?;
    Ok(claim)
}

/// The clock goes on. It is ready once its guests run.
///
/// # Errors
/// If the claim is over or was not paused, or the code is no longer valid.
pub fn resume(write: &mut Write<'_>, claim: Claim, now: Moment) -> Result<Claim, Refusal> {
    let claim = moved(write, claim, "claim.resumed", now, |claim, lease| {
        lease.resume(now, claim.wants.limits)
    })?;
    super::admit::let_go(write, &claim.id)?;
    Ok(claim)
}

/// The lease ends later.
///
/// # Errors
/// If the claim is over, waits, is paused, or ends at the latest already, or the code is no longer valid.
pub fn extend(write: &mut Write<'_>, claim: Claim, by_ms: i64, now: Moment) -> Result<Claim, Refusal> {
    moved(write, claim, "claim.extended", now, |claim, lease| {
        lease.extend(by_ms, now, claim.wants.limits)
    })
}

/// It is given back; of one that is over that is true already.
///
/// # Errors
/// If the store fails.
pub fn release(write: &mut Write<'_>, mut claim: Claim, actor: &str, now: Moment) -> Result<Claim, Refusal> {
    if !claim.phase.is_over() {
        end(
            write,
            &mut claim,
            Phase::Released,
            "it was given back",
            actor,
            now,
        )?;
    }
    Ok(claim)
}

fn moved(
    write: &mut Write<'_>,
    mut claim: Claim,
    action: &str,
    now: Moment,
    change: impl FnOnce(&Claim, Lease) -> Result<Lease, Fixed>,
) -> Result<Claim, Refusal> {
    let lease = match claim.lease {
        Some(lease) if !claim.phase.is_over() => lease,
        _ => return Err(wrong(&claim, "it has no lease that runs")),
    };
    if let Some(until) = claim.wants.not_after.filter(|until| *until <= now) {
        return Err(Refusal::NoLongerValid { until });
    }
    if claim.wants.is_cut_off(now) {
        return Err(wrong(&claim, "a window of its pool's schedule has closed"));
    }
    match change(&claim, lease) {
        Ok(lease) => {
            claim.phase = match (lease.paused, claim.phase) {
                (Some(_), _) => Phase::Paused,
                (None, Phase::Paused) if claim.admitted.is_some() && claim.guests == Guests::Run => {
                    Phase::Ready
                }
                (None, Phase::Paused) => Phase::Bound,
                (None, other) => other,
            };
            claim.lease = Some(lease);
        }
        Err(Fixed::AtItsEnd) => return Err(Refusal::LeaseAtItsEnd { latest: lease.latest }),
        Err(Fixed::Over) => return Err(wrong(&claim, "its lease is over")),
        Err(Fixed::Paused) => return Err(wrong(&claim, "it is paused: resume it first")),
        Err(Fixed::NotPaused) => return Err(wrong(&claim, "it is not paused")),
        Err(Fixed::NoPauses) => return Err(wrong(&claim, "its pool allows no pauses")),
    }
    let actor = claim.user.clone();
    keep(write, &claim, action, actor.as_str(), now)?;
    Ok(claim)
}

fn wrong(claim: &Claim, what: &'static str) -> Refusal {
    Refusal::WrongPhase {
        claim: claim.id.clone(),
        phase: claim.phase,
        what,
    }
}
