//! A code is redeemed: all the machines it grants, or a place in the queue, or neither; exactly once for each
//! idempotency key.

use super::{
    Bind, Claim, Guests, Phase, Queries, Reached, Wants, allot, event, find, lease::Limits, network,
};
use crate::{
    Refusal,
    code::{CodeText, Terms, Uses},
    ids::{ClaimId, MemberId, Namespace, PoolName, UserName, random_id},
    member,
    pool::{Access, OnPause, Strategy, Together},
    schedule::{AtEnd, Standing, Written},
    show::Scope,
};
use labyard_store::{Sealed, StoreError, Value, Write, event::Moment};
use std::{
    collections::{BTreeMap, BTreeSet, btree_map::Entry},
    net::IpAddr,
};

/// What is asked for.
#[derive(Clone, Debug)]
pub struct Request {
    /// The code as it was typed.
    pub code: CodeText,
    /// Who asks.
    pub user: UserName,
    /// The same key is the same request.
    pub idempotency_key: String,
    /// From which address.
    pub source: Option<IpAddr>,
    /// How long to wait in the queue where nothing is free, in milliseconds.
    pub wait_ms: Option<i64>,
    /// The user's own public key, in the form of `authorized_keys`; none has one made for the claim.
    pub public_key: Option<String>,
    /// Which machines it takes.
    pub bind: Bind,
    /// The namespaces of who asks: a code of another is not known there, whatever it would say.
    pub scope: Scope,
}

/// What was got: the claim, and the secret without which nobody else does anything with it.
#[derive(Clone, Debug)]
pub struct Redeemed {
    /// The claim, bound or queued.
    pub claim: Claim,
    /// Its secret; the same for the same idempotency key.
    pub secret: String,
}

/// A value of a code with what it grants, and what this user has had of it.
struct Granted {
    hash: Vec<u8>,
    code: String,
    namespace: Namespace,
    terms: Terms,
    uses: Uses,
    most: Option<i64>,
    /// The claim that the same idempotency key has brought before.
    before: Option<Before>,
}

struct Before {
    id: ClaimId,
    user: String,
    sealed: Sealed,
}

/// Redeems a code.
///
/// # Errors
/// Why not; nothing has changed then.
pub fn redeem(write: &mut Write<'_>, request: &Request, now: Moment) -> Result<Redeemed, Refusal> {
    let key = labyard_store::seal::digest("idempotency key", &request.idempotency_key);
    let value = value(write, request, &key)?;
    if let Some(before) = &value.before {
        return repeated(write, before, request);
    }
    let terms = Terms {
        max_uses: value.most.into_iter().chain(value.terms.max_uses).min(),
        ..value.terms.clone()
    };
    terms.admit(now, request.source, value.uses)?;
    let claim = claim(write, &value, request, now)?;
    match free_for(write, &claim, now)? {
        Ok(machines) => begin(write, claim, (request, &key), Some(machines), now),
        Err(pool) if request.bind == Bind::Require && !part_of(write, &claim.namespace, &pool)?.keeps() => {
            Err(Refusal::NeverWarm { pool })
        }
        Err(pool) if request.wait_ms.is_none_or(|wait| wait <= 0) => Err(Refusal::NoneFree { pool }),
        Err(_) => begin(write, claim, (request, &key), None, now),
    }
}

/// All that is known of a code as it was typed, in one question: a class asks it at the same moment.
fn value(write: &mut Write<'_>, request: &Request, key: &[u8]) -> Result<Granted, Refusal> {
    let hash = write.finding_hash("code", request.code.as_compared());
    let rows = write.query(
        "SELECT c.id, c.namespace, c.spec, v.uses, v.max_uses, v.revoked_at, k.id AS claim, k.user_name, k.sealed, \
         (SELECT COUNT(*) FROM claims u WHERE u.code = c.id AND u.user_name = $2 \
         AND (u.bound_at IS NOT NULL OR u.ended_at IS NULL)) AS by_user \
         FROM code_values v JOIN codes c ON c.id = v.code \
         LEFT JOIN claims k ON k.value_hash = v.hash AND k.idempotency_hash = $3 WHERE v.hash = $1",
        &[hash.clone().into(), request.user.as_str().into(), key.into()],
    )?;
    let row = rows.first().ok_or(Refusal::UnknownCode)?;
    let namespace = Namespace(row.get("namespace")?);
    if !request.scope.holds(&namespace) {
        return Err(Refusal::UnknownCode);
    }
    let spec: String = row.get("spec")?;
    let before = match row.get::<Option<String>>("claim")? {
        Some(id) => Some(Before {
            id: ClaimId(id),
            user: row.get("user_name")?,
            sealed: Sealed(row.get("sealed")?),
        }),
        None => None,
    };
    Ok(Granted {
        hash,
        code: row.get("id")?,
        namespace,
        terms: serde_json::from_str(&spec).map_err(|error| StoreError::Unreadable {
            what: format!("codes.spec: {error}"),
        })?,
        uses: Uses {
            all: row.get("uses")?,
            by_user: row.get("by_user")?,
            revoked: row.get::<Option<i64>>("revoked_at")?.map(Moment),
        },
        most: row.get("max_uses")?,
        before,
    })
}

