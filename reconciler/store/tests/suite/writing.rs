//! What a piece of work is promised.

use labyard_store::{
    Location, Sealed, StoreError, Value, Write,
    event::{Event, EventId, Moment},
    on_both,
    testing::Database,
};

on_both!(
    what_is_acknowledged_is_there_when_the_store_is_opened_again,
    work_that_fails_takes_back_its_own_writes_alone,
    a_change_without_an_event_is_refused,
    what_is_only_renewed_stands_in_no_log,
    events_are_numbered_without_holes_in_the_order_of_commits,
    writers_of_two_replicas_never_overwrite_each_other,
    a_secret_is_sealed_and_opens_only_for_its_record,
    another_key_is_refused,
    a_newer_store_is_refused_with_both_versions,
    a_program_that_was_overtaken_by_a_newer_one_writes_nothing_more,
    a_database_of_something_else_is_left_alone,
    an_upgrade_by_two_programs_at_once_happens_once,
    a_reader_sees_one_state_and_cannot_write,
);

fn noted(subject: &str) -> Event {
    Event::new(Moment(5), "default", "test", "noted", subject)
}

fn set(write: &mut Write<'_>, name: &str, value: i64) -> Result<(), StoreError> {
    write.execute(
        "INSERT INTO counters (name, value) VALUES ($1, $2) ON CONFLICT (name) DO UPDATE SET value = excluded.value",
        &[name.into(), value.into()],
    )?;
    write.event(&noted(name))?;
    Ok(())
}

async fn value(store: &labyard_store::Store, name: &str) -> Option<i64> {
    let name = name.to_owned();
    store
        .read(move |read| {
            let rows = read.query("SELECT value FROM counters WHERE name = $1", &[name.into()])?;
            rows.first().map(|row| row.get("value")).transpose()
        })
        .await
        .unwrap_or_else(|error: StoreError| panic!("{error}"))
}

async fn what_is_acknowledged_is_there_when_the_store_is_opened_again(database: &Database) {
    let store = database.open().await;
    store.write(|write| set(write, "a", 1)).await.unwrap();
    drop(store);
    assert_eq!(value(&database.open().await, "a").await, Some(1));
}

async fn work_that_fails_takes_back_its_own_writes_alone(database: &Database) {
    let store = database.open().await;
    let works = (0..60).map(|number| {
        let store = store.clone();
        tokio::spawn(async move {
            store
                .write(move |write| {
                    set(write, &format!("w{number}"), number)?;
                    // A statement the database refuses must not take the neighbours with it either.
                    match number % 3 {
                        0 => Ok(()),
                        1 => Err(StoreError::Unlogged),
                        _ => write
                            .execute("INSERT INTO counters (name, value) VALUES ('events', 9)", &[])
                            .map(drop),
                    }
                })
                .await
        })
    });
    for (number, work) in works.collect::<Vec<_>>().into_iter().enumerate() {
        let outcome = work.await.unwrap();
        let number = i64::try_from(number).unwrap();
        match number % 3 {
            0 => assert!(outcome.is_ok(), "{outcome:?}"),
            1 => assert!(matches!(outcome, Err(StoreError::Unlogged)), "{outcome:?}"),
            _ => assert!(matches!(outcome, Err(StoreError::Exists { .. })), "{outcome:?}"),
        }
        assert_eq!(
            value(&store, &format!("w{number}")).await,
            (number % 3 == 0).then_some(number)
        );
    }
    assert_eq!(events(&store).await.len(), 20);
}

async fn events(store: &labyard_store::Store) -> Vec<(EventId, String)> {
    let logged = store.read(|read| read.events_after(EventId(0), 100_000)).await;
    let logged: Vec<_> = logged.unwrap_or_else(|error: StoreError| panic!("{error}"));
    logged
        .into_iter()
        .map(|logged| (logged.id, logged.event.subject))
        .collect()
}

