//! What a namespace may have: machines, processors, memory. Whoever makes machines holds room for all that they may become
//! ([`hold`]), in the transaction that makes them, and lets go when they are gone ([`let_go`]). A pool holds its `max`, so that
//! it can always grow to it.
//!
//! A quota that is set below what is held takes nothing away; more is refused until enough was let go.

use crate::{Refusal, claim::Queries, ids::Namespace, show::Scope};
use labyard_store::{
    Row, StoreError, Value, Write,
    event::{Event, Moment},
};
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, fmt};

/// An amount of what there are quotas of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Amount {
    /// Machines.
    pub machines: u64,
    /// Their virtual processors.
    pub cpus: u64,
    /// Their memory in MiB.
    pub memory_mib: u64,
}

impl Amount {
    /// So many machines that are made of a template, as the schema has it.
    #[must_use]
    pub fn of(machines: u32, template: &serde_json::Value) -> Self {
        let each = |name: &str, most: &str, least: u64| {
            let read = |name: &str| template.get(name).and_then(serde_json::Value::as_u64);
            read(name).unwrap_or(least).max(read(most).unwrap_or_default())
        };
        let machines = u64::from(machines);
        Self {
            machines,
            cpus: machines.saturating_mul(each("cpus", "cpus_max", 1)),
            memory_mib: machines.saturating_mul(each("memory_mib", "memory_max_mib", 0)),
        }
    }
}

impl Amount {
    /// The most of each that one of the two has.
    #[must_use]
    pub fn most(self, other: Self) -> Self {
        Self {
            machines: self.machines.max(other.machines),
            cpus: self.cpus.max(other.cpus),
            memory_mib: self.memory_mib.max(other.memory_mib),
        }
    }
}

/// What a namespace may have at most; what is left out has no bound.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Quota {
    /// Machines.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub machines: Option<u64>,
    /// Virtual processors.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpus: Option<u64>,
    /// Memory in MiB.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_mib: Option<u64>,
}

/// One of the things that there are quotas of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Machines.
    Machines,
    /// Virtual processors.
    Cpus,
    /// Memory in MiB.
    MemoryMib,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Machines => "machines",
            Self::Cpus => "cpus",
            Self::MemoryMib => "memory_mib",
        })
    }
}

/// A namespace's quota and what is held of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shown {
    /// The namespace.
    pub namespace: Namespace,
    /// What it may have.
    pub quota: Quota,
    /// What it holds.
    pub used: Amount,
}

/// Makes these the quotas, of all namespaces: what stands in no list has none.
///
/// # Errors
/// If the store fails.
pub fn set(
    write: &mut Write<'_>,
    quotas: &BTreeMap<Namespace, Quota>,
    now: Moment,
    actor: &str,
) -> Result<(), StoreError> {
    let before = all(write)?;
    for namespace in before.keys().filter(|name| !quotas.contains_key(*name)) {
        write.execute(
            "DELETE FROM quotas WHERE namespace = $1",
            &[namespace.as_str().into()],
        )?;
        write.event(&Event::new(
            now,
            namespace.as_str(),
            actor,
            "quota.removed",
            "quota",
        ))?;
    }
    for (namespace, quota) in quotas {
        if before.get(namespace) == Some(quota) {
            continue;
        }
        let text = serde_json::to_value(quota).unwrap_or_default();
        write.execute(
            "INSERT INTO quotas (namespace, quota) VALUES ($1, $2) \
             ON CONFLICT (namespace) DO UPDATE SET quota = excluded.quota",
            &[namespace.as_str().into(), text.to_string().into()],
        )?;
        let event = Event::new(now, namespace.as_str(), actor, "quota.set", "quota");
        write.event(&event.with("quota", text))?;
    }
    Ok(())
}

/// Holds room for something, `pool/k8s` say, in place of what was held for it before. Part of the change that makes it,
/// which has an event.
///
/// # Errors
/// If the namespace may not have so much, or the store fails.
pub fn hold(
    write: &mut Write<'_>,
    namespace: &Namespace,
    subject: &str,
    asked: Amount,
) -> Result<(), Refusal> {
    let quota = quota_of(write, namespace)?;
    let others = held(write, namespace, Some(subject))?;
    let before = held(write, namespace, None)?;
    for (kind, quota, used, was, asked) in [
        (
            Kind::Machines,
            quota.machines,
            others.machines,
            before.machines,
            asked.machines,
        ),
        (Kind::Cpus, quota.cpus, others.cpus, before.cpus, asked.cpus),
        (
            Kind::MemoryMib,
            quota.memory_mib,
            others.memory_mib,
            before.memory_mib,
            asked.memory_mib,
        ),
    ] {
        let all = used.saturating_add(asked);
        // What does not grow is nobody's fault who asks now.
        if let Some(quota) = quota.filter(|quota| all > *quota && all > was) {
            return Err(Refusal::OverQuota {
                namespace: namespace.clone(),
                kind,
                quota,
                used,
                asked,
            });
        }
    }
    let parameters: [Value; 5] = [
        namespace.as_str().into(),
        subject.into(),
        integer(asked.machines),
        integer(asked.cpus),
        integer(asked.memory_mib),
    ];
    write.execute(
        "INSERT INTO holds (namespace, subject, machines, cpus, memory_mib) VALUES ($1, $2, $3, $4, $5) \
         ON CONFLICT (namespace, subject) DO UPDATE SET machines = excluded.machines, cpus = excluded.cpus, \
         memory_mib = excluded.memory_mib",
        &parameters,
    )?;
    Ok(())
}

