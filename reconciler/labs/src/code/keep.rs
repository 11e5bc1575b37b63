//! Codes in the store: made, grown, changed, revoked, taken away, shown to who may print them.
//!
//! A code has one value, or a batch of one-time values with labels `001`, `002` and so on. A batch is grown without
//! touching those that were handed out; a smaller one revokes the last of them. A value is found by its keyed hash
//! alone; what can be printed is sealed. One that was used stays when it is revoked, so that its uses still count.

use super::{CodeText, Terms, config::Written};
use crate::{
    Refusal,
    claim::{self, Phase, Queries},
    ids::{CodeName, Namespace, random_id},
    maker::{self, Maker},
};
use labyard_store::{
    Sealed, StoreError, Value, Write,
    event::{Event, Moment},
};
use std::collections::BTreeMap;

/// Which values a code has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Values {
    /// One that the user gives.
    Given(CodeText),
    /// One that is made up.
    Generated,
    /// So many, each for one use.
    Batch(u32),
}

/// What the end of a code means for claims that run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Running {
    /// They go on.
    GoOn,
    /// They end.
    End,
}

/// A code as it is kept.
#[derive(Clone, Debug)]
pub struct Kept {
    /// Its identity.
    pub id: String,
    /// Its name.
    pub name: CodeName,
    /// What it grants.
    pub terms: Terms,
    /// How a user wrote it down.
    pub written: Written,
    /// Who makes it, until who asked for it has written it down.
    pub maker: Option<Maker>,
    /// Its values by label.
    pub values: BTreeMap<String, KeptValue>,
    /// How many claims of it are in which phase.
    pub claims: BTreeMap<&'static str, i64>,
}

/// A value of a code as it is kept.
#[derive(Clone, Debug)]
pub struct KeptValue {
    /// Its text; none once it was revoked, and none for who may not read it.
    pub text: Option<CodeText>,
    /// Whether it is taken.
    pub validity: Validity,
    /// How often it was used.
    pub uses: i64,
    /// How often it may be used.
    pub max_uses: Option<i64>,
}

/// Whether a value of a code is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Validity {
    /// It is, by its code's terms.
    Valid,
    /// Never again.
    Revoked,
}

impl KeptValue {
    /// Whether it was revoked.
    #[must_use]
    pub fn is_revoked(&self) -> bool {
        self.validity == Validity::Revoked
    }

    /// Whether it is taken, and its text is not for who looks.
    #[must_use]
    pub fn is_hidden(&self) -> bool {
        !self.is_revoked() && self.text.is_none()
    }
}

impl Kept {
    /// The values that can be used, by label.
    #[must_use]
    pub fn texts(&self) -> BTreeMap<String, CodeText> {
        let live = |(label, value): (&String, &KeptValue)| Some((label.clone(), value.text.clone()?));
        self.values.iter().filter_map(live).collect()
    }

    /// How many claims of it are not over.
    #[must_use]
    pub fn running(&self) -> i64 {
        let over = |phase: &str| phase.parse().is_ok_and(Phase::is_over);
        let running = self.claims.iter().filter(|(phase, _)| !over(phase));
        running.map(|(_, count)| count).sum()
    }
}

/// The label of the value of a code that is no batch.
pub const ONLY: &str = "main";

/// The labels of a batch.
pub fn batch_labels(count: u32) -> impl Iterator<Item = String> {
    (1..=count).map(|number| format!("{number:03}"))
}