fn repeated(write: &mut Write<'_>, before: &Before, request: &Request) -> Result<Redeemed, Refusal> {
    if before.user != request.user.as_str() {
        return Err(Refusal::KeyReused);
    }
    let secret = write.open(&secret_of(&before.id), &before.sealed)?;
    let secret = String::from_utf8(secret).map_err(|_| StoreError::Tampered {
        what: secret_of(&before.id),
    })?;
    Ok(Redeemed {
        claim: find(write, &before.id)?,
        secret,
    })
}

fn wants(write: &mut Write<'_>, value: &Granted, request: &Request, now: Moment) -> Result<Wants, Refusal> {
    let (mut limits, mut cut_off): (Option<Limits>, _) = (None, None);
    let (mut together, mut suspend, mut screened) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
    let mut networks = BTreeMap::new();
    for (pool, count) in &value.terms.pools {
        let rows = write.query(
            "SELECT spec FROM pools WHERE namespace = $1 AND name = $2 AND phase = 'active'",
            &[value.namespace.as_str().into(), pool.as_str().into()],
        )?;
        let row = rows
            .first()
            .ok_or_else(|| Refusal::NoPool { pool: pool.clone() })?;
        let part = part_in(&row.get::<String>("spec")?)?;
        match part.standing(now)? {
            Standing::Open {
                closes,
                at_end: AtEnd::CutOff,
            } => cut_off = Some(cut_off.map_or(closes, |other: Moment| other.min(closes))),
            Standing::Open { .. } => {}
            Standing::WarmingUp { opens } => {
                return Err(Refusal::PoolClosed {
                    pool: pool.clone(),
                    opens: Some(opens),
                });
            }
            Standing::Closed { next } => {
                return Err(Refusal::PoolClosed {
                    pool: pool.clone(),
                    opens: next,
                });
            }
        }
        if *count > part.max {
            return Err(Refusal::TooMany {
                pool: pool.clone(),
                asked: *count,
                max: part.max,
            });
        }
        if part.together == Together::OneHost || part.network.is_some() {
            together.insert(pool.clone());
        }
        networks.extend(part.network.map(|network| (pool.clone(), network)));
        if part.on_pause == OnPause::Suspend {
            suspend.insert(pool.clone());
        }
        if part.access == Access::Claimer {
            screened.insert(pool.clone());
        }
        let of_pool = part.lease;
        limits = Some(limits.map_or(of_pool, |others| narrower(others, of_pool)));
    }
    let mut limits = limits.ok_or(Refusal::UnknownCode)?;
    if let Some(lease) = value.terms.lease_ms {
        limits.length_ms = lease.min(limits.max_ms);
    }
    Ok(Wants {
        pools: value.terms.pools.clone(),
        limits,
        not_after: value.terms.not_after,
        cut_off,
        bind: request.bind,
        together,
        suspend,
        reached: reached(screened, request.source)?,
        network: network::wanted(networks),
    })
}

/// From where alone machines of these pools are reached.
fn reached(pools: BTreeSet<PoolName>, source: Option<IpAddr>) -> Result<Option<Reached>, Refusal> {
    match (pools.first(), source) {
        (None, _) => Ok(None),
        (Some(pool), None) => Err(Refusal::NoSource { pool: pool.clone() }),
        (Some(_), Some(source)) => Ok(Some(Reached {
            from: source.to_canonical(),
            pools,
        })),
    }
}

/// What of a pool's spec matters to its claims.
#[derive(serde::Deserialize)]
pub(super) struct Part {
    lease: Limits,
    #[serde(default)]
    schedule: BTreeMap<String, Written>,
    #[serde(default)]
    ready: u32,
    max: u32,
    #[serde(default)]
    strategy: Strategy,
    #[serde(default)]
    together: Together,
    #[serde(default)]
    on_pause: OnPause,
    #[serde(default)]
    access: Access,
    #[serde(default)]
    network: Option<network::OfPool>,
}

