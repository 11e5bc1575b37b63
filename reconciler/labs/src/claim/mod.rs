//! A claim: what somebody got for a code, and for how long.
//!
//! - [`redeem`]: a code becomes a claim with all the machines it grants, or a place in the queue, or neither.
//! - [`allot`]: which of the free machines a claim gets, pure.
//! - [`serve`]: who waits gets what has become free, in turn; what is over ends.
//! - [`admit`]: what only this claim may use is put into its machines, and then they can be used.
//! - [`hold`]: keepalive, pause, resume, extend, release.
//! - [`network`]: what a claim has to itself between its machines.
//! - [`lease`]: the clock, pure.

pub mod admit;
mod allot;
pub mod hold;
pub mod lease;
pub mod network;
pub mod redeem;
pub mod serve;

use crate::{
    Refusal,
    ids::{ClaimId, MemberId, Namespace, PoolName, UserName},
    member,
    schedule::{AtEnd, Standing},
};
use labyard_store::{
    Row, Sealed, StoreError, Value, Write,
    event::{Event, Moment},
};
use lease::{Lease, Limits};
use serde::{Deserialize, Serialize};
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    net::IpAddr,
    str::FromStr,
};

/// What a claim is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Phase {
    /// It waits for machines.
    Queued,
    /// It has its machines; what only this claim may use is being put into them.
    Bound,
    /// Its machines can be used.
    Ready,
    /// Its clock stands still.
    Paused,
    /// Its time ended.
    Expired,
    /// It was given back.
    Released,
    /// It never got its machines, or lost one.
    Failed,
}

impl Phase {
    const ALL: [Self; 7] = [
        Self::Queued,
        Self::Bound,
        Self::Ready,
        Self::Paused,
        Self::Expired,
        Self::Released,
        Self::Failed,
    ];

    /// Its word in the store and the API.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Bound => "bound",
            Self::Ready => "ready",
            Self::Paused => "paused",
            Self::Expired => "expired",
            Self::Released => "released",
            Self::Failed => "failed",
        }
    }

    /// Whether nothing follows.
    #[must_use]
    pub fn is_over(self) -> bool {
        matches!(self, Self::Expired | Self::Released | Self::Failed)
    }

    /// Whether it has machines.
    fn has_machines(self) -> bool {
        matches!(self, Self::Bound | Self::Ready | Self::Paused)
    }
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

impl FromStr for Phase {
    type Err = StoreError;

    fn from_str(word: &str) -> Result<Self, StoreError> {
        Self::ALL
            .into_iter()
            .find(|phase| phase.word() == word)
            .ok_or_else(|| StoreError::Unreadable {
                what: format!("claims.phase {word:?}"),
            })
    }
}

/// Which machines a claim takes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Bind {
    /// Whichever is free first: while it waits one is made for it, beside those that its pool keeps.
    #[default]
    Any,
    /// Rather one that its pool keeps: one is made for it only where more are waited for than are kept.
    Prefer,
    /// One that its pool keeps: none is made for it.
    Require,
}

/// What a claim's guests do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Guests {
    /// They run.
    Run,
    /// They are to stand still, and may do so.
    Hold,
    /// They stand still.
    Held,
}

impl Guests {
    fn word(self) -> &'static str {
        match self {
            Self::Run => "run",
            Self::Hold => "hold",
            Self::Held => "held",
        }
    }
}

impl FromStr for Guests {
    type Err = StoreError;

    fn from_str(word: &str) -> Result<Self, StoreError> {
        let all = [Self::Run, Self::Hold, Self::Held];
        all.into_iter()
            .find(|guests| guests.word() == word)
            .ok_or_else(|| StoreError::Unreadable {
                what: format!("claims.guests {word:?}"),
            })
    }
}

