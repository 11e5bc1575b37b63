//! The store as its callers see it: open, write, read, follow.

use crate::{
    Location, Row, Sealed, SealingKey, StoreError, Value,
    backend::{self, Connection, connect},
    event::{Event, EventId, Logged, Moment},
    migrations::{self, MIGRATIONS},
    worker::{self, ReadJob, Setting, WriteJob},
};
use std::sync::{Arc, Mutex, PoisonError, mpsc::Sender};
use tokio::sync::{oneshot, watch};

/// A store; clones share its connections.
#[derive(Clone)]
pub struct Store {
    inner: Arc<Inner>,
}

struct Inner {
    location: Location,
    id: String,
    writer: Mutex<Sender<Box<dyn WriteJob>>>,
    readers: Mutex<Sender<ReadJob>>,
    newest: watch::Receiver<EventId>,
}

impl Store {
    /// Opens a store, makes its tables where there are none, and brings older ones up to date.
    ///
    /// # Errors
    /// If it cannot be reached, is newer than this program, is another program's database, or was sealed with another
    /// key.
    pub async fn open(location: &Location, key: SealingKey) -> Result<Self, StoreError> {
        let (location, key) = (location.clone(), Arc::new(key));
        let opened = tokio::task::spawn_blocking(move || -> Result<Self, StoreError> {
            let mut connection = connect(&location)?;
            let Prepared { newest, id } = prepare(&mut *connection, &location, &key)?;
            let (sender, receiver) = watch::channel(newest);
            let setting = Setting {
                location: location.clone(),
                key,
                newest: sender,
            };
            let readers = worker::start_readers(&setting);
            let writer = worker::start_writer(setting, connection);
            Ok(Self {
                inner: Arc::new(Inner {
                    location,
                    id,
                    writer: Mutex::new(writer),
                    readers: Mutex::new(readers),
                    newest: receiver,
                }),
            })
        });
        opened
            .await
            .unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()))
    }

    /// Where it is.
    #[must_use]
    pub fn location(&self) -> &Location {
        &self.inner.location
    }

    /// Its identity, random and for its whole life: another store, or a new one in the same place, has another.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.inner.id
    }

    /// Runs a piece of work in a transaction that no other writer can change anything under. `Ok` is acknowledged
    /// when it is durable; `Err` of the work takes back what it wrote. The work may run twice (where the connection
    /// was lost before the commit), so it changes nothing but the store.
    ///
    /// # Errors
    /// The work's own, and those of the store.
    pub async fn write<T, E, F>(&self, work: F) -> Result<T, E>
    where
        F: FnMut(&mut Write<'_>) -> Result<T, E> + Send + 'static,
        T: Send + 'static,
        E: From<StoreError> + Send + 'static,
    {
        let (sender, receiver) = oneshot::channel();
        let job = Job {
            work,
            done: None,
            sender,
        };
        let sent = self
            .inner
            .writer
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .send(Box::new(job));
        if sent.is_err() {
            return Err(self.gone().into());
        }
        receiver.await.unwrap_or_else(|_| Err(self.gone().into()))
    }

    /// Runs a piece of work that only reads, all of it of one moment.
    ///
    /// # Errors
    /// The work's own, and those of the store.
    pub async fn read<T, E, F>(&self, work: F) -> Result<T, E>
    where
        F: FnOnce(&mut Read<'_>) -> Result<T, E> + Send + 'static,
        T: Send + 'static,
        E: From<StoreError> + Send + 'static,
    {
        let (sender, receiver) = oneshot::channel();
        let job: ReadJob = Box::new(move |read| {
            let _ = sender.send(read.map_err(E::from).and_then(work));
        });
        let sent = self
            .inner
            .readers
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .send(job);
        if sent.is_err() {
            return Err(self.gone().into());
        }
        receiver.await.unwrap_or_else(|_| Err(self.gone().into()))
    }

    /// Writes all of it, as it is at one moment, into a new file that its owner alone may read; nobody is held up.
    ///
    /// # Errors
    /// If the file is there already, cannot be written, or the store is PostgreSQL, which has tools of its own.
    pub async fn back_up(&self, to: &std::path::Path) -> Result<(), StoreError> {
        back_up(&self.inner.location, to).await
    }

    /// The number of the newest event that this process has written; changes wake who waits.
    #[must_use]
    pub fn newest(&self) -> watch::Receiver<EventId> {
        self.inner.newest.clone()
    }

    fn gone(&self) -> StoreError {
        StoreError::Lost {
            store: self.inner.location.to_string(),
            why: "its thread has ended".to_owned(),
        }
    }
}

/// As [`Store::back_up`], of a store that nobody opens: its tables stay those of the program that left it.
///
/// # Errors
/// As [`Store::back_up`].
pub async fn back_up(location: &Location, to: &std::path::Path) -> Result<(), StoreError> {
    let (location, to) = (location.clone(), to.to_owned());
    let done = tokio::task::spawn_blocking(move || backend::back_up(&location, &to));
    done.await
        .unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()))
}