impl Part {
    /// Whether the pool keeps machines before anybody asks.
    fn keeps(&self) -> bool {
        self.strategy == Strategy::Warm && self.ready > 0
    }

    pub(super) fn standing(&self, now: Moment) -> Result<Standing, StoreError> {
        crate::pool::standing_of(&self.schedule, now)
    }
}

fn part_in(spec: &str) -> Result<Part, StoreError> {
    serde_json::from_str(spec).map_err(|error| StoreError::Unreadable {
        what: format!("pools.spec: {error}"),
    })
}

/// The same of the pool of that name.
pub(super) fn part_of(
    from: &mut impl Queries,
    namespace: &Namespace,
    pool: &PoolName,
) -> Result<Part, Refusal> {
    let rows = from.rows(
        "SELECT spec FROM pools WHERE namespace = $1 AND name = $2",
        &[namespace.as_str().into(), pool.as_str().into()],
    )?;
    let row = rows
        .first()
        .ok_or_else(|| Refusal::NoPool { pool: pool.clone() })?;
    Ok(part_in(&row.get::<String>("spec")?)?)
}

fn narrower(one: Limits, other: Limits) -> Limits {
    Limits {
        length_ms: one.length_ms.min(other.length_ms),
        max_ms: one.max_ms.min(other.max_ms),
        idle_ms: one.idle_ms.into_iter().chain(other.idle_ms).min(),
        pause_ms: one.pause_ms.min(other.pause_ms),
    }
}

/// What is asked for, with its place behind all that were asked before.
fn claim(write: &mut Write<'_>, value: &Granted, request: &Request, now: Moment) -> Result<Claim, Refusal> {
    Ok(Claim {
        id: ClaimId(random_id()?),
        namespace: value.namespace.clone(),
        code: value.code.clone(),
        value: value.hash.clone(),
        user: request.user.clone(),
        phase: Phase::Queued,
        wants: wants(write, value, request, now)?,
        place: write.next_event().0,
        lease: None,
        wait_until: request.wait_ms.map(|wait| Moment(now.0.saturating_add(wait))),
        admitted: None,
        guests: Guests::Run,
        machines: Vec::new(),
        network: None,
    })
}

/// Writes a claim down, with its machines or waiting, and that its code was used.
fn begin(
    write: &mut Write<'_>,
    mut claim: Claim,
    by: (&Request, &[u8]),
    machines: Option<Vec<MemberId>>,
    now: Moment,
) -> Result<Redeemed, Refusal> {
    let secret = random_id()?;
    let action = match machines {
        Some(machines) => {
            claim.started(machines, now);
            "claim.bound"
        }
        None => "claim.queued",
    };
    insert(write, &claim, by, &secret, now)?;
    for (slot, machine) in (0..).zip(&claim.machines) {
        member::give(write, machine, &claim.id, slot, now)?;
    }
    write.execute(
        "UPDATE code_values SET uses = uses + 1 WHERE hash = $1",
        &[claim.value.clone().into()],
    )?;
    write.event(&event(&claim, action, claim.user.as_str(), now))?;
    Ok(Redeemed { claim, secret })
}

fn insert(
    write: &mut Write<'_>,
    claim: &Claim,
    (request, key): (&Request, &[u8]),
    secret: &str,
    now: Moment,
) -> Result<(), Refusal> {
    let sealed = write.seal(&secret_of(&claim.id), secret.as_bytes())?;
    let wants = serde_json::to_string(&claim.wants).map_err(|error| StoreError::Unreadable {
        what: error.to_string(),
    })?;
    let lease = claim.lease.as_ref();
    let parameters: [Value; 19] = [
        claim.id.as_str().into(),
        claim.namespace.as_str().into(),
        (&claim.code).into(),
        claim.value.clone().into(),
        claim.user.as_str().into(),
        key.into(),
        write.finding_hash("claim", secret).into(),
        sealed.0.into(),
        claim.phase.word().into(),
        wants.into(),
        claim.place.into(),
        now.0.into(),
        lease.map(|_| now.0).into(),
        lease.map(|lease| lease.ends.0).into(),
        lease.map(|lease| lease.latest.0).into(),
        lease.map(|lease| lease.seen.0).into(),
        claim.wait_until.map(|at| at.0).into(),
        request.public_key.as_deref().into(),
        claim.over_at().map(|at| at.0).into(),
    ];
    write.execute(
        "INSERT INTO claims (id, namespace, code, value_hash, user_name, idempotency_hash, secret_hash, sealed, phase, \
         wants, place, created_at, bound_at, expires_at, latest_at, seen_at, wait_until, public_key, \
         over_at) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19)",
        &parameters,
    )?;
    Ok(())
}

