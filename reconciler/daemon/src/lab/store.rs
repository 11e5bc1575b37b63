//! `labyard store`: what is done with a store itself, by its owner, whether a daemon runs on it or not.

use super::{Output, Table};
use crate::{
    config::{Config, ConfigError},
    open::{self, Chosen},
    serve::work,
};
use labyard_foreman::{Foreman, Setting, rebuild::Why};
use labyard_labs::rotate::rotate;
use labyard_reconciler::engine::{Engine, Run};
use labyard_schema::provider::STORE_VARIABLE;
use labyard_store::{Location, SealingKey, Store, StoreError, migrations};
use serde::Serialize;
use std::{
    error::Error,
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

/// The store itself.
#[derive(clap::Args)]
pub(crate) struct Options {
    #[command(flatten)]
    place: Place,
    /// For whom it is printed.
    #[arg(short, long, value_enum, default_value_t, global = true)]
    output: Output,
    #[command(subcommand)]
    verb: Verb,
}

/// Which store.
#[derive(clap::Args)]
struct Place {
    /// The configuration of the daemon, which names the store and the file of its key.
    #[arg(long, value_name = "FILE", global = true, conflicts_with_all = ["store", "store_key_file"])]
    config: Option<PathBuf>,
    /// The store: an absolute path, or a URL of PostgreSQL; else, where no configuration is named, as LABYARD_STORE says.
    #[arg(long, value_name = "STORE", global = true)]
    store: Option<String>,
    /// The file with the key of its secrets; else as LABYARD_STORE_KEY or LABYARD_STORE_KEY_FILE say, or beside the store.
    #[arg(long, value_name = "FILE", global = true)]
    store_key_file: Option<PathBuf>,
}

#[derive(clap::Subcommand)]
enum Verb {
    /// Say what it is and what it holds.
    Show,
    /// Write all of it, as it is at one moment, into a new file. The key of its secrets is not in it.
    Backup {
        /// The file, which must not be there.
        file: PathBuf,
    },
    /// Seal its secrets with a new key. Who has it open with the old one is refused from then on.
    RotateKey {
        /// The file of the new key, made where it is missing; needed where the old one is no file. Left out: the file of
        /// the old one gets the new one, and the old one stays beside it.
        #[arg(long, value_name = "FILE")]
        new_key_file: Option<PathBuf>,
    },
    /// Look on the hosts of a configuration for machines of pools that the store has lost, and give them back to their
    /// pools, to be recycled: whether somebody has them cannot be told. Declare the pools first. Exit code 1 if a host
    /// does not answer.
    Rebuild {
        /// Of which namespace.
        #[arg(long, default_value = labyard_schema::provider::DEFAULT_NAMESPACE)]
        namespace: String,
        /// Take machines away that no pool takes back. They are listed without it.
        #[arg(long)]
        remove_strays: bool,
    },
}

/// Why nothing was done.
#[derive(Debug, thiserror::Error)]
enum StoreCommandError {
    #[error("which store? Name it (--store, LABYARD_STORE), or the configuration of the daemon (--config)")]
    Nowhere,
    #[error("there is no store {0}")]
    Missing(String),
    #[error(
        "the key was given in {}: say in which file the new one is to be (--new-key-file), and give that one from then on",
        labyard_store::key::VARIABLE
    )]
    KeyIsNoFile,
    #[error("{} has the key that the store has now: choose another file", .0.display())]
    SameKey(PathBuf),
    #[error("hosts stand in the configuration of the daemon: name it (--config)")]
    NoHosts,
    #[error("hosts did not answer, and what they have is not known: {}", .0.join("; "))]
    Silent(Vec<String>),
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error("{}: {source}", path.display())]
    File { path: PathBuf, source: io::Error },
}