/// What is held for something, if anything is.
///
/// # Errors
/// If the store fails.
pub fn held_for(
    from: &mut impl Queries,
    namespace: &Namespace,
    subject: &str,
) -> Result<Option<Amount>, StoreError> {
    let rows = from.rows(
        "SELECT machines, cpus, memory_mib FROM holds WHERE namespace = $1 AND subject = $2",
        &[namespace.as_str().into(), subject.into()],
    )?;
    rows.first().map(amount).transpose()
}

/// Lets go of what was held for something. Part of the change that takes it away.
///
/// # Errors
/// If the store fails.
pub fn let_go(write: &mut Write<'_>, namespace: &Namespace, subject: &str) -> Result<(), StoreError> {
    write.execute(
        "DELETE FROM holds WHERE namespace = $1 AND subject = $2",
        &[namespace.as_str().into(), subject.into()],
    )?;
    Ok(())
}

/// What was held for something is held for something else. Part of the change that makes it so.
///
/// # Errors
/// If the store fails.
pub fn move_to(
    write: &mut Write<'_>,
    namespace: &Namespace,
    subject: &str,
    other: &str,
) -> Result<(), StoreError> {
    if subject == other {
        return Ok(());
    }
    let_go(write, namespace, other)?;
    write.execute(
        "UPDATE holds SET subject = $1 WHERE namespace = $2 AND subject = $3",
        &[other.into(), namespace.as_str().into(), subject.into()],
    )?;
    Ok(())
}

/// The quotas of these namespaces, and what is held of them; also of those that hold something and have none.
///
/// # Errors
/// If the store fails.
pub fn shown(from: &mut impl Queries, scope: &Scope) -> Result<Vec<Shown>, StoreError> {
    let mut quotas = all(from)?;
    for row in from.rows("SELECT DISTINCT namespace FROM holds", &[])? {
        quotas.entry(Namespace(row.get("namespace")?)).or_default();
    }
    let seen = quotas.into_iter().filter(|(namespace, _)| scope.holds(namespace));
    seen.map(|(namespace, quota)| {
        Ok(Shown {
            used: held(from, &namespace, None)?,
            namespace,
            quota,
        })
    })
    .collect()
}

fn all(from: &mut impl Queries) -> Result<BTreeMap<Namespace, Quota>, StoreError> {
    let rows = from.rows("SELECT namespace, quota FROM quotas", &[])?;
    rows.iter()
        .map(|row| Ok((Namespace(row.get("namespace")?), read(row)?)))
        .collect()
}

fn quota_of(from: &mut impl Queries, namespace: &Namespace) -> Result<Quota, StoreError> {
    let rows = from.rows(
        "SELECT quota FROM quotas WHERE namespace = $1",
        &[namespace.as_str().into()],
    )?;
    rows.first().map_or_else(|| Ok(Quota::default()), read)
}

fn read(row: &Row) -> Result<Quota, StoreError> {
    serde_json::from_str(&row.get::<String>("quota")?).map_err(|error| StoreError::Unreadable {
        what: format!("quotas.quota: {error}"),
    })
}

/// What is held in a namespace, but for one subject.
fn held(from: &mut impl Queries, namespace: &Namespace, without: Option<&str>) -> Result<Amount, StoreError> {
    let rows = from.rows(
        "SELECT machines, cpus, memory_mib FROM holds WHERE namespace = $1 AND subject <> $2",
        &[namespace.as_str().into(), without.unwrap_or_default().into()],
    )?;
    let mut all = Amount::default();
    for row in &rows {
        let one = amount(row)?;
        all.machines = all.machines.saturating_add(one.machines);
        all.cpus = all.cpus.saturating_add(one.cpus);
        all.memory_mib = all.memory_mib.saturating_add(one.memory_mib);
    }
    Ok(all)
}

fn amount(row: &Row) -> Result<Amount, StoreError> {
    let read = |name: &str| row.get::<i64>(name).map(i64::unsigned_abs);
    Ok(Amount {
        machines: read("machines")?,
        cpus: read("cpus")?,
        memory_mib: read("memory_mib")?,
    })
}

fn integer(number: u64) -> Value {
    i64::try_from(number).unwrap_or(i64::MAX).into()
}
