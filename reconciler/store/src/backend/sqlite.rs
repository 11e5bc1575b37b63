//! SQLite: a file with a write-ahead log, made for its owner alone. A commit is on the disk when it returns
//! (`synchronous = FULL`; sqlite.org/pragma.html#pragma_synchronous).

use super::Connection;
use crate::{Row, StoreError, Value};
use rusqlite::{ErrorCode, types::ValueRef};
use std::{path::Path, sync::Arc, time::Duration};

/// How long a writer waits for another program's transaction.
const PATIENCE: Duration = Duration::from_secs(10);

pub(super) struct Sqlite {
    connection: rusqlite::Connection,
    store: String,
}

impl Sqlite {
    pub(super) fn open(path: &Path) -> Result<Self, StoreError> {
        let store = path.display().to_string();
        let unavailable = |why: String| StoreError::Unavailable {
            store: store.clone(),
            why,
        };
        make_private(path).map_err(|error| unavailable(error.to_string()))?;
        let connection = rusqlite::Connection::open(path).map_err(|error| unavailable(error.to_string()))?;
        let opened = Self {
            connection,
            store: store.clone(),
        };
        opened
            .connection
            .busy_timeout(PATIENCE)
            .and_then(|()| {
                opened.connection.execute_batch(
                    "PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON; PRAGMA trusted_schema = OFF;",
                )
            })
            .and_then(|()| match opened.is_foreign()? {
                // Whoever looks at it refuses it; it stays as it is.
                true => Ok(()),
                false => opened.connection.execute_batch("PRAGMA journal_mode = WAL;"),
            })
            .map_err(|error| opened.explained(&error))?;
        opened.connection.set_prepared_statement_cache_capacity(64);
        Ok(opened)
    }

    /// Whether it has tables, and none that says that they are a store's.
    fn is_foreign(&self) -> rusqlite::Result<bool> {
        self.connection.query_row(
            "SELECT COUNT(*) > 0 AND SUM(name = 'labyard_meta') = 0 FROM sqlite_master WHERE type = 'table'",
            [],
            |row| row.get(0),
        )
    }

    fn explained(&self, error: &rusqlite::Error) -> StoreError {
        let store = self.store.clone();
        let why = error.to_string();
        match error.sqlite_error_code() {
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => StoreError::Locked { store },
            Some(ErrorCode::DiskFull) => StoreError::Full { store },
            Some(ErrorCode::ConstraintViolation) if why.starts_with("UNIQUE constraint failed: ") => {
                StoreError::Exists {
                    what: why["UNIQUE constraint failed: ".len()..].to_owned(),
                }
            }
            Some(
                ErrorCode::CannotOpen
                | ErrorCode::ReadOnly
                | ErrorCode::PermissionDenied
                | ErrorCode::NotADatabase
                | ErrorCode::DatabaseCorrupt,
            ) => StoreError::Unavailable { store, why },
            Some(ErrorCode::SystemIoFailure) => StoreError::Lost { store, why },
            _ => StoreError::Refused { store, why },
        }
    }

    fn batch(&mut self, sql: &str) -> Result<(), StoreError> {
        self.connection
            .execute_batch(sql)
            .map_err(|error| self.explained(&error))
    }
}

/// Copies the file at `from`, with all that its logs hold, into a new one (sqlite.org/lang_vacuum.html#vacuuminto).
pub(super) fn back_up(from: &Path, to: &Path) -> Result<(), StoreError> {
    let unavailable = |why: String| StoreError::Unavailable {
        store: to.display().to_string(),
        why,
    };
    let Some(name) = to.to_str() else {
        return Err(unavailable("its name is not UTF-8".to_owned()));
    };
    if to.exists() {
        return Err(unavailable("there is a file of that name already".to_owned()));
    }
    let source = Sqlite::open(from)?;
    // An empty file is taken as it is, permissions included; what is not whole is nothing.
    make_private(to).map_err(|error| unavailable(error.to_string()))?;
    let copied = source.connection.execute("VACUUM INTO ?1", [name]);
    copied.map(drop).map_err(|error| {
        let _ = std::fs::remove_file(to);
        unavailable(error.to_string())
    })
}

