//! Hosts as pools see them: what their operator wants of them, and whether they answer.
//!
//! A host that nobody has said anything of is open and answers. One that has been silent for [`LOST_AFTER_MS`] is lost:
//! its machines are not free for anybody until it answers again, and none of them is forgotten.

use crate::{Refusal, claim::Queries};
use labyard_store::{
    Row, StoreError, Value, Write,
    event::{Event, Moment},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    str::FromStr,
};

/// How long a host is silent before it is lost.
pub const LOST_AFTER_MS: i64 = 30_000;

/// What the operator wants of a host.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Wish {
    /// It takes new machines.
    #[default]
    Open,
    /// It keeps those that it has.
    Cordoned,
    /// It is emptied: free machines go, claimed ones when they are given back.
    Draining,
}

impl Wish {
    const ALL: [Self; 3] = [Self::Open, Self::Cordoned, Self::Draining];

    /// Its word in the store and the API.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Cordoned => "cordoned",
            Self::Draining => "draining",
        }
    }
}

impl fmt::Display for Wish {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

impl FromStr for Wish {
    type Err = StoreError;

    fn from_str(word: &str) -> Result<Self, StoreError> {
        Self::ALL
            .into_iter()
            .find(|wish| wish.word() == word)
            .ok_or_else(|| StoreError::Unreadable {
                what: format!("hosts.wish {word:?}"),
            })
    }
}

/// A host.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HostStanding {
    /// What its operator wants of it.
    pub wish: Wish,
    /// Since when it has not answered.
    pub silent_since: Option<Moment>,
    /// Since when it is lost.
    pub lost_since: Option<Moment>,
    /// What was met when it did not answer.
    pub why: Option<String>,
}

/// The hosts that something is known of, by name.
///
/// # Errors
/// If the store fails.
pub fn all(from: &mut impl Queries) -> Result<BTreeMap<String, HostStanding>, StoreError> {
    let rows = from.rows(
        "SELECT name, wish, silent_since, lost_since, why FROM hosts ORDER BY name",
        &[],
    )?;
    rows.iter()
        .map(|row| Ok((row.get("name")?, read(row)?)))
        .collect()
}

/// The hosts that are lost.
pub(crate) fn lost(from: &mut impl Queries) -> Result<BTreeSet<String>, StoreError> {
    let rows = from.rows("SELECT name FROM hosts WHERE lost_since IS NOT NULL", &[])?;
    rows.iter().map(|row| row.get("name")).collect()
}

/// The hosts that machines of pools stand on, as the store has it.
///
/// # Errors
/// If the store fails.
pub fn with_machines(from: &mut impl Queries) -> Result<BTreeSet<String>, StoreError> {
    let rows = from.rows("SELECT DISTINCT host FROM members WHERE host IS NOT NULL", &[])?;
    rows.iter().map(|row| row.get("host")).collect()
}

fn read(row: &Row) -> Result<HostStanding, StoreError> {
    Ok(HostStanding {
        wish: row.get::<String>("wish")?.parse()?,
        silent_since: row.get::<Option<i64>>("silent_since")?.map(Moment),
        lost_since: row.get::<Option<i64>>("lost_since")?.map(Moment),
        why: row.get("why")?,
    })
}

/// The operator opens, cordons or drains a host.
///
/// # Errors
/// If the store fails.
pub fn wish(write: &mut Write<'_>, name: &str, wish: Wish, now: Moment, actor: &str) -> Result<(), Refusal> {
    write.execute(
        "INSERT INTO hosts (name, wish) VALUES ($1, $2) ON CONFLICT (name) DO UPDATE SET wish = excluded.wish",
        &[name.into(), wish.word().into()],
    )?;
    let event = Event::new(now, "", actor, &format!("host.{wish}"), &format!("host/{name}"));
    write.event(&event)?;
    Ok(())
}

/// A host was asked: it answered, or this is what was met.
///
/// # Errors
/// If the store fails.
pub fn seen(
    write: &mut Write<'_>,
    name: &str,
    met: Result<(), &str>,
    now: Moment,
    actor: &str,
) -> Result<(), Refusal> {
    let known = all(write)?;
    let before = known.get(name).cloned().unwrap_or_default();
    let after = match met {
        Ok(()) => HostStanding {
            wish: before.wish,
            ..HostStanding::default()
        },
        Err(why) => {
            let since = before.silent_since.unwrap_or(now);
            let lost = (now.0 - since.0 >= LOST_AFTER_MS).then_some(now);
            HostStanding {
                wish: before.wish,
                silent_since: Some(since),
                lost_since: before.lost_since.or(lost),
                why: Some(why.to_owned()),
            }
        }
    };
    let of_note = (before.silent_since, before.lost_since) != (after.silent_since, after.lost_since);
    if !of_note {
        return Ok(());
    }
    let parameters: [Value; 5] = [
        name.into(),
        after.wish.word().into(),
        after.silent_since.map(|at| at.0).into(),
        after.lost_since.map(|at| at.0).into(),
        after.why.clone().into(),
    ];
    write.execute(
        "INSERT INTO hosts (name, wish, silent_since, lost_since, why) VALUES ($1, $2, $3, $4, $5) \
         ON CONFLICT (name) DO UPDATE SET silent_since = excluded.silent_since, lost_since = excluded.lost_since, \
         why = excluded.why",
        &parameters,
    )?;
    let action = match (after.silent_since, after.lost_since) {
        (None, _) => "host.answers",
        (Some(_), None) => "host.silent",
        (Some(_), Some(_)) => "host.lost",
    };
    let event = Event::new(now, "", actor, action, &format!("host/{name}")).with("why", after.why);
    write.event(&event)?;
    Ok(())
}