/// A piece of work with its way back to the caller.
struct Job<F, T, E> {
    work: F,
    done: Option<Result<T, E>>,
    sender: oneshot::Sender<Result<T, E>>,
}

impl<F, T, E> WriteJob for Job<F, T, E>
where
    F: FnMut(&mut Write<'_>) -> Result<T, E> + Send,
    T: Send,
    E: From<StoreError> + Send,
{
    fn run(&mut self, write: &mut Write<'_>) -> bool {
        let done = (self.work)(write);
        let counts = done.is_ok();
        self.done = Some(done);
        counts
    }

    fn answer(self: Box<Self>, committed: Result<(), StoreError>) {
        let answer = match (committed, self.done) {
            // Also where the work itself refused: what it saw of those that shared its commit is not there.
            (Err(error), _) => Err(error.into()),
            (Ok(()), Some(done)) => done,
            (Ok(()), None) => unreachable!("a job that is committed has run"),
        };
        let _ = self.sender.send(answer);
    }
}

/// A store whose tables are up to date.
struct Prepared {
    /// The number of the newest event.
    newest: EventId,
    /// The store's identity.
    id: String,
}

/// Brings the tables up to date and looks whether the key is the store's.
fn prepare(
    connection: &mut dyn Connection,
    location: &Location,
    key: &SealingKey,
) -> Result<Prepared, StoreError> {
    let tables = connection.tables()?;
    let is_ours = tables.iter().any(|table| table == "labyard_meta");
    if !is_ours && !tables.is_empty() {
        return Err(StoreError::Foreign {
            store: location.to_string(),
        });
    }
    let prepared = connection
        .begin_write()
        .and_then(|()| upgrade(connection, location, key));
    match prepared {
        Ok(prepared) => connection.commit().map(|()| prepared),
        Err(error) => {
            let _ = connection.roll_back();
            Err(error)
        }
    }
}

fn upgrade(
    connection: &mut dyn Connection,
    location: &Location,
    key: &SealingKey,
) -> Result<Prepared, StoreError> {
    connection.execute(
        "CREATE TABLE IF NOT EXISTS labyard_meta (name TEXT PRIMARY KEY, value TEXT NOT NULL)",
        &[],
    )?;
    let store = || location.to_string();
    let version = meta(connection, "version")?.map_or(Ok(0), |text| {
        text.parse::<i64>().map_err(|_| StoreError::Unreadable {
            what: format!("version {text:?}"),
        })
    })?;
    if version > migrations::known() {
        return Err(StoreError::Newer {
            store: store(),
            found: version,
            known: migrations::known(),
        });
    }
    for migration in MIGRATIONS.iter().filter(|migration| migration.version > version) {
        for statement in migrations::statements(migration.statements) {
            connection.execute(&statement, &[])?;
        }
        set_meta(connection, "version", &migration.version.to_string())?;
    }
    if meta(connection, "key")?.is_none() {
        set_meta(connection, "key", &key.id())?;
    }
    let id = match meta(connection, "store")? {
        Some(id) => id,
        None => {
            let mut bytes = [0; 16];
            crate::seal::random(&mut bytes)?;
            let id: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
            set_meta(connection, "store", &id)?;
            id
        }
    };
    let newest = worker::newest_event(connection, location, key)?;
    Ok(Prepared { newest, id })
}

fn meta(connection: &mut dyn Connection, name: &str) -> Result<Option<String>, StoreError> {
    let rows = connection.query("SELECT value FROM labyard_meta WHERE name = $1", &[name.into()])?;
    rows.first().map(|row| row.get("value")).transpose()
}

fn set_meta(connection: &mut dyn Connection, name: &str, value: &str) -> Result<(), StoreError> {
    let parameters = [name.into(), value.into()];
    connection.execute(
        "INSERT INTO labyard_meta (name, value) VALUES ($1, $2) ON CONFLICT (name) DO UPDATE SET value = excluded.value",
        &parameters,
    )?;
    Ok(())
}

/// A transaction that writes.
pub struct Write<'a> {
    connection: &'a mut dyn Connection,
    key: &'a SealingKey,
    newest: EventId,
    changed: u64,
    logged: u64,
    broken: Option<StoreError>,
}

