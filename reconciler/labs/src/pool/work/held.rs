//! What a worker says of a piece of work that it holds; of one that it does not hold any more nothing counts.

use super::{Blame, Left, Piece, Worker};
use crate::{
    Refusal,
    claim::Queries,
    member::{self, COLUMNS, Member, State},
    plan::{ATTEMPTS, Next, backoff},
};
use labyard_store::{
    StoreError, Value, Write,
    event::{Event, Moment},
};
use std::net::IpAddr;

/// Keeps a piece for longer; `false` if another has it by now, and this worker has to stop.
///
/// # Errors
/// If the store fails.
pub fn renew(write: &mut Write<'_>, piece: &Piece, worker: &Worker, now: Moment) -> Result<bool, Refusal> {
    let parameters: [Value; 5] = [
        now.0.saturating_add(worker.lease_ms).into(),
        piece.machine.id.as_str().into(),
        (&worker.name).into(),
        now.0.into(),
        piece.attempt.into(),
    ];
    let kept = write.renew(
        "UPDATE members SET worker_until = $1 WHERE id = $2 AND worker = $3 AND worker_until > $4 AND attempt = $5",
        &parameters,
    )?;
    Ok(kept == 1)
}

/// A machine was made and is ready: it is free, and the template works.
///
/// # Errors
/// If another worker has it by now, or the store fails.
pub fn built(
    write: &mut Write<'_>,
    piece: &Piece,
    host: &str,
    worker: &Worker,
    now: Moment,
) -> Result<(), Refusal> {
    let held = held(write, piece, worker)?;
    write.execute(
        "UPDATE members SET host = $1 WHERE id = $2",
        &[host.into(), held.id.as_str().into()],
    )?;
    write.execute(
        "UPDATE pools SET failures = 0, retry_at = NULL, cause = NULL WHERE namespace = $1 AND name = $2",
        &[held.namespace.as_str().into(), held.pool.as_str().into()],
    )?;
    free(write, &held, worker, now)
}

/// A machine is verified to be what it was: it is free again.
///
/// # Errors
/// If another worker has it by now, or the store fails.
pub fn recycled(write: &mut Write<'_>, piece: &Piece, worker: &Worker, now: Moment) -> Result<(), Refusal> {
    let held = held(write, piece, worker)?;
    free(write, &held, worker, now)
}

fn free(write: &mut Write<'_>, held: &Member, worker: &Worker, now: Moment) -> Result<(), Refusal> {
    write.execute(
        "UPDATE members SET touched = 0 WHERE id = $1",
        &[held.id.as_str().into()],
    )?;
    member::change(write, held, State::Free, now, &worker.name)?;
    let_go(write, held)
}

fn let_go(write: &mut Write<'_>, held: &Member) -> Result<(), Refusal> {
    write.execute(
        "UPDATE members SET worker = NULL, worker_until = NULL WHERE id = $1",
        &[held.id.as_str().into()],
    )?;
    Ok(())
}

/// A machine is gone from its host: its record goes.
///
/// # Errors
/// If another worker has it by now, or the store fails.
pub fn gone(write: &mut Write<'_>, piece: &Piece, worker: &Worker, now: Moment) -> Result<(), Refusal> {
    let held = held(write, piece, worker)?;
    write.execute("DELETE FROM members WHERE id = $1", &[held.id.as_str().into()])?;
    let event = Event::new(
        now,
        held.namespace.as_str(),
        &worker.name,
        "machine.gone",
        &member::subject(&held.id),
    );
    write.event(
        &event
            .with("pool", held.pool.as_str())
            .with("name", held.name.as_str()),
    )?;
    Ok(())
}

/// A machine could not be made or brought back: it is taken away, or kept for a look where the pool asks for that, and
/// building waits.
///
/// # Errors
/// If another worker has it by now, or the store fails.
pub fn failed(
    write: &mut Write<'_>,
    piece: &Piece,
    cause: &str,
    (blame, left): (Blame, Left),
    worker: &Worker,
    now: Moment,
) -> Result<(), Refusal> {
    let held = held(write, piece, worker)?;
    let pool = super::super::find(write, &held.namespace, &held.pool)?;
    if held.state == State::Building && held.generation == pool.generation {
        let failures = match blame {
            Blame::Template => pool.failures.saturating_add(1),
            // What was given up stays given up, whatever else comes to its end afterwards.
            Blame::Circumstances => {
                let more = pool.failures.saturating_add(1).min(ATTEMPTS - 1);
                more.max(pool.failures)
            }
        };
        let retry_at = match backoff(failures, now) {
            Next::At(at) => Some(at.0),
            Next::GivenUp => None,
        };
        let parameters: [Value; 5] = [
            i64::from(failures).into(),
            retry_at.into(),
            cause.into(),
            held.namespace.as_str().into(),
            held.pool.as_str().into(),
        ];
        write.execute(
            "UPDATE pools SET failures = $1, retry_at = $2, cause = $3 WHERE namespace = $4 AND name = $5",
            &parameters,
        )?;
    }
    let kept = left == Left::Unused && pool.spec.keep_failed > 0 && !pool.draining && held.host.is_some();
    let to = if kept { State::Failed } else { State::Retiring };
    member::change(write, &held, to, now, &worker.name)?;
    write.execute(
        "UPDATE members SET trouble = $1 WHERE id = $2",
        &[cause.into(), held.id.as_str().into()],
    )?;
    let_go(write, &held)?;
    let event = Event::new(
        now,
        held.namespace.as_str(),
        &worker.name,
        "machine.failed",
        &member::subject(&held.id),
    );
    write.event(&event.with("pool", held.pool.as_str()).with("cause", cause))?;
    Ok(())
}

