//! The key of a store is exchanged for another: all that is sealed or found by a keyed hash is written anew, in one
//! transaction. Idempotency keys are found by a digest without a key, and stay.
//!
//! Where a column is added that the key has to do with, it is added here: a test looks for those that were forgotten.

use crate::{
    Refusal,
    claim::{Queries as _, admit, redeem::secret_of},
    code::keep,
    pool,
};
use labyard_store::{
    Row, Sealed, SealingKey, StoreError, Value, Write,
    event::{Event, Moment},
};

/// Columns of bytes, and whether the key has to do with them.
pub const COLUMNS: &[(&str, &str, Kind)] = &[
    ("pools", "secrets", Kind::Sealed),
    ("code_values", "sealed", Kind::Sealed),
    ("code_values", "hash", Kind::Found),
    ("claims", "value_hash", Kind::Found),
    ("claims", "sealed", Kind::Sealed),
    ("claims", "made", Kind::Sealed),
    ("claims", "secret_hash", Kind::Found),
    ("claims", "idempotency_hash", Kind::Digest),
    ("tokens", "hash", Kind::Digest),
    ("operations", "asked", Kind::Found),
];

/// What a column of bytes holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A secret, sealed with the key.
    Sealed,
    /// A hash under the key.
    Found,
    /// A digest without a key.
    Digest,
}

/// Writes everything anew with another key, and makes it the store's.
///
/// # Errors
/// If a secret does not open, or the store fails; nothing has changed then.
pub fn rotate(write: &mut Write<'_>, new: &SealingKey, now: Moment, actor: &str) -> Result<(), Refusal> {
    pools(write, new)?;
    codes(write, new)?;
    claims(write, new)?;
    // What these are hashes of is kept nowhere: a request that is repeated is known by its name alone from now on.
    write.execute("UPDATE operations SET asked = NULL", &[])?;
    write.use_key(new)?;
    write.event(&Event::new(now, "", actor, "store.key_rotated", "store"))?;
    Ok(())
}

/// A sealed column of a row, opened with the old key and sealed with the new one.
fn anew(
    write: &Write<'_>,
    new: &SealingKey,
    what: &str,
    row: &Row,
    column: &str,
) -> Result<Value, StoreError> {
    let opened = write.open(what, &Sealed(row.get(column)?))?;
    Ok(new.seal(what, &opened)?.0.into())
}

fn pools(write: &mut Write<'_>, new: &SealingKey) -> Result<(), StoreError> {
    for row in write.rows(
        "SELECT namespace, name, secrets FROM pools WHERE secrets IS NOT NULL",
        &[],
    )? {
        let (namespace, name): (String, String) = (row.get("namespace")?, row.get("name")?);
        let sealed = anew(write, new, &pool::record(&namespace, &name), &row, "secrets")?;
        write.execute(
            "UPDATE pools SET secrets = $1 WHERE namespace = $2 AND name = $3",
            &[sealed, namespace.into(), name.into()],
        )?;
    }
    Ok(())
}

fn codes(write: &mut Write<'_>, new: &SealingKey) -> Result<(), StoreError> {
    for row in write.rows("SELECT code, hash, sealed FROM code_values", &[])? {
        let (code, hash): (String, Vec<u8>) = (row.get("code")?, row.get("hash")?);
        let text = keep::opened(write, &code, row.get("sealed")?)?;
        let sealed = anew(write, new, &keep::record(&code), &row, "sealed")?;
        let found = new.finding_hash("code", text.as_compared());
        write.execute(
            "UPDATE code_values SET hash = $1, sealed = $2 WHERE hash = $3",
            &[found.clone().into(), sealed, hash.clone().into()],
        )?;
        write.execute(
            "UPDATE claims SET value_hash = $1 WHERE value_hash = $2",
            &[found.into(), hash.into()],
        )?;
    }
    Ok(())
}

fn claims(write: &mut Write<'_>, new: &SealingKey) -> Result<(), StoreError> {
    for row in write.rows("SELECT id, sealed FROM claims", &[])? {
        let id = crate::ids::ClaimId(row.get("id")?);
        let what = secret_of(&id);
        let secret = write.open(&what, &Sealed(row.get("sealed")?))?;
        let text = std::str::from_utf8(&secret).map_err(|_| StoreError::Tampered { what: what.clone() })?;
        let parameters: [Value; 3] = [
            new.seal(&what, &secret)?.0.into(),
            new.finding_hash("claim", text).into(),
            id.as_str().into(),
        ];
        write.execute(
            "UPDATE claims SET sealed = $1, secret_hash = $2 WHERE id = $3",
            &parameters,
        )?;
    }
    for row in write.rows("SELECT id, made FROM claims WHERE made IS NOT NULL", &[])? {
        let id = crate::ids::ClaimId(row.get("id")?);
        let sealed = anew(write, new, &admit::record(&id), &row, "made")?;
        write.execute(
            "UPDATE claims SET made = $1 WHERE id = $2",
            &[sealed, id.as_str().into()],
        )?;
    }
    Ok(())
}