impl<'a> Write<'a> {
    pub(crate) fn new(connection: &'a mut dyn Connection, key: &'a SealingKey, newest: EventId) -> Self {
        Self {
            connection,
            key,
            newest,
            changed: 0,
            logged: 0,
            broken: None,
        }
    }

    /// The newest event, whether something changed without one, and what ended the connection.
    pub(crate) fn into_parts(self) -> (EventId, bool, Option<StoreError>) {
        (self.newest, self.changed > 0 && self.logged == 0, self.broken)
    }

    /// Runs a statement; says how many rows it changed.
    ///
    /// # Errors
    /// If a constraint is violated ([`StoreError::Exists`]), or the store fails.
    pub fn execute(&mut self, sql: &str, parameters: &[Value]) -> Result<u64, StoreError> {
        let changed = self.noted(|connection| connection.execute(sql, parameters))?;
        self.changed += changed;
        Ok(changed)
    }

    /// Runs a query, which sees what this transaction has written; or a statement that tells of what it changed.
    ///
    /// # Errors
    /// If the store fails.
    pub fn query(&mut self, sql: &str, parameters: &[Value]) -> Result<Vec<Row>, StoreError> {
        let rows = self.noted(|connection| connection.query(sql, parameters))?;
        if !sql.trim_start().starts_with("SELECT") {
            self.changed += rows.len() as u64;
        }
        Ok(rows)
    }

    /// Runs a statement that says no more than that something still is as it was said to be, until when: nobody asks
    /// later when that was said, so that it stands in no log.
    ///
    /// # Errors
    /// As [`execute`](Self::execute).
    pub fn renew(&mut self, sql: &str, parameters: &[Value]) -> Result<u64, StoreError> {
        self.noted(|connection| connection.execute(sql, parameters))
    }

    /// Appends to the log.
    ///
    /// # Errors
    /// If the store fails.
    pub fn event(&mut self, event: &Event) -> Result<EventId, StoreError> {
        let id = EventId(self.newest.0 + 1);
        let detail = serde_json::Value::Object(event.detail.clone()).to_string();
        let parameters: [Value; 7] = [
            id.0.into(),
            event.at.0.into(),
            (&event.namespace).into(),
            (&event.actor).into(),
            (&event.action).into(),
            (&event.subject).into(),
            detail.into(),
        ];
        self.noted(|connection| {
            connection.execute(
                "INSERT INTO events (id, at, namespace, actor, action, subject, detail) \
                 VALUES ($1, $2, $3, $4, $5, $6, $7)",
                &parameters,
            )
        })?;
        self.newest = id;
        self.logged += 1;
        Ok(id)
    }

    /// The number that the next event of this transaction gets: later ones are greater, in the order of commits.
    #[must_use]
    pub fn next_event(&self) -> EventId {
        EventId(self.newest.0 + 1)
    }

    /// Seals a secret for the record `what`.
    ///
    /// # Errors
    /// If the system has no random bytes.
    pub fn seal(&self, what: &str, secret: &[u8]) -> Result<Sealed, StoreError> {
        self.key.seal(what, secret)
    }

