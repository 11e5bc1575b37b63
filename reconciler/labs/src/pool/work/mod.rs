//! What is to be done for a pool on hosts, each piece leased to one worker at a time.
//!
//! [`take`] plans ([`crate::plan`]), writes down each machine before anything of it is made, and hands out what no
//! living worker has. A worker renews its lease while it works ([`renew`]) and looks whether it is its own still before
//! it changes anything ([`is_held`]); the end of a piece ([`built`], [`recycled`], [`gone`], [`failed`], [`put_off`])
//! counts only of the worker that holds it, so that one that was stopped and resumed does no harm.

use super::{Pool, Recycle, Strategy};
use crate::{
    Refusal,
    claim::{Bind, Queries, those},
    host::{self, Wish},
    ids::{MemberId, random_id},
    member::{self, Member, State, Touch},
    plan::{Action, Asked, Next, backoff, plan},
    schedule::Standing,
};
use labyard_store::{
    StoreError, Value, Write,
    event::{Event, Moment},
};
use std::collections::{BTreeMap, BTreeSet};

mod held;

pub use held::{built, failed, gone, is_held, known, placed, put_off, recycled, renew};

/// A worker: a process that makes machines.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Worker {
    /// Its name, never another's.
    pub name: String,
    /// How long a piece is its own without renewal, in milliseconds.
    pub lease_ms: i64,
}

/// What to do with a machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Task {
    /// Make it.
    Build,
    /// Bring it back to what it was.
    Reset,
    /// Take out what was put in for a claim that nobody came for.
    Tidy,
    /// Take it away.
    Retire,
}

/// A piece of work.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Piece {
    /// What.
    pub task: Task,
    /// With which machine.
    pub machine: Member,
    /// How often it has been taken up.
    pub attempt: i64,
}

/// What is to blame for a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Blame {
    /// What the machine is made of: it is given up after a while.
    Template,
    /// No room, or a host that does not answer: it is tried for ever, with waits.
    Circumstances,
}

/// How a machine that failed was left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Left {
    /// Nobody uses it: it may be kept for a look.
    Unused,
    /// Who used it may be in it still.
    InUse,
}

/// How much a worker can take.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Appetite {
    /// So many pieces.
    pub most: usize,
    /// None of machines on these hosts.
    pub not_on: BTreeSet<String>,
    /// Of machines on hosts none but these; none says on any.
    pub reaches: Option<BTreeSet<String>>,
    /// So many claims on each of these hosts; on others as many as there are.
    pub room: BTreeMap<String, usize>,
}

impl Appetite {
    /// Whether work on that host may be taken.
    pub(crate) fn takes(&self, host: &str) -> bool {
        let reached = self.reaches.as_ref().is_none_or(|hosts| hosts.contains(host));
        reached && !self.not_on.contains(host)
    }
}

impl Default for Appetite {
    fn default() -> Self {
        Self {
            most: usize::MAX,
            not_on: BTreeSet::new(),
            reaches: None,
            room: BTreeMap::new(),
        }
    }
}

/// Plans, and hands out what there is to do.
///
/// # Errors
/// If the store fails.
pub fn take(
    write: &mut Write<'_>,
    pool: &Pool,
    worker: &Worker,
    appetite: &Appetite,
    now: Moment,
) -> Result<Vec<Piece>, Refusal> {
    // What was read before this transaction may be old.
    let pool = &super::find(write, &pool.namespace, &pool.name)?;
    let asked = asked(write, pool, now)?;
    for member in stale(write, pool, &asked, now)? {
        member::change(write, &member, State::Retiring, now, &worker.name)?;
    }
    let members = member::counted(write, &pool.namespace, &pool.name)?;
    for action in plan(&asked, &members) {
        match action {
            Action::Build(count) => {
                for _ in 0..count {
                    begin(write, pool, now, worker)?;
                }
            }
            Action::Retire(id) => {
                if let Some(member) = members.iter().find(|member| member.id == id) {
                    member::change(write, member, State::Retiring, now, &worker.name)?;
                }
            }
        }
    }
    hand_out(write, pool, worker, (appetite, &asked.lost), now)
}

/// Whether there is anything to do for a pool now: a look that holds up nobody who writes.
///
/// # Errors
/// If the store fails.
pub fn is_any(from: &mut impl Queries, pool: &Pool, now: Moment) -> Result<bool, Refusal> {
    let idle = from.rows(
        "SELECT id FROM members WHERE namespace = $1 AND pool = $2 AND state IN ('building', 'recycling', 'retiring') \
         AND (worker IS NULL OR worker_until <= $3) AND (not_before IS NULL OR not_before <= $3) LIMIT 1",
        &[
            pool.namespace.as_str().into(),
            pool.name.as_str().into(),
            now.0.into(),
        ],
    )?;
    if pool.draining || !idle.is_empty() {
        return Ok(true);
    }
    let asked = asked(from, pool, now)?;
    let members = member::counted(from, &pool.namespace, &pool.name)?;
    Ok(!plan(&asked, &members).is_empty())
}