/// What a store is and holds.
#[derive(Serialize)]
struct Shown {
    store: String,
    id: String,
    version: i64,
    key: String,
    newest_event: i64,
    pools: i64,
    machines: i64,
    codes: i64,
    claims: i64,
    claims_running: i64,
    tokens: i64,
    operations: i64,
}

/// What was written.
#[derive(Serialize)]
struct BackedUp {
    file: PathBuf,
    bytes: u64,
}

/// What was found on hosts.
#[derive(Serialize)]
struct Rebuilt {
    taken_back: Vec<String>,
    known: Vec<String>,
    strays: Vec<Stray>,
}

/// A machine that no pool takes back.
#[derive(Serialize)]
struct Stray {
    host: String,
    name: String,
    why: &'static str,
    removed: bool,
}

/// The keys after an exchange.
#[derive(Serialize)]
struct Rotated {
    key: String,
    file: PathBuf,
    old_key: String,
    old_file: Option<PathBuf>,
}

/// Runs the verb.
pub(crate) fn execute(options: &Options) -> Result<(), Box<dyn Error>> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let output = options.output;
    let done = runtime.block_on(async {
        let chosen = options.place.chosen()?;
        if let Verb::Rebuild {
            namespace,
            remove_strays,
        } = &options.verb
        {
            return rebuilt(&options.place, namespace, *remove_strays, output).await;
        }
        match &options.verb {
            Verb::Rebuild { .. } => {}
            Verb::Show => output.print(&shown(&chosen).await?, as_table)?,
            Verb::Backup { file } => output.print(&backed_up(&chosen, file).await?, |done| {
                let mut table = Table::new(&["FILE", "BYTES"]);
                table.row(vec![done.file.display().to_string(), done.bytes.to_string()]);
                table
            })?,
            Verb::RotateKey { new_key_file } => {
                output.print(&rotated(&chosen, new_key_file.as_deref()).await?, exchanged)?;
            }
        }
        Ok(())
    });
    runtime.shutdown_background();
    done
}

impl Place {
    fn chosen(&self) -> Result<Chosen, Box<dyn Error>> {
        let environment = || {
            std::env::var(STORE_VARIABLE)
                .ok()
                .filter(|store| !store.is_empty())
        };
        let store = self.store.clone().or_else(environment);
        let chosen = match (&self.config, &store) {
            (Some(file), _) => {
                let config = Config::read(file).map_err(StoreCommandError::from)?;
                Chosen::by(&config.store, config.store_key_file.as_deref())?
            }
            (None, Some(store)) => Chosen::by(store, self.store_key_file.as_deref())?,
            (None, None) => return Err(StoreCommandError::Nowhere.into()),
        };
        // To open one makes it, which nobody wants who looks at it, copies it or changes its key.
        match &chosen.location {
            Location::File(path) if !path.exists() => {
                Err(StoreCommandError::Missing(path.display().to_string()).into())
            }
            _ => Ok(chosen),
        }
    }
}

async fn shown(chosen: &Chosen) -> Result<Shown, Box<dyn Error>> {
    let key = chosen.key()?;
    let store = Store::open(&chosen.location, key.clone()).await?;
    let (name, id) = (store.location().to_string(), store.id().to_owned());
    let shown: Result<Shown, StoreError> = store
        .read(move |read| {
            let mut count = |what: &str| -> Result<i64, StoreError> {
                let rows = read.query(&format!("SELECT COUNT(*) AS n FROM {what}"), &[])?;
                rows.first().map_or(Ok(0), |row| row.get("n"))
            };
            Ok(Shown {
                store: name,
                id,
                version: migrations::known(),
                key: key.id(),
                // Numbers of events have no holes.
                newest_event: count("events")?,
                pools: count("pools")?,
                machines: count("members")?,
                codes: count("codes")?,
                claims: count("claims")?,
                claims_running: count("claims WHERE ended_at IS NULL")?,
                tokens: count("tokens WHERE revoked_at IS NULL")?,
                operations: count("operations")?,
            })
        })
        .await;
    Ok(shown?)
}