    /// Opens a secret of the record `what`.
    ///
    /// # Errors
    /// If it is not what was sealed for that record.
    pub fn open(&self, what: &str, sealed: &Sealed) -> Result<Vec<u8>, StoreError> {
        self.key.open(what, sealed)
    }

    /// The hash by which a secret is found.
    #[must_use]
    pub fn finding_hash(&self, purpose: &str, secret: &str) -> Vec<u8> {
        self.key.finding_hash(purpose, secret)
    }

    /// From the commit on the store's secrets are sealed with another key. Who wrote them all anew with it says so here;
    /// every program that was opened with the old key is refused from then on.
    ///
    /// # Errors
    /// If the store fails.
    pub fn use_key(&mut self, new: &SealingKey) -> Result<(), StoreError> {
        let parameters = [new.id().into()];
        self.execute(
            "UPDATE labyard_meta SET value = $1 WHERE name = 'key'",
            &parameters,
        )
        .map(drop)
    }

    fn noted<T>(
        &mut self,
        call: impl FnOnce(&mut dyn Connection) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let answer = call(self.connection);
        if let Err(error) = &answer
            && (error.ends_connection()
                || matches!(error, StoreError::Full { .. } | StoreError::Locked { .. }))
        {
            self.broken = Some(error.clone());
        }
        answer
    }
}

/// A transaction that only reads.
pub struct Read<'a> {
    connection: &'a mut dyn Connection,
    key: &'a SealingKey,
}

impl<'a> Read<'a> {
    pub(crate) fn new(connection: &'a mut dyn Connection, key: &'a SealingKey) -> Self {
        Self { connection, key }
    }

    /// Runs a query.
    ///
    /// # Errors
    /// If the store fails.
    pub fn query(&mut self, sql: &str, parameters: &[Value]) -> Result<Vec<Row>, StoreError> {
        self.connection.query(sql, parameters)
    }

    /// Opens a secret of the record `what`.
    ///
    /// # Errors
    /// If it is not what was sealed for that record.
    pub fn open(&self, what: &str, sealed: &Sealed) -> Result<Vec<u8>, StoreError> {
        self.key.open(what, sealed)
    }

    /// The hash by which a secret is found.
    #[must_use]
    pub fn finding_hash(&self, purpose: &str, secret: &str) -> Vec<u8> {
        self.key.finding_hash(purpose, secret)
    }

    /// Events after the one with number `after`, oldest first, at most `limit`.
    ///
    /// # Errors
    /// If the store fails.
    pub fn events_after(&mut self, after: EventId, limit: u32) -> Result<Vec<Logged>, StoreError> {
        let sql = "SELECT id, at, namespace, actor, action, subject, detail FROM events \
                   WHERE id > $1 ORDER BY id LIMIT $2";
        let rows = self
            .connection
            .query(sql, &[after.0.into(), i64::from(limit).into()])?;
        rows.iter().map(logged).collect()
    }
}

fn logged(row: &Row) -> Result<Logged, StoreError> {
    let detail: String = row.get("detail")?;
    Ok(Logged {
        id: EventId(row.get("id")?),
        event: Event {
            at: Moment(row.get("at")?),
            namespace: row.get("namespace")?,
            actor: row.get("actor")?,
            action: row.get("action")?,
            subject: row.get("subject")?,
            detail: serde_json::from_str(&detail).map_err(|error| StoreError::Unreadable {
                what: format!("events.detail: {error}"),
            })?,
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// It found no machine free because another had got it in the same transaction, which then came to nothing.
    #[test]
    fn a_refusal_of_a_transaction_that_was_not_committed_is_none() {
        fn nothing(_: &mut Write<'_>) -> Result<(), StoreError> {
            Ok(())
        }
        let (sender, mut receiver) = oneshot::channel::<Result<(), StoreError>>();
        let job = Job {
            work: nothing,
            done: Some(Err(StoreError::Unlogged)),
            sender,
        };
        let store = "/var/lib/labyard.db".to_owned();
        Box::new(job).answer(Err(StoreError::Full { store }));
        let answer = receiver.try_recv().unwrap();
        assert!(matches!(answer, Err(StoreError::Full { .. })), "{answer:?}");
    }
}