/// The code of that name.
///
/// # Errors
/// If there is none, or the store fails.
pub fn find(from: &mut impl Queries, namespace: &Namespace, name: &CodeName) -> Result<Kept, Refusal> {
    let rows = from.rows(
        "SELECT id, spec, written, maker FROM codes WHERE namespace = $1 AND name = $2",
        &[namespace.as_str().into(), name.as_str().into()],
    )?;
    let row = rows
        .first()
        .ok_or_else(|| Refusal::NoCode { name: name.clone() })?;
    let id: String = row.get("id")?;
    let unreadable = |column: &str, error: serde_json::Error| StoreError::Unreadable {
        what: format!("codes.{column}: {error}"),
    };
    let counted = from.rows(
        "SELECT phase, COUNT(*) AS n FROM claims WHERE code = $1 GROUP BY phase",
        &[(&id).into()],
    )?;
    let mut claims = BTreeMap::new();
    for row in &counted {
        let phase: Phase = row.get::<String>("phase")?.parse()?;
        claims.insert(phase.word(), row.get("n")?);
    }
    Ok(Kept {
        terms: serde_json::from_str(&row.get::<String>("spec")?)
            .map_err(|error| unreadable("spec", error))?,
        written: serde_json::from_str(&row.get::<String>("written")?)
            .map_err(|error| unreadable("written", error))?,
        maker: maker::read(row)?,
        values: values(from, &id)?,
        name: name.clone(),
        claims,
        id,
    })
}

fn values(from: &mut impl Queries, id: &str) -> Result<BTreeMap<String, KeptValue>, Refusal> {
    let rows = from.rows(
        "SELECT label, sealed, uses, max_uses, revoked_at FROM code_values WHERE code = $1",
        &[id.into()],
    )?;
    let mut values = BTreeMap::new();
    for row in &rows {
        let label: String = row.get("label")?;
        let (text, validity) = match row.get::<Option<i64>>("revoked_at")? {
            Some(_) => (None, Validity::Revoked),
            None => (Some(opened(from, id, row.get("sealed")?)?), Validity::Valid),
        };
        let value = KeptValue {
            text,
            validity,
            uses: row.get("uses")?,
            max_uses: row.get("max_uses")?,
        };
        values.insert(label, value);
    }
    Ok(values)
}

pub(crate) fn opened(from: &impl Queries, id: &str, sealed: Vec<u8>) -> Result<CodeText, StoreError> {
    let what = record(id);
    let opened = from.opened(&what, &Sealed(sealed))?;
    let text = String::from_utf8(opened)
        .ok()
        .and_then(|text| CodeText::parse(&text).ok());
    text.ok_or(StoreError::Tampered { what })
}

/// Makes a code, or changes the one that is there; its values by label.
///
/// # Errors
/// If a given text is another code's, or the store fails.
pub fn put(
    write: &mut Write<'_>,
    namespace: &Namespace,
    name: &CodeName,
    terms: &Terms,
    values: &Values,
    now: Moment,
    actor: &str,
) -> Result<BTreeMap<String, CodeText>, Refusal> {
    let id = put_terms(write, namespace, name, terms, now, actor)?;
    let wanted: Vec<String> = match values {
        Values::Given(_) | Values::Generated => vec![ONLY.to_owned()],
        Values::Batch(count) => batch_labels(*count).collect(),
    };
    for (label, value) in self::values(write, &id)? {
        let given_anew = matches!((values, &value.text), (Values::Given(given), Some(text)) if given != text);
        let not_wanted = value.text.is_some() && !wanted.contains(&label);
        let in_the_way = value.text.is_none() && wanted.contains(&label);
        if not_wanted || given_anew || in_the_way {
            drop_value(write, &id, &label, now)?;
        }
    }
    let there = shown(write, namespace, name)?;
    for label in wanted.iter().filter(|label| !there.contains_key(*label)) {
        match values {
            Values::Given(given) => give(write, &id, label, given)?,
            Values::Generated | Values::Batch(_) => add_value(write, &id, label, &made_up()?)?,
        }
    }
    let most = match values {
        Values::Batch(_) => Some(1),
        Values::Given(_) | Values::Generated => terms.max_uses,
    };
    // What was used more often than it may be from now on is used up.
    write.execute(
        "UPDATE code_values SET max_uses = CASE WHEN uses > CAST($1 AS BIGINT) THEN uses ELSE CAST($1 AS BIGINT) END \
         WHERE code = $2",
        &[most.into(), (&id).into()],
    )?;
    shown(write, namespace, name)
}

