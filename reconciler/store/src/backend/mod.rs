//! The two databases behind one small trait. It blocks: each connection belongs to a thread of its own
//! ([`crate::worker`]).

mod postgres;
mod sqlite;

use crate::{Location, Row, StoreError, Value};
use std::path::Path;

/// What a connection can do. `$1` stands for the first parameter.
pub(crate) trait Connection {
    /// Runs a statement; says how many rows it changed.
    fn execute(&mut self, sql: &str, parameters: &[Value]) -> Result<u64, StoreError>;
    /// Runs a query.
    fn query(&mut self, sql: &str, parameters: &[Value]) -> Result<Vec<Row>, StoreError>;
    /// Begins a transaction that waits for all other writers.
    fn begin_write(&mut self) -> Result<(), StoreError>;
    /// Begins a transaction that sees one state and writes nothing.
    fn begin_read(&mut self) -> Result<(), StoreError>;
    /// Ends a transaction. An error that leaves open whether it was written is [`StoreError::Unknown`].
    fn commit(&mut self) -> Result<(), StoreError>;
    /// Gives a transaction up.
    fn roll_back(&mut self) -> Result<(), StoreError>;
    /// The names of the tables that are there.
    fn tables(&mut self) -> Result<Vec<String>, StoreError>;
}

/// Connects to the store at `location`.
pub(crate) fn connect(location: &Location) -> Result<Box<dyn Connection + Send>, StoreError> {
    Ok(match location {
        Location::File(path) => Box::new(sqlite::Sqlite::open(path)?),
        Location::Postgres(url) => Box::new(postgres::Postgres::connect(url, &location.to_string())?),
    })
}

/// Copies a store into a new file.
pub(crate) fn back_up(location: &Location, to: &Path) -> Result<(), StoreError> {
    match location {
        Location::File(path) => sqlite::back_up(path, to),
        Location::Postgres(_) => Err(StoreError::Unavailable {
            store: location.to_string(),
            why: "PostgreSQL is backed up by its own tools: pg_dump --format=custom, and pg_restore to bring it back"
                .to_owned(),
        }),
    }
}