/// What waits for a worker now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Waiting {
    /// Pieces of work.
    pub pieces: u64,
    /// How long the oldest of them could have been taken, in milliseconds.
    pub oldest_ms: i64,
}

/// What no living worker has though it could be done, in all pools.
///
/// # Errors
/// If the store fails.
pub fn waiting(from: &mut impl Queries, now: Moment) -> Result<Waiting, StoreError> {
    let rows = from.rows(
        "SELECT since, worker_until, not_before FROM members WHERE state IN ('building', 'recycling', 'retiring') \
         AND (worker IS NULL OR worker_until <= $1) AND (not_before IS NULL OR not_before <= $1)",
        &[now.0.into()],
    )?;
    let mut waiting = Waiting::default();
    for row in &rows {
        let bounds = [
            row.get::<Option<i64>>("worker_until")?,
            row.get::<Option<i64>>("not_before")?,
        ];
        let since = bounds.into_iter().flatten().fold(row.get("since")?, i64::max);
        waiting.pieces += 1;
        waiting.oldest_ms = waiting.oldest_ms.max(now.0.saturating_sub(since));
    }
    Ok(waiting)
}

/// Machines that are not worth finishing or bringing back: another takes their place. One that a living worker works on
/// is left to it.
fn stale(write: &mut Write<'_>, pool: &Pool, asked: &Asked, now: Moment) -> Result<Vec<Member>, StoreError> {
    let idle = member::those(
        write,
        "WHERE namespace = $1 AND pool = $2 AND state IN ('building', 'recycling') \
         AND (worker IS NULL OR worker_until <= $3) ORDER BY number",
        &[
            pool.namespace.as_str().into(),
            pool.name.as_str().into(),
            now.0.into(),
        ],
    )?;
    let stale = |member: &Member| {
        let recreated = member.state == State::Recycling
            && pool.spec.recycle == Recycle::Recreate
            && member.touch == Touch::Touched;
        pool.draining || recreated || !asked.is_new(member)
    };
    Ok(idle.into_iter().filter(stale).collect())
}

/// What a pool is asked to be at this moment.
///
/// # Errors
/// If the store fails.
pub fn asked(from: &mut impl Queries, pool: &Pool, now: Moment) -> Result<Asked, Refusal> {
    let queued = those(
        from,
        "WHERE phase = 'queued' AND namespace = $1",
        &[pool.namespace.as_str().into()],
    )?;
    let by = |bind: Bind| -> u32 {
        let those = queued.iter().filter(|claim| claim.wants.bind == bind);
        those.filter_map(|claim| claim.wants.pools.get(&pool.name)).sum()
    };
    let closed = matches!(pool.spec.standing(now)?, Standing::Closed { .. });
    let (ready, waiting, preferring) = match pool.spec.strategy {
        _ if pool.draining || closed => (0, 0, 0),
        Strategy::Warm => (pool.spec.ready, by(Bind::Any), by(Bind::Prefer)),
        Strategy::OnDemand => (0, by(Bind::Any), by(Bind::Prefer)),
    };
    let may_build = match backoff(pool.failures, now) {
        Next::GivenUp => false,
        Next::At(_) => pool.retry_at.is_none_or(|at| at <= now),
    };
    let (mut leaving, mut emptied, mut lost) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
    for (name, host) in host::all(from)? {
        if host.lost_since.is_some() {
            lost.insert(name.clone());
        }
        if host.wish == Wish::Draining {
            if pool.failures > 0 {
                emptied.insert(name.clone());
            }
            leaving.insert(name);
        }
    }
    if let Some(hosts) = &pool.spec.hosts {
        let used = from.rows(
            "SELECT DISTINCT host FROM members WHERE namespace = $1 AND pool = $2 AND host IS NOT NULL",
            &[pool.namespace.as_str().into(), pool.name.as_str().into()],
        )?;
        for row in &used {
            let name: String = row.get("host")?;
            if !hosts.contains(&name) {
                leaving.insert(name);
            }
        }
    }
    Ok(Asked {
        ready: ready as usize,
        max: pool.spec.max as usize,
        max_in_flight: pool.spec.max_in_flight as usize,
        generation: pool.generation,
        waiting: waiting as usize,
        preferring: preferring as usize,
        keep_failed: if pool.draining {
            0
        } else {
            pool.spec.keep_failed as usize
        },
        may_build: may_build && !pool.draining,
        leaving,
        emptied,
        lost,
    })
}