/// A piece came to no end this time, through no fault of the machine's: it is let go of, and not taken up again before
/// then.
///
/// # Errors
/// If another worker has it by now, or the store fails.
pub fn put_off(
    write: &mut Write<'_>,
    piece: &Piece,
    why: &str,
    until: Moment,
    worker: &Worker,
    now: Moment,
) -> Result<(), Refusal> {
    let held = held(write, piece, worker)?;
    write.execute(
        "UPDATE members SET worker = NULL, worker_until = NULL, not_before = $1, trouble = $2 WHERE id = $3",
        &[until.0.into(), why.into(), held.id.as_str().into()],
    )?;
    let event = Event::new(
        now,
        held.namespace.as_str(),
        &worker.name,
        "machine.put_off",
        &member::subject(&held.id),
    );
    write.event(&event.with("pool", held.pool.as_str()).with("why", why))?;
    Ok(())
}

/// Where a machine is going to be made, before anything of it is there. Nothing of it is anywhere else then.
///
/// # Errors
/// If another worker has it by now, or the store fails.
pub fn placed(
    write: &mut Write<'_>,
    piece: &Piece,
    host: &str,
    worker: &Worker,
    now: Moment,
) -> Result<(), Refusal> {
    let held = held(write, piece, worker)?;
    if held.host.as_deref() == Some(host) {
        return Ok(());
    }
    write.execute(
        "UPDATE members SET host = $1, identity = NULL WHERE id = $2",
        &[host.into(), held.id.as_str().into()],
    )?;
    let event = Event::new(
        now,
        held.namespace.as_str(),
        &worker.name,
        "machine.placed",
        &member::subject(&held.id),
    );
    write.event(&event.with("pool", held.pool.as_str()).with("host", host))?;
    Ok(())
}

/// How its host knows a machine, and the addresses it was seen with.
///
/// # Errors
/// If another worker has it by now, or the store fails.
pub fn known(
    write: &mut Write<'_>,
    piece: &Piece,
    identity: &serde_json::Value,
    addresses: &[IpAddr],
    worker: &Worker,
    now: Moment,
) -> Result<(), Refusal> {
    let held = held(write, piece, worker)?;
    if held.identity.as_ref() == Some(identity) && held.addresses == addresses {
        return Ok(());
    }
    let addresses = serde_json::to_string(addresses).map_err(|error| StoreError::Unreadable {
        what: error.to_string(),
    })?;
    write.execute(
        "UPDATE members SET identity = $1, addresses = $2 WHERE id = $3",
        &[
            identity.to_string().into(),
            addresses.into(),
            held.id.as_str().into(),
        ],
    )?;
    write.event(&Event::new(
        now,
        held.namespace.as_str(),
        &worker.name,
        "machine.known",
        &member::subject(&held.id),
    ))?;
    Ok(())
}

/// Whether a piece is this worker's still, as the store has it.
///
/// # Errors
/// If the store fails.
pub fn is_held(
    from: &mut impl Queries,
    piece: &Piece,
    worker: &Worker,
    now: Moment,
) -> Result<bool, StoreError> {
    let rows = from.rows(
        "SELECT id FROM members WHERE id = $1 AND worker = $2 AND state = $3 AND attempt = $4 AND worker_until > $5",
        &[
            piece.machine.id.as_str().into(),
            (&worker.name).into(),
            piece.machine.state.word().into(),
            piece.attempt.into(),
            now.0.into(),
        ],
    )?;
    Ok(!rows.is_empty())
}

/// The machine of a piece, if this worker has it still and it is what it was.
fn held(write: &mut Write<'_>, piece: &Piece, worker: &Worker) -> Result<Member, Refusal> {
    let rows = write.query(
        &format!(
            "SELECT {COLUMNS} FROM members WHERE id = $1 AND worker = $2 AND state = $3 AND attempt = $4"
        ),
        &[
            piece.machine.id.as_str().into(),
            (&worker.name).into(),
            piece.machine.state.word().into(),
            piece.attempt.into(),
        ],
    )?;
    match rows.first() {
        Some(row) => Ok(member::read(row)?),
        None => Err(Refusal::TakenOver {
            machine: piece.machine.name.clone(),
        }),
    }
}