/// What a claim wants, decided when its code was redeemed: later changes of code or pool do not reach it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Wants {
    /// How many machines of which pools.
    pub pools: BTreeMap<PoolName, u32>,
    /// What its lease may be.
    pub limits: Limits,
    /// Until when its code is valid.
    pub not_after: Option<Moment>,
    /// When it ends whatever its lease says: a window of one of its pools closes then, and cuts claims off.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cut_off: Option<Moment>,
    /// Which machines it takes.
    #[serde(default)]
    pub bind: Bind,
    /// Those of its pools whose machines are all on one host.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub together: BTreeSet<PoolName>,
    /// Those of its pools whose guests stand still while it is paused.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub suspend: BTreeSet<PoolName>,
    /// From where alone its machines of some pools are reached.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reached: Option<Reached>,
    /// The network that it has to itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub network: Option<network::Wanted>,
}

/// From where alone machines of a claim are reached.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reached {
    /// The address that the claim was asked for from.
    pub from: IpAddr,
    /// The pools that keep everybody else out.
    pub pools: BTreeSet<PoolName>,
}

impl Wants {
    /// From where alone its machines of a pool are reached; `None`: from everywhere.
    #[must_use]
    pub fn reached_from(&self, pool: &PoolName) -> Option<IpAddr> {
        let reached = self.reached.as_ref()?;
        reached.pools.contains(pool).then_some(reached.from)
    }

    fn is_cut_off(&self, now: Moment) -> bool {
        self.cut_off.is_some_and(|at| at <= now)
    }
}

/// A claim.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim {
    /// Its identity.
    pub id: ClaimId,
    /// Its namespace.
    pub namespace: Namespace,
    /// The identity of its code.
    pub code: String,
    /// By which value of it, as its hash.
    pub value: Vec<u8>,
    /// Whose it is.
    pub user: UserName,
    /// What it is.
    pub phase: Phase,
    /// What it wants.
    pub wants: Wants,
    /// Its number in the order of all claims.
    pub place: i64,
    /// Its lease, once it has machines.
    pub lease: Option<Lease>,
    /// Until when it waits in the queue.
    pub wait_until: Option<Moment>,
    /// Since when what only it may use is in its machines.
    pub admitted: Option<Moment>,
    /// What its guests do.
    pub guests: Guests,
    /// Its machines.
    pub machines: Vec<MemberId>,
    /// The network that it has to itself, until that is gone.
    pub network: Option<network::Network>,
}

const COLUMNS: &str = "id, namespace, code, value_hash, user_name, phase, wants, place, expires_at, latest_at, \
                       paused_at, seen_at, wait_until, admitted_at, guests, network";

impl Claim {
    /// It has its machines: its clock runs.
    pub(crate) fn started(&mut self, machines: Vec<MemberId>, now: Moment) {
        self.lease = Some(Lease::begin(now, self.wants.limits));
        self.phase = Phase::Bound;
        self.wait_until = None;
        self.machines = machines;
    }

    /// When it will be over if nothing happens.
    fn over_at(&self) -> Option<Moment> {
        let lease = self.lease?.over_at(self.wants.limits);
        Some(self.wants.cut_off.map_or(lease, |cut_off| cut_off.min(lease)))
    }
}

/// When a claim was asked for.
///
/// # Errors
/// If there is none of that identity, or the store fails.
pub fn asked_at(from: &mut impl Queries, id: &ClaimId) -> Result<Moment, Refusal> {
    let rows = from.rows(
        "SELECT created_at FROM claims WHERE id = $1",
        &[id.as_str().into()],
    )?;
    match rows.first() {
        Some(row) => Ok(Moment(row.get("created_at")?)),
        None => Err(Refusal::NoClaim),
    }
}

/// Something that answers queries: a transaction of either kind.
pub trait Queries {
    /// Runs a query.
    ///
    /// # Errors
    /// If the store fails.
    fn rows(&mut self, sql: &str, parameters: &[Value]) -> Result<Vec<Row>, StoreError>;

    /// Opens a secret of the record `what`.
    ///
    /// # Errors
    /// If it is not what was sealed for that record.
    fn opened(&self, what: &str, sealed: &Sealed) -> Result<Vec<u8>, StoreError>;

    /// The hash by which a secret is found.
    fn hashed(&self, purpose: &str, secret: &str) -> Vec<u8>;
}

