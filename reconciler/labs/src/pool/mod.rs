//! A pool in the store: what it is asked to be, and whether it is still wanted.
//!
//! - [`put`] makes or changes it; another template is another generation, which rolls through its free machines.
//! - [`remove`] obeys what claims mean for that ([`OnDestroy`]); the record goes when its last machine is gone
//!   ([`forget_if_empty`]).
//! - [`amiss`]: a free machine that is not on its host as it was left.
//! - [`follow`]: the newest revision of a captured image, where its template names none.
//! - [`found`]: a machine that the store does not know, because the store was lost.
//! - [`work`]: what is to be done on hosts, leased to one worker at a time.

pub mod amiss;
pub mod follow;
pub mod found;
pub mod work;

use crate::{
    Refusal,
    claim::{self, Claim, Phase, Queries, lease::Limits, network::OfPool},
    ids::{Namespace, PoolName, random_id},
    quota::{self, Amount},
    schedule::{self, Standing, Written},
    show::Scope,
};
use labyard_store::{
    Row, Sealed, StoreError, Value, Write,
    event::{Event, Moment},
};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// When machines of a pool are made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Strategy {
    /// Before anybody asks.
    #[default]
    Warm,
    /// When somebody waits.
    OnDemand,
}

/// How a used machine is brought back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Recycle {
    /// To memory and disk as they were when it was first ready.
    #[default]
    Reset,
    /// Another takes its place.
    Recreate,
}

/// Whom machines of a pool reach.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Isolation {
    /// The host and what lies beyond, and none of one another.
    #[default]
    Apart,
    /// One another too.
    Open,
}

/// From where machines of a pool are reached.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Access {
    /// From wherever their network is.
    #[default]
    Open,
    /// From the address alone that their claim was asked for from; from nowhere while they have none.
    Claimer,
}

/// What becomes of the guests of a claim that is paused.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnPause {
    /// They stand still.
    #[default]
    Suspend,
    /// They run on.
    Leave,
}

/// Where the machines of one claim are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Together {
    /// On any hosts.
    #[default]
    Anywhere,
    /// All on one.
    OneHost,
}

/// What live claims mean for the removal of a pool.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnDestroy {
    /// It is refused.
    #[default]
    Refuse,
    /// They go on; the pool goes after the last.
    Drain,
    /// They end.
    Force,
}

/// What a pool is asked to be.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Spec {
    /// Free machines that are kept.
    pub ready: u32,
    /// All machines, at most.
    pub max: u32,
    /// Machines being built or recycled, at most.
    pub max_in_flight: u32,
    /// When they are made.
    #[serde(default)]
    pub strategy: Strategy,
    /// How they are brought back.
    #[serde(default)]
    pub recycle: Recycle,
    /// Whom they reach.
    #[serde(default)]
    pub isolation: Isolation,
    /// From where they are reached.
    #[serde(default)]
    pub access: Access,
    /// Where the machines of one claim are.
    #[serde(default)]
    pub together: Together,
    /// The network that each of its claims has to itself; none where they have none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub network: Option<OfPool>,
    /// What becomes of guests while their claim is paused.
    #[serde(default)]
    pub on_pause: OnPause,
    /// What live claims mean for its removal.
    #[serde(default)]
    pub on_destroy: OnDestroy,
    /// Machines that failed and are kept for a look, at most.
    #[serde(default)]
    pub keep_failed: u32,
    /// What leases of its claims may be.
    pub lease: Limits,
    /// What its machines are made of, without secrets.
    pub template: serde_json::Value,
    /// Hosts that they may be on; none says all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hosts: Option<BTreeSet<String>>,
    /// When it is open, by the user's keys; none says always.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub schedule: BTreeMap<String, Written>,
}

impl Spec {
    /// Where the machines of one claim are: a network that is theirs alone does not leave its host.
    #[must_use]
    pub fn placed(&self) -> Together {
        match self.network {
            Some(_) => Together::OneHost,
            None => self.together,
        }
    }

    /// How it stands in its schedule.
    ///
    /// # Errors
    /// If a window is not understood.
    pub fn standing(&self, now: Moment) -> Result<Standing, StoreError> {
        standing_of(&self.schedule, now)
    }
}

