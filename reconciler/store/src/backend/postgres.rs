//! PostgreSQL, over a Unix socket, TCP or TLS (`sslmode`; the certificate is always checked, against the system's
//! roots and those of `sslrootcert`). Codes of errors: PostgreSQL's manual, appendix A.

use super::Connection;
use crate::{Row, StoreError, Value};
use postgres::{
    Client, Config, Statement,
    types::{IsNull, ToSql, Type, private::BytesMut, to_sql_checked},
};
use std::{collections::HashMap, error::Error, fmt, sync::Arc, time::Duration};
use tokio_postgres_rustls::MakeRustlsConnect;

/// How long connecting may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// One writer at a time, as SQLite has it; the lock ends with its transaction. The number is "labyard" in ASCII.
const BEGIN_WRITE: &str = "BEGIN; SELECT pg_advisory_xact_lock(30506373055869540)";

pub(super) struct Postgres {
    client: Client,
    statements: HashMap<String, Statement>,
    store: String,
}

impl Postgres {
    pub(super) fn connect(url: &str, store: &str) -> Result<Self, StoreError> {
        let unavailable = |why: String| StoreError::Unavailable {
            store: store.to_owned(),
            why,
        };
        let (url, root) = without_root(url);
        let mut config: Config = url
            .parse()
            .map_err(|error: postgres::Error| unavailable(in_full(&error)))?;
        if config.get_connect_timeout().is_none() {
            config.connect_timeout(PATIENCE);
        }
        config.tcp_user_timeout(Duration::from_secs(30));
        config.application_name("labyard");
        let tls = trust(root.as_deref()).map_err(unavailable)?;
        let client = config
            .connect(MakeRustlsConnect::new(tls))
            .map_err(|error| unavailable(in_full(&error)))?;
        let mut connected = Self {
            client,
            statements: HashMap::new(),
            store: store.to_owned(),
        };
        // What another server's defaults say must not weaken what a commit promises. A replica that is stopped in the
        // middle of a transaction must not hold up the others: the server ends it.
        connected.batch(
            "SET synchronous_commit = on; SET default_transaction_isolation = 'read committed'; \
             SET lock_timeout = '30s'; SET idle_in_transaction_session_timeout = '5s'",
        )?;
        Ok(connected)
    }

    fn explained(&self, error: &postgres::Error) -> StoreError {
        let (store, why) = (self.store.clone(), in_full(error));
        let Some(said) = error.as_db_error() else {
            return StoreError::Lost { store, why };
        };
        match said.code().code() {
            "23505" => StoreError::Exists {
                what: said.constraint().unwrap_or("an object").to_owned(),
            },
            "53100" => StoreError::Full { store },
            "55P03" => StoreError::Locked { store },
            // The server goes down, or somebody ended this connection.
            "57P01" | "57P02" | "57P03" | "57P05" | "25P03" | "08000" | "08003" | "08006" | "40001"
            | "40P01" | "25006" => StoreError::Lost { store, why },
            _ => StoreError::Refused { store, why },
        }
    }

    fn batch(&mut self, sql: &str) -> Result<(), StoreError> {
        self.client
            .batch_execute(sql)
            .map_err(|error| self.explained(&error))
    }

    fn prepared(&mut self, sql: &str) -> Result<Statement, StoreError> {
        if let Some(statement) = self.statements.get(sql) {
            return Ok(statement.clone());
        }
        let statement = self.client.prepare(sql).map_err(|error| self.explained(&error))?;
        self.statements.insert(sql.to_owned(), statement.clone());
        Ok(statement)
    }
}

/// The URL without `sslrootcert`, which the client library does not know, and what it named.
fn without_root(url: &str) -> (String, Option<String>) {
    let Ok(mut parsed) = url::Url::parse(url) else {
        return (url.to_owned(), None);
    };
    let root = parsed
        .query_pairs()
        .find(|(name, _)| name == "sslrootcert")
        .map(|(_, value)| value.into_owned());
    if root.is_none() {
        return (url.to_owned(), None);
    }
    let kept: Vec<String> = parsed
        .query()
        .unwrap_or_default()
        .split('&')
        .filter(|pair| !pair.starts_with("sslrootcert="))
        .map(str::to_owned)
        .collect();
    parsed.set_query((!kept.is_empty()).then(|| kept.join("&")).as_deref());
    (parsed.to_string(), root)
}