impl Queries for Write<'_> {
    fn rows(&mut self, sql: &str, parameters: &[Value]) -> Result<Vec<Row>, StoreError> {
        self.query(sql, parameters)
    }

    fn opened(&self, what: &str, sealed: &Sealed) -> Result<Vec<u8>, StoreError> {
        self.open(what, sealed)
    }

    fn hashed(&self, purpose: &str, secret: &str) -> Vec<u8> {
        self.finding_hash(purpose, secret)
    }
}

impl Queries for labyard_store::Read<'_> {
    fn rows(&mut self, sql: &str, parameters: &[Value]) -> Result<Vec<Row>, StoreError> {
        self.query(sql, parameters)
    }

    fn opened(&self, what: &str, sealed: &Sealed) -> Result<Vec<u8>, StoreError> {
        self.open(what, sealed)
    }

    fn hashed(&self, purpose: &str, secret: &str) -> Vec<u8> {
        self.finding_hash(purpose, secret)
    }
}

/// The claim of that identity.
///
/// # Errors
/// If there is none, or the store fails.
pub fn find(from: &mut impl Queries, id: &ClaimId) -> Result<Claim, Refusal> {
    let found = those(from, "WHERE id = $1", &[id.as_str().into()])?;
    found.into_iter().next().ok_or(Refusal::NoClaim)
}

/// The claims that a condition holds for.
///
/// # Errors
/// If the store fails.
pub(crate) fn those(
    from: &mut impl Queries,
    condition: &str,
    parameters: &[Value],
) -> Result<Vec<Claim>, StoreError> {
    let rows = from.rows(&format!("SELECT {COLUMNS} FROM claims {condition}"), parameters)?;
    rows.iter()
        .map(|row| {
            let mut claim = read(row)?;
            if !claim.phase.has_machines() {
                return Ok(claim);
            }
            let machines = from.rows(
                "SELECT id FROM members WHERE claim = $1 ORDER BY slot",
                &[claim.id.as_str().into()],
            )?;
            claim.machines = machines
                .iter()
                .map(|row| row.get("id").map(MemberId))
                .collect::<Result<_, _>>()?;
            Ok(claim)
        })
        .collect()
}

fn wants_in(row: &Row) -> Result<Wants, StoreError> {
    serde_json::from_str(&row.get::<String>("wants")?).map_err(|error| StoreError::Unreadable {
        what: format!("claims.wants: {error}"),
    })
}

fn read(row: &Row) -> Result<Claim, StoreError> {
    let text = |column| row.get::<String>(column);
    let moment = |column| row.get::<Option<i64>>(column).map(|at| at.map(Moment));
    let lease = match (moment("expires_at")?, moment("latest_at")?, moment("seen_at")?) {
        (Some(ends), Some(latest), Some(seen)) => Some(Lease {
            ends,
            latest,
            paused: moment("paused_at")?,
            seen,
        }),
        _ => None,
    };
    Ok(Claim {
        id: ClaimId(text("id")?),
        namespace: Namespace(text("namespace")?),
        code: text("code")?,
        value: row.get("value_hash")?,
        user: UserName(text("user_name")?),
        phase: text("phase")?.parse()?,
        wants: wants_in(row)?,
        place: row.get("place")?,
        lease,
        wait_until: moment("wait_until")?,
        admitted: moment("admitted_at")?,
        guests: text("guests")?.parse()?,
        machines: Vec::new(),
        network: network::read(row.get("network")?)?,
    })
}

/// Gives machines to a claim that is in the store, and starts its clock.
pub(crate) fn bind(
    write: &mut Write<'_>,
    claim: &mut Claim,
    machines: Vec<MemberId>,
    now: Moment,
) -> Result<(), Refusal> {
    for (slot, machine) in (0..).zip(&machines) {
        member::give(write, machine, &claim.id, slot, now)?;
    }
    claim.started(machines, now);
    claim.wants.cut_off = cut_off(write, claim, now)?;
    let wants = serde_json::to_string(&claim.wants).map_err(|error| StoreError::Unreadable {
        what: error.to_string(),
    })?;
    write.execute(
        "UPDATE claims SET bound_at = $1, wait_until = NULL, wants = $2 WHERE id = $3",
        &[now.0.into(), wants.into(), claim.id.as_str().into()],
    )?;
    keep(write, claim, "claim.bound", claim.user.as_str(), now)?;
    Ok(())
}