async fn a_change_without_an_event_is_refused(database: &Database) {
    let store = database.open().await;
    let refused = store
        .write(|write| write.execute("INSERT INTO counters (name, value) VALUES ('b', 1)", &[]))
        .await
        .unwrap_err();
    assert!(matches!(refused, StoreError::Unlogged), "{refused}");
    assert_eq!(value(&store, "b").await, None);
    // Also one that tells of what it changed.
    let told = store
        .write(|write| {
            let sql = "UPDATE counters SET value = value + 1 WHERE name = 'events' RETURNING value";
            write.query(sql, &[]).map(drop)
        })
        .await
        .unwrap_err();
    assert!(matches!(told, StoreError::Unlogged), "{told}");
    assert_eq!(value(&store, "events").await, Some(0));
}

async fn what_is_only_renewed_stands_in_no_log(database: &Database) {
    let store = database.open().await;
    store.write(|write| set(write, "until", 1)).await.unwrap();
    let renewed: Result<u64, StoreError> = store
        .write(|write| write.renew("UPDATE counters SET value = 2 WHERE name = 'until'", &[]))
        .await;
    assert_eq!(renewed.unwrap(), 1);
    assert_eq!(value(&store, "until").await, Some(2));
    assert_eq!(events(&store).await.len(), 1);
}

/// A replica that goes on while another release has changed the tables under it.
async fn a_program_that_was_overtaken_by_a_newer_one_writes_nothing_more(database: &Database) {
    let store = database.open().await;
    store.write(|write| set(write, "a", 1)).await.unwrap();
    database.sql("UPDATE labyard_meta SET value = '99' WHERE name = 'version'");
    let refused = store.write(|write| set(write, "a", 2)).await.unwrap_err();
    assert!(
        matches!(refused, StoreError::Newer { found: 99, .. }),
        "{refused}"
    );
    assert_eq!(value(&store, "a").await, Some(1));
}

async fn events_are_numbered_without_holes_in_the_order_of_commits(database: &Database) {
    let replicas = [database.open().await, database.open().await];
    let works = (0..80).map(|number: usize| {
        let store = replicas[number % 2].clone();
        tokio::spawn(async move {
            store
                .write(move |write| {
                    let id = write.event(&noted(&format!("s{number}")))?;
                    if number % 4 == 3 {
                        Err(StoreError::Unlogged)
                    } else {
                        Ok(id)
                    }
                })
                .await
        })
    });
    let mut given = Vec::new();
    for work in works.collect::<Vec<_>>() {
        given.extend(work.await.unwrap().ok());
    }
    given.sort_unstable();
    assert_eq!(given, (1..=60).map(EventId).collect::<Vec<_>>());
    assert_eq!(events(&replicas[0]).await.len(), 60);
    let newest = replicas.iter().map(|store| *store.newest().borrow()).max();
    assert_eq!(newest, Some(EventId(60)));
}

async fn writers_of_two_replicas_never_overwrite_each_other(database: &Database) {
    let replicas = [database.open().await, database.open().await];
    replicas[0].write(|write| set(write, "shared", 0)).await.unwrap();
    let works = (0..100).map(|number: usize| {
        let store = replicas[number % 2].clone();
        tokio::spawn(async move {
            // Read, decide, write: what a claim does.
            store
                .write(|write| {
                    let rows = write.query("SELECT value FROM counters WHERE name = 'shared'", &[])?;
                    let value: i64 = rows[0].get("value")?;
                    set(write, "shared", value + 1)
                })
                .await
        })
    });
    for work in works.collect::<Vec<_>>() {
        work.await.unwrap().unwrap();
    }
    assert_eq!(value(&replicas[1], "shared").await, Some(100));
}