/// How a pool with this schedule stands.
pub(crate) fn standing_of(schedule: &BTreeMap<String, Written>, now: Moment) -> Result<Standing, StoreError> {
    let windows: Result<Vec<_>, String> = schedule.values().map(Written::window).collect();
    let windows = windows.map_err(|why| StoreError::Unreadable {
        what: format!("pools.spec schedule: {why}"),
    })?;
    Ok(schedule::standing(&windows, now))
}

/// A pool.
#[derive(Clone, Debug, PartialEq)]
pub struct Pool {
    /// Its namespace.
    pub namespace: Namespace,
    /// Its name.
    pub name: PoolName,
    /// Its identity.
    pub id: String,
    /// What it is asked to be.
    pub spec: Spec,
    /// Which template this is, from 1.
    pub generation: i64,
    /// Whether it is being emptied.
    pub draining: bool,
    /// Builds in a row that failed.
    pub failures: u32,
    /// When to build again.
    pub retry_at: Option<Moment>,
    /// Why the last one failed.
    pub cause: Option<String>,
}

const COLUMNS: &str = "namespace, name, id, spec, generation, phase, failures, retry_at, cause";

/// The pool of that name.
///
/// # Errors
/// If there is none, or the store fails.
pub fn find(from: &mut impl Queries, namespace: &Namespace, name: &PoolName) -> Result<Pool, Refusal> {
    let rows = from.rows(
        &format!("SELECT {COLUMNS} FROM pools WHERE namespace = $1 AND name = $2"),
        &[namespace.as_str().into(), name.as_str().into()],
    )?;
    match rows.first() {
        Some(row) => Ok(read(row)?),
        None => Err(Refusal::NoPool { pool: name.clone() }),
    }
}

/// The pools of these namespaces, by namespace and name.
///
/// # Errors
/// If the store fails.
pub fn those(from: &mut impl Queries, scope: &Scope) -> Result<Vec<Pool>, StoreError> {
    let mut parameters = Vec::new();
    let condition = scope.condition(&mut parameters);
    let sql = format!("SELECT {COLUMNS} FROM pools WHERE {condition} ORDER BY namespace, name");
    from.rows(&sql, &parameters)?.iter().map(read).collect()
}

fn read(row: &Row) -> Result<Pool, StoreError> {
    let spec: String = row.get("spec")?;
    let failures: i64 = row.get("failures")?;
    Ok(Pool {
        namespace: Namespace(row.get("namespace")?),
        name: PoolName(row.get("name")?),
        id: row.get("id")?,
        spec: serde_json::from_str(&spec).map_err(|error| StoreError::Unreadable {
            what: format!("pools.spec: {error}"),
        })?,
        generation: row.get("generation")?,
        draining: row.get::<String>("phase")? == "draining",
        failures: u32::try_from(failures).unwrap_or(u32::MAX),
        retry_at: row.get::<Option<i64>>("retry_at")?.map(Moment),
        cause: row.get("cause")?,
    })
}