pub(crate) fn secret_of(id: &ClaimId) -> String {
    format!("claims/{id}/secret")
}

/// Free machines for all that a claim wants, behind those who wait already; else the pool that has too few.
fn free_for(
    write: &mut Write<'_>,
    claim: &Claim,
    now: Moment,
) -> Result<Result<Vec<MemberId>, PoolName>, Refusal> {
    // Most who come find none at all: for that nobody has to look at those who wait.
    for (pool, count) in &claim.wants.pools {
        let there = free_of(write, &claim.namespace, pool, i64::from(*count))?;
        if there.len() < *count as usize {
            return Ok(Err(pool.clone()));
        }
    }
    let mut parts = Parts::default();
    let mut queue = Vec::new();
    for wants in wanted_before(write, claim)? {
        if parts.may_serve(write, &claim.namespace, &wants, now)? {
            queue.push(wants);
        }
    }
    let queue: Vec<&Wants> = queue.iter().chain([&claim.wants]).collect();
    let mut free = all_free(write, &claim.namespace, &queue, claim.wants.pools.keys())?;
    let (last, ahead) = (&claim.wants, &queue[..queue.len() - 1]);
    for wants in ahead {
        // One that cannot be served yet has what there is, so that those behind do not starve it.
        let _ = allot::next(wants, &mut free);
    }
    Ok(allot::next(last, &mut free))
}

/// What those want who wait in front of a claim for one of its pools, in turn.
fn wanted_before(from: &mut impl Queries, claim: &Claim) -> Result<Vec<Wants>, StoreError> {
    let rows = from.rows(
        "SELECT wants FROM claims WHERE phase = 'queued' AND namespace = $1 AND place < $2 ORDER BY place",
        &[claim.namespace.as_str().into(), claim.place.into()],
    )?;
    let mut all = rows
        .iter()
        .map(super::wants_in)
        .collect::<Result<Vec<Wants>, StoreError>>()?;
    all.retain(|wants| {
        wants
            .pools
            .keys()
            .any(|pool| claim.wants.pools.contains_key(pool))
    });
    Ok(all)
}

/// What of pools matters to their claims, each read once.
#[derive(Default)]
pub(super) struct Parts(BTreeMap<PoolName, Option<Part>>);

impl Parts {
    /// Whether somebody can be served at all now: all its pools are there and open, and may have so many machines. Who
    /// cannot holds nobody back.
    pub(super) fn may_serve(
        &mut self,
        from: &mut impl Queries,
        namespace: &Namespace,
        wants: &Wants,
        now: Moment,
    ) -> Result<bool, Refusal> {
        for (pool, count) in &wants.pools {
            let part = match self.0.entry(pool.clone()) {
                Entry::Occupied(known) => known.into_mut(),
                Entry::Vacant(unknown) => unknown.insert(match part_of(from, namespace, pool) {
                    Ok(part) => Some(part),
                    Err(Refusal::NoPool { .. }) => None,
                    Err(other) => return Err(other),
                }),
            };
            let Some(part) = part else {
                return Ok(false);
            };
            if *count > part.max || !matches!(part.standing(now)?, Standing::Open { .. }) {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

/// The free machines that serving a queue may need.
pub(super) fn all_free<'a>(
    from: &mut impl Queries,
    namespace: &Namespace,
    queue: &[&Wants],
    pools: impl IntoIterator<Item = &'a PoolName>,
) -> Result<allot::Free, StoreError> {
    let mut free = allot::Free::new();
    for pool in pools {
        let most = allot::looks_at(queue, pool);
        free.insert(pool.clone(), free_of(from, namespace, pool, most)?);
    }
    Ok(free)
}

/// Free machines of a pool: those of the newest generation first, then those that wait longest.
fn free_of(
    from: &mut impl Queries,
    namespace: &Namespace,
    pool: &PoolName,
    most: i64,
) -> Result<Vec<allot::Machine>, StoreError> {
    let rows = from.rows(
        "SELECT id, host FROM members WHERE namespace = $1 AND pool = $2 AND state = 'free' \
         AND (host IS NULL OR host NOT IN (SELECT name FROM hosts WHERE lost_since IS NOT NULL)) ORDER BY generation DESC, since, number LIMIT $3",
        &[namespace.as_str().into(), pool.as_str().into(), most.into()],
    )?;
    let machine = |row: &labyard_store::Row| {
        Ok(allot::Machine {
            id: MemberId(row.get("id")?),
            host: row.get("host")?,
        })
    };
    rows.iter().map(machine).collect()
}