/// When the first of its pools closes that cuts claims off.
fn cut_off(from: &mut impl Queries, claim: &Claim, now: Moment) -> Result<Option<Moment>, Refusal> {
    let mut first: Option<Moment> = None;
    for pool in claim.wants.pools.keys() {
        let standing = redeem::part_of(from, &claim.namespace, pool)?.standing(now)?;
        if let Standing::Open {
            closes,
            at_end: AtEnd::CutOff,
        } = standing
        {
            first = Some(first.map_or(closes, |other| other.min(closes)));
        }
    }
    Ok(first)
}

/// Writes what has changed of a claim, and that it has.
pub(crate) fn keep(
    write: &mut Write<'_>,
    claim: &Claim,
    action: &str,
    actor: &str,
    now: Moment,
) -> Result<(), StoreError> {
    let lease = claim.lease.as_ref();
    let parameters: [Value; 9] = [
        claim.phase.word().into(),
        lease.map(|lease| lease.ends.0).into(),
        lease.map(|lease| lease.latest.0).into(),
        lease.and_then(|lease| lease.paused).map(|at| at.0).into(),
        lease.map(|lease| lease.seen.0).into(),
        claim.admitted.map(|at| at.0).into(),
        claim.guests.word().into(),
        claim.id.as_str().into(),
        claim.over_at().map(|at| at.0).into(),
    ];
    write.execute(
        "UPDATE claims SET phase = $1, expires_at = $2, latest_at = $3, paused_at = $4, seen_at = $5, admitted_at = $6, \
         guests = $7, over_at = $9 WHERE id = $8",
        &parameters,
    )?;
    write.event(&event(claim, action, actor, now)).map(drop)
}

pub(crate) fn event(claim: &Claim, action: &str, actor: &str, now: Moment) -> Event {
    let machines: Vec<&str> = claim.machines.iter().map(MemberId::as_str).collect();
    Event::new(
        now,
        claim.namespace.as_str(),
        actor,
        action,
        &format!("claim/{}", claim.id),
    )
    .with("phase", claim.phase.word())
    .with("machines", machines)
}

/// Ends a claim: its machines are recycled, a use that brought nothing is given back.
pub(crate) fn end(
    write: &mut Write<'_>,
    claim: &mut Claim,
    phase: Phase,
    reason: &str,
    actor: &str,
    now: Moment,
) -> Result<(), Refusal> {
    let never_in = claim.phase == Phase::Bound && claim.admitted.is_none();
    let got_nothing = claim.phase == Phase::Queued || (never_in && phase == Phase::Failed);
    claim.phase = phase;
    let rows = write.query(
        &format!(
            "SELECT {} FROM members WHERE claim = $1 ORDER BY slot",
            member::COLUMNS
        ),
        &[claim.id.as_str().into()],
    )?;
    for row in &rows {
        member::change(write, &member::read(row)?, member::State::Recycling, now, actor)?;
    }
    write.execute(
        "UPDATE claims SET ended_at = $1, reason = $2, wait_until = NULL, made = NULL, worker = NULL WHERE id = $3",
        &[now.0.into(), reason.into(), claim.id.as_str().into()],
    )?;
    if got_nothing {
        write.execute(
            "UPDATE claims SET bound_at = NULL WHERE id = $1",
            &[claim.id.as_str().into()],
        )?;
        write.execute(
            "UPDATE code_values SET uses = uses - 1 WHERE hash = $1 AND uses > 0",
            &[claim.value.clone().into()],
        )?;
    }
    let action = format!("claim.{}", phase.word());
    keep(write, claim, &action, actor, now)?;
    Ok(())
}