/// Makes the file for its owner alone where it is missing; SQLite gives its logs the same permissions.
fn make_private(path: &Path) -> std::io::Result<()> {
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    match options.open(path) {
        Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => Err(error),
        _ => Ok(()),
    }
}

/// Both databases number parameters; SQLite writes the number behind a question mark.
fn in_its_words(sql: &str) -> String {
    sql.replace('$', "?")
}

fn to_sqlite(value: &Value) -> rusqlite::types::Value {
    match value {
        Value::Null => rusqlite::types::Value::Null,
        Value::Integer(value) => rusqlite::types::Value::Integer(*value),
        Value::Text(value) => rusqlite::types::Value::Text(value.clone()),
        Value::Bytes(value) => rusqlite::types::Value::Blob(value.clone()),
    }
}

fn from_sqlite(value: ValueRef<'_>) -> Option<Value> {
    Some(match value {
        ValueRef::Null => Value::Null,
        ValueRef::Integer(value) => Value::Integer(value),
        ValueRef::Text(value) => Value::Text(std::str::from_utf8(value).ok()?.to_owned()),
        ValueRef::Blob(value) => Value::Bytes(value.to_vec()),
        ValueRef::Real(_) => return None,
    })
}

impl Connection for Sqlite {
    fn execute(&mut self, sql: &str, parameters: &[Value]) -> Result<u64, StoreError> {
        let parameters = rusqlite::params_from_iter(parameters.iter().map(to_sqlite));
        let changed = self
            .connection
            .prepare_cached(&in_its_words(sql))
            .and_then(|mut statement| statement.execute(parameters));
        changed
            .map(|changed| changed as u64)
            .map_err(|error| self.explained(&error))
    }

    fn query(&mut self, sql: &str, parameters: &[Value]) -> Result<Vec<Row>, StoreError> {
        let mut found = Vec::new();
        let mut unreadable = None;
        let outcome = self
            .connection
            .prepare_cached(&in_its_words(sql))
            .and_then(|mut statement| {
                let names: Arc<[String]> = statement.column_names().map(str::to_owned).collect();
                let mut rows =
                    statement.query(rusqlite::params_from_iter(parameters.iter().map(to_sqlite)))?;
                while let Some(row) = rows.next()? {
                    let mut values = Vec::with_capacity(names.len());
                    for (at, name) in names.iter().enumerate() {
                        match from_sqlite(row.get_ref(at)?) {
                            Some(value) => values.push(value),
                            None => unreadable = Some(name.clone()),
                        }
                    }
                    found.push(Row {
                        names: Arc::clone(&names),
                        values,
                    });
                }
                Ok(())
            });
        outcome.map_err(|error| self.explained(&error))?;
        match unreadable {
            Some(column) => Err(StoreError::Unreadable {
                what: format!("column {column}"),
            }),
            None => Ok(found),
        }
    }

    fn begin_write(&mut self) -> Result<(), StoreError> {
        self.batch("BEGIN IMMEDIATE")
    }

    fn begin_read(&mut self) -> Result<(), StoreError> {
        self.batch("BEGIN DEFERRED")
    }

    // A commit of SQLite that fails has not happened (sqlite.org/lang_transaction.html).
    fn commit(&mut self) -> Result<(), StoreError> {
        self.batch("COMMIT")
    }

    fn roll_back(&mut self) -> Result<(), StoreError> {
        // A full disk may have ended the transaction already.
        if self.connection.is_autocommit() {
            Ok(())
        } else {
            self.batch("ROLLBACK")
        }
    }

    fn tables(&mut self) -> Result<Vec<String>, StoreError> {
        self.query("SELECT name FROM sqlite_master WHERE type = 'table'", &[])?
            .iter()
            .map(|row| row.get("name"))
            .collect()
    }
}