/// Writes down a machine that is going to be made.
fn begin(write: &mut Write<'_>, pool: &Pool, now: Moment, worker: &Worker) -> Result<(), Refusal> {
    let rows = write.query(
        "UPDATE pools SET next_number = next_number + 1 WHERE namespace = $1 AND name = $2 RETURNING next_number - 1 AS n",
        &[pool.namespace.as_str().into(), pool.name.as_str().into()],
    )?;
    let number: i64 = rows
        .first()
        .ok_or_else(|| Refusal::NoPool {
            pool: pool.name.clone(),
        })?
        .get("n")?;
    let (id, name) = (MemberId(random_id()?), format!("{}-{number}", pool.name));
    let parameters: [Value; 7] = [
        id.as_str().into(),
        pool.namespace.as_str().into(),
        pool.name.as_str().into(),
        number.into(),
        (&name).into(),
        pool.generation.into(),
        now.0.into(),
    ];
    write.execute(
        "INSERT INTO members (id, namespace, pool, number, name, state, generation, since, detail) \
         VALUES ($1, $2, $3, $4, $5, 'building', $6, $7, '{}')",
        &parameters,
    )?;
    let event = Event::new(
        now,
        pool.namespace.as_str(),
        &worker.name,
        "machine.begun",
        &member::subject(&id),
    )
    .with("pool", pool.name.as_str())
    .with("name", name);
    write.event(&event).map(drop).map_err(Refusal::from)
}

/// Hands out what no living worker has: never more in flight at once than the pool may have on hosts that answer, whoever
/// works on it. What is on a lost host waits for it.
fn hand_out(
    write: &mut Write<'_>,
    pool: &Pool,
    worker: &Worker,
    (appetite, lost): (&Appetite, &BTreeSet<String>),
    now: Moment,
) -> Result<Vec<Piece>, Refusal> {
    let pool_and_now: [Value; 3] = [
        pool.namespace.as_str().into(),
        pool.name.as_str().into(),
        now.0.into(),
    ];
    let running = write.query(
        "SELECT COUNT(*) AS n FROM members WHERE namespace = $1 AND pool = $2 AND worker_until > $3 \
         AND state IN ('building', 'recycling') \
         AND (host IS NULL OR host NOT IN (SELECT name FROM hosts WHERE lost_since IS NOT NULL))",
        &pool_and_now,
    )?;
    let running: i64 = running[0].get("n")?;
    let mut slots = i64::from(pool.spec.max_in_flight).saturating_sub(running).max(0);
    let idle = member::those(
        write,
        "WHERE namespace = $1 AND pool = $2 AND state IN ('building', 'recycling', 'retiring') \
         AND (worker IS NULL OR worker_until <= $3) AND (not_before IS NULL OR not_before <= $3) \
         ORDER BY CASE state WHEN 'retiring' THEN 0 WHEN 'recycling' THEN 1 ELSE 2 END, number",
        &pool_and_now,
    )?;
    let mut pieces = Vec::new();
    for machine in idle {
        let elsewhere = machine
            .host
            .as_ref()
            .is_some_and(|host| !appetite.takes(host) || lost.contains(host));
        let in_flight = machine.state != State::Retiring;
        if pieces.len() >= appetite.most || elsewhere || (in_flight && slots == 0) {
            continue;
        }
        slots -= i64::from(in_flight);
        pieces.push(hand(write, machine, worker, now)?);
    }
    pieces.sort_by_key(|piece| piece.machine.number);
    Ok(pieces)
}

fn hand(write: &mut Write<'_>, machine: Member, worker: &Worker, now: Moment) -> Result<Piece, StoreError> {
    let parameters: [Value; 3] = [
        (&worker.name).into(),
        now.0.saturating_add(worker.lease_ms).into(),
        machine.id.as_str().into(),
    ];
    let rows = write.query(
        "UPDATE members SET worker = $1, worker_until = $2, attempt = attempt + 1 WHERE id = $3 RETURNING attempt",
        &parameters,
    )?;
    let attempt = rows.first().map_or(Ok(0), |row| row.get("attempt"))?;
    let event = Event::new(
        now,
        machine.namespace.as_str(),
        &worker.name,
        "machine.taken_up",
        &member::subject(&machine.id),
    );
    write.event(
        &event
            .with("pool", machine.pool.as_str())
            .with("state", machine.state.word()),
    )?;
    let task = match (machine.state, machine.touch) {
        (State::Building, _) => Task::Build,
        (State::Recycling, Touch::Touched) => Task::Reset,
        (State::Recycling, Touch::Untouched) => Task::Tidy,
        _ => Task::Retire,
    };
    Ok(Piece {
        task,
        machine,
        attempt,
    })
}
