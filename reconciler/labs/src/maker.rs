//! Who makes a pool or a code, until who asked for it has written down that it is there.
//!
//! A create that is killed between the store's commit and the caller's own record leaves an object that nobody knows of.
//! It bears the words of its maker, which nothing here reads. Whoever finds that maker dead takes the object over by
//! naming exactly these words: of two only one does. It gets another identity then, so that whoever has the old one, the
//! maker too, should it live after all, is told that it is another's. A maker that lives says so from time to time
//! ([`keep`]); once its caller has the object, nobody makes it any more ([`recorded`]).
//!
//! ```
//! use labyard_labs::maker::Maker;
//! assert_eq!(Maker::parse("engine 7").unwrap().as_str(), "engine 7");
//! assert!(Maker::parse("two\nlines").is_err());
//! ```

use crate::{
    claim::Queries,
    ids::{CodeName, Namespace, PoolName},
};
use labyard_store::{
    Row, StoreError, Value, Write,
    event::{Event, Moment},
};
use std::fmt;

/// The longest words of a maker.
const LONGEST: usize = 1024;

/// A maker, in words of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Maker(String);

impl Maker {
    /// A maker of these words.
    ///
    /// # Errors
    /// If they are not 1 to 1024 printable characters of ASCII.
    pub fn parse(text: &str) -> Result<Self, String> {
        let printable = text.bytes().all(|byte| matches!(byte, b' '..=b'~'));
        match printable && (1..=LONGEST).contains(&text.len()) {
            true => Ok(Self(text.to_owned())),
            false => Err(format!(
                "1 to {LONGEST} printable characters of ASCII belong here"
            )),
        }
    }

    /// Its words.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// What is made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Thing {
    /// A pool.
    Pool(PoolName),
    /// A code.
    Code(CodeName),
}

impl Thing {
    fn table(&self) -> &'static str {
        match self {
            Self::Pool(_) => "pools",
            Self::Code(_) => "codes",
        }
    }

    fn kind(&self) -> &'static str {
        match self {
            Self::Pool(_) => "pool",
            Self::Code(_) => "code",
        }
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        match self {
            Self::Pool(name) => name.as_str(),
            Self::Code(name) => name.as_str(),
        }
    }
}

impl fmt::Display for Thing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.kind(), self.name())
    }
}

/// Whether an object is still the one that is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stands {
    /// It is.
    Yes,
    /// It is gone, or another's by now.
    No,
}

/// A column of a row as a maker.
///
/// # Errors
/// If it holds no words of a maker.
pub fn read(row: &Row) -> Result<Option<Maker>, StoreError> {
    let text: Option<String> = row.get("maker")?;
    let maker = text.as_deref().map(Maker::parse).transpose();
    maker.map_err(|why| StoreError::Unreadable {
        what: format!("maker: {why}"),
    })
}

/// The maker of an object; none where it has none, or is not there.
///
/// # Errors
/// If the store fails.
pub fn of(
    from: &mut impl Queries,
    namespace: &Namespace,
    thing: &Thing,
) -> Result<Option<Maker>, StoreError> {
    Ok(found(from, namespace, thing)?.and_then(|(_, maker)| maker))
}

/// The identity and the maker of an object.
fn found(
    from: &mut impl Queries,
    namespace: &Namespace,
    thing: &Thing,
) -> Result<Option<(String, Option<Maker>)>, StoreError> {
    let sql = format!(
        "SELECT id, maker FROM {} WHERE namespace = $1 AND name = $2",
        thing.table()
    );
    let rows = from.rows(&sql, &[namespace.as_str().into(), thing.name().into()])?;
    let Some(row) = rows.first() else {
        return Ok(None);
    };
    Ok(Some((row.get("id")?, read(row)?)))
}

/// From now on an object has this maker, or none.
///
/// # Errors
/// If the store fails.
pub fn set(
    write: &mut Write<'_>,
    namespace: &Namespace,
    thing: &Thing,
    maker: Option<&Maker>,
    (now, actor): (Moment, &str),
) -> Result<(), StoreError> {
    if of(write, namespace, thing)?.as_ref() == maker {
        return Ok(());
    }
    let sql = format!(
        "UPDATE {} SET maker = $1 WHERE namespace = $2 AND name = $3",
        thing.table()
    );
    let parameters: [Value; 3] = [
        maker.map(|maker| maker.as_str().to_owned()).into(),
        namespace.as_str().into(),
        thing.name().into(),
    ];
    write.execute(&sql, &parameters)?;
    let action = match maker {
        Some(_) => "making",
        None => "recorded",
    };
    let action = format!("{}.{action}", thing.kind());
    let event = Event::new(now, namespace.as_str(), actor, &action, &thing.to_string());
    write.event(&event).map(drop)
}

/// The maker of an object says that it lives. Of one that is recorded it says nothing.
///
/// # Errors
/// If the store fails.
pub fn keep(
    write: &mut Write<'_>,
    namespace: &Namespace,
    (thing, id): (&Thing, &str),
    maker: &Maker,
    at: (Moment, &str),
) -> Result<Stands, StoreError> {
    match found(write, namespace, thing)? {
        Some((there, before)) if there == id => {
            if before.is_some() {
                set(write, namespace, thing, Some(maker), at)?;
            }
            Ok(Stands::Yes)
        }
        _ => Ok(Stands::No),
    }
}

/// Who asked for an object has written down that it is there. That it has been so already is success.
///
/// # Errors
/// If the store fails.
pub fn recorded(
    write: &mut Write<'_>,
    namespace: &Namespace,
    (thing, id): (&Thing, &str),
    at: (Moment, &str),
) -> Result<Stands, StoreError> {
    match found(write, namespace, thing)? {
        Some((there, _)) if there == id => {
            set(write, namespace, thing, None, at)?;
            Ok(Stands::Yes)
        }
        _ => Ok(Stands::No),
    }
}