fn put_terms(
    write: &mut Write<'_>,
    namespace: &Namespace,
    name: &CodeName,
    terms: &Terms,
    now: Moment,
    actor: &str,
) -> Result<String, Refusal> {
    let spec = serde_json::to_string(terms).map_err(|error| StoreError::Unreadable {
        what: error.to_string(),
    })?;
    let (id, action) = match id_of(write, namespace, name)? {
        Some(id) => (id, "code.changed"),
        None => (random_id()?, "code.made"),
    };
    let parameters: [Value; 4] = [
        namespace.as_str().into(),
        name.as_str().into(),
        (&id).into(),
        spec.into(),
    ];
    write.execute(
        "INSERT INTO codes (namespace, name, id, spec) VALUES ($1, $2, $3, $4) \
         ON CONFLICT (namespace, name) DO UPDATE SET spec = excluded.spec",
        &parameters,
    )?;
    note(write, namespace, name, action, now, actor)?;
    Ok(id)
}

fn note(
    write: &mut Write<'_>,
    namespace: &Namespace,
    name: &CodeName,
    action: &str,
    now: Moment,
    actor: &str,
) -> Result<(), StoreError> {
    let subject = format!("code/{name}");
    write
        .event(&Event::new(now, namespace.as_str(), actor, action, &subject))
        .map(drop)
}

/// Notes how a user wrote a code down. Part of a change that is logged.
pub(super) fn put_written(write: &mut Write<'_>, id: &str, written: &Written) -> Result<(), StoreError> {
    let text = serde_json::to_string(written).map_err(|error| StoreError::Unreadable {
        what: error.to_string(),
    })?;
    write.execute(
        "UPDATE codes SET written = $1 WHERE id = $2",
        &[text.into(), id.into()],
    )?;
    Ok(())
}

/// A code becomes another's: under another identity, for which its values are sealed anew. Part of a change that is
/// logged.
pub(super) fn identified_anew(write: &mut Write<'_>, before: &str) -> Result<String, StoreError> {
    let id = random_id()?;
    let values = write.query(
        "SELECT hash, sealed FROM code_values WHERE code = $1",
        &[before.into()],
    )?;
    // Its values go with it.
    for statement in [
        "UPDATE codes SET id = $1 WHERE id = $2",
        "UPDATE claims SET code = $1 WHERE code = $2",
    ] {
        write.execute(statement, &[(&id).into(), before.into()])?;
    }
    for value in &values {
        let text = write.open(&record(before), &Sealed(value.get("sealed")?))?;
        let sealed = write.seal(&record(&id), &text)?;
        let hash: Vec<u8> = value.get("hash")?;
        write.execute(
            "UPDATE code_values SET sealed = $1 WHERE hash = $2",
            &[sealed.0.into(), hash.into()],
        )?;
    }
    Ok(id)
}

fn id_of(
    write: &mut Write<'_>,
    namespace: &Namespace,
    name: &CodeName,
) -> Result<Option<String>, StoreError> {
    let rows = write.query(
        "SELECT id FROM codes WHERE namespace = $1 AND name = $2",
        &[namespace.as_str().into(), name.as_str().into()],
    )?;
    rows.first().map(|row| row.get("id")).transpose()
}

fn made_up() -> Result<CodeText, StoreError> {
    let mut bytes = [0; 10];
    labyard_store::seal::random(&mut bytes)?;
    Ok(CodeText::from_random(bytes))
}

/// Adds the text that a user gives; where the code had it before and it was revoked, it is valid again.
fn give(write: &mut Write<'_>, id: &str, label: &str, text: &CodeText) -> Result<(), Refusal> {
    let sealed = write.seal(&record(id), text.to_string().as_bytes())?;
    let parameters: [Value; 4] = [
        label.into(),
        sealed.0.into(),
        id.into(),
        write.finding_hash("code", text.as_compared()).into(),
    ];
    let again = write.execute(
        "UPDATE code_values SET label = $1, sealed = $2, revoked_at = NULL WHERE code = $3 AND hash = $4",
        &parameters,
    )?;
    match again {
        0 => add_value(write, id, label, text),
        _ => Ok(()),
    }
}

