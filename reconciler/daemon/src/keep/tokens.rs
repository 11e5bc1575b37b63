//! Tokens in the store. A token's text has 128 random bits; it is found by a digest, which stays
//! the same when the store's key changes, and kept nowhere.

use crate::{failure::Failure, sign_in::granted::Granted};
use labyard_api::{
    problem::Problem,
    token::{MadeToken, NewToken, PREFIX, Role, Token},
};
use labyard_labs::{claim::Queries, ids::random_id};
use labyard_store::{
    Read, Row, StoreError, Value, Write,
    event::{Event, Moment},
    seal::digest,
};
use std::time::Duration;

use super::{time, time_in};

const PURPOSE: &str = "token";
const COLUMNS: &str = "name, role, namespaces, created_at, expires_at, revoked_at";
const LONGEST_NAME: usize = 63;

/// Makes a token.
pub(crate) fn make(
    write: &mut Write<'_>,
    asked: &NewToken,
    now: Moment,
    actor: &str,
) -> Result<MadeToken, Failure> {
    check_name(&asked.name)?;
    make_named(write, asked, now, actor)
}

/// What the names of tokens of people who signed in begin with; others cannot be called so.
const PERSON: &str = "login:";
/// So long after their end they can still be listed.
const REMEMBERED_MS: i64 = 7 * 24 * 3600 * 1000;

/// Makes a token for somebody who signed in; one for each id, and never another.
pub(crate) fn make_for_person(
    write: &mut Write<'_>,
    granted: &Granted,
    id: &str,
    lasts: Duration,
    now: Moment,
) -> Result<MadeToken, Failure> {
    write.execute(
        "DELETE FROM tokens WHERE name LIKE 'login:%' AND expires_at < $1",
        &[now.0.saturating_sub(REMEMBERED_MS).into()],
    )?;
    let person = format!("{PERSON}{}", granted.person);
    let asked = NewToken {
        name: format!("{person}:{}", id.get(..8).unwrap_or(id)),
        role: granted.role,
        namespaces: granted.namespaces.clone(),
        valid_s: Some(lasts.as_secs().max(1)),
    };
    make_named(write, &asked, now, &person)
}

/// Who asks by a token, in the log: its name, or the person, whichever of their tokens it is.
pub(crate) fn actor(token: &Token) -> &str {
    match token.name.rsplit_once(':') {
        Some((person, _)) if person.starts_with(PERSON) => person,
        _ => &token.name,
    }
}

fn make_named(
    write: &mut Write<'_>,
    asked: &NewToken,
    now: Moment,
    actor: &str,
) -> Result<MadeToken, Failure> {
    let text = format!("{PREFIX}{}", random_id()?);
    let namespaces = asked
        .namespaces
        .as_ref()
        .map(|names| serde_json::Value::from(names.clone()).to_string());
    let expires = asked
        .valid_s
        .map(|seconds| now.0.saturating_add_unsigned(seconds.saturating_mul(1000)));
    let parameters: [Value; 6] = [
        (&asked.name).into(),
        digest(PURPOSE, &text).into(),
        asked.role.word().into(),
        namespaces.into(),
        now.0.into(),
        expires.into(),
    ];
    let made = write.execute(
        "INSERT INTO tokens (name, hash, role, namespaces, created_at, expires_at) VALUES ($1, $2, $3, $4, $5, $6)",
        &parameters,
    );
    match made {
        Err(StoreError::Exists { .. }) => {
            let detail = format!("There is or was a token {:?}: choose another name.", asked.name);
            return Err(Problem::new(409, "token-exists", "The name is taken")
                .detail(detail)
                .into());
        }
        made => made?,
    };
    let event = event(&asked.name, "token.made", now, actor).with("role", asked.role.word());
    write.event(&event)?;
    let token = find(write, &asked.name)?;
    Ok(MadeToken { token, text })
}