/// Makes a pool, or changes the one that is there. Another template, or other secrets, are another generation. Whoever asks
/// for a pool that fails asks to try again, whether anything of it is another or not: its failures are forgotten.
///
/// # Errors
/// If the pool is being emptied, or the store fails.
pub fn put(
    write: &mut Write<'_>,
    namespace: &Namespace,
    name: &PoolName,
    spec: &Spec,
    secrets: Option<&[u8]>,
    now: Moment,
    actor: &str,
) -> Result<Pool, Refusal> {
    let before = match find(write, namespace, name) {
        Ok(pool) if pool.draining => return Err(Refusal::PoolLeaving { pool: name.clone() }),
        Ok(pool) => Some(pool),
        Err(Refusal::NoPool { .. }) => None,
        Err(other) => return Err(other),
    };
    let what = record(namespace.as_str(), name.as_str());
    let same_secrets = match &before {
        Some(_) => secrets_of(write, namespace, name)?.as_deref() == secrets,
        None => true,
    };
    let sealed = secrets
        .map(|secrets| write.seal(&what, secrets))
        .transpose()?
        .map(|sealed| sealed.0);
    let written = serde_json::to_string(spec).map_err(|error| StoreError::Unreadable {
        what: error.to_string(),
    })?;
    let (generation, action) = match &before {
        None => (1, "pool.made"),
        Some(pool) if made_alike(&pool.spec, spec) && same_secrets => (pool.generation, "pool.changed"),
        Some(pool) => (pool.generation + 1, "pool.template_changed"),
    };
    if let Some(pool) = before.filter(|pool| pool.spec == *spec && same_secrets) {
        return tried_again(write, pool, now, actor);
    }
    let room = Amount::of(spec.max, &spec.template);
    quota::hold(write, namespace, &subject(name), room)?;
    let parameters: [Value; 6] = [
        namespace.as_str().into(),
        name.as_str().into(),
        random_id()?.into(),
        written.into(),
        sealed.into(),
        generation.into(),
    ];
    write.execute(
        "INSERT INTO pools (namespace, name, id, spec, secrets, generation, phase) VALUES ($1, $2, $3, $4, $5, $6, 'active') \
         ON CONFLICT (namespace, name) DO UPDATE SET spec = excluded.spec, secrets = excluded.secrets, \
         failures = 0, retry_at = NULL, cause = NULL, generation = excluded.generation",
        &parameters,
    )?;
    let template = serde_json::to_string(&spec.template).map_err(|error| StoreError::Unreadable {
        what: error.to_string(),
    })?;
    write.execute(
        "INSERT INTO templates (pool, generation, template) \
         SELECT id, generation, CAST($3 AS TEXT) FROM pools WHERE namespace = $1 AND name = $2 \
         ON CONFLICT (pool, generation) DO NOTHING",
        &[namespace.as_str().into(), name.as_str().into(), template.into()],
    )?;
    let event = Event::new(now, namespace.as_str(), actor, action, &format!("pool/{name}"))
        .with("generation", generation);
    write.event(&event)?;
    find(write, namespace, name)
}

/// Forgets the failures of a pool.
fn tried_again(write: &mut Write<'_>, pool: Pool, now: Moment, actor: &str) -> Result<Pool, Refusal> {
    if pool.failures == 0 {
        return Ok(pool);
    }
    write.execute(
        "UPDATE pools SET failures = 0, retry_at = NULL, cause = NULL WHERE id = $1",
        &[pool.id.as_str().into()],
    )?;
    let event = Event::new(
        now,
        pool.namespace.as_str(),
        actor,
        "pool.tried_again",
        &subject(&pool.name),
    );
    write.event(&event.with("failures", i64::from(pool.failures)))?;
    find(write, &pool.namespace, &pool.name)
}

/// What it is called in the log and among what is held.
fn subject(name: &PoolName) -> String {
    format!("pool/{name}")
}

/// Whether machines of one are machines of the other.
fn made_alike(one: &Spec, other: &Spec) -> bool {
    (&one.template, one.isolation) == (&other.template, other.isolation)
}

/// What a generation of a pool was made of, without secrets; `None` where that is not known any more.
///
/// # Errors
/// If the store fails.
pub fn template_of(
    from: &mut impl Queries,
    pool: &Pool,
    generation: i64,
) -> Result<Option<serde_json::Value>, StoreError> {
    let rows = from.rows(
        "SELECT template FROM templates WHERE pool = $1 AND generation = $2",
        &[pool.id.as_str().into(), generation.into()],
    )?;
    let text = rows
        .first()
        .map(|row| row.get::<String>("template"))
        .transpose()?;
    text.map(|text| {
        serde_json::from_str(&text).map_err(|error| StoreError::Unreadable {
            what: format!("templates.template: {error}"),
        })
    })
    .transpose()
}

/// The secrets of a pool's template.
///
/// # Errors
/// If they do not open, or the store fails.
pub fn secrets_of(
    from: &mut impl Queries,
    namespace: &Namespace,
    name: &PoolName,
) -> Result<Option<Vec<u8>>, Refusal> {
    let rows = from.rows(
        "SELECT secrets FROM pools WHERE namespace = $1 AND name = $2",
        &[namespace.as_str().into(), name.as_str().into()],
    )?;
    let sealed = rows
        .first()
        .map(|row| row.get::<Option<Vec<u8>>>("secrets"))
        .transpose()?
        .flatten();
    let what = record(namespace.as_str(), name.as_str());
    Ok(sealed
        .map(|sealed| from.opened(&what, &Sealed(sealed)))
        .transpose()?)
}