async fn a_secret_is_sealed_and_opens_only_for_its_record(database: &Database) {
    let store = database.open().await;
    store
        .write(|write| {
            let sealed = write.seal("pools/default/k8s", b"sentinel-in-the-store")?;
            let spec = [
                Value::from("k8s"),
                Value::from("p1"),
                Value::from("{}"),
                sealed.0.into(),
            ];
            write.execute(
                "INSERT INTO pools (namespace, name, id, spec, secrets, generation, phase) \
                 VALUES ('default', $1, $2, $3, $4, 1, 'active')",
                &spec,
            )?;
            write.event(&noted("pool/k8s")).map(drop)
        })
        .await
        .unwrap();
    let opened: Result<Vec<u8>, StoreError> = store
        .read(|read| {
            let row = read
                .query("SELECT secrets FROM pools WHERE name = 'k8s'", &[])?
                .remove(0);
            let sealed = Sealed(row.get("secrets")?);
            assert!(read.open("pools/default/other", &sealed).is_err());
            read.open("pools/default/k8s", &sealed)
        })
        .await;
    assert_eq!(opened.unwrap(), b"sentinel-in-the-store");
    if let labyard_store::Location::File(path) = &database.location {
        for entry in std::fs::read_dir(path.parent().unwrap()).unwrap() {
            let bytes = std::fs::read(entry.unwrap().path()).unwrap();
            assert!(!bytes.windows(21).any(|window| window == b"sentinel-in-the-store"));
        }
    }
}

async fn another_key_is_refused(database: &Database) {
    drop(database.open().await);
    let refused = database.try_open(8).await.err().unwrap();
    assert!(matches!(refused, StoreError::OtherKey { .. }), "{refused}");
    database.open().await;
}

async fn a_newer_store_is_refused_with_both_versions(database: &Database) {
    drop(database.open().await);
    database.sql("UPDATE labyard_meta SET value = '99' WHERE name = 'version'");
    let refused = database.try_open(7).await.err().unwrap();
    let known = labyard_store::migrations::known();
    assert!(
        matches!(refused, StoreError::Newer { found: 99, known: k, .. } if k == known),
        "{refused}"
    );
    database.sql(&format!(
        "UPDATE labyard_meta SET value = '{known}' WHERE name = 'version'"
    ));
    database.open().await;
}

async fn a_database_of_something_else_is_left_alone(database: &Database) {
    database.sql("CREATE TABLE invoices (number BIGINT)");
    let refused = database.try_open(7).await.err().unwrap();
    assert!(matches!(refused, StoreError::Foreign { .. }), "{refused}");
    if let Location::File(path) = &database.location {
        // How it is written and read, in its header: 1 is with a journal, 2 with a log (sqlite.org/fileformat2.html).
        assert_eq!(std::fs::read(path).unwrap()[18..20], [1, 1]);
    }
    database.sql("INSERT INTO invoices (number) VALUES (1)");
}

async fn an_upgrade_by_two_programs_at_once_happens_once(database: &Database) {
    let opening = (0..6).map(|_| database.try_open(7));
    let stores = futures_all(opening).await;
    stores[5].write(|write| set(write, "a", 1)).await.unwrap();
    assert_eq!(value(&stores[0], "a").await, Some(1));
}

async fn futures_all<F>(opening: impl Iterator<Item = F>) -> Vec<labyard_store::Store>
where
    F: Future<Output = Result<labyard_store::Store, StoreError>>,
{
    let mut pending: Vec<_> = opening.map(Box::pin).collect();
    let mut done = Vec::new();
    std::future::poll_fn(|context| {
        pending.retain_mut(|future| match future.as_mut().poll(context) {
            std::task::Poll::Ready(store) => {
                done.push(store.unwrap());
                false
            }
            std::task::Poll::Pending => true,
        });
        if pending.is_empty() {
            std::task::Poll::Ready(())
        } else {
            std::task::Poll::Pending
        }
    })
    .await;
    done
}

async fn a_reader_sees_one_state_and_cannot_write(database: &Database) {
    let store = database.open().await;
    store.write(|write| set(write, "c", 1)).await.unwrap();
    let (inside, between) = (store.clone(), tokio::runtime::Handle::current());
    let seen: Result<(i64, i64), StoreError> = store
        .read(move |read| {
            let look = |read: &mut labyard_store::Read<'_>| -> Result<i64, StoreError> {
                read.query("SELECT value FROM counters WHERE name = 'c'", &[])?[0].get("value")
            };
            let first = look(read)?;
            between.block_on(inside.write(|write| set(write, "c", 2)))?;
            Ok((first, look(read)?))
        })
        .await;
    assert_eq!(seen.unwrap(), (1, 1));
    assert_eq!(value(&store, "c").await, Some(2));
}
