//! What is over is kept for a while and forgotten then: the log, claims that ended, operations, and what generations of
//! pools were made of that nothing is made of any more.
//!
//! A claim of a code that each user may use so often is kept as long as its code: it is what his uses are counted by.
//!
//! ```
//! use labyard_labs::retention::Retention;
//! assert_eq!(Retention::default().log_ms, 90 * 24 * 3_600_000);
//! ```

use crate::{Refusal, code::Terms};
use labyard_store::{
    StoreError, Write,
    event::{Event, Moment},
};

const DAY_MS: i64 = 24 * 3_600_000;
/// Rows of a kind that are forgotten at once: other writers wait meanwhile.
const AT_ONCE: i64 = 2_000;
/// Who did it, in the log.
const ACTOR: &str = "labyard";

/// For how long what is over is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retention {
    /// The log.
    pub log_ms: i64,
    /// Claims and operations, from their ends on.
    pub ended_ms: i64,
}

impl Default for Retention {
    fn default() -> Self {
        Self {
            log_ms: 90 * DAY_MS,
            ended_ms: 90 * DAY_MS,
        }
    }
}

/// What was forgotten.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Forgotten {
    /// Events of the log.
    pub events: u64,
    /// Claims.
    pub claims: u64,
    /// Operations, with their lines.
    pub operations: u64,
    /// What generations were made of.
    pub templates: u64,
}

impl Forgotten {
    fn is_none(&self) -> bool {
        *self == Self::default()
    }

    /// Whether more may be left than was forgotten at once.
    #[must_use]
    pub fn is_part(&self) -> bool {
        let most = AT_ONCE.unsigned_abs();
        self.events >= most || self.claims >= most || self.operations >= most
    }
}

/// Forgets what has been over for long enough, so much of it at once.
///
/// # Errors
/// If the store fails.
pub fn forget(write: &mut Write<'_>, retention: Retention, now: Moment) -> Result<Forgotten, Refusal> {
    let ended = now.0.saturating_sub(retention.ended_ms);
    let forgotten = Forgotten {
        events: events(write, now.0.saturating_sub(retention.log_ms))?,
        claims: claims(write, ended)?,
        operations: operations(write, ended)?,
        templates: templates(write)?,
    };
    if !forgotten.is_none() {
        let event = Event::new(now, "", ACTOR, "store.forgot", "store")
            .with("events", forgotten.events)
            .with("claims", forgotten.claims)
            .with("operations", forgotten.operations)
            .with("templates", forgotten.templates);
        write.event(&event)?;
    }
    Ok(forgotten)
}

/// From the oldest on, up to the first that is kept: numbers stay without holes.
fn events(write: &mut Write<'_>, until: i64) -> Result<u64, StoreError> {
    let rows = write.query(
        "SELECT id, at FROM events ORDER BY id LIMIT $1",
        &[AT_ONCE.into()],
    )?;
    let mut last = None;
    for row in &rows {
        if row.get::<i64>("at")? > until {
            break;
        }
        last = Some(row.get::<i64>("id")?);
    }
    match last {
        Some(last) => write.execute("DELETE FROM events WHERE id <= $1", &[last.into()]),
        None => Ok(0),
    }
}

fn claims(write: &mut Write<'_>, until: i64) -> Result<u64, StoreError> {
    let rows = write.query(
        "SELECT DISTINCT c.code, k.spec FROM claims c LEFT JOIN codes k ON k.id = c.code WHERE c.ended_at <= $1",
        &[until.into()],
    )?;
    let mut forgotten = 0;
    for row in &rows {
        let spec: Option<String> = row.get("spec")?;
        let terms = spec.map(|spec| serde_json::from_str::<Terms>(&spec)).transpose();
        let terms = terms.map_err(|error| StoreError::Unreadable {
            what: format!("codes.spec: {error}"),
        })?;
        if terms.is_some_and(|terms| terms.max_uses_per_user.is_some()) {
            continue;
        }
        forgotten += write.execute(
            "DELETE FROM claims WHERE id IN \
             (SELECT id FROM claims WHERE code = $1 AND ended_at <= $2 AND network IS NULL ORDER BY place LIMIT $3)",
            &[row.get::<String>("code")?.into(), until.into(), AT_ONCE.into()],
        )?;
    }
    Ok(forgotten)
}

/// All but the newest, whose number says what the next one's is.
fn operations(write: &mut Write<'_>, until: i64) -> Result<u64, StoreError> {
    write.execute(
        "DELETE FROM operations WHERE id IN \
         (SELECT id FROM operations WHERE ended_at <= $1 AND number < (SELECT MAX(number) FROM operations) \
         ORDER BY number LIMIT $2)",
        &[until.into(), AT_ONCE.into()],
    )
}

/// Those of generations before the pool's own that no machine is of.
fn templates(write: &mut Write<'_>) -> Result<u64, StoreError> {
    write.execute(
        "DELETE FROM templates WHERE generation < (SELECT generation FROM pools WHERE pools.id = templates.pool) \
         AND NOT EXISTS (SELECT 1 FROM members m JOIN pools p ON p.namespace = m.namespace AND p.name = m.pool \
         WHERE p.id = templates.pool AND m.generation = templates.generation)",
        &[],
    )
}
