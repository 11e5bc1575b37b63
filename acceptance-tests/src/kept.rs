//! A store of a test's own, as the provider block names it and as others who use it see it.
//!
//! ```no_run
//! use labyard_acceptance_tests::kept::Kept;
//! let kept = Kept::sqlite();
//! let config = kept.provider("default", "");
//! let code = kept.code("default", "class");
//! ```

use labyard_labs::Refusal;
use labyard_labs::claim::redeem::{Redeemed, Request, redeem};
use labyard_labs::code::CodeText;
use labyard_labs::code::config::{self, Meant};
use labyard_labs::code::keep;
use labyard_labs::ids::{Namespace, UserName};
use labyard_labs::show::Scope;
use labyard_schema::access_code::AccessCode;
use labyard_store::event::{Event, Moment};
use labyard_store::key::{Said, chosen};
use labyard_store::testing::Database;
use labyard_store::{Location, Store, StoreError};
use std::time::{SystemTime, UNIX_EPOCH};

/// The key of PostgreSQL stores: 32 bytes, each 7.
pub const KEY: &str = "BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc=";

/// A store.
pub struct Kept {
    database: Database,
    runtime: tokio::runtime::Runtime,
}

/// Now, for the store.
pub fn now() -> Moment {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Moment(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}

impl Kept {
    /// In a file that is not there yet.
    pub fn sqlite() -> Self {
        Self::of(Database::sqlite())
    }

    /// In a database; `None` where there is no server, which is said.
    pub fn postgres() -> Option<Self> {
        Database::postgres().map(Self::of)
    }

    fn of(database: Database) -> Self {
        Self {
            database,
            runtime: tokio::runtime::Runtime::new().expect("a runtime"),
        }
    }

    /// Where it is, as a provider block names it.
    pub fn place(&self) -> String {
        match &self.database.location {
            Location::File(path) => path.display().to_string(),
            Location::Postgres(url) => url.clone(),
        }
    }

    /// The bytes of all files of a store in a file: the database and what SQLite keeps beside it.
    ///
    /// A journal may go while this looks, as the last process that closes the store takes it in; the database may not.
    pub fn files(&self) -> Vec<Vec<u8>> {
        let database = self.place();
        let database = std::path::Path::new(&database);
        let beside = std::fs::read_dir(database.parent().expect("a directory")).expect("a store in a file");
        let journals = beside
            .map(|entry| entry.expect("an entry").path())
            .filter(|path| path != database)
            .filter_map(|path| match std::fs::read(path) {
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
                bytes => Some(bytes.expect("a file of the store")),
            });
        let mut files: Vec<_> = journals.collect();
        files.push(std::fs::read(database).expect("the store's database"));
        files
    }

    /// A configuration that needs this store and no hosts, with more attributes of the provider block.
    pub fn provider(&self, namespace: &str, more: &str) -> String {
        format!(
            "terraform {{\n  required_providers {{\n    labyard = {{ source = \"labyard/labyard\" }}\n  }}\n}}\n\
             provider \"labyard\" {{\n  namespace = {namespace:?}\n  store = {:?}\n  {more}\n}}\n",
            self.place()
        )
    }

    /// Opens it as another program does.
    pub fn open(&self) -> Store {
        let said = Said {
            text: match &self.database.location {
                Location::File(_) => None,
                Location::Postgres(_) => Some(KEY.to_owned()),
            },
            ..Said::default()
        };
        let location = &self.database.location;
        let key = chosen(location, &said).expect("the store's key");
        self.runtime
            .block_on(Store::open(location, key))
            .expect("the store")
    }

    /// Waits for work on the store.
    pub fn wait<T>(&self, work: impl Future<Output = T>) -> T {
        self.runtime.block_on(work)
    }

    /// A code as it is kept.
    pub fn code(&self, namespace: &str, name: &str) -> Result<keep::Kept, Refusal> {
        let (namespace, name) = (Namespace::from(namespace), name.into());
        let store = self.open();
        self.wait(store.read(move |read| keep::find(read, &namespace, &name)))
    }

    /// Changes a code behind Terraform's back.
    pub fn put_code(&self, namespace: &str, code: AccessCode) -> keep::Kept {
        let namespace = Namespace::from(namespace);
        let store = self.open();
        let put =
            store.write(move |write| config::put(write, &namespace, &code, &Meant::Any, now(), "somebody"));
        self.wait(put).expect("a changed code")
    }

    /// A pool with so many free machines, of which there are records alone; a daemon on the store would miss them.
    pub fn pool_of_records(&self, namespace: &str, name: &str, free: i64) {
        let (namespace, name) = (namespace.to_owned(), name.to_owned());
        let store = self.open();
        let made = store.write(move |write| {
            let spec = r#"{"ready": 0, "max": 9, "max_in_flight": 1, "template": {"memory_mib": 64},
                           "lease": {"length_ms": 7200000, "max_ms": 28800000, "idle_ms": null, "pause_ms": 0}}"#;
            write.execute(
                "INSERT INTO pools (namespace, name, id, spec, generation, phase) VALUES ($1, $2, $3, $4, 1, 'active')",
                &[
                    (&namespace).into(),
                    (&name).into(),
                    format!("{namespace}-{name}").into(),
                    spec.into(),
                ],
            )?;
            for number in 1..=free {
                let machine = format!("{namespace}-{name}-{number}");
                write.execute(
                    "INSERT INTO members (id, namespace, pool, number, name, host, state, generation, since, detail) \
                     VALUES ($1, $2, $3, $4, $1, 'lab1', 'free', 1, 0, '{}')",
                    &[
                        machine.into(),
                        (&namespace).into(),
                        (&name).into(),
                        number.into(),
                    ],
                )?;
            }
            let event = Event::new(now(), &namespace, "test", "pool.made", &name);
            write.event(&event).map(drop)
        });
        let made: Result<(), StoreError> = self.wait(made);
        made.expect("a pool");
    }

    /// Redeems a code.
    pub fn redeem(&self, code: &str, user: &str) -> Result<Redeemed, Refusal> {
        let request = Request {
            code: CodeText::parse(code).expect("a code"),
            user: UserName::from(user),
            idempotency_key: format!("{user} {code}"),
            source: Some([10, 1, 2, 3].into()),
            wait_ms: None,
            public_key: None,
            bind: Default::default(),
            scope: Scope::All,
        };
        let store = self.open();
        self.wait(store.write(move |write| redeem(write, &request, now())))
    }

    /// How many events of an action are in the log.
    pub fn events(&self, action: &'static str) -> i64 {
        let store = self.open();
        let number: Result<i64, StoreError> = self.wait(store.read(move |read| {
            let count = "SELECT COUNT(*) AS n FROM events WHERE action = $1";
            read.query(count, &[action.into()])?[0].get("n")
        }));
        number.expect("a number")
    }

    /// Runs a statement behind the store's back.
    pub fn sql(&self, statement: &str) -> String {
        self.database.sql(statement)
    }
}