fn as_table(shown: &Shown) -> Table {
    let mut table = Table::new(&["STORE", &shown.store]);
    for (name, value) in [
        ("id", shown.id.clone()),
        ("version of its tables", shown.version.to_string()),
        ("key", shown.key.clone()),
        ("newest event", shown.newest_event.to_string()),
        ("pools", shown.pools.to_string()),
        ("machines", shown.machines.to_string()),
        ("codes", shown.codes.to_string()),
        ("claims", shown.claims.to_string()),
        ("claims that run", shown.claims_running.to_string()),
        ("tokens", shown.tokens.to_string()),
        ("operations", shown.operations.to_string()),
    ] {
        table.row(vec![name.to_owned(), value]);
    }
    table
}

async fn backed_up(chosen: &Chosen, file: &Path) -> Result<BackedUp, Box<dyn Error>> {
    // Not opened as a store: what is backed up before an upgrade is what the older program left.
    labyard_store::back_up(&chosen.location, file).await?;
    let found = std::fs::metadata(file).map_err(|source| at(file, source))?;
    Ok(BackedUp {
        file: file.to_owned(),
        bytes: found.len(),
    })
}

fn at(path: &Path, source: io::Error) -> StoreCommandError {
    StoreCommandError::File {
        path: path.to_owned(),
        source,
    }
}

async fn rotated(chosen: &Chosen, new_file: Option<&Path>) -> Result<Rotated, Box<dyn Error>> {
    match (new_file, chosen.key_file()) {
        (Some(new_file), _) => {
            let (old, new) = (chosen.key()?, SealingKey::from_file_or_new(new_file)?);
            if old.id() == new.id() {
                return Err(StoreCommandError::SameKey(new_file.to_owned()).into());
            }
            exchange(&chosen.location, &old, &new).await?;
            Ok(Rotated {
                key: new.id(),
                file: new_file.to_owned(),
                old_key: old.id(),
                old_file: chosen.key_file(),
            })
        }
        (None, Some(file)) => in_place(chosen, &file).await,
        (None, None) => Err(StoreCommandError::KeyIsNoFile.into()),
    }
}

async fn rebuilt(
    place: &Place,
    namespace: &str,
    remove_strays: bool,
    output: Output,
) -> Result<(), Box<dyn Error>> {
    let file = place.config.as_ref().ok_or(StoreCommandError::NoHosts)?;
    let config = Config::read(file).map_err(StoreCommandError::from)?;
    let (store, _) = open::open(&config.store, config.store_key_file.as_deref()).await?;
    let engine = work::engine(&config)?.ok_or(StoreCommandError::NoHosts)?;
    let foreman = Foreman::new(store, Arc::clone(&engine) as Arc<dyn Engine>, Setting::default());
    let found = foreman.rebuild(&namespace.into(), "owner").await?;
    let mut strays = Vec::new();
    for stray in &found.strays {
        if remove_strays {
            foreman.remove_stray(stray).await?;
        }
        strays.push(Stray {
            host: stray.host.to_string(),
            name: stray.machine.mark.name.to_string(),
            why: match stray.why {
                Why::NoPool => "nobody declares its pool",
                Why::Doubled => "its pool has another in its place",
            },
            removed: remove_strays,
        });
    }
    engine.finish(Run::Stopped).await;
    let done = Rebuilt {
        taken_back: found.taken_back,
        known: found.known,
        strays,
    };
    output.print(&done, found_on_hosts)?;
    match found.silent.is_empty() {
        true => Ok(()),
        false => {
            let silent = found.silent.iter().map(|(host, why)| format!("{host}: {why}"));
            Err(StoreCommandError::Silent(silent.collect()).into())
        }
    }
}