fn check_name(name: &str) -> Result<(), Failure> {
    let fine = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    let begins = name.starts_with(|c: char| c.is_ascii_alphanumeric());
    if begins && name.len() <= LONGEST_NAME && name.chars().all(fine) {
        return Ok(());
    }
    let detail = "letters, digits, '-', '_' and '.', at most 63, a letter or digit first";
    Err(
        Problem::new(422, "invalid", "The request has values that cannot be")
            .wrong("/name", detail)
            .into(),
    )
}

fn event(name: &str, action: &str, now: Moment, actor: &str) -> Event {
    Event::new(now, "", actor, action, &format!("token/{name}"))
}

/// The token of that text, if it is valid now.
pub(crate) fn by_text(read: &mut Read<'_>, text: &str, now: Moment) -> Result<Option<Token>, StoreError> {
    let hash = digest(PURPOSE, text);
    let sql = format!(
        "SELECT {COLUMNS} FROM tokens WHERE hash = $1 AND revoked_at IS NULL AND (expires_at IS NULL OR expires_at > $2)"
    );
    let rows = read.query(&sql, &[hash.into(), now.0.into()])?;
    rows.first().map(shown).transpose()
}

/// Whether the token of that name is valid now.
pub(crate) fn is_valid(read: &mut Read<'_>, name: &str, now: Moment) -> Result<bool, StoreError> {
    let sql = "SELECT name FROM tokens WHERE name = $1 AND revoked_at IS NULL AND (expires_at IS NULL OR expires_at > $2)";
    let rows = read.query(sql, &[name.into(), now.0.into()])?;
    Ok(!rows.is_empty())
}

/// All tokens by name.
pub(crate) fn list(read: &mut Read<'_>) -> Result<Vec<Token>, StoreError> {
    let rows = read.query(&format!("SELECT {COLUMNS} FROM tokens ORDER BY name"), &[])?;
    rows.iter().map(shown).collect()
}

/// Revokes a token; of one that was revoked that is true already.
pub(crate) fn revoke(write: &mut Write<'_>, name: &str, now: Moment, actor: &str) -> Result<Token, Failure> {
    let changed = write.execute(
        "UPDATE tokens SET revoked_at = $1 WHERE name = $2 AND revoked_at IS NULL",
        &[now.0.into(), name.into()],
    )?;
    if changed == 1 {
        write.event(&event(name, "token.revoked", now, actor))?;
    }
    find(write, name)
}

/// The token of that name.
pub(crate) fn find(from: &mut impl Queries, name: &str) -> Result<Token, Failure> {
    let rows = from.rows(
        &format!("SELECT {COLUMNS} FROM tokens WHERE name = $1"),
        &[name.into()],
    )?;
    match rows.first() {
        Some(row) => Ok(shown(row)?),
        None => Err(Problem::new(404, "no-token", "There is no such token").into()),
    }
}

