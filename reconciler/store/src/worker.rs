//! The threads behind a store: one that writes, several that read. A connection belongs to its thread; a job comes by
//! a queue and answers by itself.
//!
//! The writer takes all jobs that wait, up to [`TOGETHER`], into one transaction: each in a savepoint, so that one
//! that fails takes nothing of the others with it, and all are acknowledged by one commit. Where the connection is
//! lost before the commit, the jobs run once more on another.

use crate::{
    Location, Read, StoreError, Write,
    backend::{Connection, connect},
    event::EventId,
    migrations,
    seal::SealingKey,
};
use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc, Mutex, PoisonError,
        mpsc::{Receiver, Sender, channel},
    },
};
use tokio::sync::watch;

/// How many jobs share a commit at most: the first of them waits for the last, and more would save next to nothing of the commit.
const TOGETHER: usize = 32;
/// How many threads read.
const READERS: usize = 3;

/// A piece of work that writes. It may run twice where the connection was lost.
pub(crate) trait WriteJob: Send {
    /// Does it; `false` takes back what it has written.
    fn run(&mut self, write: &mut Write<'_>) -> bool;
    /// Answers: the commit is durable (or nothing was to commit), or why nothing of it counts.
    fn answer(self: Box<Self>, committed: Result<(), StoreError>);
}

/// A piece of work that reads.
pub(crate) type ReadJob = Box<dyn FnOnce(Result<&mut Read<'_>, StoreError>) + Send>;

/// What the threads know.
#[derive(Clone)]
pub(crate) struct Setting {
    pub(crate) location: Location,
    pub(crate) key: Arc<SealingKey>,
    pub(crate) newest: watch::Sender<EventId>,
}

/// Starts the writer; it ends when its last sender is gone.
pub(crate) fn start_writer(
    setting: Setting,
    connection: Box<dyn Connection + Send>,
) -> Sender<Box<dyn WriteJob>> {
    let (sender, jobs) = channel();
    let writer = Writer {
        setting,
        connection: Some(connection),
    };
    std::thread::Builder::new()
        .name("store-writer".to_owned())
        .spawn(move || writer.serve(&jobs))
        .expect("a thread can be started");
    sender
}

/// Starts the readers; they end when their last sender is gone.
pub(crate) fn start_readers(setting: &Setting) -> Sender<ReadJob> {
    let (sender, jobs) = channel::<ReadJob>();
    let jobs = Arc::new(Mutex::new(jobs));
    for number in 0..READERS {
        let (setting, jobs) = (setting.clone(), Arc::clone(&jobs));
        std::thread::Builder::new()
            .name(format!("store-reader-{number}"))
            .spawn(move || read_all(&setting, &jobs))
            .expect("a thread can be started");
    }
    sender
}

struct Writer {
    setting: Setting,
    connection: Option<Box<dyn Connection + Send>>,
}

/// How a transaction with all its jobs ended.
enum Ended {
    /// Committed; for each job whether it counts.
    Committed(Vec<Result<(), StoreError>>),
    /// Nothing was written: the jobs may run again.
    Nothing(StoreError),
    /// Nobody knows.
    Unknown(StoreError),
}

impl Writer {
    fn serve(mut self, jobs: &Receiver<Box<dyn WriteJob>>) {
        while let Ok(first) = jobs.recv() {
            let mut together = vec![first];
            while together.len() < TOGETHER
                && let Ok(next) = jobs.try_recv()
            {
                together.push(next);
            }
            self.serve_together(together);
        }
    }

    fn serve_together(&mut self, mut jobs: Vec<Box<dyn WriteJob>>) {
        let mut ended = self.attempt(&mut jobs);
        if let Ended::Nothing(StoreError::Lost { why, .. }) = &ended {
            tracing::debug!(%why, "the connection to the store was lost; trying another");
            ended = self.attempt(&mut jobs);
        }
        let outcomes = match ended {
            Ended::Committed(outcomes) => outcomes,
            Ended::Nothing(error) | Ended::Unknown(error) => vec![Err(error); jobs.len()],
        };
        for (job, outcome) in jobs.into_iter().zip(outcomes) {
            job.answer(outcome);
        }
    }

    fn attempt(&mut self, jobs: &mut [Box<dyn WriteJob>]) -> Ended {
        let mut connection = match self.connection.take() {
            Some(connection) => connection,
            None => match connect(&self.setting.location) {
                Ok(connection) => connection,
                Err(error) => return Ended::Nothing(error),
            },
        };
        let ended = transaction(&mut *connection, &self.setting, jobs);
        let of_use = match &ended {
            Ended::Committed(_) => true,
            Ended::Nothing(error) => !error.ends_connection() && connection.roll_back().is_ok(),
            Ended::Unknown(_) => false,
        };
        if of_use {
            self.connection = Some(connection);
        }
        ended
    }
}

fn transaction(connection: &mut dyn Connection, setting: &Setting, jobs: &mut [Box<dyn WriteJob>]) -> Ended {
    let begun = connection
        .begin_write()
        .and_then(|()| newest_event(connection, &setting.location, &setting.key));
    let before = match begun {
        Ok(newest) => newest,
        Err(error) => return Ended::Nothing(error),
    };
    let mut newest = before;
    let mut outcomes = Vec::with_capacity(jobs.len());
    for job in jobs.iter_mut() {
        match in_savepoint(connection, setting, &mut newest, &mut **job) {
            Ok(outcome) => outcomes.push(outcome),
            Err(error) => return Ended::Nothing(error),
        }
    }
    let counted = if newest == before {
        Ok(0)
    } else {
        connection.execute(
            "UPDATE counters SET value = $1 WHERE name = 'events'",
            &[newest.0.into()],
        )
    };
    if let Err(error) = counted {
        return Ended::Nothing(error);
    }
    match connection.commit() {
        Ok(()) => {
            setting.newest.send_if_modified(|known| {
                let more = newest > *known;
                *known = newest.max(*known);
                more
            });
            Ended::Committed(outcomes)
        }
        Err(error @ StoreError::Unknown { .. }) => Ended::Unknown(error),
        Err(error) => Ended::Nothing(error),
    }
}

/// The number of the newest event, where the store's secrets are sealed with this key still, and no newer program has
/// changed the tables since they were opened.
pub(crate) fn newest_event(
    connection: &mut dyn Connection,
    location: &Location,
    key: &SealingKey,
) -> Result<EventId, StoreError> {
    let rows = connection.query(
        "SELECT c.value, m.value AS key, v.value AS version FROM counters c, labyard_meta m, labyard_meta v \
         WHERE c.name = 'events' AND m.name = 'key' AND v.name = 'version'",
        &[],
    )?;
    let Some(row) = rows.first() else {
        return Err(StoreError::Unreadable {
            what: "counters has no row \"events\"".to_owned(),
        });
    };
    if row.get::<String>("key")? != key.id() {
        return Err(StoreError::OtherKey {
            store: location.to_string(),
        });
    }
    let version: String = row.get("version")?;
    let found = version.parse::<i64>().map_err(|_| StoreError::Unreadable {
        what: format!("version {version:?}"),
    })?;
    if found > migrations::known() {
        return Err(StoreError::Newer {
            store: location.to_string(),
            found,
            known: migrations::known(),
        });
    }
    Ok(EventId(row.get("value")?))
}

/// One job in its savepoint. `Err` is the end of the whole transaction; the inner result is the job's own.
fn in_savepoint(
    connection: &mut dyn Connection,
    setting: &Setting,
    newest: &mut EventId,
    job: &mut dyn WriteJob,
) -> Result<Result<(), StoreError>, StoreError> {
    connection.execute("SAVEPOINT job", &[])?;
    let mut write = Write::new(connection, &setting.key, *newest);
    let ran = catch_unwind(AssertUnwindSafe(|| job.run(&mut write)));
    let (reached, unlogged, broken) = write.into_parts();
    if let Some(error) = broken {
        return Err(error);
    }
    let outcome = match ran {
        Ok(true) if unlogged => Err(StoreError::Unlogged),
        Ok(_) => Ok(()),
        Err(_) => Err(StoreError::Refused {
            store: setting.location.to_string(),
            why: "a piece of work panicked".to_owned(),
        }),
    };
    if outcome.is_ok() && matches!(ran, Ok(true)) {
        *newest = reached;
    } else {
        connection.execute("ROLLBACK TO SAVEPOINT job", &[])?;
    }
    connection.execute("RELEASE SAVEPOINT job", &[])?;
    Ok(outcome)
}

fn read_all(setting: &Setting, jobs: &Mutex<Receiver<ReadJob>>) {
    let mut kept: Option<Box<dyn Connection + Send>> = None;
    loop {
        let next = jobs.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(job) = next else { return };
        let mut connection = match kept.take() {
            Some(connection) => connection,
            None => match connect(&setting.location) {
                Ok(connection) => connection,
                Err(error) => {
                    job(Err(error));
                    continue;
                }
            },
        };
        // A connection that has idled may have ended; a fresh one tells the truth.
        if connection.begin_read().is_err() {
            match connect(&setting.location).and_then(|mut fresh| fresh.begin_read().map(|()| fresh)) {
                Ok(fresh) => connection = fresh,
                Err(error) => {
                    job(Err(error));
                    continue;
                }
            }
        }
        let mut read = Read::new(&mut *connection, &setting.key);
        let panicked = catch_unwind(AssertUnwindSafe(|| job(Ok(&mut read)))).is_err();
        if connection.roll_back().is_ok() && !panicked {
            kept = Some(connection);
        }
    }
}