fn found_on_hosts(done: &Rebuilt) -> Table {
    let mut table = Table::new(&["MACHINE", "IS"]);
    for name in &done.taken_back {
        table.row(vec![name.clone(), "its pool's again".to_owned()]);
    }
    for name in &done.known {
        table.row(vec![name.clone(), "known".to_owned()]);
    }
    for stray in &done.strays {
        let is = if stray.removed { "removed" } else { "a stray" };
        table.row(vec![
            stray.name.clone(),
            format!("{is} on {}: {}", stray.host, stray.why),
        ]);
    }
    table
}

/// The new key is on the disk before the store has it, and takes the old one's place after: cut off in between, the same
/// command goes on where it was.
async fn in_place(chosen: &Chosen, file: &Path) -> Result<Rotated, Box<dyn Error>> {
    let old = chosen.key()?;
    let pending = beside(file, "new");
    let new = SealingKey::from_file_or_new(&pending)?;
    exchange(&chosen.location, &old, &new).await?;
    // Backups that were made before are opened by the old one alone.
    let kept = beside(file, &old.id()[..8]);
    match std::fs::hard_link(file, &kept) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(at(&kept, error).into()),
        _ => {}
    }
    std::fs::rename(&pending, file).map_err(|error| at(file, error))?;
    Ok(Rotated {
        key: new.id(),
        file: file.to_owned(),
        old_key: old.id(),
        old_file: Some(kept),
    })
}

/// Makes the new key the store's, if it is not already.
async fn exchange(location: &Location, old: &SealingKey, new: &SealingKey) -> Result<(), Box<dyn Error>> {
    match Store::open(location, new.clone()).await {
        Ok(_) => return Ok(()),
        Err(StoreError::OtherKey { .. }) => {}
        Err(other) => return Err(other.into()),
    }
    let store = Store::open(location, old.clone()).await?;
    let (new, now) = (new.clone(), open::now());
    let done: Result<(), labyard_labs::Refusal> =
        store.write(move |write| rotate(write, &new, now, "owner")).await;
    Ok(done?)
}

fn beside(file: &Path, ending: &str) -> PathBuf {
    let mut name = file.as_os_str().to_owned();
    name.push(".");
    name.push(ending);
    PathBuf::from(name)
}

fn exchanged(done: &Rotated) -> Table {
    let mut table = Table::new(&["", "KEY", "FILE"]);
    table.row(vec![
        "now".to_owned(),
        done.key.clone(),
        done.file.display().to_string(),
    ]);
    let old_file = done.old_file.as_ref();
    let old_file = old_file.map_or_else(|| "-".to_owned(), |file| file.display().to_string());
    table.row(vec!["before".to_owned(), done.old_key.clone(), old_file]);
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(directory: &Path) -> Chosen {
        let store = directory.join("labyard.db");
        Chosen::by(store.to_str().unwrap(), Some(&directory.join("own.key"))).unwrap()
    }

    #[tokio::test]
    async fn an_exchange_that_was_cut_off_goes_on_with_the_key_that_the_store_has() {
        let directory = tempfile::tempdir().unwrap();
        let chosen = place(directory.path());
        SealingKey::from_file_or_new(&directory.path().join("own.key")).unwrap();
        let old = chosen.key().unwrap();
        drop(Store::open(&chosen.location, old.clone()).await.unwrap());
        // Cut off after the commit: the new key is the store's, and not yet in its place.
        let pending = SealingKey::from_file_or_new(&directory.path().join("own.key.new")).unwrap();
        exchange(&chosen.location, &old, &pending).await.unwrap();
        let done = rotated(&chosen, None).await.unwrap();
        assert_eq!((&done.key, &done.old_key), (&pending.id(), &old.id()));
        assert_eq!(chosen.key().unwrap().id(), pending.id());
        let kept = SealingKey::from_file(done.old_file.as_deref().unwrap()).unwrap();
        assert_eq!(kept.id(), old.id());
        assert!(!directory.path().join("own.key.new").exists());
        assert!(Store::open(&chosen.location, pending).await.is_ok());
    }
}