fn shown(row: &Row) -> Result<Token, StoreError> {
    let unreadable = |what: String| StoreError::Unreadable { what };
    let role: String = row.get("role")?;
    let namespaces: Option<String> = row.get("namespaces")?;
    Ok(Token {
        name: row.get("name")?,
        role: role
            .parse::<Role>()
            .map_err(|error| unreadable(format!("tokens.role: {error}")))?,
        namespaces: namespaces
            .map(|text| serde_json::from_str(&text))
            .transpose()
            .map_err(|error| unreadable(format!("tokens.namespaces: {error}")))?,
        created_at: time(Moment(row.get("created_at")?)),
        expires_at: time_in(row, "expires_at")?,
        revoked_at: time_in(row, "revoked_at")?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use labyard_store::{Store, on_both, testing::Database};

    on_both!(
        a_token_is_found_by_its_text_until_it_ends_or_is_revoked,
        no_text_of_a_token_is_in_the_store,
        a_name_is_never_given_twice,
        what_a_person_brings_is_good_for_one_token,
    );

    fn asked(name: &str, valid_s: Option<u64>) -> NewToken {
        NewToken {
            name: name.to_owned(),
            role: Role::Operator,
            namespaces: Some(vec!["physics".to_owned()]),
            valid_s,
        }
    }

    async fn made(store: &Store, asked: NewToken) -> Result<MadeToken, Failure> {
        store
            .write(move |write| make(write, &asked, Moment(1_000), "test"))
            .await
    }

    async fn found(store: &Store, text: &str, now: i64) -> Option<Token> {
        let text = text.to_owned();
        let found: Result<_, StoreError> = store.read(move |read| by_text(read, &text, Moment(now))).await;
        found.unwrap()
    }

    async fn valid(store: &Store, name: &'static str, now: i64) -> bool {
        let valid: Result<_, StoreError> = store.read(move |read| is_valid(read, name, Moment(now))).await;
        valid.unwrap()
    }

    async fn a_token_is_found_by_its_text_until_it_ends_or_is_revoked(database: &Database) {
        let store = database.open().await;
        let short = made(&store, asked("short", Some(1))).await.unwrap();
        assert_eq!(found(&store, &short.text, 1_999).await, Some(short.token));
        assert_eq!(found(&store, &short.text, 2_000).await, None);
        assert!(valid(&store, "short", 1_999).await && !valid(&store, "short", 2_000).await);
        let long = made(&store, asked("long", None)).await.unwrap();
        assert!(found(&store, &long.text, i64::MAX).await.is_some());
        assert!(valid(&store, "long", i64::MAX).await);
        let revoked: Result<_, Failure> = store
            .write(|write| revoke(write, "long", Moment(5_000), "test"))
            .await;
        assert!(revoked.unwrap().revoked_at.is_some());
        assert_eq!(found(&store, &long.text, 5_000).await, None);
        assert!(!valid(&store, "long", 5_000).await && !valid(&store, "none", 0).await);
        assert_eq!(found(&store, "lyt_0", 0).await, None);
    }

    async fn no_text_of_a_token_is_in_the_store(database: &Database) {
        let store = database.open().await;
        let made = made(&store, asked("ci", None)).await.unwrap();
        let events = store
            .read(|read| read.events_after(labyard_store::event::EventId(0), 9))
            .await;
        let events = events.unwrap();
        assert_eq!(events[0].event.subject, "token/ci");
        assert!(!format!("{events:?}").contains(&made.text[PREFIX.len()..]));
        let hashed: Result<i64, StoreError> = store
            .read(move |read| {
                let hash = digest(PURPOSE, &made.text);
                read.query("SELECT COUNT(*) AS n FROM tokens WHERE hash = $1", &[hash.into()])?[0].get("n")
            })
            .await;
        assert_eq!(hashed.unwrap(), 1);
    }

    async fn what_a_person_brings_is_good_for_one_token(database: &Database) {
        let store = database.open().await;
        let granted = Granted {
            person: "ada".to_owned(),
            role: Role::Viewer,
            namespaces: None,
        };
        let made = |id: &'static str| {
            let granted = granted.clone();
            let lasts = Duration::from_secs(60);
            store.write(move |write| make_for_person(write, &granted, id, lasts, Moment(1_000)))
        };
        let first: Result<MadeToken, Failure> = made("0123456789abcdef").await;
        assert_eq!(actor(&first.unwrap().token), "login:ada");
        assert_eq!(
            made("0123456789abcdef").await.unwrap_err().0.kind(),
            "token-exists"
        );
        assert!(made("fedcba9876543210").await.is_ok());
    }

    async fn a_name_is_never_given_twice(database: &Database) {
        let store = database.open().await;
        made(&store, asked("ci", None)).await.unwrap();
        let again = made(&store, asked("ci", None)).await.unwrap_err();
        assert_eq!((again.0.status, again.0.kind()), (409, "token-exists"));
        assert!(made(&store, asked("a b", None)).await.is_err());
    }
}