fn add_value(write: &mut Write<'_>, id: &str, label: &str, text: &CodeText) -> Result<(), Refusal> {
    let sealed = write.seal(&record(id), text.to_string().as_bytes())?;
    let parameters: [Value; 4] = [
        write.finding_hash("code", text.as_compared()).into(),
        id.into(),
        label.into(),
        sealed.0.into(),
    ];
    let added = write.execute(
        "INSERT INTO code_values (hash, code, label, sealed) VALUES ($1, $2, $3, $4)",
        &parameters,
    );
    match added {
        Ok(_) => Ok(()),
        Err(StoreError::Exists { .. }) => Err(Refusal::CodeTaken),
        Err(error) => Err(error.into()),
    }
}

/// A value that claims have used stays, so that they are still counted, and is revoked; its label is free again.
pub(super) fn drop_value(
    write: &mut Write<'_>,
    id: &str,
    label: &str,
    now: Moment,
) -> Result<(), StoreError> {
    let of: [Value; 2] = [id.into(), label.into()];
    let unused = write.execute(
        "DELETE FROM code_values WHERE code = $1 AND label = $2 AND uses = 0",
        &of,
    )?;
    if unused == 0 {
        let aside = format!("{label}-revoked-{}", &random_id()?[..8]);
        write.execute(
            "UPDATE code_values SET revoked_at = COALESCE(revoked_at, $1), label = $2 WHERE code = $3 AND label = $4",
            &[now.0.into(), aside.into(), id.into(), label.into()],
        )?;
    }
    Ok(())
}

/// What the values of a code are sealed for. Not their labels: one that is revoked gives its label up.
pub(crate) fn record(id: &str) -> String {
    format!("codes/{id}")
}

/// The values of a code that can be used, by label: for the sheet that is printed.
///
/// # Errors
/// If one does not open, or the store fails.
pub fn shown(
    write: &mut Write<'_>,
    namespace: &Namespace,
    name: &CodeName,
) -> Result<BTreeMap<String, CodeText>, Refusal> {
    let Some(id) = id_of(write, namespace, name)? else {
        return Ok(BTreeMap::new());
    };
    let values = values(write, &id)?.into_iter();
    Ok(values
        .filter_map(|(label, value)| Some((label, value.text?)))
        .collect())
}

/// No value of the code is taken from now on.
///
/// # Errors
/// If there is no such code, or the store fails.
pub fn revoke(
    write: &mut Write<'_>,
    namespace: &Namespace,
    name: &CodeName,
    running: Running,
    now: Moment,
    actor: &str,
) -> Result<(), Refusal> {
    let id = id_of(write, namespace, name)?.ok_or_else(|| Refusal::NoCode { name: name.clone() })?;
    write.execute(
        "UPDATE code_values SET revoked_at = $1 WHERE code = $2 AND revoked_at IS NULL",
        &[now.0.into(), (&id).into()],
    )?;
    note(write, namespace, name, "code.revoked", now, actor)?;
    end_claims(write, &id, running, "its code was revoked", now, actor)
}

/// The code is taken away with its values.
///
/// # Errors
/// If there is no such code, or the store fails.
pub fn remove(
    write: &mut Write<'_>,
    namespace: &Namespace,
    name: &CodeName,
    running: Running,
    now: Moment,
    actor: &str,
) -> Result<(), Refusal> {
    let id = id_of(write, namespace, name)?.ok_or_else(|| Refusal::NoCode { name: name.clone() })?;
    end_claims(write, &id, running, "its code was removed", now, actor)?;
    write.execute("DELETE FROM code_values WHERE code = $1", &[(&id).into()])?;
    write.execute("DELETE FROM codes WHERE id = $1", &[(&id).into()])?;
    note(write, namespace, name, "code.removed", now, actor)?;
    Ok(())
}

fn end_claims(
    write: &mut Write<'_>,
    id: &str,
    running: Running,
    reason: &str,
    now: Moment,
    actor: &str,
) -> Result<(), Refusal> {
    let phases = match running {
        Running::GoOn => "('queued')",
        Running::End => "('queued', 'bound', 'ready', 'paused')",
    };
    let condition = format!("WHERE code = $1 AND phase IN {phases} ORDER BY place");
    for mut claim in claim::those(write, &condition, &[id.into()])? {
        let phase = match claim.phase {
            Phase::Queued => Phase::Failed,
            _ => Phase::Released,
        };
        claim::end(write, &mut claim, phase, reason, actor, now)?;
    }
    Ok(())
}
