//! What happens when the database, the disk or another program gets in the way: nothing that was acknowledged is lost,
//! nothing that was refused is there.

use labyard_store::{
    Location, Store, StoreError,
    event::{Event, EventId, Moment},
    testing::{Database, server},
};
use std::time::{Duration, Instant};

async fn note(store: &Store, subject: String) -> Result<EventId, StoreError> {
    store
        .write(move |write| write.event(&Event::new(Moment(1), "default", "test", "noted", &subject)))
        .await
}

async fn subjects(store: &Store) -> Vec<String> {
    let logged: Result<Vec<_>, StoreError> = store.read(|read| read.events_after(EventId(0), 100_000)).await;
    logged
        .unwrap()
        .into_iter()
        .map(|logged| logged.event.subject)
        .collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_that_the_server_ends_lose_nothing_that_was_acknowledged() {
    let Some(database) = Database::postgres() else {
        return;
    };
    let store = database.open().await;
    let mut acknowledged = Vec::new();
    let mut unknown = Vec::new();
    for number in 0..200 {
        if number % 10 == 5 {
            let sql = format!(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
                 WHERE datname = '{}' AND application_name = 'labyard'",
                database.name
            );
            tokio::task::spawn_blocking(move || server().unwrap().sql("postgres", &sql))
                .await
                .unwrap();
        }
        match note(&store, format!("n{number}")).await {
            Ok(_) => acknowledged.push(format!("n{number}")),
            Err(StoreError::Unknown { .. }) => unknown.push(format!("n{number}")),
            Err(error) => assert!(error.is_retryable(), "{error}"),
        }
    }
    let there = subjects(&store).await;
    assert!(
        acknowledged.len() >= 180,
        "{} of 200, the rest repeated",
        acknowledged.len()
    );
    for subject in &acknowledged {
        assert_eq!(
            there.iter().filter(|other| *other == subject).count(),
            1,
            "{subject}"
        );
    }
    assert!(
        there
            .iter()
            .all(|subject| acknowledged.contains(subject) || unknown.contains(subject))
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_that_stops_in_its_transaction_holds_up_the_others_for_seconds_only() {
    let Some(database) = Database::postgres() else {
        return;
    };
    let (stopped, other) = (database.open().await, database.open().await);
    let (release, hold) = std::sync::mpsc::channel::<()>();
    let (inside, entered) = tokio::sync::oneshot::channel();
    let mut inside = Some(inside);
    let hold = std::sync::Mutex::new(hold);
    let held = tokio::spawn(async move {
        stopped
            .write(move |write| {
                write.event(&Event::new(Moment(1), "default", "test", "noted", "stopped"))?;
                if let Some(inside) = inside.take() {
                    inside.send(()).unwrap();
                    let _ = hold.lock().unwrap().recv();
                }
                Ok::<_, StoreError>(())
            })
            .await
    });
    entered.await.unwrap();
    let began = Instant::now();
    note(&other, "other".to_owned()).await.unwrap();
    assert!(began.elapsed() < Duration::from_secs(15), "{:?}", began.elapsed());
    assert_eq!(subjects(&other).await, ["other"]);
    release.send(()).unwrap();
    // Its work runs once more, on what has become of the store since.
    held.await.unwrap().unwrap();
    assert_eq!(subjects(&other).await, ["other", "stopped"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_refuses_and_keeps_what_was_acknowledged() {
    let directory = tempfile::tempdir().unwrap();
    let mounted = std::process::Command::new("mount")
        .args(["-t", "tmpfs", "-o", "size=1m", "tmpfs"])
        .arg(directory.path())
        .status();
    if !mounted.is_ok_and(|status| status.success()) {
        eprintln!("SKIPPED: a small file system cannot be mounted here, the full disk was not tried");
        return;
    }
    let unmount = Unmount(directory.path().to_owned());
    let location = Location::File(directory.path().join("labyard.db"));
    let database = || Store::open(&location, labyard_store::SealingKey::from_bytes([7; 32]));
    let store = database().await.unwrap();
    let mut acknowledged = Vec::new();
    let refused = loop {
        let subject = format!("{:04}{}", acknowledged.len(), "x".repeat(4_000));
        match note(&store, subject.clone()).await {
            Ok(_) => acknowledged.push(subject),
            Err(error) => break error,
        }
        assert!(acknowledged.len() < 2_000);
    };
    assert!(matches!(refused, StoreError::Full { .. }), "{refused}");
    assert!(refused.to_string().contains("nothing was written"));
    assert!(acknowledged.len() > 3);
    assert_eq!(subjects(&store).await, acknowledged);
    drop(store);
    let grown = std::process::Command::new("mount")
        .args(["-o", "remount,size=8m"])
        .arg(directory.path())
        .status();
    assert!(grown.unwrap().success());
    let store = database().await.unwrap();
    note(&store, "there is room again".to_owned()).await.unwrap();
    acknowledged.push("there is room again".to_owned());
    assert_eq!(subjects(&store).await, acknowledged);
    drop(store);
    drop(unmount);
}

/// A store's threads end a moment after it is dropped, and hold its file until then.
struct Unmount(std::path::PathBuf);

impl Drop for Unmount {
    fn drop(&mut self) {
        let _ = std::process::Command::new("umount")
            .arg("--lazy")
            .arg(&self.0)
            .status();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_that_another_program_has_locked_is_said_and_works_again_afterwards() {
    let database = Database::sqlite();
    let store = database.open().await;
    let Location::File(path) = &database.location else {
        unreachable!()
    };
    let other = rusqlite::Connection::open(path).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let refused = note(&store, "a".to_owned()).await.unwrap_err();
    assert!(matches!(refused, StoreError::Locked { .. }), "{refused}");
    assert!(refused.is_retryable());
    other.execute_batch("ROLLBACK").unwrap();
    note(&store, "b".to_owned()).await.unwrap();
    assert_eq!(subjects(&store).await, ["b"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backup_made_while_others_write_is_whole_and_opens_as_a_store() {
    let database = Database::sqlite();
    let store = database.open().await;
    for number in 0..50 {
        note(&store, format!("n{number}")).await.unwrap();
    }
    let directory = tempfile::tempdir().unwrap();
    let to = directory.path().join("backup.db");
    let writing = store.clone();
    let meanwhile = tokio::spawn(async move {
        for number in 50..100 {
            note(&writing, format!("n{number}")).await.unwrap();
        }
    });
    store.back_up(&to).await.unwrap();
    meanwhile.await.unwrap();
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        assert_eq!(
            std::fs::metadata(&to).unwrap().permissions().mode() & 0o777,
            0o600
        );
    }

    let again = store.back_up(&to).await.unwrap_err().to_string();
    assert!(again.contains("already"), "{again}");
    let copy = Store::open(
        &Location::File(to),
        labyard_store::SealingKey::from_bytes([7; 32]),
    )
    .await;
    let there = subjects(&copy.unwrap()).await;
    assert!(there.len() >= 50, "{}", there.len());
    let expected: Vec<String> = (0..there.len()).map(|number| format!("n{number}")).collect();
    assert_eq!(there, expected, "all up to one moment, and nothing after it");
}
