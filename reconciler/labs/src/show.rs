//! What is shown of pools, codes and claims to whoever may look: lists, counts, places in the queue. Reads alone, and
//! no secrets.
//!
//! ```
//! use labyard_labs::show::Scope;
//! assert!(Scope::All.holds(&"physics".into()));
//! assert!(!Scope::These(vec!["default".into()]).holds(&"physics".into()));
//! ```

use crate::{
    Refusal,
    claim::{self, Claim, Phase, Queries},
    code::keep::{self, Kept},
    ids::{CodeName, Namespace, PoolName},
    member::{self, Member, State},
    pool::{self, Pool},
};
use labyard_store::{StoreError, Value, event::Moment};
use std::collections::BTreeMap;

/// Which namespaces.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Scope {
    /// All of them.
    All,
    /// These.
    These(Vec<Namespace>),
}

impl Scope {
    /// Whether that namespace is one of them.
    #[must_use]
    pub fn holds(&self, namespace: &Namespace) -> bool {
        match self {
            Self::All => true,
            Self::These(these) => these.contains(namespace),
        }
    }

    /// Those of these that are that one; all of them if it is none.
    #[must_use]
    pub fn narrowed(&self, to: Option<&Namespace>) -> Self {
        match to {
            None => self.clone(),
            Some(one) if self.holds(one) => Self::These(vec![one.clone()]),
            Some(_) => Self::These(Vec::new()),
        }
    }

    /// A condition on the column `namespace`, whose parameters are pushed.
    #[must_use]
    pub fn condition(&self, parameters: &mut Vec<Value>) -> String {
        match self {
            Self::All => "1 = 1".to_owned(),
            Self::These(these) if these.is_empty() => "1 = 0".to_owned(),
            Self::These(these) => {
                let marks = these.iter().map(|one| {
                    parameters.push(one.as_str().into());
                    format!("${}", parameters.len())
                });
                let marks: Vec<_> = marks.collect();
                format!("namespace IN ({})", marks.join(", "))
            }
        }
    }
}

/// How many machines of a pool are what.
pub type Counts = BTreeMap<State, u64>;

/// A pool with its counts.
#[derive(Clone, Debug, PartialEq)]
pub struct PoolShown {
    /// The pool.
    pub pool: Pool,
    /// Its machines.
    pub counts: Counts,
    /// Claims that wait for machines of it.
    pub waiting: u64,
}

/// Pools by namespace and name.
///
/// # Errors
/// If the store fails.
pub fn pools(from: &mut impl Queries, scope: &Scope) -> Result<Vec<PoolShown>, StoreError> {
    let mut counts = all_counts(from)?;
    let queue = waiting(from)?;
    let shown = pool::those(from, scope)?.into_iter().map(|pool| {
        let key = (pool.namespace.clone(), pool.name.clone());
        let counts = counts.remove(&key).unwrap_or_default();
        let waiting = waits_for(&queue, &pool);
        PoolShown {
            pool,
            counts,
            waiting,
        }
    });
    Ok(shown.collect())
}

/// A pool.
///
/// # Errors
/// If there is none, or the store fails.
pub fn pool(from: &mut impl Queries, namespace: &Namespace, name: &PoolName) -> Result<PoolShown, Refusal> {
    let pool = pool::find(from, namespace, name)?;
    let rows = from.rows(
        "SELECT state, COUNT(*) AS n FROM members WHERE namespace = $1 AND pool = $2 GROUP BY state",
        &[namespace.as_str().into(), name.as_str().into()],
    )?;
    let mut counts = Counts::new();
    for row in &rows {
        let n: i64 = row.get("n")?;
        counts.insert(row.get::<String>("state")?.parse()?, n.unsigned_abs());
    }
    let waiting = waits_for(&waiting(from)?, &pool);
    Ok(PoolShown {
        pool,
        counts,
        waiting,
    })
}

fn all_counts(from: &mut impl Queries) -> Result<BTreeMap<(Namespace, PoolName), Counts>, StoreError> {
    let rows = from.rows(
        "SELECT namespace, pool, state, COUNT(*) AS n FROM members GROUP BY namespace, pool, state",
        &[],
    )?;
    let mut all: BTreeMap<_, Counts> = BTreeMap::new();
    for row in &rows {
        let key = (Namespace(row.get("namespace")?), PoolName(row.get("pool")?));
        let n: i64 = row.get("n")?;
        all.entry(key)
            .or_default()
            .insert(row.get::<String>("state")?.parse()?, n.unsigned_abs());
    }
    Ok(all)
}

fn waiting(from: &mut impl Queries) -> Result<Vec<Claim>, StoreError> {
    claim::those(from, "WHERE phase = 'queued' ORDER BY place", &[])
}