/// The claims that have machines of a pool or wait for them, in the order of the queue.
///
/// # Errors
/// If the store fails.
pub fn claims_of(
    from: &mut impl Queries,
    namespace: &Namespace,
    name: &PoolName,
) -> Result<Vec<Claim>, StoreError> {
    let mut running = claim::those(
        from,
        "WHERE phase IN ('queued', 'bound', 'ready', 'paused') AND namespace = $1 ORDER BY place",
        &[namespace.as_str().into()],
    )?;
    running.retain(|claim| claim.wants.pools.contains_key(name));
    Ok(running)
}

/// A pool is no longer wanted: it gets no claims from now on, and is emptied.
///
/// # Errors
/// If claims stand against it, or the store fails.
pub fn remove(
    write: &mut Write<'_>,
    namespace: &Namespace,
    name: &PoolName,
    now: Moment,
    actor: &str,
) -> Result<(), Refusal> {
    let pool = find(write, namespace, name)?;
    let mut running = claims_of(write, namespace, name)?;
    match pool.spec.on_destroy {
        OnDestroy::Refuse if !running.is_empty() => {
            return Err(Refusal::PoolInUse {
                pool: name.clone(),
                claims: running.len(),
            });
        }
        OnDestroy::Force => {
            for claim in &mut running {
                let phase = if claim.phase == Phase::Queued {
                    Phase::Failed
                } else {
                    Phase::Released
                };
                claim::end(write, claim, phase, "its pool was removed", actor, now)?;
            }
        }
        OnDestroy::Refuse | OnDestroy::Drain => {
            for claim in running.iter_mut().filter(|claim| claim.phase == Phase::Queued) {
                claim::end(write, claim, Phase::Failed, "its pool was removed", actor, now)?;
            }
        }
    }
    if !pool.draining {
        write.execute(
            "UPDATE pools SET phase = 'draining' WHERE namespace = $1 AND name = $2",
            &[namespace.as_str().into(), name.as_str().into()],
        )?;
        write.event(&Event::new(
            now,
            namespace.as_str(),
            actor,
            "pool.removed",
            &format!("pool/{name}"),
        ))?;
    }
    Ok(())
}

/// A pool that a maker left becomes another's: under another identity, which what was made of it keeps to.
///
/// # Errors
/// If the store fails.
pub fn taken_over(write: &mut Write<'_>, pool: &Pool, now: Moment, actor: &str) -> Result<(), StoreError> {
    write.execute(
        "UPDATE pools SET id = $1 WHERE id = $2",
        &[random_id()?.into(), (&pool.id).into()],
    )?;
    let (namespace, subject) = (pool.namespace.as_str(), subject(&pool.name));
    let event = Event::new(now, namespace, actor, "pool.taken_over", &subject);
    write.event(&event).map(drop)
}

/// What the secrets of a pool's template are sealed for.
pub(crate) fn record(namespace: &str, name: &str) -> String {
    format!("pools/{namespace}/{name}")
}

/// Takes the record of a pool away that is no longer wanted and has no machine; says whether it did.
///
/// # Errors
/// If the store fails.
pub fn forget_if_empty(write: &mut Write<'_>, pool: &Pool, now: Moment) -> Result<bool, Refusal> {
    let gone = write.execute(
        "DELETE FROM pools WHERE namespace = $1 AND name = $2 AND phase = 'draining' AND NOT EXISTS \
         (SELECT 1 FROM members WHERE members.namespace = pools.namespace AND members.pool = pools.name)",
        &[pool.namespace.as_str().into(), pool.name.as_str().into()],
    )?;
    if gone == 1 {
        quota::let_go(write, &pool.namespace, &subject(&pool.name))?;
        let event = Event::new(
            now,
            pool.namespace.as_str(),
            "labyard",
            "pool.gone",
            &format!("pool/{}", pool.name),
        );
        write.event(&event)?;
    }
    Ok(gone == 1)
}