fn trust(root: Option<&str>) -> Result<rustls::ClientConfig, String> {
    let mut roots = rustls::RootCertStore::empty();
    if let Some(path) = root {
        use rustls::pki_types::{CertificateDer, pem::PemObject as _};
        let certificates =
            CertificateDer::pem_file_iter(path).map_err(|error| format!("sslrootcert {path}: {error}"))?;
        for certificate in certificates {
            let certificate = certificate.map_err(|error| format!("sslrootcert {path}: {error}"))?;
            roots
                .add(certificate)
                .map_err(|error| format!("sslrootcert {path}: {error}"))?;
        }
    } else {
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        if roots.is_empty() {
            roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
        }
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    Ok(rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?
        .with_root_certificates(roots)
        .with_no_client_auth())
}

/// An error with its causes: the library's own text leaves them out.
fn in_full(error: &postgres::Error) -> String {
    if let Some(said) = error.as_db_error() {
        return format!("{} ({})", said.message(), said.code().code());
    }
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        text = format!("{text}: {inner}");
        cause = inner.source();
    }
    text
}

/// A value on its way to a column of the type that the statement has there.
struct Parameter<'a>(&'a Value);

impl fmt::Debug for Parameter<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Parameter")
    }
}

impl ToSql for Parameter<'_> {
    fn to_sql(&self, type_: &Type, out: &mut BytesMut) -> Result<IsNull, Box<dyn Error + Sync + Send>> {
        match self.0 {
            Value::Null => Ok(IsNull::Yes),
            Value::Integer(value) => value.to_sql_checked(type_, out),
            Value::Text(value) => value.to_sql_checked(type_, out),
            Value::Bytes(value) => value.to_sql_checked(type_, out),
        }
    }

    fn accepts(_: &Type) -> bool {
        true
    }

    to_sql_checked!();
}

fn from_postgres(row: &postgres::Row, at: usize) -> Result<Value, StoreError> {
    let column = &row.columns()[at];
    let unreadable = |error: postgres::Error| StoreError::Unreadable {
        what: format!("column {}: {error}", column.name()),
    };
    Ok(match *column.type_() {
        Type::INT8 => row.try_get::<_, Option<i64>>(at).map_err(unreadable)?.into(),
        Type::INT4 => row
            .try_get::<_, Option<i32>>(at)
            .map_err(unreadable)?
            .map(i64::from)
            .into(),
        Type::BYTEA => row.try_get::<_, Option<Vec<u8>>>(at).map_err(unreadable)?.into(),
        _ => row.try_get::<_, Option<String>>(at).map_err(unreadable)?.into(),
    })
}

impl Connection for Postgres {
    fn execute(&mut self, sql: &str, parameters: &[Value]) -> Result<u64, StoreError> {
        let statement = self.prepared(sql)?;
        let parameters: Vec<Parameter<'_>> = parameters.iter().map(Parameter).collect();
        let parameters: Vec<&(dyn ToSql + Sync)> = parameters.iter().map(|p| p as _).collect();
        self.client
            .execute(&statement, &parameters)
            .map_err(|error| self.explained(&error))
    }

    fn query(&mut self, sql: &str, parameters: &[Value]) -> Result<Vec<Row>, StoreError> {
        let statement = self.prepared(sql)?;
        let parameters: Vec<Parameter<'_>> = parameters.iter().map(Parameter).collect();
        let parameters: Vec<&(dyn ToSql + Sync)> = parameters.iter().map(|p| p as _).collect();
        let rows = self
            .client
            .query(&statement, &parameters)
            .map_err(|error| self.explained(&error))?;
        let names: Arc<[String]> = statement
            .columns()
            .iter()
            .map(|column| column.name().to_owned())
            .collect();
        rows.iter()
            .map(|row| {
                let values = (0..names.len())
                    .map(|at| from_postgres(row, at))
                    .collect::<Result<_, _>>()?;
                Ok(Row {
                    names: Arc::clone(&names),
                    values,
                })
            })
            .collect()
    }

    fn begin_write(&mut self) -> Result<(), StoreError> {
        self.batch(BEGIN_WRITE)
    }

    fn begin_read(&mut self) -> Result<(), StoreError> {
        self.batch("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
    }

    fn commit(&mut self) -> Result<(), StoreError> {
        self.client
            .batch_execute("COMMIT")
            .map_err(|error| match self.explained(&error) {
                // Whoever was cut off here cannot know what the server did last.
                StoreError::Lost { store, why } => StoreError::Unknown { store, why },
                other => other,
            })
    }

    fn roll_back(&mut self) -> Result<(), StoreError> {
        self.batch("ROLLBACK")
    }

    fn tables(&mut self) -> Result<Vec<String>, StoreError> {
        self.query(
            "SELECT tablename AS name FROM pg_catalog.pg_tables WHERE schemaname = current_schema()",
            &[],
        )?
        .iter()
        .map(|row| row.get("name"))
        .collect()
    }
}