fn waits_for(queue: &[Claim], pool: &Pool) -> u64 {
    let wants =
        |claim: &&Claim| claim.namespace == pool.namespace && claim.wants.pools.contains_key(&pool.name);
    queue.iter().filter(wants).count() as u64
}

/// The machines of a pool by number.
///
/// # Errors
/// If there is no such pool, or the store fails.
pub fn members(
    from: &mut impl Queries,
    namespace: &Namespace,
    name: &PoolName,
) -> Result<Vec<Member>, Refusal> {
    pool::find(from, namespace, name)?;
    let sql = format!(
        "SELECT {} FROM members WHERE namespace = $1 AND pool = $2 ORDER BY number",
        member::COLUMNS
    );
    let rows = from.rows(&sql, &[namespace.as_str().into(), name.as_str().into()])?;
    Ok(rows.iter().map(member::read).collect::<Result<_, _>>()?)
}

/// Which claims.
#[derive(Clone, Debug)]
pub struct Sought {
    /// Of which namespaces.
    pub scope: Scope,
    /// Of which phase alone.
    pub phase: Option<Phase>,
    /// Only those that were made before the one with this number.
    pub before: Option<i64>,
    /// How many at most.
    pub limit: u32,
}

/// Claims, the newest first.
///
/// # Errors
/// If the store fails.
pub fn claims(from: &mut impl Queries, sought: &Sought) -> Result<Vec<Claim>, StoreError> {
    let mut parameters = Vec::new();
    let mut condition = format!("WHERE {}", sought.scope.condition(&mut parameters));
    if let Some(phase) = sought.phase {
        parameters.push(phase.word().into());
        condition += &format!(" AND phase = ${}", parameters.len());
    }
    if let Some(before) = sought.before {
        parameters.push(before.into());
        condition += &format!(" AND place < ${}", parameters.len());
    }
    parameters.push(i64::from(sought.limit).into());
    condition += &format!(" ORDER BY place DESC LIMIT ${}", parameters.len());
    claim::those(from, &condition, &parameters)
}

/// Where a claim stands in the queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// How many stand before it for the same pools, itself included.
    pub position: u64,
    /// When it is its turn at the latest, if all leases run to their ends.
    pub at: Option<Moment>,
}

/// Where a claim that waits stands.
///
/// # Errors
/// If the store fails.
pub fn place(from: &mut impl Queries, claim: &Claim) -> Result<Place, StoreError> {
    let shares = |other: &Claim| {
        let mut pools = other.wants.pools.keys();
        pools.any(|pool| claim.wants.pools.contains_key(pool))
    };
    let of_namespace = |phases: &str| format!("WHERE namespace = $1 AND phase IN {phases} ORDER BY place");
    let namespace = [Value::from(claim.namespace.as_str())];
    let ahead: Vec<Claim> = claim::those(from, &of_namespace("('queued')"), &namespace)?
        .into_iter()
        .filter(|other| other.place <= claim.place && shares(other))
        .collect();
    let running = claim::those(from, &of_namespace("('bound', 'ready', 'paused')"), &namespace)?;
    let mut at = None;
    for (pool, count) in &claim.wants.pools {
        let before: u32 = ahead
            .iter()
            .filter(|other| other.place < claim.place)
            .filter_map(|other| other.wants.pools.get(pool))
            .sum();
        let mut ends: Vec<Moment> = Vec::new();
        for other in &running {
            let machines = other.wants.pools.get(pool).copied().unwrap_or_default();
            let end = other.lease.map(|lease| lease.over_at(other.wants.limits));
            ends.extend(std::iter::repeat_n(end, machines as usize).flatten());
        }
        ends.sort();
        match ends.get((before + count).saturating_sub(1) as usize) {
            Some(end) => at = at.max(Some(*end)),
            None => {
                at = None;
                break;
            }
        }
    }
    Ok(Place {
        position: ahead.len() as u64,
        at,
    })
}

/// Codes by namespace and name.
///
/// # Errors
/// If the store fails.
pub fn codes(from: &mut impl Queries, scope: &Scope) -> Result<Vec<(Namespace, Kept)>, Refusal> {
    let mut parameters = Vec::new();
    let condition = scope.condition(&mut parameters);
    let sql = format!("SELECT namespace, name FROM codes WHERE {condition} ORDER BY namespace, name");
    let rows = from.rows(&sql, &parameters)?;
    rows.iter()
        .map(|row| {
            let namespace = Namespace(row.get("namespace")?);
            let kept = keep::find(from, &namespace, &CodeName(row.get("name")?))?;
            Ok((namespace, kept))
        })
        .collect()
}
