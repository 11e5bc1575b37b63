//! The store that a configuration or the command line names, with the key that opens its secrets.

use labyard_store::{
    Location, SealingKey, Store, StoreError,
    event::Moment,
    key::{Said, beside, chosen},
};
use std::{
    path::{Path, PathBuf},
    time::{SystemTime, UNIX_EPOCH},
};

/// A store, and what was said of its key.
pub(crate) struct Chosen {
    pub(crate) location: Location,
    said: Said,
}

impl Chosen {
    /// What was named, with what the environment says besides.
    pub(crate) fn by(store: &str, key_file: Option<&Path>) -> Result<Self, StoreError> {
        let file = key_file.map(|path| path.display().to_string());
        Ok(Self {
            location: store.parse()?,
            said: Said::by(file.as_deref(), |name| std::env::var(name).ok()),
        })
    }

    /// The key.
    pub(crate) fn key(&self) -> Result<SealingKey, StoreError> {
        chosen(&self.location, &self.said)
    }

    /// The file that the key is in, if it is in one.
    pub(crate) fn key_file(&self) -> Option<PathBuf> {
        let said = &self.said;
        match (&said.file, &said.text, &said.file_in_environment, &self.location) {
            (Some(file), ..) | (None, None, Some(file), _) => Some(file.clone()),
            (None, None, None, Location::File(store)) => Some(beside(store)),
            (None, Some(_), ..) | (None, None, None, Location::Postgres(_)) => None,
        }
    }
}

/// Opens a store.
pub(crate) async fn open(store: &str, key_file: Option<&Path>) -> Result<(Store, SealingKey), StoreError> {
    let chosen = Chosen::by(store, key_file)?;
    let key = chosen.key()?;
    Ok((Store::open(&chosen.location, key.clone()).await?, key))
}

/// Now.
pub(crate) fn now() -> Moment {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Moment(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}
